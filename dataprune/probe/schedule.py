"""Learning-rate schedules as a factor of the step: plain arithmetic, laid out over all steps."""

from __future__ import annotations

from collections.abc import Callable

from dataprune.core.recipe_training import (
    OneCycleSchedule,
    Schedule,
    StepSchedule,
    WarmupStableDecaySchedule,
)


def lr_factor(schedule: Schedule, num_steps: int) -> Callable[[int], float]:
    """The factor on the base rate at each step 0..num_steps-1."""
    match schedule:
        case StepSchedule():
            milestones = [round(share * num_steps) for share in schedule.milestones]
            return lambda step: schedule.factor ** sum(step >= m for m in milestones)
        case OneCycleSchedule():
            warmup, decay = schedule.warmup, 1 - schedule.warmup
        case WarmupStableDecaySchedule():
            warmup, decay = schedule.warmup, schedule.decay
    rise, fall = warmup * num_steps, decay * num_steps

    def factor(step: int) -> float:
        up = (step + 1) / rise if step + 1 < rise else 1.0
        down = (num_steps - step) / fall if num_steps - step < fall else 1.0
        return min(up, down)

    return factor
