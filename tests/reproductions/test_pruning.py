"""Pruning goes in the order it says, and equals setting a neuron's weights to zero."""

from __future__ import annotations

import pytest
import torch

from dataprune.reproductions.grok_data import ModularData, make_data
from dataprune.reproductions.grok_model import QuadraticMlp
from dataprune.reproductions.grok_recipe import GrokRun
from dataprune.reproductions.pruning import PERCENTS, orders, prune_neurons, sizes

N = 30


def untrained(p: int = 11, **run: object) -> tuple[QuadraticMlp, ModularData, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    data = make_data(p, "addition", alpha=0.5, xi=0.4, generator=generator)
    about = GrokRun.model_validate({"name": "r", "steps": 1, **run})
    model = QuadraticMlp(p, N, about, generator).eval()
    with torch.no_grad():
        return model, data, model.hidden(data.left_B, data.right_B)


def test_low_goes_up_and_high_goes_down_and_ties_by_number() -> None:
    order = orders(torch.tensor([0.5, 0.1, 0.9, 0.1]), torch.tensor([1.0, 4.0, 2.0, 2.0]))
    assert order["low_ipr"].tolist() == [1, 3, 0, 2]
    assert order["high_ipr"].tolist() == [2, 0, 1, 3]
    assert order["small"].tolist() == [0, 2, 3, 1]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_each_level_equals_zeroed_weights(*, batch_norm: bool) -> None:
    model, data, hidden_BN = untrained(batch_norm=batch_norm)
    order_N = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    levels = prune_neurons(model, data, hidden_BN, order_N)
    assert [level.percent for level in levels] == list(PERCENTS)
    for level in levels[::5]:
        gone = order_N[: N * level.percent // 100]
        with torch.no_grad():
            model.U_PN[:, gone], model.V_PN[:, gone], model.W_NP[gone] = 0, 0, 0
            answer_B = model(data.left_B, data.right_B).argmax(dim=1)
        train = answer_B[: data.num_train]
        wrong, truth_T = data.is_wrong_T, data.truth_B[: data.num_train]
        assert level.corrupted == (train == data.label_T)[wrong].double().mean().item()
        assert level.relabelled == (train == truth_T)[wrong].double().mean().item()
        assert level.uncorrupted == (train == data.label_T)[~wrong].double().mean().item()
        test = answer_B[data.num_train :] == data.truth_B[data.num_train :]
        assert level.test == test.double().mean().item()


def test_with_nothing_left_every_answer_is_zero() -> None:
    model, data, hidden_BN = untrained()
    last = prune_neurons(model, data, hidden_BN, torch.arange(N))[-1]
    zero = data.truth_B[data.num_train :] == 0
    assert last.test == zero.double().mean().item()


def test_a_neurons_size_is_the_variance_it_adds_to_the_logits() -> None:
    model, _, hidden_BN = untrained()
    W_NP = model.W_NP.detach()
    added_BP = hidden_BN[:, 3:4] @ W_NP[3:4]
    expected = added_BP.double().var(dim=0).sum().item()
    assert sizes(hidden_BN, W_NP)[3].item() == pytest.approx(expected, rel=1e-5)
