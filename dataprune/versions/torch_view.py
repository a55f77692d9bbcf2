"""A version as a map-style torch dataset: the one place here that imports torch."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import Dataset

from dataprune.core.extras import require


class VersionDataset(Dataset[dict[str, Any]]):
    """Rows as dicts: images uint8 tensors (channels, height, width), lists tensors, rest as is."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table.combine_chunks()
        self.images = {f.name for f in table.schema if _is_image(f.type)}

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} of a version with {len(self)} rows")
        row = self.table.slice(index % len(self), 1).to_pylist()[0]
        return {name: self._value(name, value) for name, value in row.items()}

    def _value(self, name: str, value: Any) -> Any:
        if name in self.images:
            data = value["bytes"] if isinstance(value, dict) else value
            image = require("PIL.Image", extra="probe", why="decoding images")
            pixels = np.asarray(image.open(io.BytesIO(data)))
            pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
            return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
        is_numbers = isinstance(value, list) and value and isinstance(value[0], int | float)
        return torch.tensor(value) if is_numbers else value


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind))
