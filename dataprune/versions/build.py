"""Build a version: data first, then decisions and scores, the manifest last, then its name."""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune._version import __version__
from dataprune.core.errors import VersionExistsError
from dataprune.core.files import sha256_file, write_text
from dataprune.core.fingerprint import fingerprint
from dataprune.selection._choice import Choice, Step
from dataprune.selection._decide import TIE_BREAK, decide
from dataprune.selection._steps import waterfall
from dataprune.sources import Source
from dataprune.sources._columns import features_of
from dataprune.sources._places import absolute, is_url
from dataprune.tables.decisions import count_by_class, count_reasons, write_decisions
from dataprune.tables.join import LABEL_ISSUE
from dataprune.tables.manifest import (
    ALL_LEFT,
    ClassCounts,
    FileEntry,
    Manifest,
    ParentRef,
    Producer,
    ResultEntry,
    RowOrder,
    ScoresEntry,
    SelectionEntry,
    SourceRef,
    SplitEntry,
    StepEntry,
    WaterfallEntry,
    check_name,
    check_tag,
    render_manifest,
)
from dataprune.tables.parquet import write_table
from dataprune.tables.scores import ScoreTable
from dataprune.versions.identity import rows_sha256, verify_files, version_identity
from dataprune.versions.order import Arrangement, kept_rows, rows_per_shard
from dataprune.versions.relabel import COLUMN, suggested_labels, suggested_sha256, with_suggested
from dataprune.versions.store import MANIFEST, LocalStore
from dataprune.versions.tags import next_number, settle_tag
from dataprune.versions.write import write_shards

DATA_FOLDER = "data"
DECISIONS = "decisions.parquet"
SCORES = "scores.parquet"
_CHOSEN = (
    "strategy", "by", "keep", "params", "class_balance", "min_per_class", "max_per_group", "seed",
    "drop_likely", "relabel", "flags_sha256", "features_sha256",
)  # fmt: skip


@dataclass(frozen=True)
class Draft:
    """Everything a version is made of, before it is.

    decisions: the decisions table, a row per row of the source.
    by: score column decided by.
    view: store no rows, read the pinned source on load.
    control_of: the tag this is a random control of.
    order: of the rows in the shards.
    positions: the source row of each row of `source`, where that is not the pinned source itself
        but another version's own rows.
    selection: as recorded, where it was not made now.
    parents: versions this one is made from.
    features_sha256: hash of the file of features that a strategy read.
    """

    name: str
    tag: str
    source: Source
    ref: SourceRef
    scores: ScoreTable
    decisions: pa.Table
    choice: Choice
    by: str
    view: bool = False
    control_of: str | None = None
    order: RowOrder = "source"
    positions: npt.NDArray[np.int64] | None = None
    selection: SelectionEntry | None = None
    parents: tuple[ParentRef, ...] = ()
    features_sha256: str | None = None


def build_version(store: LocalStore, draft: Draft) -> tuple[Manifest, bool]:
    """Build `name@tag`, or find it built already. Returns the manifest and whether it was new.

    Raises:
        VersionExistsError: the tag is taken by other content; says what differs.
        VersionError: it is built already, and damaged.
        BusyError: another process builds a version of this name.
    """
    identity = _identity(draft)
    with store.staging(draft.name, draft.tag) as folder:
        if store.has(draft.name, draft.tag):
            existing = store.manifest(draft.name, draft.tag)
            if existing.fingerprint != fingerprint(identity):
                raise VersionExistsError(
                    f"{draft.name}@{draft.tag} exists with {_difference(existing, identity)}",
                    hint=f"versions never change: use another tag, such as {_next(store, draft)}",
                )
            verify_files(store.path(draft.name, draft.tag), existing)
            return existing, False
        manifest = _fill(folder, draft, identity)
        write_text(folder / MANIFEST, render_manifest(manifest))
    return manifest, True


def build_control(store: LocalStore, draft: Draft) -> Manifest:
    """Build the version's control: random, with the same number of rows of each class.

    Where rows are of no one class, the same number of rows; of each group at most as many.

    Raises:
        UsageError: groups that hold several classes leave too few rows of one.
    """
    counts = count_by_class(draft.decisions, draft.ref.class_names)
    quotas = tuple(count["kept"] for count in counts.values())
    kept = int(np.sum(draft.decisions.column("keep").to_numpy(zero_copy_only=False)))
    limit = draft.choice.max_per_group
    choice = Choice("random", kept, {}, seed=draft.choice.seed, max_per_group=limit)  # of all rows
    if draft.ref.task == "classification":
        choice = replace(choice, balance="matched", quotas=quotas)
    scores = draft.scores.values(draft.by)
    decisions = decide(draft.scores.table, scores, draft.ref.class_names, choice)
    control = replace(
        draft,
        tag=control_tag(draft.tag),
        decisions=decisions,
        choice=choice,
        control_of=draft.tag,
        features_sha256=None,
    )
    return build_version(store, control)[0]


