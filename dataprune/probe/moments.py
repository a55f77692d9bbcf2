"""Mean and spread of vectors that come in batches: one K x K matrix is held, never the vectors.

Shape suffixes: B vectors of a batch, K numbers of a vector.
"""

from __future__ import annotations

import torch


class Moments:
    """Count, mean and scatter of all vectors so far, float64.

    Batches are joined as Chan, Golub and LeVeque (1983) join two samples: each is centred on its
    own mean, so that vectors far from zero lose no digits.

    mean_K. scatter_KK: sum of the outer products of the vectors less their mean.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean_K = self.scatter_KK = torch.zeros(0)

    def add(self, vectors_BK: torch.Tensor) -> None:
        """Take a batch of vectors; it may be empty."""
        if len(vectors_BK) == 0:
            return
        vectors_BK = vectors_BK.double()
        mean_K = vectors_BK.mean(dim=0)
        centred_BK = vectors_BK - mean_K
        scatter_KK = centred_BK.T @ centred_BK
        if self.count == 0:
            self.count, self.mean_K, self.scatter_KK = len(vectors_BK), mean_K, scatter_KK
            return
        before, self.count = self.count, self.count + len(vectors_BK)
        share, step_K = len(vectors_BK) / self.count, mean_K - self.mean_K
        self.mean_K = self.mean_K + share * step_K
        self.scatter_KK += scatter_KK + before * share * torch.outer(step_K, step_K)

    @property
    def variance_K(self) -> torch.Tensor:  # noqa: N802 - a shape suffix
        """Of each number, over count - 1."""
        return self.scatter_KK.diagonal() / (self.count - 1)

    @property
    def mean_square_K(self) -> torch.Tensor:  # noqa: N802 - a shape suffix
        """Of each number: its mean distance from zero, squared."""
        return self.scatter_KK.diagonal() / self.count + self.mean_K.square()
