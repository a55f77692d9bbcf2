"""version -> evaluate: retrain on every arm that the ledger lacks, then compare."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.core.errors import ProbeError, UsageError
from dataprune.core.files import write_json
from dataprune.core.protocols import Job, OnProgress, Outcome, Resources
from dataprune.core.recipe import Recipe
from dataprune.evaluation.compare import compare, make_arms, metric_key, retrain_units
from dataprune.probe.check import check_model
from dataprune.runs.job import run_job
from dataprune.runs.ledger import Ledger
from dataprune.sources._load import Loaded
from dataprune.tables.manifest import portable_recipe
from dataprune.versions.load import LoadedVersion, load_version
from dataprune.versions.relabel import suggested_labels
from dataprune.versions.store import LocalStore

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


def retrain_and_compare(
    recipe: Recipe,
    loaded: Loaded,
    versions: list[LoadedVersion],
    *,
    num_seeds: int,
    work: Path,
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
    arms = make_arms(recipe, loaded, {v.tag: np.sort(v.rows) for v in versions}, suggested)
    units = retrain_units(recipe, loaded, arms, num_seeds)
    log.info(
        "%d arms x %d seeds of %d steps, tested on the %s",
        len(arms.rows), num_seeds, arms.num_steps, arms.held_out,
    )  # fmt: skip
    ledger = Ledger(work)
    with ledger.exclusive():
        labels = {unit.unit_id: unit.label for unit in units}
        write_json(work / "run.json", {"recipe": portable_recipe(recipe), "units": labels})
        unique = {unit.unit_id: unit for unit in units}  # arms with the same rows share units
        found = {i: r for i in unique if (r := ledger.finished(i)) is not None}
        missing = [unit for unit_id, unit in unique.items() if unit_id not in found]
        job = Job(work, missing, arms.shared, Resources.of(recipe.run))
        new, failed = run_job(recipe.run.runner, job, on_progress)
    found |= new
    if not found:
        raise ProbeError(f"every unit failed; the first: {failed[0].error}", hint=failed[0].hint)
    return EvaluationResult(
        versions[0].name,
        compare(units, found, arms),
        arms.held_out,
        arms.num_test_rows,
        arms.num_steps,
        arms.metric,
        "partial" if failed else "complete",
        failed,
    )
