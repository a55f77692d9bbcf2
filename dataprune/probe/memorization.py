"""What a trained network knows by heart, taken out of one layer: experimental, our extension.

"To grok or not to grok" (arXiv 2310.13061) finds neurons that memorize by their Fourier transform,
which wants a task whose general solution is periodic. Here held-out examples say what generalizes:
that part of a layer is removed which held-out answers do not miss. Two bases, and a control:

- units (M1): hidden units, those first whose removal raises the held-out loss least;
- directions (M2): principal directions of the training rows' activations, least variance first;
- magnitude: units that add least to the outputs first. It knows nothing of held-out examples.

A row that was fitted before and is not after was memorized; what the rest says instead is its
relabelling. Memorized is not mislabelled: rare and odd rows are memorized, too, and a network that
resists noise memorizes nothing of it. Whether the label is contradicted by what generalizes is told
by the margin after removal alone.

Legend of shapes: T training rows, H held-out rows, K hidden units, C outputs, L levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

Basis = Literal["units", "directions", "magnitude"]
BASES: tuple[Basis, ...] = ("units", "directions", "magnitude")
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_LEVELS = 50
_SURE = 1.645  # standard errors, one-sided 95 %


@dataclass(frozen=True)
class Layer:
    """A layer's activations and its linear read-out; labels as they were given.

    hidden_TK, hidden_HK: of rows trained on and held out, eval mode. read_out_KC, bias_C.
    label_T, label_H: int64.
    """

    hidden_TK: torch.Tensor
    label_T: torch.Tensor
    hidden_HK: torch.Tensor
    label_H: torch.Tensor
    read_out_KC: torch.Tensor
    bias_C: torch.Tensor


@dataclass(frozen=True)
class Memorized:
    """What was removed, and what each training row showed.

    removed: of K. held_out: accuracy before and after on the held-out rows' given labels.
    fit: the same of the training rows.
    index: localizability, fit lost by removal less held-out accuracy lost by it; index_se: its
        standard error. Near 0 if what is memorized and what generalizes are not in different parts
        of the layer, or nothing was memorized.
    margin_full_T, margin_pruned_T: given label's output less the largest other, before and after.
    flip_T: fitted before and not after. relabel_T: the answer after removal.
    read_out_KC, bias_C: what is left of the read-out, for the activations as they came, float64.
    """

    basis: Basis
    removed: int
    held_out: tuple[float, float]
    fit: tuple[float, float]
    index: float
    index_se: float
    margin_full_T: torch.Tensor
    margin_pruned_T: torch.Tensor
    flip_T: torch.Tensor
    relabel_T: torch.Tensor
    read_out_KC: torch.Tensor
    bias_C: torch.Tensor

    @property
    def is_localizable(self) -> bool:
        """Whether removal cost more of the fit than of held-out accuracy, beyond chance."""
        return self.index > _SURE * self.index_se

    @property
    def drop_T(self) -> torch.Tensor:  # noqa: N802 - a shape suffix
        """How far the margin fell: no sign of a wrong label by itself."""
        return self.margin_full_T - self.margin_pruned_T


def squared_error(logits_BC: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
    """Squared distance from the one-hot label, (B,)."""
    error_BC = logits_BC.clone()
    error_BC[torch.arange(len(label_B), device=label_B.device), label_B] -= 1
    squared_B: torch.Tensor = error_BC.square().sum(dim=1)
    return squared_B


def cross_entropy(logits_BC: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
    """Minus log of the label's probability, (B,)."""
    return torch.nn.functional.cross_entropy(logits_BC, label_B, reduction="none")


