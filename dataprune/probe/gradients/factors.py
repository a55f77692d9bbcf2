"""What a use of a parameter adds to each example's gradient, kept in the cheapest exact form.

A factor answers two questions: the squared norms, for a parameter that is used once, and the
gradients themselves, for one whose uses must be added before the norm.

Shape suffixes: B batch, T places, L indices, D inputs or embedding, P outputs, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from dataprune.probe.gradients.graph import wide_dtype, widen
from dataprune.probe.gradients.products import (
    by_chunks,
    gram,
    inner,
    outer_squared,
    outer_sum,
    squared_rows,
)


class Factor(Protocol):
    """Per-example gradients of one operand of one operation."""

    def squared(self) -> torch.Tensor:
        """Squared norm of each example's gradient, (B,)."""

    def gradients(self, here: slice) -> torch.Tensor:
        """The gradients of some examples, (b, *shape of the operand)."""


@dataclass(frozen=True)
class Dense:
    """Gradients that are small enough to be held as they are: biases, scales, embeddings added."""

    values_B: torch.Tensor

    def squared(self) -> torch.Tensor:
        """Squared norm of each example's gradient, (B,)."""
        return squared_rows(self.values_B)

    def gradients(self, here: slice) -> torch.Tensor:
        """The gradients of some examples, (b, *shape of the operand)."""
        return self.values_B[here]


@dataclass(frozen=True)
class Outer:
    """sum_t g_t a_t^T, times a scale, in the operand's shape."""

    a_BTD: torch.Tensor
    g_BTP: torch.Tensor
    shape: tuple[int, ...]
    scale: float = 1.0

    def squared(self) -> torch.Tensor:
        """Squared norm of each example's gradient, (B,)."""
        return outer_squared(self.a_BTD, self.g_BTP) * self.scale**2

    def gradients(self, here: slice) -> torch.Tensor:
        """The gradients of some examples, (b, *shape of the operand)."""
        summed_BPD = self.scale * outer_sum(self.a_BTD[here], self.g_BTP[here])
        return summed_BPD.view(-1, *self.shape)


@dataclass(frozen=True)
class Lookup:
    """Rows g_l added at indices l of an embedding, but none at its padding index."""

    indices_BL: torch.Tensor
    g_BLD: torch.Tensor
    shape: tuple[int, ...]
    padding: int

    def squared(self) -> torch.Tensor:
        """Squared norm of each example's gradient, (B,)."""
        num_examples, length = self.indices_BL.shape

        def compute(here: slice) -> torch.Tensor:
            indices_BL = self.indices_BL[here]
            same_BLL = same_index(indices_BL) & (indices_BL != self.padding)[:, :, None]
            products_BLL = gram(self.g_BLD[here])
            return inner(products_BLL, same_BLL.to(products_BLL.dtype))

        return by_chunks(num_examples, 10 * length * length, compute)

    def gradients(self, here: slice) -> torch.Tensor:
        """The gradients of some examples, (b, *shape of the operand)."""
        indices_BL = self.indices_BL[here]
        rows_BLD = widen(self.g_BLD[here]) * (indices_BL != self.padding)[:, :, None]
        return added_rows(indices_BL, rows_BLD, self.shape[0])


@dataclass(frozen=True)
class Bag:
    """One row g added at each index of a bag, or divided among them; not at the padding index."""

    indices_BL: torch.Tensor
    g_BD: torch.Tensor
    shape: tuple[int, ...]
    padding: int
    mean: bool

    def squared(self) -> torch.Tensor:
        """Squared norm of each example's gradient, (B,)."""
        num_examples, length = self.indices_BL.shape

        def compute(here: slice) -> torch.Tensor:
            weights_BL1 = self._weights(here)[:, :, None]
            same = same_index(self.indices_BL[here]).to(weights_BL1.dtype)
            return (weights_BL1.mT @ same @ weights_BL1).flatten()

        pairs_B = by_chunks(num_examples, 9 * length * length, compute)
        return pairs_B * squared_rows(widen(self.g_BD))

    def gradients(self, here: slice) -> torch.Tensor:
        """The gradients of some examples, (b, *shape of the operand)."""
        rows_BLD = self._weights(here)[:, :, None] * widen(self.g_BD[here])[:, None, :]
        return added_rows(self.indices_BL[here], rows_BLD, self.shape[0])

    def _weights(self, here: slice) -> torch.Tensor:
        counts_BL = (self.indices_BL[here] != self.padding).to(wide_dtype(self.g_BD))
        if not self.mean:
            return counts_BL
        return counts_BL / counts_BL.sum(1, keepdim=True).clamp(min=1)


def same_index(indices_BL: torch.Tensor) -> torch.Tensor:
    """Which pairs of an example's places hold the same index, bool (B, L, L)."""
    return indices_BL[:, :, None] == indices_BL[:, None, :]


def added_rows(indices_BL: torch.Tensor, rows_BLD: torch.Tensor, size: int) -> torch.Tensor:
    """Each example's rows added at their indices, (B, size, D)."""
    num_examples = len(indices_BL)
    first = size * torch.arange(num_examples, device=indices_BL.device)[:, None]
    flat = rows_BLD.new_zeros(num_examples * size, rows_BLD.shape[2])
    flat.index_add_(0, (indices_BL + first).flatten(), rows_BLD.flatten(0, 1))
    return flat.view(num_examples, size, -1)
