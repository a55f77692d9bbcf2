"""Arms, units and the comparison: a metric with 95 % intervals, differences paired by seed."""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import UsageError
from dataprune.core.fingerprint import fingerprint
from dataprune.core.protocols import Shared, Unit
from dataprune.core.recipe import Recipe
from dataprune.probe.data import statistics
from dataprune.probe.folds import strata_of, stratified_holdout
from dataprune.probe.plan import PROBE_VERSION, groups_of, model_inputs, reading_of
from dataprune.probe.tasks import TASKS
from dataprune.runs.ledger import Record
from dataprune.sources._load import Loaded
from dataprune.tables.flags import SUGGESTED

ENTRYPOINT = "dataprune.evaluation.retrain:retrain_unit"
FULL = "full"
_HELD_OUT_FRAC = 0.2

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Arms:
    """What every arm shares, and each arm's training rows.

    rows: {arm: int64 positions in the source}; `full` is everything that is not held out.
    shared: arrays for the units; `targets/ARM` for an arm that trains on labels of its own.
    relabelled: arms that train on their suggested labels; every arm is tested on given ones.
    held_out: "test" or "20% held out".
    num_steps: optimiser steps of every arm: what the recipe trains the full arm for.
    metric: what arms are compared by: accuracy, exact match or R2.
    """

    rows: dict[str, Rows]
    shared: Shared
    relabelled: list[str]
    held_out: str
    num_steps: int
    num_test_rows: int
    metric: str


def make_arms(
    recipe: Recipe, loaded: Loaded, kept: dict[str, Rows], suggested: dict[str, Rows]
) -> Arms:
    """Lay out the arms: full data, then each version's kept rows, less what is held out.

    Without a test split a stratified share, hashed from content, is held out of every arm.
    suggested: {arm: class of every row of the source} for versions with suggested labels, which
        they train on. What is held out keeps its given labels.

    Raises:
        UsageError: an arm has no rows left to train on.
    """
    task = TASKS.get(_task_name(recipe))
    held_out = np.zeros(len(loaded.labels), dtype=np.bool_)
    told = "test split"
    if loaded.test is None:
        strata, groups = strata_of(loaded.labels), groups_of(loaded)
        held_out = stratified_holdout(loaded.hashes, strata, _HELD_OUT_FRAC, recipe.seed, groups)
        told = f"{held_out.mean():.0%} held out of every arm"
    rows = {FULL: np.flatnonzero(~held_out)}
    for arm, positions in kept.items():
        rows[arm] = positions[~held_out[positions]]
        if len(rows[arm]) == 0:
            raise UsageError(f"version {arm} has no row left to train on")
    train = loaded.labels[~held_out]
    shared = {
        **model_inputs(recipe, loaded),
        "targets": task.targets(loaded.labels, train),
        **{f"rows/{arm}": positions for arm, positions in rows.items()},
    }
    for arm, labels in suggested.items():
        used = np.where(held_out, loaded.labels, labels)
        shared[f"targets/{arm}"] = task.targets(used, train)
    if loaded.test is None:
        shared["held_out"] = held_out
        if loaded.inputs is not None:
            shared["mean"], shared["std"] = statistics(loaded.inputs, ~held_out)
    else:
        shared["test_targets"] = task.targets(loaded.test.labels, train)
    batch_size = min(recipe.probe.batch_size, len(rows[FULL]))
    steps_per_epoch = len(rows[FULL]) // batch_size
    num_steps = recipe.probe.schedule_epochs * steps_per_epoch
    num_test_rows = int(held_out.sum()) if loaded.test is None else len(loaded.test.labels)
    return Arms(rows, shared, list(suggested), told, num_steps, num_test_rows, task.metric)


def _task_name(recipe: Recipe) -> str:
    if recipe.task is None:
        raise UsageError("there are no labels to train on: the versions were made with task: null")
    return recipe.task


