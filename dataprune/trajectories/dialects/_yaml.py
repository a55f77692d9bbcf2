"""Dialects of users, in YAML: the fields of `Dialect`, literals only.

name: mine
marks:
  - {kind: think, open: "<plan>", close: "</plan>"}
  - {kind: code, open: "<run>", close: "</run>", language: python}
  - {kind: answer, open: "<done>", close: "</done>"}
observation: [["<out>", "</out>"]]
environment: ["<out>"]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from dataprune.core.errors import RecipeError, nearest
from dataprune.core.recipe_training import Strict
from dataprune.trajectories.dialects import DIALECTS, Dialect, Kind, Mark, VoidKind

_SUFFIXES = (".yaml", ".yml")
_MOST_BYTES = 1 << 20
_Literals = tuple[str, ...]


class _MarkFile(Strict):
    """A mark as a user writes it."""

    kind: Kind
    open: str = Field(min_length=1)
    close: str | None = Field(None, min_length=1)
    at_line_start: bool = False
    balanced: bool = False
    language: str | None = None

    @model_validator(mode="after")
    def _is_closed_by_a_brace(self) -> _MarkFile:
        if self.balanced and (self.close != "}" or not self.open.endswith("{")):
            raise ValueError("a balanced mark opens with a brace and closes with one")
        return self


class _DialectFile(Strict):
    """A dialect as a user writes it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    marks: tuple[_MarkFile, ...] = ()
    think_hides: bool = True
    calls: bool = False
    talks: bool = False
    observation_role: Literal["user", "tool"] = "user"
    observation: tuple[tuple[str, str], ...] = ()
    environment: _Literals = ()
    after_action: bool = False
    nags: _Literals = ()
    prefixes: _Literals = ()
    failed: _Literals = ("Traceback (most recent call last)",)
    prompt_after: _Literals = ()
    ends_anywhere: bool = False
    void_kinds: tuple[VoidKind, ...] = (
        "empty",
        "text_only",
        "partial_action",
        "unparsable",
        "truncated",
    )

    @model_validator(mode="after")
    def _can_act(self) -> _DialectFile:
        if not self.calls and all(mark.kind == "think" for mark in self.marks):
            raise ValueError("marks has neither an action nor an answer, and calls is off")
        texts = (*self.environment, *self.nags, *self.prefixes, *self.failed, *self.prompt_after)
        if "" in (*texts, *(opening for opening, _ in self.observation)):
            raise ValueError("an empty text would be found everywhere")
        return self


def find_dialect(name_or_path: str) -> Dialect:
    """A dialect by name, or a user's own by the path of its YAML file.

    Raises:
        UsageError: there is no dialect of that name; the hint names the nearest.
        RecipeError: the file cannot be read or is no dialect.
    """
    if name_or_path.lower().endswith(_SUFFIXES):
        return read_dialect(Path(name_or_path))
    return DIALECTS.get(name_or_path)


def read_dialect(path: Path) -> Dialect:
    """A user's dialect.

    Raises:
        RecipeError: the file cannot be read, is no YAML, or is no dialect; it names the key.
    """
    data = _loaded(path)
    try:
        read = _DialectFile.model_validate(data)
    except ValidationError as exc:
        raise _refused(path, exc) from exc
    fields = {name: getattr(read, name) for name in _DialectFile.model_fields if name != "marks"}
    return Dialect(marks=tuple(Mark(**mark.model_dump()) for mark in read.marks), **fields)


def _loaded(path: Path) -> Any:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise RecipeError(f"{path} is too large for a dialect", hint="check the path")
        data = yaml.safe_load(path.read_text("utf-8"))
    except OSError as exc:
        raise RecipeError(f"{path} cannot be read: {exc.strerror}", hint="check the path") from exc
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as exc:
        raise RecipeError(f"{path} is not YAML", hint="see the example in the docs") from exc
    if not isinstance(data, dict):
        raise RecipeError(f"{path} is no dialect", hint=f"it has the keys {_keys(_DialectFile)}")
    return data


def _refused(path: Path, exc: ValidationError) -> RecipeError:
    first = exc.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        model = _MarkFile if first["loc"][0] == "marks" else _DialectFile
        key = str(first["loc"][-1])
        return RecipeError(
            f"{path} has no key {where} to give", hint=nearest(key, model.model_fields)
        )
    said = first["msg"].removeprefix("Value error, ")
    return RecipeError(
        f"{path} is no dialect: {where + ': ' if where else ''}{said}",
        hint=f"known keys: {_keys(_DialectFile)}",
    )


def _keys(model: type[Strict]) -> str:
    return ", ".join(model.model_fields)
