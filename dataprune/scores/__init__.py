"""Scores: a number per example, computed from stored traces.

One score a file, each defines `SCORE`.

Every score is oriented so that higher means harder (or noisier, more uncertain, more memorized):
`higher_is` says which. A score names the signals it needs, and is a pure function of what one seed
saw at one checkpoint; the mean and spread over seeds are taken in `_aggregate`.
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
    epoch: the checkpoint, which is also the number of epochs observed so far.
    """

    signals: Mapping[str, Values]
    epoch: int
    seed: int
    root_seed: int
    num_rows: int


@dataclass(frozen=True)
class Score:
    """A registered score.

    signals: recorded signals it reads; none means that no probe is needed.
    compute: Seen -> float64 (n,).
    status: `core` keeps its definition; `experimental` may change.
    value_range: for people, in words.
    source: where the formula comes from.
    spec: what a silent variant would change (norm, layer scope, ...), stored with every column.
    """

    name: str
    signals: tuple[str, ...]
    compute: Callable[[Seen], Values]
    higher_is: Literal["harder", "noisier", "more uncertain", "more memorized", "nothing"]
    status: Literal["core", "experimental"]
    value_range: str
    source: str
    spec: dict[str, Any] = field(default_factory=dict)


SCORES: Registry[Score] = Registry("dataprune.scores", "SCORE", "score")
