"""The manifest: what a version is made of. No clock time, no host: same inputs, same bytes."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from dataprune.core.errors import TableError, UsageError
from dataprune.core.files import read_json
from dataprune.core.recipe import Columns, Recipe
from dataprune.core.recipe_scores import TaskName
from dataprune.core.recipe_training import Strict

TAG_PATTERN = r"^v[0-9]+(\.[0-9]+){0,2}(-[a-z0-9]+(\.[a-z0-9]+)*)*$"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
RowOrder = Literal["source", "score"]
_Sha256 = Field(pattern=r"^[0-9a-f]{64}$")
ALL_LEFT: Literal["all"] = "all"  # the budget of a version that keeps every row that it may
_OF_FLAGS = ("drop_likely", "relabel", "flags_sha256", "suggested_sha256")


class FileEntry(Strict):
    """A file by content."""

    path: str
    sha256: str = _Sha256
    bytes: int = Field(ge=0)
    rows: int | None = Field(None, ge=0)


class HeldOutRef(Strict):
    """A source's held-out split, pinned."""

    split: str
    num_rows: int = Field(ge=1)
    fingerprint: str = _Sha256
    files: list[FileEntry]


class SourceRef(Strict):
    """A source, pinned: enough to open it again and to know it is the same."""

    uri: str
    format: str
    split: str
    test: HeldOutRef | None = None
    columns: Columns
    kind: Literal["image", "features", "text"]
    task: TaskName | None = "classification"
    class_names: list[str]
    num_rows: int = Field(ge=1)
    fingerprint: str = _Sha256
    files: list[FileEntry]
    license: str | None = Field(None, description="as the source states it")
    private: bool | None = Field(None, description="on the Hub: whether only some may see it")


class ScoresEntry(Strict):
    """The score table a version was decided from."""

    file: FileEntry
    column: str
    spec: dict[str, Any]
    status: Literal["complete", "partial"]
    unit_ids: list[str]
    reliability: dict[str, Any]


class StepEntry(Strict):
    """A strategy that dropped rows before the one that filled the budget."""

    strategy: str
    params: dict[str, Any]


class WaterfallEntry(Strict):
    """What one step dropped of the rows that came to it."""

    step: str
    rows_in: int = Field(ge=0)
    dropped: int = Field(ge=0)
    left: int = Field(ge=0)