def draft_fingerprint(draft: Draft) -> str:
    """The fingerprint of the version that a draft makes; its tag plays no part."""
    return fingerprint(_identity(draft))


def check_version(name: str, tag: str, *, control: bool) -> None:
    """Check a version's name, its tag or the template of one, and that of its control.

    Raises:
        UsageError: not legal, or the tag leaves no room for the control's.
    """
    check_name(name)
    first = settle_tag(tag, (), lambda _: False)  # as it would be in an empty store
    if control:
        control_tag(first)


def control_tag(tag: str) -> str:
    """Tag of a version's control.

    Raises:
        UsageError: the tag leaves no room for it.
    """
    return check_tag(f"{tag}-control")


def _identity(draft: Draft) -> dict[str, Any]:
    kind = "view" if draft.view else "materialized"
    selection = draft.selection or _selection(draft)
    return version_identity(
        kind, draft.ref.fingerprint, selection, draft.decisions, draft.control_of, draft.order
    )


def _selection(draft: Draft) -> SelectionEntry:
    keep = draft.decisions.column("keep").to_numpy(zero_copy_only=False)
    choice = draft.choice
    uses_flags = choice.drops_label_issues or choice.relabel
    flags = draft.scores.meta["flags"][LABEL_ISSUE] if uses_flags else {}
    suggested = suggested_sha256(draft.scores.table, draft.decisions) if choice.relabel else None
    return SelectionEntry(
        strategy=choice.strategy,
        by=draft.by,
        params=choice.params,
        keep=ALL_LEFT if choice.keep is None else choice.keep,
        class_balance=choice.balance,
        min_per_class=choice.min_per_class,
        max_per_group=choice.max_per_group,
        seed=choice.seed,
        tie_break=TIE_BREAK,
        rows_in=len(keep),
        rows_out=int(keep.sum()),
        kept_rows_sha256=kept_rows_sha256(keep),
        steps=[StepEntry(strategy=s.strategy, params=s.params) for s in choice.before],
        drop_likely=choice.drop_likely,
        relabel=choice.relabel,
        flags_sha256=flags.get("sha256"),
        suggested_sha256=suggested,
        features_sha256=draft.features_sha256,
    )


def recorded_choice(selection: SelectionEntry) -> Choice:
    """The choice behind a selection, with the number of rows that it came to as its budget."""
    return Choice(
        strategy=selection.strategy,
        keep=selection.rows_out,
        params=selection.params,
        balance=selection.class_balance,
        min_per_class=selection.min_per_class,
        max_per_group=selection.max_per_group,
        seed=selection.seed,
        drop_likely=selection.drop_likely,
        relabel=selection.relabel,
        before=tuple(Step(step.strategy, step.params) for step in selection.steps),
    )


def kept_rows_sha256(keep: npt.NDArray[np.bool_]) -> str:
    """Hash of the kept rows' positions in the source, ascending."""
    return hashlib.sha256(np.flatnonzero(keep).astype("<i8").tobytes()).hexdigest()


def _difference(existing: Manifest, identity: dict[str, Any]) -> str:
    if existing.kind != identity["kind"]:
        return f"kind {existing.kind}, this is a {identity['kind']}"
    if existing.source.fingerprint != identity["source"]:
        return f"another source, {existing.source.uri}"
    if existing.control_of != identity["control_of"]:
        return f"control_of {existing.control_of}"
    if existing.result.order != identity.get("order", "source"):
        return f"order {existing.result.order}, this has {identity.get('order', 'source')}"
    before, wanted = existing.selection, SelectionEntry.model_validate(identity["selection"])
    if before.steps != wanted.steps:
        return f"steps {before.steps_in_words or None}, this has {wanted.steps_in_words or None}"
    for key in _CHOSEN:
        was, now = getattr(before, key), getattr(wanted, key)
        if was != now:
            return f"{key} {was}, this has {now}"
    return "other suggested labels" if before.relabel else "other scores"


