"""Wrong labels found, on real data whose errors are known (benchmarks/noisy_sets.py).

All rules judge the same held-out probabilities: ours from the stored units (`dataprune flags`),
argmax and every filter of cleanlab on the mean of the two repeats' plain softmax. Intervals are of
paired bootstrap draws of rows, 95 %, 1,000 of them.
"""

import sys
from typing import Any

import numpy as np
from cleanlab.filter import find_label_issues

from benchmarks.machine import describe
from benchmarks.noisy_sets import NoisySet, names, prepare
from dataprune import flow
from dataprune.flags._units import read_units
from dataprune.tables.heldout import read_heldout

DRAWS = 1000
FILTERS = ("prune_by_noise_rate", "prune_by_class", "both", "confident_learning")


def run(wanted: list[str] | None = None) -> dict[str, Any]:
    rows = [row for name in wanted or names() for row in measure(name, prepare(name))]
    return {"rows": rows, **describe(draws=DRAWS)}


def measure(name: str, noisy: NoisySet) -> list[dict[str, Any]]:
    flow.score(noisy.recipe, work=noisy.work)  # finished units serve
    found = flow.flag(noisy.work)
    columns, wrong = found.columns, noisy.wrong
    mean, given = mean_softmax(noisy)
    tier = columns["tier"]
    theirs = {f: find_label_issues(given, mean, filter_by=f, n_jobs=1) for f in FILTERS}
    best = max(FILTERS, key=lambda f: f1(theirs[f], wrong))
    rules = {
        "likely": tier == "likely",
        "likely or suspect": tier != "ok",
        "cleanlab, default filter": theirs["prune_by_noise_rate"],
        f"cleanlab, best filter ({best})": theirs[best],
        "argmax": mean.argmax(axis=1) != given,
    }
    margin = columns["oof_margin"]
    ranks = {"label_q": columns["label_q"], "-oof_margin": -margin, "-AUM": columns["aum"]}
    told = found.totals["noise_rate"]
    about = {
        "estimated noise": f"{told['low']:.3f} to {told['high']:.3f}",
        "AUROC, AUPRC": "; ".join(f"{k} {areas(v, wrong)}" for k, v in ranks.items()),
    }
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(wrong), len(wrong)) for _ in range(DRAWS)]
    return [
        {
            "set": f"{name}: {len(wrong)} rows, {wrong.mean():.1%} wrong",
            "rule": rule,
            "flagged": f"{verdict.mean():.3f}",
            "precision": share(verdict & wrong, verdict),
            "recall": share(verdict & wrong, wrong),
            "F1": f"{f1(verdict, wrong):.3f}" if wrong.any() else "-",
            "likely's F1 less this": difference(rules["likely"], verdict, wrong, draws),
            **(about if rule == "likely" else dict.fromkeys(about, "")),
        }
        for rule, verdict in rules.items()
    ]


def mean_softmax(noisy: NoisySet) -> tuple[np.ndarray, np.ndarray]:
    """The mean over repeats of plain softmax outputs (n, C), and the given labels."""
    stored = read_units(noisy.work)
    given = stored.examples.table.column("label").to_numpy().astype(np.int64)
    mean = np.zeros((len(given), len(stored.examples.ref.class_names)))
    repeats = noisy.recipe.holdout.repeats
    for record in stored.records.values():
        part = read_heldout(record.path("heldout.parquet"))
        p = np.exp(part.outputs.astype(np.float64) - part.outputs.max(axis=1, keepdims=True))
        mean[part.rows] += p / p.sum(axis=1, keepdims=True) / repeats
    return mean, given


def f1(found: np.ndarray, wrong: np.ndarray) -> float:
    return float(2 * (found & wrong).sum() / max(1, found.sum() + wrong.sum()))


def share(part: np.ndarray, whole: np.ndarray) -> str:
    return f"{part.sum() / whole.sum():.3f}" if whole.any() else "-"


def areas(values: np.ndarray, wrong: np.ndarray) -> str:
    from sklearn.metrics import average_precision_score, roc_auc_score

    if not wrong.any():
        return "-"
    return f"{roc_auc_score(wrong, values):.4f} {average_precision_score(wrong, values):.4f}"


def difference(ours: np.ndarray, other: np.ndarray, wrong: np.ndarray, draws: list[Any]) -> str:
    if other is ours or not wrong.any():
        return ""
    found = [f1(ours[d], wrong[d]) - f1(other[d], wrong[d]) for d in draws]
    low, high = np.quantile(found, [0.025, 0.975])
    return f"{f1(ours, wrong) - f1(other, wrong):+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    for row in run(sys.argv[1:])["rows"]:
        print(row)
