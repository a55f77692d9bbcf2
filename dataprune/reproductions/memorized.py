"""Which training examples a network of the paper knows by heart: our extension, held to the truth.

The paper finds memorizing neurons by their period; `probe/memorization.py` does without, from
held-out examples whose labels are as noisy as those trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dataprune.probe.memorization import BASES, Basis, Layer, remove_memorized, squared_error
from dataprune.reproductions.grok_data import ModularData
from dataprune.reproductions.pruning import share
from dataprune.reproductions.timing import auroc

_MOST_HELD_OUT = 1000


@dataclass(frozen=True)
class MemorizedPart:
    """One way of removal, against which labels are known to be wrong; shares, None of nothing.

    removed, index, index_se, is_localizable, held_out: as `memorization.py` has them.
    score_auroc: of minus the margin after removal, for wrong labels among training labels.
    fitted: of the wrong labels, those that the network had learned. flip_recall: of the wrong
        labels, those that flip: at best as many. flip_precision: of the examples that flip, those
        with a wrong label. relabelled: of the wrong labels, those given the truth after removal.
    """

    removed: int
    index: float
    index_se: float
    is_localizable: bool
    held_out: tuple[float, float]
    score_auroc: float | None
    fitted: float | None
    flip_recall: float | None
    flip_precision: float | None
    relabelled: float | None


def noisy_held_out(
    data: ModularData, xi: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Up to 1,000 examples not trained on, and labels of which a share xi is drawn at random."""
    rest = len(data.truth_B) - data.num_train
    chosen = data.num_train + torch.randperm(rest, generator=generator)[:_MOST_HELD_OUT]
    label = data.truth_B[chosen].clone()
    drawn = torch.rand(len(label), generator=generator) < xi
    label[drawn] = torch.randint(0, data.p, (int(drawn.sum()),), generator=generator)
    return chosen, label


def memorized_parts(
    hidden_BN: torch.Tensor,
    W_NP: torch.Tensor,
    data: ModularData,
    held_out: tuple[torch.Tensor, torch.Tensor],
) -> dict[Basis, MemorizedPart]:
    """Remove the memorized part in each basis, and compare with the truth."""
    chosen, label_H = held_out
    num = data.num_train
    layer = Layer(
        hidden_BN[:num], data.label_T, hidden_BN[chosen], label_H, W_NP, torch.zeros(data.p)
    )
    wrong_T, truth_T = data.is_wrong_T, data.truth_B[:num]
    found = {}
    for basis in BASES:
        part = remove_memorized(layer, basis, squared_error)
        fit_T = part.before.margin_B > 0
        found[basis] = MemorizedPart(
            part.removed,
            part.about.index,
            part.about.index_se,
            part.about.is_localizable,
            part.about.held_out,
            score_auroc=auroc(-part.after.margin_B, wrong_T),
            fitted=share(fit_T[wrong_T]),
            flip_recall=share(part.flip_T[wrong_T]),
            flip_precision=share(wrong_T[part.flip_T]),
            relabelled=share((part.after.answer_B == truth_T)[wrong_T]),
        )
    return found
