"""Decisions: keep or drop for every example of the source, with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataprune.core.errors import TableError
from dataprune.tables import examples
from dataprune.tables.parquet import read_table, write_table

FORMAT = "dataprune.decisions"
FORMAT_VERSION = 1
NOT_RANKED = -1  # the rank of rows that were retracted, or decided in parts
RETRACTED = "retracted"  # the reason of rows that were taken out of a version afterwards
SCHEMA = pa.schema(
    [
        *examples.SCHEMA,
        pa.field("keep", pa.bool_(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("rank", pa.int64(), nullable=False),
        pa.field("value", pa.float32(), nullable=False),
    ]
)
DESCRIPTIONS = {
    **examples.DESCRIPTIONS,
    "keep": "whether the example is in the version",
    "reason": "code: why it was kept or dropped",
    "rule": "the rule that decided: the strategy, or the step before it that dropped the row",
    "rank": "place in the strategy's order, 0 is kept first; -1 of rows that were retracted, or "
    "decided in parts",
    "value": "the score it was decided by",
}


def write_decisions(path: Path, table: pa.Table, meta: dict[str, Any]) -> None:
    """Write decisions for every row of a source."""
    examples.check_examples(table, SCHEMA, what="decisions")
    write_table(path, table, {"format": FORMAT, "format_version": FORMAT_VERSION, **meta})


def read_decisions(path: Path) -> pa.Table:
    """Read decisions back.

    Raises:
        TableError: not a decisions table, or damaged.
    """
    table, _ = read_table(path, format_name=FORMAT, format_version=FORMAT_VERSION)
    examples.check_examples(table, SCHEMA, what=f"decisions {path}")
    return table


def count_by_class(table: pa.Table, class_names: list[str]) -> dict[str, dict[str, int]]:
    """Per class: rows in the source, kept and dropped; kept + dropped = source is asserted.

    A row of several labels counts in each; without classes there is one, `all`.
    """
    keep = table.column("keep").to_numpy(zero_copy_only=False)
    source, kept, dropped = (
        examples.class_counts(table, len(class_names), rows) for rows in (None, keep, ~keep)
    )
    if not np.array_equal(kept + dropped, source):
        raise TableError("decisions do not reconcile: kept + dropped is not the source")
    return {
        name: {"source": int(source[i]), "kept": int(kept[i]), "dropped": int(dropped[i])}
        for i, name in enumerate(class_names or [examples.NO_CLASSES])
    }


def count_reasons(table: pa.Table) -> dict[str, int]:
    """Rows per reason code, sorted by code."""
    counts = pc.value_counts(table.column("reason"))
    return dict(sorted((c["values"].as_py(), c["counts"].as_py()) for c in counts))
