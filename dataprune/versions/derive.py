"""Make a version from a version: with its own rows where it was a view, or without some rows."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprune.core.errors import UsageError
from dataprune.tables.decisions import NOT_RANKED, RETRACTED
from dataprune.tables.examples import GROUP, SCHEMA
from dataprune.tables.manifest import Manifest, ParentRef, render_manifest
from dataprune.tables.scores import ScoreTable
from dataprune.versions.build import (
    Draft,
    build_version,
    draft_fingerprint,
    kept_rows_sha256,
    recorded_choice,
)
from dataprune.versions.load import LoadedVersion, load_version
from dataprune.versions.relabel import suggested_sha256
from dataprune.versions.store import LocalStore
from dataprune.versions.tags import settle_tag

Mask = npt.NDArray[np.bool_]


def materialized(loaded: LoadedVersion, tag: str, parent: ParentRef) -> Draft:
    """The draft of a version with the rows of a view.

    Raises:
        UsageError: it is no view.
        SourceError, AlignmentError: its source is gone, or is another now.
    """
    if loaded.manifest.kind != "view":
        raise UsageError(
            f"{loaded.repo or loaded.name}@{loaded.tag} has its own rows already: it is no view"
        )
    return _draft(loaded, tag, parent, view=False)


def materialize_in_store(
    store: LocalStore, name: str, tag: str, new: str = "auto", *, source_uri: str | None = None
) -> tuple[Manifest, bool]:
    """Build a version with the rows of a view in the same store; and whether it is new.

    new: its tag; "auto" or a template with {n} takes the next number.

    Raises:
        UsageError, SourceError, AlignmentError: as `materialized`.
        VersionExistsError: the tag is taken.
    """
    loaded = load_version(store, name, tag, source_uri=source_uri)
    digest = hashlib.sha256(render_manifest(loaded.manifest).encode()).hexdigest()
    parent = ParentRef(version=tag, manifest_sha256=digest, relation="materialized")
    draft = materialized(loaded, tag, parent)
    wanted = draft_fingerprint(draft)
    settled = settle_tag(
        new, store.tags(name), lambda other: store.manifest(name, other).fingerprint == wanted
    )
    return build_version(store, replace(draft, tag=settled))


def without_rows(
    loaded: LoadedVersion, tag: str, parent: ParentRef, rows: npt.NDArray[np.int64]
) -> Draft:
    """The draft of a version without some rows of the source, kept or not.

    Their decisions and scores go too: the content hash becomes 0, the key null, the scores 0, what
    is no number null, the rank -1, and the ranks after it close up. Their labels stay, since counts
    per class are made of them, and so do groups, which are numbers of rows.

    Raises:
        UsageError: no rows, rows that the source does not have, all retracted before, or no other
            row is kept.
    """
    total = loaded.manifest.selection.rows_in
    if not len(rows):
        raise UsageError("no rows to retract were named", hint="as in --rows 17,2048")
    bad = rows[(rows < 0) | (rows >= total)]
    if len(bad):
        raise UsageError(f"the source has rows 0 to {total - 1}, and no row {bad[0]}")
    gone = np.zeros(total, dtype=np.bool_)
    gone[rows] = True
    reasons = loaded.decisions_table.column("reason").to_numpy(zero_copy_only=False)
    if (reasons[gone] == RETRACTED).all():
        raise UsageError(
            f"{loaded.repo or loaded.name}@{loaded.tag} was made without row "
            f"{', '.join(map(str, np.flatnonzero(gone)[:5]))}"
            f"{', ...' if gone.sum() > 5 else ''} already",
            hint="name the version that still has what is to go",
        )
    draft = _draft(loaded, tag, parent, view=loaded.manifest.kind == "view")
    decisions = _blanked(draft.decisions, gone, {"keep": False, "reason": RETRACTED, "value": 0.0})
    decisions = _closed_up(decisions, in_classes=loaded.manifest.selection.class_balance != "none")
    table = draft.scores.table
    columns = [field for field in list(table.schema)[len(SCHEMA) :] if field.name != GROUP.name]
    table = _blanked(table, gone, {field.name: _nothing(field.type) for field in columns})
    keep: Mask = decisions.column("keep").to_numpy(zero_copy_only=False)
    if not keep.any():
        raise UsageError("no row would be left", hint="yank the version instead")
    old = loaded.manifest.selection
    left: dict[str, Any] = {"rows_out": int(keep.sum()), "kept_rows_sha256": kept_rows_sha256(keep)}
    if old.relabel:
        left["suggested_sha256"] = suggested_sha256(table, decisions)
    selection = old.model_copy(update=left)
    scores = ScoreTable(table, draft.scores.meta)
    return replace(draft, decisions=decisions, scores=scores, selection=selection)


def _draft(loaded: LoadedVersion, tag: str, parent: ParentRef, *, view: bool) -> Draft:
    manifest = loaded.manifest
    chosen = manifest.selection
    return Draft(
        name=manifest.name,
        tag=tag,
        source=loaded.own_rows(),
        ref=manifest.source,
        scores=loaded.scores,
        decisions=loaded.decisions_table,
        choice=recorded_choice(chosen),
        by=chosen.by,
        view=view,
        control_of=manifest.control_of,
        order=manifest.result.order,
        positions=loaded.rows if manifest.kind == "materialized" else None,
        selection=chosen,
        parents=(parent,),
    )


def _blanked(table: pa.Table, gone: Mask, values: dict[str, Any]) -> pa.Table:
    """A table of examples in which some rows no longer say anything of their example."""
    for name, value in {"content_hash": 0, "key": None, **values}.items():
        at = table.schema.get_field_index(name)
        field = table.schema.field(at).with_nullable(value is None or table.field(at).nullable)
        blank = pa.scalar(value, field.type)
        column = pc.if_else(pa.array(gone), blank, table.column(name))
        table = table.set_column(at, field, column)
    return table


def _closed_up(decisions: pa.Table, *, in_classes: bool) -> pa.Table:
    """Decisions in which a retracted row has no rank and leaves no gap, which would tell its score.

    in_classes: whether rows were ranked among those of their class.
    """
    at = decisions.schema.get_field_index("rank")
    before = decisions.column("rank").to_numpy()
    left = decisions.column("reason").to_numpy(zero_copy_only=False) != RETRACTED
    left &= before != NOT_RANKED  # of a selection in parts
    pools = decisions.column("label").to_numpy() if in_classes else np.zeros(len(left), np.int64)
    rank = np.full(len(left), NOT_RANKED, dtype=np.int64)
    for pool in np.unique(pools):
        rows = np.flatnonzero(left & (pools == pool))
        rank[rows[np.argsort(before[rows], kind="stable")]] = np.arange(len(rows))
    return decisions.set_column(at, decisions.schema.field(at), pa.array(rank))


def _nothing(kind: pa.DataType) -> Any:
    """What stands in a column of scores or flags for a row of which nothing is said."""
    if pa.types.is_boolean(kind):
        return False
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return 0 if is_number else None
