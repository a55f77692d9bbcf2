"""The Hub as a source: what a uri names, what travels, what is proven, and what is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataprune.core.errors import UsageError
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import open_source
from dataprune.sources._formats import format_of
from dataprune.sources._hub_layout import Address, parse_address
from dataprune.sources._load import load
from tests.conftest import REPO, blobs
from tests.hub.asking import run as run_action
from tests.hub.conftest import MODES, Served, renewed, serve
from tests.hub.server import Exchange, LoopbackHub
from tests.hub.warm_client import ClientError, WarmClient, client_env
from tests.sources.cases import HUB_SHARDS, image_table

ACTIONS = "tests.sources.hub_actions"
DATA = "hf://datasets/"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE_ROWS = 3000
Files = Mapping[str, pa.Table | str]


def shards(num: int, rows: int = 20, split: str = "train") -> dict[str, pa.Table]:
    """Shards of one split, of separable rows."""
    names = [f"data/{split}-{i:05d}-of-{num:05d}.parquet" for i in range(num)]
    return {name: blobs(rows, seed=i) for i, name in enumerate(names)}


def card(*configs: Mapping[str, Any]) -> str:
    """A card's text that declares configurations."""
    return f"---\n{json.dumps({'license': 'mit', 'configs': configs})}\n---\n# Words\n"


def write(folder: Path, files: Files) -> Path:
    """Write tables as Parquet, and texts."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            pq.write_table(content, path, row_group_size=15)
    return folder


@dataclass
class Desk:
    """A test's Hub, its client with an empty cache, and a folder."""

    hub: LoopbackHub
    client: WarmClient
    folder: Path
    count: int = 0
    before: int = field(default=0)

    def do(self, action: str, **kwargs: Any) -> Any:
        """Run an action in the client's process."""
        return self.client.call(f"{ACTIONS}:{action}", **kwargs)

    def forget(self) -> Path:
        """Give the client an empty cache; where it is."""
        self.count += 1
        home = self.folder / f"home-{self.count}"
        self.do("use_home", folder=str(home))
        return home

    def publish(self, repo: str, files: Files, **options: Any) -> Path:
        """Commit files; the folder with the same ones on this machine."""
        self.count += 1
        folder = write(self.folder / f"files-{self.count}" / "copy", files)
        self.do("upload", repo=repo, folder=str(folder), **options)
        return folder

    def opened(self, uri: str, **options: Any) -> dict[str, Any]:
        """What opening gives."""
        found: dict[str, Any] = self.do("opened", uri=uri, **options)
        return found

    def rows(self, uri: str, **options: Any) -> pa.Table:
        """Every row of a source."""
        path = self.folder / "rows.arrow"
        self.do("write_rows", uri=uri, path=str(path), **options)
        return read(path)

    def names(self, uri: str, **options: Any) -> list[str]:
        """The files that a uri names, in order."""
        return [entry["path"] for entry in self.opened(uri, **options)["files"]]

    def refused(self, uri: str, action: str = "opened", **options: Any) -> str:
        """The one sentence that an action ends with."""
        with pytest.raises(ClientError) as caught:
            self.do(action, uri=uri, **options)
        return sentence(caught.value, self.hub)

    def refused_view(self, folder: Path, **options: Any) -> str:
        """The one sentence that loading a view ends with."""
        with pytest.raises(ClientError) as caught:
            self.do("write_view", folder=str(folder), path="never", **options)
        return sentence(caught.value, self.hub)

    def asked(self) -> list[Exchange]:
        """Requests since it was last asked for them."""
        found = self.hub.requests[self.before :]
        self.before = len(self.hub.requests)
        return found


def sentence(error: ClientError, hub: LoopbackHub) -> str:
    """An error's message, fit to be read: one line, of ours, and no token in it."""
    assert "DatapruneError" in error.kinds, error.trace
    assert "\n" not in error.message
    assert len(error.message) < 500
    assert "Traceback" not in error.message
    assert hub.token not in error.message
    return error.message


def read(path: Path | str) -> pa.Table:
    """The table of an Arrow file."""
    with pa.ipc.open_file(path) as reader:
        return reader.read_all()


def fetched(asked: list[Exchange]) -> list[str]:
    """The files whose bytes were asked for, each once, in order."""
    paths = [r.path.split("/resolve/")[1].partition("/")[2] for r in asked if is_fetch(r)]
    return list(dict.fromkeys(paths))


def is_fetch(request: Exchange) -> bool:
    """Whether a request is for a file's bytes."""
    return request.method == "GET" and "/resolve/" in request.path


def local_rows(folder: Path | str, **options: Any) -> pa.Table:
    """Every row of a source on this machine."""
    return pa.Table.from_batches(
        open_source(SourceRecipe(uri=str(folder), **options)).batches(None)
    )


