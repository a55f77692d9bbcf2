"""The recipe of `reproduce grok`: which networks to train on which modular arithmetic.

A document of its own kind, told from scoring recipes by the key `reproduces`: it has no source, no
scores and no budget, so a scoring recipe with optional everything would check nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from dataprune.core.errors import RecipeError
from dataprune.core.recipe_file import read_yaml, recipe_folder, validate
from dataprune.core.recipe_training import Strict

SHIPPED = "grok_modular_addition"
Operation = Literal["addition", "multiplication"]
Share = Annotated[float, Field(ge=0, le=1)]


class PaperAccuracy(Strict):
    """What the paper reports for a run, to print beside."""

    train: Share
    test: Share


class GrokRun(Strict):
    """One network: how it is regularised and trained (AdamW, decoupled weight decay)."""

    name: str = Field(min_length=1, max_length=40)
    steps: int = Field(ge=1)
    lr: float = Field(0.01, gt=0)
    weight_decay: float = Field(0, ge=0, description="weights shrink by lr x weight_decay a step")
    dropout: float = Field(0, ge=0, lt=1, description="of pre-activations")
    batch_norm: bool = Field(False, description="normalise the activations")
    batch_size: int | None = Field(None, ge=2, description="null: the whole training set each step")
    alpha: float | None = Field(None, gt=0, lt=1, description="default: the recipe's")
    xi: Share | None = Field(None, description="default: the recipe's")
    paper: PaperAccuracy | None = None


class GrokRecipe(Strict):
    """Modular arithmetic with corrupted labels, and the runs to compare."""

    version: Literal[1] = 1
    reproduces: Literal["grok"]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    operation: Operation = "addition"
    p: int = Field(97, ge=5, le=257, description="modulus, a prime: there are p x p examples")
    num_neurons: int = Field(500, ge=1)
    alpha: float = Field(0.5, gt=0, lt=1, description="share of all examples that is trained on")
    xi: Share = Field(0.35, description="share of the training labels that is drawn at random")
    runs: tuple[GrokRun, ...] = Field(min_length=1)
    seeds: int = Field(1, ge=1, description="trainings of each run")
    seed: int = Field(0, ge=0, description="root of every random draw")
    evaluate_every: int = Field(20, ge=1, description="steps between points of the curves")
    num_cpus: int = Field(1, ge=1, description="CPU threads; other counts give other last digits")

    def alpha_of(self, run: GrokRun) -> float:
        """The training share of a run."""
        return self.alpha if run.alpha is None else run.alpha

    def xi_of(self, run: GrokRun) -> float:
        """The share of drawn labels of a run."""
        return self.xi if run.xi is None else run.xi

    def num_train(self, run: GrokRun) -> int:
        """Training examples of a run: the whole part of alpha p^2."""
        return int(self.alpha_of(run) * self.p**2)

    @model_validator(mode="after")
    def _can_be_run(self) -> GrokRecipe:
        if any(self.p % factor == 0 for factor in range(2, int(self.p**0.5) + 1)):
            raise ValueError(f"p is {self.p}, which is not a prime number")
        names = [run.name for run in self.runs]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two runs are called {name}")
        for run in self.runs:
            size = self.num_train(run)
            if not 1 <= size < self.p**2:
                raise ValueError(f"run {run.name} trains on {size} of {self.p**2} examples")
            if run.batch_size is not None and run.batch_size > size:
                raise ValueError(
                    f"run {run.name} has batches of {run.batch_size} and {size} training examples"
                )
        return self


def load_grok_recipe(path: Path | None = None) -> GrokRecipe:
    """Read a recipe file, or the shipped one.

    Raises:
        RecipeError: no such file, not YAML, or not valid; the hint says what to change.
    """
    path = recipe_folder() / f"{SHIPPED}.yaml" if path is None else path
    if not path.is_file():
        raise RecipeError(
            f"there is no recipe file {path}", hint=f"start from a copy of {SHIPPED}.yaml"
        )
    return validate(GrokRecipe, read_yaml(path), where=str(path))
