"""Whether flags are of a source, by its labels: row by row they must be those that were given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.errors import AlignmentError
from dataprune.sources import Source
from dataprune.sources._labels import read_labels
from dataprune.tables.flags import FlagTable

_HINT = (
    "name the source that the flags were made from, in its order, with --source, and the column "
    "of the given labels with --label"
)
Codes = npt.NDArray[np.int64]


def check_labels(
    flags: FlagTable,
    names: list[str] | None,
    column: pa.ChunkedArray,
    source: Source,
    path: Path,
) -> list[str]:
    """Check every row's label, by class name, and give the names of the flags' codes.

    names: the flags' own; without them each code must go with one class of the source, and takes
        its name. Integers that the source gives no names may be positions in `names`, too.

    Raises:
        AlignmentError: names the first row that differs.
        SourceError: the column holds no class labels.
    """
    where = f"{source.uri} ({source.split})"
    codes, found = read_labels(column, "classification", source.class_names, None, where)
    given = flags.column("given").astype(np.int64)
    if names is None:
        names = _names_of_codes(flags, given, codes, found)
    there = np.asarray(found, dtype=object)[codes]
    said = np.asarray(names, dtype=object)[given]
    differs = np.flatnonzero(there != said)
    positions = source.class_names is None and pa.types.is_integer(column.type)
    if len(differs) and positions and np.array_equal(column.to_numpy(), given):
        return names
    if len(differs):
        row = int(differs[0])
        raise AlignmentError(
            f"row {row} is labelled {there[row]} in source {source.uri} and {said[row]} in {path} "
            f"({len(differs)} of {len(given)} rows differ)",
            hint=_HINT,
        )
    return names


def _names_of_codes(flags: FlagTable, given: Codes, codes: Codes, found: list[str]) -> list[str]:
    """Each code's most frequent class in the source; "class #n" where no name of it is right.

    A bare number might be another class's name. Two codes never get one name: of rows in another
    order some would then seem to agree.
    """
    num_codes = int(max(given.max(), flags.column("suggested").max())) + 1
    together = np.zeros((num_codes, len(found)), dtype=np.int64)
    np.add.at(together, (given, codes), 1)
    names, taken = [], set[int]()
    for code, counts in enumerate(together):
        best = int(counts.argmax())
        is_free = counts[best] > 0 and best not in taken
        names.append(found[best] if is_free else f"class #{code}")
        taken |= {best} if is_free else set()
    return names
