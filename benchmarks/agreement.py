"""What agreement of runs buys: how often answers are right that several models give alike.

MINT's five sets of reasoning tasks, four models; each triple of models, and all four, stand in for
runs of one model. Right is what the benchmark's own check calls right. The bar: where all of a
triple agree, 95 % are right.
"""

import json
import os
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe
from dataprune.core.recipe_curate import GroupsRecipe
from dataprune.trajectories.groups import agree

DATA = Path(os.environ.get("DATAPRUNE_DATA", "../shared/data")) / "trajectories" / "mint-bench"
SETS = ("gsm8k", "hotpotqa", "math", "mmlu", "theoremqa")
SCOPES = {"all five": SETS, "without mmlu": tuple(s for s in SETS if s != "mmlu")}


def run() -> dict[str, Any]:
    runs = {path.name: read(path) for path in sorted(DATA.iterdir())}
    rows = []
    for scope, names in {**SCOPES, **{name: (name,) for name in SETS}}.items():
        for votes in (3, 4):
            for tolerance in (1e-4, 0.03):
                rows.append(measure(scope, names, runs, votes, tolerance))
    return {"rows": rows, **describe(models=list(runs))}


def measure(
    scope: str, names: tuple[str, ...], runs: dict[str, Any], votes: int, tolerance: float
) -> dict[str, Any]:
    """Each combination of models is a group of its own for each task."""
    queries, answers, right, actions = [], [], [], []
    for models in combinations(runs, votes):
        for task in next(iter(runs.values())):
            if task[0] in names:
                for model in models:
                    answer, is_right = runs[model][task]
                    queries.append(f"{models} {task}")
                    answers.append(answer)
                    right.append(is_right)
                    actions.append(model)
    settings = GroupsRecipe(policy="share", tolerance=tolerance)
    found = agree(queries, answers, actions, settings)
    correct = np.array(right)
    # The check fails "$131,250" and "y = 10" where it passes 131250 and 10: one answer is right if
    # any run that gave it is.
    classes = list(zip(queries, found.class_id.tolist(), strict=True))
    good = {key for key, is_right in zip(classes, right, strict=True) if is_right}
    passed = np.array([key in good for key in classes])
    num_groups = len(queries) / votes
    gold, silver = found.tier == "gold", found.tier == "silver"
    rest = ~gold & ~silver
    lost = np.isin(np.array(queries), np.array(queries)[gold | silver], invert=True)
    return {
        "tasks": scope,
        "votes": votes,
        "tolerance": tolerance,
        "right": f"{correct.mean():.1%}",
        "all agree": f"{gold.sum() / votes / num_groups:.1%}",
        "right of those": share(correct, gold),
        "one passed": share(passed, gold),
        "two thirds only": f"{len(set(np.array(queries)[silver])) / num_groups:.1%}",
        "right of these": share(correct, silver),
        "one of these passed": share(passed, silver),
        "no consensus": f"{lost.mean():.1%}",
        "right of the rest": share(correct, rest),
        "undecided runs": f"{(found.reason == 'J_UNDECIDED').mean():.1%}",
    }


def read(folder: Path) -> dict[tuple[str, str], tuple[str | None, bool]]:
    """Final answer and success of a model's runs: {(set, task): ...}."""
    found = {}
    for name in SETS:
        for line in (folder / f"reasoning_{name}.jsonl").read_text().splitlines():
            row = json.loads(line)
            said = [m["content"] for m in row["state"]["history"] if m["role"] == "assistant"]
            task = (name, str(row["task"]["task_id"]))
            found[task] = (last_solution(said), bool(row["state"]["success"]))
    return found


def last_solution(said: list[str]) -> str | None:
    """The last complete <solution> of a run."""
    for text in reversed(said):
        end = text.rfind("</solution>")
        start = text.rfind("<solution>", 0, max(end, 0))
        if start >= 0:
            return text[start + len("<solution>") : end]
    return None


def share(correct: np.ndarray, chosen: np.ndarray) -> str:
    return f"{correct[chosen].mean():.1%} ({chosen.sum()})" if chosen.any() else "-"


if __name__ == "__main__":
    for row in run()["rows"]:
        print(row)
