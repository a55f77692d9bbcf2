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

Everything is chosen from the held-out rows and from the training rows' moments, so that activations
of all rows need never be held. `removal.py` does it to a probe's last layer, `removal_inside.py` to
a layer inside.

Legend of shapes: T training rows, H held-out rows, B rows of a batch, K units, C outputs, L levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from dataprune.probe.moments import Moments

Basis = Literal["units", "directions", "magnitude"]
BASES: tuple[Basis, ...] = ("units", "directions", "magnitude")
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_LEVELS = 50
_SURE = 1.645  # standard errors, one-sided 95 %
# The level is chosen on the rows that the index is measured on. By that alone the index reached
# 0.006 where nothing was memorized; where something was, it was 0.11 and more.
_LEAST = 0.02


@dataclass(frozen=True)
class ReadOut:
    """Outputs from activations: hidden_BK @ weight_KC + bias_C, float64."""

    weight_KC: torch.Tensor
    bias_C: torch.Tensor

    def __call__(self, hidden_BK: torch.Tensor) -> torch.Tensor:
        """Activations (B, K), float64 -> outputs (B, C)."""
        return hidden_BK @ self.weight_KC + self.bias_C


@dataclass(frozen=True)
class Axes:
    """A basis: orthonormal axes through start_K, as columns, those to remove first."""

    axes_KK: torch.Tensor
    start_K: torch.Tensor

    def without(self, removed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Matrix (K, K) and shift (K,) that remove the first axes: a -> a @ matrix + shift."""
        kept_KK = self.axes_KK[:, removed:]
        matrix_KK = kept_KK @ kept_KK.T
        return matrix_KK, self.start_K - self.start_K @ matrix_KK


@dataclass(frozen=True)
class Choice:
    """How many axes are removed, and whether each held-out row is right before and after."""

    removed: int
    right_H: torch.Tensor
    still_right_H: torch.Tensor


@dataclass(frozen=True)
class Answers:
    """What a network answers to rows.

    margin_B: the given label's output less the largest other one. answer_B: the class of the
    largest. right_B: whether that is the given label.
    """

    margin_B: torch.Tensor
    answer_B: torch.Tensor
    right_B: torch.Tensor


@dataclass(frozen=True)
class Localizability:
    """Whether what is memorized is a part of the layer.

    held_out: accuracy before and after on the held-out rows' given labels. fit: the same of the
        training rows.
    index: fit lost by removal less held-out accuracy lost by it; index_se: its standard error. Near
        0 if what is memorized and what generalizes are not in different parts of the layer, or
        nothing was memorized.
    """

    held_out: tuple[float, float]
    fit: tuple[float, float]
    index: float
    index_se: float

    @property
    def is_localizable(self) -> bool:
        """Whether removal cost more of the fit than of held-out accuracy, beyond chance."""
        return self.index > max(_LEAST, _SURE * self.index_se)


@dataclass(frozen=True)
class Layer:
    """A layer's activations, all of them, and its linear read-out; labels as they were given.

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
    """How many axes were removed of a layer, whether that is local, and what each row showed.

    before, after: of the training rows.
    """

    removed: int
    about: Localizability
    before: Answers
    after: Answers

    @property
    def flip_T(self) -> torch.Tensor:  # noqa: N802 - a shape suffix
        """Fitted before and not after: memorized."""
        return self.before.right_B & ~self.after.right_B

    @property
    def drop_T(self) -> torch.Tensor:  # noqa: N802 - a shape suffix
        """How far the margin fell: no sign of a wrong label by itself."""
        return self.before.margin_B - self.after.margin_B


def squared_error(logits_BC: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
    """Squared distance from the one-hot label, (B,)."""
    error_BC = logits_BC.clone()
    error_BC[torch.arange(len(label_B), device=label_B.device), label_B] -= 1
    squared_B: torch.Tensor = error_BC.square().sum(dim=1)
    return squared_B


def cross_entropy(logits_BC: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
    """Minus log of the label's probability, (B,)."""
    return torch.nn.functional.cross_entropy(logits_BC, label_B, reduction="none")


def margins(logits_BC: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
    """The label's output less the largest other one, (B,)."""
    every = torch.arange(len(label_B), device=label_B.device)
    others_BC = logits_BC.clone()
    others_BC[every, label_B] = -torch.inf
    return logits_BC[every, label_B] - others_BC.max(dim=1).values


def answers_of(logits_BC: torch.Tensor, label_B: torch.Tensor) -> Answers:
    """What outputs answer, against the labels as they were given."""
    answer_B = logits_BC.argmax(dim=1)
    return Answers(margins(logits_BC, label_B), answer_B, answer_B == label_B)


def remove_memorized(layer: Layer, basis: Basis, loss: Loss) -> Memorized:
    """Remove as much as held-out accuracy does not miss, and see what training rows forget."""
    trained, hidden_TK = Moments(), layer.hidden_TK.double()
    trained.add(hidden_TK)
    read_out = ReadOut(layer.read_out_KC.double(), layer.bias_C.double())
    held_out = layer.hidden_HK.double(), layer.label_H
    choice, left = choose_in_read_out(trained, *held_out, read_out, basis, loss)
    before, after = (answers_of(each(hidden_TK), layer.label_T) for each in (read_out, left))
    about = localizability(choice, before.right_B, after.right_B)
    return Memorized(choice.removed, about, before, after)


def choose_in_read_out(
    trained: Moments,
    hidden_HK: torch.Tensor,
    label_H: torch.Tensor,
    read_out: ReadOut,
    basis: Basis,
    loss: Loss,
) -> tuple[Choice, ReadOut]:
    """What to remove from a layer with a linear read-out, and the read-out that is left.

    trained: of the training rows' activations. hidden_HK, label_H: held-out rows; their labels may
    be noisy; float64. loss: what the network was trained on; ranks units. Of 50 levels, evenly
    spaced, `choose_level` takes one.
    """
    if basis == "directions":
        axes = directions(trained)
    elif basis == "units":
        axes = units(_held_out_worth(hidden_HK, label_H, read_out, loss))
    else:
        axes = units(trained.variance_K * read_out.weight_KC.square().sum(dim=1))
    weight_KC = axes.axes_KK.T @ read_out.weight_KC
    bias_C = read_out(axes.start_K)
    parts_HK = (hidden_HK - axes.start_K) @ axes.axes_KK
    levels = levels_of(len(weight_KC), _LEVELS)
    answers = (parts_HK[:, n:] @ weight_KC[n:] + bias_C for n in levels)
    choice = choose_level(levels, [z_HC.argmax(dim=1) == label_H for z_HC in answers])
    left_KC = axes.axes_KK[:, choice.removed :] @ weight_KC[choice.removed :]
    return choice, ReadOut(left_KC, bias_C - axes.start_K @ left_KC)


def directions(trained: Moments) -> Axes:
    """Principal directions around the mean, least variance first."""
    _, directions_KK = torch.linalg.eigh(trained.scatter_KK)  # variance rises
    return Axes(directions_KK, trained.mean_K)


def units(worth_K: torch.Tensor) -> Axes:
    """Single units, least worth first; removed, a unit is 0."""
    every_KK = torch.eye(len(worth_K), dtype=worth_K.dtype, device=worth_K.device)
    return Axes(every_KK[:, worth_K.argsort(stable=True)], torch.zeros_like(worth_K))


def levels_of(num_units: int, num_levels: int) -> list[int]:
    """How many axes to remove: from none, evenly spaced, never all."""
    return sorted({num_units * level // num_levels for level in range(num_levels)})


def choose_level(levels: Sequence[int], right: Sequence[torch.Tensor]) -> Choice:
    """The last level whose held-out accuracy is within one standard error of the best one's.

    The error is that of the paired difference. right: which held-out rows are answered rightly at
    each level, bool (H,).
    """
    right_LH = torch.stack(list(right)).double()
    best_H = right_LH[int(right_LH.mean(dim=1).argmax())]
    behind_LH = best_H - right_LH
    error_L = behind_LH.std(dim=1) / right_LH.shape[1] ** 0.5
    chosen = int(torch.nonzero(behind_LH.mean(dim=1) <= error_L)[-1])
    return Choice(levels[chosen], right[0], right[chosen])


def localizability(
    choice: Choice, fits_T: torch.Tensor, still_fits_T: torch.Tensor
) -> Localizability:
    """What removal cost the fit of the training rows, against what it cost held-out accuracy."""
    before_H, after_H = choice.right_H.double(), choice.still_right_H.double()
    fits_T, still_fits_T = fits_T.double(), still_fits_T.double()
    missed_H, lost_T = before_H - after_H, fits_T - still_fits_T
    return Localizability(
        held_out=(before_H.mean().item(), after_H.mean().item()),
        fit=(fits_T.mean().item(), still_fits_T.mean().item()),
        index=(lost_T.mean() - missed_H.mean()).item(),
        index_se=(lost_T.var() / len(lost_T) + missed_H.var() / len(missed_H)).sqrt().item(),
    )


def _held_out_worth(
    hidden_HK: torch.Tensor, label_H: torch.Tensor, read_out: ReadOut, loss: Loss
) -> torch.Tensor:
    """How much the mean held-out loss rises without each unit, (K,)."""
    full_HC = read_out(hidden_HK)
    before = loss(full_HC, label_H).mean()
    return torch.stack(
        [
            loss(full_HC - hidden_HK[:, k, None] * row_C, label_H).mean() - before
            for k, row_C in enumerate(read_out.weight_KC)
        ]
    )
