"""The examples of a run, beside its units: what their rows are, the source left alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from dataprune.tables import examples
from dataprune.tables.manifest import SourceRef
from dataprune.tables.parquet import read_table, write_table

FORMAT = "dataprune.examples"
FORMAT_VERSION = 1
NAME = "examples.parquet"


@dataclass(frozen=True)
class RunExamples:
    """table: row, content_hash, key, label, and group where groups were sought. ref: the source."""

    table: pa.Table
    ref: SourceRef


def write_run_examples(work: Path, table: pa.Table, ref: SourceRef) -> None:
    """Write a run folder's examples."""
    meta: dict[str, Any] = {"source": ref.model_dump(mode="json")}
    about = {"format": FORMAT, "format_version": FORMAT_VERSION, **meta}
    write_table(work / NAME, table, about)


def read_run_examples(work: Path) -> RunExamples:
    """Read a run folder's examples back.

    Raises:
        TableError: there are none, or they are damaged.
    """
    path = work / NAME
    table, meta = read_table(path, format_name=FORMAT, format_version=FORMAT_VERSION)
    examples.check_examples(table, examples.SCHEMA, what=str(path))
    return RunExamples(table, SourceRef.model_validate(meta["source"]))
