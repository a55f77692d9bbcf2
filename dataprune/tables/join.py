"""Join tables of one source to its scores: other scores, and flags of its labels, row by row."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dataprune.core.errors import AlignmentError, TableError, UsageError, nearest
from dataprune.tables import examples, flags
from dataprune.tables.flags import (
    FlagTable,
    about_in_scores,
    in_score_table,
    read_flags,
    score_spec,
)
from dataprune.tables.parquet import METADATA_KEY
from dataprune.tables.scores import ScoreTable, read_scores

LABEL_ISSUE = "label_issue"
log = logging.getLogger("dataprune")
Classes = npt.NDArray[np.int64]


def join_tables(table: ScoreTable, path: Path, others: Sequence[Path]) -> ScoreTable:
    """Add every column of other tables of the same source, scores or flags, aligned by row.

    Raises:
        AlignmentError: another source or order; the first row that differs is named.
        UsageError: a column is there already, or flags of labels for rows of no one class.
    """
    for other in others:
        join = _join_flags if _format(other) == flags.FORMAT else _join_scores
        table = join(table, path, other)
    return table


def _format(path: Path) -> str | None:
    """What a table of ours says it is; None where nothing could be read, as reading it will say.

    Raises:
        TableError: it is Parquet, and no table of ours.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
        told = json.loads(metadata.get(METADATA_KEY, b"{}"))
    except (pa.ArrowException, OSError, ValueError):
        return None
    found = told.get("format") if isinstance(told, dict) else None
    if found is None:
        raise TableError(
            f"{path} is a table of neither scores nor flags",
            hint="dataprune flags makes flags from held-out probabilities, dataprune scores import "
            "brings in other scores",
        )
    return str(found)


def _join_scores(table: ScoreTable, path: Path, other_path: Path) -> ScoreTable:
    other = read_scores(other_path)
    examples.check_aligned(table.table, other.table, what=str(path), other=str(other_path))
    if other.meta["source"]["class_names"] != table.meta["source"]["class_names"]:
        raise AlignmentError(f"{other_path} has other class names than {path}")
    names = other.table.schema.names[examples.first_columns(other.table) :]
    joined = _appended(table.table, other.table.select(names), other_path)
    meta = {
        **table.meta,
        "scores": table.meta["scores"] | other.meta["scores"],
        "joined": [*table.meta.get("joined", []), *names],
    }
    if "flags" in other.meta:
        meta["flags"] = table.meta.get("flags", {}) | other.meta["flags"]
    origins = table.origins | dict.fromkeys(names, other.meta)
    return ScoreTable(joined, meta, origins)


def _join_flags(table: ScoreTable, path: Path, flags_path: Path) -> ScoreTable:
    """Add flags of labels, in place of those that the score table has (an audit sets tiers anew).

    `suggested` becomes an index into the score table's classes.
    """
    found = read_flags(flags_path)
    if not pa.types.is_integer(table.table.schema.field("label").type):
        raise UsageError(
            f"{flags_path} flags labels of one class a row, and the task of {path} is not "
            "classification",
            hint="leave the flags out",
        )
    names = table.meta["source"]["class_names"]
    index = _class_index(found, flags_path, names, path)
    _check_aligned(table.table, found, index, names, path, flags_path)
    columns = in_score_table(found.table)
    at = columns.schema.get_field_index("suggested")
    suggested = pa.array(index[found.column("suggested")].astype(np.int32))
    columns = columns.set_column(at, columns.schema.field(at), suggested)
    own = table.meta.get("flags", {}).get(LABEL_ISSUE, {"columns": [], "sha256": None})
    if own["columns"] and own.get("sha256") is None:  # made with the scores, not joined to them
        log.info("%s stands in for the flags that %s has", flags_path, path)
        table = replace(table, table=table.table.drop_columns(own["columns"]))
    joined = _appended(table.table, columns, flags_path)
    specs = {LABEL_ISSUE: score_spec(found)}
    about = about_in_scores(found)
    inputs = [{**made, "file": Path(made["file"]).name} for made in about.get("inputs", [])]
    about |= {
        "inputs": inputs,  # a version that is published tells no folders of this machine
        "class_names": names,
        "totals": _in_order(found.meta["totals"], index),
        "sha256": _values_sha256(columns),
    }
    origin = {
        "scores": specs,
        "status": "partial" if found.meta.get("missing") else "complete",
        "unit_ids": found.meta.get("unit_ids") or [],
        "reliability": {},
    }
    meta = {
        **table.meta,
        "scores": table.meta["scores"] | specs,
        "flags": table.meta.get("flags", {}) | {LABEL_ISSUE: about},
    }
    return replace(
        table,
        table=joined,
        meta=meta,
        origins=table.origins | dict.fromkeys(columns.schema.names, origin),
    )


