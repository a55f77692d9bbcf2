"""Parameters that are shared, bare, frozen, functions of others, or used in unknown ways."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from dataprune.probe.gradients import GradientNorms
from dataprune.probe.gradients.losses import cross_entropy

Exact = Callable[..., None]


class Net(nn.Module):
    """A network written as a function of its parts, for what no layer does."""

    def __init__(
        self, run: Callable[[Net, torch.Tensor], torch.Tensor], **parts: nn.Module | nn.Parameter
    ) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs to outputs (B, C)."""
        return self.run(self, x)


def bare(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


FAST: dict[str, Callable[[], Net]] = {
    "a layer called twice": lambda: Net(
        lambda s, x: s.out(s.conv(s.conv(x).relu()).flatten(1)),
        conv=nn.Conv2d(4, 4, 3, padding=1),
        out=nn.Linear(100, 3),
    ),
    "a linear layer called twice": lambda: Net(
        lambda s, x: s.out(s.mix(s.mix(x.flatten(2)).relu()).mean(1)),
        mix=nn.Linear(25, 25),
        out=nn.Linear(25, 3),
    ),
    "a weight and its transpose": lambda: Net(
        lambda s, x: nn.functional.linear(
            nn.functional.linear(x.flatten(1), s.weight).tanh(), s.weight.t()
        )[:, :3],
        weight=bare(6, 100),
    ),
    "a scale per channel": lambda: Net(
        lambda s, x: s.out((s.scale * s.conv(x)).flatten(1)),
        conv=nn.Conv2d(4, 4, 3),
        scale=bare(4, 1, 1),
        out=nn.Linear(36, 3),
    ),
    "a scale of the inputs": lambda: Net(
        lambda s, x: s.out((x * s.scale - s.shift).flatten(1)),
        scale=bare(5, 5),
        shift=bare(1, 4, 1, 1),
        out=nn.Linear(100, 3),
    ),
    "slices of positions": lambda: Net(
        lambda s, x: s.out((x.flatten(2) + s.position[:4] + s.position[3:7].flip(0)).flatten(1)),
        position=bare(9, 25),
        out=nn.Linear(100, 3),
    ),
    "a token in front": lambda: Net(
        lambda s, x: s.out(
            torch.cat([s.token.expand(len(x), -1, -1), x.flatten(2)], 1).square().sum(1)
        ),
        token=bare(1, 1, 25),
        out=nn.Linear(25, 3),
    ),
    "a token repeated": lambda: Net(
        lambda s, x: s.out((s.token.repeat(len(x), 1, 1) * x.flatten(2)).flatten(1)),
        token=bare(4, 25),
        out=nn.Linear(100, 3),
    ),
    "a token where something holds": lambda: Net(
        lambda s, x: s.out(torch.where(x > 0, s.token, s.conv(x)).flatten(1)),
        token=bare(5),
        conv=nn.Conv2d(4, 4, 3, padding=1),
        out=nn.Linear(100, 3),
    ),
    "a product by matmul and einsum": lambda: Net(
        lambda s, x: torch.einsum("btd,dk->bk", x.flatten(2) @ s.one, s.two),
        one=bare(25, 6),
        two=bare(6, 3),
    ),
    "a product from the left": lambda: Net(
        lambda s, x: (s.one @ x.flatten(1).t()).t() + s.one.sum(1), one=bare(3, 100)
    ),
    "weight normalisation": lambda: Net(
        lambda s, x: s.out(s.conv(x).flatten(1)),
        conv=nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)),
        out=nn.utils.parametrizations.weight_norm(nn.Linear(36, 3)),
    ),
    "a weight that is standardised": lambda: Net(
        lambda s, x: s.out(nn.functional.conv2d(x, (s.w - s.w.mean()) / s.w.std()).flatten(1)),
        w=bare(4, 4, 3, 3),
        out=nn.Linear(36, 3),
    ),
    "changed in place after a layer": lambda: Net(
        lambda s, x: s.out(nn.functional.relu_(s.norm(s.conv(x)).add_(1)).flatten(1)),
        conv=nn.Conv2d(4, 4, 3),
        norm=nn.BatchNorm2d(4),
        out=nn.Linear(36, 3),
    ),
    "parameters that are not used, or not differentiably": lambda: Net(
        lambda s, x: s.out(x.flatten(1)) + s.cut.detach(),
        out=nn.Linear(100, 3),
        unused=bare(7),
        cut=bare(3),
    ),
}


@pytest.mark.parametrize("kind", FAST)
def test_uses_of_parameters_are_exact_without_the_general_path(
    exact: Exact, slow_parameters: list[int], kind: str
) -> None:
    exact(FAST[kind](), torch.randn(6, 4, 5, 5))
    assert not slow_parameters


class Doubled(torch.autograd.Function):
    """A user's own operation, with a parameter."""

    @staticmethod
    def forward(ctx, x, weight):  # type: ignore[no-untyped-def]
        """Inputs (B, D) and weight (D,) -> (B, D)."""
        ctx.save_for_backward(x, weight)
        return 2 * x * weight

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        """Its gradients."""
        x, weight = ctx.saved_tensors
        return 2 * grad * weight, 2 * (grad * x).sum(0)


