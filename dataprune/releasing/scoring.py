"""source -> scores of a release: all of them, or only what is new, the rest carried over."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from dataprune import flow
from dataprune.core.files import sha256_file
from dataprune.core.protocols import OnProgress
from dataprune.probe.examples import read_rows
from dataprune.releasing.plan import Plan
from dataprune.scores._carry import all_carried, carry, num_carried, other_specs, why_not
from dataprune.selection._features import with_features_read
from dataprune.tables.manifest import SelectionEntry
from dataprune.tables.parquet import write_table
from dataprune.tables.scores import ScoreTable, read_scores
from dataprune.versions.build import SCORES
from dataprune.versions.identity import verify_file
from dataprune.versions.store import LocalStore

_FRESH, _CARRIED = "scores.parquet", "scores-carried.parquet"

log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class LastVersion:
    """The last version tagged: what it was decided by, and its scores."""

    tag: str
    selection: SelectionEntry
    scores: ScoreTable


@dataclass(frozen=True)
class Scored:
    """What versions are decided from.

    table: the score table's path; `scores` what it holds.
    fresh: scores of this run's own units; None where none ran, since every row was known.
    """

    table: Path
    scores: ScoreTable
    fresh: ScoreTable | None
    trained: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def sha256(self) -> str:
        """Of the table's bytes."""
        return sha256_file(self.table)


def last_version(store: LocalStore, name: str, tag: str | None) -> LastVersion | None:
    """The version of that tag, if it is there; its scores are checked against its manifest.

    Raises:
        VersionError: it is damaged.
    """
    if tag is None or not store.has(name, tag):
        return None
    manifest = store.manifest(name, tag)
    path = store.path(name, tag) / SCORES
    verify_file(path, manifest.scores.file)
    return LastVersion(tag, manifest.selection, read_scores(path))


def score_release(plan: Plan, last: LastVersion | None, on_progress: OnProgress) -> Scored:
    """Score the source as the recipe says; with `incremental`, known rows keep their scores.

    Raises:
        DatapruneError: as `flow.score`.
    """
    notes: list[str] = []
    own_vectors = plan.recipe.source.columns.embedding  # no part of what is known of a row
    if plan.incremental and last is not None and not plan.recipe.flags and not own_vectors:
        known = _only_known(plan, last)
        if known is not None:
            path = plan.work / _CARRIED
            write_table(path, known.table, known.meta)
            log.info("every row was scored before: nothing is trained")
            return Scored(path, known, None)
    (plan.work / _FRESH).unlink(missing_ok=True)  # ours, made anew whatever became of it
    out, work = plan.work / _FRESH, plan.place.url
    result = flow.score(plan.recipe, work=work, out=out, on_progress=on_progress)
    fresh = read_scores(result.path)
    path, scores = result.path, fresh
    if plan.incremental and last is not None:
        why = why_not(last.scores, result.recipe, fresh.meta["source"]["class_names"])
        why = why or other_specs(fresh, last.scores)
        if why is not None:
            notes.append(f"every row is scored anew: {why} since {last.tag}")
        else:
            path, scores = plan.work / _CARRIED, carry(fresh, last.scores)
            write_table(path, scores.table, scores.meta)
    warnings = [*result.warnings, *result.advice]
    return Scored(path, scores, fresh, result.trained, [*result.notes, *notes], warnings)


def _only_known(plan: Plan, last: LastVersion) -> ScoreTable | None:
    """Scores of a source all of whose rows were scored before, without any unit; else None."""
    recipe, loaded = read_rows(plan.recipe)
    if why_not(last.scores, recipe, loaded.ref.class_names) is not None:
        return None
    if with_features_read(recipe).scores.features:
        return None  # versions hold no features
    return all_carried(loaded.examples, loaded.ref, recipe, last.scores)


def rows_carried(scored: Scored) -> int:
    """How many rows have scores of an earlier version."""
    return num_carried(scored.scores)
