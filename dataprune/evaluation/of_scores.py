"""scores -> evaluate: retrain on every strategy at every budget, beside random rows and all rows.

One call does what a study of pruning does by hand: it decides the cells, retrains them with seeds
as units that can be cut off and gone on with, tests them against random rows of the same number,
and says whether scoring pays.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dataprune.core.errors import UsageError
from dataprune.core.extras import require
from dataprune.core.files import write_json, write_text
from dataprune.core.protocols import OnProgress
from dataprune.evaluation.choices import Chosen
from dataprune.evaluation.curves import draw_curves, require_plots
from dataprune.evaluation.report import markdown
from dataprune.evaluation.strategies import parse_strategy, recorded_strategy
from dataprune.evaluation.study import Study, named, open_study
from dataprune.probe.examples import DEFAULT_RUNS
from dataprune.selection._choice import AUTO

_QUIET: OnProgress = lambda _unit_id, _told: None  # noqa: E731 - no progress wanted
log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class CellsResult:
    """Every arm's metric and tests, and what they cost.

    rows: as `dataprune.evaluation.tabulate.tabulate` describes.
    model, scored_with: retrained, and of the probe that scored.
    scoring_s: device seconds of scoring; None where `why` says what hides it. unit: of these.
    status: "complete", or "partial" when units failed; failed: how many.
    chosen: what `auto` chose for each budget, where it was asked for.
    """

    name: str
    rows: list[dict[str, Any]]
    metric: str
    metric_key: str
    protocol: str
    seeds: int
    model: str
    scored_with: str
    held_out: str
    num_test_rows: int
    scoring_s: float | None
    why: str | None
    unit: str
    status: str
    failed: int
    warnings: list[str] = field(default_factory=list)
    chosen: list[Chosen] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write results.json, table.md, curve.png and curve.svg."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "results.json", asdict(self))
        write_text(folder / "table.md", markdown(self))
        draw_curves(self, folder)


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
) -> CellsResult:
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


def _evaluate(run: Study, on_progress: OnProgress) -> CellsResult:
    from dataprune.evaluation.arms import retrain
    from dataprune.evaluation.bench import make_bench
    from dataprune.evaluation.cells import plan_cells
    from dataprune.evaluation.compare import metric_key
    from dataprune.evaluation.costs import scoring_cost, unit_of
    from dataprune.evaluation.run import check_held_out
    from dataprune.evaluation.tabulate import tabulate, warnings_for
    from dataprune.probe.check import check_model
    from dataprune.probe.plan import run_fingerprint

    recipe, settings, table, loaded = run.recipe, run.settings, run.table, run.loaded
    check_held_out(loaded.ref, run.ref)
    names = dict.fromkeys(settings.strategies or (recorded_strategy(run.scored.prune),))
    strategies = [parse_strategy(name) for name in names if name != AUTO]
    if "infobatch" in settings.baselines and recipe.run.workers > 1:
        raise UsageError(
            f"infobatch knows the losses of one worker alone, and run.workers is "
            f"{recipe.run.workers}",
            hint="leave --baseline infobatch out, or train with one worker",
        )
    bench = make_bench(recipe, loaded)
    check_model(recipe, loaded)
    plan = partial(
        plan_cells, recipe, settings, bench, table, strategies, run.by, run.balance, run.path
    )
    cells, chosen = plan(), []
    if AUTO in names:
        from dataprune.evaluation.pilot import choose_by_pilot

        chosen = choose_by_pilot(run, settings.keep, on_progress)
        cells = plan(chosen={choice.keep: choice for choice in chosen})
    usual = f"{run.scored.name}-{run_fingerprint(run.scored, loaded)[:12]}"
    homes = [*run.homes, DEFAULT_RUNS / usual]
    scoring = scoring_cost(table, run.scored, homes, recipe.run)
    log.info("%d arms x %d seeds, tested on the %s", len(cells), settings.seeds, bench.held_out)
    arms = [cell.arm for cell in cells]
    retrained = retrain(
        recipe,
        loaded,
        bench,
        arms,
        num_seeds=settings.seeds,
        work=run.folder,
        on_progress=on_progress,
    )
    failed = len(retrained.failed) + sum(choice.failed for choice in chosen)
    classes = loaded.ref.class_names
    rows = tabulate(cells, retrained, bench, recipe.run, scoring, classes)
    warnings = warnings_for(rows, cells, bench, classes)
    if table.meta["status"] == "partial":
        warnings.append("the score table is partial: some units failed; score again to complete it")
    return CellsResult(
        name=recipe.name,
        rows=rows,
        metric=bench.metric,
        metric_key=metric_key(bench.metric),
        protocol=settings.protocol,
        seeds=settings.seeds,
        model=named(recipe.probe.model),
        scored_with=named(run.scored.probe.model),
        held_out=bench.held_out,
        num_test_rows=bench.num_test_rows,
        scoring_s=scoring.seconds,
        why=scoring.why,
        unit=unit_of(recipe.run),
        status="partial" if failed else "complete",
        failed=failed,
        warnings=[*warnings, *(told for choice in chosen for told in choice.warnings)],
        chosen=chosen,
    )
