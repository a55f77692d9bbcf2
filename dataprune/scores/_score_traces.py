"""Trace -> scores, from recorded traces: nothing is trained, and torch is not needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe
from dataprune.scores._from_traces import score_traces
from dataprune.scores._result import ScoreResult


def score_recorded(
    recipe: Recipe,
    folder: Path,
    at: Sequence[int] | None,
    out: str | Path | None,
    *,
    no_effect: Mapping[str, Any],
) -> ScoreResult:
    """Score the traces of a folder, by default at their last common epoch.

    no_effect: {argument: value} of what would only matter to training; each must be None.

    Raises:
        UsageError: one of them is not, or the recipe wants flags; as `score_traces`.
        AlignmentError, TableError: as `score_traces`.
    """
    for name, value in no_effect.items():
        if value is not None:
            raise UsageError(f"{name} has no effect with traces: nothing is trained")
    if recipe.flags:
        raise UsageError(
            f"flag {recipe.flags[0]} wants held-out votes, and recorded traces have none",
            hint="leave it out, or give your held-out probabilities to dataprune flags --probs",
        )
    if recipe.probes_give_features:
        raise UsageError(
            "recorded traces have no features",
            hint="set scores.features to false; prune takes a file by --features, and a column "
            "of the source is named by source.columns.embedding",
        )
    made = score_traces(recipe, folder, at, None if out is None else Path(out))
    return ScoreResult(
        path=made.path,
        work=folder,
        status=made.meta["status"],
        recipe=made.recipe,
        source=made.source,
        reliability=made.meta["reliability"],
        between=made.meta["between_scores"],
        seeds=made.meta["seeds"],
        notes=made.notes,
        warnings=made.warnings,
    )
