"""The Hub as a source: what a uri names, what travels, what is proven, and what is told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
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
from tests.hub.conftest import Served, renewed
from tests.hub.warm_client import client_env
from tests.sources.cases import HUB_SHARDS, image_table
from tests.sources.hub_desk import (
    ACTIONS,
    COMMIT,
    DATA,
    LINES,
    TEXTS,
    Desk,
    Files,
    local_rows,
    read,
    shards,
)

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