def remove_memorized(layer: Layer, basis: Basis, loss: Loss) -> Memorized:
    """Remove as much as held-out accuracy does not miss, and see what is forgotten.

    Of 50 levels, evenly spaced, the one that removes most and whose held-out accuracy is within one
    standard error, of the paired difference, of the best level's. Held-out labels may be noisy.
    loss: what the network was trained on; ranks units.
    """
    layer = _in_double(layer)
    axes_KK, mean_K = _in_order(layer, basis, loss)
    read_out_KC = axes_KK.T @ layer.read_out_KC
    bias_C = layer.bias_C + mean_K @ layer.read_out_KC
    parts_HK = (layer.hidden_HK - mean_K) @ axes_KK
    num_units = len(read_out_KC)
    levels = sorted({num_units * level // _LEVELS for level in range(_LEVELS)})
    right_LH = torch.stack(
        [
            (parts_HK[:, n:] @ read_out_KC[n:] + bias_C).argmax(dim=1) == layer.label_H
            for n in levels
        ]
    ).double()
    removed = levels[_most_within_one_error(right_LH)]
    left_KC = axes_KK[:, removed:] @ read_out_KC[removed:]
    left_C = bias_C - mean_K @ left_KC
    full_TC = layer.hidden_TK @ layer.read_out_KC + layer.bias_C
    pruned_TC = layer.hidden_TK @ left_KC + left_C
    before_T, after_T = full_TC.argmax(dim=1), pruned_TC.argmax(dim=1)
    fit_T, kept_T = before_T == layer.label_T, after_T == layer.label_T
    lost_T = fit_T.double() - kept_T.double()
    missed_H = right_LH[0] - right_LH[levels.index(removed)]
    return Memorized(
        basis,
        removed,
        held_out=(right_LH[0].mean().item(), right_LH[levels.index(removed)].mean().item()),
        fit=(fit_T.double().mean().item(), kept_T.double().mean().item()),
        index=(lost_T.mean() - missed_H.mean()).item(),
        index_se=(lost_T.var() / len(lost_T) + missed_H.var() / len(missed_H)).sqrt().item(),
        margin_full_T=margins(full_TC, layer.label_T),
        margin_pruned_T=margins(pruned_TC, layer.label_T),
        flip_T=fit_T & ~kept_T,
        relabel_T=after_T,
        read_out_KC=left_KC,
        bias_C=left_C,
    )


def margins(logits_BC: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
    """The label's output less the largest other one, (B,)."""
    every = torch.arange(len(label_B), device=label_B.device)
    others_BC = logits_BC.clone()
    others_BC[every, label_B] = -torch.inf
    return logits_BC[every, label_B] - others_BC.max(dim=1).values


def _in_double(layer: Layer) -> Layer:
    return Layer(
        layer.hidden_TK.double(),
        layer.label_T,
        layer.hidden_HK.double(),
        layer.label_H,
        layer.read_out_KC.double(),
        layer.bias_C.double(),
    )


def _in_order(layer: Layer, basis: Basis, loss: Loss) -> tuple[torch.Tensor, torch.Tensor]:
    """Axes of the basis as columns (K, K), those to remove first, and where they start, (K,)."""
    if basis == "directions":
        mean_K = layer.hidden_TK.mean(dim=0)
        centred_TK = layer.hidden_TK - mean_K
        _, directions_KK = torch.linalg.eigh(centred_TK.T @ centred_TK)  # variance rises
        return directions_KK, mean_K
    if basis == "units":
        worth_K = _held_out_worth(layer, loss)
    else:
        worth_K = layer.hidden_TK.var(dim=0) * layer.read_out_KC.square().sum(dim=1)
    units_KK = torch.eye(len(worth_K), dtype=worth_K.dtype, device=worth_K.device)
    return units_KK[:, worth_K.argsort(stable=True)], torch.zeros_like(worth_K)


def _held_out_worth(layer: Layer, loss: Loss) -> torch.Tensor:
    """How much the mean held-out loss rises without each unit, (K,)."""
    full_HC = layer.hidden_HK @ layer.read_out_KC + layer.bias_C
    before = loss(full_HC, layer.label_H).mean()
    return torch.stack(
        [
            loss(full_HC - layer.hidden_HK[:, k, None] * row_C, layer.label_H).mean() - before
            for k, row_C in enumerate(layer.read_out_KC)
        ]
    )


def _most_within_one_error(right_LH: torch.Tensor) -> int:
    """The last level whose accuracy is within one standard error of the best one's."""
    best_H = right_LH[int(right_LH.mean(dim=1).argmax())]
    behind_LH = best_H - right_LH
    error_L = behind_LH.std(dim=1) / right_LH.shape[1] ** 0.5
    return int(torch.nonzero(behind_LH.mean(dim=1) <= error_L)[-1])
