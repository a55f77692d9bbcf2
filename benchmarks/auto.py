"""What `auto` gives up against the best of its candidates, on real data.

Every candidate of every budget is trained in full, with seeds, and tested on rows that neither the
scores nor the pilot have seen. Regret is the best candidate's mean less the chosen one's, in points
of accuracy. The best of several means is too high by chance, so that regret is, too: beside it
stands the regret to the candidate that the other seeds call best, taken seed by seed, which chance
does not raise. Of two arms with the same rows there is one training.

An hour or two; `DATAPRUNE_AUTO_SETS` names some of the sets, `;` between them. All but digits want
`DATAPRUNE_DATA`. Units are kept in `.dataprune/auto`, so that a run that was cut off goes on.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import dataprune
from benchmarks import pruning_sets
from benchmarks.machine import describe
from benchmarks.pruning_sets import Set
from dataprune.evaluation.priors import candidates, noise_of
from dataprune.evaluation.strategies import Asked
from dataprune.tables.scores import read_scores

HOME = Path(".dataprune/auto")
BALANCE = "proportional"
_ARMS = {"strategy", "random"}


def run() -> dict[str, Any]:
    wanted = os.environ.get("DATAPRUNE_AUTO_SETS")
    names = wanted.split(";") if wanted else list(_SETS)
    rows = [row for name in names for row in _measure(name, _SETS[name]())]
    means = [
        {
            "set": name,
            "mean regret": _mean(rows, name, "regret"),
            "mean regret to the others' best": _mean(rows, name, "regret to the others' best"),
            "mean gain over random": _mean(rows, name, "auto over random"),
            "of the best": _mean(rows, name, "best over random"),
        }
        for name in [*names, None]
    ]
    means[-1]["set"] = "all"
    return {"rows": means, "tables": {"Cells": rows}, **describe(load=os.getloadavg()[0])}


def _measure(name: str, about: Set) -> list[dict[str, Any]]:
    home = HOME / name.replace(" ", "_")
    scored = dataprune.score(about.scored(), work=home / "scores")
    table = read_scores(scored.path)
    found = []
    for keep in about.keeps:
        tried = candidates(table, keep, about.by, noise_of(table))[:-1]  # random is always there
        result = dataprune.evaluate_cells(
            scored.path, strategies=[*(_typed(each.asked) for each in tried), "auto"],
            keep=[keep], by=about.by, class_balance=BALANCE, steps=about.steps, seeds=about.seeds,
            work=home / "evaluation", runner=about.changes.get("run.runner"),
        )  # fmt: skip
        found.append({"set": name, "keep": keep, **_regret(result)})
        print(found[-1], flush=True)
    return found


def _regret(result: dataprune.EvaluationResult) -> dict[str, Any]:
    arms = {r["strategy"]: r["per_seed"] for r in result.rows if r["kind"] in _ARMS}
    own = 100 * np.asarray(arms.pop("auto"))
    values = 100 * np.asarray(list(arms.values()))  # candidates x seeds, random rows among them
    means = values.mean(axis=1)
    names, best = list(arms), int(means.argmax())
    others = (values.sum(axis=1, keepdims=True) - values) / (values.shape[1] - 1)
    fair = values[others.argmax(axis=0), np.arange(values.shape[1])]
    random = values[names.index("random")].mean()
    [chosen] = result.chosen
    return {
        "auto": chosen.strategy,
        "best": names[best],
        "regret": round(float(means[best] - own.mean()), 2),
        "regret to the others' best": round(float((fair - own).mean()), 2),
        "auto over random": round(float(own.mean() - random), 2),
        "best over random": round(float(means[best] - random), 2),
        "sd of a seed": round(float(values.std(axis=1, ddof=1).mean()), 2),
        "pilot, trainings on everything": round(
            sum(r.total for r in chosen.rounds) / chosen.full_steps, 2
        ),
        "means": ", ".join(f"{n} {m:.2f}" for n, m in zip(names, means, strict=True)),
    }


def _typed(asked: Asked) -> str:
    """A candidate as it would be typed, with the score that it decides by."""
    if asked.by is None:
        return asked.label
    *before, last = asked.label.split("->")
    return "->".join([*before, f"{last}{',' if ':' in last else ':'}by={asked.by}"])


def _mean(rows: list[dict[str, Any]], name: str | None, key: str) -> float:
    return round(float(np.mean([r[key] for r in rows if name in (None, r["set"])])), 2)


_SETS: dict[str, Callable[[], Set]] = {
    "digits": lambda: pruning_sets.digits(0.0, HOME),
    "digits, 20 % wrong": lambda: pruning_sets.digits(0.2, HOME),
    "trec": pruning_sets.trec,
    "Fashion-MNIST": pruning_sets.fashion,
    "CIFAR-10": lambda: pruning_sets.cifar10(HOME),
}
