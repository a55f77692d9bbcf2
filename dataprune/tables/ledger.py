"""The ledger of a curation: a row per trajectory, with every reason that was found.

It is a score table with more columns, so that `prune` decides by its numbers: rows that were
rejected, or left undecided, never compete. A version that is made from it stores it whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.errors import TableError
from dataprune.core.fingerprint import HASH_VERSION
from dataprune.tables import examples
from dataprune.tables.parquet import check_schema, write_table
from dataprune.tables.scores import FORMAT, FORMAT_VERSION

CURATION = "curation"  # the key of a score table's metadata that makes it a ledger
KEEP, REJECT, UNDECIDED = "keep", "reject", "undecided"
DECISIONS = (KEEP, REJECT, UNDECIDED)
TIERS = ("gold", "silver", "bronze", "none")
REASON = pa.struct(
    [
        pa.field("code", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("severity", pa.string(), nullable=False),
        pa.field("step", pa.int32()),
        pa.field("char_start", pa.int32()),
        pa.field("char_end", pa.int32()),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("threshold", pa.float64()),
    ]
)
REPAIR = pa.struct(
    [
        pa.field("code", pa.string(), nullable=False),
        pa.field("step", pa.int32()),
        pa.field("sha_before", pa.string(), nullable=False),
        pa.field("sha_after", pa.string(), nullable=False),
    ]
)
COLUMNS = pa.schema(
    [
        pa.field("traj_id", pa.string(), nullable=False),
        pa.field("query_id", pa.string(), nullable=False),
        pa.field("decision", pa.string(), nullable=False),
        pa.field("tier", pa.string(), nullable=False),
        pa.field("reject_stage", pa.string()),
        pa.field("reject_code", pa.string()),
        pa.field("reasons", pa.list_(REASON), nullable=False),
        pa.field("repairs", pa.list_(REPAIR), nullable=False),
        pa.field("content_sha256", pa.string(), nullable=False),
    ]
)
DESCRIPTIONS = {
    "traj_id": "the trajectory's own id, made unique in its input",
    "query_id": "what was asked: runs of one query, near-duplicate prompts together",
    "decision": "keep, reject or undecided",
    "tier": "gold: all runs of the query agree; silver: two thirds, or as the recipe says; bronze: "
    "kept by its reward or reference alone; none: no votes were asked for",
    "reject_stage": "the first stage that rejected it, in the order of the stages",
    "reject_code": "the first code that rejected it, or left it undecided",
    "reasons": "every finding: code, stage, severity, message (step) and characters, in words",
    "repairs": "what was changed before the rules, with hashes of the message before and after",
    "content_sha256": "hash of messages and tools after repairs, in any format the same",
}


def ledger_table(
    example_table: pa.Table, columns: dict[str, pa.Array], numbers: dict[str, pa.Array]
) -> pa.Table:
    """The ledger in memory.

    columns: those of the contract. numbers: float32 columns; null where a row has none.

    Raises:
        TableError: a decision or tier that there is not, or a rejection without a reason.
    """
    table = example_table
    for field in COLUMNS:
        table = table.append_column(field, columns[field.name])
    for name, values in numbers.items():
        table = table.append_column(pa.field(name, pa.float32()), values)
    check_ledger(table, what="the ledger")
    return table


def write_ledger(path: Path, table: pa.Table, meta: dict[str, Any]) -> None:
    """Write a ledger; meta: a score table's metadata, with `curation`."""
    assert CURATION in meta, "a ledger says how it was curated"
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "hash_version": HASH_VERSION}
    write_table(path, table, {**head, **meta}, row_group_rows=1 << 16)


def check_ledger(table: pa.Table, *, what: str) -> None:
    """Check columns, words, and that every rejection has its reason.

    Raises:
        TableError: the first row that is not so.
    """
    first = examples.first_columns(table)
    check_schema(table.select(table.schema.names[first:]), COLUMNS, what=what)
    for name, words in (("decision", DECISIONS), ("tier", TIERS)):
        values = table.column(name).to_numpy(zero_copy_only=False)
        bad = np.flatnonzero(~np.isin(values.astype("U16"), words))
        if len(bad):
            raise TableError(f"{what} has {name} {values[bad[0]]} at row {bad[0]}")
    kept = table.column("decision").to_numpy(zero_copy_only=False) == KEEP
    has_code = table.column("reject_code").is_valid().to_numpy(zero_copy_only=False)
    bad = np.flatnonzero(kept == has_code)
    if len(bad):
        told = "a code of rejection and is kept" if kept[bad[0]] else "no code for its rejection"
        raise TableError(f"{what} has {told} at row {bad[0]}")


def is_ledger(meta: dict[str, Any]) -> bool:
    """Whether a score table is a ledger, by its metadata."""
    return CURATION in meta


def kept_rows(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Which rows of a ledger are kept, bool (n,)."""
    kept: npt.NDArray[np.bool_] = table.column("decision").to_numpy(zero_copy_only=False) == KEEP
    return kept
