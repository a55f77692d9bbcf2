"""The pass that computes gradient norms: forward, plan once, backward, check once.

Shape suffixes: B batch, C outputs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import torch
from torch import nn
from torch.autograd.graph import GradientEdge

from dataprune.core.errors import UsageError
from dataprune.probe.gradients.backward import Backward, UnsupportedNodeError
from dataprune.probe.gradients.general import GeneralPath, plain_squared
from dataprune.probe.gradients.graph import Graph, Signature, graph_of
from dataprune.probe.gradients.plan import OneByOne, Plan, all_general, make_plan
from dataprune.probe.gradients.refusals import (
    check_graph,
    check_inputs,
    check_losses,
    check_model,
    check_outputs,
)

# How far norms may be from those of batches of one, relative to the largest. What is within the
# second bound but not the first is the arithmetic of a network that magnifies rounding.
_EXACT, _ROUNDED, _COARSE = 1e-4, 1e-2, 0.1


class GradientNorms:
    """Exact per-example gradient norms of one model in eval mode, over many batches.

    A norm is the L2 norm, over all parameters with requires_grad, of the gradient of one example's
    own loss (Paul et al. 2021, arXiv 2107.07075, Definition 2.1 before the mean over runs). It
    costs about as much as a plain forward and backward pass of the same batch. Sums are float32 or
    wider, also where the model or autocast works in bfloat16 or float16; gradients on the way are
    then as rough as those types are.

    The first batch of each kind is checked: two of its examples are computed by plain autograd as
    batches of one. If the fast way disagrees, the model takes the slow one; if outputs depend on
    which other examples are in the batch, the model is refused.

    Nothing of the model, of torch's settings or of its random state is changed, also after an
    error; no .grad is written.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._plans: dict[Signature, Plan] = {}
        self._general = GeneralPath(model)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._plans.clear()

    def __call__(
        self,
        inputs: torch.Tensor,
        per_example_loss: Callable[[torch.Tensor], torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One batch: the model's outputs (B, C), detached, and the norms, float32 (B,).

        inputs: numbers or integer ids; dimension 0 is the batch.
        per_example_loss: outputs_BC -> (B,), differentiable. Half-precision outputs are given to
            it, and returned, as float32.

        Raises:
            UsageError: a module in training mode, a model that couples examples or draws random
                numbers, nothing to train, inputs or outputs that are no batch.
        """
        parameters = check_model(self.model)
        check_inputs(inputs)
        inputs = inputs.detach()
        with _same_random_numbers(inputs.device), torch.enable_grad():
            outputs = check_outputs(self.model(inputs), len(inputs))
            leaf = outputs.detach()
            leaf = (leaf if leaf.dtype == torch.float64 else leaf.float()).requires_grad_()
            losses = per_example_loss(leaf)
            check_losses(losses, len(inputs))
            (grads_BC,) = torch.autograd.grad(losses.sum(), leaf)
            scale_B, scaled_BC = _scaled(grads_BC)
            squared_B = self._squared(parameters, inputs, outputs, scaled_BC.to(outputs.dtype))
        norms_B = squared_B.clamp(min=0).sqrt() * scale_B  # Gram forms may round below zero
        return leaf.detach(), norms_B.float()

    def _squared(
        self,
        parameters: list[torch.Tensor],
        inputs: torch.Tensor,
        outputs: torch.Tensor,
        grads_BC: torch.Tensor,
    ) -> torch.Tensor:
        """Squared norms, float64 (B,), given the gradients at the outputs."""
        if not outputs.requires_grad or not len(inputs):
            return torch.zeros(len(inputs), dtype=torch.float64, device=outputs.device)
        graph = graph_of(outputs, parameters)
        check_graph(graph)
        if len(inputs) == 1:
            return plain_squared(parameters, outputs, grads_BC)[None]
        plan = self._plans.get(graph.signature)
        if plan is not None and plan.fits(graph, len(inputs)):
            squared_B, plan = self._follow(plan, graph, parameters, inputs, outputs, grads_BC)
        else:
            squared_B, plan = self._first(graph, parameters, inputs, outputs, grads_BC)
        self._plans[graph.signature] = plan
        return squared_B

    def _follow(
        self,
        plan: Plan,
        graph: Graph,
        parameters: list[torch.Tensor],
        inputs: torch.Tensor,
        outputs: torch.Tensor,
        grads_BC: torch.Tensor,
    ) -> tuple[torch.Tensor, Plan]:
        """Squared norms by a plan, and the plan without what it turned out not to cover."""
        while True:
            try:
                squared_B = Backward(graph, plan, len(inputs)).run(outputs, grads_BC)
                break
            except UnsupportedNodeError as exc:
                plan = plan.without(graph, exc.node)
                outputs = self.model(inputs)  # the graph is partly freed
                graph = graph_of(outputs, parameters)
        if plan.general:
            slow = [graph.parameter(i) for i in sorted(plan.general)]
            squared_B += self._general.squared(slow, inputs, grads_BC)
        return squared_B, plan

    def _first(
        self,
        graph: Graph,
        parameters: list[torch.Tensor],
        inputs: torch.Tensor,
        outputs: torch.Tensor,
        grads_BC: torch.Tensor,
    ) -> tuple[torch.Tensor, Plan]:
        """Make a plan, follow it, and compare two examples with plain autograd.

        Raises:
            UsageError: the model couples examples, or no way agrees with plain autograd.
        """
        rows = [0, len(inputs) - 1]
        expected_2 = self._batches_of_one(parameters, inputs, outputs, grads_BC, rows)
        tried = (
            (self._planned(graph, parameters, inputs, grads_BC), _EXACT),
            (all_general(graph), _ROUNDED),
        )
        for plan, bound in tried:
            try:
                squared_B, followed = self._follow(
                    plan, graph, parameters, inputs, outputs, grads_BC
                )
            except RuntimeError as exc:  # an operation that does what no rule knows of
                if not plan.meetings or isinstance(exc, torch.OutOfMemoryError):
                    raise
                continue
            found_2 = squared_B[rows].clamp(min=0)
            if _close(found_2.sqrt(), expected_2.sqrt(), _tolerance(outputs, bound)):
                return squared_B, followed
        raise UsageError(
            "per-example gradients of the model differ from those of batches of one",
            hint="look for state that its forward pass keeps between calls",
        )

    def _batches_of_one(
        self,
        parameters: list[torch.Tensor],
        inputs: torch.Tensor,
        outputs: torch.Tensor,
        grads_BC: torch.Tensor,
        rows: list[int],
    ) -> torch.Tensor:
        """Squared norms of some examples by plain autograd, float64 (len(rows),).

        Raises:
            UsageError: an output is not what it is in the batch, or torch has no gradient.
        """
        squared = []
        for row in rows:
            here = slice(row, row + 1)
            alone = self.model(inputs[here])
            if not _close(outputs[here].detach(), alone.detach(), _tolerance(outputs, _ROUNDED)):
                raise UsageError(
                    "the model's outputs for an example depend on the other examples of its batch",
                    hint="per-example gradients exist only where each example is on its own",
                )
            try:
                squared.append(plain_squared(parameters, alone, grads_BC[here]))
            except RuntimeError as exc:
                raise UsageError(
                    f"torch finds no gradient of the model: {' '.join(str(exc).split())}",
                    hint="a plain backward pass fails in the same way",
                ) from exc
        return torch.stack(squared)

    def _planned(
        self,
        graph: Graph,
        parameters: list[torch.Tensor],
        inputs: torch.Tensor,
        grads_BC: torch.Tensor,
    ) -> Plan:
        """A plan from passes over two and three examples; the general path if their graphs vary."""
        rows = [0, len(inputs) // 2, len(inputs) - 1]
        examples = [inputs[row : row + 1] for row in rows]  # cat keeps their memory format
        two = graph_of(self.model(torch.cat(examples[:2])), parameters)
        outputs_3 = self.model(torch.cat(examples))
        three = graph_of(outputs_3, parameters)
        if not two.signature == three.signature == graph.signature:
            return all_general(graph)

        def example_grads(nodes: list[int], whole: bool) -> OneByOne:  # noqa: FBT001
            if whole:
                outputs, chosen = self.model(inputs), {0: 0, 1: 1, len(inputs) - 1: len(inputs) - 1}
                run = graph_of(outputs, parameters)
            else:
                outputs, chosen, run = outputs_3, dict(enumerate(rows)), three
            edges = [GradientEdge(run.nodes[i], 0) for i in nodes]
            found: dict[int, list[torch.Tensor | None]] = {}
            for example, row in chosen.items():
                only = torch.zeros_like(outputs)
                only[example] = grads_BC[row]
                grads = torch.autograd.grad(
                    outputs, edges, only, retain_graph=True, allow_unused=True
                )
                found[example] = [*grads]
            return OneByOne(len(outputs), found)

        return make_plan(two, three, example_grads)


def _scaled(grads_BC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A power of two per example, float64 (B,), and the gradients divided by it.

    Gradients flow linearly, so each example's can be computed at the size of one: the squares of
    an example with p_label = 1 - 1e-20 would vanish in float32.
    """
    _, exponent_B = torch.frexp(grads_BC.flatten(1).abs().amax(1).double())
    scale_B = torch.ldexp(torch.ones_like(exponent_B, dtype=torch.float64), exponent_B)
    shape = [-1, *[1] * (grads_BC.dim() - 1)]
    return scale_B, (grads_BC.double() / scale_B.view(shape)).to(grads_BC.dtype)


def _tolerance(outputs: torch.Tensor, bound: float) -> float:
    """The bound, or what half-precision and TF32 arithmetic allow if that is more."""
    half = outputs.dtype in {torch.bfloat16, torch.float16}
    if half or torch.is_autocast_enabled(outputs.device.type):
        return _COARSE
    matmul_tf32 = torch.get_float32_matmul_precision() != "highest"
    tf32 = outputs.is_cuda and (matmul_tf32 or torch.backends.cudnn.allow_tf32)
    return max(bound, _ROUNDED) if tf32 else bound


def _close(values: torch.Tensor, expected: torch.Tensor, tolerance: float) -> bool:
    largest = float(expected.abs().nan_to_num(posinf=0, neginf=0).max()) if expected.numel() else 0
    return torch.allclose(
        values.double(), expected.double(), rtol=0, atol=tolerance * largest, equal_nan=True
    )


@contextlib.contextmanager
def _same_random_numbers(device: torch.device) -> Iterator[None]:
    """Refuse a model that draws random numbers, and put the generators back where they were.

    Raises:
        UsageError: it drew some.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        before = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, devices)]
        yield
        after = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, devices)]
    if not all(map(torch.equal, before, after)):
        raise UsageError(
            "the model draws random numbers in eval mode",
            hint="its gradients are then no property of the example: switch what draws them off",
        )
