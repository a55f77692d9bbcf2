"""What is kept of an image to compare it with others: 32 x 32 greys, 4 x 4 colours, a hash.

The greys are those that the 64-bit DCT hash is made of (`imagehash.phash`): Pillow's luma, resized
with Lanczos. Both the hash and the closer look of perceptual.py are computed from them, so an image
is decoded and resized once, whatever its size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import SourceError
from dataprune.core.extras import require
from dataprune.core.fingerprint import content_hashes

SIDE = 32
_COLOUR_SIDE = 4
_NO_COLOUR = bytes([128]) * (_COLOUR_SIDE * _COLOUR_SIDE * 2)
_LOW = 8  # the lowest 8 x 8 frequencies make the 64 bits
_WHY = "finding near-duplicate images"
_BLOCK = 1024  # images transformed at once: 8 MB of float64

# The lowest rows of the DCT-II, in scipy's scale: twice the cosines.
_COSINES = 2 * np.cos(
    np.pi * np.arange(_LOW)[:, None] * (2 * np.arange(SIDE)[None] + 1) / (2 * SIDE)
)

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Thumbnails:
    """One row an image: grey (n, 32, 32), colour (n, 4, 4, 2: Cb and Cr), hashes of the pixels."""

    grey: UInt8
    colour: UInt8
    hashes: npt.NDArray[np.uint64]

    def take(self, rows: npt.NDArray[np.int64]) -> Thumbnails:
        """The thumbnails of some rows, in that order."""
        return Thumbnails(self.grey[rows], self.colour[rows], self.hashes[rows])


def thumbnails_of(images: Iterable[UInt8]) -> Thumbnails:
    """Read images once, one at a time, and keep 1.1 KB of each.

    Raises:
        SourceError: an image is not uint8 (height, width, 1 or 3).
        MissingExtraError: the extra `similarity` is not installed.
    """
    image_module = require("PIL.Image", extra="similarity", why=_WHY)
    grey, colour, hashes = bytearray(), bytearray(), bytearray()
    for row, image in enumerate(images):
        _check(image, row)
        picture = image_module.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        small = picture.convert("L").resize((SIDE, SIDE), image_module.Resampling.LANCZOS)
        grey += small.tobytes()
        if image.shape[2] == 1:
            colour += _NO_COLOUR
        else:
            cells = picture.resize((_COLOUR_SIDE, _COLOUR_SIDE), image_module.Resampling.BOX)
            colour += np.asarray(cells.convert("YCbCr"))[..., 1:].tobytes()
        hashes += content_hashes(image[None]).tobytes()
    return Thumbnails(
        np.frombuffer(grey, dtype=np.uint8).reshape(-1, SIDE, SIDE),
        np.frombuffer(colour, dtype=np.uint8).reshape(-1, _COLOUR_SIDE, _COLOUR_SIDE, 2),
        np.frombuffer(hashes, dtype=np.uint64),
    )


def shifted(grey: UInt8, down: int, right: int) -> UInt8:
    """Move pictures by at most one pixel each way; edges repeat."""
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    return padded[:, 1 - down : 1 - down + SIDE, 1 - right : 1 - right + SIDE]


def low_frequencies(grey: UInt8) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float32]]:
    """The 64-bit DCT hash, and the same coefficients without the mean as unit vectors (n, 63).

    Bit k is set where coefficient k of the lowest 8 x 8 exceeds their median, row by row, as in
    `imagehash.phash`. Coefficients are rounded to 0.001 first: those that a
    symmetric picture makes zero would otherwise be told apart by rounding noise, which differs
    from machine to machine.
    """
    hashes = np.empty(len(grey), dtype=np.uint64)
    waves = np.empty((len(grey), _LOW * _LOW - 1), dtype=np.float32)
    for first in range(0, len(grey), _BLOCK):
        block = slice(first, first + _BLOCK)
        low = np.round(_COSINES @ grey[block] @ _COSINES.T, 3).reshape(-1, _LOW * _LOW)
        bits = low > np.median(low, axis=1, keepdims=True)
        hashes[block] = np.packbits(bits, axis=1, bitorder="little").view("<u8")[:, 0]
        length = np.linalg.norm(low[:, 1:], axis=1, keepdims=True)
        waves[block] = low[:, 1:] / np.maximum(length, 1.0)
    return hashes, waves


def _check(image: Any, row: int) -> None:
    shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", None)
    if (
        dtype != np.uint8
        or shape is None
        or len(shape) != 3
        or shape[2] not in {1, 3}
        or 0 in shape
    ):
        what = f"{dtype} of shape {shape}" if shape is not None else type(image).__name__
        raise SourceError(
            f"image {row} is {what}, not uint8 pixels (height, width, 1 or 3)",
            hint="decode it to grey or RGB first",
        )
