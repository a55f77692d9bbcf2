"""From retrained cells to the table: every row a dict, its tests against random, warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dataprune.core.recipe import RunRecipe
from dataprune.evaluation.arms import FULL, Retrained
from dataprune.evaluation.bench import Bench
from dataprune.evaluation.cells import Cell
from dataprune.evaluation.compare import gain, interval, metric_key, values_of, worst_class
from dataprune.evaluation.costs import ScoringCost, payoff, training_seconds
from dataprune.evaluation.statistics import holm, paired
from dataprune.runs.ledger import Record
from dataprune.tables.flags import SUGGESTED

_LEVEL = 0.05
_FEW_ROWS = 10  # of a class
_SMALL_SHARE = 0.1  # of a class's rows
_WORST_FELL = 0.1  # accuracy
_FEW_STEPS = 100
UNSURE = "too few seeds to tell"
_OF_RANDOM = "gain_over_random"
_WORST_OF_RANDOM = "worst_class_gain_over_random"


def tabulate(
    cells: Sequence[Cell],
    retrained: Retrained,
    bench: Bench,
    run: RunRecipe,
    scoring: ScoringCost,
    class_names: Sequence[str],
) -> list[dict[str, Any]]:
    """A row per cell that has a finished unit.

    Keys: arm, kind, strategy, keep, budget (rows of an epoch), share (that, of all), num_rows (that
    it may see: all of them for baselines), num_steps, labels (trained on: given, suggested_label),
    seeds, the metric (with its half width and per_seed), worst_class and class_accuracy
    (classification), gain_over_full, gain_over_random (with p, p_holm and verdict),
    gain_over_matched, worst_class_gain_over_random, train_s (device seconds), pilot_s (of auto,
    which scoring_s counts in) and what `payoff` gives.
    """
    rows = []
    by_arm = {name: records for name, records in retrained.records.items() if records}
    full_s = training_seconds(by_arm[FULL], run) if FULL in by_arm else None
    full_steps = cells[0].arm.num_steps
    for cell in cells:
        if cell.arm.name not in by_arm:
            continue
        records = by_arm[cell.arm.name]
        row = {**_about(cell, bench), "seeds": len(records)}
        row |= _measured(records, bench.metric, class_names)
        row |= _gains(cell, by_arm)
        row["train_s"] = training_seconds(records, run)
        if full_s is not None and cell.kind != "full":
            scoring_s = scoring.seconds if cell.reads_score else 0.0
            if scoring_s is not None:
                scoring_s += cell.pilot_s
            if cell.pilot_s:
                row["pilot_s"] = cell.pilot_s
            fewer = cell.arm.num_steps < full_steps
            row |= payoff(full_s, row["train_s"], scoring_s, fewer_steps=fewer)
        rows.append(row)
    for key in (_OF_RANDOM, _WORST_OF_RANDOM):
        _correct(rows, key)
    return rows


def _about(cell: Cell, bench: Bench) -> dict[str, Any]:
    return {
        "arm": cell.arm.name,
        "kind": cell.kind,
        "strategy": cell.strategy,
        "keep": cell.keep,
        "budget": cell.budget,
        "share": cell.budget / len(bench.train_rows),
        "num_rows": len(cell.arm.rows[0]),
        "num_steps": cell.arm.num_steps,
        "labels": "given" if cell.arm.targets is None else SUGGESTED,
    }


def _measured(
    records: Mapping[int, Record], metric: str, class_names: Sequence[str]
) -> dict[str, Any]:
    """The metric and, where there are classes, each one's mean accuracy and the worst."""
    values = values_of(records)
    row = {**interval(metric_key(metric), values), "per_seed": [values[s] for s in sorted(values)]}
    if worst := worst_class(records):
        shares = np.asarray([r.result["class_accuracy"] for r in records.values()], dtype=float)
        means = dict(zip(class_names, shares.mean(axis=0).tolist(), strict=True))
        row["class_accuracy"] = {name: v for name, v in means.items() if not np.isnan(v)}
        row |= interval("worst_class", worst)
    return row


