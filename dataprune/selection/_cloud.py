"""Rows of a pool as points: distances, exact enough to be the same on every machine.

Points are in the order of the pool's ties, so that the first of equals is the one the seeded hash
prefers, and a result does not depend on the order of the rows. Distances are computed by matrix
products in float64 and told in float32: what two machines' libraries round otherwise does not show.

Shape suffixes: N points, D features.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import UsageError
from dataprune.selection import Pool, Rows

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
BLOCK_NUMBERS = 1 << 22  # in one block of distances: 32 MiB of float64
_SAME = 1e-12  # of the squared norms: a smaller squared distance is rounding of equal points


class Cloud:
    """Points and their distances.

    features: float32 (N, D), finite; not changed.
    """

    def __init__(self, features_ND: Float32) -> None:
        self.features = features_ND
        self.centre = features_ND.mean(axis=0, dtype=np.float64)
        self.norms = np.concatenate(
            [(self.at(block) ** 2).sum(axis=1) for block in self.blocks(features_ND.shape[1])]
        )

    def __len__(self) -> int:
        return len(self.features)

    def at(self, places: Rows | slice) -> Float64:
        """Some points about their common centre, which keeps what cancels in distances small."""
        found: Float64 = self.features[places].astype(np.float64)
        found -= self.centre
        return found

    def blocks(self, width: int) -> Iterator[slice]:
        """Slices of the points so that a block of that many columns stays small."""
        step = max(1, BLOCK_NUMBERS // max(1, width))
        for start in range(0, len(self), step):
            yield slice(start, min(start + step, len(self)))

    def squared(self, places: Rows | slice, others: Rows | slice) -> Float32:
        """Squared distances of some points to others; 0 between equal ones."""
        return squared_distances(
            self.at(places), self.norms[places], self.at(others), self.norms[others]
        )


def squared_distances(
    points_ND: Float64, norms_N: Float64, others_MD: Float64, norms_M: Float64
) -> Float32:
    """Squared distances (N, M) of points whose squared norms are known."""
    both = norms_N[:, None] + norms_M
    found = points_ND @ others_MD.T
    found *= -2
    found += both
    return near_zero(found, both)


def near_zero(squared: Float64, both: Float64) -> Float32:
    """Squared distances, 0 where they are rounding of equal points; both: sums of squared norms."""
    squared[squared <= _SAME * both] = 0
    return squared.astype(np.float32)


def features_in_tie_order(pool: Pool) -> tuple[Rows, Float32]:
    """Places of a pool's rows by their ties, and their features in that order.

    Raises:
        UsageError: there are none.
    """
    if pool.features is None:
        raise UsageError(
            "this strategy wants features of the rows, and none are given",
            hint="score again with --features, or give a file by --features FILE.parquet",
        )
    places = np.argsort(pool.ties, kind="stable")
    return places, pool.features[places]


def unit_length(features_ND: Float32) -> Float32:
    """Points scaled to length 1; zeros stay."""
    lengths = np.sqrt((features_ND.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    scaled: Float32 = np.divide(
        features_ND, lengths, out=np.zeros(features_ND.shape), where=lengths > 0
    ).astype(np.float32)
    return scaled


def classes_of(pool: Pool, places: Rows, *, per_class: bool) -> list[Rows]:
    """Positions in `places` of each class that has rows; all in one where there are no classes."""
    if not per_class or pool.labels is None:
        return [np.arange(len(places))]
    labels = pool.labels[places]
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def check_count(name: str, value: object, *, least: int = 1) -> int:
    """A parameter that counts.

    Raises:
        UsageError: it is not a whole number of at least `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{name} is {value!r}", hint=f"give a whole number of at least {least}")
    return value


def check_share(name: str, value: object, *, most: float = 1.0) -> float:
    """A parameter in [0, most).

    Raises:
        UsageError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < most:
        raise UsageError(f"{name} is {value!r}", hint=f"give a number in [0, {most:g})")
    return float(value)


def check_yes_no(name: str, value: Any) -> bool:
    """A parameter that is true or false.

    Raises:
        UsageError: it is neither.
    """
    if not isinstance(value, bool):
        raise UsageError(f"{name} is {value!r}", hint="it can be true or false")
    return value
