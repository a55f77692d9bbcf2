"""A version that fails a gate is a candidate: built whole, not tagged, never sent, exit code 3."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune.core.errors import AlignmentError, UsageError, VersionNotFoundError
from dataprune.evaluation.outcome import EvaluationResult
from dataprune.releasing import gates
from dataprune.releasing.result import RunResult
from dataprune.runs.ledger import Ledger
from dataprune.tables.release import Gate, read_release
from dataprune.versions.load import load_version
from dataprune.versions.store import LocalStore
from tests.releasing.conftest import Release


def failed(result: RunResult) -> list[str]:
    return [gate.name for gate in result.failed]


def candidates(release: Release) -> LocalStore:
    return LocalStore(release.folder / ".candidates")


def test_a_score_that_seeds_do_not_agree_on_is_not_tagged(release: Release) -> None:
    release.section["gates"]["reliability"] = 0.9999
    result = release.run()
    assert (result.status, result.exit_code, failed(result)) == ("candidate", 3, ["reliability"])
    [gate] = result.failed
    assert gate.value is not None
    assert gate.value < 0.9999
    assert gate.threshold == 0.9999


def test_one_seed_tells_nothing_of_reliability(quick: Release) -> None:
    quick.recipe["seeds"] = 1
    quick.section["gates"]["reliability"] = -1
    result = quick.run()
    assert failed(result) == ["reliability"]
    assert result.failed[0].value is None


def test_a_class_that_nearly_vanishes_is_not_tagged(quick: Release) -> None:
    quick.section["gates"]["class_floor"] = 0.51
    result = quick.run()
    assert failed(result) == ["class_floor"]
    assert result.failed[0].value == 0.5


def test_scores_that_drift_from_the_last_version_are_not_tagged(
    release: Release, rows: pa.Table
) -> None:
    release.section["gates"]["rank_drift"] = 0.9999
    assert release.run().status == "released"  # nothing to drift from
    release.write(rows)
    result = release.run()
    assert failed(result) == ["rank_drift"]
    assert release.tags() == ["v1-el2n-keep0.5"]


def test_drift_is_of_the_new_scores_also_where_old_ones_are_carried_over(
    release: Release, rows: pa.Table
) -> None:
    release.section["gates"]["rank_drift"] = 0.9999
    release.section["incremental"] = True
    release.run()
    release.write(rows)
    result = release.run()
    assert result.outcome.carried == 120
    assert failed(result) == ["rank_drift"]


def test_no_row_in_common_is_no_proof_of_no_drift(release: Release, rows: pa.Table) -> None:
    release.run()
    release.write(rows.slice(120, 40))
    result = release.run()
    assert failed(result) == ["rank_drift"]
    assert "0 rows in common" in result.failed[0].told


def test_missing_units_are_never_tagged_and_tried_again(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flaky_model.py").write_text(
        "import pathlib, torch\n"
        "from dataprune.core.fingerprint import derive_seed\n"
        "def build(shape, num_outputs, *, obstacle):\n"
        "    refused = derive_seed(0, 1, 'init') == torch.initial_seed()\n"
        "    if refused and pathlib.Path(obstacle).exists():\n"
        "        raise RuntimeError('this seed is out of luck')\n"
        "    return torch.nn.Linear(shape[0], num_outputs)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    obstacle = tmp_path / "obstacle"
    obstacle.touch()
    release.recipe["seeds"] = 3
    model = {"name": "flaky_model:build", "params": {"obstacle": str(obstacle)}}
    release.recipe["probe"]["model"] = model
    result = release.run()
    assert failed(result)[0] == "complete"
    assert not result.outcome.complete
    with pytest.raises(UsageError, match="lacks units"):
        release.run(accept=True)
    assert not release.run().unchanged
    obstacle.unlink()
    again = release.run()
    assert (again.status, again.trained) == ("released", [1])


def evaluated(row: dict[str, Any]) -> EvaluationResult:
    return EvaluationResult(
        name="x", rows=[row], metric="accuracy", metric_key="accuracy", protocol="fixed_steps",
        seeds=3, model="mlp", scored_with="mlp", held_out="test", num_test_rows=100, scoring_s=None,
        why="not asked", unit="CPU-s", status="complete", failed=0,
    )  # fmt: skip


@pytest.mark.parametrize("key", ["gain_over_matched", "gain_over_random", "gain_over_full"])
def test_the_pilot_reads_the_nearest_control_that_there_is(key: str) -> None:
    row = {"arm": "v7", "seeds": 3, key: -0.5, f"{key}_half_width": 0.1}
    gate = gates.pilot(evaluated(row), "v7", 0.0)
    assert (gate.value, gate.passed) == (pytest.approx(-0.4), False)
    without = gates.pilot(evaluated({"arm": "v7", "seeds": 1}), "v7", 0.0)
    assert (without.value, without.passed) == (None, False)
    assert not gates.pilot(evaluated({"arm": "random@5", "seeds": 3}), "v7", 0.0).passed


def test_the_pilot_trains_the_probe_whatever_the_recipe_evaluates(release: Release) -> None:
    release.recipe["evaluate"] = {
        "protocol": "fixed_epochs", "epochs": 1,
        "model": {"name": "mlp", "params": {"widths": [3]}},
    }  # fmt: skip
    release.section["gates"]["pilot"] = {"seeds": 2}
    release.run()
    records = Ledger(f"{release.work}/pilot").records()
    assert len(records) == 4  # two seeds of the version, and of random rows
    assert {record.identity["num_steps"] for record in records} == {2 * (96 // 16)}
    assert all(r.identity["probe"]["model"]["params"] == {"widths": [8]} for r in records)


@pytest.mark.parametrize(
    ("per_seed", "tolerance", "passed"),
    [
        ([-0.02, -0.02, -0.02], 0.0, False),  # surely worse
        ([-0.02, -0.02, -0.02], 0.03, True),  # by no more than is tolerated
        ([-0.05, 0.01, -0.02], 0.0, True),  # as worse, but seeds differ as much
        ([0.01, 0.02, 0.015], 0.0, True),
    ],
)
def test_the_pilot_fails_what_is_worse_beyond_what_seeds_explain(
    per_seed: list[float], tolerance: float, *, passed: bool
) -> None:
    half = 4.302652729911275 * float(np.std(per_seed, ddof=1)) / np.sqrt(3)  # t, 2 degrees, 97.5 %
    row = {
        "arm": "v7", "seeds": 3, "gain_over_matched": float(np.mean(per_seed)),
        "gain_over_matched_half_width": half, "gain_over_random": 1.0,
    }  # fmt: skip
    result = evaluated(row)
    gate = gates.pilot(result, "v7", tolerance)
    assert gate.passed is passed
    assert gate.value == pytest.approx(np.mean(per_seed) + half)
    assert not gates.pilot(replace(result, status="partial"), "v7", tolerance).passed


def test_a_version_that_trains_worse_than_its_control_is_not_tagged(release: Release) -> None:
    # The hardest rows are those whose labels are wrong: half of all, so that little else is kept.
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    features = np.eye(2)[labels] * 4 + rng.normal(size=(400, 2))
    wrong = rng.random(400) < 0.3
    told = np.where(wrong, 1 - labels, labels)
    names = [f"c{c}" for c in told]
    inputs = pa.array(features.astype(np.float32).tolist(), pa.list_(pa.float32()))
    release.write(pa.table({"features": inputs, "label": names}))
    release.recipe["probe"] |= {"schedule_epochs": 6, "optimizer": {"lr": 0.05}}
    release.recipe["prune"]["keep"] = 0.3
    release.section["gates"]["pilot"] = {"seeds": 3}
    result = release.run()
    assert failed(result) == ["pilot"]
    assert result.failed[0].value is not None
    assert result.failed[0].value < 0
    units = release.units()
    release.section["gates"]["pilot"]["tolerance"] = 1.0
    assert release.run().status == "released"
    assert release.units() == units  # probes and pilot are those of before
    assert not (release.work / "trial").exists()


def test_a_candidate_is_whole_and_listed_nowhere(quick: Release) -> None:
    quick.section["gates"]["class_floor"] = 0.9
    result = quick.run()
    assert result.tag == "v1-random-keep0.5"
    version = load_version(candidates(quick), "grows", result.tag)
    assert len(version.frame().collect()) == 60
    assert quick.store.names() == []
    with pytest.raises(VersionNotFoundError):
        load_version(quick.store, "grows", result.tag)
    again = quick.run()
    assert (again.unchanged, again.exit_code, again.outcome) == (True, 3, result.outcome)


def test_candidates_use_up_no_numbers_and_the_newest_is_kept(
    quick: Release, rows: pa.Table
) -> None:
    quick.run()
    quick.section["gates"]["class_floor"] = 0.9
    for size in (130, 140, 150):
        quick.write(rows.slice(0, size))
        result = quick.run()
        assert result.tag == "v2-random-keep0.5"
        assert candidates(quick).tags("grows") == [result.tag, f"{result.tag}-control"]
        assert candidates(quick).manifest("grows", result.tag).source.num_rows == size
    quick.section["gates"]["class_floor"] = 0.1
    assert quick.run().tag == "v2-random-keep0.5"
    assert candidates(quick).names() == []
    assert quick.tags() == ["v1-random-keep0.5", "v2-random-keep0.5"]


def test_the_next_version_is_compared_with_the_last_tagged_not_with_a_candidate(
    release: Release, rows: pa.Table
) -> None:
    release.section["incremental"] = True
    first = release.run()
    release.section["gates"]["class_floor"] = 0.9
    release.write(rows.slice(0, 140))
    release.run()
    release.section["gates"]["class_floor"] = 0.1
    release.write(rows)
    assert release.run().outcome.carried == 120
    [drift] = [gate for gate in release.run().gates if gate.name == "rank_drift"]
    assert first.tag in drift.told


def test_accepting_tags_the_very_candidate_and_records_what_was_overridden(quick: Release) -> None:
    quick.section["gates"]["class_floor"] = 0.9
    candidate = quick.run()
    data = (candidate.folder / "data").iterdir()
    bytes_before = {path.name: path.read_bytes() for path in data}
    accepted = quick.run(accept=True)
    assert (accepted.status, accepted.exit_code, accepted.created) == ("released", 0, True)
    assert accepted.outcome.accepted == ["class_floor"]
    assert accepted.outcome.fingerprint == candidate.outcome.fingerprint
    assert bytes_before == {p.name: p.read_bytes() for p in (accepted.folder / "data").iterdir()}
    assert quick.tags() == [accepted.tag]
    assert candidates(quick).names() == []
    state = read_release(quick.work)
    assert state is not None
    assert state.outcome is not None
    assert (state.released, state.outcome.accepted) == (accepted.tag, ["class_floor"])
    assert (quick.run().unchanged, quick.run().exit_code) == (True, 0)


def test_what_has_changed_since_is_not_accepted_unseen(quick: Release, rows: pa.Table) -> None:
    with pytest.raises(UsageError, match="no candidate of grows to accept"):
        quick.run(accept=True)
    quick.section["gates"]["class_floor"] = 0.9
    quick.run()
    quick.write(rows)
    with pytest.raises(UsageError, match="have changed"):
        quick.run(accept=True)
    quick.run()
    (quick.work / "scores.parquet").write_bytes(b"")
    with pytest.raises(UsageError, match="have changed"):
        quick.run(accept=True)
    shutil.rmtree(candidates(quick).folder)
    quick.run()
    assert quick.run(accept=True).status == "released"
    with pytest.raises(UsageError, match=r"to accept: grows@v1-random-keep0\.5 is tagged"):
        quick.run(accept=True)


def test_a_source_that_nothing_pins_is_read_every_time_and_can_be_accepted(
    quick: Release, rows: pa.Table
) -> None:
    quick.recipe["source"]["uri"] = "memory://grows/train.parquet"

    def write(table: pa.Table) -> None:
        with fsspec.filesystem("memory").open("/grows/train.parquet", "wb") as file:
            pq.write_table(table, file)

    write(rows.slice(0, 100))
    quick.section["gates"]["class_floor"] = 0.9
    quick.run()
    assert not quick.run().unchanged
    write(rows)
    with pytest.raises(AlignmentError):
        quick.run(accept=True)
    assert quick.tags() == []
    quick.run()
    assert quick.run(accept=True).outcome.rows_in == 160


def test_a_strategy_that_reads_no_score_has_neither_reliability_nor_drift(
    quick: Release, rows: pa.Table
) -> None:
    quick.recipe["prune"]["strategy"] = "random"
    quick.section["gates"] |= {"reliability": 0.9, "rank_drift": 0.9}
    assert quick.run().status == "released"
    quick.write(rows)
    assert quick.run().status == "released"


def test_noise_is_not_reliable(quick: Release) -> None:
    quick.section["gates"]["reliability"] = 0.5
    quick.recipe["seeds"] = 4
    assert failed(quick.run()) == ["reliability"]


def test_a_pilot_where_nothing_is_left_out_or_without_labels_is_refused(quick: Release) -> None:
    quick.section["gates"]["pilot"] = {"seeds": 2}
    quick.section["control"] = False
    keep, quick.recipe["prune"]["keep"] = quick.recipe["prune"]["keep"], 1.0
    with pytest.raises(UsageError, match="compares a version with random rows"):
        quick.run()
    quick.recipe["prune"]["keep"] = keep
    quick.recipe["task"] = None
    with pytest.raises(UsageError, match="the recipe has none"):
        quick.run()


def test_the_gates_are_in_the_state_as_they_were_told(quick: Release) -> None:
    result = quick.run()
    stored: dict[str, Any] = json.loads((quick.work / "release.json").read_text())
    assert [Gate.model_validate(g) for g in stored["outcome"]["gates"]] == result.gates


def test_shares_of_a_class_are_counted_exactly() -> None:
    classes = {"a": {"source": 10, "kept": 1}, "b": {"source": 0, "kept": 0}}
    gate = gates.class_floor(classes, 0.1)
    assert (gate.value, gate.passed) == (0.1, True)
    assert not gates.class_floor(classes, 0.11).passed


def test_the_source_is_only_read(quick: Release) -> None:
    before = quick.source.read_bytes()
    quick.run()
    assert quick.source.read_bytes() == before
    assert pq.read_metadata(quick.source).num_rows == 120
