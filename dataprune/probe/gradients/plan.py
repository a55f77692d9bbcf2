"""Where in a graph parameters meet examples, and what leads from there to each parameter.

Nodes whose outputs grow with the batch depend on examples; all others depend on parameters alone.
An edge from the first kind to the second is where per-example gradients appear: one rule per kind
of node turns it into a factor. Below the edge are functions of parameters (a transposed view, a
slice, weight normalisation) through which per-example gradients are pushed one example at a time.

To tell the two kinds apart and to find each tensor's batch dimension, the model is run on two and
on three examples: what grows in that ratio belongs to the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch.autograd.graph import Node

from dataprune.probe.gradients.graph import Edge, Graph, Layout, output_shapes
from dataprune.probe.gradients.rules import RULES

# What keeps the norm of a gradient that is pushed through it: views and copies.
_KEEPS_NORM = frozenset(
    f"{name}Backward{variant}"
    for name in (
        *("Alias", "Clone", "Permute", "ReshapeAlias", "Select", "Slice", "Split", "T", "View"),
        *("SplitWithSizes", "Squeeze", "ToCopy", "Transpose", "Unbind", "UnsafeView", "Unsqueeze"),
    )
    for variant in range(3)
)
_MOST_PATHS = 64


@dataclass(frozen=True)
class Path:
    """From an operand of a node down to a parameter.

    steps: (node, which of its outputs, which of its inputs) of every node between them.
    """

    node: int
    operand: int
    steps: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Meeting:
    """A node where parameters meet examples.

    operands: its inputs that are parameters, or functions of parameters alone.
    """

    node: int
    layout: Layout
    operands: frozenset[int]


@dataclass(frozen=True)
class Plan:
    """How to get every trainable parameter's per-example gradient from one kind of graph.

    meetings: by node. last: those with no other below them; backward stops there.
    paths: by parameter (index of its accumulating node); every way on which gradient reaches it.
    alone: parameters with a single path that keeps the norm.
    general: parameters that take the general path.
    """

    meetings: dict[int, Meeting]
    last: frozenset[int]
    paths: dict[int, list[Path]]
    alone: frozenset[int]
    general: frozenset[int]

    def without(self, graph: Graph, node: int) -> Plan:
        """The plan with the parameters of one node on the general path."""
        reached = {p for p, ways in self.paths.items() if any(way.node == node for way in ways)}
        layouts = {i: meeting.layout for i, meeting in self.meetings.items()}
        return _assemble(graph, layouts, self.paths, self.general | reached)

    def fits(self, graph: Graph, num_examples: int) -> bool:
        """Whether the batch is as flat in this graph as in the one that the plan was made from."""
        return all(
            meeting.layout.order != "alone"
            or output_shapes(graph.nodes[i])[0][meeting.layout.dim] == num_examples
            for i, meeting in self.meetings.items()
        )


def all_general(graph: Graph) -> Plan:
    """The plan that takes the general path for every parameter."""
    return Plan({}, frozenset(), {}, frozenset(), graph.trainable)


@dataclass(frozen=True)
class OneByOne:
    """Gradients when only one example of a batch has a loss.

    grads: for some nodes, by example, the gradients at their first output.
    """

    num_examples: int
    grads: dict[int, list[torch.Tensor | None]]


# The nodes, and whether the whole batch is to be run: else three examples are.
ExampleGrads = Callable[[list[int], bool], OneByOne]


def make_plan(two: Graph, three: Graph, example_grads: ExampleGrads) -> Plan:
    """Read the plan off the graphs of two and of three examples, which have equal signatures."""
    growing = [_growing(a, b) for a, b in zip(two.nodes, three.nodes, strict=True)]
    depends = {i for i, dims in enumerate(growing) if dims}
    mixes = any(
        dims is None or (not dims and any(c[0] in depends for c in two.children(i)))
        for i, dims in enumerate(growing)
    )
    if mixes:  # some number comes from more than one example, as far as shapes tell
        return all_general(two)
    paths: dict[int, list[Path]] = {parameter: [] for parameter in two.trainable}
    found: set[int] = set()
    for i in sorted(depends):
        for number, edge in enumerate(two.edges(i)):
            if edge is None or edge[0] in depends:
                continue
            for parameter, steps in _ways_down(two, edge):
                found.add(i)
                paths[parameter].append(Path(i, number, steps))
    layouts = _layouts(two, growing, sorted(found), example_grads)
    general = {
        parameter
        for parameter, ways in paths.items()
        if len(ways) > _MOST_PATHS or any(way.node not in layouts for way in ways)
    }
    return _assemble(two, layouts, paths, frozenset(general))


def _growing(two: Node, three: Node) -> set[int] | None:
    """Dimensions of the first output that grow with the batch; None if some size grows otherwise.

    Outputs after the first are statistics: they grow with the first, or not at all.
    """
    found: list[set[int]] = []
    for a, b in zip(output_shapes(two), output_shapes(three), strict=True):
        if len(a) != len(b):
            return None
        found.append({dim for dim, (m, n) in enumerate(zip(a, b, strict=True)) if m != n})
        if any(3 * a[dim] != 2 * b[dim] for dim in found[-1]):
            return None
    return found[0] if found else set()


def _ways_down(graph: Graph, edge: Edge) -> Iterator[tuple[int, tuple[tuple[int, int, int], ...]]]:
    """Every parameter below an edge, with the steps to it."""
    stack: list[tuple[Edge, tuple[tuple[int, int, int], ...]]] = [(edge, ())]
    while stack:
        (node, output), steps = stack.pop()
        if node in graph.trainable:
            yield node, steps
        for number, below in enumerate(graph.edges(node)):
            if below is not None:
                stack.append((below, (*steps, (node, output, number))))


def _layouts(
    graph: Graph,
    growing: list[set[int] | None],
    nodes: list[int],
    example_grads: ExampleGrads,
) -> dict[int, Layout]:
    """The layout of every node's output that has a rule and a single batch dimension."""
    layouts = {}
    flattened = {}
    for i in nodes:
        dims = growing[i]
        if graph.name(i) not in RULES or dims is None or len(dims) != 1:
            continue
        (dim,) = dims
        if output_shapes(graph.nodes[i])[0][dim] == 2:
            layouts[i] = Layout(dim, "alone")
        else:
            flattened[i] = dim
    # Where only a few places get gradients (a class token's), three examples may fit both orders.
    for whole in (False, True):
        if not flattened:
            break
        seen = example_grads(list(flattened), whole)
        for column, (i, dim) in enumerate(list(flattened.items())):
            orders = _orders({e: grads[column] for e, grads in seen.grads.items()}, dim, seen)
            if len(orders) == 1:
                layouts[i] = Layout(dim, orders.pop())
            if len(orders) < 2:
                del flattened[i]
            elif whole and not any(_flows(grads[column]) for grads in seen.grads.values()):
                layouts[i] = Layout(dim, "unknown")
    return layouts


