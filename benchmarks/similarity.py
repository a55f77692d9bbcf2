"""Near-duplicates of 20,000 made pictures and texts: rows a second, and against library loops.

The bar: pictures at 2,000 a second; the hash alone faster than one `imagehash.phash` call each,
with the same bits; texts grouped faster than a `datasketch.MinHashLSH` is filled and asked.
"""

import importlib.metadata
import time
from collections.abc import Callable
from typing import Any

import datasketch
import imagehash
import numpy as np
from PIL import Image

from benchmarks.machine import describe
from dataprune.similarity.minhash import minhash_groups
from dataprune.similarity.perceptual import perceptual_groups
from dataprune.similarity.shingles import normalise
from dataprune.similarity.thumbnails import low_frequencies, thumbnails_of

ROWS, COPIES = 20_000, 1_000


def run() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    pictures, texts = _pictures(rng), _texts(rng)
    ours, hashes = _timed(lambda: low_frequencies(thumbnails_of(pictures).grey)[0])
    theirs, reference = _timed(lambda: [imagehash.phash(Image.fromarray(p)) for p in pictures])
    bits = [sum(1 << k for k in np.flatnonzero(h.hash.ravel()).tolist()) for h in reference]
    image_s, image_groups = _timed(lambda: perceptual_groups(pictures))
    text_s, text_groups = _timed(lambda: minhash_groups(texts))
    loop_s, _ = _timed(lambda: _lsh_loop(texts))
    return {
        "rows": [
            _row("hash, ours", ours, equal_to_imagehash=bits == hashes.tolist()),
            _row("hash, imagehash one by one", theirs),
            _row("picture groups", image_s, copies_found=_found(image_groups)),
            _row("text groups", text_s, copies_found=_found(text_groups)),
            _row("texts, datasketch LSH one by one", loop_s),
        ],
        **describe(
            rows_each=ROWS,
            libraries={p: importlib.metadata.version(p) for p in ("imagehash", "datasketch")},
        ),
    }


def _row(
    what: str, seconds: float, *, equal_to_imagehash: Any = "", copies_found: Any = ""
) -> dict[str, Any]:
    return {
        "what": what,
        "rows/s": round(ROWS / seconds),
        "equal to imagehash": equal_to_imagehash,
        "edited copies found": copies_found,
    }


def _found(groups: np.ndarray) -> str:
    """Of the copies at the end, how many are with their original, the row as far from the start."""
    found = groups[-COPIES:] == np.arange(COPIES)
    return f"{found.sum()} of {COPIES}"


def _pictures(rng: np.random.Generator) -> np.ndarray:
    """Noise of two scales; the last are the first, noisier."""
    coarse = (
        rng.integers(0, 256, (ROWS, 8, 8, 3), dtype=np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    )
    fine = rng.integers(0, 64, coarse.shape, dtype=np.uint8)
    pictures = (coarse * 0.75).astype(np.uint8) + fine
    noise = rng.integers(-4, 5, pictures[:COPIES].shape)
    pictures[-COPIES:] = np.clip(pictures[:COPIES] + noise, 0, 255)
    return pictures


def _texts(rng: np.random.Generator) -> list[str]:
    """Twelve random words; the last are the first with one letter more."""
    letters = list("abcdefghijklmnopqrst")
    words = ["".join(rng.choice(letters, rng.integers(3, 9))) for _ in range(5000)]
    texts = [" ".join(rng.choice(words, 12)) for _ in range(ROWS)]
    texts[-COPIES:] = [text + "s" for text in texts[:COPIES]]
    return texts


def _lsh_loop(texts: list[str]) -> list[list[int]]:
    lsh = datasketch.MinHashLSH(threshold=0.8, num_perm=128)
    found = []
    for row, text in enumerate(texts):
        padded = f" {normalise(text)} "
        sketch = datasketch.MinHash(num_perm=128)
        sketch.update_batch([padded[k : k + 5].encode() for k in range(len(padded) - 4)])
        found.append(lsh.query(sketch))
        lsh.insert(row, sketch)
    return found


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result
