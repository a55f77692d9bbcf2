"""What every kind of work folder owes the ledger: one suite over a folder and an object store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dataprune.core.errors import DatapruneError, MissingExtraError, UsageError
from dataprune.core.protocols import Unit
from dataprune.runs.ledger import Ledger
from dataprune.runs.place import LocalPlace, Place, open_place
from dataprune.runs.remote import RemotePlace
from tests.runs.object_store import ObjectStore

UNIT = Unit("id-one", "module:function", {"seed": 1}, {}, "seed 1")
RUN = {"seconds": 1.0, "host": "h", "attempt": 1, "device": "cpu"}


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return open_place(tmp_path / "work")
    request.getfixturevalue("bucket")
    return open_place("s3://bucket/some run")


def test_a_file_reads_as_it_was_written_and_none_as_none(place: Place) -> None:
    assert place.read("units/a/unit.json") is None
    place.write("units/a/unit.json", b"one")
    place.write("units/a/unit.json", b"two")
    assert place.read("units/a/unit.json") == b"two"
    assert place.read("units/a") is None
    fetched = place.fetch("units/a/unit.json")
    assert fetched is not None
    assert fetched.read_bytes() == b"two"
    assert place.fetch("units/a/other") is None


def test_names_match_part_by_part_and_hold_what_was_written_since(place: Place) -> None:
    assert place.names("units/*/unit.json") == []
    for name in ("units/b/unit.json", "units/a/unit.json", "units/a/deep/unit.json", "run.json"):
        place.write(name, b"{}")
    assert place.names("units/*/unit.json") == ["units/a/unit.json", "units/b/unit.json"]
    place.remove("units/a/unit.json", "units/nobody/unit.json")
    assert place.names("units/*/unit.json") == ["units/b/unit.json"]
    assert place.names("*.json") == ["run.json"]


def test_an_attempts_files_are_moved_out_of_its_scratch_folder(place: Place) -> None:
    folder = place.scratch("units/a")
    (folder / "trace.parquet").write_bytes(b"\x00" * 1000)
    assert place.names("units/*/trace.parquet") == []
    place.take(folder / "trace.parquet", "units/a/trace.parquet")
    assert place.read("units/a/trace.parquet") == b"\x00" * 1000
    assert list(folder.glob("*")) == []


def test_a_finished_attempt_leaves_no_folder_on_this_machine(place: Place) -> None:
    folder = place.scratch("units/a")
    for name in ("trace.parquet", "heldout.parquet"):
        (folder / name).write_bytes(b"data")
    for name in ("trace.parquet", "heldout.parquet"):
        place.take(folder / name, f"units/a/{name}")
    assert place.attempts("units/a") == 1  # until unit.json is written
    place.end("units/a", None)
    assert not folder.exists()


def test_attempts_are_counted_until_they_end_and_other_scratch_folders_never(place: Place) -> None:
    first, second = place.scratch("units/a"), place.scratch("units/a")
    other = place.scratch("units/a", counts=False)
    assert place.attempts("units/a") == 2
    place.end("units/a", first)
    assert place.attempts("units/a") == 1
    assert not first.exists()
    assert second.exists()
    place.end("units/a", other)
    place.end("units/a", None)
    assert place.attempts("units/a") == 0
    place.scratch("units/b")
    place.sweep()
    assert place.attempts("units/b") == 0


def test_what_is_written_into_the_folder_is_seen_by_others_once_it_is_shared(place: Place) -> None:
    place.folder.mkdir(parents=True, exist_ok=True)
    (place.folder / "scores.parquet").write_bytes(b"table")
    place.share("scores.parquet")
    assert open_place(place.url).read("scores.parquet") == b"table"


def test_a_unit_is_finished_once_unit_json_names_files_of_those_hashes(place: Place) -> None:
    ledger = Ledger(place)
    folder, attempt = ledger.open_attempt(UNIT)
    assert attempt == 1
    (folder / "trace.parquet").write_bytes(b"trace")
    files = ledger.place_files(UNIT, folder)
    assert ledger.finished("id-one") is None
    assert ledger.records() == []
    ledger.seal(UNIT, files, {"history": []}, RUN)
    record = ledger.finished("id-one")
    assert record is not None
    assert record.path("trace.parquet").read_bytes() == b"trace"
    assert [r.unit_id for r in ledger.records()] == ["id-one"]
    assert ledger.attempts("id-one") == 0


@pytest.mark.parametrize("damage", [b"", b"tra", b"other"])
def test_a_unit_with_a_damaged_file_is_not_finished_whatever_was_fetched_before(
    place: Place, damage: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(place)
    folder, _ = ledger.open_attempt(UNIT)
    (folder / "trace.parquet").write_bytes(b"trace")
    ledger.commit(UNIT, folder, {}, RUN)
    place.write("units/id-one/trace.parquet", damage)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Ledger(place.url).finished("id-one") is None


@pytest.mark.parametrize("half", [b"", b'{"unit_id": "id-o', b"[]", b'{"unit_id": "id-one"}'])
def test_half_a_unit_json_is_no_unit(place: Place, half: bytes) -> None:
    place.write("units/id-one/unit.json", half)
    assert Ledger(place).finished("id-one") is None
    assert Ledger(place).records() == []


def test_a_snapshot_is_kept_per_process_until_the_unit_is_finished(place: Place) -> None:
    ledger = Ledger(place)
    folder, _ = ledger.open_attempt(UNIT)
    for rank in (0, 1, 0):
        ledger.save_snapshot("id-one", rank, lambda path, r=rank: path.write_text(f"rank {r}"))  # type: ignore[misc]
    found = [ledger.snapshot("id-one", rank) for rank in (0, 1, 2)]
    assert [path and path.read_text() for path in found] == ["rank 0", "rank 1", None]
    assert ledger.attempts("id-one") == 1
    (folder / "trace.parquet").write_bytes(b"trace")
    ledger.commit(UNIT, folder, {}, RUN)
    assert ledger.snapshot("id-one", 0) is None


def test_a_snapshot_that_cannot_be_written_leaves_the_last_one(place: Place) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("no space")

    ledger = Ledger(place)
    ledger.save_snapshot("id-one", 0, lambda path: path.write_text("whole"))
    with pytest.raises(OSError, match="no space"):
        ledger.save_snapshot("id-one", 0, fail)
    found = ledger.snapshot("id-one", 0)
    assert found is not None
    assert found.read_text() == "whole"


def test_paths_and_file_urls_are_folders_and_other_urls_are_not(tmp_path: Path) -> None:
    for where in (tmp_path, str(tmp_path), f"file://{tmp_path}"):
        found = open_place(where)
        assert isinstance(found, LocalPlace)
        assert found.folder == tmp_path
    assert isinstance(open_place("memory://x/y"), RemotePlace)


def test_a_url_with_credentials_is_refused_and_they_are_not_repeated() -> None:
    with pytest.raises(UsageError, match="holds credentials") as caught:
        open_place("s3://AKIA:hush@bucket/run")
    assert "hush" not in str(caught.value)


def test_a_container_of_azure_is_no_credential() -> None:
    with pytest.raises(MissingExtraError, match="abfs:// need adlfs"):
        open_place("abfs://box@me.dfs.core.windows.net/run")
    with pytest.raises(UsageError, match="holds credentials"):
        open_place("abfs://me:hush@there/run")


def test_a_scheme_that_nothing_installed_knows_is_refused_with_what_to_do() -> None:
    with pytest.raises(MissingExtraError, match="gs:// need gcsfs") as caught:
        open_place("gs://bucket/run")
    assert caught.value.hint == "pip install gcsfs"
    with pytest.raises(DatapruneError, match="Protocol not known: nowhere"):
        open_place("nowhere://bucket/run")


@pytest.mark.usefixtures("bucket")
def test_a_store_that_refuses_is_told_in_one_sentence(bucket: ObjectStore) -> None:
    place = open_place("s3://bucket/run")
    bucket.refusing = {"PUT"}
    with pytest.raises(DatapruneError, match=r"cannot write a.json to s3://bucket/run") as caught:
        place.write("a.json", b"{}")
    assert "\n" not in caught.value.message
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
