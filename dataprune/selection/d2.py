"""Message passing on a graph of nearest neighbours: hard rows, and of alike ones only some.

Maharana et al. 2024 (ICLR, "D2 Pruning"). With x the score, scaled to 0 .. 1 over the pool (higher
is harder), and d_ij the distance between neighbours:

    forward   U_i  = x_i + sum_j exp(-d_ij) x_j
    then take the largest U_i, again and again, each time
    reverse   U_j -= exp(-gamma d_ij) U_i      for each neighbour j of i.

The graph joins i and j where either is one of the `neighbours` nearest of the other, as in the
authors' code, which also has d (not its square) in both exponents and gamma in the second alone.
Features differ in scale, and exp(-d) is nothing where distances are large: d is in units of the
median distance between neighbours, and `unit: 1` takes it as it is.

`hard_cutoff` drops that share of the pool first, the hardest by `hard_by` (mislabelled rows gather
there). Neighbours are of the same class (`per_class`); the authors share the budget among classes,
too: --class-balance. A smaller budget's rows are the first of a larger one's, and the rest follow
by what is left of U. All is sparse: memory is linear in the rows.
"""

from __future__ import annotations

import heapq

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.selection import Order, Pool, Rows, Strategy
from dataprune.selection._cloud import (
    Cloud,
    Float32,
    Float64,
    check_count,
    check_share,
    check_yes_no,
    classes_of,
    features_in_tie_order,
)
from dataprune.selection._knn import both_ways, nearest_neighbours


def _order(
    pool: Pool,
    *,
    neighbours: object = 10,
    gamma: object = 0.1,
    hard_cutoff: object = 0.0,
    hard_by: str | None = None,
    per_class: object = True,
    unit: object = None,
) -> Order:
    """unit: the distance that counts as 1; default: the median between neighbours.

    Raises:
        UsageError: a parameter is out of range, or too few rows are left for the budget.
    """
    k = check_count("neighbours", neighbours)
    weaker = check_share("gamma", gamma, most=np.inf)
    if unit is not None and (check_share("unit", unit, most=np.inf) == 0):
        raise UsageError(f"unit is {unit!r}", hint="give a distance above 0")
    places, features = features_in_tie_order(pool)
    hardness = pool.score(hard_by).hardness[places]
    num_hard = round(check_share("hard_cutoff", hard_cutoff) * len(places))
    if pool.budget > len(places) - num_hard:
        raise UsageError(
            f"d2 drops the hardest {num_hard} of {len(places)} rows, and {pool.budget} are to be "
            "kept",
            hint=f"hard_cutoff can be {1 - pool.budget / len(places):.3g} at most here",
        )
    rising = np.argsort(hardness, kind="stable")
    rest, hard = np.sort(rising[: len(places) - num_hard]), rising[len(places) - num_hard :]
    apart = check_yes_no("per_class", per_class)
    classes = classes_of(pool, places[rest], per_class=apart)
    edges = _edges(classes, features[rest], k)
    scores = _scaled(pool.score(None).hardness[places[rest]])
    order = rest[_spread(scores, edges, weaker, unit, pool.budget)]
    dropped = np.full(len(places), "outranked", dtype="U16")
    dropped[places[hard]] = "among_hardest"
    return Order(places[np.concatenate([order, hard])], dropped)


def _edges(classes: list[Rows], features: Float32, k: int) -> tuple[Rows, Rows, Float32]:
    """Sources, targets and distances of each class's graph, by source; positions in `features`."""
    parts = []
    for rows in classes:
        sources, targets, distances = both_ways(*nearest_neighbours(Cloud(features[rows]), k))
        parts.append((rows[sources], rows[targets], distances))
    sources, targets, distances = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(sources, kind="stable")
    return sources[order], targets[order], distances[order]


def _scaled(hardness: Float64) -> Float64:
    width = np.ptp(hardness)
    return (hardness - hardness.min()) / width if width > 0 else np.ones_like(hardness)


def _spread(
    scores: Float64,
    edges: tuple[Rows, Rows, Float32],
    gamma: float,
    unit: object,
    budget: int,
) -> Rows:
    """Positions in the order they are taken in, and then the rest by what is left of U."""
    sources, targets, distances = edges
    away = distances.astype(np.float64)
    scale = float(np.median(away)) if unit is None and len(away) else unit
    if isinstance(scale, int | float) and scale > 0:
        away /= scale
    worth = scores + np.bincount(
        sources, weights=np.exp(-away) * scores[targets], minlength=len(scores)
    )
    return _greedy(worth, sources, targets, np.exp(-gamma * away), budget)


def _greedy(worth: Float64, sources: Rows, targets: Rows, back: Float64, budget: int) -> Rows:
    """Take the largest again and again; what its neighbours are worth then changes.

    The queue has an entry for each value that a point has had; only the last one counts.
    """
    n = len(worth)
    ends = np.cumsum(np.bincount(sources, minlength=n)).tolist()
    others, weights, now = targets.tolist(), back.tolist(), worth.tolist()
    queue = [(-value, i) for i, value in enumerate(now)]
    heapq.heapify(queue)
    taken = np.zeros(n, dtype=np.bool_)
    chosen: list[int] = []
    while len(chosen) < budget:
        value, i = heapq.heappop(queue)
        if taken[i] or -value != now[i]:
            continue
        taken[i] = True
        chosen.append(i)
        for edge in range(ends[i - 1] if i else 0, ends[i]):
            j = others[edge]
            now[j] -= weights[edge] * now[i]
            if not taken[j]:
                heapq.heappush(queue, (-now[j], j))
    rest = np.flatnonzero(~taken)
    left = np.asarray(now)[rest]
    return np.concatenate([np.asarray(chosen, dtype=np.int64), rest[np.lexsort((rest, -left))]])


STRATEGY = Strategy(
    "d2",
    _order,
    needs_features=True,
    reads=("hard_by",),
    says="chose hard rows by {by} that have few kept neighbours",
    meanings={
        "outranked": "Harder rows, or rows with fewer kept neighbours, came before it.",
        "among_hardest": "It is among the hardest rows, which were left out first.",
    },
)