class SelectionEntry(Strict):
    """How scores became decisions."""

    strategy: str
    by: str
    params: dict[str, Any]
    keep: float | int | Literal["all"]
    class_balance: str
    min_per_class: int
    max_per_group: int | None = None
    seed: int
    tie_break: str
    rows_in: int
    rows_out: int
    kept_rows_sha256: str = _Sha256
    steps: list[StepEntry] = Field(
        [], description="strategies that dropped rows before this one, in order"
    )
    drop_likely: bool = Field(False, description="rows flagged likely were dropped first")
    relabel: bool = Field(False, description="the version has suggested labels, too")
    flags_sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="hash of the values of the joined flags used by these two, with the classes of "
        "the scores; null if the scores had flags themselves",
    )
    suggested_sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="suggested labels of the kept rows"
    )
    features_sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="the file of features that a strategy read, which the version does not hold",
    )

    @property
    def steps_in_words(self) -> str:
        """The steps before the strategy, with their parameters."""
        told = [(step.strategy, step.params) for step in self.steps]
        return ", ".join(
            f"{name} {json.dumps(params)}" if params else name for name, params in told
        )

    @property
    def in_words(self) -> str:
        """What was kept by which rule, in a few words."""
        by = f" by {self.by}" if self.by and self.strategy != "random" else ""
        kept = "all others" if self.drop_likely or self.steps else "all"
        said = [step.strategy for step in self.steps]
        said += [kept if self.keep == "all" else f"{self.strategy}{by}"]
        said += ["no likely label issues"] * self.drop_likely + ["relabelled"] * self.relabel
        return ", ".join(said)

    @model_serializer(mode="wrap")
    def _as_before_it_had_flags(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what plays no part, so that versions made before there was any stay the same."""
        told: dict[str, Any] = dump(self)
        if not (self.drop_likely or self.relabel or self.flags_sha256):
            for name in _OF_FLAGS:
                told.pop(name, None)
        if not self.steps:
            told.pop("steps", None)
        if self.features_sha256 is None:
            told.pop("features_sha256", None)
        return told


class SplitEntry(Strict):
    """The files of one split of the version; none for a view."""

    rows: int
    files: list[FileEntry]


class ResultEntry(Strict):
    """What is in the version."""

    features: dict[str, Any] | None
    splits: dict[str, SplitEntry]
    rows_sha256: str = _Sha256
    order: RowOrder = Field("source", description="order of the rows: the source's, or best first")


class ParentRef(Strict):
    """A published version that this one was made from."""

    version: str = Field(pattern=TAG_PATTERN, max_length=63)
    manifest_sha256: str = _Sha256
    relation: Literal["rollback", "retracted", "materialized"]


class ClassCounts(Strict):
    """kept + dropped = source, for one class."""

    source: int
    kept: int
    dropped: int


class Producer(Strict):
    """What wrote the version."""

    dataprune: str
    packages: dict[str, str]


class Manifest(Strict):
    """What lies at manifest.json in a version's folder, written after everything it names."""

    manifest_version: Literal[1] = 1
    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(pattern=TAG_PATTERN, max_length=63)
    kind: Literal["materialized", "view"]
    fingerprint: str = _Sha256
    source: SourceRef
    recipe: dict[str, Any]
    scores: ScoresEntry
    selection: SelectionEntry
    classes: dict[str, ClassCounts]
    reasons: dict[str, int]
    waterfall: list[WaterfallEntry] = Field(
        [], description="what each step dropped, in order, where there are several"
    )
    result: ResultEntry
    decisions: FileEntry
    control_of: str | None = Field(None, description="tag this version is the control of")
    parents: list[ParentRef] = Field([], description="versions that this one was made from")
    producer: Producer

    @model_validator(mode="after")
    def _files_stay_inside(self) -> Manifest:
        for path in (file.path for file in self.files):
            plain = str(PurePosixPath(path)) == path and path.isprintable() and "\\" not in path
            if not plain or path.startswith("/") or ".." in path.split("/") or path == ".":
                raise ValueError(f"{path!r} is no path of a file inside the version")
        return self

    @model_validator(mode="after")
    def _counts_agree(self) -> Manifest:
        split = self.result.splits.get(self.source.split)
        if split is None or len(self.result.splits) != 1:
            raise ValueError(f"the result must have the source's split, {self.source.split}, alone")
        rows = [split.rows, self.selection.rows_out]
        if self.kind == "materialized":
            rows.append(sum(file.rows or 0 for file in split.files))
        if len(set(rows)) > 1:
            raise ValueError(f"split, selection and files disagree on the rows: {rows}")
        left = self.selection.rows_in
        for stage in self.waterfall:
            if stage.rows_in != left or stage.rows_in - stage.dropped != stage.left:
                raise ValueError(f"the waterfall does not reconcile at {stage.step}")
            left = stage.left
        if self.waterfall and left != self.selection.rows_out:
            raise ValueError(f"the waterfall leaves {left} rows, and {rows[0]} are kept")
        return self

    @model_serializer(mode="wrap")
    def _as_before_it_had_steps(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        told: dict[str, Any] = dump(self)
        if not self.waterfall:
            told.pop("waterfall", None)
        return told

    @property
    def files(self) -> list[FileEntry]:
        """Every file of the version but the manifest: data, decisions, scores."""
        data = [file for split in self.result.splits.values() for file in split.files]
        return [*data, self.decisions, self.scores.file]


def check_tag(tag: str) -> str:
    """Return the tag if it is a legal version tag.

    Raises:
        UsageError: it is not; the hint shows the form.
    """
    if not is_tag(tag):
        raise UsageError(
            f"{tag!r} is not a version tag",
            hint=f"did you mean {_like(tag)}? tags are v<N> with an optional slug, lower case, 63 "
            "characters at most: v1, v2-el2n-keep0.5",
        )
    return tag


def is_tag(tag: str) -> bool:
    """Whether a name has the form of a version tag."""
    return (
        re.fullmatch(TAG_PATTERN, tag) is not None and len(tag) <= 63 and not tag.endswith(".lock")
    )


def _like(tag: str) -> str:
    """The nearest legal tag: lower case, one number, words between single dashes and dots."""
    number_and_words = r"^(?:v(?=[0-9.]|$))?\.?([0-9]+(?:\.[0-9]+){0,2})?(.*)$"
    found = re.match(number_and_words, tag.lower().strip(), re.DOTALL)
    assert found is not None, "every part of the pattern may be empty"
    words = re.findall(r"[a-z0-9]+(?:\.[a-z0-9]+)*", found[2])
    legal = "-".join([f"v{found[1] or 1}", *words])[:63].rstrip("-.").removesuffix(".lock")
    return legal if is_tag(legal) else "v1"


def check_name(name: str) -> str:
    """Return the name if a local store can hold it.

    Raises:
        UsageError: it has a slash (a Hub repository) or characters a folder should not have.
    """
    if "/" in name:
        raise UsageError(
            f"{name!r} has a slash, which names a Hub repository",
            hint="a version in a local store has a plain name such as digits",
        )
    if not re.fullmatch(NAME_PATTERN, name) or len(name) > 64:
        raise UsageError(
            f"{name!r} is not a version name",
            hint="use up to 64 letters, digits, '.', '_' and '-', starting with a letter or digit",
        )
    return name


def read_manifest(path: Path) -> Manifest:
    """Read and validate a manifest.

    Raises:
        TableError: not JSON, or not a manifest of this version.
    """
    data = read_json(path)
    try:
        return Manifest.model_validate(data)
    except ValidationError as exc:
        raise TableError(f"{path} is not a manifest: {first_problem(exc)}") from exc


def first_problem(exc: ValidationError) -> str:
    """The first thing that is wrong with a file, in a few words."""
    first = exc.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    return f"{where}: {said}" if where else said


def render_manifest(manifest: Manifest) -> str:
    """The manifest's one text form."""
    data = manifest.model_dump(mode="json")
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def portable_recipe(recipe: Recipe) -> dict[str, Any]:
    """A recipe without where it ran and when it is tagged: the part that can change a result."""
    data: dict[str, Any] = recipe.model_dump(mode="json", exclude={"release"})
    # Sums over several workers are rounded otherwise; one is what there was before there were more.
    counts = ("num_cpus", "num_gpus", *(["workers"] if recipe.run.workers > 1 else []))
    data["run"] = {key: data["run"][key] for key in counts}
    for section in ("curate", "evaluate"):  # as before there was such a section
        if data[section] is None:
            del data[section]
    if not data["scores"]["features"]:  # as before they could be asked for
        del data["scores"]["features"]
    if not data["prune"]["steps"]:  # as before there were several
        del data["prune"]["steps"]
    return data
