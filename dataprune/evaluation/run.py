"""version -> evaluate: retrain on every arm that the ledger lacks, then compare."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.core.errors import AlignmentError, UsageError
from dataprune.core.protocols import OnProgress, Outcome
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.evaluation.arms import retrain
from dataprune.evaluation.bench import make_bench
from dataprune.evaluation.compare import compare, metric_key, version_arms
from dataprune.probe.check import check_model
from dataprune.probe.examples import read_examples
from dataprune.sources._load import Loaded
from dataprune.sources._resolve import resolve_recipe
from dataprune.tables.manifest import SourceRef
from dataprune.versions.load import LoadedVersion, load_version, open_pinned
from dataprune.versions.relabel import suggested_labels
from dataprune.versions.store import LocalStore

DEFAULT_EVALUATIONS = Path(".dataprune/evaluations")

log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class EvaluationResult:
    """The metric (accuracy, exact match, R2) per arm.

    rows: as `dataprune.evaluation.compare.compare` describes.
    status: "complete", or "partial" when units failed.
    """

    name: str
    rows: list[dict[str, Any]]
    held_out: str
    num_test_rows: int
    num_steps: int
    metric: str
    status: str
    failed: list[Outcome]

    @property
    def metric_key(self) -> str:
        """The metric's key in `rows`: accuracy, exact_match, r2."""
        return metric_key(self.metric)


def versions_to_evaluate(store: LocalStore, name: str, tags: Sequence[str]) -> list[LoadedVersion]:
    """The versions named and the controls made with them, verified, all of one source.

    Raises:
        UsageError: they come from different sources.
    """
    controls = {
        tag: [t for t in store.tags(name) if store.manifest(name, t).control_of == tag]
        for tag in tags
    }
    wanted = dict.fromkeys(t for tag in tags for t in (tag, *controls[tag]))
    versions = [load_version(store, name, tag, prove_source=False) for tag in wanted]
    first = versions[0]
    for version in versions:
        if version.manifest.source.fingerprint != first.manifest.source.fingerprint:
            raise UsageError(
                f"{name}@{version.tag} and {name}@{first.tag} come from different sources",
                hint="evaluate them one by one",
            )
    return versions


def evaluate_versions(
    store: LocalStore,
    name: str,
    tags: Sequence[str],
    changes: Mapping[str, Any],
    num_seeds: int,
    source: str | None,
    work: str | Path | None,
    on_progress: OnProgress,
) -> EvaluationResult:
    """Read the versions' source as it was scored, retrain on every arm, compare.

    changes: of the recipe that the versions record. source: where theirs lies now. work: the run
        folder.

    Raises:
        UsageError, PartialError: as `dataprune.evaluate`.
        AlignmentError: the held-out split is not the one that was there at scoring.
    """
    versions = versions_to_evaluate(store, name, tags)
    first = versions[0].manifest
    if "curate" in first.recipe:
        raise UsageError(
            f"{name}@{first.version} holds agent trajectories, and evaluate trains classifiers",
            hint="train on it with your own trainer, beside a version of --control",
        )
    recorded = parse_recipe(first.recipe, where=f"{name}@{first.version}")
    recipe = resolve_recipe(recorded, dict(changes))
    folder = work or DEFAULT_EVALUATIONS / f"{name}-{first.source.fingerprint[:12]}"
    opened = open_pinned(first.source, source, near=store.path(name, first.version))
    loaded = read_examples(recipe, opened, work=folder)
    try:
        check_held_out(loaded.ref, first.source)
        return retrain_and_compare(
            recipe, loaded, versions, num_seeds=num_seeds, work=folder, on_progress=on_progress
        )
    finally:
        loaded.discard()


def check_held_out(ref: SourceRef, scored: SourceRef) -> None:
    """Refuse to test on other rows than those that were there at scoring.

    Raises:
        AlignmentError: the held-out split is another one, or there was or is none.
    """
    now, then = (r.test.fingerprint if r.test else None for r in (ref, scored))
    if now != then:
        raise AlignmentError(
            f"the held-out split of {ref.uri} is not the one that was there at scoring",
            hint="restore it, or score and prune again with this one",
        )


def retrain_and_compare(
    recipe: Recipe,
    loaded: Loaded,
    versions: list[LoadedVersion],
    *,
    num_seeds: int,
    work: str | Path,
    on_progress: OnProgress,
) -> EvaluationResult:
    """Retrain the recipe's probe on every arm, at equal steps, and compare accuracies.

    A version with suggested labels trains on these; tests are by given labels.

    Raises:
        ProbeError: every unit failed.
        BusyError: another process works in the folder.
    """
    check_model(recipe, loaded)
    suggested = {
        v.tag: suggested_labels(v.scores.table, v.decisions_table)
        for v in versions
        if v.manifest.selection.relabel
    }
    bench = make_bench(recipe, loaded)
    kept = {v.tag: np.sort(v.rows) for v in versions}
    arms = version_arms(recipe, loaded, bench, kept, suggested)
    num_steps = arms[0].num_steps
    log.info(
        "%d arms x %d seeds of %d steps, tested on the %s",
        len(arms), num_seeds, num_steps, bench.held_out,
    )  # fmt: skip
    where: dict[str, Any] = {"work": work, "on_progress": on_progress}
    retrained = retrain(recipe, loaded, bench, arms, num_seeds=num_seeds, **where)
    return EvaluationResult(
        versions[0].name,
        compare(arms, retrained, bench.metric),
        bench.held_out,
        bench.num_test_rows,
        num_steps,
        bench.metric,
        retrained.status,
        retrained.failed,
    )
