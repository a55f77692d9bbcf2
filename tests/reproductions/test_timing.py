"""Error norms and their area under the curve, against their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from dataprune.reproductions.timing import auroc, error_norms


def test_the_error_norm_is_the_distance_from_the_one_hot_label() -> None:
    logits = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 2.0]])
    norms = error_norms(logits, torch.tensor([1, 0, 1]))
    assert norms.tolist() == pytest.approx([0, 1, math.sqrt(6)])
    assert logits[0].tolist() == [0, 1, 0]


def test_the_area_counts_pairs_and_half_of_ties() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 6, (60,), generator=generator).double()
    positive = torch.rand(60, generator=generator) < 0.4
    pairs = [
        float(a > b) + (a == b) / 2
        for a in values[positive].tolist()
        for b in values[~positive].tolist()
    ]
    assert auroc(values, positive) == pytest.approx(sum(pairs) / len(pairs))


def test_one_kind_alone_has_no_area() -> None:
    assert auroc(torch.ones(3), torch.ones(3, dtype=torch.bool)) is None
    assert auroc(torch.ones(3), torch.zeros(3, dtype=torch.bool)) is None
