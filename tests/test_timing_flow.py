"""The main job's timing gate on data that is known by heart long before it is understood.

Modular addition with wrong labels, as any source: features in Parquet, the shipped network. Early
on EL2N is upside down there, low for wrong labels, since few of their like contradict them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataprune
from dataprune.core.errors import ProbeError
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.flow import ScoreResult
from dataprune.tables.scores import read_scores

P = 29
EARLY, LATE = (2, 5), (40, 60)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def sums(tmp_path: Path) -> tuple[Path, npt.NDArray[np.bool_]]:
    """All sums mod 29 as two one-hot numbers, a tenth of the labels drawn; which are wrong."""
    import torch

    from dataprune.reproductions.grok_data import make_data

    generator = torch.Generator().manual_seed(0)
    data = make_data(P, "addition", alpha=1, xi=0.1, generator=generator)
    one_hot = np.eye(P, dtype=np.float32)
    pairs = np.hstack([one_hot[data.left_B.numpy()], one_hot[data.right_B.numpy()]])
    path = tmp_path / "sums.parquet"
    pq.write_table(pa.table({"pair": list(pairs), "label": data.label_T.numpy()}), path)
    return path, data.is_wrong_T.numpy()


def job(path: Path, **scores: Any) -> Recipe:
    data = {
        "name": "sums",
        "source": {"uri": str(path)},
        "probe": {
            "model": {"name": "mlp", "params": {"widths": [256]}},
            "batch_size": 64,
            "optimizer": {"lr": 0.3, "weight_decay": 0.003},
            "schedule": {"name": "warmup_stable_decay", "warmup": 0.02, "decay": 0},
            "schedule_epochs": LATE[-1],
        },
        "scores": {"names": ["el2n"], "at": [*EARLY, *LATE], **scores},
        "seeds": 2,
    }
    return parse_recipe(data, where="tests")


def areas(made: ScoreResult, wrong: npt.NDArray[np.bool_]) -> dict[int, float]:
    """How well EL2N at each epoch tells wrong labels from right ones."""
    table = read_scores(made.path)
    found = {}
    for judged in made.timing:
        value = table.values(f"el2n@{judged.epoch}")
        above = value[wrong][:, None] - value[~wrong]
        found[judged.epoch] = float(np.mean((above > 0) + (above == 0) / 2))
    return found


def test_epochs_at_which_wrong_labels_do_not_stand_out_are_the_ones_warned_of(
    sums: tuple[Path, npt.NDArray[np.bool_]], tmp_path: Path
) -> None:
    path, wrong = sums
    made = dataprune.score(job(path, timing_gate="warn"), work=tmp_path / "work")
    area = areas(made, wrong)
    assert max(area[epoch] for epoch in EARLY) < 0.5
    assert min(area[epoch] for epoch in LATE) > 0.95
    problems = {judged.epoch: judged.problem for judged in made.timing}
    assert list(problems) == [*EARLY, *LATE]
    for epoch in EARLY:
        assert "is not above chance" in str(problems[epoch])
    assert [problems[epoch] for epoch in LATE] == [None, None]
    assert [warning.partition(":")[0] for warning in made.warnings] == [
        f"scores at epoch {epoch} come too early" for epoch in EARLY
    ]


def test_by_default_such_scores_are_refused_and_the_epoch_named_instead_gives_good_ones(
    sums: tuple[Path, npt.NDArray[np.bool_]], tmp_path: Path
) -> None:
    path, wrong = sums
    work, out = tmp_path / "work", tmp_path / "scores.parquet"
    with pytest.raises(ProbeError, match="scores at epoch 2 come too early") as refused:
        dataprune.score(job(path), work=work, out=out)
    assert str(refused.value.hint).startswith(f"use --at {LATE[0]};")
    assert not out.exists()
    made = dataprune.score(job(path), at=[LATE[0]], work=work, out=out)
    assert made.warnings == []
    assert areas(made, wrong)[LATE[0]] > 0.95
