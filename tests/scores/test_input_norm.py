"""Input norm: a control; the norm of what the model reads, whatever it has learned."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn


def slow_norm(numbers: Any) -> float:
    return math.sqrt(sum(float(x) ** 2 for x in np.ravel(numbers)))


def test_recorded_input_norm_is_of_the_standardised_input_for_every_seed_and_row(
    watched: SimpleNamespace,
) -> None:
    assert watched.inputs.mean(dim=0).numpy() == pytest.approx(np.zeros(6), abs=1e-5)
    expected = [slow_norm(x) for x in watched.inputs.numpy()]
    for epoch in watched.epochs:
        values_SN = watched.per_seed("input_norm", epoch)
        for seed, trace in watched.traces.items():
            here = trace.in_sample
            assert values_SN[seed, here] == pytest.approx(np.asarray(expected)[here], rel=1e-5)
            assert np.isnan(values_SN[seed, ~here]).all()


def test_input_norm_of_images_is_over_all_pixels_and_channels(
    score_nets: Callable[..., Any],
) -> None:
    images = np.random.default_rng(0).normal(size=(4, 3, 3, 2))
    net = nn.Sequential(nn.Flatten(), nn.Linear(18, 3))
    (values,) = score_nets("input_norm", [net], images, [0, 1, 2, 0], untrained=net)
    assert values.tolist() == pytest.approx([slow_norm(image) for image in images], rel=1e-5)


def test_input_norm_knows_neither_label_nor_model(score_nets: Callable[..., Any]) -> None:
    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    results = []
    for width, labels in ((2, [0, 1, 2, 0, 1]), (9, [2, 2, 2, 2, 2])):
        net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))
        results.append(score_nets("input_norm", [net], inputs, labels, untrained=net)[0])
    assert np.array_equal(*results)
