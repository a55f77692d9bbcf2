"""elsewhere -> scores: per-example numbers of another tool become a score table, or are refused.

A file joins a source when it gives every row exactly once; nothing is guessed, filled or dropped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import AlignmentError, TableError, UsageError, nearest
from dataprune.core.files import sha256_file
from dataprune.core.recipe import Recipe
from dataprune.probe.examples import read_rows
from dataprune.scores import SCORES
from dataprune.scores._features import with_embedding
from dataprune.scores._import_file import OtherTable, read_other
from dataprune.sources._load import Loaded
from dataprune.sources._resolve import resolve_recipe
from dataprune.tables import decisions, examples
from dataprune.tables.manifest import SourceRef, portable_recipe
from dataprune.tables.scores import check_table_path, write_scores

Kind = Literal["row", "key", "content_hash", "in_order"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_TAKEN = {*decisions.SCHEMA.names, examples.GROUP.name}
_SHOWN = 5


@dataclass(frozen=True)
class Wanted:
    """A score to import: its name here, its column there, and whether lower is harder there."""

    name: str
    column: str
    is_lower: bool


@dataclass(frozen=True)
class Matching:
    """How the file says which row each of its own is: a column, or None for source order."""

    kind: Kind
    column: str | None


@dataclass(frozen=True)
class ImportResult:
    """What `import_scores` made.

    path: the score table. scores: {name: its spec}. notes: what could have been compared too.
    """

    path: Path
    source: SourceRef
    scores: dict[str, Any]
    notes: list[str]


def parse_wanted(scores: Mapping[str, str]) -> list[Wanted]:
    """{NAME: "COLUMN[:higher|:lower]"} -> what to import; `lower` says that lower is harder.

    Raises:
        UsageError: nothing, or a name that is not legal, reserved or one of our own.
    """
    if not scores:
        raise UsageError("no score was named", hint="give one as NAME=COLUMN")
    wanted = []
    for name, told in scores.items():
        _check_name(name)
        column, colon, end = told.rpartition(":")
        if not colon or end not in {"higher", "lower"}:
            column, end = told, "higher"
        if not column:
            raise UsageError(f"score {name} has no column", hint=f"give it as {name}=COLUMN")
        wanted.append(Wanted(name, column, end == "lower"))
    return wanted


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a score name",
            hint="use up to 64 letters, digits and '_', starting with a letter",
        )
    if name in SCORES.names():
        raise UsageError(
            f"score {name} is one of dataprune's own, and would be taken for it",
            hint=f"name it otherwise, such as my_{name}",
        )
    if name in _TAKEN or name.endswith(("_std", "_se")) or name.startswith("is_"):
        raise UsageError(
            f"{name} is the name of another column in score tables",
            hint=f"name it otherwise, such as my_{re.sub('^is_|_std$|_se$', '', name)}",
        )


def parse_matching(
    *, row: str | None, key: str | None, content_hash: str | None, in_order: bool
) -> Matching:
    """How rows are matched: exactly one way.

    Raises:
        UsageError: none, or several.
    """
    columns: dict[Kind, str | None] = {"row": row, "key": key, "content_hash": content_hash}
    ways = [Matching(kind, column) for kind, column in columns.items() if column is not None]
    if in_order:
        ways.append(Matching("in_order", None))
    if len(ways) != 1:
        given = " and ".join(way.kind for way in ways) or "none"
        raise UsageError(
            f"one way to match rows is needed, and {given} was given",
            hint="name the column that holds the row, the key or the content hash; or say in_order",
        )
    return ways[0]


def import_scores(
    file: str | Path,
    *,
    source: str | Path | Recipe,
    scores: Mapping[str, str],
    out: str | Path,
    row: str | None = None,
    key: str | None = None,
    content_hash: str | None = None,
    in_order: bool = False,
    label: str | None = None,
) -> ImportResult:
    """Elsewhere -> scores: another tool's numbers per example become a score table, or are refused.

    file: Parquet, CSV or JSONL. source: a recipe or data; the recipe's defaults of pruning are
    stored. scores: {NAME: "COLUMN"}, or "COLUMN:lower" where lower is harder.
    row, key, content_hash: the column of the file that rows are matched by; or in_order, where the
    file has the source's rows in its order.
    label: a column of the file to compare with the source's labels.

    Raises:
        AlignmentError: rows missing, unknown or repeated; labels that differ.
        TableError: the file cannot be read, or a score is not a finite number; the row is named.
        UsageError: a wrong name or column, or not exactly one way to match rows.
    """
    file, out = Path(file), Path(out)
    if out.resolve() == file.resolve():
        raise UsageError(f"{out} is the file to import", hint="name another table to write")
    check_table_path(out)
    wanted = parse_wanted(scores)
    matching = parse_matching(row=row, key=key, content_hash=content_hash, in_order=in_order)
    recipe = resolve_recipe(source, {})
    columns = [w.column for w in wanted]
    table = read_other(file, [c for c in (*columns, matching.column, label) if c is not None])
    recipe, loaded = read_rows(recipe)
    order = _match(table, loaded, matching)
    if label is not None:
        _check_labels(table, label, loaded, order)
    values = {}
    for w in wanted:
        numbers = table.numbers(w.column)[order]
        values[w.name] = -numbers if w.is_lower else numbers
    sha256 = sha256_file(file)
    specs = {
        w.name: {
            "score": w.name,
            "higher_is": "harder",
            "status": "imported",
            "source": file.name,
            "file_sha256": sha256,
            "column": w.column,
            "stored": "negated: lower was harder" if w.is_lower else "as given",
            "matched_by": matching.kind,
        }
        for w in wanted
    }
    names = {"names": tuple(w.name for w in wanted), "at": None}
    stored = recipe.model_copy(update={"scores": recipe.scores.model_copy(update=names)})
    meta = {
        "status": "complete",
        "source": loaded.ref.model_dump(mode="json"),
        "recipe": portable_recipe(stored),
        "scores": specs,
        "seeds": [],
        "unit_ids": [],
        "reliability": {},
        "timing": [],
        "environment": {},
    }
    write_scores(out, loaded.examples, values, with_embedding(out, loaded, meta))
    return ImportResult(out, loaded.ref, specs, _notes(table, loaded, label))


def _notes(table: OtherTable, loaded: Loaded, label: str | None) -> list[str]:
    theirs = loaded.ref.columns.label
    if label is not None or theirs is None or theirs not in table.known:
        return []
    return [f"{table.path} has a column {theirs}, which was not compared; name it as the label"]


def _match(table: OtherTable, loaded: Loaded, matching: Matching) -> npt.NDArray[np.int64]:
    """Where each source row stands in the file, int64 (n,).

    Copies of one content match in order: the k-th in the file is the k-th in the source.
    """
    num_rows = loaded.ref.num_rows
    if matching.column is None:
        if table.num_rows != num_rows:
            raise AlignmentError(
                f"{table.path} has {table.num_rows} rows, and {loaded.ref.uri} has {num_rows}",
                hint="in_order wants a row per source row; match by row, key or content hash",
            )
        return np.arange(num_rows)
    ours: list[Hashable]
    theirs: list[Hashable]
    if matching.kind == "key":
        if loaded.ref.columns.key is None:
            raise UsageError(
                f"source {loaded.ref.uri} has no key column",
                hint="name it as source.columns.key in the recipe, or match by row",
            )
        ours = loaded.examples.column("key").to_pylist()
        theirs = list(table.keys(matching.column))
    elif matching.kind == "row":
        ours, theirs = list(range(num_rows)), list(table.integers(matching.column))
    else:
        ours = list(_copies(loaded.hashes.tolist()))
        theirs = list(_copies(table.integers(matching.column)))
    return _join(ours, theirs, f"{table.path} does not give every row of {loaded.ref.uri} once")


def _copies(values: Sequence[int]) -> list[tuple[int, int]]:
    """Each value with its occurrence number."""
    seen: Counter[int] = Counter()
    numbered = []
    for value in values:
        numbered.append((value, seen[value]))
        seen[value] += 1
    return numbered


def _join(ours: Sequence[Hashable], theirs: Sequence[Hashable], what: str) -> npt.NDArray[np.int64]:
    """The position in `theirs` of each of `ours`, which are distinct.

    Raises:
        AlignmentError: the two are not the same set, each once; counted, the first five named.
    """
    row_of = {identity: row for row, identity in enumerate(ours)}
    at = np.full(len(ours), -1, dtype=np.int64)
    unknown: list[Hashable] = []
    repeated: dict[Hashable, None] = {}
    for position, identity in enumerate(theirs):
        row = row_of.get(identity)
        if row is None:
            unknown.append(identity)
        elif at[row] >= 0:
            repeated[identity] = None
        else:
            at[row] = position
    missing = [ours[row] for row in np.flatnonzero(at < 0).tolist()]
    problems = [
        f"{len(found)} {told} ({_shown(found)})"
        for found, told in (
            (missing, "are missing"),
            (unknown, "are unknown"),
            (list(repeated), "come more than once"),
        )
        if found
    ]
    if problems:
        raise AlignmentError(
            f"{what}: {'; '.join(problems)}",
            hint="mend the file, or point to the source that it speaks of; no row is left out",
        )
    return at


def _shown(identities: Sequence[Hashable]) -> str:
    first = [str(i[0] if isinstance(i, tuple) else i) for i in identities[:_SHOWN]]
    return ", ".join(first) + (", ..." if len(identities) > _SHOWN else "")


def _check_labels(
    table: OtherTable, column: str, loaded: Loaded, order: npt.NDArray[np.int64]
) -> None:
    """The file's labels, as class names or else as class indices, are the source's.

    Raises:
        UsageError: the source has no classes to compare.
        TableError: a label is neither.
        AlignmentError: they differ; the first row is named.
    """
    if loaded.ref.task != "classification":
        raise UsageError(
            f"labels are compared for classification, and the task is {loaded.ref.task or 'none'}",
            hint="leave the label out",
        )
    names = loaded.ref.class_names
    told = [str(value) for value in table.column(column)]
    index = {name: i for i, name in enumerate(names)}
    if not set(told) <= index.keys():
        by_index = {str(i): i for i in range(len(names))}
        strange = next((i for i, value in enumerate(told) if value not in by_index), None)
        if strange is not None:
            value = next(value for value in told if value not in index)
            raise TableError(
                f"{table.path} has the label {value}, which is no class of {loaded.ref.uri}",
                hint=nearest(value, names),
            )
        index = by_index
    theirs = np.asarray([index[value] for value in told])[order]
    differs = np.flatnonzero(theirs != loaded.labels)
    if len(differs):
        row = int(differs[0])
        raise AlignmentError(
            f"row {row} is {names[theirs[row]]} in {table.path} and {names[loaded.labels[row]]} in "
            f"{loaded.ref.uri} ({len(differs)} rows differ)",
            hint="match rows otherwise, or point to the source that was scored",
        )
