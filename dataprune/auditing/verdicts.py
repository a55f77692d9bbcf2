"""Verdicts that come back, as verdicts.json of the page or a filled-in audit.csv: read, checked.

Both name their draw, which is made again from FLAGS.parquet, so that no other file is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from dataprune.auditing.draw import POPULATIONS, Draw, make_draw
from dataprune.auditing.sheet import read_sheet
from dataprune.core.errors import AlignmentError, TableError
from dataprune.core.files import read_json
from dataprune.core.recipe_training import Strict
from dataprune.tables.flags import FlagTable
from dataprune.tables.manifest import first_problem

FORMAT = "dataprune.verdicts"
FORMAT_VERSION = 1
WORDS = ("wrong", "right", "unsure")
_KEYS = {word[0]: word for word in WORDS}  # what the page's keys are, a sheet may say too
_COLUMNS = ("row", "verdict", "draw")


@dataclass(frozen=True)
class Verdicts:
    """What a person said of labels, row by row: wrong, right or unsure; and of which draw."""

    draw: Draw
    by_row: dict[int, str]

    @property
    def skipped(self) -> tuple[int, ...]:
        """Rows without a verdict that come before the last one that has one."""
        places = [i for i, row in enumerate(self.draw.rows) if row in self.by_row]
        last = max(places, default=-1)
        return tuple(row for row in self.draw.rows[:last] if row not in self.by_row)

    @property
    def judged(self) -> tuple[int, ...]:
        """The first rows of the draw, up to the last verdict: a uniform sample.

        A row that was skipped counts as judged and unsure, since it may be skipped for being hard.
        """
        return tuple(sorted({*self.by_row, *self.skipped}))

    @property
    def wrong_flags(self) -> tuple[int, ...]:
        """Judged rows whose flag counts as wrong: the label is right, or nobody can tell."""
        return tuple(row for row in self.judged if self.by_row.get(row, "unsure") != "wrong")

    def rows_called(self, word: str) -> tuple[int, ...]:
        """Rows that have a verdict."""
        return tuple(row for row, verdict in self.by_row.items() if verdict == word)


class _Entry(Strict):
    row: int = Field(ge=0, strict=True)
    verdict: str


class _DrawnBy(Strict):
    tier: str
    sample: int = Field(ge=1, strict=True)
    seed: int = Field(ge=0, strict=True)


class _File(Strict):
    format: str
    format_version: int
    audit: str
    flags_sha256: str
    draw: _DrawnBy
    verdicts: list[_Entry]


def token_of(draw: Draw) -> str:
    """What names a draw in a cell of audit.csv: how to make it again, and a proof."""
    return f"{draw.tier}-{draw.sample}-{draw.seed}-{draw.id[:16]}"


def read_verdicts(path: Path, flags: FlagTable, flags_sha256: str) -> Verdicts:
    """Read verdicts.json, or audit.csv by its suffix, of these flags.

    Raises:
        TableError: no such file, not verdicts, an unknown word, a row twice, or nothing judged.
        AlignmentError: verdicts of other flags, or of rows that were not drawn.
    """
    if not path.is_file():
        raise TableError(f"there is no file of verdicts at {path}")
    read = _read_csv if path.suffix.lower() == ".csv" else _read_json
    draw, said = read(path, flags, flags_sha256)
    by_row: dict[int, str] = {}
    drawn = set(draw.rows)
    for row, word in said:
        if row not in drawn:
            raise AlignmentError(f"{path} has a verdict on row {row}, which was not drawn")
        if row in by_row:
            raise TableError(f"{path} has two verdicts on row {row}", hint="keep one of them")
        if word not in WORDS:
            raise TableError(
                f"{path} has the verdict {word[:40]!r} on row {row}",
                hint=f"a verdict is one of {', '.join(WORDS)}; of a label, not of its flag",
            )
        by_row[row] = word
    if not by_row:
        raise TableError(f"{path} has no verdict yet", hint="judge the rows in audit.html first")
    return Verdicts(draw, by_row)


def _read_json(
    path: Path, flags: FlagTable, flags_sha256: str
) -> tuple[Draw, Iterator[tuple[int, str]]]:
    data = read_json(path)
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise TableError(
            f"{path} is not a file of verdicts",
            hint="the page audit.html saves one as verdicts.json, with the key s",
        )
    if data.get("format_version") != FORMAT_VERSION:
        raise TableError(
            f"{path} has verdicts of format {data.get('format_version')}, this dataprune reads "
            f"{FORMAT_VERSION}"
        )
    try:
        file = _File.model_validate(data)
    except ValidationError as exc:
        raise TableError(f"{path} is not a file of verdicts: {first_problem(exc)}") from exc
    if file.flags_sha256 != flags_sha256:
        raise _of_other_flags(path)
    draw = _drawn_again(path, flags, flags_sha256, file.draw.model_dump())
    if draw.id != file.audit:
        raise _of_other_flags(path)
    return draw, ((entry.row, entry.verdict) for entry in file.verdicts)


def _read_csv(
    path: Path, flags: FlagTable, flags_sha256: str
) -> tuple[Draw, Iterator[tuple[int, str]]]:
    rows = read_sheet(path)
    missing = [name for name in _COLUMNS if rows and name not in rows[0]]
    if not rows or missing:
        raise TableError(
            f"{path} has no {f'column {missing[0]}' if missing else 'rows'}",
            hint="fill in the column verdict of audit.csv, and leave the others as they are",
        )
    tokens = {row["draw"].strip() for row in rows}
    if len(tokens) > 1:
        raise TableError(f"{path} has rows of {len(tokens)} draws", hint="keep those of one audit")
    (token,) = tokens
    tier, sample, seed, proof = (*token.split("-"), "", "", "", "")[:4]
    if not (tier in POPULATIONS and _is_number(sample) and _is_number(seed)):
        raise TableError(
            f"{path} does not say which draw it is of: its column draw has {token[:60]!r}",
            hint="leave the column draw of audit.csv as it was written",
        )
    drawn_by = {"tier": tier, "sample": int(sample), "seed": int(seed)}
    draw = _drawn_again(path, flags, flags_sha256, drawn_by)
    if draw.id[:16] != proof:
        raise _of_other_flags(path)
    return draw, _filled_in(path, rows)


def _filled_in(path: Path, rows: list[dict[str, str]]) -> Iterator[tuple[int, str]]:
    """Rows that have a verdict; an empty cell is none."""
    for number, cells in enumerate(rows, start=2):
        word = cells["verdict"].strip().lower()
        word = _KEYS.get(word, word)
        row = cells["row"].strip()
        if not _is_number(row):
            raise TableError(f"{path} has {row[:40]!r} as row in line {number} of the table")
        if word:
            yield int(row), word


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _drawn_again(path: Path, flags: FlagTable, flags_sha256: str, drawn_by: dict[str, Any]) -> Draw:
    if drawn_by["tier"] not in POPULATIONS:
        raise TableError(f"{path} is of a tier {json.dumps(drawn_by['tier'])[:40]}")
    return make_draw(flags, flags_sha256, **drawn_by)


def _of_other_flags(path: Path) -> AlignmentError:
    return AlignmentError(
        f"{path} has verdicts of another draw, or of other flags than these",
        hint="name the FLAGS.parquet that the audit was made from, unchanged",
    )
