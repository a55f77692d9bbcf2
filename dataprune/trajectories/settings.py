"""What a curation is asked to do: a recipe's section, a preset under it, a command's changes."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe, load_recipe, parse_recipe
from dataprune.core.recipe_curate import CurateRecipe
from dataprune.trajectories.presets import with_preset


def curation_recipe(recipe: str | Path | Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A whole recipe, its preset settled.

    recipe: a Recipe, a YAML file, or a path of trajectories. changes: of the section, by dotted
        name; None changes nothing.

    Raises:
        UsageError: there is no such file.
        RecipeError: not valid.
    """
    found = recipe if isinstance(recipe, Recipe) else _found(str(recipe))
    data: dict[str, Any] = (found.curate or CurateRecipe()).model_dump(exclude_unset=True)
    for path, value in changes.items():
        if value is not None:
            *sections, key = path.split(".")
            place = data
            for section in sections:
                place = place.setdefault(section, {})
            place[key] = value
    whole = {"name": found.name, "source": {"uri": found.source.uri}, "curate": data}
    asked = parse_recipe(whole, where=f"recipe {found.name}").curate
    assert asked is not None
    return found.model_copy(update={"task": None, "curate": with_preset(asked)})


def _found(name: str) -> Recipe:
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        return load_recipe(name)
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in path.stem)
    slug = kept.lstrip("._-")[:64] or "trajectories"
    return parse_recipe({"name": slug, "task": "none", "source": {"uri": name}}, where=name)


def input_paths(uri: str) -> list[Path]:
    """The files and folders that a recipe's source names; a pattern names all that fit it.

    Raises:
        UsageError: nothing fits.
    """
    if any(mark in uri for mark in "*?[") and not Path(uri).exists():
        found = [Path(path) for path in sorted(glob.glob(uri, recursive=True))]  # noqa: PTH207 - a user's pattern may be absolute
        if not found:
            raise UsageError(f"no file fits {uri}", hint="give a path, or another pattern")
        return found
    return [Path(uri)]
