"""Flags with a known answer, for tests of what is done with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.tables.flags import write_flags

Array = npt.NDArray[Any]
RULE = "likely: as the test says"


def flag_columns(given: Array, likely: Array, suspect: Array | None = None) -> dict[str, Array]:
    """Columns of flags: likely rows are suggested the next class (of those that are given)."""
    likely = np.asarray(likely, dtype=np.bool_)
    suspect = np.zeros(len(given), np.bool_) if suspect is None else np.asarray(suspect, np.bool_)
    given = np.asarray(given)
    spread = np.linspace(0, 0.04, len(given))  # no two rows are equally suspicious
    q = np.select([likely, suspect], [0.95, 0.55], 0.05) + spread
    return {
        "row": np.arange(len(given)),
        "given": given.astype(np.int32),
        "suggested": np.where(likely, (given + 1) % (given.max() + 1), given).astype(np.int32),
        "label_q": q.astype(np.float32),
        "label_score": (1 - q).astype(np.float32),
        "oof_margin": (0.5 - q).astype(np.float32),
        "oof_vote_frac": np.where(likely, 1, 0).astype(np.float32),
        "n_votes": np.full(len(given), 3, np.int32),
        "tier": np.select([likely, suspect & ~likely], ["likely", "suspect"], "ok"),
        "is_label_issue": likely,
    }


def put_flags(
    path: Path,
    given: Array,
    likely: Array,
    *,
    suspect: Array | None = None,
    class_names: list[str] | None = None,
    content_hash: Array | None = None,
    **meta: Any,
) -> Path:
    """Write flags; `given` and `likely` are (n,)."""
    columns = flag_columns(given, likely, suspect)
    if content_hash is not None:
        columns["content_hash"] = content_hash
    full = {"flag": "label_issue", "rule": RULE, "class_names": class_names, "totals": {},
            "warnings": [], "inputs": [], **meta}  # fmt: skip
    write_flags(path, columns, full)
    return path
