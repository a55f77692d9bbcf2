"""Units of several workers through the Ray runner: from a recipe to scores, and from traces."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprune.core.fingerprint import fingerprint
from dataprune.core.protocols import Job, Outcome, Resources, Unit
from dataprune.core.recipe import parse_recipe
from dataprune.flow import score
from dataprune.runs import get_runner
from dataprune.runs.ledger import Ledger
from dataprune.tables.scores import read_scores
from dataprune.tables.trace import trace_names

pytestmark = [pytest.mark.slow, pytest.mark.ray]

# Ray workers inherit the environment of the process that starts Ray: so they can import functions
# from this folder by name.
HERE = str(Path(__file__).parent)
sys.path.append(HERE)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), HERE]))


@pytest.mark.usefixtures("ray_session")
def test_a_run_of_two_workers_a_unit_gives_the_scores_of_one(
    recipe_data: dict[str, Any], tmp_path: Path
) -> None:
    recipe_data["scores"] = {"names": ["el2n", "grand", "forgetting"], "timing_gate": "off"}
    made = {}
    for workers in (1, 2):
        run = {"runner": "ray", "workers": workers, "num_cpus": 1}
        recipe = parse_recipe({**recipe_data, "run": run}, where="tests")
        made[workers] = score(recipe, work=tmp_path / f"{workers}")
        assert (made[workers].status, made[workers].trained) == ("complete", [0, 1])
    shards = [trace_names(record.files) for record in Ledger(tmp_path / "2").records()]
    assert [len(names) for names in shards] == [2, 2]
    one, two = (read_scores(made[workers].path) for workers in (1, 2))
    for name in ("el2n", "grand"):
        ours, theirs = two.values(name), one.values(name)
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)
        assert np.corrcoef(ours.argsort().argsort(), theirs.argsort().argsort())[0, 1] > 0.9999
    again = score(recipe, work=tmp_path / "2")
    assert again.trained == []
    assert again.path.read_bytes() == made[2].path.read_bytes()
    traced = score(recipe, traces=tmp_path / "2", out=tmp_path / "traced.parquet")
    assert (read_scores(traced.path).values("el2n") == two.values("el2n")).all()


def run_by_two(function: str, folder: Path, **spec: Any) -> tuple[Outcome, str]:
    """What came of one unit that two processes do, and its id."""
    identity = {"function": function}
    unit = Unit(fingerprint(identity)[:32], f"gang_functions:{function}", identity, spec, function)
    job = Job(folder, [unit], {"values": np.zeros(1)}, Resources(workers=2))
    return get_runner("ray").run(job, lambda *_: None)[0], unit.unit_id


@pytest.mark.usefixtures("ray_session")
def test_a_worker_that_is_killed_while_the_others_wait_for_it_is_replaced(tmp_path: Path) -> None:
    outcome, unit_id = run_by_two("lose_one", tmp_path / "run", marker=str(tmp_path / "killed"))
    assert outcome.error is None
    assert (tmp_path / "killed").exists()
    record = Ledger(tmp_path / "run").finished(unit_id)
    assert record is not None
    assert record.result == {"ranks": [0, 1]}
    assert sorted(record.files) == ["rank-0.txt", "rank-1.txt"]


@pytest.mark.usefixtures("ray_session")
def test_a_worker_that_fails_tells_why_and_the_unit_is_not_tried_again(tmp_path: Path) -> None:
    outcome, _ = run_by_two("fail_in_one", tmp_path / "run")
    assert outcome.error == "ValueError: the one that failed"
