"""What per-example gradients are not defined for, or not computed for, said by name.

Shape suffixes: B batch.
"""

from __future__ import annotations

import torch
from torch import nn

from dataprune.core.errors import UsageError
from dataprune.probe.gradients.graph import Graph


def check_model(model: nn.Module) -> list[torch.Tensor]:
    """The trainable parameters of a model whose examples do not meet.

    Raises:
        UsageError: a module in training mode, a batch norm that reads its statistics off the batch,
            or nothing to train.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"the model is a {type(model).__name__}, not a torch.nn.Module",
            hint="its parameters could not be found; wrap it in a module",
        )
    for name, module in model.named_modules():
        where = f"module {name}" if name else "the model"
        if module.training:
            raise UsageError(
                f"{where} ({type(module).__name__}) is in training mode, where per-example "
                "gradients are random or not defined",
                hint="call model.eval() first",
            )
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:  # noqa: SLF001 (their common base)
            raise UsageError(
                f"{where} ({type(module).__name__}) has no running statistics, so every example's "
                "gradient would depend on its batch",
                hint="build it with track_running_stats=True, or use group or layer norm",
            )
    parameters: list[torch.Tensor] = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise UsageError(
            "the model has no trainable parameter",
            hint="set requires_grad of those whose gradient norm you want",
        )
    if any(p.is_inference() for p in parameters):
        raise UsageError(
            "the model was made in inference mode, where torch records no gradients",
            hint="build or load it outside torch.inference_mode()",
        )
    return parameters


def check_inputs(inputs: torch.Tensor) -> None:
    """Refuse inputs that are no batch, or that autograd cannot read.

    Raises:
        UsageError: they are not.
    """
    if not isinstance(inputs, torch.Tensor):
        raise UsageError(
            f"inputs are a {type(inputs).__name__}, not a tensor",
            hint="give torch.as_tensor(inputs), in the model's own type",
        )
    if torch.is_inference_mode_enabled() or inputs.is_inference():
        raise UsageError(
            "gradient norms were asked for in torch.inference_mode, or of inputs made in it",
            hint="use torch.no_grad() instead, and give inputs.clone() if they were made in it",
        )
    if inputs.dim() == 0:
        raise UsageError(
            "inputs are a single number, not a batch",
            hint="give a tensor whose dimension 0 is the batch",
        )


def check_outputs(outputs: object, num_examples: int) -> torch.Tensor:
    """The model's outputs, if they have one row per example.

    Raises:
        UsageError: they have not.
    """
    if not isinstance(outputs, torch.Tensor):
        raise UsageError(
            f"the model returned {type(outputs).__name__}, not a tensor",
            hint="wrap it in a module that returns its outputs (B, C)",
        )
    if outputs.dim() == 0 or outputs.shape[0] != num_examples:
        raise UsageError(
            f"the model's outputs for {num_examples} examples have shape {tuple(outputs.shape)}",
            hint="there must be one row per example",
        )
    return outputs


def check_graph(graph: Graph) -> None:
    """Refuse a graph that hides parameters.

    Raises:
        UsageError: activations are recomputed by torch's older checkpoints.
    """
    if any(name == "CheckpointFunctionBackward" for name, _, _ in graph.signature):
        raise UsageError(
            "the model recomputes activations by reentrant checkpoints, which hide its parameters",
            hint="call torch.utils.checkpoint.checkpoint with use_reentrant=False",
        )


def check_losses(losses: torch.Tensor, num_examples: int) -> None:
    """Refuse losses that are not one per example, or have no gradient.

    Raises:
        UsageError: they are not.
    """
    if not losses.requires_grad and num_examples:
        raise UsageError(
            "the loss does not depend on the outputs in a way that torch can differentiate",
            hint="compute it from the outputs with torch functions",
        )
    if losses.shape != (num_examples,):
        raise UsageError(
            f"the loss has shape {tuple(losses.shape)} for {num_examples} examples",
            hint="give one loss per example, not their mean",
        )
