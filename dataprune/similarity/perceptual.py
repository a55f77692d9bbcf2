"""Images that show the same picture: re-encoded, shifted a little, brighter or darker.

Candidates are pairs whose 64-bit DCT hashes (`imagehash.phash`) differ in few bits, also when one
is moved by one pixel of its 32 x 32 thumbnail. Every candidate is then compared on pixels, because
photographs of one kind of thing share a hash without being the same photograph.

The defaults are set on Fashion-MNIST and CIFAR-10 by looking at the pairs, so that two products of
the same cut stay apart. Photographs bear more: in CIFAR-10, `max_distance=6, max_difference=60,
min_correlation=0.7` finds crops and stronger edits too, and next to nothing else.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import UsageError
from dataprune.similarity.content import content_groups
from dataprune.similarity.groups import join, singletons
from dataprune.similarity.pairs import pairs_within
from dataprune.similarity.thumbnails import Thumbnails, low_frequencies, shifted, thumbnails_of

Rows = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# All nine, though each pair is met from both sides: a moved picture lacks an edge, so that only the
# whole one, moved, becomes the one that was moved before.
_MOVES = tuple(itertools.product((0, -1, 1), repeat=2))
_MAX_BITS = 10  # beyond it, bands of six bits and fewer compare nearly all pairs
_BORDER = 2  # pixels left out all round: moved pictures lack their edge
_MIN_CONTRAST = 4.0  # grey levels: a flatter picture has nothing to be recognised by
_COARSE_SHARE = 0.2  # low frequencies may lack this share of what gradients may lack of 1
_MAX_GAIN = 1.35  # one may have at most so many times the other's contrast
_MAX_SHIFT = np.float32(0.6)  # pixels of the thumbnail; a whole one is a move
_MAX_COLOUR = (
    16  # levels of Cb or Cr in any of 4 x 4 cells; re-encoded and moved copies stay below 11
)
_PIECE = 4096  # pairs compared at once: some 150 MB of float32


def perceptual_groups(
    images: Iterable[npt.NDArray[np.uint8]],
    *,
    max_distance: int = 4,
    max_difference: float = 14.0,
    min_correlation: float = 0.9,
) -> Rows:
    """Group images that show the same picture.

    images: uint8 (n, H, W, C), or any n arrays uint8 (H, W, C) of any sizes, C being 1 or 3; read
        once, about 4 KB of memory for each.
    max_distance: bits out of 64 in which the hashes of a pair may differ.
    max_difference: grey levels (of 255) by which the means of any 3 x 3 pixels of the thumbnails
        may differ, brightness and contrast equalised.
    min_correlation: of the gradients of the thumbnails, at least; their low frequencies must
        correlate by 1 - 0.2 * (1 - min_correlation).

    Returns:
        int64 (n,), the smallest row position of each row's group. Flat pictures (no contrast) are
        grouped with exact copies only.

    Raises:
        UsageError: an option is out of range.
        SourceError: an image is not uint8 (H, W, 1 or 3).
        MissingExtraError: the extra `similarity` is not installed.
    """
    _check_options(max_distance, max_difference, min_correlation)
    thumbnails = thumbnails_of(images)
    copies = content_groups(thumbnails.hashes)
    rows = np.flatnonzero((copies == singletons(len(copies))) & _textured(thumbnails))
    distinct = thumbnails.take(rows)
    groups = singletons(len(rows))
    min_coarse = 1 - _COARSE_SHARE * (1 - min_correlation)
    hashes, waves = low_frequencies(distinct.grey)
    for move in _MOVES:
        moved = distinct.grey if move == (0, 0) else shifted(distinct.grey, *move)
        moved_hashes, moved_waves = low_frequencies(moved)
        for i, j in pairs_within(moved_hashes, hashes, max_distance):
            for first in range(0, len(i), _PIECE):
                a, b = i[first : first + _PIECE], j[first : first + _PIECE]
                apart = groups[a] != groups[b]
                a, b = a[apart], b[apart]
                if not len(a):  # many frames of one scene are joined by the first few pairs
                    continue
                near = np.einsum("nk,nk->n", moved_waves[a], waves[b]) >= min_coarse
                near &= _same_colours(distinct, a, b)
                a, b = a[near], b[near]
                same = _same_picture(moved[a], distinct.grey[b], max_difference, min_correlation)
                groups = join(groups, a[same], b[same])
    return join(copies, rows, rows[groups])


def _check_options(max_distance: object, max_difference: object, min_correlation: object) -> None:
    if type(max_distance) is not int or not 0 <= max_distance <= _MAX_BITS:
        raise UsageError(
            f"max_distance is {max_distance!r}",
            hint=f"give a whole number of bits, from 0 to {_MAX_BITS}",
        )
    if not isinstance(max_difference, int | float) or not 0 < max_difference <= 255:
        raise UsageError(
            f"max_difference is {max_difference!r}", hint="give grey levels above 0, up to 255"
        )
    if not isinstance(min_correlation, int | float) or not 0 < min_correlation <= 1:
        raise UsageError(
            f"min_correlation is {min_correlation!r}", hint="give a number above 0, up to 1"
        )


def _textured(thumbnails: Thumbnails) -> Bools:
    """Whether a picture has contrast enough to be recognised."""
    contrast = [
        thumbnails.grey[first : first + _PIECE].std(axis=(1, 2), dtype=np.float64)
        for first in range(0, len(thumbnails.grey), _PIECE)
    ]
    return np.concatenate([np.empty(0), *contrast]) >= _MIN_CONTRAST


def _same_colours(thumbnails: Thumbnails, a: Rows, b: Rows) -> Bools:
    one, other = (thumbnails.colour[rows].astype(np.int16) for rows in (a, b))
    furthest: Bools = np.abs(one - other).max(axis=(1, 2, 3), initial=0) <= _MAX_COLOUR
    return furthest


def _same_picture(
    one: npt.NDArray[np.uint8],
    other: npt.NDArray[np.uint8],
    max_difference: float,
    min_correlation: float,
) -> Bools:
    """Whether pairs of grey thumbnails (k, 32, 32) agree everywhere, up to brightness and contrast.

    The largest difference decides, not the mean: a printed chest differs in a few pixels only.
    The correlation of gradients keeps pictures of little contrast from agreeing for that alone.
    """
    a, contrast_a = _standardised(one)
    b, contrast_b = _standardised(other)
    gain = np.maximum(contrast_a, contrast_b) / np.minimum(contrast_a, contrast_b)
    a, b = _aligned(a, b)
    common = np.sqrt(contrast_a * contrast_b)
    difference = common * np.abs(_means_of_nine(a - b)).max(axis=(1, 2), initial=0)
    same: Bools = (
        (gain <= _MAX_GAIN)
        & (difference <= max_difference)
        & (_gradient_correlation(a, b) >= min_correlation)
    )
    return same


def _standardised(grey: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """The inner pixels at mean 0 and deviation 1, and the deviation they had (k,)."""
    inner = grey[:, _BORDER:-_BORDER, _BORDER:-_BORDER].astype(np.float32)
    inner -= inner.mean(axis=(1, 2), keepdims=True)
    contrast = np.maximum(inner.std(axis=(1, 2)), np.float32(1e-3))
    return inner / contrast[:, None, None], contrast


def _aligned(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Take out of a what a shift by part of a pixel explains; both lose a pixel all round.

    One pixel of a large image is part of a pixel of its thumbnail. The shift is the least-squares
    one of Lucas and Kanade (1981), with the gradients of both pictures' mean, so that a pair is
    treated alike from either side.
    """
    quarter = np.float32(0.25)  # of a mean of two pictures, over a distance of two pixels
    down, right = (quarter * _central_difference(a + b, axis) for axis in (1, 2))
    a, b = a[:, 1:-1, 1:-1], b[:, 1:-1, 1:-1]
    dd, rr, dr = (_dot(x, y) for x, y in ((down, down), (right, right), (down, right)))
    to_d, to_r = _dot(a - b, down), _dot(a - b, right)
    scale = np.maximum(dd * rr - dr * dr, np.float32(1e-3))
    by_d = np.clip((to_d * rr - to_r * dr) / scale, -_MAX_SHIFT, _MAX_SHIFT)
    by_r = np.clip((to_r * dd - to_d * dr) / scale, -_MAX_SHIFT, _MAX_SHIFT)
    aligned: Floats = a - by_d[:, None, None] * down - by_r[:, None, None] * right
    return aligned, b


def _dot(x: Floats, y: Floats) -> Floats:
    x, y = x.reshape(len(x), math.prod(x.shape[1:])), y.reshape(len(y), math.prod(y.shape[1:]))
    product: Floats = np.einsum("nk,nk->n", x, y)
    return product


def _means_of_nine(values: Floats) -> Floats:
    """Means over each 3 x 3 pixels."""
    rows = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
    means: Floats = (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / np.float32(9)
    return means


def _gradient_correlation(a: Floats, b: Floats) -> Floats:
    """Cosine between the central differences of pairs of pictures, down and right together."""
    slopes_a, slopes_b = (
        np.stack([_central_difference(picture, axis) for axis in (1, 2)], axis=1)
        for picture in (a, b)
    )
    ab, aa, bb = _dot(slopes_a, slopes_b), _dot(slopes_a, slopes_a), _dot(slopes_b, slopes_b)
    cosine: Floats = ab / np.maximum(np.sqrt(aa * bb), np.float32(1e-6))
    return cosine


def _central_difference(values: Floats, axis: int) -> Floats:
    if axis == 1:
        return values[:, 2:, 1:-1] - values[:, :-2, 1:-1]
    return values[:, 1:-1, 2:] - values[:, 1:-1, :-2]
