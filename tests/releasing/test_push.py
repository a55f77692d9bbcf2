"""On the Hub: tagged versions are sent if asked for, candidates never; its commit is a pin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.hub.conftest import Served, renewed
from tests.publishing.conftest import act, serve
from tests.releasing.conftest import Release

pytestmark = pytest.mark.slow

REPO = "acme/grown"


@pytest.fixture(scope="module")
def served_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A Hub and a client for this module."""
    yield from serve("lfs", tmp_path_factory)


@pytest.fixture
def served(served_once: Served) -> Iterator[Served]:
    """An empty Hub, and a client that may write to it."""
    for fresh in renewed(served_once):
        act(fresh.client, "forget")
        act(fresh.client, "set_token", token=fresh.hub.token)
        fresh.hub.requests.clear()
        yield fresh


def run(served: Served, release: Release, *options: str, code: int = 0) -> dict[str, Any]:
    """`dataprune run` in the client's process; what it prints."""
    recipe = release.source.with_name("recipe.yaml")
    recipe.write_text(yaml.safe_dump(release.recipe))
    line = ["run", str(recipe), "--work", str(release.work), "--store", str(release.folder)]
    done = act(
        served.client, "command", line=[*line, "--json", *options],
        folder=str(release.source.parent),
    )  # fmt: skip
    assert done["code"] == code, done["err"]
    told: dict[str, Any] = json.loads(done["out"])
    return told


def sent(served: Served) -> list[str]:
    """Requests that write, since the last look."""
    found = [r.method for r in served.hub.requests if r.method in {"POST", "PUT", "DELETE"}]
    served.hub.requests.clear()
    return found


def test_nothing_is_sent_unasked_and_what_is_asked_for_is_sent_once(
    served: Served, quick: Release, rows: pa.Table
) -> None:
    quick.recipe["publish"] = {"to": REPO}
    assert run(served, quick)["pushed"] is None
    assert served.hub.requests == []

    told = run(served, quick, "--push")  # unchanged, and not sent yet
    tag = told["tag"]
    assert (told["unchanged"], told["pushed"]) == (True, REPO)
    assert set(served.hub.tags(REPO)) == {tag, f"{tag}-control"}
    assert sent(served)
    assert run(served, quick, "--push")["unchanged"]
    assert sent(served) == []

    quick.section["push"] = True
    quick.write(rows)
    second = run(served, quick)
    assert [made["tag"] for made in second["published"]] == [
        f"{second['tag']}-control", second["tag"],
    ]  # fmt: skip
    assert {tag, second["tag"]} < set(served.hub.tags(REPO))


def test_a_candidate_is_not_sent_before_it_is_accepted(served: Served, quick: Release) -> None:
    quick.section["gates"]["class_floor"] = 0.9
    for _ in range(2):
        told = run(served, quick, "--push", REPO, code=3)
        assert (told["status"], told["pushed"]) == ("candidate", None)
    assert sent(served) == []
    told = run(served, quick, "--push", REPO, "--accept")
    assert told["tag"] in served.hub.tags(REPO)


def test_the_number_of_a_tag_is_free_on_the_hub_too(
    served: Served, quick: Release, rows: pa.Table, tmp_path: Path
) -> None:
    assert run(served, quick, "--push", REPO)["tag"] == "v1-random-keep0.5"
    elsewhere = Release(tmp_path / "elsewhere")
    elsewhere.source.parent.mkdir()
    elsewhere.without_probes()
    elsewhere.write(rows)
    assert run(served, elsewhere, "--push", REPO)["tag"] == "v2-random-keep0.5"


def test_a_dataset_on_the_hub_is_read_again_when_its_commit_changes(
    served: Served, quick: Release, rows: pa.Table, tmp_path: Path
) -> None:
    def upload(table: pa.Table) -> None:
        folder = tmp_path / "upload"
        folder.mkdir(exist_ok=True)
        pq.write_table(table, folder / "train.parquet")
        served.client.call("tests.sources.hub_actions:upload", repo="acme/source",
                           folder=str(folder))  # fmt: skip

    upload(rows.slice(0, 100))
    quick.recipe["source"]["uri"] = "hf://datasets/acme/source"
    assert run(served, quick)["rows_in"] == 100
    served.hub.requests.clear()
    assert run(served, quick)["unchanged"]
    assert [r.method for r in served.hub.requests] == ["GET"]
    upload(rows)
    told = run(served, quick)
    assert (told["unchanged"], told["rows_in"], told["tag"]) == (False, 160, "v2-random-keep0.5")
