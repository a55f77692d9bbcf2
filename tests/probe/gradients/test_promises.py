"""What is refused and how, what is left as it was, and which precision is kept."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dataprune.core.errors import UsageError
from dataprune.probe.gradients import GradientNorms, gradient_norms
from dataprune.probe.gradients.losses import cross_entropy
from dataprune.probe.train import pinned_arithmetic


def network() -> nn.Sequential:
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 3)).eval()


INPUTS, TARGETS = torch.randn(6, 2, 4, 4), torch.arange(6) % 3


def state(model: nn.Module) -> dict[str, object]:
    """What must not change: values, flags, gradients, hooks, modes, torch's own settings."""
    return {
        "values": {k: v.clone() for k, v in model.state_dict().items()},
        "flags": [(p.requires_grad, p.grad, p._backward_hooks) for p in model.parameters()],
        "hooks": [(len(m._forward_hooks), len(m._backward_hooks)) for m in model.modules()],
        "modes": [m.training for m in model.modules()],
        "random": torch.get_rng_state(),
        "torch": (
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
            torch.is_autocast_enabled("cpu"),
            torch.get_num_threads(),
        ),
    }


def assert_same(before: dict[str, object], after: dict[str, object]) -> None:
    torch.testing.assert_close(after.pop("values"), before.pop("values"), rtol=0, atol=0)
    torch.testing.assert_close(after.pop("random"), before.pop("random"))
    assert after == before


def test_nothing_is_changed_by_success_or_by_failure() -> None:
    model = network()
    model[0].bias.requires_grad_(False)
    inputs = INPUTS.clone().requires_grad_()
    before = state(model)
    gradient_norms(model, inputs, TARGETS)
    assert_same(copy.deepcopy(before), state(model))
    assert inputs.grad is None

    def failing(outputs: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError

    def failing_hook(module: nn.Module, grads: object, of_outputs: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), GradientNorms(model) as norms:
        norms(INPUTS, failing)
    assert_same(copy.deepcopy(before), state(model))
    model[2].register_full_backward_hook(failing_hook)
    hooked = state(model)
    with pytest.raises(ZeroDivisionError):
        gradient_norms(model, INPUTS, TARGETS)
    assert_same(hooked, state(model))
    model[2]._backward_hooks.clear()
    with pytest.raises(UsageError), GradientNorms(model) as norms:
        norms(INPUTS, lambda z: cross_entropy(z, TARGETS).mean())
    assert_same(before, state(model))


def test_inputs_and_other_tensors_that_require_gradients_do_not_count(
    slow: Callable[..., torch.Tensor], slow_parameters: list[int]
) -> None:
    model = network()
    expected = slow(model, INPUTS, TARGETS)
    found = gradient_norms(model, INPUTS.clone().requires_grad_(), TARGETS)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)
    more = torch.ones(2, 1, 1, requires_grad=True)
    other = Wrapped(lambda net, x: net(x * more)).eval()
    other.inside = model
    found = gradient_norms(other, INPUTS, TARGETS)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)
    assert not slow_parameters


def test_gradients_already_there_stay() -> None:
    model = network()
    model(INPUTS).sum().backward()
    kept = [p.grad.clone() for p in model.parameters()]
    gradient_norms(model, INPUTS, TARGETS)
    for parameter, grad in zip(model.parameters(), kept, strict=True):
        assert torch.equal(parameter.grad, grad)


def test_the_same_bits_each_time_inside_no_grad_and_pinned() -> None:
    model = network()
    with pinned_arithmetic(1, "cpu", torch.__version__):
        first = gradient_norms(model, INPUTS, TARGETS)
        with torch.no_grad():
            again = gradient_norms(model, INPUTS, TARGETS)
        with GradientNorms(model) as norms:
            for _ in range(2):
                assert torch.equal(norms(INPUTS, lambda z: cross_entropy(z, TARGETS))[1], first)
    assert torch.equal(again, first)
    assert bool((first > 0).all())


def test_the_outputs_are_those_of_the_model_and_detached() -> None:
    model = network()
    with GradientNorms(model) as norms:
        outputs, found = norms(INPUTS, lambda z: cross_entropy(z, TARGETS))
    assert torch.equal(outputs, model(INPUTS).detach())
    assert not outputs.requires_grad
    assert not found.requires_grad


def test_an_empty_batch_has_no_norms() -> None:
    assert gradient_norms(network(), INPUTS[:0], TARGETS[:0]).shape == (0,)


def named(match: str) -> pytest.RaisesExc[UsageError]:
    return pytest.raises(UsageError, match=match)


