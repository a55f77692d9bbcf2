"""release.json in a release's work folder: what the last run saw, and what it ended with.

`dataprune run` reads it first. Where source, recipe and code are as they were, it does nothing; the
last version tagged is what scores are carried from and compared with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from dataprune.core.errors import TableError
from dataprune.core.files import read_json, write_json
from dataprune.core.recipe_training import Strict
from dataprune.tables.manifest import TAG_PATTERN, first_problem

NAME = "release.json"


class Gate(Strict):
    """How one gate was passed, or not."""

    name: str
    value: float | None = Field(description="what was measured; null where there is no number")
    threshold: float | None
    passed: bool
    told: str = Field(description="in words, for people")


class Inputs(Strict):
    """What a run depends on; the same again means that there is nothing to do."""

    recipe: str = Field(description="fingerprint of the recipe, without where it runs")
    code: str = Field(description="version of dataprune, of its probes and of its hashes")
    pin: dict[str, Any] | None = Field(
        description="of the source, without reading it; null where nothing tells, so that every "
        "run reads it"
    )


class Outcome(Strict):
    """What a run ended with."""

    status: Literal["released", "candidate"]
    tag: str = Field(pattern=TAG_PATTERN, description="of a candidate: the tag it would have had")
    fingerprint: str = Field(description="of the version")
    rows_in: int
    rows_out: int
    control: str | None = Field(description="tag of its random control")
    complete: bool = Field(description="whether every unit finished")
    carried: int = Field(description="rows whose scores are from an earlier version")
    table: str = Field(description="the score table, in the work folder")
    table_sha256: str
    gates: list[Gate]
    accepted: list[str] = Field([], description="gates that failed and that --accept overrode")
    pushed: str | None = Field(None, description="ORG/REPO it was sent to")


class ReleaseFile(Strict):
    """The file: `released` is the last version tagged, `outcome` what the last run came to."""

    format: Literal["dataprune.release"] = "dataprune.release"
    format_version: Literal[1] = 1
    name: str
    store: str = Field(description="the store of its versions")
    released: str | None = None
    inputs: Inputs | None = None
    outcome: Outcome | None = None


def read_release(folder: Path) -> ReleaseFile | None:
    """The file of a work folder; None where there is none.

    Raises:
        TableError: it is damaged, or of another version of dataprune.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        return ReleaseFile.model_validate(read_json(path))
    except ValidationError as exc:
        raise TableError(
            f"{path} is not what dataprune run writes: {first_problem(exc)}",
            hint="move it away and run again: finished units still count",
        ) from exc


def write_release(folder: Path, state: ReleaseFile) -> None:
    """Write the file whole."""
    write_json(folder / NAME, state.model_dump(mode="json"))
