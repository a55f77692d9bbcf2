"""What the scores mem_* tell besides their values: what was removed, and whether that was local."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dataprune.core.recipe import Recipe
from dataprune.probe.observe import Observed

OF_MEMORIZED = ("mem_drop", "mem_flip", "mem_margin_pruned")


def spec_of_removal(basis: str, layer: str | None) -> dict[str, Any]:
    """What a silent variant would change. layer: None for the input of the last linear layer."""
    where = "input of the last linear layer" if layer is None else f"output of {layer}"
    return {"removal": basis, "layer": where}


def meta_of_removals(recipe: Recipe, names: Sequence[str], seen: Observed) -> dict[str, Any]:
    """What was removed from the probes at each epoch; empty where no score mem_* is wanted."""
    if not seen.records or not set(names) & set(OF_MEMORIZED):
        return {}
    from dataprune.probe.removal import told_of_removals

    records = [seen.records[seed].result for seed in sorted(seen.records)]
    return {
        str(epoch): told_of_removals([result["removals"][str(epoch)] for result in records])
        for epoch in recipe.checkpoints
    }
