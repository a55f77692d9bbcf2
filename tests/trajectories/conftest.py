"""What several tests of trajectories share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trajectories.runs import ROWS, write


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A file of good and bad runs."""
    return write(tmp_path / "runs.jsonl", ROWS)
