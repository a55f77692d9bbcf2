"""Refuse what no unit could train, before any is started: one sentence, and what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe
from dataprune.probe.plan import groups_of, holds_out_folds
from dataprune.sources._load import Loaded


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


def check_signals(task_name: str, scores: Mapping[str, Iterable[str]]) -> None:
    """Refuse scores that a task cannot have, by name.

    scores: {score: signals that it reads}.

    Raises:
        UsageError: the score, what it reads and the task; the hint lists the scores that can be.
    """
    from dataprune.probe.signals import SIGNALS
    from dataprune.probe.tasks import TASKS

    task = TASKS.get(task_name)
    lacking = {
        name: sorted({SIGNALS.get(s).reads for s in signals} - task.has)
        for name, signals in scores.items()
    }
    for name, quantities in lacking.items():
        if quantities:
            fitting = [n for n, missing in lacking.items() if not missing]
            raise UsageError(
                f"score {name} reads {', '.join(quantities)}, and a {task.name} probe has none",
                hint=f"leave it out{'; it can have ' + ', '.join(fitting) if fitting else ''}",
            )


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
    from dataprune.probe.text import check_model_params, encode
    from dataprune.probe.unit import build_model, model_shape

    if recipe.task is None:
        raise UsageError("task is null, and a model needs labels to train on")
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
        if loaded.inputs is not None:
            shape = loaded.inputs.shape
        else:
            assert loaded.texts is not None
            shape = encode(model, params, loaded.texts.slice(0, 16), None).shape
        outputs = TASKS.get(recipe.task).num_outputs(loaded.labels, len(loaded.ref.class_names))
        network = build_model(recipe.probe, shape, outputs, "check").eval()
        dtype = torch.int32 if loaded.inputs is None else torch.float32
        with torch.inference_mode():
            found = tuple(network(torch.zeros((2, *model_shape(shape)), dtype=dtype)).shape)
    if found != (2, outputs):
        raise UsageError(
            f"model {model.name} answers two rows with shape {list(found)}, not [2, {outputs}]",
            hint="its last layer must have num_outputs outputs",
        )


@contextlib.contextmanager
def _as_usage_error(name: str, params: Mapping[str, object]) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, RuntimeError) as exc:
        problem = " ".join(str(exc).split())
        raise UsageError(f"model {name} cannot be built with {dict(params)}: {problem}") from exc
