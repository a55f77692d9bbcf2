"""Moments of vectors that come in batches: those of all of them at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dataprune.probe.moments import Moments


@pytest.mark.parametrize("sizes", [[60], [1, 59], [20, 0, 7, 33], [1] * 60])
@pytest.mark.parametrize("offset", [0.0, 1e7])
def test_batches_add_up_to_the_whole_even_far_from_zero(sizes: list[int], offset: float) -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = offset + torch.randn(60, 4, generator=generator, dtype=torch.float64)
    moments = Moments()
    for part in vectors.split(sizes):
        moments.add(part)
    whole = vectors.numpy()
    assert moments.count == 60
    assert moments.mean_K.numpy() == pytest.approx(whole.mean(axis=0), rel=1e-12)
    scatter = np.cov(whole.T) * 59
    # One square of 1e7 alone is 1e14: sums of plain squares would be off by more than this.
    assert moments.scatter_KK.numpy() == pytest.approx(scatter, rel=1e-6, abs=1e-6)
    assert moments.variance_K.numpy() == pytest.approx(whole.var(axis=0, ddof=1), rel=1e-6)
    assert moments.mean_square_K.numpy() == pytest.approx((whole**2).mean(axis=0), rel=1e-9)


def test_what_was_given_is_not_held_and_not_changed() -> None:
    given = torch.ones(3, 2, dtype=torch.float64)
    moments = Moments()
    moments.add(given)
    moments.add(given + 1)
    assert given.tolist() == [[1, 1]] * 3
    assert {tuple(v.shape) for v in vars(moments).values() if torch.is_tensor(v)} == {(2,), (2, 2)}
