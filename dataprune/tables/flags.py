"""Flags of labels, FLAGS.parquet: a verdict per row, with the evidence it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprune.core.errors import TableError, UsageError
from dataprune.tables.parquet import check_schema, check_target, read_table, write_table

FORMAT = "dataprune.flags"
FORMAT_VERSION = 1
TIERS = ("likely", "suspect", "ok")
SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("given", pa.int32(), nullable=False),
        pa.field("suggested", pa.int32(), nullable=False),
        pa.field("label_q", pa.float32(), nullable=False),
        pa.field("label_score", pa.float32(), nullable=False),
        pa.field("oof_margin", pa.float32(), nullable=False),
        pa.field("oof_vote_frac", pa.float32(), nullable=False),
        pa.field("n_votes", pa.int32(), nullable=False),
        pa.field("tier", pa.string(), nullable=False),
        pa.field("is_label_issue", pa.bool_(), nullable=False),
    ]
)
# What flags have besides, where they were made from a run's stored units.
OPTIONAL = pa.schema(
    [
        pa.field("aum", pa.float32(), nullable=False),
        pa.field("el2n", pa.float32(), nullable=False),
        pa.field("content_hash", pa.uint64(), nullable=False),
    ]
)
SUGGESTED = "suggested_label"  # column of a relabelled version; never taken for anything unasked
_COPIED = ("rule", "class_names", "totals", "warnings", "audit", "inputs", "unit_ids", "missing")
IN_SCORES = {"label_q": "label_issue"}  # a flag's number has the flag's name in a score table
DESCRIPTIONS = {
    "row": "position in the source, from 0, ascending: the join key",
    "given": "the label as it came: index into class_names, where those are known",
    "suggested": "the most probable true label; of a row that is likely or suspect, of the others",
    "label_q": "probability that the given label is wrong, 0..1; of rows an audit judged 1 or 0",
    "label_score": "1 - label_q: low is bad",
    "oof_margin": "mean over held-out votes of log p(given) - the largest other log p, calibrated",
    "oof_vote_frac": "share of held-out votes against the given label, 0..1",
    "n_votes": "how many votes held the row out",
    "tier": "likely, suspect or ok, by the rule of the metadata",
    "is_label_issue": "whether the tier is likely",
    "aum": "from stored units: the score aum over the seeds that trained on the row",
    "el2n": "from stored units: the score el2n over those seeds",
    "content_hash": "from stored units: as in score tables, proves that rows are the same",
}
METADATA = {
    "flag": "the flag's name",
    "rule": "how tiers follow from the columns",
    "class_names": "names of the classes; null if the inputs had none",
    "totals": "rows per tier, noise_rate as a range, agreement of votes, planted_recall (an upper "
    "bound), temperatures, confusions, transition [given][true] up to 32 classes",
    "warnings": "what makes these flags weak, a sentence each",
    "inputs": "[{file, sha256}] of what they were made from",
    "source": "from stored units: the source, as in score tables; null otherwise",
    "unit_ids": "from stored units: the units whose votes these are",
    "missing": "from stored units: names of units that did not finish; [] if all did",
    "audit": "after an audit, which set tiers and judged rows' label_q: draw, verdicts, bounds",
}


@dataclass(frozen=True)
class FlagTable:
    """Flags as stored, and the JSON that travels with them."""

    table: pa.Table
    meta: dict[str, Any]

    def column(self, name: str) -> npt.NDArray[Any]:
        """One column as a numpy array (n,)."""
        values: npt.NDArray[Any] = self.table.column(name).to_numpy(zero_copy_only=False)
        return values

    def ranked(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Some rows, the most suspicious first: by label_q, then margin, then row."""
        q, margin = self.column("label_q")[rows], self.column("oof_margin")[rows]
        return rows[np.lexsort((rows, margin, -q))]


@dataclass(frozen=True)
class FlagColumns:
    """What a flag adds to a score table.

    name: of the flag, and of the column of its number. columns: NAME, is_NAME and the flag's own.
    spec: score_spec of the number. about: what the metadata says under `flags` and the name.
    """

    name: str
    columns: pa.Table
    spec: dict[str, Any]
    about: dict[str, Any]


def flag_table(columns: Mapping[str, npt.NDArray[Any]], meta: dict[str, Any]) -> FlagTable:
    """Flags in memory as they are stored; columns: {name: (n,)} of the contract.

    Raises:
        TableError: a number is NaN or inf, or columns contradict each other; names the row.
    """
    schema = pa.schema([*SCHEMA, *(field for field in OPTIONAL if field.name in columns)])
    table = pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
    check_flags(table, what="flags")
    return FlagTable(table, meta)


