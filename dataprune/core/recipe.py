"""Recipes: the YAML that says what to score and how, as frozen pydantic models.

An unknown key is an error that names the nearest one. `schemas/recipe.v1.json` is generated from
these models. Names of plug-ins (models, scores, strategies) and their parameters are checked where
the plug-ins live, when the run is planned.
"""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dataprune.core.errors import RecipeError, nearest

Params = dict[str, Any]


class Strict(BaseModel):
    """Frozen, and no key that means nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Columns(Strict):
    """Which columns play which part; what is not named is inferred and printed."""

    input: str | None = Field(None, description="image, text or numeric-list column")
    label: str | None = Field(None, description="class label column")
    key: str | None = Field(None, description="your own unique id column (optional)")


class SourceRecipe(Strict):
    """Where the examples are."""

    uri: str = Field(
        description="'digits', or a Parquet file, folder or glob; $DATAPRUNE_DATA/... "
    )
    format: str | None = Field(None, description="a source format; inferred from the uri if unset")
    split: str = Field("train", description="the split to score, where the files name splits")
    test_split: str | None = Field(
        None, description="held-out split; default: test, where there is one"
    )
    columns: Columns = Columns()


class ModelRecipe(Strict):
    """A probe model by name, with its parameters."""

    name: str | None = Field(None, description="default: small_cnn for images, mlp for features")
    params: Params = {}

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


class Augment(Strict):
    """Training-time augmentation of images; scores are taken without it."""

    crop: int = Field(0, ge=0, description="random crop after reflecting this many pixels")
    flip: bool = Field(False, description="random horizontal flip")


class ProbeRecipe(Strict):
    """The short training run that exists only to observe examples."""

    model: ModelRecipe = ModelRecipe()
    batch_size: int = Field(128, ge=1)
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = OneCycleSchedule()
    schedule_epochs: int = Field(20, ge=1, description="epochs the schedule is laid out over")
    stop_epoch: int | None = Field(None, ge=1, description="stop early; default: schedule_epochs")
    augment: Augment = Augment()

    @model_validator(mode="after")
    def _stops_in_time(self) -> ProbeRecipe:
        if self.stop_epoch is not None and self.stop_epoch > self.schedule_epochs:
            raise ValueError(
                f"stop_epoch {self.stop_epoch} is after schedule_epochs {self.schedule_epochs}"
            )
        return self

    @property
    def last_epoch(self) -> int:
        """The epoch training really ends at."""
        return self.stop_epoch or self.schedule_epochs


class ScoresRecipe(Strict):
    """What to compute from the probes."""

    names: tuple[str, ...] = Field(("el2n", "loss", "margin"), min_length=1)
    at: tuple[int, ...] | None = Field(
        None, min_length=1, description="epochs to score at; default: the last"
    )
    timing_gate: Literal["error", "warn", "off"] = Field(
        "error", description="what to do when a scored epoch is too early to be believed"
    )


class RunRecipe(Strict):
    """How units run. Threads (num_cpus) and device (num_gpus) are part of what a unit is."""

    runner: Literal["local", "ray"] = "local"
    address: str | None = Field(None, description="Ray cluster; default: a local one")
    num_cpus: int = Field(1, ge=1, description="CPU threads per unit")
    num_gpus: float = Field(0, ge=0, le=1, description="GPU share; above 0 trains on CUDA")
    max_retries: int = Field(3, ge=0, description="retries after a lost worker, not after an error")

    @model_validator(mode="after")
    def _address_has_an_effect(self) -> RunRecipe:
        if self.address is not None and self.runner != "ray":
            raise ValueError(
                f"address {self.address} has no effect with the {self.runner} runner; "
                "choose the ray runner (--runner ray)"
            )
        return self


class PruneRecipe(Strict):
    """Defaults for turning these scores into a version."""

    keep: float | int | None = Field(None, description="a fraction in (0, 1] or a whole count")
    by: str | None = Field(None, description="score column; default: the first score")
    strategy: str = "hardest"
    params: Params = {}
    class_balance: Literal["none", "proportional", "equal"] = "none"
    min_per_class: int = Field(0, ge=0, description="floor: rows kept of each class at least")
    seed: int = Field(0, ge=0)


class Recipe(Strict):
    """One scoring job, with defaults for what follows it."""

    version: Literal[1] = 1
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    source: SourceRecipe
    task: Literal["classification"] = "classification"
    probe: ProbeRecipe = ProbeRecipe()
    scores: ScoresRecipe = ScoresRecipe()
    seeds: int = Field(10, ge=1, description="number of probe seeds")
    seed: int = Field(0, ge=0, description="root of every random draw")
    folds: int = Field(
        10, ge=2, description="without a test split, seed s holds out fold s mod this"
    )
    run: RunRecipe = RunRecipe()
    prune: PruneRecipe = PruneRecipe()

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Scored epochs, sorted."""
        return tuple(sorted(set(self.scores.at or (self.probe.last_epoch,))))

    @model_validator(mode="after")
    def _checkpoints_exist(self) -> Recipe:
        for epoch in self.checkpoints:
            if not 1 <= epoch <= self.probe.last_epoch:
                raise ValueError(
                    f"scores.at has epoch {epoch}, but the probe trains epochs 1 to "
                    f"{self.probe.last_epoch}"
                )
        return self