def test_training_mode_is_refused_by_module() -> None:
    model = network()
    model[3].train()
    with named(r"module 3 \(Dropout\) is in training mode"):
        gradient_norms(model, INPUTS, TARGETS)
    with named("the model .* is in training mode"):
        gradient_norms(model.train(), INPUTS, TARGETS)


def test_a_batch_norm_without_statistics_is_refused_by_module() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False), nn.Flatten()).eval()
    with named(r"module 0 \(BatchNorm2d\) has no running statistics"):
        gradient_norms(model, INPUTS, TARGETS)


class Wrapped(nn.Module):
    """A network whose inside is given as a function."""

    def __init__(self, run: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inside, self.run = network(), run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs to outputs (B, C)."""
        return self.run(self.inside, x)


@pytest.mark.parametrize(
    ("run", "match"),
    [
        (lambda net, x: net(x - x.mean(0)), "depend on the other examples"),
        (lambda net, x: net(x) - net(x).mean(), "depend on the other examples"),
        (lambda net, x: net(x.flip(0)), "depend on the other examples"),
        (lambda net, x: net(nn.functional.dropout(x, 0.5)), "draws random numbers|depend on"),
        (lambda net, x: net(x) + torch.rand(3)[:, None].sum() * 1e-9, "draws random numbers"),
        (lambda net, x: (net(x),), "returned tuple"),
        (lambda net, x: net(x).sum(0), r"outputs for 6 examples have shape \(3,\)"),
        (lambda net, x: net[-1](net[:-1](x).exp().sub_(1).exp_()), "no gradient of the model"),
        (
            lambda net, x: checkpoint(net, x.requires_grad_(), use_reentrant=True),
            "reentrant checkpoints",
        ),
    ],
)
def test_models_without_per_example_gradients_are_refused(
    run: Callable[[nn.Module, torch.Tensor], torch.Tensor], match: str
) -> None:
    model = Wrapped(run).eval()
    before = torch.get_rng_state()
    with named(match):
        gradient_norms(model, INPUTS.clone(), TARGETS)
    assert torch.equal(torch.get_rng_state(), before)


def test_activation_checkpoints_are_exact(slow: Callable[..., torch.Tensor]) -> None:
    model = Wrapped(lambda net, x: checkpoint(net, x, use_reentrant=False)).eval()
    expected = slow(model.inside, INPUTS, TARGETS)
    torch.testing.assert_close(
        gradient_norms(model, INPUTS, TARGETS).double(), expected, rtol=1e-4, atol=0
    )


def test_a_model_with_nothing_to_train_is_refused() -> None:
    with named("no trainable parameter"):
        gradient_norms(network().requires_grad_(False), INPUTS, TARGETS)


def test_inference_tensors_are_refused() -> None:
    with torch.inference_mode():
        inputs = INPUTS.clone()
        model = network()
        with named("inference_mode"):
            gradient_norms(network(), INPUTS, TARGETS)
    with named("inference_mode"):
        gradient_norms(network(), inputs, TARGETS)
    with named("inference mode"):
        gradient_norms(model, INPUTS, TARGETS)


@pytest.mark.parametrize(
    ("targets", "loss", "match"),
    [
        (TARGETS[:5], "cross_entropy", "5 targets for 6 inputs"),
        (TARGETS + 1, "cross_entropy", "no class indices below 3"),
        (TARGETS.float(), "cross_entropy", "no class indices"),
        (TARGETS, "binary_cross_entropy", "cannot compare"),
        (TARGETS, "mse", "cannot compare"),
        (TARGETS, "cross_entropi", "no loss 'cross_entropi'"),
        (TARGETS, lambda z, _: z, "not their mean|shape"),
        (TARGETS, lambda z, _: z.detach().sum(1), "differentiate"),
    ],
)
def test_losses_and_targets_that_do_not_fit_are_refused(
    targets: torch.Tensor, loss: object, match: str
) -> None:
    with named(match):
        gradient_norms(network(), INPUTS, targets, loss=loss)  # type: ignore[arg-type]


def test_half_precision_is_summed_in_float32(slow: Callable[..., torch.Tensor]) -> None:
    model = network()
    expected = slow(model, INPUTS, TARGETS).float()
    half = gradient_norms(copy.deepcopy(model).bfloat16(), INPUTS.bfloat16(), TARGETS)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = gradient_norms(model, INPUTS, TARGETS)
    for norms in (half, mixed):
        assert norms.dtype == torch.float32
        torch.testing.assert_close(norms, expected, rtol=0.05, atol=0)
    double = gradient_norms(copy.deepcopy(model).double(), INPUTS.double(), TARGETS)
    torch.testing.assert_close(double, expected, rtol=1e-6, atol=0)
