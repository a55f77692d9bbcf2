"""A version as a map-style torch dataset: the one place here that imports torch."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import Dataset

from dataprune.core.extras import require
from dataprune.core.recipe import Images
from dataprune.sources._inputs import fitted


class VersionDataset(Dataset[dict[str, Any]]):
    """Rows as dicts: images uint8 tensors (channels, height, width), lists tensors, rest as is.

    policy: how the scored input's images are resized and converted; default: as stored.

    Images are the scored input, if it is one, and every struct with a field `bytes`; one that is
    missing is None.
    """

    def __init__(self, table: pa.Table, *, image: str | None, policy: Images | None = None) -> None:
        self.policy = policy or Images()
        self.image = image
        self.table = table  # not combined: 2 GiB of bytes would not fit one chunk
        self.images = {f.name for f in table.schema if _has_bytes(f.type)}
        if image is not None:
            self.images.add(image)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} of a version with {len(self)} rows")
        row = self.table.slice(index % len(self), 1).to_pylist()[0]
        return {
            name: _pixels(value, self.policy if name == self.image else Images())
            if name in self.images
            else _plain(value)
            for name, value in row.items()
        }


def _has_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _pixels(value: Any, policy: Images) -> torch.Tensor | None:
    data = value["bytes"] if isinstance(value, dict) else value
    if data is None:
        return None
    pillow = require("PIL.Image", extra="probe", why="decoding images")
    pixels = np.asarray(fitted(pillow.open(io.BytesIO(data)), policy))
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def _plain(value: Any) -> Any:
    is_numbers = isinstance(value, list) and value and isinstance(value[0], int | float)
    return torch.tensor(value) if is_numbers else value
