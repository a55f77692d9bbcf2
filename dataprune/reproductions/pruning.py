"""Remove neurons in an order, and see what the network still knows (figure 6 of arXiv 2310.13061).

A pruned neuron's rows of U and V and its column of W are zero: its term is missing from the sum
that the read-out makes. Legend of shapes: B examples, T training examples, N neurons, P modulus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from dataprune.reproductions.grok_data import ModularData
from dataprune.reproductions.grok_model import QuadraticMlp

Order = Literal["low_ipr", "high_ipr", "small"]
IN_WORDS: dict[Order, str] = {
    "low_ipr": "low IPR first",
    "high_ipr": "high IPR first",
    "small": "small first",
}
PERCENTS = tuple(range(0, 101, 5))


@dataclass(frozen=True)
class Pruned:
    """What is left after `percent` of the neurons are gone; accuracies are shares.

    corrupted: of the examples whose training label is wrong, those still given that label.
    relabelled: of the same examples, those given their true label, which was never shown.
    uncorrupted: of the other training examples, those given their label.
    test: of the examples not trained on, those given the truth.
    Shares of nothing are None.
    """

    percent: int
    corrupted: float | None
    relabelled: float | None
    uncorrupted: float | None
    test: float


def orders(ipr_N: torch.Tensor, size_N: torch.Tensor) -> dict[Order, torch.Tensor]:
    """Which neuron goes first, by each rule, int64 (N,); ties go by the neuron's number.

    Small first is a control: it knows nothing of Fourier transforms.
    """
    return {
        "low_ipr": ipr_N.argsort(stable=True),
        "high_ipr": ipr_N.argsort(descending=True, stable=True),
        "small": size_N.argsort(stable=True),
    }


def sizes(hidden_BN: torch.Tensor, W_NP: torch.Tensor) -> torch.Tensor:
    """Variance of what a neuron adds to the logits, over examples, summed over them: (N,)."""
    return hidden_BN.double().var(dim=0) * W_NP.double().square().sum(dim=1)


def prune_neurons(
    model: QuadraticMlp, data: ModularData, hidden_BN: torch.Tensor, order_N: torch.Tensor
) -> list[Pruned]:
    """Prune 0, 5, ..., 100 % of the neurons, `order_N` first to last; the share is rounded down.

    hidden_BN: `model.hidden` of all examples in eval mode.

    The logits are summed from the last neuron to the first, so one pass gives all levels, and at
    100 % they are zero exactly.
    """
    num_neurons = len(order_N)
    W_NP = model.W_NP.detach()
    logits_BP = torch.zeros(len(hidden_BN), data.p, dtype=W_NP.dtype)
    found = []
    end = num_neurons
    for percent in reversed(PERCENTS):
        start = num_neurons * percent // 100
        added = order_N[start:end]
        logits_BP += hidden_BN[:, added] @ W_NP[added]
        end = start
        found.append(_measure(percent, logits_BP.argmax(dim=1), data))
    return found[::-1]


def _measure(percent: int, answer_B: torch.Tensor, data: ModularData) -> Pruned:
    answer_T, truth_T = answer_B[: data.num_train], data.truth_B[: data.num_train]
    is_wrong_T = data.is_wrong_T
    test = share(answer_B[data.num_train :] == data.truth_B[data.num_train :])
    assert test is not None
    return Pruned(
        percent,
        corrupted=share((answer_T == data.label_T)[is_wrong_T]),
        relabelled=share((answer_T == truth_T)[is_wrong_T]),
        uncorrupted=share((answer_T == data.label_T)[~is_wrong_T]),
        test=test,
    )


def share(is_so: torch.Tensor) -> float | None:
    """The share that is True; None of nothing."""
    return is_so.double().mean().item() if len(is_so) else None
