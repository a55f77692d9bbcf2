"""Flags: a number in [0,1] per example with a verdict, the evidence beside it, and honest totals.

One flag a file, each defines `FLAG`. A flag never drops a row: selection does, if it is told to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from dataprune.core.errors import PartialError, UsageError
from dataprune.core.registry import Registry


@dataclass(frozen=True)
class Flag:
    """A registered flag.

    compute: the stored units of a run -> its result, with a verdict for every row.
    beside: scores that are computed with it, as what training makes of the same rows.
    rule: how the verdict follows from the evidence, in words; stored with every table of flags.
    status: `core` keeps its definition; `experimental` may change.
    source: where the formulas come from.
    pitfalls: for people: what the flag cannot tell.
    """

    name: str
    compute: Callable[..., Any]
    beside: tuple[str, ...]
    rule: str
    status: Literal["core", "experimental"]
    source: str
    pitfalls: str


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


def compute_flags(flags: Iterable[Flag], units: Any) -> tuple[dict[str, Any], list[str]]:
    """Each flag's result by name; and of those that too few units finished for, a sentence why."""
    found, left_out = {}, []
    for flag in flags:
        try:
            found[flag.name] = flag.compute(units)
        except PartialError as exc:
            left_out.append(f"left out: {flag.name}: {exc.message}")
    return found, left_out


FLAGS: Registry[Flag] = Registry("dataprune.flags", "FLAG", "flag")
