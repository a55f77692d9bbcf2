"""Arms and their retraining units: whatever an arm trains on, equal work is one unit."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import ProbeError, UsageError
from dataprune.core.files import write_json
from dataprune.core.fingerprint import fingerprint
from dataprune.core.protocols import Job, OnProgress, Outcome, Resources, Shared, Unit
from dataprune.core.recipe import Budget, Recipe
from dataprune.evaluation.bench import Bench, Rows
from dataprune.probe.plan import PROBE_VERSION, check_stream, reading_of
from dataprune.runs.job import run_job
from dataprune.runs.ledger import Ledger, Record
from dataprune.sources._load import Loaded
from dataprune.tables.manifest import portable_recipe

ENTRYPOINT = "dataprune.evaluation.retrain:retrain_unit"
FULL = "full"
# Raise it with any change to what a retraining computes or records beside what a probe does.
_RETRAIN_VERSION = 2

log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class Arm:
    """One thing to retrain on.

    rows: int64, ascending, for each seed in turn; one entry where all seeds train on the same.
    num_steps: optimiser steps, which the schedule is laid out over.
    targets: of every row of the source, where the arm has its own.
    dynamic: a baseline of `dynamic` that chooses among `rows` while training.
    """

    name: str
    rows: tuple[Rows, ...]
    num_steps: int
    targets: npt.NDArray[Any] | None = None
    dynamic: dict[str, Any] | None = None

    def rows_of(self, seed: int) -> Rows:
        """What that seed trains on."""
        return self.rows[seed % len(self.rows)]


@dataclass(frozen=True)
class Retrained:
    """What came of the arms.

    records: {arm: {seed: record}} of the units that finished. failed: outcomes of the others.
    """

    records: dict[str, dict[int, Record]]
    failed: list[Outcome]

    @property
    def status(self) -> str:
        """Complete, or partial when units failed."""
        return "partial" if self.failed else "complete"


def retrain_units(
    recipe: Recipe, loaded: Loaded, bench: Bench, arms: Iterable[Arm], seeds: Iterable[int]
) -> tuple[list[Unit], Shared]:
    """One unit per arm and seed, and the arrays they read.

    Equal rows, steps and labels make equal units, which are trained once; a unit's id knows no
    arm's name.

    Raises:
        UsageError: an arm has no row to train on.
    """
    shared, units = dict(bench.shared), []
    test = loaded.test.ref.fingerprint if loaded.test and "test_targets" in shared else None
    common = {
        "probe": recipe.probe.model_dump(mode="json", exclude={"stop_epoch"}),
        "task": recipe.task,
        "num_outputs": bench.num_outputs,
        "root_seed": recipe.seed,
        "threads": recipe.run.num_cpus,
        "device": "cuda" if recipe.run.num_gpus > 0 else "cpu",
        "torch": importlib.metadata.version("torch"),
    }
    workers = recipe.run.workers
    about = {
        **({"world_size": workers} if workers > 1 else {}),  # sums are rounded otherwise
        "entrypoint": ENTRYPOINT,
        "source": loaded.ref.fingerprint,
        "inputs": reading_of(recipe),
        "test": test or _sha256(np.asarray(shared["held_out"])),
        "probe_version": PROBE_VERSION,
        "retrain_version": _RETRAIN_VERSION,
    }
    arms = list(arms)
    for seed in seeds:
        for arm in arms:
            rows = arm.rows_of(seed)
            if len(rows) == 0:
                raise UsageError(f"{arm.name} has no row left to train on")
            what = {"seed": seed, "num_steps": arm.num_steps, "dynamic": arm.dynamic}
            identity = {**common, **about, **what, "rows": _sha256(rows)}
            targets = "targets"
            if arm.targets is not None:
                identity["targets"] = _sha256(arm.targets[rows])
                targets = f"targets/{identity['targets']}"
                shared.setdefault(targets, arm.targets)
            names = {"rows": f"rows/{identity['rows']}", "targets": targets, "arm": arm.name}
            shared.setdefault(names["rows"], rows)
            unit_id = fingerprint(identity)[:32]
            spec = {**common, **what, **names, "workers": workers}
            units.append(Unit(unit_id, ENTRYPOINT, identity, spec, f"{arm.name} seed {seed}"))
    return units, shared


def _sha256(array: npt.NDArray[Any]) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def _done_before(ledger: Ledger) -> dict[str, str]:
    """Labels of the finished units that earlier calls in the folder named: `status` tells them."""
    if ledger.place.read("run.json") is None:
        return {}
    described = ledger.json("run.json")
    labels: dict[str, str] = described.get("units", {}) if isinstance(described, dict) else {}
    return {unit_id: label for unit_id, label in labels.items() if ledger.told(unit_id)}


def retrain(
    recipe: Recipe,
    loaded: Loaded,
    bench: Bench,
    arms: Sequence[Arm],
    *,
    seeds: Iterable[int],
    work: str | Path,
    on_progress: OnProgress,
) -> Retrained:
    """Train every arm that the ledger of `work` lacks; cut off, the same call goes on.

    Raises:
        ProbeError: every unit failed.
        BusyError: another process works in the folder.
        UsageError: nodes of a cluster could not read the inputs that are streamed.
    """
    units, shared = retrain_units(recipe, loaded, bench, arms, seeds)
    unique = {unit.unit_id: unit for unit in units}
    ledger = Ledger(work)
    check_stream(recipe, ledger.place)
    with ledger.exclusive(wait_s=60 * recipe.run.wait_minutes) as lease:
        labels = {unit.unit_id: unit.label for unit in units}
        about = {"recipe": portable_recipe(recipe), "units": {**_done_before(ledger), **labels}}
        write_json(ledger.folder / "run.json", about)
        ledger.place.share("run.json")
        found = {i: r for i in unique if (r := ledger.finished(i)) is not None}
        missing = [unit for unit_id, unit in unique.items() if unit_id not in found]
        log.info("%d of %d retrainings to run in %s", len(missing), len(unique), ledger.place.url)
        resources = replace(Resources.of(recipe.run), budget=Budget())  # that is scoring's
        job = Job(ledger.place.url, missing, shared, resources, lease.run_id, lease.check)
        new, failed = run_job(recipe.run.runner, job, on_progress)
    found |= new
    if not found:
        raise ProbeError(f"every unit failed; the first: {failed[0].error}", hint=failed[0].hint)
    records: dict[str, dict[int, Record]] = {arm.name: {} for arm in arms}
    for unit in units:
        if unit.unit_id in found:
            records[unit.spec["arm"]][unit.spec["seed"]] = found[unit.unit_id]
    return Retrained(records, failed)
