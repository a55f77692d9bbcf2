"""Arms, units and the comparison: accuracy with 95 % intervals, differences paired by seed."""

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
from dataprune.probe.folds import stratified_holdout
from dataprune.probe.plan import PROBE_VERSION
from dataprune.runs.ledger import Record
from dataprune.sources._load import Loaded

ENTRYPOINT = "dataprune.evaluation.retrain:retrain_unit"
FULL = "full"
_HELD_OUT_FRAC = 0.2

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Arms:
    """What every arm shares, and each arm's training rows.

    rows: {arm: int64 positions in the source}; `full` is everything that is not held out.
    shared: arrays for the units.
    held_out: "test" or "20% held out".
    num_steps: optimiser steps of every arm: what the recipe trains the full arm for.
    """

    rows: dict[str, Rows]
    shared: Shared
    held_out: str
    num_steps: int


def make_arms(recipe: Recipe, loaded: Loaded, kept: dict[str, Rows]) -> Arms:
    """Lay out the arms: full data, then each version's kept rows, less what is held out.

    Without a test split a stratified share, hashed from content, is held out of every arm.

    Raises:
        UsageError: an arm has no rows left to train on.
    """
    assert loaded.inputs is not None
    n = len(loaded.labels)
    if loaded.test is not None:
        assert loaded.test.inputs is not None
        held_out = np.zeros(n, dtype=np.bool_)
        test_inputs, test_labels, told = loaded.test.inputs, loaded.test.labels, "test split"
    else:
        hashes = loaded.examples.column("content_hash").to_numpy()
        held_out = stratified_holdout(hashes, loaded.labels, _HELD_OUT_FRAC, recipe.seed)
        test_inputs, test_labels = loaded.inputs[held_out], loaded.labels[held_out]
        told = f"{_HELD_OUT_FRAC:.0%} held out of every arm"
    rows = {FULL: np.flatnonzero(~held_out)}
    for arm, positions in kept.items():
        rows[arm] = positions[~held_out[positions]]
        if len(rows[arm]) == 0:
            raise UsageError(f"version {arm} has no row left to train on")
    mean, std = statistics(loaded.inputs[rows[FULL]] if held_out.any() else loaded.inputs)
    shared = {
        "inputs": loaded.inputs,
        "labels": loaded.labels,
        "mean": mean,
        "std": std,
        "test_inputs": test_inputs,
        "test_labels": test_labels,
        **{f"rows/{arm}": positions for arm, positions in rows.items()},
    }
    batch_size = min(recipe.probe.batch_size, len(rows[FULL]))
    steps_per_epoch = len(rows[FULL]) // batch_size
    num_steps = recipe.probe.schedule_epochs * steps_per_epoch
    return Arms(rows, shared, told, num_steps)


def retrain_units(recipe: Recipe, loaded: Loaded, arms: Arms, num_seeds: int) -> list[Unit]:
    """One unit per arm and seed."""
    units = []
    rows_sha256 = {
        arm: hashlib.sha256(rows.tobytes()).hexdigest() for arm, rows in arms.rows.items()
    }
    for seed in range(num_seeds):
        for arm in arms.rows:
            spec = {
                "probe": recipe.probe.model_dump(mode="json", exclude={"stop_epoch"}),
                "task": recipe.task,
                "num_classes": len(loaded.ref.class_names),
                "root_seed": recipe.seed,
                "seed": seed,
                "arm": arm,
                "num_steps": arms.num_steps,
                "threads": recipe.run.num_cpus,
                "device": "cuda" if recipe.run.num_gpus > 0 else "cpu",
                "torch": importlib.metadata.version("torch"),
            }
            identity = {
                **{k: v for k, v in spec.items() if k != "arm"},
                "entrypoint": ENTRYPOINT,
                "source": loaded.ref.fingerprint,
                "test": loaded.test.ref.fingerprint if loaded.test else arms.held_out,
                "rows": rows_sha256[arm],
                "probe_version": PROBE_VERSION,
            }
            unit_id = fingerprint(identity)[:32]
            units.append(Unit(unit_id, ENTRYPOINT, identity, spec, f"{arm} seed {seed}"))
    return units


def compare(units: list[Unit], records: dict[str, Record], arms: Arms) -> list[dict[str, Any]]:
    """A row per arm: accuracy, its 95 % interval over seeds, and the paired gain over full.

    Intervals are Student's t over seeds; None with one seed.
    """
    by_arm: dict[str, dict[int, float]] = {}
    for unit in units:
        if unit.unit_id in records:
            accuracy = records[unit.unit_id].result["accuracy"]
            by_arm.setdefault(unit.spec["arm"], {})[unit.spec["seed"]] = accuracy
    table = []
    for arm, accuracies in by_arm.items():
        row: dict[str, Any] = {
            "arm": arm,
            "num_rows": len(arms.rows[arm]),
            "seeds": len(accuracies),
            **_interval("accuracy", list(accuracies.values())),
            "accuracies": [accuracies[s] for s in sorted(accuracies)],
        }
        for other in _opponents(arm, by_arm):
            seeds = sorted(accuracies.keys() & by_arm[other].keys())
            gains = [accuracies[s] - by_arm[other][s] for s in seeds]
            row |= _interval("gain_over_full" if other == FULL else "gain_over_control", gains)
        table.append(row)
    return table


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