def check_flags_path(path: str | Path, *, audited: bool = False) -> Path:
    """Where flags may be written; audited ones are not replaced by others.

    Raises:
        UsageError: as `check_target`, or flags are there that a person has audited.
    """
    target = check_target(path, FORMAT)
    if target.is_file() and not audited and read_flags(target).meta.get("audit") is not None:
        raise UsageError(
            f"{target} holds flags that a person has audited", hint="name another file"
        )
    return target


def write_flags(path: Path, columns: Mapping[str, npt.NDArray[Any]], meta: dict[str, Any]) -> None:
    """Write flags; columns: {name: (n,)} of the contract.

    Raises:
        TableError: as `flag_table`.
        UsageError: as `check_flags_path`.
    """
    check_flags_path(path, audited=meta.get("audit") is not None)
    table = flag_table(columns, meta).table
    write_table(path, table, {"format": FORMAT, "format_version": FORMAT_VERSION, **meta})


def read_flags(path: Path) -> FlagTable:
    """Read flags back.

    Raises:
        TableError: not a table of flags, damaged, or one that contradicts itself.
    """
    table, meta = read_table(path, format_name=FORMAT, format_version=FORMAT_VERSION)
    check_flags(table, what=f"flags {path}")
    return FlagTable(table, meta)


def check_flags(table: pa.Table, *, what: str) -> None:
    """Check columns, row order, that numbers are in range, and that verdicts follow from tiers.

    Raises:
        TableError: the first thing that is not so.
    """
    check_schema(table, SCHEMA, what=what)
    if len(table) == 0:
        raise TableError(f"{what} have no rows")
    _all(pc.equal(table.column("row"), pa.array(np.arange(len(table)))), what, "row", table)
    for name in ("label_q", "label_score", "oof_vote_frac"):
        values = table.column(name)
        inside = pc.and_(pc.greater_equal(values, 0), pc.less_equal(values, 1))  # NaN: neither
        _all(inside, what, name, table)
    _all(pc.is_finite(table.column("oof_margin")), what, "oof_margin", table)
    _all(pc.greater_equal(table.column("n_votes"), 1), what, "n_votes", table)
    _all(pc.is_in(table.column("tier"), pa.array(TIERS)), what, "tier", table)
    for name in set(OPTIONAL.names) & set(table.schema.names):
        if table.schema.field(name).type != OPTIONAL.field(name).type:
            raise TableError(f"{what} have {name} of type {table.schema.field(name).type}")
    for name in {"aum", "el2n"} & set(table.schema.names):
        _all(pc.is_finite(table.column(name)), what, name, table)
    follows = pc.equal(pc.equal(table.column("tier"), TIERS[0]), table.column("is_label_issue"))
    _all(follows, what, "is_label_issue", table)


def in_score_table(flags: pa.Table) -> pa.Table:
    """The columns that flags have in a score table: `label_issue`, `is_label_issue`, their own.

    aum and el2n are left out: a score table has them as scores.
    """
    names = [field.name for field in SCHEMA if field.name not in {"row", "given"}]
    return flags.select(names).rename_columns([IN_SCORES.get(name, name) for name in names])


def about_in_scores(found: FlagTable) -> dict[str, Any]:
    """What a score table's metadata says of flags in it, under `flags` and the flag's name."""
    told = {key: found.meta[key] for key in _COPIED if found.meta.get(key) is not None}
    names = in_score_table(found.table).schema.names
    return {**told, "columns": names, "sha256": None}


def score_spec(found: FlagTable) -> dict[str, Any]:
    """The score_spec of the flag's number, by which rows can be selected as by any score."""
    return {
        "score": found.meta["flag"],
        "higher_is": "noisier",
        "of": "probability that the given label is wrong",
        "status": "experimental",
        "rule": found.meta["rule"],
    }


def label_columns(found: FlagTable) -> FlagColumns:
    """What flags of labels add to a score table."""
    columns, about = in_score_table(found.table), about_in_scores(found)
    return FlagColumns(found.meta["flag"], columns, score_spec(found), about)


def _all(holds: pa.ChunkedArray, what: str, name: str, table: pa.Table) -> None:
    bad = np.flatnonzero(~holds.to_numpy(zero_copy_only=False).astype(np.bool_))
    if len(bad):
        value = table.column(name)[int(bad[0])].as_py()
        raise TableError(
            f"{what} have {name} {value} at row {bad[0]}",
            hint="make the flags again; the file has been changed or is damaged",
        )
