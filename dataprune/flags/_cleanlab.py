"""cleanlab's verdicts in place of ours, for comparison (extra `dataprune[cleanlab]`)."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import UsageError, nearest
from dataprune.core.extras import require
from dataprune.flags._blocks import over_blocks
from dataprune.flags._scale import softmax
from dataprune.flags._votes import Labels, Vote

PREFIX = "cleanlab:"
FILTERS = (
    "prune_by_noise_rate", "prune_by_class", "both", "confident_learning", "predicted_neq_given",
    "low_normalized_margin", "low_self_confidence",
)  # fmt: skip


def check_rule(rule: str) -> str | None:
    """The filter that a rule names; None for `tiers`, our own.

    Raises:
        UsageError: no such rule.
        MissingExtraError: cleanlab is not installed.
    """
    if rule == "tiers":
        return None
    name = rule.removeprefix(PREFIX)
    if not rule.startswith(PREFIX) or name not in FILTERS:
        known = ["tiers", *(PREFIX + each for each in FILTERS)]
        raise UsageError(f"there is no rule {rule}", hint=nearest(rule, known))
    require("cleanlab.filter", extra="cleanlab", why=f"rule {rule}")
    return name


def verdicts(votes: Sequence[Vote], labels: Labels, filter_by: str) -> npt.NDArray[np.bool_]:
    """`cleanlab.filter.find_label_issues` on the plain mean of the votes, bool (n,)."""
    n, num_classes = votes[0].shape
    mean_nC = np.empty((n, num_classes), dtype=np.float32)

    def work(rows: slice) -> None:
        total: Any = 0.0
        count = np.zeros(rows.stop - rows.start)
        for vote in votes:
            held_out = vote.held_out[rows]
            total = total + softmax(vote.logits(rows)) * held_out[:, None]
            count += held_out
        mean_nC[rows] = total / count[:, None]

    over_blocks(work, n, num_classes)
    cleanlab = require("cleanlab.filter", extra="cleanlab", why=f"rule {PREFIX}{filter_by}")
    # With more jobs it forks, and a fork of a process that has threads can hang for ever.
    found: npt.NDArray[np.bool_] = cleanlab.find_label_issues(
        labels, mean_nC, filter_by=filter_by, n_jobs=1
    )
    return found


def told(filter_by: str) -> str:
    """The rule in words."""
    version = importlib.metadata.version("cleanlab")
    return (
        f"likely: cleanlab {version} find_label_issues(filter_by={filter_by!r}) on the mean of the "
        "votes; ok: the others; is_label_issue: likely; the other columns and totals are ours"
    )
