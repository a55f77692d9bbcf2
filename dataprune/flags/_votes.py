"""Held-out votes and given labels as they come in: checked, and read as logits by blocks of rows.

A vote is one model's output for rows that it did not train on. Every error names what was wrong,
where, and in which row, counted from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import AlignmentError, TableError, nearest
from dataprune.flags._blocks import over_blocks

Array = npt.NDArray[Any]
Values = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

_SUM_TOLERANCE = 1e-3
_HALF_SUM_TOLERANCE = 2e-2  # of float16: a thousand roundings of 2 ** -11 each
_LEAST = 1e-38
_LOGITS_HINT = "give probabilities; for logits say so: --logits, or logits=True"


class Vote(Protocol):
    """One checked vote on n rows.

    values: what it is stored as. held_out: bool (n,). shape: rows and classes.
    """

    @property
    def name(self) -> str: ...
    @property
    def values(self) -> Array: ...
    @property
    def held_out(self) -> npt.NDArray[np.bool_]: ...
    @property
    def shape(self) -> tuple[int, int]: ...

    def logits(self, rows: slice | Labels) -> Values:
        """Logits, up to a constant per row, float64 (b, C), freshly made; 0 where not held out."""


@dataclass(frozen=True)
class ArrayVote:
    """A vote stored as one number per row and class.

    values: float (n, C), probabilities or logits as given; rows not held out are NaN.
    held_out: bool (n,). floor: what a probability of exactly 0 is read as.
    """

    values: Array
    name: str
    is_logits: bool
    held_out: npt.NDArray[np.bool_]
    floor: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and classes."""
        rows, classes = self.values.shape
        return rows, classes

    def logits(self, rows: slice | Labels) -> Values:
        """As `Vote.logits`."""
        values = np.array(self.values[rows], dtype=np.float64)
        held_out = self.held_out[rows]
        if not held_out.all():
            values[~held_out] = 1.0
        if not self.is_logits:
            np.maximum(values, self.floor, out=values)
            np.log(values, out=values)
        return values


def check_vote(values: Array, *, name: str, is_logits: bool) -> ArrayVote:
    """Check one vote, n x C.

    A probability of exactly 0 says "less than I can express". It is read as half the least
    positive one of the vote, which for 100 trees is 1/200; its logarithm must be finite.

    Raises:
        TableError: not n x C floats, empty, or a row that holds no probabilities.
    """
    if values.ndim != 2 or values.dtype.kind != "f":
        raise TableError(
            f"{name} has shape {values.shape} of {values.dtype}, not rows x classes of floats",
            hint="give a float32 array with one row per example and one column per class",
        )
    n, num_classes = values.shape
    if n == 0 or num_classes < 2:
        raise TableError(
            f"{name} has {n} rows and {num_classes} classes",
            hint="at least one row and two classes are needed",
        )
    held_out = np.empty(n, dtype=np.bool_)
    tolerance = _HALF_SUM_TOLERANCE if values.dtype == np.float16 else _SUM_TOLERANCE

    def check(rows: slice) -> float:
        block = np.asarray(values[rows], dtype=np.float64)
        empty = np.asarray(np.isnan(block).all(axis=1))
        held_out[rows] = ~empty
        bad = ~np.isfinite(block) & ~empty[:, None]
        _refuse(bad, block, rows, f"{name} has", "a row that was not held out is NaN throughout")
        if is_logits:
            return 1.0
        _refuse(np.less(block, 0), block, rows, f"{name} has", _LOGITS_HINT)
        sums = block.sum(axis=1)
        off = np.flatnonzero(np.abs(sums - 1) > tolerance)  # NaN compares false
        if len(off):
            raise TableError(
                f"row {rows.start + off[0]} of {name} sums to {sums[off[0]]:.6g}, not to 1",
                hint=_LOGITS_HINT,
            )
        positive = block[block > 0]
        return float(positive.min()) if len(positive) else 1.0

    least = min(over_blocks(check, n, num_classes))
    if not held_out.any():
        raise TableError(f"{name} is NaN in every row", hint="leave this vote out")
    return ArrayVote(values, name, is_logits, held_out, floor=max(least / 2, _LEAST))


def _refuse(bad: npt.NDArray[np.bool_], block: Values, rows: slice, what: str, hint: str) -> None:
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise TableError(
            f"{what} {block[row, column]:.6g} in row {rows.start + row}, column {column}",
            hint=hint,
        )


def check_together(votes: Sequence[Vote], labels: Array, labels_name: str) -> None:
    """Check that votes and labels speak of the same rows and classes, and every row has a vote.

    Raises:
        AlignmentError: other numbers of rows or classes.
        TableError: a row that no vote held out.
    """
    first = votes[0]
    for vote in votes[1:]:
        if vote.shape != first.shape:
            raise AlignmentError(
                f"{vote.name} is {_size(vote)}, and {first.name} is {_size(first)}",
                hint="every vote has all rows and classes; rows not held out there are NaN",
            )
    if len(labels) != first.shape[0]:
        raise AlignmentError(
            f"{labels_name} has {len(labels)} labels, and {first.name} {first.shape[0]} rows",
            hint="give the label of every row, in the same order",
        )
    alone = rows_without_vote(votes)
    if len(alone):
        raise TableError(
            f"row {alone[0]} is NaN in every vote ({len(alone)} such rows)",
            hint="each row needs a model that did not train on it; leave the others out",
        )


def rows_without_vote(votes: Sequence[Vote]) -> Labels:
    """Rows that no vote held out, int64, ascending."""
    return np.flatnonzero(~np.any([vote.held_out for vote in votes], axis=0))


def _size(vote: Vote) -> str:
    return f"{vote.shape[0]} rows x {vote.shape[1]} classes"


def check_labels(
    labels: Array, num_classes: int, class_names: Sequence[str] | None, *, name: str
) -> Labels:
    """Labels as class indices int64 (n,); text is matched to class names by name.

    Integers are positions, unless every class name is an integer: then they are names too, because
    such columns are often in the order of text (0, 1, 10, 2).

    Raises:
        TableError: of another kind, out of range, or no class of that name.
    """
    if labels.ndim != 1 or labels.dtype.kind not in "iuUT":
        raise TableError(
            f"{name} has shape {labels.shape} of {labels.dtype}, not one integer or text per row",
            hint="give class indices as integers, or class names",
        )
    is_text = labels.dtype.kind in "UT"
    if is_text and class_names is None:
        raise TableError(
            f"{name} holds text ({str(labels[0])!r}), and nothing says which column is which class",
            hint="give probabilities as Parquet whose columns are named like the classes",
        )
    if class_names is not None and (is_text or are_integers(class_names)):
        place = {c if is_text else str(int(c)): i for i, c in enumerate(class_names)}
        texts = labels.astype(np.str_).tolist()
        found = np.asarray([place.get(text, -1) for text in texts], dtype=np.int64)
        unknown = np.flatnonzero(found < 0)
        if len(unknown):
            text = texts[unknown[0]]
            raise TableError(
                f"row {unknown[0]} of {name} is {text!r}, which no class is called",
                hint=nearest(text, class_names),
            )
        return found
    bad = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(bad):
        raise TableError(
            f"row {bad[0]} of {name} is {labels[bad[0]]}, and classes are 0 to {num_classes - 1}",
            hint="give the label as the position of its column, from 0",
        )
    return labels.astype(np.int64)


def are_integers(class_names: Sequence[str]) -> bool:
    """Whether integer labels are names of classes, not positions."""
    return all(_is_integer(name) for name in class_names)


def _is_integer(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit()
