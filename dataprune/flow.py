"""The flow, one function per arrow; a reader of this page knows the product.

    source -> probe -> trace -> scores -> decisions -> version -> load -> evaluate

`score`, `prune`, `load` and `evaluate` are the public verbs: they string the arrows together.
Scores are kept apart from decisions, so pruning again costs seconds and needs no torch.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dataprune.core.errors import PartialError, ProbeError, UsageError, nearest
from dataprune.core.files import write_json
from dataprune.core.protocols import Job, OnProgress, Outcome, Resources
from dataprune.core.recipe import Recipe, load_recipe, parse_recipe, recipe_names
from dataprune.runs import get_runner
from dataprune.runs.ledger import Ledger, Record
from dataprune.scores import SCORES, Score
from dataprune.scores._aggregate import mean_and_std, per_seed_values, reliability
from dataprune.selection import STRATEGIES
from dataprune.selection._decide import Choice, decide, warnings_for
from dataprune.sources import Source, open_source
from dataprune.sources._load import Loaded
from dataprune.sources._load import load as load_examples
from dataprune.tables.examples import check_aligned
from dataprune.tables.manifest import Manifest, SourceRef, check_tag, portable_recipe
from dataprune.tables.scores import ScoreTable, read_scores, write_scores
from dataprune.tables.trace import Trace, read_trace
from dataprune.versions.build import Draft, build_version
from dataprune.versions.load import LoadedVersion, load_version, same_files
from dataprune.versions.store import DEFAULT_STORE, LocalStore

if TYPE_CHECKING:
    from dataprune.evaluate.compare import Arms

DEFAULT_RUNS = Path(".dataprune/runs")
DEFAULT_EVALUATIONS = Path(".dataprune/evaluations")


log = logging.getLogger("dataprune")


def _quiet(_unit_id: str, _progress: dict[str, Any]) -> None:
    """No progress wanted."""


# ---------------------------------------------------------------------------- recipe and source


def resolve_recipe(recipe: str | Path | Recipe, changes: dict[str, Any]) -> Recipe:
    """A recipe by name or path, or the default one for a source; with overrides, validated again.

    changes: {"section.key": value}; None leaves the recipe's own value.

    Raises:
        RecipeError: not found or not valid.
    """
    if not isinstance(recipe, Recipe):
        recipe = _find_recipe(str(recipe))
    data = recipe.model_dump(mode="json")
    for path, value in changes.items():
        if value is not None:
            *sections, key = path.split(".")
            place = data
            for section in sections:
                place = place[section]
            place[key] = value
    return parse_recipe(data, where=f"recipe {recipe.name}")


def _find_recipe(name: str) -> Recipe:
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} or name in recipe_names():
        return load_recipe(name)
    if not (path.exists() or path.suffix == ".parquet" or any(c in name for c in "*?[")):
        raise UsageError(
            f"{name} is neither a recipe nor data that exists", hint=nearest(name, recipe_names())
        )
    recipe = parse_recipe({"name": _slug(path), "source": {"uri": name}}, where=name)
    if open_source(recipe.source).kind == "features":
        return resolve_recipe(recipe, {"probe.model": {"name": "mlp"}})
    return recipe


def _slug(path: Path) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in path.stem)
    return kept.lstrip("._-")[:64] or "source"


# ------------------------------------------------------------------- source -> probe -> trace


@dataclass(frozen=True)
class Observed:
    """What the probes of a run have seen.

    traces: by seed; only finished units. failed: outcomes of the others.
    trained: seeds trained now, the rest were in the ledger. reasons: why some were trained again.
    """

    traces: dict[int, Trace]
    records: dict[int, Record]
    failed: list[Outcome]
    trained: list[int]
    reasons: list[str]


def observe(
    recipe: Recipe, loaded: Loaded, scores: Sequence[Score], work: Path, on_progress: OnProgress
) -> Observed:
    """Train the probes that the ledger lacks; read every finished unit's trace."""
    from dataprune.probe.plan import check_trainable, plan_units, shared_arrays
    from dataprune.probe.signals import ALWAYS_RECORDED

    wanted = {signal for score in scores for signal in score.signals}
    check_trainable(recipe, loaded)
    ledger = Ledger(work)
    with ledger.exclusive():
        plan = plan_units(recipe, loaded, {*wanted, *ALWAYS_RECORDED}, ledger.records())
        log.info("%d of %d seeds to train in %s", len(plan.units), recipe.seeds, work)
        for reason in plan.reasons:
            log.info(reason)
        planned = {unit.unit_id: unit.label for unit in plan.units}
        described = {r.unit_id: f"seed {seed}" for seed, r in plan.done.items()} | planned
        write_json(work / "run.json", {"recipe": portable_recipe(recipe), "units": described})
        outcomes: list[Outcome] = []
        if plan.units:
            resources = Resources(
                recipe.run.num_cpus,
                recipe.run.num_gpus,
                recipe.run.max_retries,
                recipe.run.address,
            )
            job = Job(work, plan.units, shared_arrays(recipe, loaded), resources)
            outcomes = get_runner(recipe.run.runner).run(job, on_progress)
    records = dict(plan.done)
    for unit in plan.units:
        record = ledger.finished(unit.unit_id)
        if record is not None:
            records[unit.spec["seed"]] = record
    traces = {
        seed: read_trace(record.path("trace.parquet"), wanted)
        for seed, record in sorted(records.items())
    }
    failed = [outcome for outcome in outcomes if outcome.error]
    trained = sorted(seed for seed in records if seed not in plan.done)
    return Observed(traces, records, failed, trained, plan.reasons)


