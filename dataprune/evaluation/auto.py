"""scores -> auto: which strategy to prune by, found by a cheap pilot on the very data.

`dataprune evaluate SCORES.parquet --choose --keep 0.3` tells it, with the line that prunes so;
`--strategy auto` puts it into the table of an evaluation. Candidates come from `priors`, the
pilot's rounds and its rule from `rounds`, its trainings from `pilot`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataprune.core.extras import require
from dataprune.core.protocols import OnProgress
from dataprune.evaluation.choices import Chosen
from dataprune.evaluation.study import open_study

_QUIET: OnProgress = lambda _unit_id, _told: None  # noqa: E731 - no progress wanted


def choose_strategies(
    scores: str | Path,
    *,
    keep: Sequence[float | int] | None = None,
    by: str | None = None,
    class_balance: str | None = None,
    protocol: str | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    model: str | None = None,
    pilot: float | None = None,
    extra: Sequence[str | Path] = (),
    source: str | None = None,
    work: str | Path | None = None,
    runner: str | None = None,
    address: str | None = None,
    stream: bool | None = None,
    on_progress: OnProgress = _QUIET,
) -> list[Chosen]:
    """Choose a strategy for each budget by short trainings on the training rows alone.

    keep: fractions of the rows that may be trained on, or counts. protocol, steps, epochs, model:
        how you will train on what is kept. pilot: at most as many steps as so many trainings
        on everything, for each budget. by, extra, source, work and how to run: as `evaluate_cells`,
        whose run folder it shares. What is None comes from the recipe's section `evaluate`.

    Raises:
        UsageError: a budget or an option that cannot be.
        AlignmentError: the source is not the one that was scored.
        ProbeError: every training failed.
    """
    require("torch", extra="probe", why="the pilot of auto")
    asked: dict[str, Any] = {
        "keep": keep, "protocol": protocol, "steps": steps, "epochs": epochs, "model": model,
        "pilot": pilot,
    }  # fmt: skip
    run = {"runner": runner, "address": address, "stream": stream}
    with open_study(
        scores, asked, by=by, class_balance=class_balance, extra=extra, source=source,
        scored_in=None, work=work, run=run,
    ) as study:  # fmt: skip
        from dataprune.evaluation.pilot import choose_by_pilot

        return choose_by_pilot(study, study.settings.keep, on_progress)
