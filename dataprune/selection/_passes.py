"""A pass over a score table in parts: which rows compete, and their keys as whole numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.fingerprint import UInt64, mix64
from dataprune.selection import STRATEGIES, Column, Pool, Rows, Sort
from dataprune.selection._choice import Choice
from dataprune.selection._columns import is_easier, named_scores
from dataprune.selection._cuts import Cuts, Mask, Part
from dataprune.selection._decide import strata
from dataprune.selection._excluded import Excluded, excluded_rows
from dataprune.selection._steps import without_dropped
from dataprune.tables.score_scan import Scores, finite

_SIGN = np.uint32(1 << 31)
_WORD_BITS, _GRID_BITS = 32, 20


@dataclass(frozen=True)
class Plan:
    """Everything that a pass needs.

    bounds: lowest and highest score, where they are known. skipped: rows that come first by their
    keys and are to come last; known after passes of its own.
    """

    scan: Scores
    choice: Choice
    column: str
    easier: bool
    names: list[str]
    has_classes: bool
    bounds: tuple[float, float] | None
    skipped: Cuts | None = None

    @property
    def sort(self) -> Sort:
        plugin = STRATEGIES.get(self.choice.strategy)
        assert plugin.sorts is not None
        return plugin.sorts(**self.choice.params)

    @property
    def by_class(self) -> bool:
        """Whether rows compete within their class, and not all with all."""
        return self.choice.balance != "none"

    @property
    def width(self) -> int:
        """Bits of a word."""
        return self._bits + (self.skipped is not None)

    @property
    def _bits(self) -> int:
        """Bits of the word of a row that is not skipped."""
        return _WORD_BITS + (0 if self.bounds is None else _GRID_BITS)

    @property
    def filters(self) -> bool:
        return bool(self.choice.before) or self.choice.drop_likely

    def ties(self, rows: Rows) -> UInt64:
        return mix64(rows, "ties", self.choice.strategy, self.choice.seed)

    def last_digits(self, part: Part) -> UInt64:
        """What follows the words in the keys of rows: tie-breaks, of skipped rows the reverse."""
        ties = self.ties(part.rows)
        return ties if self.skipped is None else np.where(self.is_skipped(part), ~ties, ties)

    def is_skipped(self, part: Part) -> Mask:
        """Which rows come last because they are skipped, bool (n,)."""
        mask: Mask = part.words >> np.uint64(self._bits) > 0
        return mask

    def with_skipped_last(self, part: Part) -> Part:
        """The rows with keys by which those that are skipped come last, in reverse.

        A number less one that is larger than all is its reverse, and a bit before it puts it last.
        """
        if self.skipped is None:
            return part
        pooled = part if self.by_class else in_one_pool(part)
        skipped = self.skipped.within(pooled, lambda some: self.ties(some.rows))
        turned = np.uint64((2 << self._bits) - 1) - part.words
        return Part(part.pools, np.where(skipped, turned, part.words), part.rows)


def planned(scan: Scores, choice: Choice, column: str) -> Plan:
    class_names = scan.head.meta["source"]["class_names"]
    strategy = STRATEGIES.get(choice.strategy)
    _, names = strata(scan.head.table, class_names, choice, strategy)
    has_classes = pa.types.is_integer(scan.head.table.schema.field("label").type)
    easier = is_easier(scan.head, column)
    plan = Plan(scan, choice, column, easier, names, has_classes, bounds=None)
    return plan if plan.sort.first == "ties" else replace(plan, bounds=scan.bounds(column))


def in_one_pool(part: Part) -> Part:
    """The rows, competing all with all."""
    return Part(np.zeros(len(part.rows), dtype=np.int64), part.words, part.rows)


def _words(plan: Plan, values: npt.NDArray[np.float32]) -> UInt64:
    """Scores as whole numbers, uint64 (n,): lower comes first, and equal scores are equal.

    Leading is the place on an even grid between the bounds, so that the first digits tell scores
    apart whatever their magnitudes; the bits of the float, which sort as it does, tell the rest.
    """
    high = plan.sort.is_falling(easier=plan.easier)
    bits = (values + np.float32(0)).view(np.uint32)  # -0 and 0 are one score
    rising = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    words = (~rising if high else rising).astype(np.uint64)
    if plan.bounds is None:
        return words
    lowest, highest = plan.bounds
    cells = (1 << _GRID_BITS) - 1
    wide = values.astype(np.float64)
    apart = highest - wide if high else wide - lowest
    grid = apart * (cells / (highest - lowest)) if highest > lowest else np.zeros_like(apart)
    words |= np.clip(grid, 0, cells).astype(np.uint64) << np.uint64(_WORD_BITS)
    return words


def numbered(parts: Iterator[pa.Table]) -> Iterator[tuple[int, pa.Table]]:
    start = 0
    for part in parts:
        yield start, part
        start += len(part)


def _labels(plan: Plan, part: pa.Table) -> Rows:
    if not plan.has_classes:
        return np.zeros(len(part), dtype=np.int64)
    labels: Rows = part.column("label").to_numpy().astype(np.int64)
    return labels


def left_of(plan: Plan, part: pa.Table, start: int) -> tuple[Part, Excluded | None]:
    """The rows of a part that compete, and those that filters drop; pools are the classes."""
    rows = np.arange(start, start + len(part))
    values = finite(part, plan.column, start)
    labels = _labels(plan, part)
    out = None
    if plan.filters:
        ties = plan.ties(rows)
        names = [name for step in plan.choice.before for name in named_scores(step)]
        columns = {
            name: Column(
                finite(part, name, start).astype(np.float64), is_easier(plan.scan.head, name)
            )
            for name in names
        }
        of_class = labels if plan.has_classes else None
        pool = Pool(values.astype(np.float64), ties, len(rows), plan.easier, columns, of_class)
        out = excluded_rows(part, ties, drop_likely=plan.choice.drop_likely)
        left, out = without_dropped(part, pool, plan.choice, out)
        rows, values, labels = rows[left], values[left], labels[left]
    by_ties = plan.sort.first == "ties"
    words = plan.ties(rows) >> np.uint64(32) if by_ties else _words(plan, values)
    return plan.with_skipped_last(Part(labels, words, rows)), out


def competing_rows(plan: Plan) -> Iterator[Part]:
    """A pass over all rows that compete, by class."""
    columns = None if plan.filters else [plan.column, "label"]
    for start, part in numbered(plan.scan.parts(columns)):
        yield left_of(plan, part, start)[0]
