"""Several held-out votes -> one calibrated probability per row and class, votes and margins.

Legend: n rows, b rows of a block, C classes, S votes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dataprune.flags._blocks import over_blocks
from dataprune.flags._votes import Labels, Values, Vote

_BETA_RANGE = (0.01, 100.0)
_MOST_FITTED = 10_000_000  # numbers: the error of a temperature from 10,000 rows is about 1 %
_STEPS = 60
_TINY = 1e-30  # no class is impossible: what the posterior divides by is never 0


@dataclass(frozen=True)
class Evidence:
    """What held-out votes say of n rows.

    mean_nC: float32, calibrated probability of each *given* label.
    margin: float64 (n,), mean over votes of log p(given) - max of the other log p; high is good.
    vote_frac: float64 (n,), share of votes whose best class is not the given one; a tie is for it.
    num_votes: int32 (n,). choices_Sn: int32, each vote's best class; -1 where not held out.
    temperatures: T of each vote. mean_temperature: T of their mean, 1 if no row has two votes.
    """

    mean_nC: npt.NDArray[np.float32]
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
    n, num_classes = votes[0].values.shape
    temperatures = []
    for s, vote in enumerate(votes):
        rows = _some(np.flatnonzero(vote.held_out), num_classes, (seed, s))
        temperatures.append(fit_temperature(vote.logits(rows), labels[rows]))
    mean_nC = np.empty((n, num_classes), dtype=np.float32)
    choices_Sn = np.full((len(votes), n), -1, dtype=np.int32)
    margin, vote_frac = np.empty(n), np.empty(n)

    def work(rows: slice) -> None:
        total_bC = np.zeros((rows.stop - rows.start, num_classes))
        margins, against, count = np.zeros((3, len(total_bC)))
        for s, vote in enumerate(votes):
            held_out = vote.held_out[rows]
            logits_bC = vote.logits(rows)
            logits_bC /= temperatures[s]
            choices_Sn[s, rows] = np.where(held_out, logits_bC.argmax(axis=1), -1)
            each = margins_of(logits_bC, labels[rows])
            margins += np.where(held_out, each, 0)
            against += held_out & (each < 0)
            count += held_out
            total_bC += _softmax(logits_bC) * held_out[:, None]
        margin[rows], vote_frac[rows] = margins / count, against / count
        mean_nC[rows] = np.maximum(total_bC / count[:, None], _TINY)

    over_blocks(work, n, num_classes)
    num_votes = (choices_Sn >= 0).sum(axis=0, dtype=np.int32)
    again = _rescale(mean_nC, labels, seed=seed) if num_votes.max() > 1 else 1.0
    return Evidence(mean_nC, margin, vote_frac, num_votes, choices_Sn, tuple(temperatures), again)


def against_labels(
    votes: Sequence[Vote], evidence: Evidence, labels: Labels, rows: Labels
) -> Values:
    """The vote fraction that some rows would have, had they been given these labels, (k,)."""
    against, count = np.zeros((2, len(rows)))
    for vote, temperature in zip(votes, evidence.temperatures, strict=True):
        held_out = vote.held_out[rows]
        against += held_out & (margins_of(vote.logits(rows) / temperature, labels) < 0)
        count += held_out
    fraction: Values = against / count
    return fraction


def fit_temperature(logits_nC: Values, labels: Labels) -> float:
    """T = argmin of the mean of -log softmax(logits / T)[label] (Guo et al. 2017, section 4.2).

    In beta = 1/T the loss is convex, its slope E[z] - z_label and its curvature Var[z] under the
    softmax: Newton, kept inside a shrinking bracket. T stays within 0.01 and 100.
    """
    n, num_classes = logits_nC.shape
    at_label = logits_nC[np.arange(n), labels]

    def slope_and_curvature(beta: float) -> tuple[float, float]:
        def work(rows: slice) -> tuple[float, float]:
            z_bC = logits_nC[rows]
            p_bC = _softmax(z_bC * beta)
            mean = np.einsum("bc,bc->b", p_bC, z_bC)
            centred = z_bC - mean[:, None]
            variance = np.einsum("bc,bc,bc->b", p_bC, centred, centred)
            return float((mean - at_label[rows]).sum()), float(variance.sum())

        parts = over_blocks(work, n, num_classes)
        return sum(a for a, _ in parts) / n, sum(b for _, b in parts) / n

    low, high = _BETA_RANGE
    beta = 1.0
    for _ in range(_STEPS):
        slope, curvature = slope_and_curvature(beta)
        if slope == 0:
            break
        low, high = (beta, high) if slope < 0 else (low, beta)
        newton = beta - slope / curvature if curvature > 0 else np.inf
        following = newton if low < newton < high else float(np.sqrt(low * high))
        done = abs(following - beta) <= 1e-9 * beta
        beta = following
        if done:
            break
    return 1 / beta


def margins_of(logits_bC: Values, labels: Labels) -> Values:
    """The label's logit less the largest other, float64 (b,)."""
    rows = np.arange(len(logits_bC))
    own = logits_bC[rows, labels]
    logits_bC[rows, labels] = -np.inf
    others = logits_bC.max(axis=1)
    logits_bC[rows, labels] = own
    margins: Values = own - others
    return margins


def _rescale(mean_nC: npt.NDArray[np.float32], labels: Labels, *, seed: int) -> float:
    """Calibrate the mean of the votes, in place; its temperature."""
    n, num_classes = mean_nC.shape
    rows = _some(np.arange(n), num_classes, (seed, 1 << 20))
    temperature = fit_temperature(np.log(mean_nC[rows].astype(np.float64)), labels[rows])

    def work(rows: slice) -> None:
        logits_bC = np.log(mean_nC[rows].astype(np.float64)) / temperature
        mean_nC[rows] = np.maximum(_softmax(logits_bC), _TINY)

    over_blocks(work, n, num_classes)
    return temperature


def _some(rows: Labels, num_classes: int, seed: tuple[int, int]) -> Labels:
    """All rows, or a seeded draw of as many as a temperature needs."""
    most = max(1, _MOST_FITTED // num_classes)
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _softmax(logits_bC: Values) -> Values:
    p_bC: Values = logits_bC - logits_bC.max(axis=1, keepdims=True)
    np.exp(p_bC, out=p_bC)
    p_bC /= p_bC.sum(axis=1, keepdims=True)
    return p_bC