class Recurrent(nn.Module):
    """The last state of an LSTM over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.out = nn.LSTM(25, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs to outputs (B, C)."""
        return self.out(self.cells(x.flatten(2))[0][:, -1])


SLOW: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "an LSTM": (Recurrent, 4),
    "a division": (
        lambda: Net(lambda s, x: s.out(x.flatten(1) / s.by), by=bare(100), out=nn.Linear(100, 3)),
        1,
    ),
    "an operation of the user's own": (
        lambda: Net(
            lambda s, x: s.out(Doubled.apply(x.flatten(1), s.by)),
            by=bare(100),
            out=nn.Linear(100, 3),
        ),
        1,
    ),
    "a loop over examples": (
        lambda: Net(
            lambda s, x: s.out(torch.stack([s.mix(example.flatten()) for example in x])),
            mix=nn.Linear(100, 5),
            out=nn.Linear(5, 3),
        ),
        4,
    ),
    "a token repeated within examples": (
        lambda: Net(
            lambda s, x: s.out((s.token.repeat(len(x), 4, 1) * x.flatten(2)).flatten(1)),
            token=bare(1, 25),
            out=nn.Linear(100, 3),
        ),
        1,
    ),
}


@pytest.mark.parametrize("kind", SLOW)
def test_other_uses_take_the_general_path_and_are_exact(
    exact: Exact, slow_parameters: list[int], kind: str
) -> None:
    build, num_slow = SLOW[kind]
    exact(build(), torch.randn(5, 4, 5, 5))
    assert slow_parameters == [num_slow]


def test_control_flow_on_values_takes_the_loop(exact: Exact, slow_parameters: list[int]) -> None:
    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        assert float(x.detach().abs().sum()) >= 0  # vmap cannot look at values
        return net.out(x.flatten(1) / net.by)

    exact(Net(run, by=bare(100), out=nn.Linear(100, 3)), torch.randn(5, 4, 5, 5))
    assert slow_parameters == [1]


def test_frozen_parameters_do_not_count(exact: Exact) -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(54, 3)
    )
    inputs = torch.randn(6, 4, 5, 5)
    model[0].requires_grad_(False)
    exact(model, inputs)
    model[0].bias.requires_grad_(True)
    model[1].weight.requires_grad_(False)
    model[4].weight.requires_grad_(False)
    exact(model, inputs)
    model.requires_grad_(False)
    model[4].bias.requires_grad_(True)
    exact(model, inputs)


def test_what_is_trainable_may_change_between_batches(
    one_thread: None, slow: Callable[..., torch.Tensor]
) -> None:
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
    inputs, targets = torch.randn(5, 8), torch.arange(5) % 3
    with GradientNorms(model) as norms:
        for frozen in (False, True, False):
            model[0].requires_grad_(not frozen)
            found = norms(inputs, lambda z: cross_entropy(z, targets))[1]
            torch.testing.assert_close(
                found.double(), slow(model, inputs, targets), rtol=1e-4, atol=0
            )


class Gated(nn.Module):
    """A layer over (T, B, D), shut off for the examples whose first number is not above 0."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.read_out = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Inputs (B, T, 8) to outputs (B, 3)."""
        h_BD = self.inside(x_BTD.transpose(0, 1).contiguous()).tanh().sum(0)
        outputs: torch.Tensor = self.read_out(h_BD * (x_BTD[:, 0, 0] > 0)[:, None])
        return outputs


def test_a_layer_that_no_gradient_reached_in_the_first_batch_is_exact_in_the_next(
    slow: Callable[..., torch.Tensor],
) -> None:
    model, targets = Gated().eval(), torch.arange(9) % 3
    shut, opened = torch.randn(9, 5, 8), torch.randn(9, 5, 8)
    shut[:, 0, 0], opened[:, 0, 0] = -1, 1
    with GradientNorms(model) as norms:
        for inputs in (shut, opened, shut):
            found = norms(
                inputs, lambda z: nn.functional.cross_entropy(z, targets, reduction="none")
            )
            assert found[1] == pytest.approx(slow(model, inputs, targets).float(), rel=1e-4)


@pytest.mark.parametrize("batch", [2, 3, 4, 8, 17])
def test_a_sequence_of_which_one_place_counts_is_exact_at_any_batch_size(
    exact: Exact, batch: int
) -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside, self.read_out = nn.Linear(8, 6), nn.Linear(6, 3)

        def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
            hidden = self.inside(x_BTD.transpose(0, 1).contiguous()).tanh()
            return self.read_out(hidden[0])

    for places in (3, 4, 9, 16):
        exact(First(), torch.randn(batch, places, 8))


class Scaled(nn.Module):
    """Ends in a temperature, which is a parameter without dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.temperature = nn.Linear(8, 3), nn.Parameter(torch.tensor(1.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs (B, 8) to outputs (B, 3)."""
        outputs: torch.Tensor = self.inside(x) * self.temperature.exp()
        return outputs


def test_a_parameter_without_dimensions_counts(exact: Exact) -> None:
    exact(Scaled(), torch.randn(7, 8))
