"""One backward pass that makes no weight gradients: squared per-example norms along the way.

Shape suffixes: B batch, C outputs.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator

import torch
from torch.autograd.graph import GradientEdge

from dataprune.probe.gradients.factors import Factor
from dataprune.probe.gradients.graph import Graph, output_shapes, widen
from dataprune.probe.gradients.plan import Meeting, Path, Plan
from dataprune.probe.gradients.products import by_chunks, squared_rows
from dataprune.probe.gradients.rules import RULES, UnsupportedError


class UnsupportedNodeError(Exception):
    """A node's rule does not cover its settings; its parameters need the general path."""

    def __init__(self, node: int) -> None:
        super().__init__(node)
        self.node = node


class Backward:
    """Sums the plan's squared norms (B,) while gradients flow through one graph."""

    def __init__(self, graph: Graph, plan: Plan, num_examples: int) -> None:
        self.graph, self.plan, self.num_examples = graph, plan, num_examples
        self._squared_B: torch.Tensor | None = None
        self._by_operand: dict[tuple[int, int], list[tuple[int, Path]]] = {}
        for parameter, ways in plan.paths.items():
            for way in ways:
                self._by_operand.setdefault((way.node, way.operand), []).append((parameter, way))
        self._waiting: dict[int, list[tuple[Factor, Path]]] = {}

    def run(self, outputs: torch.Tensor, grads_BC: torch.Tensor) -> torch.Tensor:
        """Squared norm over the plan's parameters, float64 (B,). The graph is freed.

        grads_BC: gradients of the examples' losses at the model's outputs.

        Raises:
            UnsupportedNodeError: a node's settings have no rule.
        """
        self._squared_B = torch.zeros(self.num_examples, dtype=torch.float64, device=outputs.device)
        last = sorted(self.plan.last)
        if last:
            edges = [GradientEdge(self.graph.nodes[i], 0) for i in last]
            with _full_speed(outputs.device), self._hooks():
                grads = torch.autograd.grad(outputs, edges, grads_BC, allow_unused=True)
            with _full_speed(outputs.device), torch.no_grad():
                for i, grad in zip(last, grads, strict=True):
                    self._meet(self.plan.meetings[i], (grad,))
                for parameter in list(self._waiting):
                    self._finish(parameter)
        return self._squared_B

    @contextlib.contextmanager
    def _hooks(self) -> Iterator[None]:
        handles = []
        for i, meeting in self.plan.meetings.items():
            if i not in self.plan.last:
                hook = functools.partial(self._meet, meeting)
                handles.append(self.graph.nodes[i].register_prehook(hook))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _meet(self, meeting: Meeting, grads: tuple[torch.Tensor | None, ...]) -> None:
        if grads[0] is None:
            return
        with torch.no_grad():
            if meeting.layout.order == "unknown" and grads[0].any():
                raise UnsupportedNodeError(meeting.node)
            node = self.graph.nodes[meeting.node]
            rule = RULES[self.graph.name(meeting.node)]
            shapes = {n: self.graph.operand_shape(meeting.node, n) for n in meeting.operands}
            try:
                factors = rule(node, grads[0], meeting.layout, self.num_examples, shapes)
            except UnsupportedError as exc:
                raise UnsupportedNodeError(meeting.node) from exc
            for operand, factor in factors.items():
                for parameter, way in self._by_operand[meeting.node, operand]:
                    self._take(parameter, factor, way)

    def _take(self, parameter: int, factor: Factor, way: Path) -> None:
        if parameter in self.plan.alone:
            self._add(factor.squared())
            return
        waiting = self._waiting.setdefault(parameter, [])
        waiting.append((factor, way))
        ways = self.plan.paths[parameter]
        # While gradients flow, nodes answer only for what was asked of them: those with steps wait.
        if len(waiting) == len(ways) and not any(way.steps for way in ways):
            self._finish(parameter)

    def _finish(self, parameter: int) -> None:
        """Add the gradients of a parameter's uses, then take the norm."""
        parts = self._waiting.pop(parameter)
        numel = self.graph.parameter(parameter).numel()

        def compute(here: slice) -> torch.Tensor:
            total = self._pushed(*parts[0], here)
            for factor, way in parts[1:]:
                total = total + self._pushed(factor, way, here)
            return squared_rows(total)

        self._add(by_chunks(self.num_examples, 8 * numel, compute))

    def _pushed(self, factor: Factor, way: Path, here: slice) -> torch.Tensor:
        """A factor's gradients, taken down to the parameter: (b, *its shape)."""
        values = factor.gradients(here)
        for index, output, number in way.steps:
            if self.graph.name(index) != "ToCopyBackward0":  # a change of type would lose digits
                values = _through(self.graph, index, output, number, values)
        return values

    def _add(self, squared_B: torch.Tensor) -> None:
        assert self._squared_B is not None
        self._squared_B += squared_B


@contextlib.contextmanager
def _full_speed(device: torch.device) -> Iterator[None]:
    """Sums in their own type, and no NaN written to memory before it is used.

    Deterministic torch fills what it allocates, for code that reads memory it has not written; that
    was a sixth of a backward pass of a small network, and no kernel of a backward pass does so.
    """
    before = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = before  # type: ignore[attr-defined]


def _through(
    graph: Graph, index: int, output: int, number: int, values: torch.Tensor
) -> torch.Tensor:
    """The backward of one node for each example: gradients of its output to those of an input."""
    node = graph.nodes[index]
    num_outputs = len(output_shapes(node))
    shape = graph.operand_shape(index, number)

    def call(value: torch.Tensor) -> torch.Tensor:
        grads = [value if i == output else None for i in range(num_outputs)]
        below = node(*grads)  # type: ignore[operator]
        result: torch.Tensor = below[number] if isinstance(below, tuple) else below
        return result.sum_to_size(shape)  # of what was broadcast: else the engine does it

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*batching rule", category=UserWarning)
        return widen(torch.vmap(call)(values))
