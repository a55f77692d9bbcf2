"""What `reproduce grok` prints: accuracies beside the paper's, pruning, and the timing of EL2N."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataprune.reproductions.grok import GrokResult, RunResult
from dataprune.reproductions.pruning import IN_WORDS, Order

_PRUNINGS: tuple[tuple[Order, int], ...] = (
    ("low_ipr", 65),
    ("high_ipr", 20),
    ("small", 65),
)
ZERO_HAS_NO_PERIOD = (
    "Neurons that answer 0 have no period, since 0 has no logarithm: pruned with those of low IPR, "
    "they take products that are 0 along"
)
_TIMING_STEPS = (2, 10, 20, 50, 100, 200, 300, 400)


@dataclass(frozen=True)
class Printed:
    """A table for people."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[Sequence[object]]


def tables(result: GrokResult) -> list[Printed]:
    """Everything worth reading, in the order to read it."""
    recipe = result.recipe
    what = f"modular {recipe.operation}, p = {recipe.p}, {recipe.num_neurons} neurons"
    accuracy = Printed(
        f"{what}: accuracy after the last step (in brackets the paper's)",
        ("run", "alpha", "xi", "steps", "train", "test", "phase", "mean IPR"),
        [_accuracy(run) for run in result.runs],
    )
    of_zero = f". {ZERO_HAS_NO_PERIOD}" if recipe.operation == "multiplication" else ""
    pruning = Printed(
        "After pruning neurons (corrupted: still their wrong label; relabelled: the true one)"
        + of_zero,
        ("run", "pruned", "corrupted", "relabelled", "uncorrupted", "test"),
        [row for run in result.runs for row in _pruning(run)],
    )
    first = result.runs[0]
    timing = Printed(
        f"When a score means something ({first.name}): how well EL2N tells wrong labels from right",
        ("step", "AUROC of EL2N", "test accuracy", "train accuracy", "timing gate of score"),
        _timing(first),
    )
    memorized = Printed(
        "What held-out answers do not miss, removed (our extension, experimental). AUROC: of minus "
        "the margin after it; that flip: of all wrong labels, learned before and lost",
        (
            "run", "removed", "localizability", "AUROC", "wrong labels learned",
            "that flip", "flips that are wrong", "relabelled",
        ),
        [row for run in result.runs for row in _memorized(run)],
    )  # fmt: skip
    return [table for table in (accuracy, pruning, memorized, timing) if table.rows]


def _accuracy(run: RunResult) -> list[object]:
    paper, last = run.run.paper, run.last
    told = [f"{last.train_accuracy:.4f}", f"{last.test_accuracy:.4f}"]
    if paper is not None:
        told = [f"{told[0]} ({paper.train:.4f})", f"{told[1]} ({paper.test:.4f})"]
    alpha, xi = f"{run.alpha:g}", f"{run.xi:g}"
    return [run.name, alpha, xi, run.run.steps, *told, run.phase, f"{run.mean_ipr:.3f}"]


def _pruning(run: RunResult) -> list[list[object]]:
    levels = [("nothing", run.after("low_ipr", 0))]
    levels += [
        (f"{percent} %, {IN_WORDS[order]}", run.after(order, percent))
        for order, percent in _PRUNINGS
    ]
    return [
        [run.name, name, *map(_shown, (at.corrupted, at.relabelled, at.uncorrupted, at.test))]
        for name, at in levels
    ]


def _memorized(run: RunResult) -> list[list[object]]:
    rows: list[list[object]] = []
    for basis, part in run.memorized.items():
        if part.fitted is None:  # no label is wrong
            continue
        index = f"{part.index:.3f} +- {part.index_se:.3f}"
        told = index if part.is_localizable else f"{index}: not_localizable"
        shares = (part.fitted, part.flip_recall, part.flip_precision, part.relabelled)
        what = (
            f"{part.removed} {basis}" if basis != "magnitude" else f"{part.removed} smallest units"
        )
        rows.append([run.name, what, told, _shown(part.score_auroc), *map(_shown, shares)])
    return rows


def _timing(run: RunResult) -> list[list[object]]:
    points = [p for p in run.curve if p.step in _TIMING_STEPS or p == run.last]
    return [
        [
            p.step,
            *map(_shown, (p.el2n_auroc, p.test_accuracy, p.train_accuracy)),
            "too early" if run.gate(p) else "passes",
        ]
        for p in points
        if p.el2n_auroc is not None
    ]


def _shown(share: float | None) -> str:
    return "-" if share is None else f"{share:.4f}"
