"""The local store: legal names, the order of tags, what is listed and what is not found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dataprune import flow
from dataprune.core.errors import BusyError, UsageError, VersionNotFoundError
from dataprune.versions.store import MANIFEST, LocalStore

GOOD_TAGS = ["v1", "v10", "v1.2", "v1.2.3", "v2-el2n-keep0.5", "v3-control", "v0", "v1-a"]
BAD_TAGS = [
    "", "1", "v", "V1", "latest", "v1-", "v1--a", "v1-A", "v1_2", "v1/2", "v1.2.3.4", "v1 ", "v1\n",
    "../v1", "v1@2", "v1+a", "v1%20", ".v1", "v1-a..b", "v\u0661", "v1-" + "a" * 61,
]  # fmt: skip
BAD_NAMES = [
    "",
    ".",
    "..",
    "../d",
    "a/b",
    "/d",
    ".hidden",
    "-d",
    "a b",
    "d\n",
    "ü",
    "d@v1",
    "a" * 65,
]


@pytest.fixture
def store(blobs_path: Path, score_random: Callable[..., Path], tmp_path: Path) -> LocalStore:
    """A store that holds d@v1, d@v2, d@v10, d@v2.1, d@v2-small and other@v1."""
    scores = score_random(blobs_path)
    local = LocalStore(tmp_path / "store")
    for name, tag in [("d", t) for t in ("v10", "v2", "v1", "v2.1", "v2-small")] + [
        ("other", "v1")
    ]:
        flow.prune(scores, name=name, tag=tag, keep=0.5, view=True, store=local.folder)
    return local


def test_tags_stand_in_the_order_of_their_numbers(store: LocalStore) -> None:
    assert store.tags("d") == ["v1", "v2", "v2-small", "v2.1", "v10"]


def test_names_are_listed_in_order_and_only_with_versions(store: LocalStore) -> None:
    (store.folder / "empty").mkdir()
    (store.folder / "notes.txt").write_text("mine")
    assert store.names() == ["d", "other"]
    assert store.tags("empty") == []


def test_a_folder_without_a_manifest_is_no_version(store: LocalStore) -> None:
    (store.folder / "d" / "v3").mkdir()
    assert "v3" not in store.tags("d")
    assert not store.has("d", "v3")


def test_a_folder_whose_name_is_no_tag_is_no_version(store: LocalStore) -> None:
    for stray in ("v3 copy", "old", "V3", "v3.lock"):
        (store.folder / "d" / stray).mkdir()
        (store.folder / "d" / stray / MANIFEST).write_text("{}")
    assert store.tags("d") == ["v1", "v2", "v2-small", "v2.1", "v10"]


def test_a_build_in_progress_is_no_version(store: LocalStore) -> None:
    with store.staging("d", "v3") as staging:
        (staging / MANIFEST).write_text("{}")
        assert store.tags("d") == ["v1", "v2", "v2-small", "v2.1", "v10"]
        assert not store.has("d", "v3")


def test_a_store_that_is_not_there_is_empty(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "nowhere")
    assert store.names() == []
    assert store.tags("d") == []
    with pytest.raises(VersionNotFoundError, match="has nothing named d") as caught:
        store.manifest("d", "v1")
    assert caught.value.hint == "dataprune prune makes one"
    assert not (tmp_path / "nowhere").exists(), "looking made a folder"


def test_a_wrong_tag_lists_the_tags_there_are(store: LocalStore) -> None:
    with pytest.raises(VersionNotFoundError, match="d has no version v4") as caught:
        store.manifest("d", "v4")
    assert caught.value.hint == "tags: v1, v2, v2-small, v2.1, v10"


def test_a_wrong_name_names_the_nearest(store: LocalStore) -> None:
    with pytest.raises(VersionNotFoundError, match="nothing named othr") as caught:
        store.manifest("othr", "v1")
    assert caught.value.hint == "did you mean other? known: d, other"


@pytest.mark.parametrize("tag", GOOD_TAGS)
def test_a_legal_tag_is_a_folder_of_that_name(tag: str, tmp_path: Path) -> None:
    assert LocalStore(tmp_path).path("d", tag) == tmp_path / "d" / tag


@pytest.mark.parametrize("tag", BAD_TAGS)
def test_an_illegal_tag_is_refused_before_anything_is_read(tag: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a version tag") as caught:
        flow.prune(tmp_path / "no scores", name="d", tag=tag, keep=0.5, store=tmp_path / "store")
    assert "v2-el2n-keep0.5" in (caught.value.hint or "")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", BAD_NAMES)
def test_an_illegal_name_is_refused_before_anything_is_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        flow.prune(tmp_path / "no scores", name=name, tag="v1", keep=0.5, store=tmp_path / "store")
    if name != "a/b":  # loading takes it for a Hub repository
        with pytest.raises(UsageError):
            flow.load(name, "v1", store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_tag_that_leaves_no_room_for_its_control_is_refused_first(tmp_path: Path) -> None:
    tag = "v1-" + "a" * 60
    with pytest.raises(UsageError, match="is not a version tag"):
        flow.prune(tmp_path / "no scores", name="d", tag=tag, keep=0.5, control=True)


def test_a_block_that_fails_leaves_no_version_and_no_staging(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)

    def fail() -> None:
        with store.staging("d", "v1") as staging:
            (staging / MANIFEST).write_text("{}")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert store.tags("d") == []
    assert [p.name for p in (tmp_path / "d").iterdir()] == [".lock"]


def test_staging_sweeps_what_a_killed_build_left_and_no_version(store: LocalStore) -> None:
    leftover = store.folder / "d" / ".staging-v9-00ff"
    leftover.mkdir()
    (leftover / "half.parquet").write_text("ha")
    before = store.tags("d")
    with store.staging("d", "v9"):
        assert not leftover.exists()
    assert store.tags("d") == before


def test_one_name_is_built_by_one_at_a_time(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with store.staging("d", "v1"):
        with pytest.raises(BusyError), store.staging("d", "v2"):
            pass
        with store.staging("other", "v1") as staging:
            assert staging.is_dir()
