"""The inputs of the drawn rows, read in one pass over the source, proven to be the flags' rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import ValidationError

from dataprune.auditing.alignment import check_labels
from dataprune.auditing.render import Shown, shown_image, shown_numbers, shown_text
from dataprune.core.errors import AlignmentError, TableError, UsageError
from dataprune.core.recipe import Columns, SourceRecipe
from dataprune.sources import Source, open_source
from dataprune.sources._columns import plain
from dataprune.sources._load import load_rows
from dataprune.tables.flags import FlagTable
from dataprune.tables.manifest import SourceRef, first_problem
from dataprune.versions.load import open_pinned

_OTHER_SOURCE = "name the source that the flags were made from, in its order, with --source"


@dataclass(frozen=True)
class Inputs:
    """What a person sees of each drawn row, in the order of the draw.

    keys: of the user's own id column, if it is known.
    class_names: of the flags' codes; None if neither the flags nor the source name them.
    is_proven: whether contents, labels or a pinned source show that these are the flagged rows.
    """

    shown: list[Shown]
    keys: list[str] | None
    class_names: list[str] | None
    is_proven: bool


def open_flagged(
    flags: FlagTable,
    path: Path,
    *,
    source: str | None,
    input_column: str | None,
    label_column: str | None,
) -> Source | None:
    """Open the source that the flags are of; None if nothing says which it is.

    path: where the flags lie. source: where it lies now, or which it is.
    input_column, label_column: of a source that the flags do not know.

    Raises:
        UsageError: a column is named that has no effect.
        SourceError, AlignmentError: as `open_pinned`, or it has another number of rows.
    """
    ref = _recorded(flags, path)
    for option, value in {"--input": input_column, "--label": label_column}.items():
        if value is not None and ref is not None:
            raise UsageError(f"{option} has no effect: the flags know the columns of their source")
        if value is not None and source is None:
            raise UsageError(f"{option} has no effect without --source")
    if ref is not None:
        opened = open_pinned(ref, source, examples=_examples(flags), near=path)
    elif source is not None:
        columns = Columns(input=input_column, label=label_column)
        opened = open_source(SourceRecipe(uri=source, columns=columns))
    else:
        return None
    if opened.num_rows != len(flags.table):
        raise AlignmentError(
            f"source {opened.uri} has {opened.num_rows} rows, and {path} has {len(flags.table)}",
            hint=_OTHER_SOURCE,
        )
    return opened


def read_inputs(flags: FlagTable, path: Path, source: Source, rows: Sequence[int]) -> Inputs:
    """Read what the drawn rows hold; memory holds them and the labels, never the whole source.

    Raises:
        AlignmentError: content hashes or labels are not those of the flags; the row is named.
    """
    picked, labels = _pick(source, np.sort(np.asarray(rows, dtype=np.int64)))
    _check_hashes(flags, path, source, picked, sorted(rows))
    names = flag_class_names(flags, path)
    if labels is not None:
        names = check_labels(flags, names, labels, source, path)
    at = np.argsort(np.argsort(np.asarray(rows)))  # where in `picked` each drawn row is
    in_order = picked.take(pa.array(at))
    key = source.columns.key
    keys = None if key is None else [str(v) for v in in_order.column(key).to_pylist()]
    is_pinned = _recorded(flags, path) is not None
    is_proven = is_pinned or labels is not None or "content_hash" in flags.table.column_names
    return Inputs(_shown(source, in_order), keys, names, is_proven)


def flag_class_names(flags: FlagTable, path: Path) -> list[str] | None:
    """The flags' class names, one for every code in them.

    Raises:
        TableError: they are no names, or too few.
    """
    names = flags.meta.get("class_names")
    if names is None:
        return None
    codes = np.concatenate([flags.column("given"), flags.column("suggested")])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TableError(f"{path} has class_names that are no list of names")
    if codes.min() < 0 or codes.max() >= len(names):
        raise TableError(f"{path} has {len(names)} class names, and labels up to {codes.max()}")
    return names


def _recorded(flags: FlagTable, path: Path) -> SourceRef | None:
    """The source that the flags name, if they do."""
    data = flags.meta.get("source")
    if data is None:
        return None
    try:
        return SourceRef.model_validate(data)
    except ValidationError as exc:
        raise TableError(f"{path} does not name its source: {first_problem(exc)}") from exc


def _examples(flags: FlagTable) -> pa.Table | None:
    """The flags' rows as a table of examples, to name the row that differs."""
    if "content_hash" not in flags.table.column_names:
        return None
    hashes, given = flags.table.column("content_hash"), flags.table.column("given")
    return pa.table({"content_hash": hashes, "label": given})


def _pick(source: Source, rows: npt.NDArray[np.int64]) -> tuple[pa.Table, pa.ChunkedArray | None]:
    """The columns of some rows, ascending, and every row's label if there are labels."""
    columns = source.columns
    wanted = [*columns.inputs, *([columns.key] if columns.key else [])]
    wanted = list(dict.fromkeys(wanted))
    names = list(dict.fromkeys([*wanted, *([columns.label] if columns.label else [])]))
    parts, labels, start = [], [], 0
    for batch in source.batches(names):
        first, last = np.searchsorted(rows, [start, start + len(batch)])
        if last > first:
            here = batch.select(wanted).take(pa.array(rows[first:last] - start))
            parts.append(pa.table([plain(c) for c in here.columns], names=wanted))
        if columns.label:
            labels.append(plain(batch.column(columns.label)))
        start += len(batch)
    if start != source.num_rows:
        raise AlignmentError(f"source {source.uri} gave {start} rows, and has {source.num_rows}")
    return pa.concat_tables(parts), pa.chunked_array(labels) if columns.label else None


def _check_hashes(
    flags: FlagTable, path: Path, source: Source, picked: pa.Table, rows: list[int]
) -> None:
    """Check that the drawn rows' inputs are those that the flags were made from."""
    if "content_hash" not in flags.table.column_names:
        return
    inputs = picked.select(list(source.columns.inputs)).combine_chunks()
    columns = Columns(input=source.columns.input)
    drawn = replace(
        source,
        columns=columns,
        num_rows=len(rows),
        batches=lambda _: iter(inputs.to_batches()),
        test=None,
    )
    found = load_rows(drawn, task=None).hashes
    differs = np.flatnonzero(found != flags.column("content_hash")[rows])
    if len(differs):
        raise AlignmentError(
            f"row {rows[int(differs[0])]} of source {source.uri} and of {path} differ in "
            f"content_hash ({len(differs)} of the {len(rows)} drawn rows differ)",
            hint=_OTHER_SOURCE,
        )


def _shown(source: Source, picked: pa.Table) -> list[Shown]:
    inputs = source.columns.inputs
    if source.kind == "features":
        values = [picked.column(name).to_pylist() for name in inputs]
        return [shown_numbers(inputs, row) for row in zip(*values, strict=True)]
    cells = picked.column(inputs[0]).to_pylist()
    if source.kind == "text":
        return [shown_text(cell) for cell in cells]
    return [shown_image(cell["bytes"] if isinstance(cell, dict) else cell) for cell in cells]
