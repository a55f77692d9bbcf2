"""scores -> evaluate: retrain on every strategy at every budget, beside random rows and all rows.

One call does what a study of pruning does by hand: it decides the cells, retrains them with seeds
as units that can be cut off and gone on with, tests them against random rows of the same number,
and says whether scoring pays.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataprune.core.errors import UsageError
from dataprune.core.extras import require
from dataprune.core.files import write_json, write_text
from dataprune.core.protocols import OnProgress
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.core.recipe_evaluate import EvaluateRecipe
from dataprune.core.recipe_file import validate
from dataprune.core.recipe_training import ModelRecipe
from dataprune.evaluation.curves import draw_curves, require_plots
from dataprune.evaluation.report import markdown
from dataprune.evaluation.strategies import parse_strategy, recorded_strategy
from dataprune.probe.examples import DEFAULT_RUNS, read_examples
from dataprune.sources._resolve import resolve_recipe
from dataprune.tables.join import join_tables
from dataprune.tables.manifest import SourceRef
from dataprune.tables.scores import ScoreTable, read_scores
from dataprune.versions.load import open_pinned

if TYPE_CHECKING:
    from dataprune.sources._load import Loaded

DEFAULT_EVALUATIONS = Path(".dataprune/evaluations")

_QUIET: OnProgress = lambda _unit_id, _told: None  # noqa: E731 - no progress wanted
log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class CellsResult:
    """Every arm's metric and tests, and what they cost.

    rows: as `dataprune.evaluation.tabulate.tabulate` describes.
    model, scored_with: retrained, and of the probe that scored.
    scoring_s: device seconds of scoring; None where `why` says what hides it. unit: of these.
    status: "complete", or "partial" when units failed; failed: how many.
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

    strategies: such as "hardest" or "window:offset=0.1". keep: fractions of the rows that may be
        trained on, or counts. by: score column. protocol: "fixed_steps" or "fixed_epochs".
    steps, epochs: how long, by protocol. seeds: retrainings of each arm. model: to retrain.
    baselines: of "rs2" and "infobatch". What is None comes from the recipe's section `evaluate`.
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
    path = Path(scores)
    table = join_tables(read_scores(path), path, [Path(other) for other in extra])
    if "curate" in table.meta["recipe"]:
        raise UsageError(
            f"{path} is of agent trajectories, and evaluate trains classifiers",
            hint="train with your own trainer, on a version and on one of --control",
        )
    scored = parse_recipe(table.meta["recipe"], where=str(path))
    asked = {
        "strategies": strategies, "keep": keep, "protocol": protocol, "steps": steps,
        "epochs": epochs, "seeds": seeds, "model": model, "baselines": baselines,
    }  # fmt: skip
    settings = _settings(scored, asked)
    recipe = _retrained(scored, settings, runner=runner, address=address, stream=stream)
    ref = SourceRef.model_validate(table.meta["source"])
    folder = work or DEFAULT_EVALUATIONS / f"{recipe.name}-{ref.fingerprint[:12]}"
    opened = open_pinned(ref, source, examples=table.table, near=path)
    loaded = read_examples(recipe, opened, work=folder)
    homes = [Path(scored_in)] if scored_in else [path.parent]
    run = _Run(scored, recipe, settings, table, path, homes)
    try:
        result = _evaluate(run, loaded, ref, folder, by, class_balance, on_progress)
    finally:
        loaded.discard()
    if out is not None:
        result.write(Path(out))
    return result


@dataclass(frozen=True)
class _Run:
    """What is evaluated: scored as one recipe said, retrained as another does."""

    scored: Recipe
    recipe: Recipe
    settings: EvaluateRecipe
    table: ScoreTable
    path: Path
    homes: list[Path]


def _settings(scored: Recipe, asked: dict[str, Any]) -> EvaluateRecipe:
    """The recipe's section, with what was asked for in its place."""
    base = scored.evaluate or EvaluateRecipe()
    data = base.model_dump(mode="json")
    data |= {k: list(v) if isinstance(v, tuple) else v for k, v in asked.items() if v is not None}
    for name, of in (("steps", "fixed_steps"), ("epochs", "fixed_epochs")):
        if asked[name] is None and data["protocol"] != of:
            data[name] = None  # of the recipe's own protocol, which is not the one asked for
    return validate(EvaluateRecipe, data, where="evaluate")


def _retrained(scored: Recipe, settings: EvaluateRecipe, **run: Any) -> Recipe:
    """The recipe to retrain with: the scoring one, on another model if that is asked for."""
    changes = {f"run.{key}": value for key, value in run.items()}
    if settings.model is not None:
        changes["probe.model"] = settings.model.model_dump(mode="json")
    return resolve_recipe(scored, changes)


def _named(model: ModelRecipe) -> str:
    params = ", ".join(f"{key}={value}" for key, value in model.params.items())
    return f"{model.chosen}({params})" if params else model.chosen


def _evaluate(
    run: _Run,
    loaded: Loaded,
    ref: SourceRef,
    folder: str | Path,
    by: str | None,
    class_balance: str | None,
    on_progress: OnProgress,
) -> CellsResult:
    from dataprune.evaluation.arms import retrain
    from dataprune.evaluation.bench import make_bench
    from dataprune.evaluation.cells import plan_cells
    from dataprune.evaluation.compare import metric_key
    from dataprune.evaluation.costs import scoring_cost, unit_of
    from dataprune.evaluation.run import check_held_out
    from dataprune.evaluation.tabulate import tabulate, warnings_for
    from dataprune.probe.check import check_model
    from dataprune.probe.plan import run_fingerprint

    recipe, settings, table = run.recipe, run.settings, run.table
    check_held_out(loaded.ref, ref)
    names = settings.strategies or (recorded_strategy(run.scored.prune),)
    strategies = [parse_strategy(name) for name in dict.fromkeys(names)]
    if "infobatch" in settings.baselines and recipe.run.workers > 1:
        raise UsageError(
            f"infobatch knows the losses of one worker alone, and run.workers is "
            f"{recipe.run.workers}",
            hint="leave --baseline infobatch out, or train with one worker",
        )
    bench = make_bench(recipe, loaded)
    check_model(recipe, loaded)
    cells = plan_cells(recipe, settings, bench, table, strategies, by, class_balance, run.path)
    usual = f"{run.scored.name}-{run_fingerprint(run.scored, loaded)[:12]}"
    homes = [*run.homes, DEFAULT_RUNS / usual]
    scoring = scoring_cost(table, run.scored, homes, recipe.run)
    log.info("%d arms x %d seeds, tested on the %s", len(cells), settings.seeds, bench.held_out)
    arms = [cell.arm for cell in cells]
    retrained = retrain(
        recipe, loaded, bench, arms, num_seeds=settings.seeds, work=folder, on_progress=on_progress
    )
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
        model=_named(recipe.probe.model),
        scored_with=_named(run.scored.probe.model),
        held_out=bench.held_out,
        num_test_rows=bench.num_test_rows,
        scoring_s=scoring.seconds,
        why=scoring.why,
        unit=unit_of(recipe.run),
        status=retrained.status,
        failed=len(retrained.failed),
        warnings=warnings,
    )
