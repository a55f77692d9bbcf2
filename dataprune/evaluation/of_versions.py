"""version -> evaluate: retrain on versions, beside as many random rows and everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.core.protocols import OnProgress
from dataprune.core.recipe import parse_recipe
from dataprune.core.recipe_evaluate import EvaluateRecipe
from dataprune.evaluation.arms import FULL
from dataprune.evaluation.bench import Bench, task_of
from dataprune.evaluation.cells import Cell, Layout
from dataprune.evaluation.costs import ScoringCost
from dataprune.evaluation.curves import require_plots
from dataprune.evaluation.outcome import EvaluationResult, evaluate_arms, open_bench
from dataprune.evaluation.study import (
    DEFAULT_EVALUATIONS,
    Study,
    retrained_recipe,
    settings_of,
)
from dataprune.probe.examples import read_examples
from dataprune.tables.manifest import SelectionEntry
from dataprune.versions.load import LoadedVersion, load_version, open_pinned
from dataprune.versions.relabel import suggested_labels
from dataprune.versions.store import LocalStore


def evaluate_versions(
    store: LocalStore,
    name: str,
    tags: Sequence[str],
    asked: Mapping[str, Any],
    run: Mapping[str, Any],
    *,
    source: str | None,
    scored_in: str | Path | None,
    work: str | Path | None,
    out: str | Path | None,
    on_progress: OnProgress,
) -> EvaluationResult:
    """Read the versions' source as it was scored, retrain on every arm, compare.

    asked: settings in place of the recipe's section `evaluate`; None for the recipe's. run:
        likewise, of how to run. Others as `dataprune.evaluate`.

    Raises:
        UsageError, ProbeError: as `dataprune.evaluate`.
        AlignmentError: the held-out split is not the one that was there at scoring.
    """
    if out is not None:
        require_plots()
    versions = [load_version(store, name, t, prove_source=False) for t in dict.fromkeys(tags)]
    with _open_study(store, versions, asked, run, source, scored_in, work) as study:
        bench = open_bench(study)
        cells = version_cells(study, bench, versions)
        result = evaluate_arms(
            study, bench, cells, on_progress,
            scoring=_differing(versions), warnings=_unlike(versions),
        )  # fmt: skip
    if out is not None:
        result.write(Path(out))
    return result


@contextmanager
def _open_study(
    store: LocalStore,
    versions: Sequence[LoadedVersion],
    asked: Mapping[str, Any] | EvaluateRecipe,
    run: Mapping[str, Any],
    source: str | None,
    scored_in: str | Path | None,
    work: str | Path | None,
) -> Iterator[Study]:
    """The versions' source, and how to retrain on it: as the first version's recipe says.

    asked: as of `evaluate_versions`, or settings that take nothing from the recipe's section.
    """
    first = versions[0].manifest
    name, ref = versions[0].name, first.source
    for version in versions:
        if version.manifest.source.fingerprint != ref.fingerprint:
            raise UsageError(
                f"{name}@{version.tag} and {name}@{first.version} come from different sources",
                hint="evaluate them one by one",
            )
    if "curate" in first.recipe:
        raise UsageError(
            f"{name}@{first.version} holds agent trajectories, and evaluate trains classifiers",
            hint="train on it with your own trainer, beside a version of --control",
        )
    scored = parse_recipe(first.recipe, where=f"{name}@{first.version}")
    settings = asked if isinstance(asked, EvaluateRecipe) else settings_of(scored, asked)
    recipe = retrained_recipe(scored, settings, run)
    folder = work or DEFAULT_EVALUATIONS / f"{name}-{ref.fingerprint[:12]}"
    path = store.path(name, first.version)
    loaded = read_examples(recipe, open_pinned(ref, source, near=path), work=folder)
    told = Path(scored_in) if scored_in else None
    try:
        yield Study(
            name, scored, recipe, settings, versions[0].scores, loaded, ref, told, folder, path
        )
    finally:
        loaded.discard()


def version_cells(study: Study, bench: Bench, versions: Sequence[LoadedVersion]) -> list[Cell]:
    """Full data, then each version after as many random rows, with those of the same classes.

    A version's rows are those that may be trained on; one with suggested labels trains on these,
    and what is held out keeps its given ones.

    Raises:
        UsageError: a version has no row left to train on.
    """
    layout = Layout(study.recipe, study.settings, bench, study.table)
    cells, done = [layout.full()], {layout.num_rows}
    task, given = task_of(study.recipe), study.loaded.labels
    may_train = np.zeros(len(given), dtype=np.bool_)
    may_train[bench.train_rows] = True
    for version in versions:
        rows, targets = np.sort(version.rows), None
        rows = rows[may_train[rows]]
        if len(rows) == 0:
            raise UsageError(f"version {version.tag} has no row left to train on")
        if version.manifest.selection.relabel:
            told = suggested_labels(version.scores.table, version.decisions_table)
            targets = task.targets(np.where(may_train, told, given), given[bench.train_rows])
        budget = len(rows)
        if budget not in done:
            cells += layout.controls(budget)
            done.add(budget)
        control = None if budget == layout.num_rows else f"random@{budget}"
        matched = layout.matched(version.tag, rows, budget)
        arm = layout.arm(version.tag, (rows,), targets)
        other = matched.arm.name if matched else None
        reads = _reads_scores(version.manifest.selection)
        cells.append(Cell(arm, "strategy", version.tag, budget, budget, control, other, reads))
        cells += [matched] if matched else []
    return cells


def try_version(
    store: LocalStore,
    name: str,
    tag: str,
    *,
    seeds: int,
    run: Mapping[str, Any],
    work: str | Path,
    on_progress: OnProgress,
) -> EvaluationResult:
    """Retrain the recipe's probe on a version and on random rows of the same classes alone.

    Where its classes are those of any rows, on any random rows; where it has every row, on these
    with their given labels. It takes nothing from the recipe's section `evaluate`.

    Raises:
        ProbeError: every unit failed.
    """
    version = load_version(store, name, tag, prove_source=False)
    settings = EvaluateRecipe(seeds=seeds)
    with _open_study(store, [version], settings, run, None, None, work) as study:
        bench = open_bench(study)
        cells = version_cells(study, bench, [version])
        [own] = [cell for cell in cells if cell.strategy == tag]
        other = own.matched or own.control or FULL
        pair = [cell for cell in cells if cell is own or cell.arm.name == other]
        return evaluate_arms(study, bench, pair, on_progress)


def _unlike(versions: Sequence[LoadedVersion]) -> list[str]:
    """What versions have that the first one, by whose recipe all are retrained, has not."""
    first, found = versions[0], []
    for version in versions[1:]:
        parts = [
            {key: v.manifest.recipe.get(key) for key in ("probe", "task", "seed")}
            for v in (first, version)
        ]
        if parts[0] != parts[1]:
            found.append(
                f"{version.tag} was scored by another recipe than {first.tag}; every arm is "
                f"retrained as that of {first.tag} says"
            )
        if version.scores.meta["status"] == "partial":
            found.append(f"the scores of {version.tag} are partial: some units failed")
    return found


def _differing(versions: Sequence[LoadedVersion]) -> ScoringCost | None:
    """That no one figure is what scoring cost, if it is not the same for all versions."""
    units = {tuple(version.scores.meta.get("unit_ids") or ()) for version in versions}
    if len(units) == 1:
        return None
    return ScoringCost(None, "the versions' scores are of different units")


def _reads_scores(selection: SelectionEntry) -> bool:
    """Whether the version could not have been made without scores."""
    filters = bool(selection.steps) or selection.drop_likely or selection.relabel
    return filters or selection.strategy != "random"
