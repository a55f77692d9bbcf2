"""Metrics over seeds, with 95 % intervals, and differences paired by seed, as parts of a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataprune.evaluation.statistics import estimate, paired
from dataprune.runs.ledger import Record


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
