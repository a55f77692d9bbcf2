"""What a probe memorized inside the network: where the truth is planted, and the whole way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dataprune.probe.memorization import BASES, cross_entropy
from dataprune.probe.removal import OF_REMOVAL, drawn_held_out
from dataprune.probe.removal_inside import remove_inside, worth_of_units
from tests.probe.rows import Rows

# Of 20 levels of 40 units the last removes 38: as many as memorize a row each.
N, OWN, K = 400, 38, 40
IN_SAMPLE = torch.arange(N) < 300
WRONG = torch.arange(N) < OWN
SIZE = 4  # positions, and pixels to a side


def labels() -> tuple[torch.Tensor, torch.Tensor]:
    """The true classes, and those given: wrong in the first 38 rows."""
    truth = torch.randint(0, 2, (N,), generator=torch.Generator().manual_seed(0))
    return truth, torch.where(WRONG, 1 - truth, truth)


def read_out(given: torch.Tensor) -> nn.Linear:
    """Units 0 and 1 speak for their class; each of the others for one row's given label."""
    linear = nn.Linear(K, 2)
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.zero_()
        linear.weight[:, :2] = torch.eye(2)
        for i in range(OWN):
            linear.weight[given[i], 2 + i] = 12.0
    return linear


class Pooled(nn.Module):
    """Mean over positions, then a read-out. inner: its output is (B, K, H, W) or (B, T, K)."""

    def __init__(self, inner: nn.Module, linear: nn.Linear) -> None:
        super().__init__()
        self.inner, self.linear = inner, linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Numbers (B, ...), or token ids (B, T), 0 for padding."""
        values = self.inner(x)
        if values.dim() == 4:
            mean = values.mean(dim=(2, 3))
        elif x.is_floating_point():
            mean = values.mean(dim=1)
        else:
            real = (x != 0)[:, :, None]
            mean = (values * real).sum(dim=1) / real.sum(dim=1)
        logits: torch.Tensor = self.linear(mean)
        return logits


def conv_net(*, inplace: bool = False) -> tuple[nn.Module, Rows]:
    """Images of 40 channels through a convolution that copies them, and ReLU; layer inner.1."""
    truth, given = labels()
    x = torch.zeros(N, K, SIZE, SIZE)
    x[torch.arange(N), truth] = 4.0
    x[:, :2] += 0.1 * torch.randn(N, 2, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    x[torch.arange(OWN), 2 + torch.arange(OWN), 1, 2] = 1.0 * SIZE * SIZE  # at one position only
    conv = nn.Conv2d(K, K, 1, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.eye(K)[:, :, None, None])
    return Pooled(nn.Sequential(conv, nn.ReLU(inplace=inplace)), read_out(given)), Rows(x, given)


def token_net() -> tuple[nn.Module, Rows]:
    """Texts of a word for the class, three times, and a word of their own if the label is wrong.

    Padding has huge values in every unit that memorizes, which nothing reads.
    """
    truth, given = labels()
    ids = torch.zeros(N, 6, dtype=torch.int32)
    ids[:, :3] = (1 + truth)[:, None].int()
    ids[:OWN, 3] = 3 + torch.arange(OWN, dtype=torch.int32)
    embed = nn.Embedding(3 + OWN, K)
    with torch.no_grad():
        embed.weight.zero_()
        embed.weight[0, 2:] = 1000.0
        embed.weight[1, 0] = embed.weight[2, 1] = 4.0
        embed.weight[3:, 2:] = 4.0 * torch.eye(OWN)
    return Pooled(nn.Sequential(embed, nn.Identity()), read_out(given)), Rows(ids, given)


def vector_net() -> tuple[nn.Module, Rows]:
    """Vectors (B, K) through ReLU; the linear layer reads them."""
    truth, given = labels()
    x = torch.zeros(N, K)
    x[torch.arange(N), truth] = 4.0
    x[torch.arange(OWN), 2 + torch.arange(OWN)] = 1.0
    return nn.ModuleDict({"net": nn.Sequential(nn.ReLU(), read_out(given))})["net"], Rows(x, given)


NETS = {"inner.1": (conv_net, token_net), "0": (vector_net,)}
PLANTED = [
    pytest.param(layer, net, id=net.__name__) for layer, nets in NETS.items() for net in nets
]


@pytest.mark.parametrize(("layer", "net"), PLANTED)
def test_units_that_memorize_a_row_each_are_removed_and_exactly_these_rows_flip(
    layer: str, net: Any
) -> None:
    model, rows = net()
    truth, given = labels()
    with torch.no_grad():
        assert (model(rows.batch.inputs).argmax(dim=1) == given).all()
    removal = remove_inside(model, rows, IN_SAMPLE, "units", layer, 0)
    assert removal.values.keys() == OF_REMOVAL
    told = removal.told
    assert (told["layer"], told["basis"], told["units"]) == (layer, "units", K)
    assert told["removed"] == OWN
    assert torch.equal(removal.values["mem_flip"].bool(), WRONG)
    assert torch.equal(removal.values["mem_relabel"].long(), truth)
    assert torch.equal(removal.values["mem_margin_pruned"] < 0, WRONG)
    # Other units are left as they are, up to the order in which pixels are summed.
    assert removal.values["mem_drop"][~WRONG].abs().max() < 1e-5
    assert told["held_out"] == (1.0, 1.0)
    assert told["fit"] == (1.0, pytest.approx(1 - OWN / 300))
    assert told["index"] == pytest.approx(OWN / 300)
    assert told["is_localizable"]


@pytest.mark.parametrize(("layer", "net"), PLANTED)
@pytest.mark.parametrize("basis", ["directions", "magnitude"])
def test_other_bases_find_the_planted_rows_too_and_padding_counts_for_nothing(
    layer: str, net: Any, basis: Any
) -> None:
    model, rows = net()
    removal = remove_inside(model, rows, IN_SAMPLE, basis, layer, 0)
    flips = removal.values["mem_flip"].bool()
    assert not flips[~WRONG].any()
    assert flips[WRONG].double().mean() > 0.9
    assert removal.told["control_index"] == pytest.approx(OWN / 300, abs=0.01)


def test_a_row_held_out_never_flips_and_is_relabelled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, rows = conv_net()
    truth, _ = labels()
    in_sample = IN_SAMPLE & (torch.arange(N) >= 5)
    # A draw of those that choose without the five: what they need is removed like the rest.
    monkeypatch.setattr("dataprune.probe.removal_inside.MOST_HELD_OUT", 20)
    salt = next(s for s in range(99) if not drawn_held_out(in_sample, 20, s)[:5].any())
    values = remove_inside(model, rows, in_sample, "units", "inner.1", salt).values
    assert torch.equal(values["mem_relabel"].long(), truth)
    assert torch.equal(values["mem_flip"].bool(), WRONG & in_sample)


@pytest.mark.parametrize("basis", ["directions", "magnitude"])
def test_axes_are_those_of_the_training_rows_vectors_at_all_positions(basis: Any) -> None:
    g = torch.Generator().manual_seed(0)
    spread = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    # Held out, the channels spread the other way round.
    scale = torch.where(IN_SAMPLE[:, None], spread, spread.flip(0))
    x = 1 + scale[:, :, None, None] * torch.randn(N, 5, 3, 2, generator=g)
    label = torch.randint(0, 2, (N,), generator=g)  # nothing to learn, so that much may go
    torch.manual_seed(0)
    linear = nn.Linear(5, 2)
    model = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    removal = remove_inside(model, Rows(x, label), IN_SAMPLE, basis, "0", 0)
    removed = removal.told["removed"]
    assert removed > 0
    hidden = x.double().movedim(1, -1).numpy()
    vectors = hidden[IN_SAMPLE.numpy()].reshape(-1, 5)
    if basis == "directions":
        mean = vectors.mean(axis=0)
        kept = np.linalg.eigh(np.cov(vectors.T))[1][:, removed:]
        left = mean + (hidden - mean) @ kept @ kept.T
    else:
        left = hidden.copy()
        left[..., np.argsort((vectors**2).mean(axis=0))[:removed]] = 0
    pooled = left.mean(axis=(1, 2))
    weight, bias = linear.weight.detach().double().numpy(), linear.bias.detach().double().numpy()
    logits = pooled @ weight.T + bias
    every = np.arange(N)
    expected = logits[every, label] - logits[every, 1 - label]
    found = removal.values["mem_margin_pruned"]
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("basis", BASES)
def test_where_no_part_can_go_nothing_changes_and_nothing_is_localizable(basis: Any) -> None:
    truth, given = labels()
    model = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 2))
    removal = remove_inside(model, Rows(torch.eye(2)[truth], given), IN_SAMPLE, basis, "0", 0)
    assert (removal.told["removed"], removal.told["units"]) == (0, 1)
    assert (removal.values["mem_drop"] == 0).all()
    assert (removal.values["mem_flip"] == 0).all()
    assert not removal.told["is_localizable"]


@pytest.mark.parametrize("basis", BASES)
def test_a_layer_read_in_place_is_seen_as_it_was(basis: Any) -> None:
    plain, rows = conv_net()
    in_place, _ = conv_net(inplace=True)
    expected = remove_inside(plain, rows, IN_SAMPLE, basis, "inner.0", 0)
    found = remove_inside(in_place, rows, IN_SAMPLE, basis, "inner.0", 0)
    assert found.told == expected.told
    for name, values in expected.values.items():
        assert torch.equal(found.values[name], values)


def test_the_network_is_left_as_it_was() -> None:
    model, rows = conv_net()
    with torch.no_grad():
        before = model(rows.batch.inputs)
        remove_inside(model, rows, IN_SAMPLE, "units", "inner.1", 0)
        assert torch.equal(model(rows.batch.inputs), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_no_more_held_out_inputs_are_held_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = conv_net()
    held: list[int] = []

    def watch(network: Any, module: Any, inputs: torch.Tensor, given: torch.Tensor) -> Any:
        held.append(len(inputs))
        return worth_of_units(network, module, inputs, given)

    monkeypatch.setattr("dataprune.probe.removal_inside.worth_of_units", watch)
    monkeypatch.setattr("dataprune.probe.removal_inside.MOST_HELD_OUT", 20)
    told = remove_inside(model, rows, IN_SAMPLE, "units", "inner.1", 0).told
    assert held == [20]
    assert told["removed"] == OWN


@pytest.mark.parametrize("kind", ["channels", "hidden units", "units of a block"])
def test_worth_is_the_slope_of_the_loss_as_a_units_output_is_turned_down(kind: str) -> None:
    torch.manual_seed(0)
    layers: list[nn.Module]
    if kind == "channels":
        layers = [nn.Conv2d(2, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(45, 3)]
        x = torch.randn(6, 2, 5, 5)
    elif kind == "hidden units":
        layers = [nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)]
        x = torch.randn(6, 4)
    else:
        layers = [nn.Linear(4, 5), nn.Tanh(), nn.Flatten(), nn.Linear(15, 3)]
        x = torch.randn(6, 3, 4)
    model, label = nn.Sequential(*layers).double(), torch.randint(0, 3, (6,))
    worth_K = worth_of_units(model, model[0], x.double(), label)
    assert worth_K.shape == (5,)
    shape = (1, 5, 1, 1) if kind == "channels" else (5,)
    step = 1e-6

    def loss(unit: int, gate: float) -> float:
        gates = torch.ones(5, dtype=torch.float64)
        gates[unit] = gate
        with torch.no_grad():
            hidden = model[0](x.double()) * gates.view(shape)
            return float(cross_entropy(model[1:](hidden), label).sum())

    for unit in range(5):
        slope = (loss(unit, 1 - step) - loss(unit, 1 + step)) / (2 * step)
        assert float(worth_K[unit]) == pytest.approx(slope, rel=1e-5)
