"""What every runner owes: one suite, run over the local runner and over Ray."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprune.core.errors import DatapruneError, UsageError
from dataprune.core.fingerprint import fingerprint
from dataprune.core.protocols import Job, OnProgress, Resources, Unit
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.flow import score
from dataprune.runs import get_runner
from dataprune.runs.ledger import Ledger
from tests.runs.tiny import tiny_recipe

# Ray workers inherit the environment of the process that starts Ray, which no fixture has done
# yet while this file is imported: so `units` can be imported there by name, as it can be here.
HERE = str(Path(__file__).parent)
sys.path.append(HERE)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), HERE]))

VALUES = np.arange(1000, dtype=np.float64)


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def runner(request: pytest.FixtureRequest) -> str:
    """A runner's name; for Ray, with the session's Ray running."""
    if request.param == "ray":
        request.getfixturevalue("ray_session")
    name: str = request.param
    return name


def unit(function: str, **spec: Any) -> Unit:
    identity = {"function": function, **spec}
    label = f"{function} {spec.get('number', '')}".strip()
    return Unit(fingerprint(identity)[:32], f"units:{function}", identity, spec, label)


def quiet(_unit_id: str, _progress: dict[str, Any]) -> None:
    """Nobody listens."""


def job(folder: Path, *units: Unit, resources: Resources | None = None) -> Job:
    return Job(folder, units, {"values": VALUES.copy()}, resources or Resources())


def test_every_unit_ends_in_the_ledger_with_files_of_the_hashes_it_names(
    runner: str, tmp_path: Path
) -> None:
    units = [unit("add", number=i) for i in range(3)]
    outcomes = get_runner(runner).run(job(tmp_path, *units), quiet)
    assert [o.error for o in outcomes] == [None] * 3
    for i, each in enumerate(units):
        folder = tmp_path / "units" / each.unit_id
        record = json.loads((folder / "unit.json").read_text())
        assert sorted(record["files"]) == ["note.txt", "total.bin"]
        for name, sha256 in record["files"].items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256
        assert (folder / "total.bin").read_bytes() == (VALUES + i).tobytes()
        assert record["identity"] == each.identity
        assert record["result"] == {"sum": float((VALUES + i).sum())}
        assert record["run"]["attempt"] == 1
        assert record["run"]["device"] == "abacus"
        assert sorted(p.name for p in folder.iterdir()) == ["note.txt", "total.bin", "unit.json"]


def test_outcomes_come_in_the_order_of_the_units(runner: str, tmp_path: Path) -> None:
    units = [unit("add", number=i) for i in (5, 1, 4, 2, 3)]
    outcomes = get_runner(runner).run(job(tmp_path, *units), quiet)
    assert [o.unit_id for o in outcomes] == [u.unit_id for u in units]


def test_a_failing_unit_is_a_failed_outcome_and_the_others_finish(
    runner: str, tmp_path: Path
) -> None:
    log = tmp_path / "attempts.log"
    bad = unit("refuse", log=str(log))
    units = [unit("add", number=1), bad, unit("add", number=2)]
    outcomes = get_runner(runner).run(job(tmp_path, *units), quiet)
    assert [o.error for o in outcomes] == [None, "this unit cannot be done", None]
    assert outcomes[1].hint == "ask for another"
    ledger = Ledger(tmp_path)
    assert ledger.finished(bad.unit_id) is None
    failure = ledger.failure(bad.unit_id)
    assert failure is not None
    assert failure["error"] == "this unit cannot be done"
    assert failure["label"] == "refuse"
    assert "ProbeError" in failure["traceback"]
    assert len(ledger.records()) == 2


def test_an_error_of_a_unit_is_not_retried(runner: str, tmp_path: Path) -> None:
    log = tmp_path / "attempts.log"
    bad = unit("refuse", log=str(log))
    get_runner(runner).run(job(tmp_path, bad), quiet)
    assert log.read_text() == "tried\n"
    failure = Ledger(tmp_path).failure(bad.unit_id)
    assert failure is not None
    assert failure["attempt"] == 1


def test_a_failed_unit_leaves_no_half_written_files(runner: str, tmp_path: Path) -> None:
    bad = unit("refuse", log=str(tmp_path / "attempts.log"))
    get_runner(runner).run(job(tmp_path, bad), quiet)
    left = [p.name for p in (tmp_path / "units" / bad.unit_id).rglob("*")]
    assert left == ["failed.json"]


def test_an_unforeseen_exception_is_told_in_one_sentence_with_its_type(
    runner: str, tmp_path: Path
) -> None:
    (outcome,) = get_runner(runner).run(job(tmp_path, unit("stumble")), quiet)
    assert outcome.error == "KeyError: 'missing'"


def test_an_entrypoint_that_does_not_exist_fails_its_unit_only(runner: str, tmp_path: Path) -> None:
    units = [unit("no_such_function"), unit("add", number=1)]
    outcomes = get_runner(runner).run(job(tmp_path, *units), quiet)
    assert outcomes[0].error is not None
    assert "no_such_function" in outcomes[0].error
    assert outcomes[1].error is None


def test_a_unit_whose_result_cannot_be_recorded_fails_alone(runner: str, tmp_path: Path) -> None:
    units = [unit("return_a_set"), unit("add", number=1)]
    outcomes = get_runner(runner).run(job(tmp_path, *units), quiet)
    assert (outcomes[0].error or "").startswith("TypeError: ")
    assert outcomes[1].error is None
    ledger = Ledger(tmp_path)
    assert ledger.finished(units[0].unit_id) is None
    assert ledger.failure(units[0].unit_id) is not None


def test_a_unit_whose_files_cannot_be_moved_into_place_fails_alone(
    runner: str, tmp_path: Path
) -> None:
    blocked = unit("add", number=1)
    (tmp_path / "units" / blocked.unit_id / "total.bin" / "in the way").mkdir(parents=True)
    outcomes = get_runner(runner).run(job(tmp_path, blocked, unit("add", number=2)), quiet)
    assert outcomes[0].error is not None
    assert "total.bin" in outcomes[0].error
    assert "worker lost" not in outcomes[0].error
    assert outcomes[1].error is None
    assert Ledger(tmp_path).failure(blocked.unit_id) is not None


def test_a_unit_that_another_attempt_finished_first_is_no_failure(
    runner: str, tmp_path: Path
) -> None:
    each = unit("be_overtaken")
    (outcome,) = get_runner(runner).run(job(tmp_path, each), quiet)
    assert outcome.error is None
    record = Ledger(tmp_path).finished(each.unit_id)
    assert record is not None
    assert record.path("done.txt").read_text() == "done"
    assert Ledger(tmp_path).failure(each.unit_id) is None


def test_a_unit_that_failed_can_finish_in_a_later_run(runner: str, tmp_path: Path) -> None:
    obstacle = tmp_path / "obstacle"
    obstacle.touch()
    each = unit("refuse_while", obstacle=str(obstacle))
    (first,) = get_runner(runner).run(job(tmp_path, each), quiet)
    assert first.error == "something is in the way"
    obstacle.unlink()
    (second,) = get_runner(runner).run(job(tmp_path, each), quiet)
    assert second.error is None
    assert Ledger(tmp_path).failure(each.unit_id) is None
    assert Ledger(tmp_path).finished(each.unit_id) is not None


def test_shared_arrays_arrive_as_they_were_and_stay_unchanged(runner: str, tmp_path: Path) -> None:
    each = unit("describe_shared")
    work = job(tmp_path, each)
    get_runner(runner).run(work, quiet)
    record = Ledger(tmp_path).finished(each.unit_id)
    assert record is not None
    assert record.result == {
        "names": ["values"],
        "dtypes": ["float64"],
        "shapes": [[1000]],
        "sum": float(VALUES.sum()),
    }
    assert record.path("bytes.bin").read_bytes() == VALUES.tobytes()
    assert np.array_equal(work.shared["values"], VALUES)


def test_progress_is_told_and_ends_with_how_each_unit_ended(runner: str, tmp_path: Path) -> None:
    told: dict[str, list[dict[str, Any]]] = {}
    listen: OnProgress = lambda unit_id, progress: told.setdefault(unit_id, []).append(progress)  # noqa: E731
    good, bad = unit("add", number=1), unit("stumble")
    get_runner(runner).run(job(tmp_path, good, bad), listen)
    assert told[good.unit_id][-1]["state"] == "finished"
    assert told[bad.unit_id][-1]["state"] == "failed"
    assert {p["label"] for p in told[good.unit_id]} == {"add 1"}


def test_nothing_is_run_for_no_units(runner: str, tmp_path: Path) -> None:
    assert get_runner(runner).run(job(tmp_path), quiet) == []
    assert Ledger(tmp_path).records() == []


def test_a_runner_that_does_not_exist_is_refused_with_the_known_names() -> None:
    with pytest.raises(UsageError, match="no runner named rya") as caught:
        get_runner("rya")
    assert caught.value.hint == "did you mean ray? known: local, ray"


@pytest.fixture(scope="module")
def probe_recipe() -> Recipe:
    """Two seeds of a tiny probe on the digits."""
    return tiny_recipe(scores=["el2n", "grand", "forgetting"])


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_local_and_ray_give_the_same_traces_and_the_same_table_byte_for_byte(
    probe_recipe: Recipe, tmp_path: Path
) -> None:
    tables = {r: score(probe_recipe, work=tmp_path / r, runner=r) for r in ("local", "ray")}
    assert tables["local"].trained == tables["ray"].trained == [0, 1]
    units = {r: {p.unit_id: p for p in Ledger(tmp_path / r).records()} for r in ("local", "ray")}
    assert units["local"].keys() == units["ray"].keys()
    for unit_id, record in units["local"].items():
        assert record.files == units["ray"][unit_id].files
        ours, theirs = (units[r][unit_id].path("trace.parquet") for r in ("local", "ray"))
        assert ours.read_bytes() == theirs.read_bytes()
    assert tables["local"].path.read_bytes() == tables["ray"].path.read_bytes()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_seeds_trained_locally_are_not_trained_again_on_ray(
    probe_recipe: Recipe, tmp_path: Path
) -> None:
    score(probe_recipe, work=tmp_path, runner="local")
    more = score(probe_recipe, work=tmp_path, runner="ray", seeds=3)
    assert more.trained == [2]
    assert more.seeds == [0, 1, 2]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_a_probe_that_diverges_on_ray_tells_its_own_error(
    probe_recipe: Recipe, tmp_path: Path
) -> None:
    data = probe_recipe.model_dump(mode="json")
    data["probe"]["optimizer"]["lr"] = 1e30
    with pytest.raises(DatapruneError, match="every unit failed; the first: training diverged"):
        score(parse_recipe(data, where="tests"), work=tmp_path, runner="ray")


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_shared_arrays_are_read_only_in_a_ray_worker(tmp_path: Path) -> None:
    each = unit("write_to_shared")
    (outcome,) = get_runner("ray").run(job(tmp_path, each), quiet)
    assert outcome.error == "ValueError: assignment destination is read-only"


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_a_unit_whose_worker_dies_is_run_again_and_counts_its_attempts(tmp_path: Path) -> None:
    log = tmp_path / "attempts.log"
    each = unit("die_first", log=str(log), deaths=1)
    outcomes = get_runner("ray").run(job(tmp_path, each, unit("add", number=1)), quiet)
    assert [o.error for o in outcomes] == [None, None]
    record = Ledger(tmp_path).finished(each.unit_id)
    assert record is not None
    assert record.run["attempt"] == 2
    assert sorted(record.files) == ["done.txt"]
    assert sorted(p.name for p in record.folder.iterdir()) == ["done.txt", "unit.json"]
    assert log.read_text() == "tried\ntried\n"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_a_unit_whose_worker_dies_every_time_fails_alone_and_says_how_often(
    tmp_path: Path,
) -> None:
    log = tmp_path / "attempts.log"
    each = unit("die_first", log=str(log), deaths=99)
    resources = Resources(max_retries=1)
    work = job(tmp_path, each, unit("add", number=1), resources=resources)
    outcomes = get_runner("ray").run(work, quiet)
    assert outcomes[0].error is not None
    assert outcomes[0].error.startswith("worker lost 2 times: WorkerCrashedError")
    assert "\n" not in outcomes[0].error
    assert outcomes[1].error is None
    assert log.read_text() == "tried\ntried\n"
    failure = Ledger(tmp_path).failure(each.unit_id)
    assert failure is not None
    assert failure["attempt"] == 2


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("resources", [Resources(num_cpus=9999), Resources(num_gpus=64)])
def test_units_that_fit_no_node_are_refused_at_once(resources: Resources, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(DatapruneError, match=r"a unit asks for .* and no node has more") as caught:
        get_runner("ray").run(job(tmp_path, unit("add", number=1), resources=resources), quiet)
    assert time.monotonic() - started < 5
    assert caught.value.hint == "lower run.num_cpus or run.num_gpus in the recipe"
    assert Ledger(tmp_path).records() == []
