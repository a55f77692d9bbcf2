"""The table and the sentences of an evaluation, for a terminal and for table.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataprune.evaluation.outcome import EvaluationResult

_PROTOCOLS = {
    "fixed_steps": "every arm takes as many steps",
    "fixed_epochs": "every arm takes as many epochs over its own rows, so fewer rows, fewer steps",
}


def title_of(result: EvaluationResult) -> str:
    """What the table shows and how it came about."""
    return (
        f"{result.name}: {result.metric}{'' if _scale(result) == 1 else ' in %'} of "
        f"{result.model} on {result.num_test_rows} rows ({result.held_out}); "
        f"{result.protocol}: {_PROTOCOLS[result.protocol]}; 95 % intervals over {result.seeds} "
        "seeds, not over test rows"
    )


def header_of(result: EvaluationResult) -> list[str]:
    """Names of the columns."""
    worst = ["worst class", "gain over random there"] if _has_classes(result) else []
    return [
        "arm", "rows", "steps", result.metric, "gain over random", "p (Holm)",
        *(["gain over same classes"] if worst else []), *worst, result.unit,
    ]  # fmt: skip


def cells_of(result: EvaluationResult) -> list[list[str | None]]:
    """The table as text; differences that hold after Holm's correction have a star."""
    return [_line(row, result) for row in result.rows if row["kind"] != "matched"]


def _line(row: dict[str, Any], result: EvaluationResult) -> list[str | None]:
    scale = _scale(result)
    p = row.get("gain_over_random_p_holm")
    line = [
        row["arm"],
        str(row["num_rows"]),
        str(row["num_steps"]),
        _shown(row, result.metric_key, scale),
        _shown(row, "gain_over_random", scale),
        None if p is None else f"{p:.3f}",
    ]
    if _has_classes(result):
        line += [
            _shown(row, "gain_over_matched", scale),
            _shown(row, "worst_class", scale),
            _shown(row, "worst_class_gain_over_random", scale),
        ]
    return [*line, _seconds(row["train_s"])]


def _shown(row: dict[str, Any], key: str, scale: float) -> str | None:
    if key not in row:
        return None
    half, digits = row[f"{key}_half_width"], 2 if scale > 1 else 4
    spread = "" if half is None else f" +- {scale * half:.{digits}f}"
    star = "*" if row.get(f"{key}_verdict") in {"better", "worse"} else ""
    return f"{scale * row[key]:{'+' if 'gain' in key else ''}z.{digits}f}{spread}{star}"


def notes_of(result: EvaluationResult) -> list[str]:
    """What the columns mean that a reader might get wrong."""
    level = "* holds after Holm's correction over all arms (p < 0.05)"
    notes = [f"random rows are drawn anew for each seed; {level}"]
    if result.model != result.scored_with:
        notes.append(f"transfer: scores are of {result.scored_with}, retrained is {result.model}")
    if relabelled := [row["arm"] for row in result.rows if row["labels"] != "given"]:
        notes.append(
            f"trained on suggested_label: {', '.join(relabelled)}; every arm is tested on labels "
            "as given"
        )
    if any(row["kind"] == "baseline" for row in result.rows):
        notes.append(
            "rs2 and infobatch choose among all rows while training, and make no dataset version"
        )
    return notes + [
        f"auto at keep {choice.keep} chose {choice.strategy}: {choice.why}"
        for choice in result.chosen
    ]


def sentences_of(result: EvaluationResult) -> list[str]:
    """Does it pay? One sentence for each cell, and one for what scoring took."""
    unit = result.unit
    full = next((row for row in result.rows if row["kind"] == "full"), None)
    if full is None:
        return ["full data was not trained, so that nothing tells what is saved"]
    scoring = result.scoring_s
    took = f"an unknown time ({result.why})" if scoring is None else f"{_seconds(scoring)} {unit}"
    once = _seconds(full["train_s"])
    sentences = [f"scoring took {took}; one training on everything takes {once} {unit}"]
    return sentences + [_pays(row, result) for row in result.rows if row["kind"] == "strategy"]


def _pays(row: dict[str, Any], result: EvaluationResult) -> str:
    scale, points = (1.0, "") if _scale(result) == 1 else (100.0, " points")
    start = f"{row['arm']}: {_seconds(row['train_s'])} {result.unit}"
    if "pilot_s" in row:
        start += f" after a pilot of {_seconds(row['pilot_s'])}"
    if "gain_over_full" not in row:  # no seed of both is finished
        return f"{start}; full data lacks its seeds, so that nothing tells what it gives up"
    lost = {key.replace("gain_over_full", "lost"): value for key, value in row.items()}
    given = _shown(lost | {"lost": -row["gain_over_full"]}, "lost", scale)
    gives = f"gives up {given}{points} of {result.metric}"
    if row["saved_s"] <= 0:
        why = "it takes as many steps as full data" if result.protocol == "fixed_steps" else "none"
        return f"{start} saves nothing ({why}), {gives}"
    count = row["breaks_even_at"]
    if count is None:
        return f"{start} saves {_seconds(row['saved_s'])} each time, {gives}"
    when = "from the first retraining on" if count == 1 else f"from retraining {count} on"
    return f"{start}, saves {when} ({_seconds(row['saved_s'])} each), {gives}"


def markdown(result: EvaluationResult) -> str:
    """table.md."""
    lines = [title_of(result), "", _bar(header_of(result)), _bar(["---"] * len(header_of(result)))]
    lines += [_bar([cell or "-" for cell in line]) for line in cells_of(result)]
    lines += ["", *(f"- {note}" for note in notes_of(result)), "", "Does it pay?", ""]
    lines += [f"- {sentence}" for sentence in sentences_of(result)]
    if result.warnings:
        lines += ["", "Warnings:", "", *(f"- {told}" for told in result.warnings)]
    return "\n".join(lines) + "\n"


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _bar(cells: Sequence[str]) -> str:
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


def _has_classes(result: EvaluationResult) -> bool:
    return any("worst_class" in row for row in result.rows)


def _scale(result: EvaluationResult) -> float:
    return 1 if result.metric_key == "r2" else 100
