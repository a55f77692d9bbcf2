"""Scores: a number per example, computed from stored traces.

One score a file, each defines `SCORE`.

Every score is oriented so that higher means harder (or noisier, more uncertain, more memorized):
`higher_is` says which. One that its authors define the other way round is stored negated, and its
spec says so. A score names the signals it needs, and is a pure function of what one seed saw at one
checkpoint; which seeds count for a row, and what is made of them, is `over`, applied in
`_aggregate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dataprune.core.registry import Registry

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What one seed saw at one checkpoint.

    signals: {name: float64 (n,)}, rows in source order.
    epoch: the checkpoint. How often a row was observed by then is the signal observed_epochs.
    in_sample: bool (n,), the rows this seed trained on.
    labels: as the source has them: class indices int64 (n,), 0/1 (n, classes), numbers (n, k).
    """

    signals: Mapping[str, Values]
    epoch: int
    seed: int
    root_seed: int
    num_rows: int
    in_sample: npt.NDArray[np.bool_]
    labels: npt.NDArray[Any]


@dataclass(frozen=True)
class Score:
    """A registered score.

    signals: recorded signals it reads; none means that no probe is needed.
    compute: Seen -> float64 (n,).
    status: `core` keeps its definition; `experimental` may change.
    value_range, cost, pitfalls: for people, in words; of one seed, beyond training.
    source: where the formula comes from.
    spec: what a silent variant would change (norm, layer scope, ...), stored with every column.
    over: a row's value is the mean over the seeds that trained on it ("in_sample"), over those
        that did not ("held_out"), or the first less the second ("difference").
    window: how it reads `scores.window`: "whole" runs of so many epochs, so that it needs that
        many, or up to so many of the "best" epochs; None where it does not.
    least_window: the shortest window, in epochs, that can tell rows apart.
    at_init: whether it is read off the untrained weights, and so is the same at every checkpoint.
    """

    name: str
    signals: tuple[str, ...]
    compute: Callable[[Seen], Values]
    higher_is: Literal["harder", "noisier", "more uncertain", "more memorized", "nothing"]
    status: Literal["core", "experimental"]
    value_range: str
    source: str
    cost: str = "not stated"
    pitfalls: str = "not stated"
    spec: dict[str, Any] = field(default_factory=dict)
    over: Literal["in_sample", "held_out", "difference"] = "in_sample"
    window: Literal["whole", "best"] | None = None
    least_window: int = 2
    at_init: bool = False

    @property
    def windowed(self) -> bool:
        """Whether it has no value until a window is whole."""
        return self.window == "whole"


FREE = "free: read off what is recorded anyway"
EVERY_EPOCH = "a forward pass over the rows after every epoch; none in mode train"
BACKWARD = "a forward and a backward pass over the rows at each checkpoint"

SCORES: Registry[Score] = Registry("dataprune.scores", "SCORE", "score")
