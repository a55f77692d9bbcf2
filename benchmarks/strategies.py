"""Strategies beside random rows at equal steps, on clean images and on ones a person mislabelled.

Every class keeps the same share. Cells are those of `dataprune evaluate`: 2,000 steps of a small
CNN whatever is kept, three seeds, random rows drawn anew for each, tests paired by seed and
corrected for all arms. Some half an hour on two CPU cores for each set; `DATAPRUNE_DATA` says where
they are. Units are kept in `.dataprune/strategies`, so that a run that was cut off goes on.
"""

import os
from pathlib import Path
from typing import Any

import dataprune
from benchmarks import pruning_sets
from benchmarks.machine import describe
from benchmarks.pruning_sets import Set
from dataprune.evaluation.report import cells_of, header_of

HOME = Path(".dataprune/strategies")
BALANCE = "proportional"
CLEAN = (
    "hardest:by=el2n", "window:by=el2n,skip_hardest=0.1", "ccs:by=aum,beta=0.1", "beta:by=dual",
    "d2:by=el2n", "facility_location", "auto",
)  # fmt: skip
NOISY = (
    "hardest:by=el2n", "window:by=el2n,skip_hardest=0.15", "ccs:by=aum,beta=0.1",
    "flagged->ccs:by=aum,beta=0.1", "flagged->random", "auto",
)  # fmt: skip


def run() -> dict[str, Any]:
    fashion = _measure("fashion", pruning_sets.fashion(), CLEAN)
    noisy = _measure("cifar10-human", pruning_sets.cifar10(HOME, human=True), NOISY)
    return {
        "rows": fashion,
        "tables": {"20,000 CIFAR-10 images, 15 % of the labels wrong": noisy},
        **describe(load=os.getloadavg()[0]),
    }


def _measure(name: str, about: Set, strategies: tuple[str, ...]) -> list[dict[str, Any]]:
    home = HOME / name
    scored = dataprune.score(about.scored(), work=home / "scores")
    result = dataprune.evaluate_cells(
        scored.path, strategies=strategies, keep=about.keeps, class_balance=BALANCE,
        by=about.by, steps=about.steps, seeds=about.seeds,
        work=home / "evaluation", out=home / "results", runner=about.changes.get("run.runner"),
    )  # fmt: skip
    return [dict(zip(header_of(result), line, strict=True)) for line in cells_of(result)]
