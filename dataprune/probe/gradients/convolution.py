"""Per-example weight gradients of convolutions of any dimension.

Forms, all exact; the cheapest by shape is taken:
    patches the gradient itself, as one matrix product with unfolded patches
    strips  the gradient itself, as one matrix product per kernel row; only the last dimension is
            unfolded, into strips that the rows share
    gram    Gram matrices of unfolded patches and of output gradients (ghost norm)
    shift   where every place has an output and the stride is 1: patches are shifted pixels, so
            their Gram matrix is the sum of the pixels' shifted by each kernel place; no unfolding

Patches are taken from channels-last memory, the format that the probes train in, where a row of a
patch is one run of floats. A transposed convolution is one whose input and output gradient have
changed places.

Shape suffixes: B batch, C input channels, P output channels, H height, W width, S all spatial
dimensions, T output places, K kernel size of the last dimension, G groups.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from dataprune.probe.gradients.graph import widen
from dataprune.probe.gradients.products import (
    TOUCH,
    by_chunks,
    gram,
    gram_cost,
    inner,
    product_cost,
    squared_rows,
)

# Below this many numbers a strip's runs are too short to be copied fast; the runs of channels-first
# patches are as long as an image is wide. Measured: 2.6 times faster for 1 channel, equal for 8.
_SHORT_RUN = 24


@dataclass(frozen=True)
class Geometry:
    """How output places read input places; one number per spatial dimension."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


