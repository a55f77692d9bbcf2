"""Trace -> scores, from recorded traces: nothing is trained, and torch is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dataprune.core.recipe import Recipe
from dataprune.scores._from_traces import score_traces
from dataprune.scores._result import ScoreResult


def score_recorded(
    recipe: Recipe, folder: Path, at: Sequence[int] | None, out: Path | None
) -> ScoreResult:
    """Score the traces of a folder, by default at their last common epoch.

    Raises:
        AlignmentError, TableError, UsageError: as `score_traces`.
    """
    made = score_traces(recipe, folder, at, out)
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
