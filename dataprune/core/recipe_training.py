"""How a probe trains: model, optimiser, schedule, shuffle, augmentation, and what it holds out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Strict(BaseModel):
    """Frozen, and no key that means nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelRecipe(Strict):
    """A probe model by name, with its parameters."""

    name: str | None = Field(
        None,
        description="a model, or package.module:function of your own; default: small_cnn for "
        "images, mlp for features, text_bag for text",
    )
    params: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _a_word_is_a_name(cls, data: Any) -> Any:
        return {"name": data} if isinstance(data, str) else data

    @property
    def chosen(self) -> str:
        """The name, once the input's kind has settled it."""
        assert self.name is not None, "the model was not chosen yet"
        return self.name


class Optimizer(Strict):
    """SGD with Nesterov momentum; weight decay on every parameter, as in Data Diet."""

    lr: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)


class StepSchedule(Strict):
    """Multiply the rate by `factor` at each milestone, given as a share of the schedule.

    The default is Data Diet's: epochs 60, 120 and 160 of 200.
    """

    name: Literal["step"] = "step"
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.3, 0.6, 0.8)
    factor: float = Field(0.2, gt=0, le=1)


class OneCycleSchedule(Strict):
    """Rise linearly for `warmup` of the run, then fall linearly to zero."""

    name: Literal["one_cycle"] = "one_cycle"
    warmup: float = Field(0.2, ge=0, lt=1)


class WarmupStableDecaySchedule(Strict):
    """Rise for `warmup` of the run, hold, then fall linearly to zero over the last `decay`."""

    name: Literal["warmup_stable_decay"] = "warmup_stable_decay"
    warmup: float = Field(0.1, ge=0, lt=1)
    decay: float = Field(0.2, ge=0, le=1)

    @model_validator(mode="after")
    def _fits(self) -> WarmupStableDecaySchedule:
        if self.warmup + self.decay > 1:
            raise ValueError("warmup + decay is more than the whole run")
        return self


Schedule = Annotated[
    StepSchedule | OneCycleSchedule | WarmupStableDecaySchedule, Field(discriminator="name")
]


class FullShuffle(Strict):
    """Every epoch is one random permutation of all rows."""

    name: Literal["full"] = "full"


class BlockShuffle(Strict):
    """Rows are shuffled inside a window of blocks drawn at random, so that disks can keep up.

    A block is `rows` neighbouring rows; `window` blocks are held and shuffled together.
    """

    name: Literal["blocks"] = "blocks"
    rows: int = Field(1024, ge=1)
    window: int = Field(16, ge=1)


Shuffle = Annotated[FullShuffle | BlockShuffle, Field(discriminator="name")]


class Augment(Strict):
    """Training-time augmentation of images; scores are taken without it."""

    crop: int = Field(0, ge=0, description="random crop after reflecting this many pixels")
    flip: bool = Field(False, description="random horizontal flip")


class Holdout(Strict):
    """What each seed does not train on.

    Without `repeats`, and only where there is no test split, seed s holds out fold s mod `folds`
    of one partition. With `repeats` (cross-fitting) there are folds x repeats seeds, each repeat
    has a partition of its own, and every row's held-out outputs are kept, once per repeat.
    """

    folds: int = Field(10, ge=2)
    repeats: int | None = Field(None, ge=1, description="cross-fitting: partitions of the rows")
    last: int = Field(1, ge=1, description="held-out outputs are a mean over the last epochs")

    @model_validator(mode="after")
    def _last_has_an_effect(self) -> Holdout:
        if self.last > 1 and self.repeats is None:
            raise ValueError("last has no effect without repeats: outputs are kept then only")
        return self
