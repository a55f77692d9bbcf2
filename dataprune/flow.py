"""The flow, one function per arrow; a reader of this page knows the product.

    source -> probe -> trace -> scores -> decisions -> version -> load -> evaluate

`score`, `prune`, `load` and `evaluate` are the public verbs: each strings a few arrows together.
Scores are kept apart from decisions, so pruning again costs seconds and needs no torch.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataprune.core.errors import AlignmentError, UsageError, nearest
from dataprune.core.extras import require
from dataprune.core.protocols import OnProgress, Outcome
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.scores import SCORES, Score
from dataprune.selection import STRATEGIES
from dataprune.selection._decide import (
    Choice,
    check_strategy,
    decide,
    make_choice,
    warnings_for,
)
from dataprune.sources import open_source
from dataprune.sources._load import Loaded
from dataprune.sources._load import load as load_examples
from dataprune.sources._resolve import resolve_recipe, with_default_model
from dataprune.tables.decisions import count_by_class, count_reasons
from dataprune.tables.manifest import (
    Manifest,
    SourceRef,
    check_name,
    check_tag,
    portable_recipe,
)
from dataprune.tables.scores import ScoreTable, join_tables, read_scores, write_scores
from dataprune.versions.build import Draft, build_control, build_version, control_tag
from dataprune.versions.load import LoadedVersion, load_version, open_pinned
from dataprune.versions.store import DEFAULT_STORE, LocalStore

if TYPE_CHECKING:
    from dataprune.evaluation.run import EvaluationResult
    from dataprune.probe.gate import CheckpointAccuracy

DEFAULT_RUNS = Path(".dataprune/runs")
DEFAULT_EVALUATIONS = Path(".dataprune/evaluations")

log = logging.getLogger("dataprune")


def _quiet(_unit_id: str, _progress: dict[str, Any]) -> None:
    """No progress wanted."""


@dataclass(frozen=True)
class ScoreResult:
    """What `score` made.

    path: the score table. work: the run folder, whose finished units later runs use.
    status: "complete", or "partial" when units failed; the table says so too.
    reliability: per score, how well the seeds agree. timing: accuracy at each scored epoch.
    seeds: what the scores are a mean of. trained: those of them trained now.
    """

    path: Path
    work: Path
    status: str
    recipe: Recipe
    source: SourceRef
    reliability: dict[str, Any]
    timing: list[CheckpointAccuracy]
    seeds: list[int]
    trained: list[int]
    failed: list[Outcome]
    notes: list[str]
    warnings: list[str]


def score(
    recipe: str | Path | Recipe,
    *,
    source: str | None = None,
    scores: Sequence[str] | None = None,
    at: Sequence[int] | None = None,
    seeds: int | None = None,
    work: str | Path | None = None,
    out: str | Path | None = None,
    runner: str | None = None,
    address: str | None = None,
    on_progress: OnProgress = _quiet,
) -> ScoreResult:
    """Source -> probe -> trace -> scores: train a recipe's probes and write one score table.

    recipe: a shipped recipe's name, a YAML file, a data path (default recipe), or a Recipe.
    The other arguments override the recipe. Units already in `work` are not trained again.

    Raises:
        DatapruneError: one of its subclasses, with what to do next.
    """
    from dataprune.probe.gate import timing_gate
    from dataprune.probe.observe import Observed, observe
    from dataprune.probe.plan import run_fingerprint
    from dataprune.scores._aggregate import compute_scores

    changes = {
        "source.uri": source,
        "scores.names": scores,
        "scores.at": at,
        "seeds": seeds,
        "run.runner": runner,
        "run.address": address,
    }
    recipe = resolve_recipe(recipe, changes)
    wanted = [SCORES.get(name) for name in dict.fromkeys(recipe.scores.names)]
    check_strategy(recipe.prune.strategy, recipe.prune.params)
    loaded = load_examples(open_source(recipe.source))
    log.info(describe(loaded))
    recipe = with_default_model(recipe, loaded.ref.kind)
    run_id = run_fingerprint(recipe, loaded)[:12]
    folder = Path(work) if work is not None else DEFAULT_RUNS / f"{recipe.name}-{run_id}"
    path = Path(out) if out is not None else _table_path(folder, loaded, wanted)
    signals = {signal for s in wanted for signal in s.signals}
    seen = Observed({}, {}, [], [], [])
    if signals:
        require("torch", extra="probe", why="training probes")
        seen = observe(recipe, loaded, signals, folder, on_progress)
    timing, warnings = timing_gate(recipe, loaded, seen)
    columns = compute_scores(recipe, wanted, seen.traces, len(loaded.labels))
    meta: dict[str, Any] = {
        "status": "partial" if seen.failed else "complete",
        "source": loaded.ref.model_dump(mode="json"),
        "recipe": portable_recipe(recipe),
        "scores": columns.specs,
        "seeds": sorted(seen.traces) if signals else list(range(recipe.seeds)),
        "unit_ids": [seen.records[seed].unit_id for seed in sorted(seen.records)],
        "reliability": columns.reliability,
        "timing": [{"epoch": t.epoch, "accuracy": t.accuracy, "low": t.low} for t in timing],
        "environment": _environment(recipe) if seen.records else {},
    }
    write_scores(path, loaded.examples, columns.values, meta)
    return ScoreResult(
        path=path,
        work=folder,
        status=meta["status"],
        recipe=recipe,
        source=loaded.ref,
        reliability=columns.reliability,
        timing=timing,
        seeds=meta["seeds"],
        trained=seen.trained,
        failed=seen.failed,
        notes=seen.reasons,
        warnings=warnings,
    )


def _table_path(folder: Path, loaded: Loaded, wanted: Sequence[Score]) -> Path:
    """The run folder's own table; it may be made anew, but not taken from another source.

    Raises:
        UsageError: the folder holds scores of another source.
    """
    path = folder / "scores.parquet"
    if path.is_file():
        before = read_scores(path).meta
        if before["source"]["fingerprint"] != loaded.ref.fingerprint:
            raise UsageError(
                f"{path} holds scores of another source, {before['source']['uri']}",
                hint="choose another --work, or name the new table with --out",
            )
        lost = sorted(
            {spec["score"] for spec in before["scores"].values()} - {s.name for s in wanted}
        )
        if lost:
            log.info("%s will no longer hold %s; use --out to keep both", path, ", ".join(lost))
    return path


def _environment(recipe: Recipe) -> dict[str, Any]:
    """What the bits of a trace depend on besides the recipe."""
    return {
        "device": "cuda" if recipe.run.num_gpus > 0 else "cpu",
        "threads": recipe.run.num_cpus,
        "torch": importlib.metadata.version("torch"),
    }


def describe(loaded: Loaded) -> str:
    """One line: what was found, and which columns play which part."""
    ref = loaded.ref
    shape = "" if loaded.inputs is None else f" {'x'.join(map(str, loaded.inputs.shape[1:]))}"
    test = (
        f", {len(loaded.test.labels)} held out in {ref.test.split}"
        if loaded.test and ref.test
        else ""
    )
    key = f", key column {ref.columns.key}" if ref.columns.key else ""
    return (
        f"source {ref.uri}: {ref.num_rows} rows in {ref.split}{test}; {ref.kind} column "
        f"{ref.columns.input}{shape}, label column {ref.columns.label} with "
        f"{len(ref.class_names)} classes{key}"
    )


def _fingerprint(ref: SourceRef) -> str | None:
    return ref.test.fingerprint if ref.test else None


@dataclass(frozen=True)
class PruneResult:
    """What `prune` decided and made.

    choice, by: the strategy with its budget, and the score column, if the strategy reads one.
    classes: per class, rows in the source, kept and dropped. reasons: rows per reason.
    manifest: None on a dry run. created: False if the same version was there already.
    control: the random control's manifest, if one was asked for.
    """

    choice: Choice
    by: str | None
    rows_in: int
    rows_out: int
    classes: dict[str, dict[str, int]]
    reasons: dict[str, int]
    warnings: list[str]
    manifest: Manifest | None = None
    created: bool = False
    control: Manifest | None = None
    folder: Path | None = None


def prune(
    scores: str | Path,
    *,
    name: str,
    tag: str,
    keep: float | None = None,
    by: str | None = None,
    strategy: str | None = None,
    params: dict[str, Any] | None = None,
    class_balance: str | None = None,
    min_per_class: int | None = None,
    seed: int | None = None,
    extra: Sequence[str | Path] = (),
    source: str | None = None,
    store: str | Path = DEFAULT_STORE,
    view: bool = False,
    control: bool = False,
    dry_run: bool = False,
) -> PruneResult:
    """Scores -> decisions -> version: decide from a score table and build `name@tag`.

    keep: a float in (0, 1] keeps `round(keep * n)` rows, an int exactly that many.
    extra: further score or flag tables of the same source; `by` may name their columns.
    source: where the source lies now, if not where it was scored. Other defaults: the recipe's.

    Raises:
        DatapruneError: one of its subclasses, with what to do next.
    """
    check_name(name)
    check_tag(tag)
    if control:
        control_tag(tag)
    path = Path(scores)
    table = join_tables(read_scores(path), path, [Path(other) for other in extra])
    ref = SourceRef.model_validate(table.meta["source"])
    recipe = parse_recipe(table.meta["recipe"], where=str(scores))
    choice = make_choice(
        recipe.prune,
        keep=keep,
        strategy=strategy,
        params=params,
        balance=class_balance,
        min_per_class=min_per_class,
        seed=seed,
    )
    needs_score = STRATEGIES.get(choice.strategy).needs_score
    if by is not None and not needs_score:
        raise UsageError(f"strategy {choice.strategy} uses no score, and --by names {by}")
    column = by or _default_column(table, recipe)
    decisions = decide(table.table, table.values(column), ref.class_names, choice)
    classes = count_by_class(decisions, ref.class_names)
    warnings = warnings_for(decisions, choice, ref.class_names)
    if table.origin(column)["status"] == "partial":
        warnings.append("the score table is partial: some units failed; score again to complete it")
    result = PruneResult(
        choice=choice,
        by=column if needs_score else None,
        rows_in=len(decisions),
        rows_out=sum(count["kept"] for count in classes.values()),
        classes=classes,
        reasons=count_reasons(decisions),
        warnings=warnings,
    )
    if dry_run:
        return result
    opened = open_pinned(ref, source, examples=table.table, near=path)
    draft = Draft(name, tag, opened, ref, table, decisions, choice, column, view)
    local = LocalStore(Path(store))
    manifest, created = build_version(local, draft)
    control_manifest = build_control(local, draft) if control else None
    return replace(
        result,
        manifest=manifest,
        created=created,
        control=control_manifest,
        folder=local.path(name, tag),
    )


def _default_column(table: ScoreTable, recipe: Recipe) -> str:
    """The column that the recipe decides by, else its first score.

    Raises:
        UsageError: the recipe names a column that the table lacks.
    """
    column = recipe.prune.by or recipe.scores.names[0]
    if column not in table.columns:
        raise UsageError(
            f"recipe {recipe.name} decides by {column}, and the score table has no such column",
            hint=f"choose with --by; {nearest(column, table.columns)}",
        )
    return column


def load(
    name: str, tag: str, *, store: str | Path = DEFAULT_STORE, source: str | None = None
) -> LoadedVersion:
    """Version -> load: `name@tag`, every file checked against the manifest.

    source: where a view's source lies now, if it has moved.

    Raises:
        VersionNotFoundError: no such name or tag; the hint lists what there is.
        VersionError: a file is missing, damaged or not the manifest's.
    """
    return load_version(LocalStore(Path(store)), name, tag, source_uri=source)


def evaluate(
    name: str,
    *tags: str,
    seeds: int = 3,
    store: str | Path = DEFAULT_STORE,
    source: str | None = None,
    work: str | Path | None = None,
    runner: str | None = None,
    address: str | None = None,
    on_progress: OnProgress = _quiet,
) -> EvaluationResult:
    """Version -> evaluate: retrain the probe on each version, its control and the full data.

    Every arm trains for as many steps as the recipe gives the full data.

    Raises:
        UsageError: the versions come from different sources.
        PartialError: every unit failed.
    """
    require("torch", extra="probe", why="retraining on versions")
    from dataprune.evaluation.run import retrain_and_compare, versions_to_evaluate

    versions = versions_to_evaluate(LocalStore(Path(store)), name, tags)
    first = versions[0].manifest
    recorded = parse_recipe(first.recipe, where=f"{name}@{first.version}")
    changes = {"run.runner": runner, "run.address": address}
    recipe = resolve_recipe(recorded, changes)
    local = LocalStore(Path(store))
    near = local.path(name, first.version)
    loaded = load_examples(open_pinned(first.source, source, near=near))
    if _fingerprint(loaded.ref) != _fingerprint(first.source):
        raise AlignmentError(
            f"the held-out split of {loaded.ref.uri} is not the one that was there at scoring",
            hint="restore it, or score and prune again with this one",
        )
    folder = Path(work) if work else DEFAULT_EVALUATIONS / f"{name}-{first.source.fingerprint[:12]}"
    return retrain_and_compare(
        recipe, loaded, versions, num_seeds=seeds, work=folder, on_progress=on_progress
    )
