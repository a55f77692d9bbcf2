"""Several held-out votes -> one calibrated probability per row and class, votes and margins.

Legend: n rows, b rows of a block, C classes, S votes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dataprune.flags._blocks import over_blocks
from dataprune.flags._means import TINY, Means, kept, some
from dataprune.flags._scale import best_scale, softmax
from dataprune.flags._votes import Labels, Values, Vote
from dataprune.tables.heldout import TOP


@dataclass(frozen=True)
class Evidence:
    """What held-out votes say of n rows.

    means: calibrated probability of each *given* label, of the classes that matter.
    margin: float64 (n,), mean over votes of log p(given) - max of the other log p; high is good.
    vote_frac: float64 (n,), share of votes whose best class is not the given one; a tie is for it.
    num_votes: int32 (n,). choices_Sn: int32, each vote's best class; -1 where not held out.
    temperatures: T of each vote. mean_temperature: T of their mean, 1 if no row has two votes.
    """

    means: Means
    margin: Values
    vote_frac: Values
    num_votes: npt.NDArray[np.int32]
    choices_Sn: npt.NDArray[np.int32]
    temperatures: tuple[float, ...]
    mean_temperature: float


def weigh(votes: Sequence[Vote], labels: Labels, *, seed: int) -> Evidence:
    """Calibrate each vote on the given labels, then their mean once more.

    Raises nothing: votes and labels were checked before.
    """
    n, num_classes = votes[0].shape
    temperatures = []
    for s, vote in enumerate(votes):
        rows = some(np.flatnonzero(vote.held_out), num_classes, (seed, s))
        temperatures.append(fit_temperature(vote.logits(rows), labels[rows]))
    means = Means.empty(n, num_classes, labels)
    choices_Sn = np.full((len(votes), n), -1, dtype=np.int32)
    margin, vote_frac = np.empty(n), np.empty(n)

    def work(rows: slice) -> None:
        seen = _Block.of(votes, temperatures, labels[rows], rows)
        choices_Sn[:, rows] = seen.choices_Sb
        margin[rows], vote_frac[rows] = seen.margin, seen.vote_frac
        _put(means, rows, seen.mean_bC, labels[rows])

    over_blocks(work, n, num_classes)
    num_votes = (choices_Sn >= 0).sum(axis=0, dtype=np.int32)
    again = _calibrate(means, seed=seed) if num_votes.max() > 1 else 1.0
    return Evidence(means, margin, vote_frac, num_votes, choices_Sn, tuple(temperatures), again)


def weigh_again(
    votes: Sequence[Vote], evidence: Evidence, labels: Labels, rows: Labels
) -> tuple[Means, Values]:
    """What some rows' means and vote fractions would be, had they been given these labels.

    labels: (k,), of the rows; temperatures stay as they are.
    """
    num_classes = votes[0].shape[1]
    means, vote_frac = Means.empty(len(rows), num_classes, labels), np.empty(len(rows))

    def work(part: slice) -> None:
        seen = _Block.of(votes, evidence.temperatures, labels[part], rows[part])
        vote_frac[part] = seen.vote_frac
        _put(means, part, seen.mean_bC, labels[part])

    over_blocks(work, len(rows), num_classes)
    if evidence.mean_temperature != 1:
        _apply(means, evidence.mean_temperature)
    return means, vote_frac


@dataclass(frozen=True)
class _Block:
    """What the votes say of some rows."""

    mean_bC: Values
    margin: Values
    vote_frac: Values
    choices_Sb: npt.NDArray[np.int32]

    @classmethod
    def of(
        cls,
        votes: Sequence[Vote],
        temperatures: Sequence[float],
        labels: Labels,
        rows: slice | Labels,
    ) -> _Block:
        total_bC: Values | float = 0.0
        margins, against, count = np.zeros((3, len(labels)))
        choices = []
        for vote, temperature in zip(votes, temperatures, strict=True):
            held_out = vote.held_out[rows]
            logits_bC = vote.logits(rows)
            logits_bC /= temperature
            choices.append(np.where(held_out, logits_bC.argmax(axis=1), -1))
            each = margins_of(logits_bC, labels)
            margins += np.where(held_out, each, 0)
            against += held_out & (each < 0)
            count += held_out
            total_bC = total_bC + softmax(logits_bC) * held_out[:, None]
        mean_bC: Values = np.asarray(total_bC) / count[:, None]
        return cls(mean_bC, margins / count, against / count, np.stack(choices).astype(np.int32))


def _put(means: Means, rows: slice, mean_bC: Values, labels: Labels) -> None:
    p_bR, classes_bR, place = kept(mean_bC, labels)
    means.p_nR[rows] = p_bR
    if means.classes_nR is not None:
        assert classes_bR is not None
        means.classes_nR[rows], means.place[rows] = classes_bR, place


def fit_temperature(logits_nC: Values, places: Labels, log_times_nC: Values | None = None) -> float:
    """T = argmin of the mean of -log softmax(logits / T)[place] (Guo et al. 2017, section 4.2).

    In beta = 1/T the loss is convex, its slope E[z] - z_label and its curvature Var[z] under the
    softmax. T stays within 0.01 and 100.

    log_times_nC: log of how many alike classes a column stands for; default: one each.
    """
    n, num_columns = logits_nC.shape
    at_label = logits_nC[np.arange(n), places]

    def slope_and_curvature(beta: float) -> tuple[float, float]:
        def work(rows: slice) -> tuple[float, float]:
            z_bC = logits_nC[rows]
            scaled = z_bC * beta
            p_bC = softmax(scaled if log_times_nC is None else scaled + log_times_nC[rows])
            mean = np.einsum("bc,bc->b", p_bC, z_bC)
            centred = z_bC - mean[:, None]
            variance = np.einsum("bc,bc,bc->b", p_bC, centred, centred)
            return float((mean - at_label[rows]).sum()), float(variance.sum())

        parts = over_blocks(work, n, num_columns)
        return sum(a for a, _ in parts) / n, sum(b for _, b in parts) / n

    return 1 / best_scale(slope_and_curvature)


def margins_of(logits_bC: Values, labels: Labels) -> Values:
    """The label's logit less the largest other, float64 (b,)."""
    rows = np.arange(len(logits_bC))
    own = logits_bC[rows, labels]
    logits_bC[rows, labels] = -np.inf
    others = logits_bC.max(axis=1)
    logits_bC[rows, labels] = own
    margins: Values = own - others
    return margins


def _calibrate(means: Means, *, seed: int) -> float:
    """Calibrate means on the given labels, in place; the temperature."""
    chosen = some(np.arange(len(means)), means.p_nR.shape[1], (seed, 1 << 20))
    part = means.taken(chosen)
    temperature = fit_temperature(*_with_places(part))
    _apply(means, temperature)
    return temperature


def _with_places(means: Means) -> tuple[Values, Labels, Values | None]:
    logits, times = means.with_rest(slice(None))
    return logits, means.place, None if means.classes_nR is None else times


def _apply(means: Means, temperature: float) -> None:
    def work(rows: slice) -> None:
        logits, times = means.with_rest(rows)
        p_bR = softmax(logits / temperature + times)[:, : means.p_nR.shape[1]]
        p_bR = np.maximum(p_bR, TINY)
        if means.classes_nR is not None:
            p_bR[means.twice(rows), TOP] = 0
        means.p_nR[rows] = p_bR

    over_blocks(work, len(means), means.p_nR.shape[1])
