"""The votes' mean, of the classes that matter for each row.

Up to 32 classes that is all of them. Beyond, a row keeps its 32 most probable classes and the
given one, and knows how much probability is left for the others: n C numbers become 33 n.

Legend: n rows, b rows of a block, C classes, R kept ones (C, or 33).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.flags._votes import Labels, Values
from dataprune.tables.heldout import TOP

TINY = 1e-30  # no class is impossible: what the posterior divides by is never 0
_LEAST = 1e-15  # of probability for the classes that are not kept


@dataclass(frozen=True)
class Means:
    """Calibrated probability of each *given* label.

    p_nR: float32. classes_nR: int32, which class a column is; None if column k is class k.
    place: int64 (n,), the given class's column.

    Where the given class is among the 32, the 33rd column holds it again, with p = 0.
    """

    p_nR: npt.NDArray[np.float32]
    classes_nR: npt.NDArray[np.int32] | None
    place: Labels
    num_classes: int

    @classmethod
    def empty(cls, n: int, num_classes: int, labels: Labels) -> Means:
        """Means of n rows that are still to be filled in."""
        if num_classes <= TOP:
            return cls(np.empty((n, num_classes), np.float32), None, labels, num_classes)
        size = (n, TOP + 1)
        place = np.empty(n, np.int64)
        return cls(np.empty(size, np.float32), np.empty(size, np.int32), place, num_classes)

    def taken(self, rows: slice | Labels) -> Means:
        """Some of the rows."""
        classes = None if self.classes_nR is None else self.classes_nR[rows]
        return Means(self.p_nR[rows], classes, self.place[rows], self.num_classes)

    def __len__(self) -> int:
        return len(self.p_nR)

    def own(self) -> Values:
        """P of the given label, float64 (n,)."""
        own: Values = self.p_nR[np.arange(len(self)), self.place].astype(np.float64)
        return own

    def classes(self, rows: slice) -> Labels:
        """Which class each column of a block is, int64 (b, R)."""
        if self.classes_nR is not None:
            return self.classes_nR[rows].astype(np.int64)
        size = len(self.p_nR[rows])
        return np.broadcast_to(np.arange(self.num_classes), (size, self.num_classes))

    def best(self) -> Labels:
        """The most probable class of each row, int64 (n,)."""
        column: Labels = self.p_nR.argmax(axis=1)
        if self.classes_nR is None:
            return column
        best: Labels = self.classes_nR[np.arange(len(self)), column].astype(np.int64)
        return best

    def twice(self, rows: slice) -> npt.NDArray[np.bool_]:
        """Which rows of a block have the given class in two columns, bool (b,)."""
        if self.classes_nR is None:
            return np.zeros(len(self.p_nR[rows]), dtype=np.bool_)
        return self.place[rows] < TOP

    def with_rest(self, rows: slice) -> tuple[Values, Values]:
        """Log p and log multiplicity of each column, float64 (b, R + 1) or (b, R).

        The last column stands for every class that is not kept, which share what is left alike.
        """
        p_bR = np.maximum(self.p_nR[rows].astype(np.float64), TINY)
        if self.classes_nR is None:
            return np.log(p_bR), np.zeros_like(p_bR)
        twice = self.twice(rows)
        others = self.num_classes - TOP - 1 + twice
        rest = np.maximum(1 - self.p_nR[rows].sum(axis=1, dtype=np.float64), _LEAST)
        each = rest / np.maximum(others, 1)
        times = np.zeros((len(p_bR), p_bR.shape[1] + 1))
        times[twice, TOP] = -np.inf
        times[:, -1] = np.log(others, out=np.full(len(p_bR), -np.inf), where=others > 0)
        return np.concatenate([np.log(p_bR), np.log(each)[:, None]], axis=1), times


def kept(
    p_bC: Values, labels: Labels
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32] | None, Labels]:
    """Whole rows (b, C) -> what `Means` keeps of them: p_bR, classes_bR, place."""
    num_classes = p_bC.shape[1]
    if num_classes <= TOP:
        return np.maximum(p_bC, TINY).astype(np.float32), None, labels
    top_bR = np.argpartition(p_bC, -TOP, axis=1)[:, -TOP:]
    top_bR.sort(axis=1)
    among = top_bR == labels[:, None]
    classes_bR = np.concatenate([top_bR, labels[:, None]], axis=1)
    p_bR: npt.NDArray[Any] = np.take_along_axis(p_bC, classes_bR, axis=1)
    np.maximum(p_bR, TINY, out=p_bR)
    present = among.any(axis=1)
    p_bR[present, TOP] = 0
    place = np.where(present, among.argmax(axis=1), TOP)
    return p_bR.astype(np.float32), classes_bR.astype(np.int32), place


def some(rows: Labels, width: int, seed: tuple[int, int], *, most: int = 10_000_000) -> Labels:
    """All rows, or a seeded draw of as many as one fitted number needs.

    most: numbers, rows x width: the error of a temperature from 10,000 rows is about 1 %.
    """
    limit = max(1, most // width)
    if len(rows) <= limit:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
