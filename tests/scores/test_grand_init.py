"""GraNd of the untrained weights: a control; taken before the first step, and only then."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from dataprune.scores import SCORES
from dataprune.scores._aggregate import compute_scores


def slow_grand(net: nn.Module, x: torch.Tensor, label: int) -> float:
    net.zero_grad()
    nn.functional.cross_entropy(net(x[None]), torch.tensor([label])).backward()
    total = sum(float(p.grad.double().square().sum()) for p in net.parameters())
    return total**0.5


def test_grand_init_equals_autograd_of_the_untrained_net_for_every_seed_and_row(
    watched: SimpleNamespace,
) -> None:
    values_SN = watched.per_seed("grand_init", watched.epochs[-1])
    for seed, trace in watched.traces.items():
        for row in np.flatnonzero(trace.in_sample):
            net, label = watched.nets[seed][0], int(watched.labels[row])
            expected = slow_grand(net, watched.inputs[row], label)
            assert values_SN[seed, row] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_grand_init_is_the_same_at_every_checkpoint_and_not_grand_of_any(
    watched: SimpleNamespace,
) -> None:
    first = watched.per_seed("grand_init", 1)
    for epoch in watched.epochs:
        assert np.array_equal(watched.per_seed("grand_init", epoch), first, equal_nan=True)
        trained = watched.per_seed("grand", epoch)
        assert not np.isclose(trained, first, rtol=1e-3).all(axis=1).any()


def test_grand_init_has_one_column_and_says_it_is_of_epoch_0(watched: SimpleNamespace) -> None:
    score = SCORES.get("grand_init")
    columns = compute_scores(watched.recipe, [score], watched.traces, watched.labels)
    assert set(columns.values) == {"grand_init", "grand_init_std"}
    assert columns.specs["grand_init"]["epoch"] == 0
    assert score.higher_is == "nothing"
