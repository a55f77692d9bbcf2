"""Noise by what regularised training cannot fit: it ends near 1 - noise of the labels it is given.

The full-inversion phase of "To grok or not to grok" (arXiv 2310.13061, section 3): with enough
regularisation a network classifies corrupted training examples as their true class, so that its
training accuracy stays at the share of right labels. Experimental: a probe that has not learned
the task stays lower still, one that memorizes goes above.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from dataprune.runs.ledger import Record
from dataprune.tables.trace import read_unit_trace

SIGNAL = "correct"
_SETTLED = 0.01
_MEANING = (
    "1 - training accuracy at the last checkpoint: too high for probes that have not learned the "
    "task, too low for probes that memorize (training far above held-out accuracy)"
)


def train_plateau(records: Iterable[Record], checkpoints: Iterable[int]) -> dict[str, Any] | None:
    """Where the probes' training accuracy ends; None if that was not recorded.

    Returns rate; accuracy {epoch: training accuracy against the given labels, mean over units};
    held_out: the same of the rows held out, at the last; settled: whether the last two checkpoints
    differ by under 0.01, None with one; status; meaning.
    """
    at = sorted(checkpoints)
    trained: dict[int, list[float]] = {epoch: [] for epoch in at}
    held_out = []
    for record in records:
        if SIGNAL not in record.identity["signals"]:
            return None
        trace = read_unit_trace(record, [SIGNAL], at)
        for epoch in at:
            mask = trace.in_sample_at(epoch)
            trained[epoch].append(float(trace.signals[epoch][SIGNAL][mask].mean()))
        if not mask.all():
            held_out.append(float(trace.signals[at[-1]][SIGNAL][~mask].mean()))
    accuracy = {epoch: float(np.mean(values)) for epoch, values in trained.items()}
    last = [accuracy[epoch] for epoch in at[-2:]]
    return {
        "rate": 1 - last[-1],
        "accuracy": {str(epoch): value for epoch, value in accuracy.items()},
        "held_out": float(np.mean(held_out)) if held_out else None,
        "settled": abs(last[1] - last[0]) < _SETTLED if len(last) == 2 else None,
        "status": "experimental",
        "meaning": _MEANING,
    }
