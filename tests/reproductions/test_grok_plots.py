"""The pictures are drawn, where matplotlib is there to draw them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataprune.reproductions.grok_plots import draw_pictures


def test_every_picture_is_a_whole_png(small_result: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    paths = draw_pictures(small_result, tmp_path)
    assert [path.name for path in paths] == [
        "accuracy.png", "ipr.png", "pruning.png", "el2n_timing.png",
    ]  # fmt: skip
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
