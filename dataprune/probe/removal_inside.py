"""What a probe knows by heart, removed inside the network: from the output of one of its modules.

As `removal.py`, with a forward pass of the edited network where that has a linear read-out:

- units: channels of (B, K, H, W), else the last dimension of (B, K) or (B, T, K). A removed unit
  is 0 at all positions. Worth is to first order, - mean over held-out rows of the sum over
  positions of a dloss/da: how much the loss would rise.
- directions: principal directions of the vectors at all positions of the training rows, around
  their mean; what varies along a removed one is set to the mean.
- magnitude: units by mean square over positions of the training rows. There is no plain read-out
  here, whose size could count.

Where the inputs are token ids (B, T), id 0 is padding by the convention of text models: its
positions count in no moments. They are edited like all others.

Shape suffixes: N rows, H held-out rows that choose, B batch, T positions, C outputs, K units.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from dataprune.probe.data import Batches
from dataprune.probe.memorization import (
    Answers,
    Axes,
    Basis,
    Choice,
    answers_of,
    choose_level,
    cross_entropy,
    directions,
    levels_of,
    units,
)
from dataprune.probe.moments import Moments
from dataprune.probe.removal import Removal, drawn_held_out, joined, removal_of, with_control
from dataprune.probe.train import SCORE_BATCH

# Each level is a forward pass over the held-out rows, whose inputs are held.
LEVELS = 20
MOST_HELD_OUT = 2_000

Edit = Callable[[torch.Tensor], torch.Tensor | None]


@dataclass(frozen=True)
class _Seen:
    """What the first pass keeps: moments of training rows, inputs of held-out rows."""

    trained: Moments
    held_out: list[tuple[torch.Tensor, torch.Tensor]]
    before: Answers


@torch.no_grad()
def remove_inside(
    model: nn.Module,
    batches: Batches,
    in_sample: torch.Tensor,
    basis: Basis,
    layer: str,
    *salt: int | str,
) -> Removal:
    """Choose what is removed from the module named `layer`, and see what the network then answers.

    in_sample: bool (N,), the rows trained on; of the others up to 2,000, drawn by the salt, choose.
    A plain and, for the basis and the control, an edited pass over all rows, in eval mode.
    """
    model.eval()
    module = model.get_submodule(layer)
    chosen = drawn_held_out(in_sample, MOST_HELD_OUT, *salt)
    seen = _look(model, module, batches, in_sample, chosen)
    found: dict[Basis, tuple[Choice, Answers]] = {}
    for each in with_control(basis):
        axes = _axes(model, module, seen, each)
        choice = _choose(model, module, axes, seen, seen.before.right_B[chosen])
        after = seen.before
        if choice.removed:
            with editing(module, _without(axes, choice.removed)):
                after = _answers(model, batches)
        found[each] = choice, after
    num_units = len(seen.trained.mean_K)
    return removal_of(layer, basis, num_units, in_sample, seen.before, found)


@contextlib.contextmanager
def editing(module: nn.Module, edit: Edit) -> Iterator[None]:
    """Inside, what the module gives goes through `edit`; None leaves it as it is."""
    handle = module.register_forward_hook(lambda _module, _args, output: edit(output))
    try:
        yield
    finally:
        handle.remove()


def worth_of_units(
    model: nn.Module, module: nn.Module, inputs: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """How much the rows' summed loss would rise without each unit, to first order, (K,)."""
    leaves: list[torch.Tensor] = []

    def as_leaf(output: torch.Tensor) -> torch.Tensor:
        leaves.append(output.detach().requires_grad_())
        return leaves[-1].clone()  # what reads it may work in place

    with torch.enable_grad(), editing(module, as_leaf):
        loss = cross_entropy(model(inputs), labels).sum()
        (gradient,) = torch.autograd.grad(loss, leaves)
    rise = -units_last(leaves[0].detach()).double() * units_last(gradient).double()
    return rise.flatten(0, -2).sum(dim=0)


def units_last(output: torch.Tensor) -> torch.Tensor:
    """(B, K, H, W) -> (B, H, W, K); (B, K) and (B, T, K) as they are."""
    return output.movedim(1, -1) if output.dim() == 4 else output


def _look(
    model: nn.Module,
    module: nn.Module,
    batches: Batches,
    in_sample: torch.Tensor,
    chosen: torch.Tensor,
) -> _Seen:
    trained = Moments()
    inputs, labels, before = [], [], []
    for batch in batches.in_order(SCORE_BATCH[batches.device.type]):
        outputs_BC, values = _with_values(model, module, batch.inputs)
        trained.add(_vectors(batch.inputs, values, in_sample[batch.rows]))
        here = chosen[batch.rows]
        inputs.append(batch.inputs[here])
        labels.append(batch.targets[here])
        before.append(answers_of(outputs_BC.double(), batch.targets))
    size = SCORE_BATCH[batches.device.type]
    held_out = zip(
        torch.split(torch.cat(inputs), size), torch.split(torch.cat(labels), size), strict=True
    )
    return _Seen(trained, list(held_out), joined(before))


def _answers(model: nn.Module, batches: Batches) -> Answers:
    """To all rows."""
    every = batches.in_order(SCORE_BATCH[batches.device.type])
    return joined([answers_of(model(batch.inputs).double(), batch.targets) for batch in every])


def _with_values(
    model: nn.Module, module: nn.Module, inputs: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The model's outputs, and what the module gave, with its units last."""
    values: list[torch.Tensor] = []

    def keep(output: torch.Tensor) -> None:
        values.append(output.clone())  # what reads it may work in place

    with editing(module, keep):
        outputs_BC: torch.Tensor = model(inputs)
    return outputs_BC, units_last(values[0])


def _vectors(inputs: torch.Tensor, values: torch.Tensor, here: torch.Tensor) -> torch.Tensor:
    """The vectors at all positions of the rows of a mask (B,), padding left out, (n, K)."""
    if not inputs.is_floating_point() and inputs.shape == values.shape[:-1]:
        return values[(inputs != 0) & here[:, None]]
    return values[here].flatten(0, -2)


def _axes(model: nn.Module, module: nn.Module, seen: _Seen, basis: Basis) -> Axes:
    if basis == "directions":
        return directions(seen.trained)
    if basis == "magnitude":
        return units(seen.trained.mean_square_K)
    worth = [worth_of_units(model, module, *part) for part in seen.held_out]
    return units(torch.stack(worth).sum(dim=0))


def _choose(
    model: nn.Module, module: nn.Module, axes: Axes, seen: _Seen, right_H: torch.Tensor
) -> Choice:
    """right_H: which of the held-out rows are right with nothing removed."""
    levels = levels_of(len(axes.start_K), LEVELS)
    right = [right_H]
    for removed in levels[1:]:
        with editing(module, _without(axes, removed)):
            right.append(
                torch.cat([model(x).argmax(dim=1) == label_B for x, label_B in seen.held_out])
            )
    return choose_level(levels, right)


def _without(axes: Axes, removed: int) -> Edit:
    matrix_KK, shift_K = axes.without(removed)

    def edit(output: torch.Tensor) -> torch.Tensor:
        left = units_last(output) @ matrix_KK.to(output) + shift_K.to(output)
        return left.movedim(-1, 1) if output.dim() == 4 else left

    return edit
