"""Loopback Hubs and their warm clients: started once, made new for each test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.hub.server import LoopbackHub
from tests.hub.warm_client import WarmClient

MODES: dict[str, dict[str, int | bool]] = {
    "lfs": {},
    "cdn": {"cdn": True, "page_size": 2, "multipart_bytes": 1 << 20},
    "xet": {"xet": True},
}


@dataclass(frozen=True)
class Served:
    """A Hub and a client of it."""

    hub: LoopbackHub
    client: WarmClient


def serve(mode: str, factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A Hub of one mode and a client, for as long as the generator lives."""
    folder = factory.mktemp(f"hub-{mode}")
    with (
        LoopbackHub(folder / "hub", **MODES[mode]) as hub,  # type: ignore[arg-type]
        WarmClient(hub, folder / "client", imports=["tests.hub.actions"]) as client,
    ):
        yield Served(hub, client)


def renewed(served: Served) -> Iterator[Served]:
    """The same Hub emptied; a defect of the server fails the test that met it."""
    served.hub.reset()
    yield served
    assert not served.hub.crashes, served.hub.crashes[0]


@pytest.fixture(scope="session")
def lfs_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The Hub that takes large files by LFS, for the whole session."""
    yield from serve("lfs", tmp_path_factory)


@pytest.fixture(
    scope="session",
    params=["lfs", *(pytest.param(m, marks=pytest.mark.slow) for m in MODES if m != "lfs")],
)
def any_session(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A Hub of each mode, started once for all tests of the mode."""
    if request.param == "lfs":
        yield request.getfixturevalue("lfs_session")
    else:
        yield from serve(request.param, tmp_path_factory)


@pytest.fixture
def hub(lfs_session: Served) -> Iterator[LoopbackHub]:
    """An empty Hub that takes large files by LFS."""
    for served in renewed(lfs_session):
        yield served.hub


@pytest.fixture
def client(lfs_session: Served, hub: LoopbackHub) -> WarmClient:
    """A warm client of `hub`."""
    return lfs_session.client


@pytest.fixture
def served(any_session: Served) -> Iterator[Served]:
    """An empty Hub of each mode, and its client."""
    yield from renewed(any_session)
