"""What each stage of a curation took: rows in and out, per code, and of which queries.

Agreement and selection favour easy queries; so a pass-rate histogram before and after each stage,
and the share of queries between always and never solved that are left, are part of every result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

STAGES = (
    "schema", "format", "void", "termination", "fabrication", "length", "linguistic", "substance",
    "duplicates", "contamination", "groups", "judge", "selection", "balance",
)  # fmt: skip
_BINS = 10
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def stage_place(stage: str) -> int:
    """A stage's place among all; one of a user's own rule comes after ours."""
    return STAGES.index(stage) if stage in STAGES else len(STAGES)


def funnel(
    codes: Sequence[Mapping[str, str]],
    rejected_in: Sequence[str | None],
    stage_of: Mapping[str, str],
    pass_rate: Floats,
    queries: npt.NDArray[np.int64],
) -> dict[str, Any]:
    """Rows per stage and per code.

    codes: of each row, {code: severity}. rejected_in: the first stage that rejected the row, or
        left it undecided. stage_of: of each code. pass_rate: of each row's query, NaN if unknown.
    queries: the number of each row's query.

    Returns:
        stages: [{stage, rows_in, rows_out, pass_rates}], from `input` on; codes: [{code, stage,
        rows, rejected, alone}], rows that have it, that it rejects, and that no other rejects;
        frontier_retention: of queries that are solved sometimes, the share with a row left.
    """
    left = np.ones(len(codes), dtype=np.bool_)
    stages = [_stage("input", len(left), left, pass_rate, queries)]
    where = np.asarray([stage or "" for stage in rejected_in], dtype=object)
    for stage in [*STAGES, *sorted(set(where) - {*STAGES, ""})]:
        rows_in = int(left.sum())
        left &= where != stage
        if int(left.sum()) < rows_in:
            stages.append(_stage(stage, rows_in, left, pass_rate, queries))
    return {
        "stages": stages,
        "codes": _per_code(codes, stage_of),
        "frontier_retention": frontier_retention(left, pass_rate, queries),
    }


def _stage(
    name: str, rows_in: int, left: Bools, pass_rate: Floats, queries: npt.NDArray[np.int64]
) -> dict[str, Any]:
    rows_out = int(left.sum())
    rates = pass_rates(left, pass_rate, queries)
    return {"stage": name, "rows_in": rows_in, "rows_out": rows_out, "pass_rates": rates}


def pass_rates(left: Bools, pass_rate: Floats, queries: npt.NDArray[np.int64]) -> list[int] | None:
    """Queries with a row left, by pass rate: 0, (0, .1], ... (.9, 1), 1, twelve counts.

    A rate of .1 falls in (0, .1]. None where no rate is known.
    """
    known = left & np.isfinite(pass_rate)
    if not known.any():
        return None
    _, first = np.unique(queries[known], return_index=True)
    rates = pass_rate[known][first]
    bins = np.where(rates >= 1, _BINS + 1, np.ceil(rates * _BINS - 1e-9)).astype(np.int64)
    return [int(count) for count in np.bincount(bins, minlength=_BINS + 2)]


def frontier_retention(
    left: Bools, pass_rate: Floats, queries: npt.NDArray[np.int64]
) -> float | None:
    """Of the queries that are solved sometimes, the share that has a row left; None if none is."""
    frontier = np.isfinite(pass_rate) & (pass_rate > 0) & (pass_rate < 1)
    before = len(np.unique(queries[frontier]))
    return len(np.unique(queries[frontier & left])) / before if before else None


def _per_code(
    codes: Sequence[Mapping[str, str]], stage_of: Mapping[str, str]
) -> list[dict[str, Any]]:
    rows, rejected, alone = ({}, {}, {})  # type: dict[str, int], dict[str, int], dict[str, int]
    for found in codes:
        rejecting = [code for code, severity in found.items() if severity == "reject"]
        for code in found:
            rows[code] = rows.get(code, 0) + 1
        for code in rejecting:
            rejected[code] = rejected.get(code, 0) + 1
        if len(rejecting) == 1:
            alone[rejecting[0]] = alone.get(rejecting[0], 0) + 1
    return [
        {
            "code": code,
            "stage": stage_of[code],
            "rows": rows[code],
            "rejected": rejected.get(code, 0),
            "alone": alone.get(code, 0),
        }
        for code in sorted(rows, key=lambda c: (stage_place(stage_of[c]), c))
    ]
