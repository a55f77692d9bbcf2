"""Cells -> evaluation: retrain on every arm, test it against random rows, say whether it pays.

What `evaluate` does is the same for versions and for strategies of a score table once their cells
are laid out: `of_versions` and `of_scores` lay them out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataprune.core.errors import AlignmentError, UsageError
from dataprune.core.files import write_json, write_text
from dataprune.core.protocols import OnProgress
from dataprune.evaluation.choices import Chosen
from dataprune.evaluation.curves import draw_curves
from dataprune.evaluation.report import markdown
from dataprune.evaluation.study import Study, named
from dataprune.probe.examples import DEFAULT_RUNS
from dataprune.tables.manifest import SourceRef

if TYPE_CHECKING:
    from dataprune.evaluation.bench import Bench
    from dataprune.evaluation.cells import Cell
    from dataprune.evaluation.costs import ScoringCost

log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class EvaluationResult:
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


def open_bench(study: Study) -> Bench:
    """What the arms of a study are trained and tested on, found fit for it.

    Raises:
        UsageError: a baseline or a model that cannot be trained here.
        AlignmentError: the held-out split is not the one that was there at scoring.
    """
    from dataprune.evaluation.bench import make_bench
    from dataprune.probe.check import check_model

    check_held_out(study.loaded.ref, study.ref)
    if "infobatch" in study.settings.baselines and study.recipe.run.workers > 1:
        raise UsageError(
            f"infobatch knows the losses of one worker alone, and run.workers is "
            f"{study.recipe.run.workers}",
            hint="leave --baseline infobatch out, or train with one worker",
        )
    bench = make_bench(study.recipe, study.loaded)
    check_model(study.recipe, study.loaded)
    return bench


def check_held_out(ref: SourceRef, scored: SourceRef) -> None:
    """Refuse to test on other rows than those that were there at scoring.

    Raises:
        AlignmentError: the held-out split is another one, or there was or is none.
    """
    now, then = (r.test.fingerprint if r.test else None for r in (ref, scored))
    if now != then:
        raise AlignmentError(
            f"the held-out split of {ref.uri} is not the one that was there at scoring",
            hint="restore it, or score and prune again with this one",
        )


def evaluate_arms(
    study: Study,
    bench: Bench,
    cells: Sequence[Cell],
    on_progress: OnProgress,
    chosen: Sequence[Chosen] = (),
    scoring: ScoringCost | None = None,
    warnings: Sequence[str] = (),
) -> EvaluationResult:
    """Retrain whatever the study's folder lacks, and make the table.

    scoring: what it cost; default: what the units behind the study's scores took. warnings: to give
        beside those of the table.

    Raises:
        ProbeError: every unit failed.
        BusyError: another process works in the folder.
    """
    from dataprune.evaluation.arms import retrain
    from dataprune.evaluation.compare import metric_key
    from dataprune.evaluation.costs import unit_of
    from dataprune.evaluation.tabulate import tabulate, warnings_for

    recipe, settings = study.recipe, study.settings
    scoring = scoring or _scoring(study)
    log.info("%d arms x %d seeds, tested on the %s", len(cells), settings.seeds, bench.held_out)
    retrained = retrain(
        recipe, study.loaded, bench, [cell.arm for cell in cells],
        seeds=range(settings.seeds), work=study.folder, on_progress=on_progress,
    )  # fmt: skip
    failed = len(retrained.failed) + sum(choice.failed for choice in chosen)
    classes = study.loaded.ref.class_names
    rows = tabulate(cells, retrained, bench, recipe.run, scoring, classes)
    found = [*warnings, *warnings_for(rows, cells, bench, classes, settings.protocol)]
    if study.table.meta["status"] == "partial":
        found.append("the score table is partial: some units failed; score again to complete it")
    return EvaluationResult(
        name=study.name,
        rows=rows,
        metric=bench.metric,
        metric_key=metric_key(bench.metric),
        protocol=settings.protocol,
        seeds=settings.seeds,
        model=named(recipe.probe.model),
        scored_with=named(study.scored.probe.model),
        held_out=bench.held_out,
        num_test_rows=bench.num_test_rows,
        scoring_s=scoring.seconds,
        why=scoring.why,
        unit=unit_of(recipe.run),
        status="partial" if failed else "complete",
        failed=failed,
        warnings=[*found, *dict.fromkeys(told for choice in chosen for told in choice.warnings)],
        chosen=list(chosen),
    )


def _scoring(study: Study) -> ScoringCost:
    """What the units behind the study's scores took."""
    from dataprune.evaluation.costs import scoring_cost
    from dataprune.probe.plan import run_fingerprint

    usual = f"{study.scored.name}-{run_fingerprint(study.scored, study.loaded)[:12]}"
    homes = [study.path.parent, DEFAULT_RUNS / usual]
    homes = homes if study.scored_in is None else [study.scored_in]
    return scoring_cost(study.table, study.scored, homes, study.recipe.run)