def _next(store: LocalStore, draft: Draft) -> str:
    return f"v{next_number(store.tags(draft.name))}"


def _fill(folder: Path, draft: Draft, identity: dict[str, Any]) -> Manifest:
    keep: npt.NDArray[np.bool_] = draft.decisions.column("keep").to_numpy(zero_copy_only=False)
    rows = kept_rows(draft.decisions, draft.order)
    files: list[FileEntry] = []
    source = _source_to_write(draft)
    if not draft.view:
        files = _write_data(draft, source, keep, rows, folder / DATA_FOLDER)
    meta = {
        "class_names": draft.ref.class_names,
        "source_fingerprint": draft.ref.fingerprint,
        "selection": identity["selection"],
    }
    write_decisions(folder / DECISIONS, draft.decisions, meta)
    write_table(folder / SCORES, draft.scores.table, draft.scores.meta)
    selection = SelectionEntry.model_validate(identity["selection"])
    assert selection.rows_out == int(keep.sum())
    counts = count_by_class(draft.decisions, draft.ref.class_names)
    return Manifest(
        name=draft.name,
        version=draft.tag,
        kind="view" if draft.view else "materialized",
        fingerprint=fingerprint(identity),
        source=_located(draft) if draft.view else draft.ref,
        recipe=draft.scores.meta["recipe"],
        scores=_scores_entry(draft, folder),
        selection=selection,
        classes={name: ClassCounts(**c) for name, c in counts.items()},
        reasons=count_reasons(draft.decisions),
        waterfall=_waterfall(draft),
        result=ResultEntry(
            features=features_of(source.schema) or None,
            splits={draft.ref.split: SplitEntry(rows=selection.rows_out, files=files)},
            rows_sha256=rows_sha256(draft.decisions, rows),
            order=draft.order,
        ),
        decisions=_entry(folder / DECISIONS, len(keep)),
        control_of=draft.control_of,
        parents=list(draft.parents),
        producer=Producer(
            dataprune=__version__,
            packages={p: importlib.metadata.version(p) for p in ("numpy", "pyarrow")},
        ),
    )


def _waterfall(draft: Draft) -> list[WaterfallEntry]:
    """What each step dropped, of a version that several made; of one it is in the reasons."""
    if not draft.choice.before:
        return []
    return [WaterfallEntry(**vars(stage)) for stage in waterfall(draft.decisions, draft.choice)]


def _located(draft: Draft) -> SourceRef:
    """A view is bound to where its source lies: its manifest holds the absolute path."""
    ref = draft.ref
    if not ref.files or is_url(ref.uri):
        return ref
    return ref.model_copy(update={"uri": absolute(draft.source.uri)})


def _scores_entry(draft: Draft, folder: Path) -> ScoresEntry:
    meta = draft.scores.origin(draft.by)
    return ScoresEntry(
        file=_entry(folder / SCORES, len(draft.scores.table)),
        column=draft.by,
        spec=meta["scores"].get(draft.by, {}),
        status=meta["status"],
        unit_ids=meta["unit_ids"],
        reliability=meta["reliability"].get(draft.by.split("@")[0], {}),
    )


def _entry(path: Path, rows: int) -> FileEntry:
    return FileEntry(path=path.name, sha256=sha256_file(path), bytes=path.stat().st_size, rows=rows)


def _source_to_write(draft: Draft) -> Source:
    """What rows are read from; with suggested labels, unless another version's rows have them."""
    if not draft.choice.relabel or draft.positions is not None:
        return draft.source
    labels = suggested_labels(draft.scores.table, draft.decisions)
    return with_suggested(draft.source, labels, draft.ref.class_names)


def _write_data(
    draft: Draft,
    source: Source,
    keep: npt.NDArray[np.bool_],
    rows: npt.NDArray[np.int64],
    folder: Path,
) -> list[FileEntry]:
    """Write the kept rows, from the source or from what holds some of its rows already."""
    if draft.positions is not None:
        there = np.full(len(keep), -1, dtype=np.int64)
        there[draft.positions] = np.arange(len(draft.positions))
        keep, rows = keep[draft.positions], there[rows]
        assert (rows >= 0).all(), "every kept row is where it is read from"
    arrangement = None
    if draft.order == "score":
        arrangement = Arrangement(rows, rows_per_shard(draft.ref))
    suggested = COLUMN if draft.choice.relabel else None
    return write_shards(source, keep, folder, draft.ref.split, arrangement, suggested=suggested)
