"""Loopback Hubs for the tests of sources, emptied for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.conftest import MODES, Served, renewed, serve
from tests.sources.hub_desk import ACTIONS, Desk


@pytest.fixture(scope="module")
def lfs_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A Hub and a client for this module; xet is off."""
    for served in serve("lfs", tmp_path_factory):
        served.client.call(f"{ACTIONS}:use_home", folder=str(tmp_path_factory.mktemp("home")))
        yield served


def _emptied(served: Served, folder: Path) -> Iterator[Desk]:
    for fresh in renewed(served):
        made = Desk(fresh.hub, fresh.client, folder)
        made.forget()
        yield made


@pytest.fixture
def desk(lfs_served: Served, tmp_path: Path) -> Iterator[Desk]:
    """An empty Hub and a client that has nothing of it."""
    yield from _emptied(lfs_served, tmp_path)


@pytest.fixture(
    scope="module",
    params=["lfs", *(pytest.param(m, marks=pytest.mark.slow) for m in MODES if m != "lfs")],
)
def mode(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A Hub of each mode."""
    if request.param == "lfs":
        yield request.getfixturevalue("lfs_served")
    else:
        yield from serve(request.param, tmp_path_factory)


@pytest.fixture
def each(mode: Served, tmp_path: Path) -> Iterator[Desk]:
    """An empty Hub of each mode, and a client that has nothing of it."""
    yield from _emptied(mode, tmp_path)
