"""Groups of a source's examples: what is asked for, merged; alpha counts as part of a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataprune.core.errors import UsageError
from dataprune.similarity.find import group_rows

NOTHING: dict[str, Any] = {"images": None, "texts": None, "own": None, "near": False, "params": {}}


def test_exact_copies_and_the_users_own_groups_are_merged() -> None:
    hashes = np.array([5, 6, 5, 7, 8], dtype=np.uint64)
    assert group_rows(hashes, kind="features", **NOTHING).tolist() == [0, 1, 0, 3, 4]
    own = pa.chunked_array([["a", "b", "c", "b", None]])
    found = group_rows(hashes, kind="features", **{**NOTHING, "own": own})
    assert found.tolist() == [0, 1, 0, 1, 4]


def test_pictures_that_differ_in_alpha_alone_are_not_one_group() -> None:
    rng = np.random.default_rng(0)
    icons = np.zeros((12, 32, 32, 4), dtype=np.uint8)
    icons[..., :3] = 40
    icons[..., 3] = np.kron(rng.integers(0, 2, (12, 8, 8)) * 255, np.ones((4, 4)))
    found = group_rows(
        np.arange(12, dtype=np.uint64), kind="image", **{**NOTHING, "images": icons, "near": True}
    )
    assert found.tolist() == list(range(12))
    copied = np.concatenate([icons, icons[:2]])
    again = group_rows(
        np.arange(14, dtype=np.uint64), kind="image", **{**NOTHING, "images": copied, "near": True}
    )
    assert again.tolist() == [*range(12), 0, 1]


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        ("features", {}, "near-duplicates are sought among images and texts"),
        ("text", {"treshold": 0.9}, "no parameter treshold"),
    ],
)
def test_what_cannot_be_sought_is_refused(kind: Any, params: dict[str, Any], message: str) -> None:
    texts = pa.chunked_array([["a", "b"]])
    with pytest.raises(UsageError, match=message):
        group_rows(
            np.arange(2, dtype=np.uint64),
            kind=kind,
            **{**NOTHING, "texts": texts, "near": True, "params": params},
        )