def _flows(grad: torch.Tensor | None) -> bool:
    return grad is not None and bool(grad.any())


def _orders(
    grads: dict[int, torch.Tensor | None], dim: int, seen: OneByOne
) -> set[Literal["outer", "inner"]]:
    """How examples may lie in a flattened dimension: told by where each one's gradient is not 0."""
    size = seen.num_examples
    fits: set[Literal["outer", "inner"]] = {"outer", "inner"}
    for example, grad in grads.items():
        if grad is None:
            continue
        rows = grad.movedim(dim, 0).ne(0).reshape(grad.shape[dim], -1).any(1)
        others = torch.arange(size, device=rows.device) != example
        if rows.view(size, -1)[others].any():
            fits.discard("outer")
        if rows.view(-1, size)[:, others].any():
            fits.discard("inner")
    return fits


def _assemble(
    graph: Graph, layouts: dict[int, Layout], paths: dict[int, list[Path]], general: frozenset[int]
) -> Plan:
    """A plan that does only what the parameters off the general path need."""
    needed = {p: ways for p, ways in paths.items() if p not in general}
    operands: dict[int, set[int]] = {}
    for way in (way for ways in needed.values() for way in ways):
        operands.setdefault(way.node, set()).add(way.operand)
    kept = {i: Meeting(i, layouts[i], frozenset(used)) for i, used in operands.items()}
    alone = frozenset(
        p
        for p, ways in needed.items()
        if len(ways) == 1 and all(graph.name(node) in _KEEPS_NORM for node, _, _ in ways[0].steps)
    )
    last = frozenset(i for i in kept if not _has_below(graph, i, kept))
    return Plan(kept, last, needed, alone, general)


def _has_below(graph: Graph, start: int, nodes: Container[int]) -> bool:
    """Whether one of `nodes` is below `start`."""
    seen = {start}
    stack = [start]
    while stack:
        for child, _ in graph.children(stack.pop()):
            if child in nodes:
                return True
            if child not in seen:
                seen.add(child)
                stack.append(child)
    return False