@pytest.fixture(scope="module")
def lfs_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A Hub and a client for this module; xet is off."""
    for served in serve("lfs", tmp_path_factory):
        served.client.call(f"{ACTIONS}:use_home", folder=str(tmp_path_factory.mktemp("home")))
        yield served


@pytest.fixture
def desk(lfs_served: Served, tmp_path: Path) -> Iterator[Desk]:
    """An empty Hub and a client that has nothing of it."""
    for served in renewed(lfs_served):
        made = Desk(served.hub, served.client, tmp_path)
        made.forget()
        yield made


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
    for served in renewed(mode):
        made = Desk(served.hub, served.client, tmp_path)
        made.forget()
        yield made


# --- uris

ADDRESSES = {
    "o/n": Address("o/n", None, ""),
    "o/n/": Address("o/n", None, ""),
    "o/n.x-y_z@v1": Address("o/n.x-y_z", "v1", ""),
    f"o/n@{COMMIT}/en/": Address("o/n", COMMIT, "en"),
    "o/n@refs/convert/parquet": Address("o/n", "refs/convert/parquet", ""),
    "o/n@refs%2Fconvert%2Fparquet/en": Address("o/n", "refs/convert/parquet", "en"),
    "o/n@refs/convert/parquet/en/train": Address("o/n", "refs/convert/parquet", "en/train"),
    "o/n@refs/pr/3/data/a.csv": Address("o/n", "refs/pr/3", "data/a.csv"),
    "o/n@feature%2Fnew": Address("o/n", "feature/new", ""),
    "o/n@feature/new": Address("o/n", "feature", "new"),
    "o/n/en": Address("o/n", None, "en"),
    "o/n/data/*.parquet": Address("o/n", None, "data/*.parquet"),
    "o/n/data/a@b.parquet": Address("o/n", None, "data/a@b.parquet"),
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_a_uri_names_a_dataset_a_revision_and_what_is_inside(text: str) -> None:
    address = parse_address(DATA + text)
    assert address == ADDRESSES[text]
    assert parse_address(address.uri) == address
    assert format_of(DATA + text) == "hub"


@given(
    revision=st.one_of(st.none(), st.text(min_size=1)),
    inside=st.text().map(lambda text: text.strip("/")),
)
def test_an_address_survives_its_own_uri(revision: str | None, inside: str) -> None:
    address = Address("org/name", revision, inside)
    assert parse_address(address.uri) == address


@pytest.mark.parametrize(
    "text",
    ["", "squad", "o/", "/n", "o//n", "o/n@", "o/n@/en", "o/..", "o/a b", "o/-n", "@v1", "o@v1/n"],
)
def test_a_uri_that_names_no_dataset_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(DATA + text)
    assert "\n" not in str(caught.value)
    assert "ORG/" in str(caught.value)


# --- the same rows as from the files themselves


def test_rows_fingerprints_and_features_are_those_of_a_local_copy(each: Desk) -> None:
    files: dict[str, pa.Table | str] = {
        f"data/{name}.parquet": image_table(i, name) for i, name in enumerate(HUB_SHARDS)
    }
    copy = each.publish("acme/pics", {**files, "README.md": "---\nlicense: mit\n---\n"})
    source = open_source(SourceRecipe(uri=str(copy)))
    here = load(source)
    told, there = each.opened(f"{DATA}acme/pics"), each.do("loaded", uri=f"{DATA}acme/pics")
    rows = each.rows(f"{DATA}acme/pics")
    assert rows.equals(local_rows(copy), check_metadata=True)
    assert rows.schema.equals(source.schema, check_metadata=True)
    assert there["fingerprint"] == here.ref.fingerprint
    assert there["hashes"] == [int(value) for value in here.hashes]
    assert here.test is not None
    assert there["test"]["fingerprint"] == here.test.ref.fingerprint
    assert told["files"] == [entry.model_dump() for entry in source.files]
    assert told["class_names"] == source.class_names == ["a", "b"]
    assert told["kind"] == "image"
    assert (told["format"], told["test"]["format"]) == ("hub", "hub")
    assert (told["license"], told["paths"]) == ("mit", 0)
    assert told["uri"] == f"{DATA}acme/pics@{each.hub.commits('acme/pics')[0]}"


TEXTS = "text,label\n" + "".join(f'"no {i}, é",{"ab"[i % 2]}\n' for i in range(9))
LINES = "".join(json.dumps({"text": f"é {i}", "label": i % 2}) + "\n" for i in range(9))
TABLE = pa.table({"features": [[1.0, 2.0], [3.0, 4.0]], "label": ["a", "b"]})
LAYOUTS: dict[str, dict[str, pa.Table | str]] = {
    "one file": {"rows.parquet": TABLE},
    "files of splits": {"train.parquet": TABLE, "test.parquet": TABLE.slice(1)},
    "folders of splits": {
        "train/0.parquet": TABLE,
        "train/1.parquet": TABLE,
        "test/0.parquet": TABLE,
    },
    "data folder": {"data/train.parquet": TABLE, "more/other.parquet": blobs(9)},
    "data folder of text": {"data/train.csv": TEXTS, "scores.parquet": TABLE},
    "texts": {"train.csv": TEXTS, "test.csv": TEXTS[: TEXTS.index('"no 5')]},
    "lines": {"a.jsonl": LINES, "b.jsonl": LINES},
    "hidden files": {"rows.parquet": TABLE, ".old/rows.parquet": TABLE, "__x/rows.parquet": TABLE},
    "unicode": {"données/训练 a+b%20#1.parquet": TABLE, "données/ü.parquet": TABLE},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_dataset_without_a_card_is_read_like_a_local_folder(desk: Desk, layout: str) -> None:
    copy = desk.publish("acme/plain", LAYOUTS[layout])
    if layout == "hidden files":
        (copy / ".old/rows.parquet").unlink()
    if layout == "data folder of text":
        (copy / "scores.parquet").unlink()
    source = open_source(SourceRecipe(uri=str(copy)))
    told = desk.opened(f"{DATA}acme/plain")
    assert told["files"] == [entry.model_dump() for entry in source.files]
    assert (told["test"] is None) == (source.test is None)
    assert desk.rows(f"{DATA}acme/plain").equals(local_rows(copy), check_metadata=True)
    there = desk.do("loaded", uri=f"{DATA}acme/plain")
    assert there["fingerprint"] == load(source).ref.fingerprint


@given(data=st.data())
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_the_shards_rows_and_fingerprint_are_those_of_the_files(
    desk: Desk, data: st.DataObject
) -> None:
    sizes = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))
    names = [f"data/train-{i:05d}-of-{len(sizes):05d}.parquet" for i in range(len(sizes))]
    files = {name: blobs(3 * n, seed=n) for name, n in zip(names, sizes, strict=True)}
    desk.hub.reset()
    copy = desk.publish("acme/any", files)
    assert desk.rows(f"{DATA}acme/any").equals(local_rows(copy), check_metadata=True)
    found = desk.do("loaded", uri=f"{DATA}acme/any")
    assert found["fingerprint"] == load(open_source(SourceRecipe(uri=str(copy)))).ref.fingerprint


def test_reading_again_beside_or_file_by_file_gives_the_same_rows(desk: Desk) -> None:
    copy = desk.publish("acme/many", shards(3))
    path = desk.folder / "rows"
    desk.do("rows_twice", uri=f"{DATA}acme/many", path=str(path))
    whole = local_rows(copy)
    for name in ("one", "other", "files"):
        assert read(f"{path}-{name}").equals(whole)
    keep = pa.array(np.arange(len(whole)) % 3 != 1)
    assert read(f"{path}-kept").equals(whole.filter(keep))


def test_what_every_format_owes(lfs_served: Served, tmp_path: Path) -> None:
    for served in renewed(lfs_served):
        env = client_env(served.hub, tmp_path)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
        command += ["-W", "ignore:Use 'content=:DeprecationWarning"]  # the client's upload
        suite = str(Path(__file__).with_name("test_contract.py"))
        done = subprocess.run(
            [*command, suite, "-k", "hub_", f"--basetemp={tmp_path / 'contract'}"],
            env=env,
            cwd=REPO,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
        assert " passed" in done.stdout
        assert "skipped" not in done.stdout


# --- revisions


def test_a_branch_a_tag_and_a_commit_are_pinned_to_the_commit(desk: Desk) -> None:
    desk.publish("acme/rev", {"rows.parquet": blobs(10)})
    first = desk.hub.commits("acme/rev")[0]
    api = {"repo": "acme/rev", "revision": first}
    run_action(desk.client, "api", method="create_tag", tag="v1", **api)
    run_action(desk.client, "api", method="create_branch", branch="feature/new", **api)
    pinned = f"{DATA}acme/rev@{first}"
    for revision in ("", "@main", "@v1", "@feature%2Fnew", f"@{first}"):
        assert desk.opened(f"{DATA}acme/rev{revision}")["uri"] == pinned
    assert desk.opened(f"{DATA}acme/rev@v1/rows.parquet")["uri"] == f"{pinned}/rows.parquet"

    desk.publish("acme/rev", {"rows.parquet": blobs(30, seed=4), "train.parquet": blobs(5)})
    assert desk.opened(pinned)["uri"] == pinned
    assert desk.opened(pinned)["num_rows"] == 10
    assert desk.rows(pinned).equals(blobs(10))
    assert desk.opened(f"{DATA}acme/rev@v1")["uri"] == pinned
    assert desk.opened(f"{DATA}acme/rev/rows.parquet")["num_rows"] == 30


def test_a_branch_that_moves_while_it_is_read_is_read_at_one_commit(desk: Desk) -> None:
    desk.publish("acme/moves", shards(2))
    first = desk.hub.commits("acme/moves")[0]
    slow = desk.hub.fault("slow", path="/tree/", delay_s=0.4)
    desk.client.start(f"{ACTIONS}:opened", uri=f"{DATA}acme/moves")
    while not slow.fired:
        time.sleep(0.01)
    git = desk.hub.repo_path("acme/moves")
    empty = ["commit-tree", "-m", "another", f"{first}^{{tree}}"]
    env = {
        **os.environ,
        **{
            f"GIT_{who}_{what}": "x@y"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }
    other = subprocess.run(
        ["git", "-C", git, *empty], env=env, capture_output=True, text=True, check=True
    )
    subprocess.run(
        ["git", "-C", git, "update-ref", "refs/heads/main", other.stdout.strip()], check=True
    )
    assert desk.client.result()["uri"] == f"{DATA}acme/moves@{first}"


def test_the_hubs_own_conversion_is_read_by_configuration(desk: Desk) -> None:
    files = {
        f"{c}/{s}/0000.parquet": blobs(n)
        for c, n in (("en", 6), ("de", 9))
        for s in ("train", "test")
    }
    desk.publish("acme/conv", files)
    git = desk.hub.repo_path("acme/conv")
    subprocess.run(
        ["git", "-C", git, "update-ref", "refs/heads/refs/convert/parquet", "refs/heads/main"],
        check=True,
    )
    told = desk.opened(f"{DATA}acme/conv@refs/convert/parquet/en")
    assert (told["num_rows"], told["test"]["num_rows"]) == (6, 6)
    assert desk.opened(told["uri"]) == told
    assert (
        desk.opened(f"{DATA}acme/conv@refs%2Fconvert%2Fparquet/de/test/0000.parquet")["num_rows"]
        == 9
    )
    message = desk.refused(f"{DATA}acme/conv@refs/convert/parquet")
    assert "has several configurations: de, en" in message
    assert "acme/conv@refs%2Fconvert%2Fparquet/de" in message


# --- cards


def test_a_cards_configurations_are_found_by_name(desk: Desk) -> None:
    en = {
        "config_name": "en",
        "data_files": [
            {"split": "train", "path": ["en/b.parquet", "en/a.parquet"]},
            {"split": "test", "path": "en/t.parquet"},
        ],
    }
    de = {"config_name": "de", "data_files": "de/*.parquet"}
    fr = {
        "config_name": "fr",
        "data_dir": "fr",
        "data_files": [{"split": "train", "path": "*.parquet"}],
    }
    it = {"config_name": "it", "data_dir": "it"}
    year = {"config_name": 2024, "data_files": "./fr/x.parquet"}
    files = {
        name: blobs(3 * n)
        for n, name in enumerate(
            [
                "en/a.parquet",
                "en/b.parquet",
                "en/t.parquet",
                "en/left.parquet",
                "de/1.parquet",
                "de/2.parquet",
                "fr/x.parquet",
                "it/train.parquet",
                "it/test.parquet",
            ],
            start=1,
        )
    }
    desk.publish("acme/words", {**files, "README.md": card(en, de, fr, it, year)})
    told = desk.opened(f"{DATA}acme/words/en")
    assert [file["path"] for file in told["files"]] == ["en/b.parquet", "en/a.parquet"]
    assert [file["path"] for file in told["test"]["files"]] == ["en/t.parquet"]
    assert desk.names(f"{DATA}acme/words/de") == ["de/1.parquet", "de/2.parquet"]
    assert desk.names(f"{DATA}acme/words/fr") == ["fr/x.parquet"]
    assert desk.names(f"{DATA}acme/words/it") == ["it/train.parquet"]
    assert desk.opened(f"{DATA}acme/words/it")["test"]["num_rows"] == 27
    assert desk.names(f"{DATA}acme/words/2024") == ["fr/x.parquet"]
    assert desk.names(f"{DATA}acme/words/en/left.parquet") == ["en/left.parquet"]
    assert desk.names(f"{DATA}acme/words/de/*.parquet") == ["de/1.parquet", "de/2.parquet"]
    message = desk.refused(f"{DATA}acme/words")
    assert "several configurations: 2024, de, en, fr, it" in message
    assert f"name one: {DATA}acme/words/2024" in message
    message = desk.refused(f"{DATA}acme/words@main/eng")
    assert "acme/words has no eng" in message
    assert "did you mean en?" in message


@pytest.mark.parametrize(
    ("configs", "wanted"),
    [
        ([{"config_name": "only", "data_files": "a.parquet"}], "a.parquet"),
        (
            [
                {"config_name": "x", "data_files": "a.parquet"},
                {"config_name": "default", "data_files": "b.parquet"},
            ],
            "b.parquet",
        ),
        (
            [
                {"config_name": "x", "data_files": "a.parquet"},
                {"config_name": "y", "data_files": "b.parquet", "default": True},
            ],
            "b.parquet",
        ),
        ([{"data_files": {"split": "train", "path": "b.parquet"}}], "b.parquet"),
        ([{"config_name": "all", "data_files": [{"split": "train", "path": "**"}]}], "a.parquet"),
        ([{"config_name": "none"}], "a.parquet"),
    ],
)
def test_a_default_configuration_is_read(
    desk: Desk, configs: list[dict[str, Any]], wanted: str
) -> None:
    files = {"a.parquet": blobs(6), "b.parquet": blobs(9), ".x/c.parquet": blobs(3)}
    desk.publish("acme/default", {**files, "README.md": card(*configs)})
    told = desk.opened(f"{DATA}acme/default")
    assert told["files"][0]["path"] == wanted
    assert desk.opened(told["uri"]) == told


@pytest.mark.parametrize(
    ("data_files", "message"),
    [
        ("not/there.parquet", "not/there.parquet, which the card of acme/bad names, is not there"),
        (
            [{"split": "train", "path": "no/*.parquet"}, {"split": "test", "path": "a.parquet"}],
            "no file of acme/bad matches no/*.parquet, which its card names for split train",
        ),
        ([{"split": "dev", "path": "a.parquet"}], "has no split train"),
        ({"train": "a.parquet"}, "in a way that is not read: {'train': 'a.parquet'}"),
        ([{"split": "train", "path": [1]}], "name the files yourself: hf://datasets/acme/bad/**/"),
        (7, "in a way that is not read: 7"),
        ([{"split": "train", "path": "**"}], "format that is not read from the Hub: a.bin"),
    ],
)
def test_a_card_that_names_what_is_not_there_is_refused(
    desk: Desk, data_files: Any, message: str
) -> None:
    config = {"config_name": "c", "data_files": data_files}
    desk.publish("acme/bad", {"a.parquet": blobs(3), "a.bin": "x", "README.md": card(config)})
    assert message in desk.refused(f"{DATA}acme/bad")


def test_a_card_of_another_shape_is_refused_and_a_named_file_is_read(desk: Desk) -> None:
    odd = "---\nconfigs: everything\n---\n"
    desk.publish("acme/odd", {"a.parquet": blobs(3), "README.md": odd})
    assert "does not declare its configurations as a list" in desk.refused(f"{DATA}acme/odd")
    assert desk.names(f"{DATA}acme/odd/**/*.parquet") == ["a.parquet"]


# --- places inside


def test_a_file_a_folder_and_a_glob_are_what_was_asked_for(desk: Desk) -> None:
    files = {**shards(2), **shards(1, rows=12, split="test"), "test/x.parquet": blobs(9)}
    desk.publish("acme/in", files)
    test = "data/test-00000-of-00001.parquet"
    assert desk.names(f"{DATA}acme/in/{test}") == [test]
    assert desk.names(f"{DATA}acme/in/data/train-*.parquet") == list(shards(2))
    assert desk.names(f"{DATA}acme/in/data/*.parquet", columns={"key": "id"})[0] == test
    assert desk.names(f"{DATA}acme/in/test") == ["test/x.parquet"]
    told = desk.opened(f"{DATA}acme/in", split="test")
    assert (told["num_rows"], told["test"]) == (12, None)
    assert "has no split dev" in desk.refused(f"{DATA}acme/in", split="dev")
    assert "no split dev to hold out" in desk.refused(f"{DATA}acme/in", test_split="dev")


@pytest.mark.parametrize(
    ("files", "inside", "message"),
    [
        ({"a.bin": "x"}, "", "holds no data files that are read from the Hub"),
        ({"a.bin": "x"}, "/a.bin", "format that is not read from the Hub: a.bin"),
        ({"x/a.bin": "x"}, "/x", "holds no data files that are read from the Hub"),
        ({"train.parquet": "not Parquet"}, "", "train.parquet cannot be read as Parquet"),
        ({"train.csv": TEXTS, "train.jsonl": LINES}, "/*", "mixes formats: csv (train.csv), jsonl"),
        ({"train.csv": TEXTS + 'x,"never closed\n'}, "", "opens a quote that is never closed"),
        ({"a.csv": TEXTS, "b.csv": "text,other\nx,y\n"}, "", "label is missing"),
        ({"train.csv": TEXTS}, "/nope", "acme/odd has no nope: no configuration, folder or file"),
        ({"train.csv": TEXTS}, "/no*.csv", "acme/odd has no no*.csv"),
        ({"data/train-00001-of-00002.parquet": TABLE}, "", "shard 00000 is missing"),
        ({"train.parquet": TABLE.slice(2)}, "", "has no rows"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_sentence(
    desk: Desk, files: Files, inside: str, message: str
) -> None:
    desk.publish("acme/odd", files)
    assert message in desk.refused(f"{DATA}acme/odd{inside}")


def test_the_id_is_found_in_any_case_and_names_that_differ_are_kept_apart(desk: Desk) -> None:
    desk.publish("acme/Numbers", {"rows.parquet": blobs(6)})
    desk.publish("alice/Numbers", {"rows.parquet": blobs(9, seed=2)})
    assert desk.rows(f"{DATA}acme/numbers").equals(blobs(6))
    assert desk.rows(f"{DATA}ACME/Numbers").equals(blobs(6))
    assert desk.rows(f"{DATA}alice/numbers").equals(blobs(9, seed=2))


# --- who may read, and whether the Hub answers


def test_a_private_dataset_needs_the_token(desk: Desk) -> None:
    desk.publish("alice/secret", {"rows.parquet": blobs(6)}, private=True)
    assert desk.opened(f"{DATA}alice/secret")["num_rows"] == 6
    for token in ("", "hf_wrong0123456789", desk.hub.token_of("bob")):
        message = desk.refused(f"{DATA}alice/secret", token=token)
        assert "alice/secret" in message
        assert "HF_TOKEN" in message
        assert not token or token not in message


def test_what_is_not_there_is_named(desk: Desk) -> None:
    desk.publish("acme/here", {"rows.parquet": blobs(6)})
    message = desk.refused(f"{DATA}acme/gone")
    assert "reading acme/gone@main failed: the Hub has no such dataset" in message
    message = desk.refused(f"{DATA}acme/here@v9")
    assert "reading acme/here@v9 failed: it has no such tag, branch or commit" in message
    assert COMMIT in desk.refused(f"{DATA}acme/here@{COMMIT}")


def test_offline_the_hub_is_not_asked(desk: Desk) -> None:
    desk.publish("acme/off", {"rows.parquet": blobs(6)})
    desk.asked()
    with (
        WarmClient(desk.hub, desk.folder / "off", env={"HF_HUB_OFFLINE": "1"}) as client,
        pytest.raises(ClientError) as caught,
    ):
        client.call(f"{ACTIONS}:opened", uri=f"{DATA}acme/off")
    message = sentence(caught.value, desk.hub)
    assert "reading acme/off@main failed: offline mode is on (HF_HUB_OFFLINE)" in message
    assert desk.asked() == []


def test_an_answer_that_is_not_the_hubs_is_told(desk: Desk) -> None:
    class Portal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>please log in</html>")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    portal = HTTPServer(("127.0.0.1", 0), Portal)
    address = f"http://127.0.0.1:{portal.server_port}"
    thread = threading.Thread(target=portal.serve_forever, args=(0.02,))
    thread.start()
    with WarmClient(desk.hub, desk.folder / "lost", env={"HF_ENDPOINT": address}) as client:
        there = Desk(desk.hub, client, desk.folder)
        message = there.refused(f"{DATA}acme/lost")
        assert f"reading acme/lost@main failed: no answer from {address}" in message
        portal.shutdown()
        thread.join()
        portal.server_close()
        message = there.refused(f"{DATA}acme/lost")
        assert f"reading acme/lost@main failed: no answer from {address}" in message


STAGES = {"card": "^/api/datasets/acme/f$", "tree": "/tree/", "file": "/resolve/"}
TROUBLES: dict[str, dict[str, Any]] = {
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503},
    "429": {"kind": "status", "status": 429},
    "dropped": {"kind": "drop"},
    "lost": {"kind": "lost"},
    "cut short": {"kind": "truncate"},
    "slow": {"kind": "slow", "delay_s": 0.05},
}

QUICK = ("500", "dropped", "cut short")
EACH_TROUBLE = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in TROUBLES
]


@pytest.mark.parametrize("trouble", EACH_TROUBLE)
def test_trouble_that_passes_is_sat_out(desk: Desk, trouble: str) -> None:
    copy = desk.publish("acme/f", {"rows.parquet": blobs(30)})
    for stage in STAGES.values():
        desk.forget()
        fault = desk.hub.fault(path=stage, method="GET", **TROUBLES[trouble])
        assert desk.rows(f"{DATA}acme/f").equals(local_rows(copy))
        assert fault.fired == 1
        desk.hub.faults.clear()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "trouble",
    ["500", "dropped", *(pytest.param(n, marks=pytest.mark.slow) for n in ("429", "cut short"))],
)
def test_trouble_that_stays_is_told(desk: Desk, trouble: str, stage: str) -> None:
    copy = desk.publish("acme/f", {"rows.parquet": blobs(30)})
    desk.hub.fault(path=STAGES[stage], times=None, **TROUBLES[trouble])
    message = desk.refused(f"{DATA}acme/f", "write_rows", path="never")
    assert "acme/f" in message
    assert str(TROUBLES[trouble].get("status", "no answer from")) in message
    assert "run the same command again" in message
    desk.hub.faults.clear()
    assert desk.rows(f"{DATA}acme/f").equals(local_rows(copy))


def test_the_hub_is_left_alone_for_as_long_as_it_asks(desk: Desk) -> None:
    desk.publish("acme/f", {"rows.parquet": blobs(30)})
    desk.hub.fault("status", status=429, path=STAGES["card"], retry_after_s=1)
    start = time.monotonic()
    desk.opened(f"{DATA}acme/f")
    assert time.monotonic() - start > 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_file_that_may_not_be_read_is_told(desk: Desk, status: int) -> None:
    desk.publish("acme/f", {"rows.parquet": blobs(30)})
    desk.hub.fault("status", status=status, path="/resolve/", times=None)
    message = desk.refused(f"{DATA}acme/f")
    assert "fetching rows.parquet of acme/f@" in message
    assert str(status) in message
    assert "HF_TOKEN" in message


# --- proof


def flip(path: Path) -> None:
    """Change one byte in the middle of a file."""
    path = path.resolve()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv", "plain.parquet"])
def test_a_byte_flipped_in_the_cache_is_fetched_anew(desk: Desk, name: str) -> None:
    content = TEXTS if name == "rows.csv" else blobs(30)
    files: dict[str, Any] = {name: content}
    if name == "plain.parquet":  # kept by git itself
        desk.publish("acme/flip", {".gitattributes": ""})
    copy = desk.publish("acme/flip", files)
    assert desk.rows(f"{DATA}acme/flip").equals(local_rows(copy))
    home = desk.folder / "home-1"
    (cached,) = home.glob(f"hub/datasets--acme--flip/snapshots/*/{name}")
    flip(cached)
    desk.asked()
    assert desk.rows(f"{DATA}acme/flip").equals(local_rows(copy))
    assert fetched(desk.asked()) == [name]
    assert desk.rows(f"{DATA}acme/flip").equals(local_rows(copy))
    assert fetched(desk.asked()) == []


def test_other_bytes_than_the_hub_says_are_never_accepted(desk: Desk) -> None:
    copy = desk.publish("acme/flip", {"rows.parquet": blobs(30)})
    sha256 = desk.hub.tree("acme/flip")["rows.parquet"]
    held = desk.hub.state.lfs_file(desk.hub.repo("acme/flip"), sha256)
    right = held.read_bytes()
    flip(held)
    for _ in range(2):
        message = desk.refused(f"{DATA}acme/flip", "write_rows", path="never")
        assert "rows.parquet of acme/flip@" in message
        assert "arrives with other content than the Hub says it has" in message
    held.write_bytes(right)
    assert desk.rows(f"{DATA}acme/flip").equals(local_rows(copy))


# --- only what is needed travels


def large() -> pa.Table:
    """A table of 12 MB, of which the features and the labels are a hundredth."""
    rng = np.random.default_rng(0)
    media = [rng.bytes(4000) for _ in range(LARGE_ROWS)]
    features = rng.normal(size=(LARGE_ROWS, 4)).astype(np.float32).tolist()
    return pa.table(
        {
            "features": pa.array(features, pa.list_(pa.float32())),
            "media": media,
            "label": [i % 3 for i in range(LARGE_ROWS)],
        }
    )


def publish_large(desk: Desk) -> pa.Table:
    """A file of several row groups; the columns that are wanted of it."""
    folder = desk.folder / "large"
    folder.mkdir()
    pq.write_table(large(), folder / "big.parquet", row_group_size=500)
    desk.do("upload", repo="acme/big", folder=str(folder))
    desk.asked()
    return large().select(["features", "label"])


def test_of_a_large_file_only_the_wanted_columns_travel_and_only_once(each: Desk) -> None:
    wanted = publish_large(each)
    names = ["features", "label"]
    assert each.rows(f"{DATA}acme/big", names=names).equals(wanted)
    asked = each.asked()
    assert fetched(asked) == ["big.parquet"]
    assert sum(request.bytes_out for request in asked) < 1 << 20
    assert all(request.authorized == ("/store/" not in request.path) for request in asked)
    assert each.rows(f"{DATA}acme/big", names=names).equals(wanted)
    assert not [request for request in each.asked() if "/resolve/" in request.path]

    assert each.rows(f"{DATA}acme/big").equals(large())
    travelled = sum(request.bytes_out for request in each.asked())
    assert each.hub.xet or 12_000_000 < travelled < 13_000_000
    assert each.rows(f"{DATA}acme/big", names=names).equals(wanted)
    assert fetched(each.asked()) == []


def test_a_piece_that_was_damaged_since_is_fetched_anew(desk: Desk) -> None:
    wanted = publish_large(desk)
    assert desk.rows(f"{DATA}acme/big", names=["features", "label"]).equals(wanted)
    pieces = sorted((desk.folder / "home-1").glob("dataprune/pieces/*/*"))
    num = sum(is_fetch(request) for request in desk.asked())
    assert len(pieces) == num > 3
    for at, piece in enumerate(pieces):
        flip(piece) if at % 2 else piece.write_bytes(b"")
    assert desk.rows(f"{DATA}acme/big", names=["features", "label"]).equals(wanted)
    assert sum(is_fetch(request) for request in desk.asked()) == num


@pytest.mark.parametrize("trouble", EACH_TROUBLE)
def test_trouble_at_a_piece_is_sat_out(desk: Desk, trouble: str) -> None:
    wanted = publish_large(desk)
    fault = desk.hub.fault(path="/resolve/", method="GET", nth=2, **TROUBLES[trouble])
    assert desk.rows(f"{DATA}acme/big", names=["features", "label"]).equals(wanted)
    assert fault.fired == 1


def test_trouble_at_a_piece_that_stays_is_told(desk: Desk) -> None:
    publish_large(desk)
    desk.hub.fault("status", status=503, path="/resolve/", nth=2, times=None)
    message = desk.refused(
        f"{DATA}acme/big", "write_rows", path="never", names=["features", "label"]
    )
    assert "fetching a part of big.parquet of acme/big@" in message
    assert "503" in message


def test_a_run_that_was_killed_goes_on_with_the_pieces_it_has(desk: Desk) -> None:
    wanted = publish_large(desk)
    home = desk.folder / "home-1"
    slow = desk.hub.fault("slow", path="/resolve/", method="GET", nth=3, delay_s=1.5)
    path = str(desk.folder / "killed.arrow")
    names = ["features", "label"]
    desk.client.start(f"{ACTIONS}:write_rows", uri=f"{DATA}acme/big", path=path, names=names)
    while not slow.fired:
        time.sleep(0.01)
    desk.client.kill()
    kept = len(list(home.glob("dataprune/pieces/*/[0-9]*")))
    assert kept == 3
    desk.do("use_home", folder=str(home))
    desk.asked()
    assert desk.rows(f"{DATA}acme/big", names=names).equals(wanted)
    again = sum(is_fetch(r) and r.fault is None for r in desk.asked())
    total = len(list(home.glob("dataprune/pieces/*/[0-9]*")))
    assert again == total - kept
    while not any(request.fault for request in desk.hub.requests):
        time.sleep(0.01)  # the killed one's last request is done with


# --- views


def view(desk: Desk, uri: str, **options: Any) -> tuple[Path, dict[str, Any]]:
    """A view of a source, in a store of the test's."""
    folder = desk.folder / "view"
    return folder, desk.do("make_view", uri=uri, folder=str(folder), **options)


