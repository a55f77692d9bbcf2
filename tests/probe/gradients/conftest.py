"""The slow reference: plain autograd in float64, one example at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from dataprune.probe.gradients import general, gradient_norms


def slow_norms(
    model: nn.Module,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = nn.functional.cross_entropy,
) -> torch.Tensor:
    """Definition 2.1 of Paul et al. 2021 as it is written, float64 (B,)."""
    model = copy.deepcopy(model).double()
    parameters = [p for p in model.parameters() if p.requires_grad]
    norms = []
    for i in range(len(inputs)):
        one = inputs[i : i + 1]
        outputs = model(one.double() if one.is_floating_point() else one)
        target = targets[i : i + 1]
        value = loss(outputs, target.double() if target.is_floating_point() else target)
        gradients = torch.autograd.grad(value, parameters, allow_unused=True)
        norms.append(torch.cat([g.flatten() for g in gradients if g is not None]).norm())
    return torch.stack(norms)


@pytest.fixture(scope="session")
def slow() -> Callable[..., torch.Tensor]:
    return slow_norms


@pytest.fixture(scope="session")
def exact() -> Iterator[Callable[..., None]]:
    """Asserts that the norms of a model's batch are the slow ones, to 1e-4."""

    def check(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor | None = None) -> None:
        model.eval()
        if targets is None:
            with torch.no_grad():
                num_classes = model(inputs).shape[1]
            targets = torch.arange(len(inputs)) % num_classes
        norms = gradient_norms(model, inputs, targets)
        expected = slow_norms(model, inputs, targets)
        assert norms.dtype == torch.float32
        bar = 1e-4 * torch.maximum(expected, 1e-3 * expected.median())
        assert bool(((norms.double() - expected).abs() <= bar).all()), (norms, expected)

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield check
    torch.set_num_threads(before)


@pytest.fixture
def slow_parameters(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many parameters took the general path, one entry per batch that needed it."""
    counts: list[int] = []
    original = general.GeneralPath.squared

    def squared(self: general.GeneralPath, parameters: list[torch.Tensor], *rest: torch.Tensor):
        counts.append(len(parameters))
        return original(self, parameters, *rest)

    monkeypatch.setattr(general.GeneralPath, "squared", squared)
    return counts


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
