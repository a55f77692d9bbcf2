"""What `auto` tells: the strategy of a budget, why, what was tried, what it cost, how sure."""

from __future__ import annotations

from dataclasses import dataclass, field

from dataprune.evaluation.priors import RANDOM, Noise
from dataprune.evaluation.rounds import Difference, Round

__all__ = ["RANDOM", "Chosen", "Tried"]


@dataclass(frozen=True)
class Tried:
    """A candidate of the pilot.

    strategy, by: as they would be asked for. why: it is a candidate.
    per_seed: the metric in each of the rounds that it took part in, from the first on.
    left_out: why it was not trained, or not to the end; None if it was.
    """

    strategy: str
    by: str | None
    why: str
    per_seed: list[list[float]] = field(default_factory=list)
    left_out: str | None = None


@dataclass(frozen=True)
class Chosen:
    """The strategy that `auto` chose for a budget.

    tried: candidates, the one that is expected to be best first. rounds: of the pilot.
    over: how much better it was in the last round than each other candidate there.
    full_steps: what one training on everything takes; own_steps: one on the kept rows.
    pilot_s: device seconds of the pilot. failed: trainings of it. command: the line that prunes so.
    """

    keep: float | int
    strategy: str
    by: str | None
    why: str
    noise: Noise
    tried: list[Tried]
    rounds: list[Round]
    over: list[Difference]
    full_steps: int
    own_steps: int
    num_validation_rows: int
    metric: str
    pilot_s: float
    unit: str
    failed: int
    command: str
    warnings: list[str] = field(default_factory=list)
