"""Recipes: the YAML that says what to score and how, as frozen pydantic models.

An unknown key is an error that names the nearest one. `schemas/recipe.v1.json` is generated from
these models. Names of plug-ins (models, scores, strategies) and their parameters are checked where
the plug-ins live, when the run is planned.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from dataprune.core.errors import RecipeError, nearest
from dataprune.core.recipe_curate import CurateRecipe
from dataprune.core.recipe_evaluate import EvaluateRecipe
from dataprune.core.recipe_file import is_reproduction, read_yaml, recipe_folder, validate
from dataprune.core.recipe_prune import PruneRecipe
from dataprune.core.recipe_release import ReleaseRecipe
from dataprune.core.recipe_scores import DEFAULT_SCORES, ScoresRecipe, TaskName
from dataprune.core.recipe_training import (
    Augment,
    FullShuffle,
    Holdout,
    ModelRecipe,
    OneCycleSchedule,
    Optimizer,
    Schedule,
    Shuffle,
    Strict,
)


class Columns(Strict):
    """Which columns play which part; what is not named is inferred and printed."""

    input: str | Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None, description="image, text or numeric-list column, or a list of numeric columns"
    )
    label: str | None = Field(None, description="label column: a class, a list, a number")
    key: str | None = Field(None, description="your own unique id column (optional)")
    group: str | None = Field(
        None, description="rows of one group are one thing (a patient): never split over folds"
    )
    embedding: str | None = Field(
        None,
        description="column of vectors for strategies that read features (kcenter, d2, ...), in "
        "place of what probes make of the rows; no input of the model unless it is named as one",
    )

    @property
    def inputs(self) -> tuple[str, ...]:
        """The input's column names; () while none is settled."""
        if self.input is None:
            return ()
        return (self.input,) if isinstance(self.input, str) else self.input

    @property
    def all(self) -> list[str]:
        """Every column that is read with the examples, once."""
        named = (*self.inputs, self.label, self.key, self.group)
        return list(dict.fromkeys(name for name in named if name is not None))

    @model_serializer(mode="wrap")
    def _as_before_embeddings(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without an embedding that is not named, so that versions of before stay the same."""
        told: dict[str, Any] = dump(self)
        if self.embedding is None:
            told.pop("embedding", None)
        return told


class Images(Strict):
    """How images of any size become inputs of one size; without a size they must all be alike."""

    size: Annotated[int, Field(ge=1)] | tuple[int, int] | None = Field(
        None, description="pixels: a side, or [height, width]"
    )
    fit: Literal["squash", "crop", "pad"] | None = Field(
        None,
        description="squash to the size (default), crop the middle after filling it, or pad with "
        "zeros after fitting inside it",
    )
    channels: Literal[1, 2, 3, 4] | None = Field(
        None, description="convert to grey, grey + alpha, RGB or RGB + alpha; default: as stored"
    )

    @property
    def height_width(self) -> tuple[int, int] | None:
        """The size as (height, width)."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @model_validator(mode="after")
    def _fit_has_an_effect(self) -> Images:
        if self.fit is not None and self.size is None:
            raise ValueError(f"fit {self.fit} has no effect without a size")
        if isinstance(self.size, tuple) and min(self.size) < 1:
            raise ValueError(f"size {list(self.size)} is no size in pixels")
        return self


class Groups(Strict):
    """Which rows are the same thing; exact copies always are."""

    near: bool = Field(
        False, description="find near-duplicates too: perceptual hash of images, MinHash of text"
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="parameters of the method, such as its threshold"
    )

    @model_validator(mode="after")
    def _params_have_an_effect(self) -> Groups:
        if self.params and not self.near:
            raise ValueError("params have no effect without near: true")
        return self


class SourceRecipe(Strict):
    """Where the examples are."""

    uri: str = Field(
        description="'digits', or files, a folder, a glob or a URL of a known format; "
        "$DATAPRUNE_DATA/... "
    )
    format: str | None = Field(None, description="a source format; inferred from the uri if unset")
    split: str = Field("train", description="the split to score, where the files name splits")
    test_split: str | None = Field(
        None, description="held-out split; default: test, where there is one"
    )
    columns: Columns = Columns()
    image: Images = Images()
    groups: Groups = Groups()


class ProbeRecipe(Strict):
    """The short training run that exists only to observe examples."""

    model: ModelRecipe = ModelRecipe()
    batch_size: int = Field(128, ge=1)
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = OneCycleSchedule()
    schedule_epochs: int = Field(20, ge=1, description="epochs the schedule is laid out over")
    stop_epoch: int | None = Field(None, ge=1, description="stop early; default: schedule_epochs")
    shuffle: Shuffle = FullShuffle()
    augment: Augment = Augment()
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="arithmetic of training; scores are taken in float32, in mode train as trained",
    )

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


