"""VoG: spread over epochs of the label logit's input gradient, z-scored within classes."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dataprune.probe.models import MODELS
from dataprune.scores import SCORES, Seen, Values


def pixel_gradients(net: nn.Module, x: torch.Tensor, label: int) -> list[float]:
    """Gradient of z_label by pixel, of one example alone, a mean over channels."""
    x = x.clone().requires_grad_()
    net(x[None])[0, label].backward()
    assert x.grad is not None
    if x.dim() == 1:
        return x.grad.double().tolist()
    channels = [channel.double().ravel().tolist() for channel in x.grad]
    return [sum(pixel) / len(channels) for pixel in zip(*channels, strict=True)]


def slow_spread(snapshots: list[list[float]]) -> float:
    deviations = [statistics.pstdev(over_epochs) for over_epochs in zip(*snapshots, strict=True)]
    return statistics.fmean(deviations)


def slow_z_scores(spreads: dict[int, float], labels: Any) -> dict[int, float]:
    """{row: its spread, less the mean of its class's rows, over their deviation}."""
    scores = {}
    for row, spread in spreads.items():
        peers = [value for other, value in spreads.items() if labels[other] == labels[row]]
        deviation = statistics.pstdev(peers)
        scores[row] = (spread - statistics.fmean(peers)) / deviation if deviation else 0.0
    return scores


def test_recorded_vog_equals_autograd_of_each_example_for_every_seed_epoch_and_row(
    watched: SimpleNamespace,
) -> None:
    for seed, trace in watched.traces.items():
        rows = [int(row) for row in np.flatnonzero(trace.in_sample)]
        gradients = {
            row: [
                pixel_gradients(watched.nets[seed][e], watched.inputs[row], watched.labels[row])
                for e in watched.epochs
            ]
            for row in rows
        }
        for epoch in watched.epochs[1:]:
            spreads = {row: slow_spread(gradients[row][:epoch]) for row in rows}
            expected = slow_z_scores(spreads, watched.labels)
            values = watched.per_seed("vog", epoch)[seed]
            assert values[rows] == pytest.approx(list(expected.values()), rel=1e-3, abs=1e-3)
            assert np.isnan(values[~trace.in_sample]).all()


def test_vog_says_nothing_after_one_epoch(watched: SimpleNamespace) -> None:
    values_SN = watched.per_seed("vog", 1)
    assert (values_SN[~np.isnan(values_SN)] == 0).all()


def test_vog_of_images_takes_the_mean_over_channels_before_the_spread(
    score_nets: Callable[..., Any],
) -> None:
    nets = []
    for seed in range(3):
        torch.manual_seed(seed)
        nets.append(MODELS.get("small_cnn").build((3, 5, 5), 3, widths=[4]).eval())
    images = torch.randn(8, 5, 5, 3, dtype=torch.float64)
    labels = [0, 0, 0, 1, 1, 1, 1, 2]
    inputs = images.float().permute(0, 3, 1, 2)
    gradients = [
        [pixel_gradients(net, x, y) for net in nets] for x, y in zip(inputs, labels, strict=True)
    ]
    values_EN = score_nets("vog", nets, images, labels)
    for epoch in (2, 3):
        spreads = {row: slow_spread(gradients[row][:epoch]) for row in range(8)}
        expected = slow_z_scores(spreads, labels)
        assert values_EN[epoch - 1].tolist() == pytest.approx(
            list(expected.values()), rel=1e-3, abs=1e-4
        )


def compute(spreads: list[float], labels: list[int], in_sample: list[bool] | None = None) -> Values:
    mask = np.ones(len(labels), dtype=np.bool_) if in_sample is None else np.asarray(in_sample)
    signals = {"gradient_spread": np.asarray(spreads)}
    return SCORES.get("vog").compute(Seen(signals, 3, 0, 0, len(labels), mask, np.asarray(labels)))


def test_a_class_of_one_row_and_a_class_without_spread_get_zero() -> None:
    spreads = [0.7, 0.1, 0.1, 0.1, 1.0, 3.0]
    values = compute(spreads, [9, 4, 4, 4, 0, 0])
    assert values.tolist() == [0.0, 0.0, 0.0, 0.0, -1.0, 1.0]


def test_classes_are_standardised_over_the_rows_that_the_seed_trained_on() -> None:
    spreads = [1.0, 3.0, 500.0, 2.0, 4.0]
    values = compute(spreads, [0, 0, 0, 1, 1], [True, True, False, True, True])
    assert values[[0, 1, 3, 4]].tolist() == [-1.0, 1.0, -1.0, 1.0]


def test_a_class_of_which_the_seed_trained_on_no_row_gets_zero() -> None:
    values = compute([1.0, 3.0, 5.0, 6.0], [0, 0, 1, 1], [True, True, False, False])
    assert values[:2].tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_vog_has_mean_0_and_deviation_1_within_every_class(scale: float) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 400)
    values = compute((scale * (100 + rng.random(400) * (1 + labels))).tolist(), labels.tolist())
    for label in range(5):
        here = values[labels == label]
        assert here.mean() == pytest.approx(0, abs=1e-9)
        assert here.std() == pytest.approx(1, rel=1e-9)
