"""Rows that do not fit: one sentence that counts them and names the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from dataprune.core.errors import SourceError

_HINT = "mend or remove these rows; none is skipped silently"


def refuse_rows(rows: npt.NDArray[Any], what: str, where: str, *, hint: str | None = None) -> None:
    """Raise for rows that cannot be used; nothing for none.

    Raises:
        SourceError: how many rows, what is wrong with them, and the first five.
    """
    if len(rows):
        raise SourceError(
            f"{len(rows)} rows of {where} {what}: {_named(rows, {})}", hint=hint or _HINT
        )


def refuse_problems(
    problems: Mapping[str, Sequence[int]], where: str, names: Mapping[int, str]
) -> None:
    """Raise for every kind of problem at once; nothing for none.

    problems: {what is wrong: rows}. names: what rows are called, where they are: their files.

    Raises:
        SourceError: of each kind how many rows, and the first five.
    """
    if len(problems) == 1:
        ((what, rows),) = problems.items()
        shown = _named(rows, names)
        raise SourceError(f"{len(rows)} rows of {where} {what}: {shown}", hint=_HINT)
    if problems:
        total = sum(len(rows) for rows in problems.values())
        kinds = [f"{len(rows)} {what}: {_named(rows, names)}" for what, rows in problems.items()]
        raise SourceError(f"{total} rows of {where} cannot be read: {'; '.join(kinds)}", hint=_HINT)


def _named(rows: Sequence[int] | npt.NDArray[Any], names: Mapping[int, str]) -> str:
    told = [
        f"{row} ({names[int(row)]})" if int(row) in names else str(int(row)) for row in rows[:5]
    ]
    return ", ".join(told) + (", ..." if len(rows) > 5 else "")