class Budget(Strict):
    """What all units of one source may cost in a work folder; none is started beyond it."""

    gpu_hours: float | None = Field(None, gt=0, description="hours times the share of a GPU")
    cpu_hours: float | None = Field(None, gt=0, description="hours times CPU threads")


class RunRecipe(Strict):
    """How units run. Threads (num_cpus) and device (num_gpus) are part of what a unit is."""

    runner: Literal["local", "ray"] = "local"
    address: str | None = Field(None, description="Ray cluster; default: a local one")
    num_cpus: int = Field(1, ge=1, description="CPU threads per unit")
    num_gpus: float = Field(0, ge=0, le=1, description="GPU share; above 0 trains on CUDA")
    workers: int = Field(
        1, ge=1, description="processes that train one unit together, each with num_cpus, num_gpus"
    )
    placement: Literal["pack", "spread"] = Field(
        "pack", description="fill nodes one by one, or spread units over them"
    )
    memory_gb: float | None = Field(
        None, gt=0, description="memory (GiB) that a unit claims, so that a node is not overfilled"
    )
    autoscale: bool = Field(
        False, description="the cluster adds nodes when asked: wait where no node of now fits"
    )
    max_retries: int = Field(3, ge=0, description="retries after a lost worker, not after an error")
    snapshot_minutes: float = Field(
        10, ge=0, description="a long unit keeps how far it has come this often; 0: never"
    )
    budget: Budget = Budget()
    work: str | None = Field(
        None, description="run folder, a path or a URL (s3://...); default: .dataprune/runs/NAME-ID"
    )
    wait_minutes: float = Field(
        0, ge=0, description="how long to wait for another run of the same folder to end"
    )
    stream: bool = Field(
        False, description="read inputs from disk while training; wants probe.shuffle blocks"
    )

    @model_validator(mode="after")
    def _workers_have_whole_gpus(self) -> RunRecipe:
        if self.workers > 1 and 0 < self.num_gpus < 1:
            raise ValueError(
                f"num_gpus is {self.num_gpus}, and {self.workers} workers that train one unit want "
                "a whole GPU each; set num_gpus to 1, or workers to 1"
            )
        return self

    @model_validator(mode="after")
    def _address_has_an_effect(self) -> RunRecipe:
        if self.address is not None and self.runner != "ray":
            raise ValueError(
                f"address {self.address} has no effect with the {self.runner} runner; "
                "choose the ray runner (--runner ray)"
            )
        return self

    @model_validator(mode="after")
    def _budget_has_an_effect(self) -> RunRecipe:
        if self.budget.gpu_hours is not None and self.num_gpus == 0:
            raise ValueError("budget.gpu_hours has no effect with num_gpus 0; give cpu_hours")
        return self


class PublishRecipe(Strict):
    """Where versions go when they are pushed; nothing is sent unless that is asked for."""

    to: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="ORG/REPO on the Hugging Face Hub, for prune --push and publish",
    )
    private: bool | None = Field(
        None, description="of a repository that is made; default: the account's own default"
    )
    license: str | None = Field(
        None, description="the Hub's identifier, such as cc-by-4.0, if the source states none"
    )


