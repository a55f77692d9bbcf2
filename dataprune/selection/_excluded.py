"""Rows that never compete: a curation rejected them, or they are likely mislabelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.fingerprint import UInt64
from dataprune.selection._label_issues import REASON, RULE, likely_last_first
from dataprune.tables.ledger import COLUMNS, kept_rows

Rows = npt.NDArray[np.int64]


def without(rows: Rows, taken: Rows) -> Rows:
    """The rows, ascending, less those taken, which are among them.

    A set difference would hash every row: of 800,000 that took a third of all the CPU of pruning.
    """
    stays = np.ones(rows[-1] + 1 if len(rows) else 0, dtype=np.bool_)
    stays[taken] = False
    return rows[stays[rows]]


@dataclass(frozen=True)
class Excluded:
    """Rows that are dropped before the rest competes, the least suspicious first.

    rows: int64 (k,). reasons, rules: str (k,), why, and the rule that says so. why: for people.
    """

    rows: Rows
    reasons: npt.NDArray[Any]
    rules: npt.NDArray[Any]
    why: str


def is_ledger_table(table: pa.Table) -> bool:
    """Whether a score table has the columns of a ledger."""
    return set(COLUMNS.names) <= set(table.schema.names)


def excluded_rows(table: pa.Table, ties: UInt64, *, drop_likely: bool) -> Excluded:
    """Rows of a score table that may not be kept.

    ties: uint64 (n,), distinct, a function of the row: the order of equally suspicious ones.
    """
    if is_ledger_table(table):
        rows = np.flatnonzero(~kept_rows(table))
        chosen = table.select(["reject_code", "reject_stage"]).take(pa.array(rows))
        reasons, rules = (c.to_numpy(zero_copy_only=False) for c in chosen.columns)
        return Excluded(rows, reasons, rules, "rejected rows")
    rows = likely_last_first(table, ties) if drop_likely else np.empty(0, np.int64)
    reasons, rules = (np.full(len(rows), word, dtype=object) for word in (REASON, RULE))
    return Excluded(rows, reasons, rules, "likely label issues")
