"""Presets: settings that go together; what a recipe says itself stands above them."""

from __future__ import annotations

from typing import Any

from dataprune.core.recipe_curate import CurateRecipe, Preset

_SETTINGS: dict[Preset, dict[str, Any]] = {
    # Every rule by code; nothing is counted against anything else.
    "rules-only": {},
    # arXiv 2509.25084: strict ReAct, short answers, all of three runs agree, all of them are kept.
    "datamind": {
        "rules": {"reject": ("F_TEXT_OUTSIDE_TAGS",)},
        "groups": {"policy": "unanimous", "min_n": 3, "tolerance": 0.03},
    },
    # Void turns alone decide, beside secrets and what cannot be read; what else is found is noted.
    "simpletir": {"rules": {"only": ("F_VOID_TURN",)}},
    # For supervised fine-tuning: what most runs agree on, a few runs a query, easy ones too.
    "sft": {
        "groups": {"policy": "share", "keep_frontier": True},
        "select": {"max_per_query": 3},
    },
    # For reinforcement learning: queries that are sometimes solved.
    "rl": {"select": {"bands": ("hard", "medium", "easy")}},
}


def with_preset(curate: CurateRecipe) -> CurateRecipe:
    """The recipe with its preset's settings where it says nothing itself."""
    own = curate.model_dump(exclude_unset=True)
    preset = dict(_SETTINGS[curate.preset])
    if "rules" in preset:  # a code that the recipe speaks of itself is no longer the preset's
        named = {*curate.rules.flag, *curate.rules.off}
        preset["rules"] = {
            key: tuple(code for code in codes if code not in named)
            for key, codes in preset["rules"].items()
        }
    return CurateRecipe.model_validate(_merged(preset, own))


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merged(merged[key], value)
        else:
            merged[key] = value
    return merged
