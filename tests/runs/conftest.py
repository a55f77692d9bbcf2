"""A work folder behind a URL: the object store that the tests of runs share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs.object_store import ObjectStore, running_store


@pytest.fixture(scope="session")
def running_object_store() -> Iterator[ObjectStore]:
    """A store on the loopback interface."""
    with running_store() as running:
        yield running


@pytest.fixture
def bucket(
    running_object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ObjectStore]:
    """The store, empty, this process's client pointed at it, and a fresh folder for mirrors."""
    store = running_object_store
    for key, value in store.environment.items():
        monkeypatch.setenv(key, value)
    store.objects.clear()
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    yield store
    store.refusing.clear()