def _gains(cell: Cell, by_arm: Mapping[str, Mapping[int, Record]]) -> dict[str, Any]:
    """Differences to full data, to random rows and to those of the same classes, by seed."""
    own = by_arm[cell.arm.name]
    row: dict[str, Any] = {}
    others = {"gain_over_full": FULL, "gain_over_matched": cell.matched}
    for name, other in others.items():
        if other is not None and other in by_arm and other != cell.arm.name:
            row |= gain(name, values_of(own), values_of(by_arm[other]))
    if cell.control is not None and cell.control in by_arm:
        random = by_arm[cell.control]
        row |= _tested(_OF_RANDOM, values_of(own), values_of(random))
        row |= _tested(_WORST_OF_RANDOM, worst_class(own), worst_class(random))
    return row


def _tested(name: str, values: Mapping[int, float], others: Mapping[int, float]) -> dict[str, Any]:
    found = paired(values, others)
    if found is None:
        return {}
    half = {f"{name}_half_width": found.half_width}
    return {name: found.mean, **half, f"{name}_p": found.p, f"{name}_tells": found.tells}


def _correct(rows: Sequence[dict[str, Any]], key: str) -> None:
    """Put Holm's p values and verdicts into the rows that were tested by `key`."""
    tested = [row for row in rows if key in row]
    for row, p in zip(tested, holm([row[f"{key}_p"] for row in tested]), strict=True):
        row[f"{key}_p_holm"] = p
        word = "better" if row[key] > 0 else "worse"
        sure = p is not None and p < _LEVEL
        unsure = "not after correction" if row.pop(f"{key}_tells") else UNSURE
        row[f"{key}_verdict"] = word if sure else unsure


def warnings_for(
    rows: Sequence[dict[str, Any]],
    cells: Sequence[Cell],
    bench: Bench,
    class_names: Sequence[str],
    protocol: str,
) -> list[str]:
    """Where a cell is worse than random, loses a class, or seeds do not tell."""
    found = []
    tested = [row for row in rows if _OF_RANDOM in row]
    for row in tested:
        if row[f"{_OF_RANDOM}_verdict"] == "worse":
            found.append(f"{row['arm']} is worse than random rows of the same number")
        fell = -row.get(_WORST_OF_RANDOM, 0.0)
        if fell > _WORST_FELL and row[f"{_WORST_OF_RANDOM}_verdict"] != UNSURE:
            found.append(
                f"{row['arm']}: its worst class is {100 * fell:.0f} points below that of random "
                "rows"
            )
    if bench.classes is not None:
        for cell in cells:
            if cell.kind == "strategy":
                found += _thin_classes(cell, bench, class_names)
    if rows and (most := max(row["num_steps"] for row in rows)) < _FEW_STEPS:
        longer = "steps" if protocol == "fixed_steps" else "epochs"
        found.append(
            f"no arm trained for more than {most} steps; before you believe this, train "
            f"for more {longer}"
        )
    unsure = [row["arm"] for row in tested if row[f"{_OF_RANDOM}_verdict"] == UNSURE]
    if unsure:
        seeds = max(row["seeds"] for row in tested)
        found.append(
            f"{len(unsure)} of {len(tested)} differences to random are within chance of "
            f"{seeds} seeds: {', '.join(unsure)}; more seeds may tell"
        )
    return found


def _thin_classes(cell: Cell, bench: Bench, class_names: Sequence[str]) -> list[str]:
    """Classes of which a cell keeps few rows, and a smaller share than of the others."""
    assert bench.classes is not None
    size = len(class_names)
    have = np.bincount(bench.classes[bench.train_rows], minlength=size)
    kept = np.bincount(bench.classes[cell.arm.rows[0]], minlength=size)
    share = kept / np.maximum(have, 1)
    overall = kept.sum() / have.sum()
    thin = (share < _SMALL_SHARE) & (share < overall / 2) | (kept < _FEW_ROWS)
    thin &= have >= _FEW_ROWS
    if not thin.any():
        return []
    worst = int(np.flatnonzero(thin)[np.argmin(share[thin])])
    more = f" and {thin.sum() - 1} more classes" if thin.sum() > 1 else ""
    told = f"{kept[worst]} of {have[worst]} rows of class {class_names[worst]}{more}"
    return [f"{cell.arm.name} keeps {told}; prune with --class-balance proportional"]