# -------------------------------------------------------------------------- trace -> scores


def compute_scores(
    recipe: Recipe, scores: Sequence[Score], traces: dict[int, Trace]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Columns, their specs, and the reliability of each score at the last checkpoint."""
    columns: dict[str, Any] = {}
    specs: dict[str, Any] = {}
    agreement: dict[str, Any] = {}
    for score in scores:
        for epoch in recipe.checkpoints:
            values_SN = per_seed_values(score, traces, epoch, root_seed=recipe.seed)
            mean, std = mean_and_std(values_SN)
            columns[f"{score.name}@{epoch}"] = mean
            specs[f"{score.name}@{epoch}"] = _spec(score, recipe, sorted(traces), epoch)
        columns[score.name] = mean
        columns[f"{score.name}_std"] = std
        specs[score.name] = specs[f"{score.name}@{recipe.checkpoints[-1]}"]
        agreement[score.name] = reliability(values_SN, root_seed=recipe.seed)
    return columns, specs, agreement


def _spec(score: Score, recipe: Recipe, seeds: list[int], epoch: int) -> dict[str, Any]:
    """What a silent variant of the score would change, written down."""
    return {
        "score": score.name,
        "higher_is": score.higher_is,
        "status": score.status,
        "source": score.source,
        "epoch": epoch,
        "schedule_epochs": recipe.probe.schedule_epochs,
        "seeds": seeds,
        "mode": "eval",
        "augmentation": "none",
        "precision": "float32",
        "model": recipe.probe.model.name,
        **score.spec,
    }


# ------------------------------------------------------------------------------------- score


@dataclass(frozen=True)
class ScoreResult:
    """What `score` made.

    status: "complete", or "partial" when units failed.
    timing: held-out accuracy at each scored epoch.
    """

    path: Path
    work: Path
    status: str
    recipe: Recipe
    source: SourceRef
    reliability: dict[str, Any]
    timing: list[Any]
    trained: list[int]
    seeds: list[int]
    failed: list[Outcome]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


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
    """Train the probes a recipe asks for and write one score table.

    recipe: a shipped recipe's name, a YAML file, a data path (default recipe), or a Recipe.
    The other arguments override the recipe. Units already in `work` are not trained again.
    Returns a result whose status is "partial" if units failed; the table says so too.

    Raises:
        DatapruneError: one of its subclasses, with what to do next.
    """
    recipe = resolve_recipe(
        recipe,
        {
            "source.uri": source,
            "scores.names": scores,
            "scores.at": at,
            "seeds": seeds,
            "run.runner": runner,
            "run.address": address,
        },
    )
    if recipe.run.address is not None and recipe.run.runner != "ray":
        raise UsageError("an address was given and the runner is local", hint="add --runner ray")
    wanted = [SCORES.get(name) for name in dict.fromkeys(recipe.scores.names)]
    loaded = load_examples(open_source(recipe.source))
    log.info(_describe(loaded))
    from dataprune.probe.plan import run_fingerprint

    run_id = run_fingerprint(recipe, loaded)[:12]
    folder = Path(work) if work is not None else DEFAULT_RUNS / f"{recipe.name}-{run_id}"
    if any(s.signals for s in wanted):
        seen = observe(recipe, loaded, wanted, folder, on_progress)
        if not seen.traces:
            first = seen.failed[0]
            raise ProbeError(f"every unit failed; the first: {first.error}", hint=first.hint)
    else:
        nothing = Trace(np.ones(len(loaded.labels), np.bool_), {e: {} for e in recipe.checkpoints})
        seen = Observed(dict.fromkeys(range(recipe.seeds), nothing), {}, [], [], [])
    timing, warnings = _gate(recipe, loaded, seen)
    columns, specs, agreement = compute_scores(recipe, wanted, seen.traces)
    status = "partial" if seen.failed else "complete"
    path = Path(out) if out is not None else folder / "scores.parquet"
    meta = {
        "status": status,
        "source": loaded.ref.model_dump(mode="json"),
        "recipe": portable_recipe(recipe),
        "scores": specs,
        "seeds": sorted(seen.traces),
        "unit_ids": [seen.records[s].unit_id for s in sorted(seen.records)],
        "reliability": agreement,
        "timing": [{"epoch": t.epoch, "accuracy": t.accuracy, "low": t.low} for t in timing],
        "environment": {
            "device": "cuda" if recipe.run.num_gpus > 0 else "cpu",
            "threads": recipe.run.num_cpus,
            **({"torch": importlib.metadata.version("torch")} if seen.records else {}),
        },
    }
    write_scores(path, loaded.examples, columns, meta)
    return ScoreResult(
        path, folder, status, recipe, loaded.ref, agreement, timing, seen.trained,
        sorted(seen.traces), seen.failed, seen.reasons, warnings,
    )  # fmt: skip


def _describe(loaded: Loaded) -> str:
    """One line: what was found, and which columns play which part."""
    ref = loaded.ref
    shape = "" if loaded.inputs is None else f" {'x'.join(map(str, loaded.inputs.shape[1:]))}"
    test = f", {len(loaded.test.labels)} held out in {ref.test_split}" if loaded.test else ""
    key = f", key column {ref.columns.key}" if ref.columns.key else ""
    return (
        f"source {ref.uri}: {ref.num_rows} rows in {ref.split}{test}; {ref.kind} column "
        f"{ref.columns.input}{shape}, label column {ref.columns.label} with "
        f"{len(ref.class_names)} classes{key}"
    )


def _gate(recipe: Recipe, loaded: Loaded, seen: Observed) -> tuple[list[Any], list[str]]:
    """The timing gate: had the probes learned enough at each scored epoch?"""
    from dataprune.probe.gate import check_timing

    if not seen.records or recipe.scores.timing_gate == "off":
        return [], []
    labels = loaded.labels if loaded.test is None else loaded.test.labels
    rows = len(labels)
    if loaded.test is None:
        rows = int((~np.all([t.in_sample for t in seen.traces.values()], axis=0)).sum())
    chance = float(np.bincount(labels).max() / len(labels))
    records = [seen.records[seed] for seed in sorted(seen.records)]
    timing = check_timing(records, recipe.checkpoints, chance=chance, heldout_rows=rows)
    problems = [
        f"scores at epoch {t.epoch} come too early: held-out accuracy is {t.accuracy:.3f} and "
        f"{t.problem}"
        for t in timing
        if t.problem
    ]
    if problems and recipe.scores.timing_gate == "error":
        good = [str(t.epoch) for t in timing if not t.problem]
        later = f"--at {good[0]}" if good else "a later epoch, or train a better probe"
        raise ProbeError(
            problems[0],
            hint=f"score at {later}; or set scores.timing_gate to warn. The units are kept",
        )
    return timing, problems


# -------------------------------------------------------------- scores -> decisions -> version


@dataclass(frozen=True)
class PruneResult:
    """What `prune` decided and made.

    manifest: None on a dry run. created: False if the same version was there already.
    control: the random control's manifest, if one was asked for.
    """

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
    """Decide from a score table and build `name@tag`.

    keep: a float in (0, 1] keeps `round(keep * n)` rows, an int exactly that many.
    extra: further score or flag tables of the same source; `by` may name their columns.
    source: where the source lies now, if not where it was scored. Other defaults: the recipe's.

    Raises:
        DatapruneError: one of its subclasses, with what to do next.
    """
    from dataprune.tables.decisions import count_by_class, count_reasons
    from dataprune.tables.manifest import check_name

    check_name(name)
    check_tag(tag)
    control_tag = check_tag(f"{tag}-control") if control else None
    table = _with_extra(read_scores(Path(scores)), Path(scores), extra)
    ref = SourceRef.model_validate(table.meta["source"])
    defaults = parse_recipe(table.meta["recipe"], where=str(scores)).prune
    choice = _choice(defaults, keep, strategy, params, class_balance, min_per_class, seed)
    column = by or defaults.by or table.columns[-1]
    if column not in table.columns and by is None:
        column = next(c for c in table.columns if "@" not in c)
    needs_score = STRATEGIES.get(choice.strategy).needs_score
    if by is not None and not needs_score:
        raise UsageError(f"strategy {choice.strategy} uses no score, and --by names {by}")
    decisions = decide(table.table, table.values(column), ref.class_names, choice)
    warnings = warnings_for(decisions, choice, ref.class_names)
    if table.meta["status"] == "partial":
        warnings.append("the score table is partial: some units failed; score again to complete it")
    classes = count_by_class(decisions, ref.class_names)
    kept = sum(c["kept"] for c in classes.values())
    result = PruneResult(len(decisions), kept, classes, count_reasons(decisions), warnings)
    if dry_run:
        return result
    opened = _pinned_source(ref, source, table)
    draft = Draft(
        name, tag, opened, ref, table, Path(scores), decisions, choice, column, view
    )
    local = LocalStore(Path(store))
    manifest, created = build_version(local, draft)
    control_manifest = None
    if control_tag is not None:
        control_manifest = _build_control(local, draft, control_tag, classes)
    return replace(
        result, manifest=manifest, created=created, control=control_manifest,
        folder=local.path(name, tag),
    )  # fmt: skip


def _choice(
    defaults: Any,
    keep: float | None,
    strategy: str | None,
    params: dict[str, Any] | None,
    class_balance: str | None,
    min_per_class: int | None,
    seed: int | None,
) -> Choice:
    wanted = keep if keep is not None else defaults.keep
    if wanted is None:
        raise UsageError("nothing says how much to keep", hint="give --keep 0.5 or --keep 25000")
    same_strategy = strategy in {None, defaults.strategy}
    return Choice(
        strategy or defaults.strategy,
        wanted,
        params or (defaults.params if same_strategy else {}),
        class_balance or defaults.class_balance,
        defaults.min_per_class if min_per_class is None else min_per_class,
        defaults.seed if seed is None else seed,
    )


def _with_extra(table: ScoreTable, path: Path, extra: Sequence[str | Path]) -> ScoreTable:
    """Join columns of other tables of the same source, by row, content hashes checked."""
    for other_path in extra:
        other = read_scores(Path(other_path))
        check_aligned(table.table, other.table, what=str(path), other=str(other_path))
        joined, specs = table.table, dict(table.meta["scores"])
        for column in other.columns:
            if column in specs:
                raise UsageError(f"{other_path} has column {column}, and so has {path}")
            joined = joined.append_column(
                other.table.schema.field(column), other.table.column(column)
            )
            specs[column] = other.meta["scores"][column]
        table = ScoreTable(joined, {**table.meta, "scores": specs})
    return table


def _pinned_source(ref: SourceRef, uri: str | None, table: ScoreTable) -> Source:
    """Open the source the scores belong to, and prove that it is the same, row by row if need be."""
    from dataprune.core.recipe import SourceRecipe

    where = SourceRecipe(
        uri=uri or ref.uri,
        format=ref.format,
        split=ref.split,
        test_split=ref.test_split,
        columns=ref.columns,
    )
    opened = open_source(where)
    if not same_files(opened, ref):
        loaded = load_examples(opened)
        check_aligned(loaded.examples, table.table, what=f"source {where.uri}", other="the scores")
    return opened


def _build_control(
    store: LocalStore, draft: Draft, tag: str, classes: dict[str, dict[str, int]]
) -> Manifest:
    """A random version with the same number of rows of each class."""
    quotas = tuple(counts["kept"] for counts in classes.values())
    choice = Choice(
        "random", sum(quotas), {}, balance="matched", seed=draft.choice.seed, quotas=quotas
    )
    decisions = decide(
        draft.decisions, draft.scores.values(draft.by), draft.ref.class_names, choice
    )
    control = replace(draft, tag=tag, decisions=decisions, choice=choice, control_of=draft.tag)
    manifest, _ = build_version(store, control)
    return manifest


# --------------------------------------------------------------------------- version -> load


def load(
    name: str, tag: str, *, store: str | Path = DEFAULT_STORE, source: str | None = None
) -> LoadedVersion:
    """Load `name@tag`, every file checked against the manifest.

    source: where a view's source lies now, if it has moved.

    Raises:
        VersionNotFoundError: no such name or tag; the hint lists what there is.
        VersionError: a file is missing, damaged or not the manifest's.
    """
    return load_version(LocalStore(Path(store)), name, tag, source_uri=source)


# ----------------------------------------------------------------------- version -> evaluate


@dataclass(frozen=True)
class EvaluationResult:
    """Accuracy per arm; see `dataprune.evaluate.compare.compare` for the rows."""

    name: str
    rows: list[dict[str, Any]]
    held_out: str
    num_steps: int
    status: str
    failed: list[Outcome]


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
    """Retrain the recipe's probe on each version, its control and the full data, at equal steps.

    Raises:
        UsageError: the versions come from different sources.
        PartialError: every unit failed.
    """
    from dataprune.evaluate.compare import compare, retrain_units

    recipe, loaded, arms = _lay_out_arms(name, tags, LocalStore(Path(store)), source, runner, address)
    folder = Path(work) if work else DEFAULT_EVALUATIONS / f"{name}-{loaded.ref.fingerprint[:12]}"
    units = retrain_units(recipe, loaded, arms, seeds)
    ledger = Ledger(folder)
    log.info(
        "%d arms x %d seeds, %d steps each, tested on the %s",
        len(arms.rows), seeds, arms.num_steps, arms.held_out,
    )  # fmt: skip
    with ledger.exclusive():
        described = {unit.unit_id: unit.label for unit in units}
        write_json(folder / "run.json", {"recipe": portable_recipe(recipe), "units": described})
        missing = [unit for unit in units if ledger.finished(unit.unit_id) is None]
        outcomes: list[Outcome] = []
        if missing:
            resources = Resources(
                recipe.run.num_cpus, recipe.run.num_gpus, recipe.run.max_retries, address
            )
            job = Job(folder, missing, arms.shared, resources)
            outcomes = get_runner(recipe.run.runner).run(job, on_progress)
    found = {u.unit_id: r for u in units if (r := ledger.finished(u.unit_id)) is not None}
    failed = [outcome for outcome in outcomes if outcome.error]
    if not found:
        raise PartialError(f"every unit failed; the first: {failed[0].error}", hint=failed[0].hint)
    rows = compare(units, found, arms)
    status = "partial" if failed else "complete"
    return EvaluationResult(name, rows, arms.held_out, arms.num_steps, status, failed)


def _lay_out_arms(
    name: str,
    tags: Sequence[str],
    store: LocalStore,
    source: str | None,
    runner: str | None,
    address: str | None,
) -> tuple[Recipe, Loaded, Arms]:
    from dataprune.evaluate.compare import make_arms
    from dataprune.versions.load import open_pinned

    all_tags = dict.fromkeys(t for tag in tags for t in (tag, *_controls(store, name, tag)))
    versions = [load_version(store, name, tag, source_uri=source) for tag in all_tags]
    first = versions[0].manifest
    for version in versions:
        if version.manifest.source.fingerprint != first.source.fingerprint:
            raise UsageError(
                f"{name}@{version.tag} and {name}@{first.version} come from different sources",
                hint="evaluate them one by one",
            )
    changes = {"run.runner": runner, "run.address": address}
    recipe = resolve_recipe(parse_recipe(first.recipe, where=f"{name}@{first.version}"), changes)
    loaded = load_examples(open_pinned(first.source, source))
    arms = make_arms(recipe, loaded, {v.tag: v.rows for v in versions})
    return recipe, loaded, arms


def _controls(store: LocalStore, name: str, tag: str) -> list[str]:
    return [t for t in store.tags(name) if store.manifest(name, t).control_of == tag]
