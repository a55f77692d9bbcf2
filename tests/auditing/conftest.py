"""Flags to audit, and a browser to do it in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.auditing.chromium import CHROMIUM, Browser
from tests.auditing.example_flags import example_flags


@pytest.fixture
def make_flags(tmp_path: Path) -> Any:
    """Write made-up FLAGS.parquet, or a file of another name."""

    def make(n: int = 900, *, name: str = "FLAGS.parquet", **wanted: Any) -> Path:
        return example_flags(tmp_path / name, n, **wanted)

    return make


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A headless Chromium with a profile of its own; the test is skipped where there is none."""
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium")
    made = Browser(tmp_path, program)
    yield made
    made.close()
