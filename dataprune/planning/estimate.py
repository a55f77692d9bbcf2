"""From seconds that were timed to what a whole run takes and costs: plain arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

SECONDS = 3.0  # that each kind of work is timed
Kind = Literal["train", "score", "held-out", "rest"]
KINDS: tuple[Kind, ...] = ("train", "score", "held-out", "rest")


class Timed(Protocol):
    """One kind of work of a unit, as `probe/stopwatch.py` has it."""

    @property
    def kind(self) -> Kind:
        """What it belongs to."""

    @property
    def unit_seconds(self) -> float:
        """Seconds of it in a whole unit."""


@dataclass(frozen=True)
class Allowance:
    """What a budget is enough for.

    unit: "GPU" or "CPU". hours: the budget. spent_hours: by units that are finished.
    needed_hours: by those to run. enough_for, units: how many of them it pays for.
    """

    unit: Literal["GPU", "CPU"]
    hours: float
    spent_hours: float
    needed_hours: float
    enough_for: int
    units: int

    def __str__(self) -> str:
        spent = f", of which {self.spent_hours:.2g} are spent," if self.spent_hours else ""
        enough = f"{self.enough_for} of {self.units} units"
        if self.enough_for == self.units:
            enough = f"all {self.units} units" if self.units > 1 else "the unit"
        return f"the budget of {self.hours:g} {self.unit} hours{spent} is enough for {enough}"


def seconds_by_kind(parts: Iterable[Timed]) -> dict[Kind, float]:
    """Seconds of a whole unit, by what they are for."""
    seconds = dict.fromkeys(KINDS, 0.0)
    for part in parts:
        seconds[part.kind] += part.unit_seconds
    return seconds


def hours(units: int, unit_s: float, share: float) -> float:
    """Hours that units cost, each with a share of GPUs or a number of CPU threads."""
    return units * unit_s * share / 3600


def wall_seconds(units: int, at_once: int, unit_s: float, start_s: float) -> float:
    """Seconds until the last unit ends, so many at once; with none to run, nothing starts."""
    return start_s + math.ceil(units / at_once) * unit_s if units else 0.0


def allowance(
    unit: Literal["GPU", "CPU"], budget: float, spent: float, units: int, unit_hours: float
) -> Allowance:
    """What a budget in hours is enough for, after what is spent; a unit is paid for whole."""
    left = max(0.0, budget - spent)
    most = units
    if unit_hours > 0:  # a hair above a whole number of units is that number
        most = math.floor(left / unit_hours + 1e-9)
    return Allowance(unit, budget, spent, units * unit_hours, min(units, most), units)