def seen(desk: Desk, folder: Path, **options: Any) -> tuple[list[int], pa.Table]:
    """A view's rows: their places in the source, and themselves."""
    path = str(desk.folder / "seen.arrow")
    return desk.do("write_view", folder=str(folder), path=path, **options), read(path)


def shards_of(rows: list[int], files: Mapping[str, pa.Table]) -> list[str]:
    """The shards that hold some of these rows."""
    found, start = [], 0
    for name, table in files.items():
        if any(start <= row < start + len(table) for row in rows):
            found.append(name)
        start += len(table)
    return found


def test_a_view_fetches_the_shards_that_hold_its_rows_and_no_others(desk: Desk) -> None:
    files = shards(12, rows=4)
    copy = desk.publish("acme/src", {**files, **shards(2, split="test")})
    folder, made = view(desk, f"{DATA}acme/src", keep=0.1)
    wanted = shards_of(made["rows"], files)
    assert 0 < len(wanted) < 6
    desk.forget()
    desk.asked()
    rows, table = seen(desk, folder)
    assert rows == made["rows"]
    assert table.equals(local_rows(copy).take(rows))
    asked = desk.asked()
    whole = {
        name
        for name in fetched(asked)
        if any(r.status == 200 and name in r.path for r in asked if is_fetch(r))
    }
    assert whole == set(wanted)
    footers = set(fetched(asked)) - whole
    assert footers <= {next(iter(files)), *shards(2, split="test")}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_view_of_text_files_fetches_those_that_hold_its_rows(desk: Desk, form: str) -> None:
    text, start = (TEXTS, 1) if form == "csv" else (LINES, 0)
    lines = text.splitlines(keepends=True)
    files = {
        f"{i}.{form}": "".join(lines[:start]) + lines[start + i] for i in range(len(lines) - start)
    }
    copy = desk.publish("acme/texts", files)
    desk.forget()
    desk.asked()
    desk.do("loaded", uri=f"{DATA}acme/texts")
    folder, made = view(desk, f"{DATA}acme/texts", keep=0.3)
    desk.forget()
    desk.asked()
    rows, table = seen(desk, folder)
    assert table.equals(local_rows(copy).take(made["rows"]))
    wanted = {f"{row}.{form}" for row in rows}
    assert set(fetched(desk.asked())) == wanted | {f"0.{form}"}


def test_a_view_reads_its_source_as_it_was_when_the_branch_has_moved_on(desk: Desk) -> None:
    files = shards(3)
    copy = desk.publish("acme/src", files)
    folder, made = view(desk, f"{DATA}acme/src@main")
    assert made["uri"] == f"{DATA}acme/src@{desk.hub.commits('acme/src')[0]}"
    desk.publish("acme/src", {"data/train-00000-of-00001.parquet": blobs(8)}, deleted=list(files))
    desk.forget()
    rows, table = seen(desk, folder)
    assert table.equals(local_rows(copy).take(rows))
    message = desk.refused_view(folder, source=f"{DATA}acme/src")
    assert "acme/src" in message


def test_a_view_of_a_dataset_that_was_deleted_is_told_and_a_copy_serves(desk: Desk) -> None:
    copy = desk.publish("acme/src", shards(2))
    folder, made = view(desk, f"{DATA}acme/src")
    run_action(desk.client, "delete", repo="acme/src")
    desk.forget()
    message = desk.refused_view(folder)
    assert "acme/src" in message
    assert "the Hub has no such dataset" in message
    rows, table = seen(desk, folder, source=str(copy))
    assert rows == made["rows"]
    assert table.equals(local_rows(copy).take(rows))
