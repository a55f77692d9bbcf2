"""The inverse participation ratio has its known values, and the analytic solution has ratio 1."""

from __future__ import annotations

import math

import pytest
import torch

from dataprune.reproductions.grok_data import fourier_rows, make_data
from dataprune.reproductions.grok_model import QuadraticMlp
from dataprune.reproductions.grok_recipe import GrokRun
from dataprune.reproductions.grok_train import look
from dataprune.reproductions.ipr import ipr, neuron_ipr

P = 97
TURN_P = 2 * math.pi * torch.arange(P, dtype=torch.float64) / P


def analytic(num_neurons: int) -> QuadraticMlp:
    """Equation 2: cosines of random frequency and phase, amplitude (2 / N)^(1/3)."""
    generator = torch.Generator().manual_seed(0)
    model = QuadraticMlp(P, num_neurons, GrokRun(name="analytic", steps=1), generator)
    frequency_N = torch.randint(1, P // 2 + 1, (num_neurons,), generator=generator)
    phase_2N = 2 * math.pi * torch.rand(2, num_neurons, generator=generator, dtype=torch.float64)
    turn_PN = TURN_P[:, None] * frequency_N
    size = (2 / num_neurons) ** (1 / 3)
    with torch.no_grad():
        model.U_PN.copy_(size * torch.cos(turn_PN + phase_2N[0]))
        model.V_PN.copy_(size * torch.cos(turn_PN + phase_2N[1]))
        model.W_NP.copy_(size * torch.cos(turn_PN + phase_2N.sum(dim=0)).T)
    return model


def test_against_a_slow_reference() -> None:
    vectors = torch.randn(3, 11, generator=torch.Generator().manual_seed(0))
    for vector, value in zip(vectors.tolist(), ipr(vectors).tolist(), strict=True):
        spectrum = [
            math.hypot(
                sum(x * math.cos(2 * math.pi * j * i / 11) for i, x in enumerate(vector)),
                sum(x * math.sin(2 * math.pi * j * i / 11) for i, x in enumerate(vector)),
            )
            for j in range(11 // 2 + 1)
        ]
        norm = math.sqrt(sum(f * f for f in spectrum))
        assert value == pytest.approx(sum((f / norm) ** 4 for f in spectrum), rel=1e-6)


@pytest.mark.parametrize("frequency", [1, 7, 48])
def test_a_cosine_has_one(frequency: int) -> None:
    assert ipr(3 * torch.cos(frequency * TURN_P + 0.4)[None]).item() == pytest.approx(1)


def test_a_lone_number_has_one_in_49() -> None:
    assert ipr(torch.eye(P)).tolist() == pytest.approx([1 / 49] * P)


def test_noise_has_four_hundredths() -> None:
    values = ipr(torch.randn(4000, P, generator=torch.Generator().manual_seed(0)))
    assert values.mean().item() == pytest.approx(0.0402, abs=0.0005)
    assert values.std().item() == pytest.approx(0.0056, abs=0.0005)


def test_a_constant_counts_as_one_bin_and_nothing_as_none() -> None:
    assert ipr(torch.ones(1, P)).item() == pytest.approx(1)
    assert ipr(torch.zeros(1, P)).item() == 0


@pytest.mark.parametrize("num_neurons", [194, 500])
def test_the_analytic_solution_knows_every_sum_and_is_periodic(num_neurons: int) -> None:
    generator = torch.Generator().manual_seed(0)
    data = make_data(P, "addition", alpha=0.5, xi=0, generator=generator)
    model = analytic(num_neurons)
    seen = look(model, data, 0)
    assert (seen.train_accuracy, seen.test_accuracy) == (1, 1)
    assert seen.el2n_auroc is None
    values = neuron_ipr(model.U_PN, model.V_PN, model.W_NP, fourier_rows(P, "addition"))
    assert values.tolist() == pytest.approx([1] * num_neurons, abs=1e-5)


def test_multiplication_needs_its_own_order() -> None:
    rows = fourier_rows(P, "multiplication")
    weights = torch.zeros(P, 1, dtype=torch.float64)
    weights[rows, 0] = torch.cos(2 * math.pi * 5 * torch.arange(96, dtype=torch.float64) / 96)
    assert neuron_ipr(weights, weights, weights.T, rows).item() == pytest.approx(1)
    plain = neuron_ipr(weights, weights, weights.T, fourier_rows(P, "addition")).item()
    assert plain < 0.1
