"""What a curation is asked to do: a recipe's section, a preset under it, a command's changes."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe, load_recipe, parse_recipe
from dataprune.core.recipe_curate import CurateRecipe, GroupsRecipe, JudgeRecipe, SelectRecipe
from dataprune.tables.manifest import read_manifest
from dataprune.trajectories.effects import check_effects
from dataprune.trajectories.presets import with_preset

MANIFEST = "manifest.json"


def curation_recipe(recipe: str | Path | Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A whole recipe, its preset settled.

    recipe: a Recipe, a YAML file, or a path of trajectories. changes: of the section, by dotted
        name.

    Raises:
        UsageError: there is no such file, or a setting has no effect beside the others.
        RecipeError: not valid.
    """
    found = recipe if isinstance(recipe, Recipe) else _found(str(recipe))
    data: dict[str, Any] = (found.curate or CurateRecipe()).model_dump(exclude_unset=True)
    for path, value in changes.items():
        _set(data, path, value)
    whole = {"name": found.name, "source": {"uri": found.source.uri}, "curate": data}
    asked = parse_recipe(whole, where=f"recipe {found.name}").curate
    assert asked is not None
    settled = with_preset(asked)
    check_effects(asked, settled)
    return found.model_copy(update={"task": None, "curate": settled})


def _set(data: dict[str, Any], path: str, value: Any) -> None:
    *sections, key = path.split(".")
    place = data
    for section in sections:
        inside = place.setdefault(section, {})
        if not isinstance(inside, dict):
            raise UsageError(
                f"{path} cannot be set: {section} is {inside!r}", hint="set one of the two"
            )
        place = inside
    place[key] = value


def without_places(recipe: Recipe) -> Recipe:
    """A recipe as it may be published: of absolute paths only the last part."""
    curate = recipe.curate or CurateRecipe()
    length = curate.rules.length
    tokenizer = None if length.tokenizer is None else _last_part(length.tokenizer)
    length = length.model_copy(update={"tokenizer": tokenizer})
    against = tuple(map(_last_part, curate.duplicates.against))
    changes = {
        "dialect": None if curate.dialect is None else _last_part(curate.dialect),
        "rules": curate.rules.model_copy(update={"length": length}),
        "duplicates": curate.duplicates.model_copy(update={"against": against}),
    }
    source = recipe.source.model_copy(update={"uri": _last_part(recipe.source.uri)})
    return recipe.model_copy(update={"source": source, "curate": curate.model_copy(update=changes)})


def _last_part(path: str) -> str:
    is_absolute = Path(path).is_absolute() or path.startswith("~")
    return Path(path).name or "/" if is_absolute else path


def _found(name: str) -> Recipe:
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        return load_recipe(name)
    kept = "".join(
        c if c.isascii() and (c.isalnum() or c in "._-") else "-"
        for c in (path.name if path.is_dir() else path.stem)
    )
    slug = kept.lstrip("._-")[:64] or "trajectories"
    return parse_recipe({"name": slug, "task": "none", "source": {"uri": name}}, where=name)


@dataclass(frozen=True)
class Input:
    """The files to read. curated: `name@tag` of the version whose rows they are, if they are."""

    paths: list[Path]
    curated: str | None = None


def find_input(uri: str) -> Input:
    """The files and folders that a recipe's source names; a pattern names all that fit it.

    A version's folder stands for its rows.

    Raises:
        UsageError: nothing fits.
        TableError: a version's manifest is damaged.
    """
    path = Path(uri)
    if (path / MANIFEST).is_file():
        manifest = read_manifest(path / MANIFEST)
        files = manifest.result.splits[manifest.source.split].files
        if not files:
            raise UsageError(f"{uri} is a view, which holds no rows", hint="curate its source")
        curated = f"{manifest.name}@{manifest.version}" if "curate" in manifest.recipe else None
        return Input([path / file.path for file in files], curated)
    if any(mark in uri for mark in "*?[") and not path.exists():
        found = sorted(glob.glob(uri, recursive=True))  # noqa: PTH207 - it may be absolute
        if not found:
            raise UsageError(f"no file fits {uri}", hint="give a path, or another pattern")
        return Input([Path(name) for name in found])
    return Input([path])


def without_counting(settings: CurateRecipe) -> CurateRecipe:
    """Settings without what counts all runs of a query, for rows of a version that it has thinned.

    Votes, pass rates and choices among runs were made with those that are no longer there.
    """
    return settings.model_copy(
        update={
            "groups": GroupsRecipe(),
            "judge": JudgeRecipe(),
            "select": SelectRecipe(),
        }
    )
