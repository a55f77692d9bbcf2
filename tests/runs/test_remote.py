"""A work folder behind a URL: the same tables as in a folder, from any machine, never half read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dataprune import flow
from dataprune.core.errors import DatapruneError, UsageError
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.runs.status import run_status
from tests.runs.object_store import ObjectStore
from tests.runs.tiny import tiny_recipe

URL = "s3://bucket/runs/tiny"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """Two seeds of a tiny probe on the digits."""
    return tiny_recipe(scores=["el2n", "forgetting"])


@pytest.fixture(scope="module")
def undisturbed(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The score table that a folder gives."""
    return flow.score(recipe, work=tmp_path_factory.mktemp("work")).path.read_bytes()


def another_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder without a mirror."""
    folder.mkdir()
    monkeypatch.chdir(folder)


def test_a_store_gets_the_units_and_the_very_table_that_a_folder_gets(
    recipe: Recipe, undisturbed: bytes, bucket: ObjectStore
) -> None:
    result = flow.score(recipe, work=URL)
    assert result.trained == [0, 1]
    assert result.path.read_bytes() == undisturbed
    assert bucket.objects["bucket/runs/tiny/scores.parquet"] == undisturbed
    names = sorted(name.rsplit("/", maxsplit=1)[-1] for name in bucket.objects)
    assert names == ["examples.parquet", "log.jsonl", "run.json", "scores.parquet",
                     *["trace.parquet"] * 2, *["unit.json"] * 2]  # fmt: skip


def test_another_machine_trains_only_what_is_missing(
    recipe: Recipe, undisturbed: bytes, bucket: ObjectStore, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    flow.score(recipe, work=URL, seeds=2)
    another_machine(tmp_path / "there", monkeypatch)
    assert run_status(URL)["counts"] == {"finished": 2}
    result = flow.score(recipe, work=URL, seeds=3)
    assert result.trained == [2]
    assert flow.score(recipe, work=URL).path.read_bytes() == undisturbed


@pytest.mark.parametrize("damaged", ["trace.parquet", "unit.json"])
def test_a_unit_whose_object_is_truncated_is_run_again_and_never_read(
    damaged: str, recipe: Recipe, undisturbed: bytes, bucket: ObjectStore, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    flow.score(recipe, work=URL)
    name = next(name for name in sorted(bucket.objects) if name.endswith(damaged))
    bucket.objects[name] = bucket.objects[name][:-9]
    another_machine(tmp_path / "there", monkeypatch)
    result = flow.score(recipe, work=URL)
    assert len(result.trained) == 1
    assert result.path.read_bytes() == undisturbed


def test_the_recipe_may_say_where_the_work_folder_is(recipe: Recipe, bucket: ObjectStore) -> None:
    data = recipe.model_dump(mode="json")
    data["run"]["work"] = URL
    flow.score(parse_recipe(data, where="tests"))
    assert "bucket/runs/tiny/scores.parquet" in bucket.objects


def test_a_store_that_refuses_to_be_written_fails_before_anything_is_trained(
    recipe: Recipe, bucket: ObjectStore
) -> None:
    bucket.refusing = {"PUT"}
    with pytest.raises(DatapruneError, match=rf"cannot write lease.json to {URL}"):
        flow.score(recipe, work=URL)
    assert bucket.objects == {}


def test_progress_that_cannot_be_written_fails_no_unit(
    recipe: Recipe, undisturbed: bytes, bucket: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.refusing = {"PUT progress.json"}
    assert flow.score(recipe, work=URL).path.read_bytes() == undisturbed
    assert "seed 0: its progress could not be written" in caplog.text


@pytest.mark.slow
def test_a_run_that_is_stopped_gives_its_lease_back_so_that_the_next_one_starts_at_once(
    recipe: Recipe, bucket: ObjectStore
) -> None:
    data = recipe.model_dump(mode="json")
    data["seeds"] = 500
    Path("long.yaml").write_text(yaml.safe_dump(data))
    command = [sys.executable, "-m", "dataprune", "score", "long.yaml", "--work", URL]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line == "seed 0 finished\n":
                break
        process.terminate()
        err = process.stderr.read()
    assert process.returncode == 143
    assert "Stopped. What was finished is kept" in err
    assert "bucket/runs/tiny/lease.json" not in bucket.objects
    assert b"run cut off by" in bucket.objects["bucket/runs/tiny/log.jsonl"]
    assert flow.score(recipe, work=URL).trained in ([], [1])


def test_inputs_streamed_from_disk_are_refused_where_workers_cannot_read_them(
    recipe: Recipe, bucket: ObjectStore
) -> None:
    data = recipe.model_dump(mode="json")
    data["run"] |= {"stream": True, "runner": "ray"}
    data["probe"]["shuffle"] = {"name": "blocks"}
    with pytest.raises(UsageError, match="workers cannot at s3://bucket"):
        flow.score(parse_recipe(data, where="tests"), work=URL)
    assert bucket.objects == {}


@pytest.mark.slow
@pytest.mark.ray
def test_ray_workers_put_their_units_into_the_store_themselves(
    recipe: Recipe, undisturbed: bytes, bucket: ObjectStore
) -> None:
    """In a process of its own, whose Ray starts with the store's address in its environment."""
    Path("tiny.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    command = [sys.executable, "-m", "dataprune", "score", "tiny.yaml", "--work", URL]
    done = subprocess.run(
        [*command, "--runner", "ray"], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert bucket.objects["bucket/runs/tiny/scores.parquet"] == undisturbed
    assert len([name for name in bucket.objects if name.endswith("unit.json")]) == 2
    assert not [name for name in bucket.objects if "attempt-" in name or "lease" in name]
