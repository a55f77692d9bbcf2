"""What `auto` gives up against the best of its candidates, on real data it was not tuned on.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import dataprune
from benchmarks.machine import describe
from dataprune.core.recipe import Recipe, load_recipe, parse_recipe
from dataprune.evaluation.priors import candidates, noise_of
from dataprune.evaluation.strategies import Asked
from dataprune.sources._resolve import resolve_recipe
from dataprune.tables.scores import read_scores

DATA = Path(os.environ.get("DATAPRUNE_DATA", "../shared/data"))
HOME = Path(".dataprune/auto")
KEEPS = (0.7, 0.5, 0.3, 0.1)
BALANCE = "proportional"
_ARMS = {"strategy", "random"}
_SCORES = ["el2n", "aum", "dual", "confidence"]


@dataclass(frozen=True)
class Set:
    """A recipe, by which score and at which budgets to prune, with how many seeds to tell."""

    recipe: Recipe
    changes: dict[str, Any]
    seeds: int
    keeps: tuple[float, ...] = KEEPS
    steps: int | None = None
    by: str = "el2n"


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
    scored = dataprune.score(resolve_recipe(about.recipe, about.changes), work=home / "scores")
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


def _digits(wrong: float) -> Set:
    """Handwritten digits with so many wrong labels among the training rows, none in the test."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(labels))
    test, train = order[:500], order[500:]
    given = labels.copy()
    turned = train[rng.random(len(train)) < wrong]
    given[turned] = (given[turned] + rng.integers(1, 10, len(turned))) % 10
    folder = HOME / f"digits-{wrong}"
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows, told in (("train", train, given), ("test", test, labels)):
        pixels = pa.array((images[rows] / 16).astype(np.float32).tolist(), pa.list_(pa.float32()))
        pq.write_table(
            pa.table({"pixels": pixels, "label": told[rows]}), folder / f"{split}.parquet"
        )
    columns = {"input": "pixels", "label": "label"}
    changes = {"source.uri": str(folder), "source.columns": columns, "scores.at": [20]}
    return Set(load_recipe("digits"), _scored(changes), seeds=10)


def _trec() -> Set:
    changes = {
        "source.uri": str(DATA / "trec"), "scores.at": [12], "seeds": 4, "run.runner": "ray",
    }  # fmt: skip
    return Set(load_recipe("trec"), _scored(changes), seeds=5, keeps=(0.7, 0.3, 0.1))


def _scored(changes: dict[str, Any]) -> dict[str, Any]:
    return {"scores.names": _SCORES, "scores.features": True, **changes}


def _images(name: str, uri: str, widths: list[int], epochs: int, at: int) -> Set:
    probe = {
        "model": {"name": "small_cnn", "params": {"widths": widths}},
        "batch_size": 128,
        "optimizer": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0005},
        "schedule": {"name": "one_cycle", "warmup": 0.2},
        "schedule_epochs": epochs,
        "augment": {"flip": True},
    }
    about = {"name": name, "source": {"uri": uri}, "probe": probe, "seeds": 4}
    recipe = parse_recipe(about, where=name)
    changes = _scored({"scores.at": [at], "run.runner": "ray"})
    return Set(recipe, changes, seeds=3, keeps=(0.7, 0.3, 0.1), steps=2000)


def _cifar10() -> Set:
    """20,000 of the training images, drawn at random, and the official test images."""
    folder = HOME / "cifar10"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "test.parquet").exists():
        shards = sorted((DATA / "cifar10/data").glob("train-*"))
        train = pa.concat_tables([pq.read_table(shard) for shard in shards])
        rows = np.sort(np.random.default_rng(0).choice(len(train), 20_000, replace=False))
        [test] = (DATA / "cifar10/data").glob("test-*")
        for split, table in (("train", train.take(rows)), ("test", pq.read_table(test))):
            pq.write_table(table.select(["image", "label"]), folder / f"{split}.parquet")
    return _images("cifar10", str(folder), [16, 32, 64], epochs=12, at=12)


_SETS: dict[str, Callable[[], Set]] = {
    "digits": lambda: _digits(0.0),
    "digits, 20 % wrong": lambda: _digits(0.2),
    "trec": _trec,
    "Fashion-MNIST": lambda: _images(
        "fashion", str(DATA / "fashion_mnist"), [8, 16, 32], epochs=30, at=12
    ),
    "CIFAR-10": _cifar10,
}
