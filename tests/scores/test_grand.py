"""GraNd: the norm of each example's own loss gradient over all parameters, against autograd."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dataprune.probe.models import MODELS


def slow_grand(net: nn.Module, x: torch.Tensor, label: int) -> float:
    """One example alone, one backward pass, every parameter's gradient squared and added up."""
    net.zero_grad()
    nn.functional.cross_entropy(net(x[None]), torch.tensor([label])).backward()
    total = sum(float(p.grad.double().square().sum()) for p in net.parameters())
    return total**0.5


def test_recorded_grand_equals_autograd_of_each_example_for_every_seed_epoch_and_row(
    watched: SimpleNamespace,
) -> None:
    for epoch in watched.epochs:
        values_SN = watched.per_seed("grand", epoch)
        for seed, trace in watched.traces.items():
            assert np.array_equal(np.isnan(values_SN[seed]), ~trace.in_sample)
            for row in np.flatnonzero(trace.in_sample):
                net, label = watched.nets[seed][epoch], int(watched.labels[row])
                expected = slow_grand(net, watched.inputs[row], label)
                assert values_SN[seed, row] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_grand_of_a_convolutional_net_counts_scales_and_biases_and_uses_running_statistics(
    score_nets: Callable[..., Any],
) -> None:
    torch.manual_seed(0)
    net = MODELS.get("small_cnn").build((2, 6, 6), 3, widths=[4, 5])
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(2 + torch.randn(16, 2, 6, 6))  # running statistics that are not 0 and 1
    images = torch.randn(7, 6, 6, 2, dtype=torch.float64)
    labels = [0, 1, 2, 0, 1, 2, 0]
    (values,) = score_nets("grand", [net], images, labels)
    net.eval()
    inputs = images.float().permute(0, 3, 1, 2)
    expected = [slow_grand(net, x, y) for x, y in zip(inputs, labels, strict=True)]
    assert values == pytest.approx(np.asarray(expected), rel=1e-4)


def test_grand_of_a_row_does_not_depend_on_how_many_rows_share_its_batch(
    score_nets: Callable[..., Any], watched: SimpleNamespace
) -> None:
    net, inputs = watched.nets[0][1], watched.inputs.double()
    (many,) = score_nets("grand", [net], inputs, watched.labels)
    (few,) = score_nets("grand", [net], inputs[:3], watched.labels[:3])
    assert many[:3] == pytest.approx(few, rel=1e-5)


def test_grand_is_at_least_the_norm_over_the_last_layer(watched: SimpleNamespace) -> None:
    for epoch in watched.epochs:
        whole, last = (watched.per_seed(name, epoch) for name in ("grand", "grand_last"))
        assert (whole[~np.isnan(whole)] >= last[~np.isnan(last)] * (1 - 1e-4)).all()


def test_mislabelled_examples_have_higher_grand_on_average(watched: SimpleNamespace) -> None:
    values = np.nanmean(watched.per_seed("grand", watched.epochs[-1]), axis=0)
    assert values[watched.flipped].mean() > 2 * values[~watched.flipped].mean()
