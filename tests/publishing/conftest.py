"""Versions to publish, built once, and the loopback Hub's fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dataprune import flow
from dataprune.core.recipe import parse_recipe
from tests.hub.conftest import MODES, Served, renewed
from tests.hub.server import LoopbackHub
from tests.hub.warm_client import ClientError, WarmClient
from tests.publishing.cards import build, pictures
from tests.versions.conftest import animals

REPO = "acme/animals"


@dataclass(frozen=True)
class Built:
    """A store of small versions.

    v1, v2: 30 and 24 of 60 images; v3: a view of the digits; v4: v1's rows, best first.
    v1-control: random, beside v1.
    """

    store: Path
    scores: Path

    def version(self, tag: str) -> Any:
        """A version as it lies in the store."""
        name = "digits" if tag == "v3" else "animals"
        return flow.load(name, tag, store=self.store)

    def files(self, tag: str) -> dict[str, Path]:
        """Files that a version's manifest names."""
        version = self.version(tag)
        manifest = version.manifest
        data = [f.path for s in manifest.result.splits.values() for f in s.files]
        named = [*data, manifest.decisions.path, manifest.scores.file.path]
        return {path: version.folder / path for path in named}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The store; no probe is trained for it."""
    folder = tmp_path_factory.mktemp("built")
    pq.write_table(animals(), folder / "animals.parquet")
    scores = {}
    for name, uri in (("animals", str(folder / "animals.parquet")), ("digits", "digits")):
        recipe: dict[str, Any] = {
            "name": name,
            "source": {"uri": uri, "columns": {"key": "key"} if name == "animals" else {}},
            "scores": {"names": ["random"]},
            "seeds": 1,
        }
        scored = flow.score(
            parse_recipe(recipe, where="tests"),
            work=folder / f"{name}-work",
            out=folder / f"{name}.scores.parquet",
        )
        scores[name] = scored.path
    store = folder / "store"
    base: dict[str, Any] = {"by": "random", "store": store}
    flow.prune(scores["animals"], name="animals", tag="v1", keep=30, control=True, **base)
    flow.prune(scores["animals"], name="animals", tag="v2", keep=24, **base)
    flow.prune(scores["digits"], name="digits", tag="v3", keep=0.5, view=True, **base)
    flow.prune(scores["animals"], name="animals", tag="v4", keep=30, order="score", **base)
    return Built(store, scores["animals"])


def serve(mode: str, factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A Hub of one mode and a client that has dataprune imported."""
    folder = factory.mktemp(f"hub-{mode}")
    with (
        LoopbackHub(folder / "hub", **MODES[mode]) as hub,  # type: ignore[arg-type]
        WarmClient(hub, folder / "client", imports=["tests.publishing.actions"]) as client,
    ):
        yield Served(hub, client)


@pytest.fixture(scope="session")
def lfs_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One Hub in LFS mode for the session."""
    yield from serve("lfs", tmp_path_factory)


@pytest.fixture(scope="session")
def xet_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One Hub in xet mode for the session."""
    yield from serve("xet", tmp_path_factory)


@pytest.fixture
def hub(lfs_served: Served) -> Iterator[LoopbackHub]:
    """An empty Hub, and a client that has seen nothing of it."""
    for served in renewed(lfs_served):
        act(served.client, "forget")
        act(served.client, "set_token", token=served.hub.token)
        act(served.client, "set_offline", on=False)
        served.hub.requests.clear()
        yield served.hub


@pytest.fixture
def client(lfs_served: Served, hub: LoopbackHub) -> WarmClient:
    """A client of `hub`."""
    return lfs_served.client


@pytest.fixture(params=["lfs", pytest.param("xet", marks=pytest.mark.slow)])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """An empty Hub of each mode."""
    for served in renewed(request.getfixturevalue(f"{request.param}_served")):
        act(served.client, "forget")
        yield served


def act(client: WarmClient, action: str, **kwargs: Any) -> Any:
    """Run an action in the client's process."""
    return client.call(f"tests.publishing.actions:{action}", **kwargs)


def refused(client: WarmClient, action: str, **kwargs: Any) -> ClientError:
    """The error that an action ends with; never a defect."""
    with pytest.raises(ClientError) as caught:
        act(client, action, **kwargs)
    assert "DatapruneError" in caught.value.kinds, caught.value.trace
    assert "hf_" not in caught.value.message.replace("hf_***", "").replace("hf_xet", "")
    return caught.value


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `two_published` made the first time."""
    return {"folder": tmp_path_factory.mktemp("two")}


@pytest.fixture
def two_published(hub: LoopbackHub, publish: Publish, shelf: dict[str, Any]) -> dict[str, str]:
    """v1 and v2 on the Hub, and their commits; published once, then put back."""
    if "repos" in shelf:
        hub.restore(shelf["repos"], shelf["folder"])
    else:
        shelf["commits"] = {tag: publish(tag)["commit"] for tag in ("v1", "v2")}
        shelf["repos"] = hub.snapshot(shelf["folder"])
    hub.requests.clear()
    commits: dict[str, str] = shelf["commits"]
    return commits


Publish = Callable[..., dict[str, Any]]


@pytest.fixture
def publish(client: WarmClient, built: Built) -> Publish:
    """Publish a version of the store to `REPO`."""

    def call(tag: str, repo: str = REPO, **options: Any) -> dict[str, Any]:
        name = "digits" if tag == "v3" else "animals"
        made: dict[str, Any] = act(
            client, "publish", store=str(built.store), name=name, tag=tag, repo=repo, **options
        )
        return made

    return call


@pytest.fixture
def other(client: WarmClient, hub: LoopbackHub, built: Built, tmp_path: Path) -> dict[str, str]:
    """Another v1 of the same name, of ten rows."""
    store = str(tmp_path / "other")
    act(client, "prune", scores=str(built.scores), name="animals", tag="v1", keep=10, store=store)
    return {"store": store, "name": "animals", "tag": "v1", "repo": REPO}


def args(built: Built, tag: str = "v1", repo: str = REPO) -> dict[str, str]:
    """What publishes a version of the store."""
    return {"store": str(built.store), "name": "animals", "tag": tag, "repo": repo}


def tag_ref(hub: LoopbackHub, tag: str, commit: str | None) -> None:
    """Set or delete a tag behind the Hub's back."""
    how = ["-d", f"refs/tags/{tag}"] if commit is None else [f"refs/tags/{tag}", commit]
    hub.repo(REPO).git.git("update-ref", *how)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A materialized version of 15 of 30 images."""
    return build(tmp_path, pictures(), {})


@pytest.fixture
def cache(tmp_path: Path) -> dict[str, str]:
    return {"cache_dir": str(tmp_path / "cache")}
