"""Input-loss curvature: how the loss's input gradient changes nearby, directions replayed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dataprune.core.fingerprint import derive_seed

STEP, NUM_DIRECTIONS = 1e-3, 10


def input_gradient(net: nn.Module, x: torch.Tensor, label: int) -> torch.Tensor:
    """Gradient of one example's own loss by its input, in float64."""
    x = x.double().requires_grad_()
    (gradient,) = torch.autograd.grad(
        nn.functional.cross_entropy(net(x[None]), torch.tensor([label])), x
    )
    return gradient


def directions(shape: Any, *salt: int | str) -> list[torch.Tensor]:
    """The draws of one epoch, +-1, for all rows at once."""
    generator = torch.Generator().manual_seed(derive_seed(*salt))
    draws = [torch.randint(2, shape, generator=generator) for _ in range(NUM_DIRECTIONS)]
    return [2.0 * draw - 1.0 for draw in draws]


def slow_curvature(net: nn.Module, x: torch.Tensor, label: int, along: list[torch.Tensor]) -> float:
    at_x = input_gradient(net, x, label)
    moved = [input_gradient(net, x + STEP * v, label) - at_x for v in along]
    return sum(math.sqrt(sum(d**2 for d in m.ravel().tolist())) for m in moved) / len(moved)


def test_recorded_curvature_equals_autograd_of_each_example_with_the_same_directions(
    watched: SimpleNamespace,
) -> None:
    for seed in (0, 3):
        rows = np.flatnonzero(watched.traces[seed].in_sample)[::3]
        totals = np.zeros(len(rows))
        for epoch in watched.epochs[:4]:
            along = directions(watched.inputs.shape, *watched.salt(seed), "directions", epoch)
            net = copy.deepcopy(watched.nets[seed][epoch]).double()
            for place, row in enumerate(rows):
                label = int(watched.labels[row])
                here = [v[row] for v in along]
                totals[place] += slow_curvature(net, watched.inputs[row], label, here)
            values = watched.per_seed("curvature", epoch)[seed, rows]
            assert values == pytest.approx(totals / epoch, rel=1e-2, abs=2e-6)


def test_curvature_of_images_moves_every_pixel_and_channel(score_nets: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3))
    images, labels = torch.randn(4, 4, 4, 2, dtype=torch.float64), [0, 1, 2, 0]
    (values,) = score_nets("curvature", [net], images, labels)
    inputs = images.float().permute(0, 3, 1, 2)
    along = directions(inputs.shape, "hand-made", "directions", 1)
    double = copy.deepcopy(net).double()
    expected = [
        slow_curvature(double, x, y, [v[row] for v in along])
        for row, (x, y) in enumerate(zip(inputs, labels, strict=True))
    ]
    assert values.tolist() == pytest.approx(expected, rel=1e-2)


def test_curvature_is_of_each_examples_own_loss_and_not_of_a_share_of_the_batch(
    score_nets: Callable[..., Any],
) -> None:
    """Two logits a x and -a x: the second derivative of the loss by x is known at x = 0."""
    net = nn.Sequential(nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[2.0], [-2.0]]))
    for num_rows in (1, 8):
        zeros = np.zeros((num_rows, 1))
        (values,) = score_nets("curvature", [net], zeros, [0] * num_rows, outputs=2)
        # p = sigmoid(2 a x): the loss's second derivative is (2 a)^2 p (1 - p) = 4 at a = 2.
        assert values.tolist() == pytest.approx([4 * STEP] * num_rows, rel=1e-2)


def test_curvature_is_the_mean_over_epochs(score_nets: Callable[..., Any]) -> None:
    nets = []
    for slope in (2.0, 1.0, 3.0):
        net = nn.Sequential(nn.Linear(1, 2, bias=False))
        with torch.no_grad():
            net[0].weight.copy_(torch.tensor([[slope], [-slope]]))
        nets.append(net)
    values = score_nets("curvature", nets, np.zeros((1, 1)), [0], outputs=2)
    expected = np.cumsum([4.0, 1.0, 9.0]) / np.arange(1, 4) * STEP
    assert [value for (value,) in values] == pytest.approx(expected.tolist(), rel=1e-2)


def test_directions_differ_between_seeds_and_epochs(watched: SimpleNamespace) -> None:
    drawn = {
        tuple(directions((4, 6), *watched.salt(seed), "directions", epoch)[0].ravel().tolist())
        for seed in (0, 1)
        for epoch in (1, 2)
    }
    assert len(drawn) == 4
