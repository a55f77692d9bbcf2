"""scikit-learn's handwritten digits: 1,797 real 8x8 images in 10 classes, no file needed.

The images are shown as PNG with grey levels 0..240 (the data's 0..16 times 15), so that a version
of them looks like any other image dataset.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pyarrow as pa

from dataprune.core.errors import SourceError
from dataprune.core.extras import require
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import Source, SourceFormat
from dataprune.sources._columns import resolve_columns

_NAMES = [str(digit) for digit in range(10)]
_FEATURES = {"image": {"_type": "Image"}, "label": {"names": _NAMES, "_type": "ClassLabel"}}
_GREY = 15


def _open(recipe: SourceRecipe) -> Source:
    if recipe.split != "train" or recipe.test_split is not None:
        raise SourceError(
            "the digits have one split, train, and none to hold out",
            hint="leave source.split and source.test_split out",
        )
    table = _table()
    columns, kind = resolve_columns(table.schema, recipe.columns, uri=recipe.uri)

    def batches(names: list[str] | None) -> Iterator[pa.RecordBatch]:
        yield from table.select(names or table.column_names).to_batches()

    return Source(
        uri=recipe.uri,
        format="digits",
        split="train",
        columns=columns,
        kind=kind,
        class_names=_NAMES,
        files=(),
        paths=(),
        schema=table.schema,
        num_rows=len(table),
        batches=batches,
    )


def _table() -> pa.Table:
    datasets = require("sklearn.datasets", extra="probe", why="the digits source")
    pillow = require("PIL.Image", extra="probe", why="the digits source")
    digits = datasets.load_digits()
    images = []
    for pixels in (digits.images * _GREY).astype("uint8"):
        buffer = io.BytesIO()
        pillow.fromarray(pixels).save(buffer, format="PNG")
        images.append({"bytes": buffer.getvalue(), "path": None})
    schema = pa.schema(
        [
            pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            pa.field("label", pa.int64()),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
    )
    return pa.table({"image": images, "label": digits.target.astype("int64")}, schema=schema)


FORMAT = SourceFormat("digits", lambda uri: uri == "digits", _open)
