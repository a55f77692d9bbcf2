"""One rule per kind of autograd node: from its output's gradient to its parameters' factors.

A rule reads what the node saved for its own backward. The names are those of torch's
derivatives.yaml. A node without a rule is no error: its parameters take the general path.

Shape suffixes: B batch, M places flattened into the batch dimension, T places, C channels,
L indices per example, S all spatial dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.autograd.graph import Node

from dataprune.probe.gradients.convolution import Convolution, Geometry
from dataprune.probe.gradients.factors import Bag, Dense, Factor, Lookup, Outer
from dataprune.probe.gradients.graph import Layout, saved, wide_dtype, widen
from dataprune.probe.gradients.products import by_chunks

# Which inputs of the node are parameters, and the shape of each.
Operands = dict[int, tuple[int, ...]]
Rule = Callable[[Node, torch.Tensor, Layout, int, Operands], dict[int, Factor]]


class UnsupportedError(Exception):
    """A use that has no rule, or none for its settings."""


def _add(
    node: Node, grad: torch.Tensor, layout: Layout, size: int, operands: Operands
) -> dict[int, Factor]:
    factors: dict[int, Factor] = {}
    for index, shape in operands.items():
        scale = 1.0 if index == 0 else float(saved(node, "alpha"))
        if index == 1 and node.name() == "SubBackward0":
            scale = -scale
        factors[index] = Dense(scale * layout.reduce(grad, size, shape))
    return factors


def _mul(
    node: Node, grad: torch.Tensor, layout: Layout, size: int, operands: Operands
) -> dict[int, Factor]:
    factors: dict[int, Factor] = {}
    for index, shape in operands.items():
        other = saved(node, "other" if index == 0 else "self")
        factors[index] = Dense(layout.reduce(widen(grad) * other, size, shape))
    return factors


def _where(
    node: Node, grad: torch.Tensor, layout: Layout, size: int, operands: Operands
) -> dict[int, Factor]:
    chosen = saved(node, "condition")
    return {
        index: Dense(layout.reduce(grad.masked_fill(chosen if index == 2 else ~chosen, 0), size, s))
        for index, s in operands.items()
    }


def _expand(
    _node: Node, grad: torch.Tensor, layout: Layout, size: int, operands: Operands
) -> dict[int, Factor]:
    return {0: Dense(layout.reduce(grad, size, operands[0]))}


def _repeat(
    _node: Node, grad: torch.Tensor, layout: Layout, size: int, operands: Operands
) -> dict[int, Factor]:
    shape = operands[0]
    split = layout.split(grad, size)
    if layout.order == "inner" or split[0].numel() != math.prod(shape):  # repeated within examples
        raise UnsupportedError
    return {0: Dense(widen(split).movedim(1, layout.dim + 1).reshape(size, *shape))}


def _matmul(left: str, right: str) -> Rule:
    """The rule of a matrix product whose two sides are saved under these names."""

    def rule(
        node: Node, grad: torch.Tensor, layout: Layout, size: int, operands: Operands
    ) -> dict[int, Factor]:
        first = 1 if left == "mat1" else 0  # addmm's first input is what is added
        flat = grad.squeeze(0) if grad.dim() == 3 else grad
        if flat.dim() != 2 or layout.dim != grad.dim() - 2 + (first in operands):
            raise UnsupportedError
        here = Layout(layout.dim - (grad.dim() - 2), layout.order)
        g_BTP = here.split(flat, size)
        scale = float(saved(node, "alpha")) if first else 1.0
        factors: dict[int, Factor] = {}
        for index, shape in operands.items():
            if index == 0 and first:
                beta = float(saved(node, "beta"))
                factors[0] = Dense(beta * layout.reduce(grad, size, shape))
            elif index == first:  # parameter @ input
                a = saved(node, right).reshape(-1, flat.shape[1])
                factors[index] = Outer(here.split(a, size), g_BTP, shape, scale)
            else:  # input @ parameter
                a = saved(node, left).reshape(flat.shape[0], -1)
                factors[index] = Outer(g_BTP, here.split(a, size), shape, scale)
        return factors

    return rule


def _convolution(
    node: Node, grad: torch.Tensor, layout: Layout, size: int, operands: Operands
) -> dict[int, Factor]:
    if layout != Layout(0, "alone"):
        raise UnsupportedError
    factors: dict[int, Factor] = {}
    if 2 in operands:
        factors[2] = Dense(layout.reduce(grad.movedim(1, -1), size, operands[2]))
    if 1 in operands:
        a = saved(node, "input")
        geometry = Geometry(
            operands[1][2:],
            tuple(saved(node, "stride")),
            tuple(saved(node, "padding")),
            tuple(saved(node, "dilation")),
            saved(node, "groups"),
        )
        reads, gives = (grad, a) if saved(node, "transposed") else (a, grad)
        factors[1] = Convolution(reads, gives, geometry)
    return factors


def _affine(
    x_BTC: torch.Tensor,
    g_BTC: torch.Tensor,
    centre: torch.Tensor,
    scale: torch.Tensor,
    operands: Operands,
) -> dict[int, Factor]:
    """Scale (input 1) and shift (input 2) of a normalisation (x - centre) * scale.

    centre, scale: broadcast against (B, T, C).
    """
    size, places, channels = x_BTC.shape
    factors: dict[int, Factor] = {}
    if 1 in operands:
        centre, scale = (t.expand(size, *t.shape[1:]) for t in (centre, scale))

        def compute(here: slice) -> torch.Tensor:
            products = widen(x_BTC[here]) - centre[here]
            products *= g_BTC[here]
            if scale.shape[1] > 1:  # one per place
                return products.mul_(scale[here]).sum(1)
            return products.sum(1) * scale[here, 0]

        values_BC = by_chunks(size, 4 * places * channels, compute)
        factors[1] = Dense(values_BC.reshape(size, *operands[1]))
    if 2 in operands:
        values_BC = g_BTC.sum(1, dtype=wide_dtype(g_BTC))
        factors[2] = Dense(values_BC.reshape(size, *operands[2]))
    return factors


def _layer_norm(
    node: Node, grad: torch.Tensor, layout: Layout, size: int, operands: Operands
) -> dict[int, Factor]:
    normal_dims = len(saved(node, "normalized_shape"))
    if layout.dim >= grad.dim() - normal_dims:
        raise UnsupportedError
    x, mean, scale = (saved(node, name) for name in ("input", "result1", "result2"))
    x_BTC, g_BTC, mean_BT1, scale_BT1 = (
        layout.split(t, size).flatten(-normal_dims).flatten(1, -2) for t in (x, grad, mean, scale)
    )
    return _affine(x_BTC, g_BTC, mean_BT1, scale_BT1, operands)


def _batch_norm(
    node: Node, grad: torch.Tensor, layout: Layout, size: int, operands: Operands
) -> dict[int, Factor]:
    if layout.dim or saved(node, "training"):
        raise UnsupportedError
    mean_C, var_C = (widen(saved(node, f"running_{name}")) for name in ("mean", "var"))
    scale_C = (var_C + saved(node, "eps")).rsqrt()
    x_BTC, g_BTC = (_channels_last(layout.split(t, size)) for t in (saved(node, "input"), grad))
    return _affine(x_BTC, g_BTC, mean_C.view(1, 1, -1), scale_C.view(1, 1, -1), operands)


def _group_norm(
    node: Node, grad: torch.Tensor, layout: Layout, size: int, operands: Operands
) -> dict[int, Factor]:
    if layout != Layout(0, "alone"):
        raise UnsupportedError
    x_BTC, g_BTC = (_channels_last(t[:, None]) for t in (saved(node, "input"), grad))
    per_group = x_BTC.shape[2] // saved(node, "group")
    mean_B1C, scale_B1C = (
        saved(node, name).reshape(size, 1, -1).repeat_interleave(per_group, 2)
        for name in ("result1", "result2")
    )
    return _affine(x_BTC, g_BTC, mean_B1C, scale_B1C, operands)


def _channels_last(split_BMCS: torch.Tensor) -> torch.Tensor:
    """(B, M, C, *S) -> (B, T, C), a view where M is 1."""
    return split_BMCS.movedim(2, -1).flatten(1, -2)


def _prelu(
    node: Node, grad: torch.Tensor, layout: Layout, size: int, operands: Operands
) -> dict[int, Factor]:
    below = widen(saved(node, "self")).clamp(max=0)
    return {1: Dense(layout.reduce(widen(grad) * below, size, operands[1]))}


def _embedding(
    node: Node, grad: torch.Tensor, layout: Layout, size: int, operands: Operands
) -> dict[int, Factor]:
    if saved(node, "scale_grad_by_freq"):
        raise UnsupportedError
    indices = saved(node, "indices")
    if layout.dim >= indices.dim():
        raise UnsupportedError
    g_BLD = layout.split(grad, size).flatten(1, -2)
    return {
        0: Lookup(
            layout.split(indices, size).flatten(1),
            g_BLD,
            operands[0],
            _index(saved(node, "padding_idx")),
        )
    }


def _index(value: int) -> int:
    """A padding index as torch saves it: -1 for none comes as the largest unsigned number."""
    return value - 2**64 if value >= 2**63 else value


def _embedding_bag(
    node: Node, grad: torch.Tensor, layout: Layout, size: int, operands: Operands
) -> dict[int, Factor]:
    indices, offsets = saved(node, "indices"), saved(node, "offsets")
    regular = layout == Layout(0, "alone") and len(offsets) == size and len(indices) % size == 0
    if not regular or set(operands) != {0} or saved(node, "per_sample_weights") is not None:
        raise UnsupportedError
    length = len(indices) // size
    starts = torch.arange(0, len(indices), max(length, 1), device=offsets.device)
    mode = saved(node, "mode")
    if (
        not length
        or not torch.equal(starts, offsets.long())
        or mode not in {0, 1}
        or saved(node, "scale_grad_by_freq")
    ):
        raise UnsupportedError
    padding = _index(saved(node, "padding_idx"))
    return {0: Bag(indices.view(size, length), grad, operands[0], padding, mean=mode == 1)}


RULES: dict[str, Rule] = {
    "AddBackward0": _add,
    "SubBackward0": _add,
    "MulBackward0": _mul,
    "WhereBackward0": _where,
    "ExpandBackward0": _expand,
    "RepeatBackward0": _repeat,
    "AddmmBackward0": _matmul("mat1", "mat2"),
    "MmBackward0": _matmul("self", "mat2"),
    "BmmBackward0": _matmul("self", "mat2"),
    "ConvolutionBackward0": _convolution,
    "NativeLayerNormBackward0": _layer_norm,
    "NativeBatchNormBackward0": _batch_norm,
    "NativeGroupNormBackward0": _group_norm,
    "PreluKernelBackward0": _prelu,
    "EmbeddingBackward0": _embedding,
    "EmbeddingBagBackward0": _embedding_bag,
}
