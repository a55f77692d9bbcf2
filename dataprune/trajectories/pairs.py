"""Pairs of runs to learn a preference from: a query's best run over its worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.trajectories.keys import group_numbers


@dataclass(frozen=True, slots=True)
class Pair:
    """chosen, rejected: traj_ids. margin: how much more reward the chosen one has, above 0."""

    query_id: str
    chosen: str
    rejected: str
    margin: float

    def row(self) -> dict[str, Any]:
        """As it is written."""
        return asdict(self)


def best_and_worst(
    query_ids: Sequence[str],
    traj_ids: Sequence[str],
    rewards: npt.NDArray[np.float64],
    lengths: npt.NDArray[np.int64],
    is_well_formed: npt.NDArray[np.bool_],
    *,
    margin: float,
) -> list[Pair]:
    """One pair for each query whose best and worst run differ by the margin, in order of query.

    Both must be well formed, so that what is learned is not the format: is_well_formed, bool (n,),
    is False where a rule of the format rejected the run. A worst run may be rejected otherwise.
    Of equal runs the shortest is taken, then the first by id, so order of rows does not matter.

    rewards: float64 (n,), NaN for none: such a run is in no pair.
    """
    names, groups = group_numbers(query_ids)
    rows = np.flatnonzero(is_well_formed & ~np.isnan(rewards)).tolist()
    best: dict[int, int] = {}
    worst: dict[int, int] = {}
    for row in sorted(rows, key=lambda row: (lengths[row], traj_ids[row])):
        group = int(groups[row])
        if group not in best or rewards[row] > rewards[best[group]]:
            best[group] = row
        if group not in worst or rewards[row] < rewards[worst[group]]:
            worst[group] = row
    pairs = []
    for group in sorted(best):
        one, other = best[group], worst[group]
        difference = float(rewards[one] - rewards[other])
        if difference > 0 and difference >= margin - 1e-9:
            pairs.append(Pair(names[group], traj_ids[one], traj_ids[other], difference))
    return pairs
