"""What a recipe asks of its probes: which scores, at which epochs, recorded how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dataprune.core.recipe_training import Strict

TaskName = Literal["classification", "multilabel", "regression"]
DEFAULT_SCORES: dict[TaskName | None, tuple[str, ...]] = {
    "classification": ("el2n", "loss", "margin"),
    "multilabel": ("el2n", "loss"),
    "regression": ("el2n", "loss"),
    None: ("random",),
}


class ScoresRecipe(Strict):
    """What to compute from the probes."""

    names: tuple[str, ...] | None = Field(
        None, min_length=1, description="default: el2n, loss and, for classification, margin"
    )
    at: tuple[int, ...] | None = Field(
        None, min_length=1, description="epochs to score at; default: the last"
    )
    mode: Literal["eval", "train"] = Field(
        "eval",
        description="eval: a clean pass over every row; train: what the training steps showed, for "
        "free, as augmented and as old as each row's last step",
    )
    window: int = Field(
        10,
        ge=2,
        description="epochs in a window of dyn_unc, dual and tdds; the best epochs lbpe is over",
    )
    removal: Literal["directions", "units", "magnitude"] = Field(
        "directions",
        description="what of a layer is removed for scores mem_*: principal directions (M2), units "
        "by held-out worth (M1), or, as a control, by magnitude",
    )
    layer: str | None = Field(
        None,
        min_length=1,
        description="for scores mem_*: the module of the model, by its path as in named_modules(), "
        "whose output is edited; null: the input of the last linear layer",
    )
    features: bool | None = Field(
        None,
        description="record what the last linear layer reads of every row at the end of training, "
        "for strategies that read features (kcenter, d2, ...), beside the score table; default: "
        "if one that prune names reads them. With source.columns.embedding it is that column",
    )
    timing_gate: Literal["error", "warn", "off"] = Field(
        "error", description="what to do when a scored epoch is too early to be believed"
    )
