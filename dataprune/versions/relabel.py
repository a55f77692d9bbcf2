"""A relabelled version: beside the label as it came, its rows have the label that flags suggest.

The source is read as if it had one more column, so that whatever writes versions writes that too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.errors import AlignmentError, UsageError, VersionError
from dataprune.selection._choice import Choice
from dataprune.selection._label_issues import is_likely
from dataprune.sources import Source
from dataprune.sources._columns import features_of
from dataprune.tables.flags import SUGGESTED
from dataprune.tables.manifest import Manifest

COLUMN = SUGGESTED
_FEATURES = b"huggingface"
_FIELD_ID = b"PARQUET:field_id"
Labels = npt.NDArray[np.int64]


def check_relabel(choice: Choice, *, view: bool) -> None:
    """Refuse suggested labels for a version that stores no rows.

    Raises:
        UsageError: it is a view.
    """
    if choice.relabel and view:
        raise UsageError(
            "relabel has no effect on a view, which reads its rows from the source",
            hint="leave --view out: a version with its own rows can hold suggested labels",
        )


def suggested_labels(scores: pa.Table, decisions: pa.Table) -> Labels:
    """The class of every row of the source, int64 (n,): given, or suggested.

    It is suggested where the row is kept and its label likely wrong.

    scores: a score table with flags. decisions: a row for each of its rows.
    """
    given = decisions.column("label").to_numpy().astype(np.int64)
    keep = decisions.column("keep").to_numpy(zero_copy_only=False)
    suggested = scores.column("suggested").to_numpy().astype(np.int64)
    labels: Labels = np.where(keep & is_likely(scores), suggested, given)
    return labels


def suggested_sha256(scores: pa.Table, decisions: pa.Table) -> str:
    """Hash of the kept rows' suggested labels, by position in the source."""
    keep = decisions.column("keep").to_numpy(zero_copy_only=False)
    labels = suggested_labels(scores, decisions)[keep]
    return hashlib.sha256(labels.astype("<i4").tobytes()).hexdigest()


def check_suggested(manifest: Manifest, scores: pa.Table, decisions: pa.Table) -> None:
    """Check that a manifest's suggested labels are those of its flags.

    Raises:
        VersionError: they are others.
    """
    if suggested_sha256(scores, decisions) != manifest.selection.suggested_sha256:
        raise VersionError(
            f"the suggested labels of {manifest.name}@{manifest.version} are not its flags'",
            hint="the manifest was changed by hand: build under a new tag",
        )


def with_suggested(source: Source, labels: Labels, class_names: list[str]) -> Source:
    """The source with a last column `suggested_label`, of the type and features of its label.

    labels: class index of every row, int64 (n,). Reading single columns reads the source's own.

    Raises:
        UsageError: the source has a column of that name.
    """
    if COLUMN in source.schema.names:
        raise UsageError(
            f"source {source.uri} has a column {COLUMN} already",
            hint="rename it in the source and score again, or leave --relabel out",
        )
    assert source.columns.label is not None, "flags of labels are of a source with labels"
    field = _like_label(source.schema.field(source.columns.label))
    values = _class_values(source, field.type, class_names)

    def with_labels(batches: Iterator[pa.RecordBatch], row: int) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            here = labels[row : row + len(batch)]
            row += len(batch)
            if len(here) < len(batch):
                raise AlignmentError(
                    f"source {source.uri} had {len(labels)} rows, and has more now",
                    hint="leave it alone while a version is made from it, then do the same again",
                )
            yield batch.append_column(field, _taken(values, here, field.type))

    def batches(columns: list[str] | None) -> Iterator[pa.RecordBatch]:
        found = source.batches(columns)
        return found if columns is not None else with_labels(found, 0)

    of_file = source.file_batches
    starts = np.cumsum([0, *(entry.rows or 0 for entry in source.files)]).tolist()
    return replace(
        source,
        schema=_with_column(source.schema, field, source.columns.label),
        paths=(),
        batches=batches,
        file_batches=None if of_file is None else lambda i: with_labels(of_file(i), starts[i]),
    )


def _like_label(label: pa.Field) -> pa.Field:
    """The new column's field: the label's, but for its number in a Parquet file."""
    told = {k: v for k, v in (label.metadata or {}).items() if k != _FIELD_ID}
    return label.with_name(COLUMN).with_metadata(told or None)


def _class_values(source: Source, kind: pa.DataType, class_names: list[str]) -> pa.Array:
    """What the source holds for each class: its position where the schema names classes, else it.

    The other way round than `sources/_labels`.
    """
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind) and source.class_names is not None:
        return pa.array(range(len(class_names)), kind)
    if pa.types.is_integer(kind):
        return pa.array([int(name) for name in class_names], kind)
    if pa.types.is_boolean(kind):
        return pa.array([name == str(True) for name in class_names], kind)
    return pa.array(class_names, kind)


def _taken(values: pa.Array, labels: Labels, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        codes = pa.array(labels).cast(kind.index_type)
        return pa.DictionaryArray.from_arrays(codes, values, ordered=kind.ordered)
    return values.take(pa.array(labels))


def _with_column(schema: pa.Schema, field: pa.Field, label: str) -> pa.Schema:
    """A schema with a further column, which is to `datasets` what the label is."""
    wider = schema.append(field)
    features = features_of(schema)
    if label not in features:
        return wider
    told = json.loads(schema.metadata[_FEATURES])
    told["info"]["features"] = {**features, COLUMN: features[label]}
    return wider.with_metadata({**schema.metadata, _FEATURES: json.dumps(told).encode()})
