"""Encoded images as a column: what tells one by its first bytes, its type, how many a batch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
IMAGE_FEATURE = {"_type": "Image"}
HEAD_BYTES = 12
BATCH_BYTES = 32 << 20
BATCH_ROWS = 1024


def is_image(head: bytes) -> bool:
    """Whether a file's first bytes are those of a PNG, JPEG or WebP."""
    if head.startswith(b"RIFF"):
        return head[8:HEAD_BYTES] == b"WEBP"
    return head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))


def features_metadata(features: dict[str, Any]) -> dict[str, str]:
    """Schema metadata that names Hugging Face features, as `datasets` writes it."""
    return {"huggingface": json.dumps({"info": {"features": features}})}


def in_batches(rows: Iterable[tuple[int, Any]]) -> Iterator[list[Any]]:
    """Group rows, given with their sizes in bytes, into batches of bounded rows and bytes."""
    batch: list[Any] = []
    num_bytes = 0
    for size, row in rows:
        batch.append(row)
        num_bytes += size
        if len(batch) == BATCH_ROWS or num_bytes >= BATCH_BYTES:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch
