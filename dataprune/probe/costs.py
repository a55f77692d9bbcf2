"""What scores cost beyond the training itself, told before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dataprune.core.recipe import Recipe
from dataprune.sources._load import Loaded

# Measured against one training step's forward and backward; a forward alone is a third of it.
_PASSES = {
    "grad_norm": (1, "a forward and a backward pass"),
    "label_gradient_BD": (1, "a forward and a backward pass"),
    "input_curvature": (11, "11 forward and backward passes"),
}
_TOLD_BYTES = 2**26


def extra_costs(recipe: Recipe, loaded: Loaded, scores: Mapping[str, Iterable[str]]) -> list[str]:
    """One line per cost beyond a forward pass, or of much memory, with the scores that share it.

    scores: {score: signals that it reads}.
    """
    from dataprune.probe.removal import OF_REMOVAL
    from dataprune.probe.signals import SIGNALS, Sizes
    from dataprune.probe.tasks import TASKS
    from dataprune.probe.unit import num_pixels

    assert recipe.task is not None
    num_rows = len(loaded.labels)
    outputs = TASKS.get(recipe.task).num_outputs(loaded.labels, len(loaded.ref.class_names))
    pixels = 0 if loaded.inputs is None else num_pixels(loaded.inputs.shape)
    sizes = Sizes(outputs, recipe.scores.window, pixels)
    at = ", ".join(map(str, recipe.checkpoints))
    times = {
        "init": (1, "before training"),
        "checkpoint": (len(recipe.checkpoints), f"at epoch {at}"),
        "epoch": (recipe.probe.last_epoch, f"after each of {recipe.probe.last_epoch} epochs"),
    }
    known = {**_PASSES, **dict.fromkeys(OF_REMOVAL, _of_removal(recipe, num_rows))}
    passes_of: dict[str, dict[str, None]] = {}  # what they cost: the scores that share it
    held_of = []
    for name, names in scores.items():
        signals = [SIGNALS.get(signal) for signal in names]
        for signal in signals:
            for quantity in signal.reads:
                if quantity in known:
                    count, when = times[signal.when]
                    passes, what = known[quantity]
                    share = count * passes / recipe.probe.last_epoch
                    cost = f"over {num_rows} rows {when}, about {share:.2g} times the training"
                    passes_of.setdefault(f"{what} {cost}", {})[name] = None
        held = sum(4 * num_rows * signal.state.width(sizes) for signal in signals)
        if held > _TOLD_BYTES:
            held_of.append(f"score {name} costs {held / 1e6:.0f} MB held per seed")
    return [_line(list(names), cost) for cost, names in passes_of.items()] + held_of


def _line(names: list[str], cost: str) -> str:
    if len(names) == 1:
        return f"score {names[0]} costs {cost}"
    return f"scores {', '.join(names)} cost {cost}, once for all"


def _of_removal(recipe: Recipe, num_rows: int) -> tuple[float, str]:
    """Passes over all rows, in steps of training, and in words."""
    if recipe.scores.layer is None:
        return 2 / 3, "two forward passes (of a wide last layer, linear algebra for twice that)"
    from dataprune.probe.removal import with_control
    from dataprune.probe.removal_inside import LEVELS, MOST_HELD_OUT

    held_out = min(MOST_HELD_OUT, num_rows // recipe.holdout.folds)
    edits = len(with_control(recipe.scores.removal))
    levels = edits * (LEVELS - 1)
    passes = 1 + edits + levels * held_out / num_rows
    what = f"{1 + edits} forward passes, and {levels} of {held_out} held-out rows,"
    return passes / 3, what
