"""The curves: the metric and the worst class against the share of rows that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataprune.core.extras import require
from dataprune.core.files import atomic_path

if TYPE_CHECKING:
    from dataprune.evaluation.outcome import EvaluationResult

# Okabe and Ito's palette, told apart by all kinds of colour vision; markers differ, too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "osD^vPX*<>hp"  # twice as many as colours: lines of one colour differ by both
_GREY = "0.45"
_PANEL_INCHES = (4.6, 3.4)
_DPI = 150
_WHY = "drawing curves"
PICTURES = ("curve.png", "curve.svg")


def require_plots() -> None:
    """Find out before the work whether pictures can be drawn.

    Raises:
        MissingExtraError: they cannot; the hint is the pip command.
    """
    require("matplotlib.figure", extra="plots", why=_WHY)


def draw_curves(result: EvaluationResult, folder: Path) -> list[Path]:
    """Write curve.png and curve.svg; the same result gives the same bytes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", extra="plots", why=_WHY)
    figures = require("matplotlib.figure", extra="plots", why=_WHY)
    paths = [folder / name for name in PICTURES]
    with matplotlib.rc_context({"svg.hashsalt": "dataprune"}):  # ids would be random otherwise
        figure = _figure(result, figures)
        for path in paths:
            kind = path.suffix[1:]
            metadata = {"Date": None} if kind == "svg" else {"Software": None}
            with atomic_path(path) as temporary:
                figure.savefig(temporary, format=kind, dpi=_DPI, metadata=metadata)
    return paths


def _figure(result: EvaluationResult, figures: Any) -> Any:
    panels = [(result.metric_key, f"test {result.metric}")]
    if any("worst_class" in row for row in result.rows):
        panels.append(("worst_class", "accuracy in the worst class"))
    width, height = _PANEL_INCHES
    figure = figures.Figure(figsize=(width * len(panels), height + 0.5), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (key, label) in zip(axes, panels, strict=True):
        _panel(axis, result.rows, key)
        axis.set_ylabel(label)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.suptitle(f"{result.name}, {result.model}, {result.protocol}, {result.seeds} seeds")
    return figure


def _panel(axis: Any, rows: Sequence[dict[str, Any]], key: str) -> None:
    """Full data as a dashed line, random rows in grey, a line for each strategy and baseline."""
    for row in rows:
        if row["kind"] == "full":
            axis.axhline(row[key], color="black", linestyle="--", linewidth=1, label="full data")
            half = row[f"{key}_half_width"] or 0.0
            axis.axhspan(row[key] - half, row[key] + half, color="black", alpha=0.07, linewidth=0)
    names = dict.fromkeys(r["strategy"] for r in rows if r["kind"] in {"strategy", "baseline"})
    _line(axis, [row for row in rows if row["kind"] == "random"], key, "random", _GREY, "x", 0)
    for i, name in enumerate(names):
        own = [row for row in rows if row["strategy"] == name]
        shift = (
            (i % 6 + 1) * (1 if i % 2 else -1) * 0.003
        )  # so that intervals do not hide each other
        colour, marker = _COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]
        _line(axis, own, key, name, colour, marker, shift, solid=i < len(_COLOURS))
    axis.set_xlabel("budget, as a share of all rows")
    if key != "r2":  # an interval may reach further than a share can
        low, high = axis.get_ylim()
        axis.set_ylim(max(low, -0.02), min(high, 1.02))
    axis.grid(color="0.9", linewidth=0.7)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _line(
    axis: Any, rows: list[dict[str, Any]], key: str, label: str, colour: str, marker: str,
    shift: float, *, solid: bool = True,
) -> None:  # fmt: skip
    """One strategy: a point for each budget, with its 95 % interval."""
    rows = sorted(rows, key=lambda row: row["share"])
    dashes = "-" if solid else "-."
    if rows and rows[0]["kind"] == "baseline":
        dashes = ":"
    axis.errorbar(
        [row["share"] + shift for row in rows],
        [row[key] for row in rows],
        yerr=[row[f"{key}_half_width"] or 0.0 for row in rows],
        color=colour, marker=marker, markersize=4, linewidth=1.2, linestyle=dashes,
        elinewidth=0.8, capsize=2, label=label,
    )  # fmt: skip
