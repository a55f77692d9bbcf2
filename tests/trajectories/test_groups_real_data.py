"""Agreement on MINT's runs of four models: what all three of a triple say is right."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from dataprune.core.recipe_curate import GroupsRecipe
from dataprune.trajectories.groups import agree

pytestmark = pytest.mark.real_data
SETS = ("gsm8k", "hotpotqa", "math", "mmlu", "theoremqa")


def runs_of(folder: Path) -> dict[str, tuple[str | None, bool]]:
    found: dict[str, tuple[str | None, bool]] = {}
    for name in SETS:
        for line in (folder / f"reasoning_{name}.jsonl").read_text().splitlines():
            row = json.loads(line)
            said = [m["content"] for m in row["state"]["history"] if m["role"] == "assistant"]
            before, _, answer = (
                "\n".join(said).rpartition("</solution>")[0].rpartition("<solution>")
            )
            key = f"{name} {row['task']['task_id']}"
            found[key] = (answer if before else None, bool(row["state"]["success"]))
    return found


def test_unanimous_triples_of_models_are_right(real_data: Path) -> None:
    folders = sorted((real_data / "trajectories" / "mint-bench").iterdir())
    runs = {folder.name: runs_of(folder) for folder in folders}
    rows = [
        (f"{models} {task}", *runs[model][task], model)
        for models in combinations(runs, 3)
        for task in runs[models[0]]
        for model in models
    ]
    queries, answers, right, actions = (list(column) for column in zip(*rows, strict=True))
    found = agree(queries, answers, actions, GroupsRecipe(policy="unanimous"))
    gold = found.tier == "gold"
    assert gold.sum() > 800
    correct = np.array(right)
    assert correct[gold].mean() > 0.94
    # The benchmark's check fails "$131,250" and passes 131250: right is what any equal run has.
    passed = {q for q, is_right in zip(queries, correct & gold, strict=True) if is_right}
    assert np.mean([q in passed for q in np.array(queries)[gold]]) >= 0.95
