"""Flags: a number in [0,1] per example with a verdict, the evidence beside it, and honest totals.

One flag a file, each defines `FLAG`. A flag never drops a row: selection does, if it is told to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from dataprune.core.registry import Registry


@dataclass(frozen=True)
class Flag:
    """A registered flag.

    compute: evidence -> its result, with a verdict for every row.
    rule: how the verdict follows from the evidence, in words; stored with every table of flags.
    status: `core` keeps its definition; `experimental` may change.
    source: where the formulas come from.
    pitfalls: for people: what the flag cannot tell.
    """

    name: str
    compute: Callable[..., Any]
    rule: str
    status: Literal["core", "experimental"]
    source: str
    pitfalls: str


FLAGS: Registry[Flag] = Registry("dataprune.flags", "FLAG", "flag")
