"""scores -> evaluate: retrain on every strategy at every budget, beside random rows and all rows.

One call does what a study of pruning does by hand: it decides the cells, retrains them with seeds
as units that can be cut off and gone on with, tests them against random rows of the same number,
and says whether scoring pays.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dataprune.core.errors import UsageError
from dataprune.core.extras import require
from dataprune.core.protocols import OnProgress
from dataprune.evaluation.curves import require_plots
from dataprune.evaluation.outcome import EvaluationResult, evaluate_arms, open_bench
from dataprune.evaluation.strategies import Asked, parse_strategy, recorded_strategy
from dataprune.evaluation.study import Study, open_study
from dataprune.selection._choice import AUTO

_QUIET: OnProgress = lambda _unit_id, _told: None  # noqa: E731 - no progress wanted


def evaluate_cells(
    scores: str | Path,
    *,
    strategies: Sequence[str] | None = None,
    keep: Sequence[float | int] | None = None,
    by: str | None = None,
    class_balance: str | None = None,
    protocol: str | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    seeds: int | None = None,
    model: str | None = None,
    baselines: Sequence[str] | None = None,
    pilot: float | None = None,
    extra: Sequence[str | Path] = (),
    source: str | None = None,
    scored_in: str | Path | None = None,
    work: str | Path | None = None,
    out: str | Path | None = None,
    runner: str | None = None,
    address: str | None = None,
    stream: bool | None = None,
    on_progress: OnProgress = _QUIET,
) -> EvaluationResult:
    """Scores -> evaluate: retrain on each strategy at each budget, on random rows and on all rows.

    strategies: such as "hardest", "window:offset=0.1", or "auto": a pilot chooses. keep: fractions
        of the rows that may be trained on, or counts. by: score column. protocol: "fixed_steps" or
        "fixed_epochs". steps, epochs: how long, by protocol. seeds: retrainings of each arm.
    model: to retrain. baselines: of "rs2" and "infobatch". pilot: of auto, as `choose_strategies`.
        What is None comes from the recipe's section `evaluate`.
    extra: further score or flag tables of the same source. source: where it lies now.
    scored_in: run folder of the scores, which tells what they cost; default: beside the table.
    work: run folder of the retrainings; those that are in it are not run again.
    out: folder for results.json, table.md, curve.png and curve.svg.

    Raises:
        UsageError: a strategy, a budget or an option that cannot be.
        AlignmentError: the source or its held-out split is not the one that was scored.
        ProbeError: every unit failed.
    """
    if out is not None:
        require_plots()
    require("torch", extra="probe", why="retraining on versions")
    asked = {
        "strategies": strategies, "keep": keep, "protocol": protocol, "steps": steps,
        "epochs": epochs, "seeds": seeds, "model": model, "baselines": baselines, "pilot": pilot,
    }  # fmt: skip
    run = {"runner": runner, "address": address, "stream": stream}
    if pilot is not None and AUTO not in (strategies or (AUTO,)):
        raise UsageError("pilot has no effect without strategy auto")
    with open_study(
        scores, asked, by=by, class_balance=class_balance, extra=extra, source=source,
        scored_in=scored_in, work=work, run=run,
    ) as study:  # fmt: skip
        result = _evaluate(study, on_progress)
    if out is not None:
        result.write(Path(out))
    return result


def _takes_by(asked: Asked) -> bool:
    """Whether it decides by the score that is named for all."""
    return asked.by is None and any(step.reads_score for step in asked.steps)


def _evaluate(study: Study, on_progress: OnProgress) -> EvaluationResult:
    from dataprune.evaluation.cells import plan_cells

    names = study.settings.strategies or (recorded_strategy(study.scored.prune),)
    strategies = {a.label: a for a in (parse_strategy(n) for n in names if n != AUTO)}
    if study.by is not None and AUTO not in names and not any(map(_takes_by, strategies.values())):
        raise UsageError(
            f"by {study.by} has no effect: no strategy here reads a score that it does not name",
            hint="leave --by out",
        )
    bench = open_bench(study)
    plan = partial(
        plan_cells, study.recipe, study.settings, bench, study.table, list(strategies.values()),
        study.by, study.balance, study.path,
    )  # fmt: skip
    cells = plan()  # whatever cannot be met is told before a pilot trains
    if AUTO not in names:
        return evaluate_arms(study, bench, cells, on_progress)
    from dataprune.evaluation.pilot import choose_by_pilot

    chosen = choose_by_pilot(study, study.settings.keep, on_progress)
    cells = plan(chosen={choice.keep: choice for choice in chosen})
    return evaluate_arms(study, bench, cells, on_progress, chosen)
