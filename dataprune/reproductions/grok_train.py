"""One run: train the network, and note at some steps what it has learned.

Appendix A: mean squared error to one-hot labels, a mean over examples and outputs, so that a
network that is all zero has the loss 1/p; AdamW with betas (0.9, 0.98). Legend of shapes: B
examples, T training examples, P the modulus.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from dataprune.core.errors import ProbeError
from dataprune.reproductions.grok_data import ModularData
from dataprune.reproductions.grok_model import QuadraticMlp
from dataprune.reproductions.grok_recipe import GrokRun
from dataprune.reproductions.timing import auroc, error_norms

EARLY_STEPS = (0, 2, 5, 10, 20, 50, 100)  # while training labels are learned by heart
_BETAS, _EPS = (0.9, 0.98), 1e-8


@dataclass(frozen=True)
class Checkpoint:
    """What the network has learned after so many steps, in eval mode.

    train_accuracy is of the labels as given, corrupted ones included; test_accuracy of the truth.
    el2n_auroc: how well the norm of a training example's error tells corrupted labels from right
        ones (0.5: not at all); None where all labels are of one kind.
    """

    step: int
    train_accuracy: float
    test_accuracy: float
    train_loss: float
    test_loss: float
    el2n_auroc: float | None


OnCheckpoint = Callable[[Checkpoint], None]


def train(
    model: QuadraticMlp,
    data: ModularData,
    run: GrokRun,
    *,
    every: int,
    generator: torch.Generator,
    on_checkpoint: OnCheckpoint,
) -> list[Checkpoint]:
    """Train in place for run.steps steps; checkpoints early on, each `every` steps, and at the end.

    generator: draws the order of mini-batches and what dropout drops.

    Raises:
        ProbeError: the loss is no longer a number.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=run.lr, betas=_BETAS, eps=_EPS, weight_decay=run.weight_decay
    )
    target_TP = nn.functional.one_hot(data.label_T, data.p).to(model.W_NP.dtype)
    batches = _batches(data.num_train, run.batch_size, generator)
    checkpoints = []
    for step in range(run.steps + 1):
        if step:
            rows = next(batches)
            model.train()
            logits_BP = model(data.left_B[rows], data.right_B[rows], generator)
            loss = nn.functional.mse_loss(logits_BP, target_TP[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if step % every == 0 or step in EARLY_STEPS or step == run.steps:
            checkpoint = look(model, data, step)
            if not math.isfinite(checkpoint.train_loss):
                raise ProbeError(
                    f"run {run.name} diverged before step {step}", hint="lower its lr in the recipe"
                )
            checkpoints.append(checkpoint)
            on_checkpoint(checkpoint)
    return checkpoints


def look(model: QuadraticMlp, data: ModularData, step: int) -> Checkpoint:
    """Measure the network on all examples, in eval mode."""
    model.eval()
    with torch.no_grad():
        logits_BP = model(data.left_B, data.right_B)
    num_train = data.num_train
    given_B = torch.cat([data.label_T, data.truth_B[num_train:]])
    is_right_B = logits_BP.argmax(dim=1) == given_B
    norm_B = error_norms(logits_BP, given_B)
    loss_B = norm_B.square() / data.p
    return Checkpoint(
        step,
        train_accuracy=is_right_B[:num_train].double().mean().item(),
        test_accuracy=is_right_B[num_train:].double().mean().item(),
        train_loss=loss_B[:num_train].mean().item(),
        test_loss=loss_B[num_train:].mean().item(),
        el2n_auroc=auroc(norm_B[:num_train], data.is_wrong_T),
    )


def _batches(
    num_train: int, batch_size: int | None, generator: torch.Generator
) -> Iterator[torch.Tensor | slice]:
    """Rows of each step, without end; an epoch's last rows wait if they do not fill a batch."""
    while True:
        if batch_size is None:
            yield slice(0, num_train)
            continue
        order = torch.randperm(num_train, generator=generator)
        yield from order[: num_train - num_train % batch_size].view(-1, batch_size)
