"""Refuse what no unit could train, before any is started: one sentence, and what to do."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe
from dataprune.probe.plan import groups_of, holds_out_folds
from dataprune.sources._load import Loaded

if TYPE_CHECKING:
    import torch
    from torch import nn

    from dataprune.probe.tasks import Task


def check_trainable(recipe: Recipe, loaded: Loaded) -> None:
    """Refuse a recipe that cannot be trained on these examples.

    Raises:
        UsageError: no labels, one class, too few rows or seeds, augmentation without effect, an
            input that the model does not read, unknown model or parameters.
    """
    if recipe.task is None:
        raise UsageError(
            "task is null, and a probe needs labels to train on",
            hint="set task, or ask only for scores that need no probe (--score random)",
        )
    _check_labels(loaded)
    if holds_out_folds(recipe, loaded):
        _check_folds(recipe, loaded)
    _check_augment(recipe, loaded)
    check_model(recipe, loaded)
    if recipe.probes_give_features:
        from dataprune.probe.features import check_features

        check_features(recipe.probe.model.chosen, *_blank_run(recipe, loaded))


def check_signals(recipe: Recipe, loaded: Loaded, scores: Mapping[str, Iterable[str]]) -> None:
    """Refuse scores that this probe cannot have, by name.

    scores: {score: signals that it reads}.

    Raises:
        UsageError: the score, what it reads and why there is none of it: the task, the kind of the
            input, the mode, the model; the hint says what to change or leave out.
    """
    from dataprune.probe.signals import SIGNALS
    from dataprune.probe.tasks import TASKS

    assert recipe.task is not None
    task = TASKS.get(recipe.task)
    reads = {
        name: {q for signal in signals for q in SIGNALS.get(signal).reads}
        for name, signals in scores.items()
    }
    lacking = {
        name: {q: lack for q in sorted(q_s) if (lack := _lacks(q, task, recipe, loaded))}
        for name, q_s in reads.items()
    }
    for name, reasons in lacking.items():
        if reasons:
            quantity, (why, change) = next(iter(reasons.items()))
            fitting = [n for n, missing in lacking.items() if not missing]
            others = f"; it can have {', '.join(fitting)}" if fitting else ""
            raise UsageError(
                f"score {name} reads {quantity}, and {why}", hint=f"{change}leave it out{others}"
            )
    dear = sorted({q for q_s in reads.values() for q in q_s - task.has})
    if dear:
        _check_gradients(recipe, loaded, dear)


def _lacks(quantity: str, task: Task, recipe: Recipe, loaded: Loaded) -> tuple[str, str] | None:
    """Why a probe lacks a quantity, and what could be changed; None if it has it."""
    from dataprune.probe.observer import OF_LABEL_LOGITS, OF_MODELS, OF_NUMBERS
    from dataprune.probe.removal import OF_REMOVAL

    if quantity in task.has:
        return None
    if quantity not in OF_MODELS | OF_NUMBERS | OF_LABEL_LOGITS | OF_REMOVAL:
        return f"a {task.name} probe has none", ""
    if quantity in OF_LABEL_LOGITS | OF_REMOVAL and "p_label" not in task.has:
        return f"a {task.name} probe has no one label", ""
    if recipe.scores.mode == "train":
        return "training steps do not show it", "set scores.mode: eval, or "
    if quantity in OF_REMOVAL and not holds_out_folds(recipe, loaded):
        wants = "with a test split no seed holds rows of the source out, to say what generalizes"
        return (
            wants,
            "set holdout: {folds: 5, repeats: 2} in the recipe, which trains 10 seeds, or ",
        )
    if quantity not in OF_MODELS | OF_REMOVAL and loaded.inputs is None:
        return "the input is text, which has no numbers to look at", ""
    return None


def _check_gradients(recipe: Recipe, loaded: Loaded, quantities: list[str]) -> None:
    """Try them on two blank rows, so that a model without gradients is refused at once."""
    import torch

    from dataprune.probe.observer import look
    from dataprune.probe.removal import OF_REMOVAL
    from dataprune.probe.removal_inside import worth_of_units
    from dataprune.probe.tasks import TASKS

    assert recipe.task is not None
    task = TASKS.get(recipe.task)
    network, inputs = _blank_run(recipe, loaded)
    targets = torch.from_numpy(task.targets(loaded.labels[:2], loaded.labels))
    layer, tried = recipe.scores.layer, set(quantities) - OF_REMOVAL
    removes = len(tried) < len(quantities)
    if removes and layer is None:
        tried.add("grad_norm_last")  # of the layer that the removal is of
    elif removes:
        _check_layer(recipe, network, inputs)
    try:
        look(network, task, inputs, targets, tried)
        if removes and layer is not None:
            worth_of_units(network, network.get_submodule(layer), inputs, targets)
    except RuntimeError as exc:
        problem = " ".join(str(exc).split())
        raise UsageError(
            f"model {recipe.probe.model.name} gives no {', '.join(quantities)}: {problem}",
            hint="leave out the scores that read it",
        ) from exc


def _check_layer(recipe: Recipe, network: nn.Module, inputs: torch.Tensor) -> None:
    """Refuse a scores.layer from whose output nothing can be removed, shown by a forward pass."""
    import torch

    layer, model = recipe.scores.layer, recipe.probe.model.name
    assert layer is not None
    given: dict[str, list[Any]] = {name: [] for name, _ in network.named_modules() if name}

    def watch(name: str, module: nn.Module) -> Any:
        return module.register_forward_hook(lambda _module, _args, out: given[name].append(out))

    handles = [watch(name, module) for name, module in network.named_modules() if name]
    with torch.no_grad():
        network(inputs)
    for handle in handles:
        handle.remove()
    fitting = [n for n, outs in given.items() if len(outs) == 1 and _has_units(outs[0], inputs)]
    if layer not in given:
        problem = f"model {model} has no module {layer}"
    elif len(given[layer]) != 1:
        problem = (
            f"module {layer} of model {model} runs {len(given[layer])} times in a forward pass, "
            "and scores.layer wants one output"
        )
    elif layer not in fitting:
        problem = (
            f"module {layer} of model {model} gives {_told(given[layer][0])}, and scores.layer "
            "wants floats of 2, 3 or 4 dimensions, the first of them rows"
        )
    else:
        return
    kinds = [f"{n} ({type(network.get_submodule(n)).__name__})" for n in fitting]
    close = difflib.get_close_matches(layer, fitting, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    raise UsageError(problem, hint=f"{meant}known, in quotes if a number: {', '.join(kinds)}")


def _has_units(output: Any, inputs: torch.Tensor) -> bool:
    import torch

    return (
        isinstance(output, torch.Tensor)
        and output.is_floating_point()
        and output.dim() in {2, 3, 4}
        and len(output) == len(inputs)
    )


def _told(output: Any) -> str:
    """What a module gave, in words: float32 [2, 8], or tuple."""
    shape = getattr(output, "shape", None)
    if shape is None:
        return type(output).__name__
    return f"{str(output.dtype).removeprefix('torch.')} {list(shape)}"


def _check_labels(loaded: Loaded) -> None:
    labels = loaded.labels
    if labels.ndim == 1:
        present = len(np.unique(labels))
        if present < 2:
            raise UsageError(
                f"source {loaded.ref.uri} has {present} class; a probe needs two or more"
            )
    elif (labels == labels[0]).all():
        raise UsageError(
            f"every row of source {loaded.ref.uri} has the same label; there is nothing to learn"
        )


def _check_folds(recipe: Recipe, loaded: Loaded) -> None:
    if recipe.seeds < 2:
        raise UsageError(
            "one seed is not enough without a test split: each seed leaves its own fold unscored",
            hint="use --seeds 2 or more",
        )
    num_rows, folds = len(loaded.labels), recipe.holdout.folds
    groups = groups_of(loaded)
    units = num_rows if groups is None else len(np.unique(groups))
    if units < 2 * folds:
        what = f"{num_rows} rows" if groups is None else f"{num_rows} rows in {units} groups"
        raise UsageError(
            f"source {loaded.ref.uri} has {what}, too few for {folds} folds",
            hint="lower holdout.folds in the recipe, or give a test split",
        )


def _check_augment(recipe: Recipe, loaded: Loaded) -> None:
    augment = recipe.probe.augment
    if not (augment.crop or augment.flip):
        return
    if loaded.inputs is None or loaded.inputs.ndim != 4:
        what = "text" if loaded.inputs is None else "feature vectors"
        raise UsageError(
            f"probe.augment crops and flips images, and the input is {what}",
            hint="remove probe.augment from the recipe",
        )
    smallest = min(loaded.inputs.shape[1:3])
    if augment.crop >= smallest:
        raise UsageError(
            f"probe.augment.crop is {augment.crop} pixels and the images are {smallest} wide",
            hint="use a smaller crop",
        )


def check_model(recipe: Recipe, loaded: Loaded) -> None:
    """Refuse a model that does not take these parameters or inputs, shown by building it once.

    Raises:
        UsageError: what it does not take.
    """
    import torch

    from dataprune.probe.models import find_model
    from dataprune.probe.tasks import TASKS
    from dataprune.probe.team_norm import with_whole_batch_norms
    from dataprune.probe.text import check_model_params

    if recipe.task is None:
        raise UsageError("task is null, and a model needs labels to train on")
    _check_workers(recipe, loaded)
    model, params = find_model(recipe.probe.model.chosen), recipe.probe.model.params
    check_model_params(model, params)
    if (model.encode is None) != (loaded.inputs is not None):
        kind = loaded.ref.kind
        fitting = {"text": "text_bag", "image": "small_cnn", "features": "mlp"}[kind]
        raise UsageError(
            f"model {model.name} does not read {kind}, and the input column "
            f"{', '.join(loaded.ref.columns.inputs)} is {kind}",
            hint=f"set probe.model.name to {fitting}",
        )
    with _as_usage_error(model.name, params):
        network, inputs = _blank_run(recipe, loaded)
        with torch.inference_mode():
            found = tuple(network(inputs).shape)
    if recipe.run.workers > 1:
        with_whole_batch_norms(network)
    outputs = TASKS.get(recipe.task).num_outputs(loaded.labels, len(loaded.ref.class_names))
    if found != (2, outputs):
        raise UsageError(
            f"model {model.name} answers two rows with shape {list(found)}, not [2, {outputs}]",
            hint="its last layer must have num_outputs outputs",
        )


def _check_workers(recipe: Recipe, loaded: Loaded) -> None:
    """Refuse several workers where none can meet, or some would have nothing to do."""
    workers = recipe.run.workers
    if workers == 1:
        return
    if recipe.run.runner == "local":
        raise UsageError(
            f"run.workers is {workers}, and the local runner has one process for a unit",
            hint="choose the ray runner (--runner ray), or set run.workers to 1",
        )
    batch_size = min(recipe.probe.batch_size, len(loaded.labels) // 2)
    if batch_size < workers:
        raise UsageError(
            f"{workers} workers cannot share out batches of {batch_size}",
            hint="lower run.workers, or raise probe.batch_size",
        )


def _blank_run(recipe: Recipe, loaded: Loaded) -> tuple[nn.Module, torch.Tensor]:
    """The recipe's model in eval mode, untrained, and two rows of zeros for it."""
    import torch

    from dataprune.probe.models import find_model
    from dataprune.probe.tasks import TASKS
    from dataprune.probe.text import encode
    from dataprune.probe.unit import build_model, model_shape

    assert recipe.task is not None
    if loaded.inputs is not None:
        shape = loaded.inputs.shape
    else:
        assert loaded.texts is not None
        model, params = find_model(recipe.probe.model.chosen), recipe.probe.model.params
        shape = encode(model, params, loaded.texts.slice(0, 16), None).shape
    outputs = TASKS.get(recipe.task).num_outputs(loaded.labels, len(loaded.ref.class_names))
    network = build_model(recipe.probe, shape, outputs, "check").eval()
    dtype = torch.int32 if loaded.inputs is None else torch.float32
    return network, torch.zeros((2, *model_shape(shape)), dtype=dtype)


@contextlib.contextmanager
def _as_usage_error(name: str, params: Mapping[str, object]) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, RuntimeError) as exc:
        problem = " ".join(str(exc).split())
        raise UsageError(f"model {name} cannot be built with {dict(params)}: {problem}") from exc
