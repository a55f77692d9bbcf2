"""Evaluation data that must not be trained on, read from a user's files and hashed.

JSON, JSON Lines, Parquet and CSV hold rows: their questions are the fields named like one, else
every text. A CSV or Parquet file without such a field is itself a table that questions are about;
so are `columns` and `header` lists anywhere in a row. Other files are text, a question a paragraph.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.core.errors import SourceError
from dataprune.core.fingerprint import UInt64
from dataprune.similarity.words import words_of
from dataprune.trajectories.headers import Header, header_of, headers_in

_QUESTIONS = {"question", "prompt", "query", "instruction", "problem", "task", "problem_statement"}
_QUESTIONS |= {"input", "intent", "goal", "utterance"}
_IDS = {"id", "task_id", "question_id", "query_id", "instance_id", "qid", "uid", "sample_id"}
_HEADERS = {"columns", "column_names", "header", "headers", "table_header"}
_SHORTEST_ID = 4  # characters
_SHORTEST_WHOLE = 4  # words of a question that is looked for as a whole
_COMMON = 10  # questions that share a sequence of words: more make it a template's
_DEEPEST = 20  # levels of a row that are looked at


@dataclass(frozen=True)
class Evaluation:
    """What to keep out.

    words: in a row that make an overlap. sequences: their hashes, ascending, without those that
    more than ten different questions share, as a template's words. wholes: of shorter questions
    the hash of the whole, by their number of words, from 4. headers: of tables. ids: that name a
    question; numbers and ids of less than four characters name none and are left out.
    num_questions, num_common, num_weak_ids: for the report; the last two are what was left out.
    """

    words: int
    sequences: UInt64
    wholes: Mapping[int, UInt64]
    headers: frozenset[Header]
    ids: frozenset[str]
    num_questions: int
    num_common: int
    num_weak_ids: int

    @classmethod
    def read(cls, files: Sequence[str | Path], words: int = 13) -> Evaluation:
        """Read files; which kind one is, its ending says.

        Raises:
            SourceError: a file is missing or is not what its ending says.
        """
        found = _Found()
        for file in files:
            _read(Path(file), found)
        return found.evaluation(words)


class _Found:
    """Questions, headers and ids, as they are read."""

    def __init__(self) -> None:
        self.questions: dict[str, None] = {}
        self.headers: set[Header] = set()
        self.ids: set[str] = set()

    def row(self, row: Any) -> None:
        """Take a row apart: an object, or a text."""
        texts: list[str] = []
        named: list[str] = []
        for name, value in _leaves(row, 0):
            if name in _HEADERS and isinstance(value, list):
                header = header_of([str(cell) for cell in value])
                self.headers |= {header} if header else set()
            elif name in _IDS and isinstance(value, str | int):
                self.ids.add(str(value).strip())
            elif isinstance(value, str):
                (named if name in _QUESTIONS else texts).append(value)
        for text in named or texts:
            self.questions[text] = None
        for text in (*named, *texts):
            self.headers |= set(headers_in(text))

    def evaluation(self, words: int) -> Evaluation:
        """Hash it all."""
        long = [np.empty(0, dtype=np.uint64)]
        short: dict[int, list[UInt64]] = {}
        for question in self.questions:
            found = words_of(question)
            if len(found) >= words:
                long.append(found.shingles(words))
            elif len(found) >= _SHORTEST_WHOLE:
                short.setdefault(len(found), []).append(found.shingles(words))
        sequences, times = np.unique(np.concatenate(long), return_counts=True)
        kept = sequences[times <= _COMMON]
        ids = {i for i in self.ids if len(i) >= _SHORTEST_ID and not i.isdecimal()}
        return Evaluation(
            words,
            kept,
            {length: np.unique(np.concatenate(short[length])) for length in sorted(short)},
            frozenset(self.headers),
            frozenset(ids),
            num_questions=len(self.questions),
            num_common=len(sequences) - len(kept),
            num_weak_ids=len(self.ids) - len(ids),
        )


def _leaves(value: Any, depth: int, name: str = "") -> Iterator[tuple[str, Any]]:
    """Values with the names of the fields they stand in; lists of texts under a header whole."""
    if isinstance(value, dict) and depth < _DEEPEST:
        for key, item in value.items():
            yield from _leaves(item, depth + 1, str(key).casefold())
    elif isinstance(value, list) and name not in _HEADERS and depth < _DEEPEST:
        for item in value:
            yield from _leaves(item, depth + 1, name)
    else:
        yield name, value


def _read(file: Path, found: _Found) -> None:
    kind = file.suffix.casefold()
    try:
        if kind in {".json", ".jsonl", ".ndjson"}:
            for row in _json_rows(file, is_lines=kind != ".json"):
                found.row(row)
        elif kind in {".csv", ".tsv"}:
            _table(_csv_rows(file, "\t" if kind == ".tsv" else ","), found)
        elif kind == ".parquet":
            _table(_parquet_rows(file), found)
        else:
            for paragraph in file.read_text("utf-8").split("\n\n"):
                found.row(paragraph)
    except FileNotFoundError as exc:
        raise SourceError(
            f"there is no evaluation file {file}", hint="mend the path in duplicates.against"
        ) from exc
    except UnicodeDecodeError as exc:
        raise SourceError(
            f"evaluation file {file} is no UTF-8",
            hint="write it as UTF-8; JSON, JSON Lines, Parquet, CSV and text can be read",
        ) from exc
    except (OSError, ValueError, RecursionError, csv.Error) as exc:
        reason = str(exc).split("\n", maxsplit=1)[0]
        raise SourceError(
            f"evaluation file {file} cannot be read: {reason}",
            hint="its ending says what it is: .json, .jsonl, .parquet, .csv, .tsv, else text",
        ) from exc


def _json_rows(file: Path, *, is_lines: bool) -> Iterator[Any]:
    if is_lines:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    try:
                        yield json.loads(line)
                    except ValueError as exc:
                        raise ValueError(f"line {number}: {exc}") from exc
        return
    value = json.loads(file.read_text("utf-8"))
    if isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values()):
        value = list(value.values())  # questions by their id
    yield from value if isinstance(value, list) else [value]


def _csv_rows(file: Path, delimiter: str) -> Iterator[dict[str, Any]]:
    before = csv.field_size_limit(sys.maxsize)  # a long text is no mistake
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            for row in csv.DictReader(lines, delimiter=delimiter):
                yield {str(name): value for name, value in row.items() if name is not None}
    finally:
        csv.field_size_limit(before)


def _parquet_rows(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(batch_size=1024):
            yield from batch.to_pylist()


def _table(rows: Iterable[dict[str, Any]], found: _Found) -> None:
    """Rows of questions, or a table that questions are about."""
    for row in rows:
        if not _QUESTIONS & {name.casefold() for name in row}:
            header = header_of(list(row))
            found.headers |= {header} if header else set()
            return
        found.row(row)