def recipe_folder() -> Path:
    """Where the shipped recipes are: inside the wheel, or pipelines/recipes of a checkout."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "recipes"
    return shipped if shipped.is_dir() else package.parent / "pipelines" / "recipes"


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for path in recipe_folder().glob("*.yaml"))


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which lets a key given twice win silently; here it is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001
        """Refuse a repeated key."""
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key} is given twice", key_node.start_mark
                )
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


def load_recipe(name_or_path: str) -> Recipe:
    """Read a shipped recipe by name, or a recipe file by path.

    Raises:
        RecipeError: no such recipe, not YAML, or not valid; the hint says what to change.
    """
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        path = recipe_folder() / f"{name_or_path}.yaml"
    if not path.is_file():
        raise RecipeError(
            f"there is no recipe {name_or_path}",
            hint=nearest(Path(name_or_path).stem, recipe_names()),
        )
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe one
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        problem = " ".join(str(exc).split())
        raise RecipeError(f"{path} is not YAML: {problem}") from exc
    if not isinstance(data, dict):
        raise RecipeError(f"{path} holds {type(data).__name__}, not a recipe's keys and values")
    return parse_recipe(data, where=str(path))


def parse_recipe(data: dict[str, Any], *, where: str) -> Recipe:
    """Validate a recipe's data; the first problem becomes one sentence.

    Raises:
        RecipeError: what is wrong, where, and the nearest right key for an unknown one.
    """
    try:
        return Recipe.model_validate(data)
    except ValidationError as exc:
        problems = sorted(
            exc.errors(include_url=False), key=lambda p: p["type"] != "extra_forbidden"
        )
        first = problems[0]
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _known_keys(Recipe, list(first["loc"][:-1]))
            raise RecipeError(
                f"{where}: unknown key {path}", hint=nearest(str(first["loc"][-1]), known)
            ) from exc
        reason = first["msg"].removeprefix("Value error, ")
        shown = "" if first["type"] in {"missing", "value_error"} else f" (got {first['input']!r})"
        more = f"; and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise RecipeError(f"{where}: {path or 'recipe'}: {reason}{shown}{more}") from exc


def _known_keys(model: type[BaseModel], path: list[Any]) -> list[str]:
    """Field names of the model that `path` leads to; union tags are followed by their name."""
    for part in path:
        if part in model.model_fields:
            models = list(_models_in(model.model_fields[part].annotation))
            if len(models) == 1:
                model = models[0]
            elif models:
                tagged = [m for m in models if m.model_fields["name"].default == path[-1]]
                return sorted(tagged[0].model_fields) if tagged else []
    return sorted(model.model_fields)


def _models_in(annotation: Any) -> typing.Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in {typing.Union, types.UnionType, Annotated}:
        for argument in typing.get_args(annotation):
            yield from _models_in(argument)
