"""The paper's pictures from a result: accuracy, IPR, pruning, and when EL2N means something."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dataprune.core.extras import require
from dataprune.core.files import atomic_path
from dataprune.reproductions.grok import GrokResult, RunResult
from dataprune.reproductions.pruning import IN_WORDS, Order

# Okabe and Ito's palette, told apart by all kinds of colour vision; lines differ in dashes, too.
_BLUE, _ORANGE, _GREEN, _PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
_KINDS = (
    ("test", "test", _BLUE, "-"),
    ("uncorrupted", "uncorrupted, trained on", _GREEN, "--"),
    ("corrupted", "corrupted, given label", _ORANGE, "-"),
    ("relabelled", "corrupted, true label", _PURPLE, ":"),
)
_PANEL_INCHES = (3.2, 2.5)
_MOST_COLUMNS = 3
_ENTRY_INCHES = 2.8  # of a legend
_DPI = 150
PICTURES = ("accuracy.png", "ipr.png", "pruning.png", "el2n_timing.png")
_WHY = "drawing pictures"


def require_plots() -> None:
    """Find out before the work whether pictures can be drawn.

    Raises:
        MissingExtraError: they cannot; the hint is the pip command.
    """
    require("matplotlib.figure", extra="plots", why=_WHY)


def draw_pictures(result: GrokResult, folder: Path) -> list[Path]:
    """Write the pictures, of the first seed of each run.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    runs = [run for run in result.runs if not run.seed]
    drawn: tuple[Callable[[], Any], ...] = (
        lambda: _panels(runs, _accuracy, "step (log scale)", "accuracy"),
        lambda: _panels(runs, _ipr, "inverse participation ratio", "neurons"),
        lambda: _pruning(runs),
        lambda: _panels(runs[:1], _timing, "step (log scale)", "accuracy, AUROC", width=6.5),
    )
    paths = []
    for name, draw in zip(PICTURES, drawn, strict=True):
        path = folder / name
        with atomic_path(path) as temporary:
            figure = draw()
            figure.savefig(temporary, format="png", dpi=_DPI)
        paths.append(path)
    return paths


def _figure(num_rows: int, num_columns: int, width: float | None = None) -> tuple[Any, Any]:
    """A figure of equal panels that share both axes."""
    figures = require("matplotlib.figure", extra="plots", why=_WHY)
    panel_width, panel_height = _PANEL_INCHES
    size = ((width or panel_width) * num_columns + 0.3, panel_height * num_rows + 0.6)
    figure = figures.Figure(figsize=size, layout="constrained")
    axes = figure.subplots(num_rows, num_columns, sharex=True, sharey=True, squeeze=False)
    for axis in axes.flat:
        axis.grid(color="0.9", linewidth=0.7)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return figure, axes


def _panels(
    runs: list[RunResult],
    draw: Callable[[Any, RunResult], None],
    x: str,
    y: str,
    width: float | None = None,
) -> Any:
    """A panel per run."""
    num_columns = min(len(runs), _MOST_COLUMNS)
    num_rows = -(-len(runs) // num_columns)
    figure, axes = _figure(num_rows, num_columns, width)
    for row in axes:
        row[0].set_ylabel(y)
    for axis in axes.flat[len(runs) :]:
        axis.set_visible(False)
    for i, (axis, run) in enumerate(zip(axes.flat, runs, strict=False)):
        draw(axis, run)
        axis.set_title(f"{run.name}: {run.phase}", fontsize=10)
        axis.tick_params(labelbottom=True)
        if i + num_columns >= len(runs):  # nothing below
            axis.set_xlabel(x)
    _legend(figure, axes[0][0])
    return figure


def _legend(figure: Any, axis: Any) -> None:
    handles, labels = axis.get_legend_handles_labels()
    fitting = max(1, int(figure.get_size_inches()[0] / _ENTRY_INCHES))
    columns = min(len(handles), fitting)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def _share_axis(axis: Any) -> None:
    axis.set_ylim(-0.02, 1.02)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1])


def _log_steps(axis: Any) -> None:
    """Steps from 2 on: early ones tell as much as late ones."""
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")


def _accuracy(axis: Any, run: RunResult) -> None:
    points = [point for point in run.curve if point.step]
    steps = [point.step for point in points]
    train = [point.train_accuracy for point in points]
    axis.plot(steps, train, color=_ORANGE, linestyle="--", label="training labels as given")
    axis.plot(steps, [point.test_accuracy for point in points], color=_BLUE, label="test")
    right = 1 - run.num_wrong / run.num_train
    axis.axhline(right, color="0.4", linewidth=1, linestyle=":", label="share of right labels")
    _share_axis(axis)
    _log_steps(axis)


def _ipr(axis: Any, run: RunResult) -> None:
    values = [value for value in run.ipr if value > 0]
    axis.hist(values, bins=[i / 40 for i in range(41)], color=_BLUE)
    axis.axvline(run.mean_ipr, color=_ORANGE, linestyle="--", label="mean of the network")
    if num_zero := len(run.ipr) - len(values):
        told = f"{num_zero} neurons\nhave no weights left"
        axis.text(0.5, 0.5, told, ha="center", va="center", transform=axis.transAxes)
    axis.set_xlim(0, 1)


def _pruning(runs: list[RunResult]) -> Any:
    """A row per run; low IPR first on the left, high IPR first on the right."""
    shown: tuple[Order, ...] = ("low_ipr", "high_ipr")
    figure, axes = _figure(len(runs), len(shown))
    for row, run in zip(axes, runs, strict=True):
        for axis, order in zip(row, shown, strict=True):
            _pruning_panel(axis, run, order)
            axis.set_title(f"{run.name}: {IN_WORDS[order]}", fontsize=10)
        row[0].set_ylabel("share of examples")
    for axis in axes[-1]:
        axis.set_xlabel("neurons pruned in %")
    _legend(figure, axes[0][0])
    return figure


def _pruning_panel(axis: Any, run: RunResult, order: Order) -> None:
    levels = run.pruning[order]
    percents = [level.percent for level in levels]
    for key, label, color, dashes in _KINDS:
        shares = [getattr(level, key) for level in levels]
        if None not in shares:
            axis.plot(percents, shares, color=color, linestyle=dashes, label=label)
    _share_axis(axis)
    axis.set_xlim(0, 100)
    axis.set_xticks(range(0, 101, 25))


def _timing(axis: Any, run: RunResult) -> None:
    points = [point for point in run.curve if point.step]
    steps = [point.step for point in points]
    axis.plot(steps, [point.test_accuracy for point in points], color=_BLUE, label="test accuracy")
    if all(point.el2n_auroc is not None for point in points):
        auroc = [point.el2n_auroc for point in points]
        axis.plot(
            steps, auroc, color=_ORANGE, linestyle="--", label="AUROC of EL2N for wrong labels"
        )
    axis.axhline(0.5, color="0.4", linewidth=1, linestyle=":", label="AUROC of chance")
    _share_axis(axis)
    _log_steps(axis)
