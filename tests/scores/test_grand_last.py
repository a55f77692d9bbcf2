"""GraNd of the last layer: closed form, against autograd of that layer's parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dataprune.core.errors import UsageError


def slow_grand_last(net: nn.Sequential, x: torch.Tensor, label: int) -> float:
    net.zero_grad()
    nn.functional.cross_entropy(net(x[None]), torch.tensor([label])).backward()
    total = sum(float(p.grad.double().square().sum()) for p in net[-1].parameters())
    return total**0.5


def test_recorded_grand_last_equals_autograd_of_the_last_layer_for_every_seed_epoch_and_row(
    watched: SimpleNamespace,
) -> None:
    for epoch in watched.epochs:
        values_SN = watched.per_seed("grand_last", epoch)
        for seed, trace in watched.traces.items():
            assert np.array_equal(np.isnan(values_SN[seed]), ~trace.in_sample)
            for row in np.flatnonzero(trace.in_sample):
                net, label = watched.nets[seed][epoch], int(watched.labels[row])
                expected = slow_grand_last(net, watched.inputs[row], label)
                assert values_SN[seed, row] == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("place", [1, 0])
def test_grand_last_is_el2n_times_the_size_of_the_features_and_one_for_a_bias(
    score_nets: Callable[..., Any], place: int
) -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3, bias=place == 1))
    inputs, labels = torch.randn(6, 4), [0, 1, 2, 0, 1, 2]
    (values,) = score_nets("grand_last", [net], inputs, labels)
    (el2n,) = score_nets("el2n", [net], inputs, labels)
    with torch.no_grad():
        features = net[:2](inputs).double()
    for row in range(6):
        squared = sum(float(f) ** 2 for f in features[row]) + place
        assert values[row] == pytest.approx(el2n[row] * math.sqrt(squared), rel=1e-5)


def test_grand_last_keeps_its_digits_where_the_label_is_nearly_certain(
    score_nets: Callable[..., Any],
) -> None:
    net = nn.Sequential(nn.Linear(1, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [0.0]]))
        net[0].bias.zero_()
    gaps = np.arange(2.0, 42.0, 4.0)
    (values,) = score_nets("grand_last", [net], gaps[:, None], [0] * 10, outputs=2)
    expected = [math.sqrt(2) * math.exp(-g) / (1 + math.exp(-g)) * math.hypot(g, 1) for g in gaps]
    assert values.tolist() == pytest.approx(expected, rel=1e-4, abs=0)


def test_a_model_that_does_not_end_in_a_linear_layer_is_refused(
    score_nets: Callable[..., Any],
) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
    with pytest.raises(UsageError, match="does not end in a linear layer"):
        score_nets("grand_last", [net], torch.randn(3, 4), [0, 1, 2])