def retrain_units(recipe: Recipe, loaded: Loaded, arms: Arms, num_seeds: int) -> list[Unit]:
    """One unit per arm and seed."""
    units = []
    rows_sha256 = {
        arm: hashlib.sha256(rows.tobytes()).hexdigest() for arm, rows in arms.rows.items()
    }
    outputs = TASKS.get(_task_name(recipe)).num_outputs(loaded.labels, len(loaded.ref.class_names))
    for seed in range(num_seeds):
        for arm in arms.rows:
            spec = {
                "probe": recipe.probe.model_dump(mode="json", exclude={"stop_epoch"}),
                "task": recipe.task,
                "num_outputs": outputs,
                "root_seed": recipe.seed,
                "seed": seed,
                "arm": arm,
                "num_steps": arms.num_steps,
                "threads": recipe.run.num_cpus,
                "workers": recipe.run.workers,
                "device": "cuda" if recipe.run.num_gpus > 0 else "cpu",
                "torch": importlib.metadata.version("torch"),
            }
            identity = {
                **{k: v for k, v in spec.items() if k not in {"arm", "workers"}},
                **({"world_size": recipe.run.workers} if recipe.run.workers > 1 else {}),
                "entrypoint": ENTRYPOINT,
                "source": loaded.ref.fingerprint,
                "inputs": reading_of(recipe),
                "test": loaded.test.ref.fingerprint if loaded.test else _sha256(arms.shared),
                "rows": rows_sha256[arm],
                **_own_labels(arms, arm),
                "probe_version": PROBE_VERSION,
            }
            unit_id = fingerprint(identity)[:32]
            units.append(Unit(unit_id, ENTRYPOINT, identity, spec, f"{arm} seed {seed}"))
    return units


def _own_labels(arms: Arms, arm: str) -> dict[str, str]:
    """What an arm's own labels add to the identity of its units; nothing if it has given ones."""
    if arm not in arms.relabelled:
        return {}
    targets = np.asarray(arms.shared[f"targets/{arm}"])[arms.rows[arm]]
    return {"targets": hashlib.sha256(targets.tobytes()).hexdigest()}


def _sha256(shared: Shared) -> str:
    return hashlib.sha256(np.asarray(shared["held_out"]).tobytes()).hexdigest()


def compare(units: list[Unit], records: dict[str, Record], arms: Arms) -> list[dict[str, Any]]:
    """A row per arm: labels it trained on, metric, 95 % interval over seeds, paired gain over full.

    Intervals are Student's t over seeds; None with one seed.
    """
    by_arm: dict[str, dict[int, float]] = {}
    for unit in units:
        if unit.unit_id in records:
            value = records[unit.unit_id].result["value"]
            by_arm.setdefault(unit.spec["arm"], {})[unit.spec["seed"]] = value
    name = metric_key(arms.metric)
    table = []
    for arm, values in by_arm.items():
        row: dict[str, Any] = {
            "arm": arm,
            "num_rows": len(arms.rows[arm]),
            "labels": SUGGESTED if arm in arms.relabelled else "given",
            "seeds": len(values),
            **_interval(name, list(values.values())),
            "per_seed": [values[s] for s in sorted(values)],
        }
        for other in _opponents(arm, by_arm):
            seeds = sorted(values.keys() & by_arm[other].keys())
            gains = [values[s] - by_arm[other][s] for s in seeds]
            row |= _interval("gain_over_full" if other == FULL else "gain_over_control", gains)
        table.append(row)
    return table


def metric_key(metric: str) -> str:
    """The metric's key in a row: accuracy, exact_match, r2."""
    return metric.lower().replace(" ", "_")


def _opponents(arm: str, by_arm: dict[str, Any]) -> list[str]:
    return [o for o in (FULL, f"{arm}-control") if o in by_arm and o != arm]


def _interval(name: str, values: list[float]) -> dict[str, Any]:
    from scipy import stats

    if not values:
        return {}
    mean = float(np.mean(values))
    half = None
    if len(values) > 1:
        error = float(np.std(values, ddof=1)) / np.sqrt(len(values))
        half = float(stats.t.ppf(0.975, len(values) - 1) * error)
    return {name: mean, f"{name}_half_width": half}
