"""What a recipe says of `dataprune evaluate`: which cells to retrain on, and how long."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from dataprune.core.recipe_training import ModelRecipe, Strict

Baseline = Literal["rs2", "infobatch"]
Protocol = Literal["fixed_steps", "fixed_epochs"]


class EvaluateRecipe(Strict):
    """Defaults for retraining on cells: each strategy at each budget, beside random and full."""

    strategies: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None,
        description="such as hardest, window:offset=0.1, flagged->ccs:beta=0.1, or auto; default: "
        "as prune says",
    )
    keep: Annotated[tuple[float | int, ...], Field(min_length=1)] = Field(
        (0.7, 0.5, 0.3, 0.1), description="fractions in (0, 1] or whole counts"
    )
    protocol: Protocol = Field(
        "fixed_steps",
        description="every arm takes as many steps, or as many epochs over its own rows",
    )
    steps: int | None = Field(
        None, ge=1, description="of fixed_steps; default: what the probe takes on all rows"
    )
    epochs: int | None = Field(
        None, ge=1, description="of fixed_epochs; default: probe.schedule_epochs"
    )
    seeds: int = Field(3, ge=1, description="retrainings of each arm")
    model: ModelRecipe | None = Field(
        None, description="retrain another model than the probe that scored; default: the probe's"
    )
    baselines: tuple[Baseline, ...] = Field(
        (), description="training-time selection to compare with, at equal steps"
    )

    pilot: float | None = Field(
        None,
        gt=0,
        description="of auto: at most as many steps as so many trainings on everything; default: "
        "5, and up to 60 where there are few rows to test on",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        lists = {"strategies", "keep", "baselines"}
        return {k: [v] if k in lists and isinstance(v, str | float | int) else v
                for k, v in data.items()}  # fmt: skip

    @model_validator(mode="after")
    def _lengths_have_an_effect(self) -> EvaluateRecipe:
        for name, of in (("steps", "fixed_steps"), ("epochs", "fixed_epochs")):
            if getattr(self, name) is not None and self.protocol != of:
                raise ValueError(f"{name} has no effect with {self.protocol}: it is of {of}")
        return self
