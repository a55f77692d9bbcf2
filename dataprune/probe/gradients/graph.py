"""The autograd graph of one forward pass: its nodes, its edges, and what depends on the batch.

The graph that `outputs.grad_fn` roots is a complete record of how every trainable parameter was
used, with the tensors that its gradient needs. So nothing has to be intercepted while the model
runs, and a use that is not known here cannot go unnoticed.

Shape suffixes: B batch; M places of one example that are flattened into the batch dimension.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.autograd.graph import Node

# (index of the node, which of its outputs); None where nothing needs a gradient.
Edge = tuple[int, int]
# Per node its name, its edges and, for an accumulating node, the identity of its parameter.
Signature = tuple[tuple[str, tuple[Edge | None, ...], int], ...]

ACCUMULATE = "torch::autograd::AccumulateGrad"


@dataclass(frozen=True)
class Graph:
    """Nodes in breadth-first order from the outputs, and their edges towards the parameters.

    trainable: indices of the nodes that accumulate the gradient of a trainable parameter.
    signature: what each node is and where its edges lead. Two forward passes of equal signature
        did the same operations on the same parameters; their shapes may differ.
    """

    nodes: list[Node]
    signature: Signature
    trainable: frozenset[int]

    def edges(self, index: int) -> tuple[Edge | None, ...]:
        """Where the gradients of a node's inputs go."""
        return self.signature[index][1]

    def children(self, index: int) -> list[Edge]:
        """The edges of a node that lead somewhere."""
        return [edge for edge in self.edges(index) if edge is not None]

    def operand_shape(self, index: int, operand: int) -> tuple[int, ...]:
        """The shape of a node's input that needs a gradient."""
        edge = self.edges(index)[operand]
        assert edge is not None
        return output_shapes(self.nodes[edge[0]])[edge[1]]

    def name(self, index: int) -> str:
        """What kind of node it is, as `ConvolutionBackward0`."""
        return self.signature[index][0]

    def parameter(self, index: int) -> torch.Tensor:
        """The parameter that an accumulating node ends in."""
        variable: torch.Tensor = self.nodes[index].variable  # type: ignore[attr-defined]
        return variable


def graph_of(outputs: torch.Tensor, parameters: Iterable[torch.Tensor]) -> Graph:
    """Walk the graph below `outputs`, which have a grad_fn; `parameters` are the trainable ones."""
    assert outputs.grad_fn is not None
    nodes = [outputs.grad_fn]
    index_of = {outputs.grad_fn: 0}
    signature: list[tuple[str, tuple[Edge | None, ...], int]] = []
    for node in nodes:  # grows while it is walked: breadth first, every node once
        edges: list[Edge | None] = []
        for child, number in node.next_functions:
            if child is None:
                edges.append(None)
                continue
            if child not in index_of:
                index_of[child] = len(nodes)
                nodes.append(child)
            edges.append((index_of[child], number))
        name = node.name()
        leaf = id(node.variable) if name == ACCUMULATE else 0  # type: ignore[attr-defined]
        signature.append((name, tuple(edges), leaf))
    wanted = {id(parameter) for parameter in parameters}
    trainable = frozenset(i for i, (_, _, leaf) in enumerate(signature) if leaf in wanted)
    return Graph(nodes, tuple(signature), trainable)


def saved(node: Node, name: str) -> Any:
    """A tensor or setting that a node has saved; torch raises if it was changed in place since."""
    return getattr(node, f"_saved_{name}")


def output_shapes(node: Node) -> list[tuple[int, ...]]:
    """Shapes of a node's outputs."""
    return [tuple(meta.shape) for meta in node._input_metadata]  # noqa: SLF001 (no other way)


@dataclass(frozen=True)
class Layout:
    """Where the examples are in a tensor.

    dim: the dimension that grows with the batch.
    order: "alone" if it counts only examples; "outer" if M places of each example follow one
        another, as in (B, M, ...).flatten(0, 1); "inner" if examples do, as in (M, B, ...);
        "unknown" if it is one of these two and no gradient has flown yet to tell.
    """

    dim: int
    order: Literal["alone", "outer", "inner", "unknown"]

    def split(self, tensor: torch.Tensor, num_examples: int) -> torch.Tensor:
        """(..., B * M, ...) -> a view (B, M, the other dimensions in their order)."""
        first = tensor.movedim(self.dim, 0)
        rest = first.shape[1:]
        if self.order == "inner":
            return first.reshape(-1, num_examples, *rest).transpose(0, 1)
        return first.reshape(num_examples, -1, *rest)

    def reduce(
        self, tensor: torch.Tensor, num_examples: int, shape: tuple[int, ...]
    ) -> torch.Tensor:
        """Sum each example's part to `shape`, as the gradient of a broadcast does: (B, *shape)."""
        split = self.split(tensor, num_examples)
        padded = (1,) * (tensor.dim() - len(shape)) + shape
        kept = [size for dim, size in enumerate(padded) if dim != self.dim]
        gone = [1, *(dim + 2 for dim, size in enumerate(kept) if size == 1)]
        total = split.sum(gone, dtype=wide_dtype(tensor))
        return total.reshape(num_examples, *shape)


def wide_dtype(tensor: torch.Tensor) -> torch.dtype:
    """float64 stays; everything else is summed in float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def widen(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in the type that it is summed in."""
    return tensor.to(wide_dtype(tensor))
