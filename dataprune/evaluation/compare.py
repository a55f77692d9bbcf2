"""Versions as arms, and the comparison: a metric with 95 % intervals, differences by seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe
from dataprune.evaluation.arms import FULL, Arm, Retrained
from dataprune.evaluation.bench import Bench, Rows, steps_per_epoch, task_of
from dataprune.evaluation.statistics import estimate, paired
from dataprune.runs.ledger import Record
from dataprune.sources._load import Loaded
from dataprune.tables.flags import SUGGESTED


def version_arms(
    recipe: Recipe,
    loaded: Loaded,
    bench: Bench,
    kept: Mapping[str, Rows],
    suggested: Mapping[str, Rows],
) -> list[Arm]:
    """Full data, then each version's kept rows, less what is held out; as many steps for all.

    suggested: {arm: class of every row of the source} for versions with suggested labels, which
        they train on. What is held out keeps its given labels.

    Raises:
        UsageError: a version has no rows left to train on.
    """
    task = task_of(recipe)
    num_steps = recipe.probe.schedule_epochs * steps_per_epoch(recipe, len(bench.train_rows))
    train = loaded.labels[bench.train_rows]
    may_train = np.zeros(len(loaded.labels), dtype=np.bool_)
    may_train[bench.train_rows] = True
    arms = [Arm(FULL, (bench.train_rows,), num_steps)]
    for name, positions in kept.items():
        rows, targets = positions[may_train[positions]], None
        if len(rows) == 0:
            raise UsageError(f"version {name} has no row left to train on")
        if name in suggested:
            used = np.where(may_train, suggested[name], loaded.labels)
            targets = task.targets(used, train)
        arms.append(Arm(name, (rows,), num_steps, targets))
    return arms


def compare(arms: list[Arm], retrained: Retrained, metric: str) -> list[dict[str, Any]]:
    """A row per arm: labels it trained on, metric, 95 % interval over seeds, paired gain over full.

    Intervals are Student's t over seeds; None with one seed.
    """
    by_arm = {arm: values_of(records) for arm, records in retrained.records.items() if records}
    table = []
    for arm in arms:
        if arm.name not in by_arm:
            continue
        values = by_arm[arm.name]
        row: dict[str, Any] = {
            "arm": arm.name,
            "num_rows": len(arm.rows[0]),
            "labels": "given" if arm.targets is None else SUGGESTED,
            "seeds": len(values),
            **interval(metric_key(metric), values),
            "per_seed": [values[s] for s in sorted(values)],
        }
        if worst := worst_class(retrained.records[arm.name]):
            row |= interval("worst_class", worst)
        for other in (FULL, f"{arm.name}-control"):
            if other in by_arm and other != arm.name:
                name = "gain_over_full" if other == FULL else "gain_over_control"
                row |= gain(name, values, by_arm[other])
        table.append(row)
    return table


def metric_key(metric: str) -> str:
    """The metric's key in a row: accuracy, exact_match, r2."""
    return metric.lower().replace(" ", "_")


def values_of(records: Mapping[int, Record]) -> dict[int, float]:
    """The metric of each seed."""
    return {seed: record.result["value"] for seed, record in records.items()}


def worst_class(records: Mapping[int, Record]) -> dict[int, float]:
    """Each seed's accuracy in the class where it is lowest; empty where there are no classes."""
    tested = {
        seed: [share for share in record.result["class_accuracy"] or () if share is not None]
        for seed, record in records.items()
    }
    return {seed: min(shares) for seed, shares in tested.items() if shares}


def interval(name: str, values: Mapping[int, float]) -> dict[str, Any]:
    """A mean over seeds and its half width, as keys of a row."""
    found = estimate(list(values.values()))
    return {name: found.mean, f"{name}_half_width": found.half_width}


def gain(name: str, values: Mapping[int, float], others: Mapping[int, float]) -> dict[str, Any]:
    """A paired difference and its half width, as keys of a row; none without a common seed."""
    found = paired(values, others)
    return {} if found is None else {name: found.mean, f"{name}_half_width": found.half_width}