class Recipe(Strict):
    """One scoring job, with defaults for what follows it."""

    version: Literal[1] = 1
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    source: SourceRecipe
    task: TaskName | None = Field(
        "classification", description="null: no labels, and only scores that need no probe"
    )
    probe: ProbeRecipe = ProbeRecipe()
    scores: ScoresRecipe = ScoresRecipe()
    flags: tuple[str, ...] = Field(
        (), description="flags to add to the scores, from cross-fitting: label_issue, memorized"
    )
    seeds: int = Field(10, ge=1, description="number of probe seeds")
    seed: int = Field(0, ge=0, description="root of every random draw")
    holdout: Holdout = Holdout()
    run: RunRecipe = RunRecipe()
    prune: PruneRecipe = PruneRecipe()
    publish: PublishRecipe = PublishRecipe()
    release: ReleaseRecipe | None = Field(
        None, description="what dataprune run makes of it, unattended"
    )
    evaluate: EvaluateRecipe | None = Field(
        None, description="what dataprune evaluate retrains on, given a score table"
    )
    curate: CurateRecipe | None = Field(None, description="how trajectories are curated")

    @property
    def score_names(self) -> tuple[str, ...]:
        """The scores asked for, once each; else those that suit the task."""
        return tuple(dict.fromkeys(self.scores.names or DEFAULT_SCORES[self.task]))

    @property
    def probes_give_features(self) -> bool:
        """Whether features are asked for, and no column of the source has them."""
        return bool(self.scores.features) and self.source.columns.embedding is None

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Scored epochs, sorted."""
        return tuple(sorted(set(self.scores.at or (self.probe.last_epoch,))))

    @model_validator(mode="before")
    @classmethod
    def _cross_fitting_sets_the_seeds(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if data.get("task") == "none":  # as typed on a command line
            data = {**data, "task": None}
        holdout = data.get("holdout")
        if isinstance(holdout, dict) and "seeds" not in data:
            folds, repeats = holdout.get("folds", 10), holdout.get("repeats")
            if isinstance(folds, int) and isinstance(repeats, int) and folds * repeats > 0:
                return {**data, "seeds": folds * repeats}
        return data

    @model_validator(mode="after")
    def _cross_fitting_is_whole(self) -> Recipe:
        folds, repeats = self.holdout.folds, self.holdout.repeats
        if repeats is not None and self.seeds != folds * repeats:
            raise ValueError(
                f"seeds is {self.seeds}, and cross-fitting {folds} folds {repeats} times takes "
                f"{folds * repeats}; change holdout.repeats, or leave seeds out"
            )
        if self.holdout.last > self.probe.last_epoch:
            raise ValueError(
                f"holdout.last is {self.holdout.last}, and the probe trains "
                f"{self.probe.last_epoch} epochs"
            )
        return self

    @model_validator(mode="after")
    def _embedding_has_an_effect(self) -> Recipe:
        if self.source.columns.embedding is not None and self.scores.features is False:
            raise ValueError(
                f"source.columns.embedding is {self.source.columns.embedding}, and scores.features "
                "is false; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _can_be_run(self) -> Recipe:
        if self.run.stream and self.probe.shuffle.name != "blocks":
            raise ValueError("run.stream reads blocks; set probe.shuffle to {name: blocks}")
        for epoch in self.checkpoints:
            if not 1 <= epoch <= self.probe.last_epoch:
                raise ValueError(
                    f"scores.at has epoch {epoch}, but the probe trains epochs 1 to "
                    f"{self.probe.last_epoch}"
                )
        return self


def recipe_names() -> list[str]:
    """Names of the shipped scoring recipes."""
    paths = recipe_folder().glob("*.yaml")
    return sorted(path.stem for path in paths if not is_reproduction(path))


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
    if is_reproduction(path):
        raise RecipeError(
            f"{name_or_path} is the recipe of a reproduction, not of a scoring job",
            hint="run it with dataprune reproduce",
        )
    return parse_recipe(read_yaml(path), where=str(path))


def parse_recipe(data: dict[str, Any], *, where: str) -> Recipe:
    """Validate a recipe's data; the first problem becomes one sentence.

    Raises:
        RecipeError: what is wrong, where, and the nearest right key for an unknown one.
    """
    return validate(Recipe, data, where=where)
