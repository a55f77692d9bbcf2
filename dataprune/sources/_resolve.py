"""From what the user named to one validated recipe: a recipe's name, its file, or plain data."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from dataprune.core.errors import UsageError, nearest
from dataprune.core.recipe import Recipe, load_recipe, parse_recipe, recipe_names
from dataprune.sources import Kind
from dataprune.sources._formats import format_of
from dataprune.sources._places import is_url

_FOLDS, _REPEATS = 5, 2
_DEFAULT_MODEL: dict[Kind, str] = {"image": "small_cnn", "features": "mlp", "text": "text_bag"}

log = logging.getLogger("dataprune")


def resolve_recipe(recipe: str | Path | Recipe, changes: dict[str, Any]) -> Recipe:
    """A recipe by name or path, or the default one for a source; with overrides, validated again.

    changes: {"section.key": value}; None leaves the recipe's own value.

    Raises:
        UsageError: nothing of that name.
        RecipeError: not valid.
    """
    if not isinstance(recipe, Recipe):
        recipe = _find_recipe(str(recipe))
    data = recipe.model_dump(mode="json")
    for path, value in changes.items():
        if value is not None:
            *sections, key = path.split(".")
            place = data
            for section in sections:
                place = place[section]
            place[key] = value
    if data["flags"] and data["holdout"]["repeats"] is None:
        named = "folds" in recipe.holdout.model_fields_set
        _cross_fit(data, recipe.holdout.folds if named else _FOLDS, changes.get("seeds"))
    return parse_recipe(data, where=f"recipe {recipe.name}")


def _cross_fit(data: dict[str, Any], folds: int, seeds: int | None) -> None:
    """Flags need held-out votes: where a recipe does not say how many, twice, in five folds.

    seeds: as asked for now; then so many repeats as they make.

    Raises:
        UsageError: they make no whole repeat.
    """
    repeats, left = divmod(seeds or folds * _REPEATS, folds)
    if left:
        raise UsageError(
            f"{seeds} seeds do not hold every row out equally often in {folds} folds, as flags "
            "need it",
            hint=f"give a multiple of {folds}, or holdout: {{folds: ..., repeats: ...}} in a "
            "recipe",
        )
    data["holdout"] |= {"folds": folds, "repeats": repeats}
    data["seeds"] = folds * repeats
    log.info(
        "%s: held-out votes by cross-fitting, %d folds, repeats: %d, so %d seeds",
        ", ".join(data["flags"]), folds, repeats, data["seeds"],
    )  # fmt: skip


def _find_recipe(name: str) -> Recipe:
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} or name in recipe_names():
        return load_recipe(name)
    is_data = name and (
        is_url(name)
        or path.exists()
        or any(c in name for c in "*?[$")
        or format_of(name) is not None
    )
    if not is_data:
        raise UsageError(
            f"{name or repr(name)} is neither a recipe nor data that exists",
            hint=nearest(name, recipe_names()),
        )
    return parse_recipe({"name": _slug(path), "source": {"uri": name}}, where=name)


def with_default_model(recipe: Recipe, kind: Kind) -> Recipe:
    """The recipe with its model named: where it names none, the input's kind does."""
    if recipe.probe.model.name is not None:
        return recipe
    return resolve_recipe(recipe, {"probe.model.name": _DEFAULT_MODEL[kind]})


def _slug(path: Path) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in path.stem)
    return kept.lstrip("._-")[:64] or "source"
