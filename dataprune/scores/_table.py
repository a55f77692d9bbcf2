"""Where a score table goes, and the JSON that travels with it."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe
from dataprune.probe.gate import CheckpointQuality
from dataprune.probe.observe import Observed
from dataprune.runs.place import Place
from dataprune.scores import Score
from dataprune.scores._aggregate import ScoreColumns
from dataprune.scores._features import features_path
from dataprune.scores._removals import meta_of_removals
from dataprune.sources._load import Loaded
from dataprune.tables.manifest import portable_recipe
from dataprune.tables.scores import read_scores

NAME = "scores.parquet"

log = logging.getLogger("dataprune")


def table_path(
    place: Place, loaded: Loaded, wanted: Sequence[Score], flags: Sequence[str] = ()
) -> Path:
    """The run folder's own table; it may be made anew, but not taken from another source.

    wanted, flags: what it will hold.

    Raises:
        UsageError: the folder holds scores of another source.
    """
    path = place.folder / NAME
    if place.fetch(NAME) is not None:
        before = read_scores(path).meta
        if before["source"]["fingerprint"] != loaded.ref.fingerprint:
            raise UsageError(
                f"{path} holds scores of another source, {before['source']['uri']}",
                hint="choose another --work, or name the new table with --out",
            )
        kept = {*(score.name for score in wanted), *flags}
        lost = sorted({spec["score"] for spec in before["scores"].values()} - kept)
        if lost:
            log.info("%s will no longer hold %s; use --out to keep both", path, ", ".join(lost))
    return path


def share_table(place: Place, path: Path) -> None:
    """Let others see the run folder's own table, where it lies behind a URL; first its features."""
    if path != place.folder / NAME:
        return
    if features_path(path).is_file():
        place.share(features_path(path).name)
    place.share(NAME)


def table_meta(
    recipe: Recipe,
    loaded: Loaded,
    seen: Observed,
    columns: ScoreColumns,
    timing: Sequence[CheckpointQuality],
) -> dict[str, Any]:
    """The score table's metadata."""
    seeds = sorted(seen.traces)
    removals = meta_of_removals(recipe, list(columns.specs), seen)
    return {
        "status": "partial" if seen.failed or columns.left_out else "complete",
        "source": loaded.ref.model_dump(mode="json"),
        "recipe": portable_recipe(recipe),
        "scores": columns.specs,
        "seeds": seeds or list(range(recipe.seeds)),
        "unit_ids": [seen.records[seed].unit_id for seed in seeds if seed in seen.records],
        "reliability": columns.reliability,
        "between_scores": columns.between,
        "timing": [
            {"epoch": t.epoch, "metric": t.metric, "value": t.value, "low": t.low} for t in timing
        ],
        "environment": _environment(recipe) if seen.records else {},
        **({"removals": removals} if removals else {}),
    }


def warnings_of_removals(recipe: Recipe, wanted: Sequence[Score], seen: Observed) -> list[str]:
    """One sentence for each epoch at which what was memorized is no part of the layer."""
    names = [score.name for score in wanted]
    return [
        f"epoch {epoch}: {about['warning']}"
        for epoch, about in meta_of_removals(recipe, names, seen).items()
        if about["warning"] is not None
    ]


def _environment(recipe: Recipe) -> dict[str, Any]:
    """What the bits of a trace depend on besides the recipe."""
    return {
        "device": "cuda" if recipe.run.num_gpus > 0 else "cpu",
        "threads": recipe.run.num_cpus,
        "torch": importlib.metadata.version("torch"),
    }
