r"""The flow, one function per arrow; a reader of this page knows the product.

    source -> probe -> trace -> scores -> decisions -> version -> publish -> load -> evaluate
                         \-> flags     /
    trajectories -> rules, groups -> ledger

`score`, `flag`, `curate`, `prune`, `publish`, `load`, `evaluate`: each strings several arrows.
Two side doors lead in: traces of your own training (`score` with `traces`; `probe/recorder.py`)
and another tool's scores (`import_scores` in `scores/_import.py`).
Scores are kept apart from decisions, so pruning again costs seconds and needs no torch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataprune.core.errors import UsageError
from dataprune.core.extras import require
from dataprune.core.protocols import OnProgress
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.flags import compute_flags, find_flags
from dataprune.flags._units import StoredUnits, read_units
from dataprune.publishing.building import build_pruned, check_control, where_to_push
from dataprune.publishing.open import open_version
from dataprune.publishing.prune_result import PruneResult
from dataprune.scores._features import with_features
from dataprune.scores._result import ScoreResult
from dataprune.scores._score_traces import score_recorded
from dataprune.selection._choice import check_steps, make_choice
from dataprune.selection._decided import decide_from_scores
from dataprune.selection._features import features_read
from dataprune.sources._resolve import resolve_recipe
from dataprune.tables.flags import check_flags_path
from dataprune.tables.join import join_tables
from dataprune.tables.manifest import RowOrder, SourceRef
from dataprune.tables.run_examples import RunExamples
from dataprune.tables.scores import check_table_path, read_scores, write_scores
from dataprune.versions.build import Draft, check_version
from dataprune.versions.load import LoadedVersion, load_version, open_pinned
from dataprune.versions.order import check_order
from dataprune.versions.relabel import check_relabel
from dataprune.versions.store import DEFAULT_STORE, LocalStore

if TYPE_CHECKING:
    from dataprune.evaluation.outcome import EvaluationResult
    from dataprune.flags.label_issue import LabelFlags
    from dataprune.publishing.curated import CurateResult
    from dataprune.publishing.publisher import Published

DEFAULT_CURATIONS = Path(".dataprune/curations")

_QUIET: OnProgress = lambda _unit_id, _told: None  # noqa: E731 - no progress wanted
log = logging.getLogger("dataprune")


def score(
    recipe: str | Path | Recipe,
    *,
    source: str | None = None,
    inputs: Sequence[str] | None = None,
    label: str | None = None,
    embedding: str | None = None,
    task: str | None = None,
    scores: Sequence[str] | None = None,
    flags: Sequence[str] | None = None,
    features: bool | None = None,
    at: Sequence[int] | None = None,
    seeds: int | None = None,
    work: str | Path | None = None,
    out: str | Path | None = None,
    runner: str | None = None,
    address: str | None = None,
    traces: str | Path | None = None,
    on_progress: OnProgress = _QUIET,
) -> ScoreResult:
    """Source -> probe -> trace -> scores: train a recipe's probes and write one score table.

    recipe: a shipped recipe's name, a YAML file, a data path (default recipe), or a Recipe.
    inputs, label: columns of the source; one image, text or list column, or numeric ones.
    embedding: a column of vectors, which are the rows' features then, in place of the probes'.
    flags: label_issue, memorized; they need cross-fitting: 5 folds twice by default.
    features: record features of the rows; default: if a strategy of the recipe reads them.
    traces: a folder of recorded traces to score instead, at their last common epoch by default.
    work: a folder or a URL; units already there are not trained again. Others override the recipe.

    Raises:
        DatapruneError: one of its subclasses, with what to do next.
    """
    if out is not None:
        check_table_path(out)
    about = {
        "source.uri": source,
        "source.columns.input": list(inputs) if inputs else None,
        "source.columns.label": label,
        "source.columns.embedding": embedding,
        "task": task,
        "scores.names": scores,
        "flags": flags,
        "scores.features": features,
    }
    if traces is not None:
        recipe = resolve_recipe(recipe, about)
        check_steps(recipe.prune)
        trains = {"seeds": seeds, "work": work, "runner": runner, "address": address}
        return score_recorded(recipe, Path(traces), at, out, no_effect=trains)
    from dataprune.planning.prepare import prepared
    from dataprune.probe.gate import timing_gate
    from dataprune.probe.observe import Observed, observe
    from dataprune.probe.plan import holds_out_folds
    from dataprune.scores._aggregate import compute_scores
    from dataprune.scores._table import share_table, table_meta, table_path, warnings_of_removals

    changes = {"scores.at": at, "seeds": seeds, "run.runner": runner, "run.address": address}
    with prepared(resolve_recipe(recipe, {**about, **changes}), work) as job:
        recipe, loaded, wanted, place = job.recipe, job.loaded, job.wanted, job.place
        path = Path(out) if out is not None else table_path(place, loaded, wanted, recipe.flags)
        seen = Observed({}, {}, [], [], [])
        if job.trains:
            seen = observe(recipe, loaded, job.signals, place, on_progress)
    judged = not all(score.at_init for score in wanted)
    timing, warnings = timing_gate(recipe, loaded, seen) if judged else ([], [])
    columns = compute_scores(
        recipe, wanted, seen.traces, loaded.labels, holds_out=holds_out_folds(recipe, loaded)
    )
    warnings += warnings_of_removals(recipe, wanted, seen) + columns.warnings
    meta = table_meta(recipe, loaded, seen, columns, timing)
    run = StoredUnits(recipe, RunExamples(loaded.examples, loaded.ref), seen.records, seen.missing)
    flagged = compute_flags(job.flagging, run)
    warnings += flagged.warnings
    meta |= {"flag_overlap": flagged.overlap} if flagged.overlap else {}
    write_scores(
        path, loaded.examples, columns.values,
        with_features(path, recipe, loaded, seen.records, meta), flagged.columns,
    )  # fmt: skip
    share_table(place, path)
    return ScoreResult(
        path=path,
        work=place.folder,
        status=meta["status"],
        recipe=recipe,
        source=loaded.ref,
        reliability=columns.reliability, between=columns.between, timing=timing,
        seeds=meta["seeds"], trained=seen.trained, failed=seen.failed, notes=seen.reasons,
        warnings=warnings, flags=flagged.totals, flag_overlap=flagged.overlap,
    )  # fmt: skip


def flag(
    work: str | Path,
    *,
    name: str = "label_issue",
    rule: str = "tiers",
    out: str | Path | None = None,
) -> LabelFlags:
    """Trace -> flags: what the finished units of a run folder say of its labels.

    work: of `score`, cross-fitted (`flags`, or `holdout.repeats` in the recipe).
    name: the flag. rule: "tiers", or "cleanlab:FILTER" for cleanlab's verdicts in place of ours.
    out: where to write its table, FLAGS.parquet.

    Raises:
        UsageError: no run folder, or one whose probes held nothing out.
        PartialError: a row that no finished unit held out.
    """
    from dataprune.scores._beside import in_sample_scores

    target = None if out is None else check_flags_path(out)
    stored = read_units(work)
    [wanted] = find_flags([name], stored.recipe.task)
    if not wanted.has_table:
        raise UsageError(
            f"flag {name} has no table of its own",
            hint=f"dataprune score RECIPE --flag {name} puts it into the score table",
        )
    found: LabelFlags = wanted.compute(stored, rule=rule)
    labels = stored.examples.table.column("label").to_numpy()
    beside = in_sample_scores(stored.recipe, stored.records, labels, wanted.beside)
    found = replace(found, columns={**found.columns, **beside})
    if target is not None:
        found.write(target)
    return found


def prune(
    scores: str | Path,
    *,
    name: str,
    tag: str,
    keep: float | None = None,
    by: str | None = None,
    strategy: str | Sequence[str] | None = None,
    params: dict[str, Any] | None = None,
    class_balance: str | None = None,
    min_per_class: int | None = None,
    max_per_group: int | None = None,
    drop_likely: bool | None = None,
    relabel: bool | None = None,
    seed: int | None = None,
    extra: Sequence[str | Path] = (),
    features: str | Path | None = None,
    source: str | None = None,
    store: str | Path = DEFAULT_STORE,
    view: bool = False,
    order: RowOrder | None = None,
    control: bool = False,
    push: str | None = None,
    private: bool | None = None,
    dry_run: bool = False,
) -> PruneResult:
    """Scores -> decisions -> version: decide from a score table and build `name@tag`.

    tag: "auto", or a tag with {n} in it, takes the next number, of the Hub's versions too if it is
        pushed; the same version built before keeps its tag.
    keep: a float in (0, 1] keeps `round(keep * n)` of all rows, an int exactly that many.
    strategy: one, or several in order; params: NAME is of the last one, STEP.NAME of another.
    max_per_group: rows of one group of near-duplicates to keep at most.
    drop_likely, relabel: first drop rows whose label is likely wrong, or add `suggested_label`,
        which differs in those; without keep, all others are kept.
    extra: further score or flag tables of the same source; `by` may name their columns.
    features: FILE.parquet[:COLUMN] with `row` and a vector, in place of the scores' own.
    source: where the source lies now, if not where it was scored. Other defaults: the recipe's.
    order: "score" stores the rows best to keep first.
    push: ORG/REPO on the Hub to publish to, the control too; "" for the recipe's `publish.to`.
    private: of a repository that is made by that.

    Raises:
        DatapruneError: one of its subclasses, with what to do next.
    """
    check_version(name, tag, control=control)
    path = Path(scores)
    table = join_tables(read_scores(path), path, [Path(other) for other in extra])
    ref = SourceRef.model_validate(table.meta["source"])
    recipe = parse_recipe(table.meta["recipe"], where=str(scores))
    order = check_order(order or recipe.prune.order, view=view)
    to = where_to_push(push, recipe, ref, private=private, view=view)
    choice = make_choice(
        recipe.prune, keep=keep, strategy=strategy, params=params, balance=class_balance,
        min_per_class=min_per_class, max_per_group=max_per_group, seed=seed,
        drop_likely=drop_likely, relabel=relabel,
    )  # fmt: skip
    check_relabel(choice, view=view)
    read = features_read(table, path, choice, features)
    decided = decide_from_scores(table, recipe, choice, by, order=order, features=read)
    check_control(decided, control=control)
    result = PruneResult.of(choice, decided, tag)
    if dry_run:
        return result
    opened = open_pinned(ref, source, examples=table.table, near=path)
    draft = Draft(
        name, tag, opened, ref, table, decided.table, choice, decided.column, view, order=order,
        features_sha256=None if read is None else read.sha256,
    )  # fmt: skip
    result = build_pruned(result, LocalStore(Path(store)), draft, to=to, control=control)
    where: dict[str, Any] = {"to": to, "store": store, "source": source, "private": private}
    made = result.tags if to is not None else ()
    return replace(result, published=tuple(publish(name, tag, **where) for tag in made))


def curate(
    recipe: str | Path | Recipe,
    *,
    name: str,
    tag: str,
    store: str | Path = DEFAULT_STORE,
    changes: Mapping[str, Any] | None = None,
    ledger: str | Path | None = None,
    work: str | Path = DEFAULT_CURATIONS,
    on_row: Callable[[int], None] = lambda _rows: None,
) -> CurateResult:
    """Trajectories -> ledger -> version: `name@tag`, and `name-rejected@tag` without secrets.

    recipe: a YAML file or a Recipe with a `curate` section, or a path of trajectories.
    changes: of that section, such as {"dialect": "mint", "groups.policy": "unanimous"}.
    ledger: where to write it, a score table that `prune` takes; default: under work.
    """
    from dataprune.publishing.curated import build_curated
    from dataprune.trajectories.curate import curate_files
    from dataprune.trajectories.settings import curation_recipe, find_input

    check_version(name, tag, control=False)
    settled = curation_recipe(recipe, changes or {})
    where = find_input(settled.source.uri)
    made = curate_files(settled, where, Path(work), ledger=ledger, on_row=on_row)
    return build_curated(LocalStore(Path(store)), name, tag, settled, made)


def publish(
    name: str,
    tag: str,
    *,
    to: str | None = None,
    store: str | Path = DEFAULT_STORE,
    source: str | None = None,
    private: bool | None = None,
    license: str | None = None,  # noqa: A002 - the Hub's word
) -> Published:
    """Version -> publish: put `name@tag` on the Hub as ORG/REPO, tagged, whole or not at all.

    Again, it finds what is there: the same version is a success, another one under that tag an
    error. to, private, license: default to the recipe's `publish`.

    Raises:
        VersionExistsError: the repository has that tag for another version.
        HubError: the Hub refused, or did not answer after some tries; do the same again.
    """
    from dataprune.publishing.publisher import publish_version

    version = load_version(LocalStore(Path(store)), name, tag, source_uri=source)
    asked = parse_recipe(version.manifest.recipe, where=f"{name}@{tag}").publish
    to = to or asked.to
    if to is None:
        raise UsageError(
            f"nothing says where to publish {name}@{tag}",
            hint="name it: --to ORG/REPO, or publish: {to: ORG/REPO} in the recipe",
        )
    return publish_version(
        version,
        to,
        private=asked.private if private is None else private,
        license=license or asked.license,
    )


def load(
    name: str,
    tag: str,
    *,
    store: str | Path = DEFAULT_STORE,
    source: str | None = None,
    lock: str | Path | None = None,
    locked: bool = False,
) -> LoadedVersion:
    """Version -> load: `name@tag`, every file checked against the manifest.

    name: in the store, or ORG/REPO on the Hub. tag: on the Hub also an alias or a commit.
    source: where a view's source lies now, if it has moved.
    lock: of the Hub: a lock file to hold to and to add to; default: `dataprune.lock` of the working
        folder, if it is there. locked: refuse what the lock file does not know.

    Raises:
        VersionNotFoundError: no such name or tag; the hint lists what there is.
        VersionError: a file is missing, damaged or not the manifest's, or the tag has moved.
        HubError: the Hub refused or did not answer; nothing else is handed out instead.
    """
    where: dict[str, Any] = {"store": store, "source": source, "lock": lock, "locked": locked}
    return open_version(name, tag, **where, record=True)


def evaluate(
    name: str,
    *tags: str,
    seeds: int | None = None,
    protocol: str | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    model: str | None = None,
    baselines: Sequence[str] | None = None,
    store: str | Path = DEFAULT_STORE,
    source: str | None = None,
    scored_in: str | Path | None = None,
    work: str | Path | None = None,
    out: str | Path | None = None,
    runner: str | None = None,
    address: str | None = None,
    stream: bool | None = None,
    on_progress: OnProgress = _QUIET,
) -> EvaluationResult:
    """Version -> evaluate: retrain on each version, on as many random rows and on everything.

    A relabelled version trains on its suggested labels. Other options: as `evaluate_cells`, which
    does the same for strategies that made no version yet; default: the recipe's `evaluate`.

    Raises:
        UsageError: the versions come from different sources, or an option that cannot be.
        ProbeError: every unit failed.
    """
    require("torch", extra="probe", why="retraining on versions")
    from dataprune.evaluation.of_versions import evaluate_versions

    asked = {
        "seeds": seeds, "protocol": protocol, "steps": steps, "epochs": epochs, "model": model,
        "baselines": baselines,
    }  # fmt: skip
    run = {"runner": runner, "address": address, "stream": stream}
    where: dict[str, Any] = {"source": source, "scored_in": scored_in, "work": work, "out": out}
    local = LocalStore(Path(store))
    return evaluate_versions(local, name, tags, asked, run, **where, on_progress=on_progress)
