"""Totals that can be believed: the noise rate as a range, agreement of votes, planted errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.flags._evidence import Evidence, weigh_again
from dataprune.flags._posterior import judge, log_truth
from dataprune.flags._scale import BETA_RANGE
from dataprune.flags._votes import Labels, Values, Vote

WEAK_AGREEMENT = 0.85  # below it, consensus flagged one correct label in ten; not tuned
_WEAK_FOR = 0.6
_LEAST_SHARP, _MOST_SHARP = 1.01 * BETA_RANGE[0], 0.99 * BETA_RANGE[1]
_LEAST_PLANTED = 100
_USUAL = 10  # rows
_SHOWN = 5
_FAR_APART = 3  # times the lowest estimate
_NOTABLE = 0.05
_MOST_PLANTED = 2000
_MOST_CONFUSIONS = 20
_MOST_MATRIX = 32
_PLANTED_MEANING = "upper bound: errors that people make are harder to find than planted ones"


@dataclass(frozen=True)
class Noise:
    """What the noise was found to be.

    transition: T[given, true], float64 (C, C). sharpness: beta of the posterior.
    concentration: of errors' labels, large if noise looks symmetric. num_anchors: rows that told.
    confident_joint: the share of wrong labels by the confident joint.
    """

    transition: Values
    sharpness: float
    concentration: float
    num_anchors: int
    confident_joint: float


Verdict = Callable[[Values, Values], npt.NDArray[np.bool_]]


def agreement_of(choices_Sn: npt.NDArray[np.int32]) -> float | None:
    """The share of pairs of votes on the same row that name the same class; None without a pair."""
    same = pairs = 0
    for a, b in combinations(choices_Sn, 2):
        both = (a >= 0) & (b >= 0)
        pairs += int(both.sum())
        same += int((both & (a == b)).sum())
    return same / pairs if pairs else None


def votes_for_labels(evidence: Evidence) -> float:
    """The share of votes whose best class is the given one."""
    return 1 - float(np.average(evidence.vote_frac, weights=evidence.num_votes))


def noise_rates(
    votes_for: float, agreement: float | None, confident_joint: float, mean_q: float
) -> dict[str, float | None]:
    """Three estimates of the share of wrong labels, and the range they span.

    agreement: 1 - a / A, where votes name the given label with rate a and each other's class with
        rate A: a vote that repeats itself less often than another vote is held against the labels.
    confident_joint: its off-diagonal share. mean_q: the mean of q.
    """
    found = {
        "agreement": max(0.0, 1 - votes_for / agreement) if agreement else None,
        "confident_joint": confident_joint,
        "mean_q": mean_q,
    }
    known = [rate for rate in found.values() if rate is not None]
    return {"low": min(known), "high": max(known), **found}


def planted_recall(
    votes: Sequence[Vote],
    evidence: Evidence,
    labels: Labels,
    unsuspected: Labels,
    noise: Noise,
    likely: Verdict,
    *,
    seed: int,
) -> dict[str, Any]:
    """How many errors planted after training would be flagged `likely`.

    No vote has seen a planted label, so nothing is trained again and no row is given up.

    unsuspected: rows to plant in (tier ok); a planted label there is an error almost surely.
    random: any other class, equally often. transition: drawn from the estimated noise, given that
        it errs. Each None where nothing could be planted, or in fewer than 100 rows.
    """
    rng = np.random.default_rng((seed, 1 << 21))
    rows = unsuspected
    if len(rows) > _MOST_PLANTED:
        rows = np.sort(rng.choice(rows, _MOST_PLANTED, replace=False))
    found: dict[str, Any] = {"random": None, "transition": None}
    if len(rows) >= _LEAST_PLANTED:
        truth, num_classes = labels[rows], len(noise.transition)
        errors = noise.transition.copy()
        np.fill_diagonal(errors, 0)
        ways = {"random": 1 - np.eye(num_classes), "transition": errors}
        for name, weights in ways.items():
            planted, possible = _draw(weights, truth, rng)
            if possible.any():
                here, labels_here = rows[possible], planted[possible]
                means, against = weigh_again(votes, evidence, labels_here, here)
                log_pi = log_truth(means, noise.transition)
                believed = judge(log_pi, means, labels_here, noise.transition, noise.sharpness)
                found[name] = float(likely(believed.q, against).mean())
    return {**found, "rows": len(rows), "meaning": _PLANTED_MEANING}


def _draw(
    weights: Values, truth: Labels, rng: np.random.Generator
) -> tuple[Labels, npt.NDArray[np.bool_]]:
    """A label for each true one, by the weights of its column; False where all are 0."""
    cumulative = np.cumsum(weights, axis=0)
    sums = cumulative[-1, truth]
    points = rng.random(len(truth)) * sums
    drawn = np.empty(len(truth), dtype=np.int64)
    for k in np.unique(truth):
        of_k = truth == k
        drawn[of_k] = np.searchsorted(cumulative[:, k], points[of_k], side="right")
    return np.minimum(drawn, len(weights) - 1), sums > 0


def confusions(joint: Values, class_names: Sequence[str] | None) -> list[dict[str, Any]]:
    """The largest off-diagonal cells of the joint: about how many rows given one are another."""
    off = joint.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:_MOST_CONFUSIONS]
    cells = [(int(j), int(k)) for j, k in zip(*np.unravel_index(order, off.shape), strict=True)]
    names: Sequence[Any] = class_names if class_names is not None else range(len(joint))
    return [
        {"given": names[j], "true": names[k], "rows": round(float(off[j, k]), 2)}
        for j, k in cells
        if off[j, k] > 0
    ]


def matrix_for_people(transition: Values) -> list[list[float]] | None:
    """T as nested lists [given][true]; None beyond 32 classes, where confusions tell more."""
    return transition.tolist() if len(transition) <= _MOST_MATRIX else None


def warnings_of(
    evidence: Evidence,
    votes: Sequence[Vote],
    labels: Labels,
    told: Mapping[str, Any],
    names: Sequence[str] | None,
) -> list[str]:
    """What makes these flags weak, a sentence each."""
    found = []
    half = [vote.name for vote in votes if vote.values.dtype == np.float16]
    if half:
        found.append(f"{half[0]} is float16: probabilities near 1 tie; store float32")
    single = int((evidence.num_votes == 1).sum())
    if single:
        found.append(
            f"{single} of {len(evidence.num_votes)} rows have one held-out vote: the sign of its "
            "margin stands for consensus; two to five votes flag better"
        )
    agreement, rates, votes_for = told["agreement"], told["noise_rate"], told["votes_for"]
    if votes_for < _WEAK_FOR:
        found.append(
            f"votes name the given label of {votes_for:.1%} of the rows only: the models are weak, "
            "or most labels wrong; expect false `likely`, and act on none without an audit"
        )
    if not _LEAST_SHARP < told["sharpness"] < _MOST_SHARP:
        found.append(
            f"the posterior's sharpness is at its bound ({told['sharpness']:.4g}): the votes tell "
            "nothing of the labels"
        )
    if agreement is not None and agreement < WEAK_AGREEMENT:
        found.append(
            f"votes agree with each other on {agreement:.1%} only (below {WEAK_AGREEMENT:.0%}): "
            "the models are too weak for their consensus to be trusted; expect false flags, "
            "`suspect` above all"
        )
    counts = np.bincount(labels)
    rare = np.flatnonzero((counts > 0) & (counts < _USUAL))
    if len(rare):
        found.append(
            f"{len(rare)} classes have fewer than {_USUAL} rows: hardly any model has learned "
            f"them, and flags of their rows say little ({_listed(rare, names)})"
        )
    usual = np.flatnonzero(counts >= _USUAL)
    never = np.setdiff1d(usual, np.unique(evidence.choices_Sn))
    if len(never):
        found.append(
            f"{len(never)} of {len(usual)} classes with {_USUAL} rows and more are no vote's best "
            "class anywhere: their rows are flagged whether right or wrong "
            f"({_listed(never, names)})"
        )
    low, high = rates["low"], rates["high"]
    if high > _FAR_APART * low and high - low > _NOTABLE:
        found.append(
            f"estimates of the noise rate are far apart, {low:.1%} to {high:.1%}: hard examples, "
            "or errors that depend on the example, as a labelling rule makes them, which label_q "
            "does not see; only a look at a sample tells (dataprune audit --tier flagged)"
        )
    if agreement == 1:
        found.append("all votes name the same class everywhere: are they one model's?")
    return found


def _listed(classes: Labels, names: Sequence[str] | None) -> str:
    shown = [str(k) if names is None else names[k] for k in classes[:_SHOWN].tolist()]
    return ", ".join(shown) + (", ..." if len(classes) > _SHOWN else "")