@dataclass(frozen=True)
class Convolution:
    """Gradient of a convolution's weight, in the weight's shape (P, C / G, *kernel)."""

    a_BCS: torch.Tensor
    g_BPS: torch.Tensor
    geometry: Geometry

    def squared(self) -> torch.Tensor:
        """Squared norm of each example's gradient, (B,)."""
        num_examples, channels = self.a_BCS.shape[:2]
        form = self._form()
        places = math.prod(self.g_BPS.shape[2:])
        kernel = self.geometry.kernel
        strip_bytes = 4 * math.prod(self.a_BCS.shape[2:]) * channels * kernel[-1]
        if form == "strips":
            return by_chunks(num_examples, strip_bytes, self.squared_by_strips)
        patch_bytes = 4 * places * channels * math.prod(kernel)
        if form == "patches":
            return by_chunks(num_examples, patch_bytes, self.squared_by_patches)
        if form == "shift":
            return by_chunks(num_examples, 12 * places * places, self.squared_by_shift)
        gram_bytes = patch_bytes + 8 * places * places
        return by_chunks(num_examples, gram_bytes, self.squared_by_gram)

    def gradients(self, here: slice) -> torch.Tensor:
        """The gradients of some examples, (b, P, C / G, *kernel)."""
        rows = torch.stack(list(self._rows(here)), dim=1)  # (B, kernel rows, G, K, C / G, P / G)
        b, _, groups, _, c, p = rows.shape
        ordered = rows.permute(0, 2, 5, 4, 1, 3)
        return ordered.reshape(b, groups * p, c, *self.geometry.kernel)

    def _form(self) -> str:
        """The cheapest form; by operations per example."""
        channels, p = self.a_BCS.shape[1], self.g_BPS.shape[1]
        places = math.prod(self.g_BPS.shape[2:])
        size = math.prod(self.geometry.kernel)
        d = channels * size
        if self.geometry.groups > 1:
            return "strips"
        product = "patches" if channels * self.geometry.kernel[-1] < _SHORT_RUN else "strips"
        costs = {
            product: product_cost(places, p, d) + TOUCH * places * d // self.geometry.kernel[0],
            "gram": gram_cost(places, p, d) + TOUCH * places * d,
        }
        if self._is_same():
            costs["shift"] = gram_cost(places, p, channels) + TOUCH * size * places * places
        return min(costs, key=lambda form: costs[form])

    def _is_same(self) -> bool:
        """Whether this is an image convolution of stride 1 with an output for each place."""
        geometry = self.geometry
        middle = tuple((k - 1) // 2 for k in geometry.kernel)
        return (
            len(geometry.kernel) == 2
            and set(geometry.stride) == {1} == set(geometry.dilation)
            and geometry.padding == middle
            and self.a_BCS.shape[2:] == self.g_BPS.shape[2:]
        )

    def squared_by_strips(self, here: slice) -> torch.Tensor:
        """Any convolution."""
        if self.geometry.groups > 1:
            return torch.stack([squared_rows(row) for row in self._rows(here)]).sum(0)
        g_BTP = self._places(here)
        rows: torch.Tensor | None = None  # all of them, so that the norm is one operation
        for i, strip_BTD in enumerate(self._strips(here)):
            if rows is None:
                shape = (math.prod(self.geometry.kernel[:-1]), len(g_BTP), strip_BTD.shape[2])
                rows = g_BTP.new_empty(*shape, g_BTP.shape[2])
            torch.bmm(strip_BTD.mT, g_BTP, out=rows[i])
        assert rows is not None
        return squared_rows(rows.flatten(0, 1)).view(len(rows), -1).sum(0)

    def squared_by_patches(self, here: slice) -> torch.Tensor:
        """A convolution of one group."""
        geometry = self.geometry
        amounts = [n for size in reversed(geometry.padding) for n in (size, size)]
        x_BCS = F.pad(widen(self.a_BCS[here]).contiguous(), amounts)
        out = self.g_BPS.shape[2:]
        example, channel, *steps = x_BCS.stride()
        reads = [step * n for step, n in zip(steps, geometry.dilation, strict=True)]
        moves = [step * n for step, n in zip(steps, geometry.stride, strict=True)]
        patches = x_BCS.as_strided(
            (*x_BCS.shape[:2], *geometry.kernel, *out), (example, channel, *reads, *moves)
        )
        patches_BDT = patches.reshape(len(x_BCS), -1, math.prod(out))
        return squared_rows(torch.bmm(patches_BDT, self._places(here)))

    def squared_by_gram(self, here: slice) -> torch.Tensor:
        """A convolution of one group."""
        patches_BTD = torch.cat(list(self._strips(here)), dim=2)
        return inner(gram(patches_BTD), gram(self._places(here)))

    def squared_by_shift(self, here: slice) -> torch.Tensor:
        """An image convolution of one group and stride 1 with an output for each place."""
        height, width = self.a_BCS.shape[2:]
        grid = (-1, height, width, height, width)
        a = gram(places_last(self.a_BCS[here])).view(grid)
        g = gram(self._places(here)).view(grid)
        parts = []
        for dy, dx in itertools.product(*(range(-p, p + 1) for p in self.geometry.padding)):
            y, from_y = _overlap(height, dy)
            x, from_x = _overlap(width, dx)
            shifted = a[:, from_y, from_x, from_y, from_x]
            parts.append((g[:, y, x, y, x] * shifted).flatten(1).sum(1))
        return torch.stack(parts).sum(0)

    def _places(self, here: slice) -> torch.Tensor:
        return places_last(widen(self.g_BPS[here]))

    def _rows(self, here: slice) -> Iterator[torch.Tensor]:
        """The gradient for each row of the kernel, (B, G, K, C / G, P / G)."""
        groups, size = self.geometry.groups, self.geometry.kernel[-1]
        g_BTP = self._places(here)
        g_BTGP = g_BTP.unflatten(2, (groups, -1))  # type: ignore[no-untyped-call]
        for strip_BTD in self._strips(here):
            b, places, d = strip_BTD.shape
            if groups == 1:
                yield torch.bmm(strip_BTD.mT, g_BTP).view(b, 1, size, d // size, -1)
                continue
            strip_BTKGC = strip_BTD.view(b, places, size, groups, -1)
            if d == size * groups == size * g_BTP.shape[2]:  # depthwise: no products to batch
                summed_BKG = (strip_BTKGC[..., 0] * g_BTP[:, :, None]).sum(1)
                yield summed_BKG.transpose(1, 2)[..., None, None]
                continue
            strip_BGTD = strip_BTKGC.permute(0, 3, 1, 2, 4).reshape(b * groups, places, -1)
            g = g_BTGP.transpose(1, 2).reshape(b * groups, places, -1)
            yield torch.bmm(strip_BGTD.mT, g).view(b, groups, size, d // groups // size, -1)

    def _strips(self, here: slice) -> Iterator[torch.Tensor]:
        """What each output place has read through each row of the kernel, (B, T, K * C)."""
        geometry = self.geometry
        out = self.g_BPS.shape[2:]
        x_BSC = padded_channels_last(widen(self.a_BCS[here]), geometry.padding)
        b, *spatial, channels = x_BSC.shape
        *steps, last = x_BSC.stride()[:-1]
        unfolded = x_BSC.as_strided(
            (b, *spatial[:-1], out[-1], geometry.kernel[-1], channels),
            (*steps, last * geometry.stride[-1], last * geometry.dilation[-1], 1),
        ).contiguous()  # one copy that all rows share; a view would be copied for each
        unfolded = unfolded.view(b, *spatial[:-1], out[-1], -1)
        for row in itertools.product(*(range(k) for k in geometry.kernel[:-1])):
            reads = [
                slice(i * dilation, i * dilation + stride * (n - 1) + 1, stride)
                for i, dilation, stride, n in zip(
                    row, geometry.dilation[:-1], geometry.stride[:-1], out[:-1], strict=True
                )
            ]
            yield unfolded[(slice(None), *reads)].reshape(b, math.prod(out), -1)


def _overlap(size: int, shift: int) -> tuple[slice, slice]:
    """The places whose neighbour at `shift` exists, and those neighbours."""
    return (
        slice(max(0, -shift), size - max(0, shift)),
        slice(max(0, shift), size - max(0, -shift)),
    )


def padded_channels_last(x_BCS: torch.Tensor, padding: tuple[int, ...]) -> torch.Tensor:
    """(B, C, *S) -> (B, *padded S, C), contiguous; no copy if it is so already."""
    x_BSC = x_BCS.movedim(1, -1)
    if not any(padding):
        return x_BSC.contiguous()
    amounts = [0, 0] + [n for size in reversed(padding) for n in (size, size)]
    return F.pad(x_BSC, amounts).contiguous()


def places_last(g_BPS: torch.Tensor) -> torch.Tensor:
    """(B, P, *S) -> (B, T, P), a view where the memory is channels-last or contiguous."""
    if g_BPS.is_contiguous():
        return g_BPS.flatten(2).transpose(1, 2)
    return g_BPS.movedim(1, -1).flatten(1, -2)
