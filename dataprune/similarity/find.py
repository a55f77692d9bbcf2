"""Examples -> groups: which rows are the same thing, by every means asked for, merged into one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.disk_array import Array, pieces
from dataprune.core.errors import UsageError
from dataprune.core.fingerprint import UInt64
from dataprune.core.params import check_params
from dataprune.similarity.content import content_groups
from dataprune.similarity.groups import groups_of_column, merge_groups

_MID_GREY = np.float32(128)


def group_rows(
    hashes: UInt64,
    *,
    kind: Literal["image", "features", "text"],
    images: Array | None,
    texts: pa.ChunkedArray | None,
    own: pa.ChunkedArray | None,
    near: bool,
    params: Mapping[str, Any],
) -> npt.NDArray[np.int64]:
    """The smallest row of each row's group, int64 (n,): a row alone is its own.

    Exact copies, by content hash, are always one group; so are rows with the same value of `own`,
    the user's group column. `near` adds near-duplicates: images by perceptual hash, texts by
    MinHash.

    Raises:
        UsageError: near-duplicates of features, for which there is no method, or an unknown
            parameter of the method.
    """
    found = [content_groups(hashes)]
    if own is not None:
        found.append(groups_of_column(own))
    if near:
        found.append(_near(kind, images, texts, params))
    return merge_groups(*found)


def _near(
    kind: str, images: Array | None, texts: pa.ChunkedArray | None, params: Mapping[str, Any]
) -> npt.NDArray[np.int64]:
    if kind == "text":
        from dataprune.similarity.minhash import minhash_groups

        assert texts is not None
        check_params(minhash_groups, params, what="near-duplicate search by MinHash")
        return minhash_groups(texts.to_pylist(), **params)
    if kind == "image":
        from dataprune.similarity.perceptual import perceptual_groups

        assert images is not None
        check_params(perceptual_groups, params, what="near-duplicate search by perceptual hash")
        return perceptual_groups(_each(images), **params)
    raise UsageError(
        "near-duplicates are sought among images and texts, and the input is features",
        hint="set source.groups.near to false; exact copies are grouped anyway",
    )


def _each(images: Array) -> Iterator[npt.NDArray[np.uint8]]:
    """Images one by one, what is seen through laid over mid-grey: a shape may be in alpha alone."""
    for _, piece in pieces(images):
        if piece.shape[-1] in {1, 3}:
            yield from piece
            continue
        colours, alpha = piece[..., :-1].astype(np.float32), piece[..., -1:] / np.float32(255)
        yield from np.rint(colours * alpha + _MID_GREY * (1 - alpha)).astype(np.uint8)
