"""What a recipe says of pruning: how scores become a version, where the command says nothing."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from dataprune.core.recipe_training import Strict


class StepRecipe(Strict):
    """One strategy of several, in order."""

    strategy: str
    params: dict[str, Any] = Field(default_factory=dict)


class PruneRecipe(Strict):
    """Defaults for turning these scores into a version."""

    keep: float | int | None = Field(None, description="a fraction in (0, 1] or a whole count")
    by: str | None = Field(None, description="score column; default: the first score")
    strategy: str = "hardest"
    params: dict[str, Any] = Field(default_factory=dict)
    steps: tuple[StepRecipe, ...] = Field(
        (),
        description="several strategies in order, in place of strategy and params: any number that "
        "drop rows by themselves (duplicates, flagged, threshold), then one that fills the budget",
    )
    class_balance: Literal["none", "proportional", "equal"] = "none"
    min_per_class: int = Field(0, ge=0, description="floor: rows kept of each class at least")
    max_per_group: int | None = Field(
        None, ge=1, description="rows kept of each group (near-duplicates) at most"
    )
    drop_likely: bool = Field(
        False,
        description="drop rows whose label is flagged likely wrong before the others compete; "
        "without keep, keep all the others",
    )
    relabel: bool = Field(
        False,
        description="store suggested labels of likely wrong ones in a column of their own; "
        "without keep, keep all rows",
    )
    seed: int = Field(0, ge=0)
    order: Literal["source", "score"] = Field(
        "source",
        description="order of a version's rows; score: best to keep first, so that a smaller "
        "version's shards are the first of a larger one's",
    )

    @model_validator(mode="after")
    def _names_strategies_once(self) -> PruneRecipe:
        if self.steps and {"strategy", "params"} & self.model_fields_set:
            raise ValueError("steps and strategy say the same: leave strategy and params out")
        return self

    @model_serializer(mode="wrap")
    def _says_strategies_once(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the defaults that steps stand in place of, so that it can be read again."""
        told: dict[str, Any] = dump(self)
        if self.steps:
            for name in ("strategy", "params"):
                told.pop(name, None)
        return told

    @model_validator(mode="after")
    def _relabels_what_is_kept(self) -> PruneRecipe:
        if self.drop_likely and self.relabel:
            raise ValueError("relabel has no effect with drop_likely, which keeps no such row")
        return self