def _values_sha256(columns: pa.Table) -> str:
    """Hash of flags by what they say of rows, not by the file that says it: inputs play no part."""
    digest = hashlib.sha256()
    for field in columns.schema:
        digest.update(f"{field.name} {len(columns)}\n".encode())
        values = columns.column(field.name)
        if pa.types.is_string(field.type):
            digest.update(json.dumps(values.to_pylist()).encode())
        else:
            numbers = values.to_numpy(zero_copy_only=False)
            digest.update(numbers.astype(numbers.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _appended(table: pa.Table, columns: pa.Table, path: Path) -> pa.Table:
    for field in columns.schema:
        if field.name in table.schema.names:
            raise UsageError(
                f"{path} has a column {field.name}, and so have the scores before it",
                hint="leave one of the tables out",
            )
        table = table.append_column(field, columns.column(field.name))
    return table


def _class_index(found: FlagTable, flags_path: Path, names: list[str], path: Path) -> Classes:
    """The score table's class of each class of the flags, int64 (classes of the flags,).

    By name where the flags name their classes, else by position.

    Raises:
        AlignmentError: a class that the score table does not have.
    """
    theirs = found.meta.get("class_names")
    if theirs is None:
        theirs = names
    position = {name: i for i, name in enumerate(names)}
    for name in theirs:
        if name not in position:
            raise AlignmentError(
                f"{flags_path} has a class {name}, and {path} has none of that name",
                hint=nearest(name, names),
            )
    for column in ("given", "suggested"):
        values = found.column(column)
        bad = np.flatnonzero((values < 0) | (values >= len(theirs)))
        if len(bad):
            raise AlignmentError(
                f"{flags_path} has {column} {values[bad[0]]} at row {bad[0]}, and there are "
                f"{len(theirs)} classes",
                hint="make the flags again, with a column for each class of the source",
            )
    return np.asarray([position[name] for name in theirs], dtype=np.int64)


def _check_aligned(
    table: pa.Table, found: FlagTable, index: Classes, names: list[str], path: Path, other: Path
) -> None:
    """Check that flags speak of the same rows: of their content, where they tell it, and labels.

    Raises:
        AlignmentError: names the first row that differs.
    """
    hint = "make the flags again, from rows in the order of the source and their labels there"
    if len(table) != len(found.table):
        raise AlignmentError(
            f"{path} has {len(table)} rows, {other} has {len(found.table)}", hint=hint
        )
    if "content_hash" in found.table.schema.names:
        hashes = table.column("content_hash").to_numpy()
        bad = np.flatnonzero(hashes != found.column("content_hash"))
        if len(bad):
            raise AlignmentError(
                f"row {bad[0]} of {path} and of {other} differ in content_hash "
                f"({len(bad)} rows differ)",
                hint=hint,
            )
    ours, theirs = table.column("label").to_numpy(), index[found.column("given")]
    bad = np.flatnonzero(ours != theirs)
    if len(bad):
        row = bad[0]
        raise AlignmentError(
            f"row {row} is {names[ours[row]]} in {path} and {names[theirs[row]]} in {other} "
            f"({len(bad)} rows differ)",
            hint=hint,
        )


def _in_order(totals: dict[str, Any], index: Classes) -> dict[str, Any]:
    """Totals whose matrix is in the order of the score table's classes, as far as it has them."""
    matrix = totals.get("transition")
    if matrix is None or np.array_equal(index, np.arange(len(index))):
        return totals
    order = np.argsort(index)
    return {**totals, "transition": np.asarray(matrix)[np.ix_(order, order)].tolist()}
