"""The noisy sets, each scored with two probes: one that resists wrong labels, one that fits them.

Finished units in `.dataprune/memorized` serve again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.noisy_sets import NoisySet, prepare
from dataprune import flow
from dataprune.core.recipe import Recipe
from dataprune.runs.ledger import Ledger
from dataprune.scores import SCORES, Score
from dataprune.scores._aggregate import in_sample_of, over_seeds, per_seed_values
from dataprune.tables.scores import ScoreTable, read_scores
from dataprune.tables.trace import Trace, read_trace

HOME = Path(".dataprune/memorized")
NUM_ROWS, SEEDS = 10_000, 3
MARGIN = Score(
    name="logit_margin",
    signals=("logit_margin",),
    compute=lambda seen: -seen.signals["logit_margin"],
    higher_is="harder",
    status="experimental",
    value_range="(-inf, inf)",
    source="the final margin of logits, negated",
)
_MLP = {
    "model": {"name": "mlp", "params": {"widths": [512]}},
    "batch_size": 128,
    "optimizer": {"lr": 0.05, "momentum": 0.9, "weight_decay": 0},
    "schedule_epochs": 50,
}
_RESNET = {
    "model": {"name": "resnet18", "params": {"width": 16}},
    "batch_size": 64,
    "optimizer": {"lr": 0.05, "momentum": 0.9, "weight_decay": 0},
    "schedule_epochs": 12,
}
# The fixed epoch of EL2N is a quarter of the schedule, as near as the scored epochs allow.
_FASHION: dict[str, dict[str, Any]] = {
    "resists": {"scores.at": [2, 4, 6, 8]},
    "memorizes": {"probe": _MLP, "scores.at": [2, 5, 12, 20, 30, 40, 50]},
}
_CIFAR10: dict[str, dict[str, Any]] = {
    "resists": {"scores.at": [3, 6, 9, 12]},
    "memorizes": {
        "probe": _RESNET,
        "source.image.size": 16,
        "scores.at": [1, 3, 6, 9, 12],
        "seeds": 2,
    },
}
PROBES = {
    "fashion sym 20": _FASHION,
    "fashion sym 10": _FASHION,
    "fashion sym 40": _FASHION,
    "cifar10 human": _CIFAR10,
}
OTHER_BASES = {"fashion sym 20": ("units", "magnitude")}  # each trains units of its own
S, DROP, FLIP = "mem_margin_pruned", "mem_drop", "mem_flip"
SCORED = ("el2n", "csl", "aum", "loss", S, DROP, FLIP)
SIGNALS = ("correct", "mem_flip", "mem_relabel", "logit_margin")


@dataclass(frozen=True)
class Scored:
    """A set that was scored: n rows, S seeds, at the recipe's epochs."""

    noisy: NoisySet
    recipe: Recipe
    table: ScoreTable
    traces: dict[int, Trace]
    held_out: dict[int, float]

    @property
    def epochs(self) -> tuple[int, ...]:
        """The scored ones."""
        return self.recipe.checkpoints

    @property
    def fixed(self) -> int:
        """The scored epoch nearest to a quarter of the schedule."""
        return min(self.epochs, key=lambda e: abs(e - self.recipe.probe.schedule_epochs / 4))

    @property
    def timed(self) -> int:
        """The scored epoch of the best held-out accuracy, on given labels: no truth is needed."""
        return max(self.epochs, key=lambda e: self.held_out[e])

    def fit(self, epoch: int) -> float:
        """Training accuracy on the given labels, a mean over seeds."""
        each = [t.signals[epoch]["correct"][t.in_sample].mean() for t in self.traces.values()]
        return float(np.mean(each))

    def seeds(self, name: str, epoch: int) -> np.ndarray:
        """A score of each seed (S, n), NaN where the seed held the row out."""
        score = MARGIN if name == "logit_margin" else SCORES.get(name)
        labels = self.table.table.column("label").to_numpy()
        return per_seed_values(score, self.traces, epoch, root_seed=0, labels=labels)

    def mean(self, name: str, epoch: int) -> np.ndarray:
        """A score as its table has it, (n,)."""
        if name != "logit_margin":
            return self.table.values(f"{name}@{epoch}")
        return over_seeds(MARGIN, self.seeds(name, epoch), in_sample_of(self.traces, epoch)).value


def prepared(name: str, probe: str, basis: str = "directions", **changes: Any) -> NoisySet:
    """A set, and the recipe that scores it with one of its probes. changes: of the recipe."""
    usual = {
        "seeds": SEEDS,
        "holdout": {"folds": 5},
        "scores.names": SCORED,
        "scores.removal": basis,
        "scores.timing_gate": "warn",
        "run.runner": "local",
        **PROBES[name][probe],
    }
    return prepare(name, num_rows=NUM_ROWS, home=HOME, changes=usual | changes)


def score(name: str, probe: str, basis: str = "directions", **changes: Any) -> Scored:
    """Score a set; finished units serve."""
    noisy = prepared(name, probe, basis, **changes)
    work = noisy.work.with_name(f"{probe}, flagged" if "flags" in changes else probe)
    result = flow.score(noisy.recipe, work=work, out=work / f"{basis}.parquet")
    table, ledger = read_scores(result.path), Ledger(work)
    names = {*SIGNALS, *(signal for score in SCORED for signal in SCORES.get(score).signals)}
    traces, held_out = {}, dict.fromkeys(result.recipe.checkpoints, 0.0)
    for seed, unit_id in enumerate(table.meta["unit_ids"]):
        record = ledger.finished(unit_id)
        assert record is not None
        traces[seed] = read_trace(record.path("trace.parquet"), names, result.recipe.checkpoints)
        for epoch in held_out:
            [told] = [e["heldout"] for e in record.result["history"] if e["epoch"] == epoch]
            held_out[epoch] += told / len(table.meta["unit_ids"])
    return Scored(noisy, result.recipe, table, traces, held_out)
