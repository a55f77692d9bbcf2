"""YAML documents of ours: read strictly, validated by a pydantic model, wrong in one sentence."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from dataprune.core.errors import RecipeError, nearest

Model = TypeVar("Model", bound=BaseModel)

_REPRODUCES = "reproduces:"  # the key by which a document is told from a scoring recipe


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


def recipe_folder() -> Path:
    """Where the shipped recipes are: inside the wheel, or pipelines/recipes of a checkout."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "recipes"
    return shipped if shipped.is_dir() else package.parent / "pipelines" / "recipes"


def is_reproduction(path: Path) -> bool:
    """Whether a file is the recipe of a reproduction: it has the key `reproduces`.

    Asked of every shipped recipe whenever one is named, so the text is not parsed for it.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        return any(line.startswith(_REPRODUCES) for line in file)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of keys and values.

    Raises:
        RecipeError: it is not YAML, or something else than a mapping.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe one
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        problem = " ".join(str(exc).split())
        raise RecipeError(f"{path} is not YAML: {problem}") from exc
    if not isinstance(data, dict):
        raise RecipeError(f"{path} holds {type(data).__name__}, not a recipe's keys and values")
    return data


def validate(model: type[Model], data: dict[str, Any], *, where: str) -> Model:
    """Validate a document's data; the first problem becomes one sentence.

    Raises:
        RecipeError: what is wrong, where, and the nearest right key for an unknown one.
    """
    try:
        return model.model_validate(data)
    except ValidationError as exc:
        problems = sorted(
            exc.errors(include_url=False), key=lambda p: p["type"] != "extra_forbidden"
        )
        first = problems[0]
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _known_keys(model, list(first["loc"][:-1]))
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
    origin = typing.get_origin(annotation)
    if isinstance(annotation, type) and origin is None and issubclass(annotation, BaseModel):
        yield annotation
    elif origin in {typing.Union, types.UnionType, Annotated, tuple}:
        for argument in typing.get_args(annotation):
            yield from _models_in(argument)
