"""From traces to columns: every score at every checkpoint, and how far to trust it.

Shape suffixes: S seeds, N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import PartialError, TableError
from dataprune.core.recipe import Recipe
from dataprune.scores import Score, Seen, Values
from dataprune.scores._pool import Pooled, counting, pool
from dataprune.scores._reliability import between, reliability
from dataprune.scores._removals import OF_MEMORIZED, spec_of_removal
from dataprune.tables.trace import NO_WINDOW, Trace

_RUN_AGAIN = "run again: the units that are missing will be trained; or leave the score out"
_OVER = {
    "in_sample": "mean over in-sample seeds",
    "held_out": "mean over seeds that held the row out",
    "difference": "mean over in-sample seeds less that over seeds that held the row out",
}


@dataclass(frozen=True)
class ScoreColumns:
    """What goes into a score table.

    values: {column: float64 (n,)}: NAME@EPOCH, NAME and NAME_std (NAME_se of a difference).
    specs: {column: how it was made}, spreads left out.
    reliability: {NAME: how well the seeds agree}.
    between: every pair of scores, and how far they rank alike.
    left_out: {score: why}, of those that need held-out rows which the seeds there are do not give.
    """

    values: dict[str, Values]
    specs: dict[str, Any]
    reliability: dict[str, Any]
    between: list[dict[str, Any]]
    left_out: dict[str, str]

    @property
    def warnings(self) -> list[str]:
        """One sentence for each score that is left out, or the same for every row."""
        return [f"left out: {why}" for why in self.left_out.values()] + self.constant

    @property
    def constant(self) -> list[str]:
        """One sentence for each score that is the same for every row."""
        same = [n for n in self.reliability if len(v := self.values[n]) > 1 and (v == v[0]).all()]
        return [f"score {n} is {self.values[n][0]:g} for every row: it ranks nothing" for n in same]


def compute_scores(
    recipe: Recipe,
    scores: Sequence[Score],
    traces: Mapping[int, Trace],
    labels: npt.NDArray[Any],
    *,
    holds_out: bool = False,
) -> ScoreColumns:
    """Every score at every checkpoint, and the reliability of each at the last one.

    holds_out: whether each seed left a fold untrained.

    A score that reads no signal is computed for every row and seed, whatever probes there are.

    Raises:
        PartialError: some row was held out by every seed there is, or, where a score needs one that
            held it out, by none.
    """
    values: dict[str, Values] = {}
    specs: dict[str, Any] = {}
    agreement: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    every_row = np.ones(len(labels), dtype=np.bool_)
    blank = Trace(every_row, {epoch: {} for epoch in recipe.checkpoints})
    no_traces = dict.fromkeys(range(recipe.seeds), blank)
    for score in scores:
        used = traces if score.signals else no_traces
        found: dict[int, Pooled] = {}
        try:
            for epoch in recipe.checkpoints[-1:] if score.at_init else recipe.checkpoints:
                values_SN = per_seed_values(
                    score, used, epoch, root_seed=recipe.seed, labels=labels
                )
                in_SN = in_sample_of(used, epoch)
                found[epoch] = over_seeds(score, values_SN, in_SN)
        except PartialError as exc:
            if score.over == "in_sample":
                raise
            left_out[score.name] = exc.message
            continue
        for epoch, pooled in found.items():
            spec = _spec(score, recipe, used, epoch, holds_out=holds_out)
            if not score.at_init:
                values[f"{score.name}@{epoch}"] = pooled.value
                specs[f"{score.name}@{epoch}"] = spec
        values[score.name] = pooled.value
        values[f"{score.name}_{'se' if score.over == 'difference' else 'std'}"] = pooled.spread
        specs[score.name] = spec
        agreement[score.name] = reliability(values_SN, in_SN, score.over, root_seed=recipe.seed)
    if len(left_out) == len(scores):
        raise PartialError(next(iter(left_out.values())), hint=_RUN_AGAIN)
    last = {name: values[name] for name in agreement}
    return ScoreColumns(values, specs, agreement, between(last, root_seed=recipe.seed), left_out)


def _spec(
    score: Score, recipe: Recipe, traces: Mapping[int, Trace], epoch: int, *, holds_out: bool
) -> dict[str, Any]:
    """What a silent variant of the score would change, written down."""
    about = {
        "score": score.name,
        "higher_is": score.higher_is,
        "status": score.status,
        "source": score.source,
        "seeds": sorted(traces),
        **score.spec,
    }
    if not score.signals:
        return about
    in_steps = recipe.scores.mode == "train"
    return {
        **about,
        "epoch": 0 if score.at_init else epoch,
        "schedule_epochs": recipe.probe.schedule_epochs,
        "holdout": _holdout(recipe) if holds_out else "none",
        "over": _OVER[score.over],
        **({"window": recipe.scores.window} if score.window else {}),
        **(_of_removal(recipe) if score.name in OF_MEMORIZED else {}),
        "mode": recipe.scores.mode,
        "augmentation": "as trained" if in_steps else "none",
        "precision": recipe.probe.precision if in_steps else "float32",
        "trained_in": recipe.probe.precision,
        "task": recipe.task,
        "model": recipe.probe.model.name,
    }


def _of_removal(recipe: Recipe) -> dict[str, Any]:
    return spec_of_removal(recipe.scores.removal, recipe.scores.layer)


def _holdout(recipe: Recipe) -> str:
    folds, repeats = recipe.holdout.folds, recipe.holdout.repeats
    return f"fold seed mod {folds}" if repeats is None else f"{folds} folds, {repeats} repeats"


def per_seed_values(
    score: Score,
    traces: Mapping[int, Trace],
    epoch: int,
    *,
    root_seed: int,
    labels: npt.NDArray[Any],
) -> Values:
    """Values (S, N), seeds in increasing order; NaN where the seed does not count for the row.

    Raises:
        TableError: a value is not finite; score, row, epoch and seed are named.
    """
    values_SN = []
    for seed, trace in sorted(traces.items()):
        signals = {name: trace.signals[epoch][name] for name in score.signals}
        in_sample = trace.in_sample_at(epoch)
        values = score.compute(
            Seen(signals, epoch, seed, root_seed, len(in_sample), in_sample, labels)
        )
        counts = counting(in_sample, score.over)
        if score.windowed:
            counts = counts & (signals[score.signals[0]] != NO_WINDOW)
        bad = np.flatnonzero(counts & ~np.isfinite(values))
        if len(bad):
            raise TableError(
                f"score {score.name} is {values[bad[0]]} for row {bad[0]} at epoch {epoch}, "
                f"seed {seed}"
            )
        values_SN.append(np.where(counts, values, np.nan))
    return np.stack(values_SN)


def in_sample_of(traces: Mapping[int, Trace], epoch: int) -> npt.NDArray[np.bool_]:
    """Whether each seed trained on each row, bool (S, N), seeds in increasing order."""
    return np.stack([trace.in_sample_at(epoch) for _, trace in sorted(traces.items())])


def over_seeds(score: Score, values_SN: Values, in_SN: npt.NDArray[np.bool_]) -> Pooled:
    """One value per row.

    Raises:
        PartialError: some row was held out by every seed there is, or by none, or has no window
            yet.
    """
    pooled = pool(values_SN, in_SN, score.over)
    missing = np.flatnonzero(np.isnan(pooled.value))
    if not len(missing):
        return pooled
    if score.windowed and in_SN[:, missing[0]].any():
        raise PartialError(
            f"{len(missing)} rows have too few epochs for a window of score {score.name} (first: "
            f"row {missing[0]})",
            hint="score at a later epoch, or with a smaller window: scores.window, or window of a "
            "Recorder",
        )
    if score.over == "in_sample" or not in_SN[:, missing[0]].any():
        raise PartialError(
            f"{len(missing)} rows have no seed that trained on them (first: row {missing[0]})",
            hint="run again: the units that are missing will be trained; recorded traces, and mode "
            "train, need more seeds, or a checkpoint after every row was shown",
        )
    raise PartialError(
        f"{len(missing)} rows have no seed that held them out (first: row {missing[0]}), and score "
        f"{score.name} needs one",
        hint=_RUN_AGAIN,
    )
