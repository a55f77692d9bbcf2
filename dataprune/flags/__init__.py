"""Flags: a number in [0,1] per example with a verdict, the evidence beside it, and honest totals.

One flag a file, each defines `FLAG`. A flag never drops a row: selection does, if it is told to.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from dataprune.core.errors import PartialError, UsageError
from dataprune.core.registry import Registry

if TYPE_CHECKING:
    from dataprune.tables.flags import FlagColumns


class FlagResult(Protocol):
    """What a flag made of a run: a verdict for every row."""

    @property
    def totals(self) -> dict[str, Any]:
        """Counts and estimates, as JSON."""

    @property
    def warnings(self) -> list[str]:
        """What makes the flag weak here, a sentence each."""

    def in_scores(self) -> FlagColumns:
        """As a score table has it."""


@dataclass(frozen=True)
class Flag:
    """A registered flag.

    compute: the stored units of a run -> its result, with a verdict for every row.
    tell: totals of a result -> a title, and rows of what, estimate and detail, for people.
    beside: scores that are computed with it, as what training makes of the same rows.
    rule: how the verdict follows from the evidence, in words; stored with every table of flags.
    status: `core` keeps its definition; `experimental` may change.
    source: where the formulas come from.
    pitfalls: for people: what the flag cannot tell.
    has_table: whether `dataprune flags` makes a table of it alone.
    """

    name: str
    compute: Callable[..., Any]
    tell: Callable[[dict[str, Any]], tuple[str, list[list[Any]]]]
    beside: tuple[str, ...]
    rule: str
    status: Literal["core", "experimental"]
    source: str
    pitfalls: str
    has_table: bool = False


@dataclass(frozen=True)
class Flagged:
    """What all flags of a scoring made.

    columns: of the score table. totals: {flag: totals}. warnings: of them, and of flags left out.
    overlap: [{a, b, both, only_a, only_b, neither}], rows by the verdicts of each two flags.
    """

    columns: list[FlagColumns]
    totals: dict[str, dict[str, Any]]
    warnings: list[str]
    overlap: list[dict[str, Any]]


def find_flags(names: Iterable[str], task: str | None) -> list[Flag]:
    """Registered flags by name, once each, for a recipe's task.

    Raises:
        UsageError: there is no such flag, or the task has no single label that could be wrong.
    """
    found = [FLAGS.get(name) for name in dict.fromkeys(names)]
    if found and task != "classification":
        raise UsageError(
            f"{found[0].name} wants one class per row, and the task is {task or 'none'}",
            hint="leave the flag out",
        )
    return found


def compute_flags(flags: Iterable[Flag], units: Any) -> Flagged:
    """Every flag of a run; one that too few units finished for is left out, with a warning."""
    found: dict[str, FlagResult] = {}
    warnings = []
    for flag in flags:
        try:
            found[flag.name] = flag.compute(units)
        except PartialError as exc:
            warnings.append(f"left out: {flag.name}: {exc.message}")
    warnings += [text for result in found.values() for text in result.warnings]
    columns = [result.in_scores() for result in found.values()]
    totals = {name: result.totals for name, result in found.items()}
    return Flagged(columns, totals, list(dict.fromkeys(warnings)), overlap_of(columns))


def overlap_of(columns: Sequence[FlagColumns]) -> list[dict[str, Any]]:
    """Rows by the verdicts of each two flags: what one says is not what the other says."""
    verdicts = {
        found.name: found.columns.column(f"is_{found.name}").to_numpy() for found in columns
    }
    return [
        {
            "a": a,
            "b": b,
            "both": int((verdicts[a] & verdicts[b]).sum()),
            "only_a": int((verdicts[a] & ~verdicts[b]).sum()),
            "only_b": int((~verdicts[a] & verdicts[b]).sum()),
            "neither": int((~verdicts[a] & ~verdicts[b]).sum()),
        }
        for a, b in itertools.combinations(verdicts, 2)
    ]


FLAGS: Registry[Flag] = Registry("dataprune.flags", "FLAG", "flag")
