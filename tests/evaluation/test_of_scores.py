"""`evaluate` on a score table, from the table to the pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataprune
from dataprune import flow
from dataprune.core.errors import DatapruneError
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.evaluation.of_scores import evaluate_cells
from dataprune.evaluation.outcome import EvaluationResult
from dataprune.evaluation.report import markdown, sentences_of
from dataprune.runs.ledger import Ledger


def run(scores: Path, tmp_path: Path, **changes: Any) -> tuple[EvaluationResult, list[str]]:
    """The result, and labels of the units that were run for it."""
    ran = []

    def note(_unit_id: str, told: dict[str, Any]) -> None:
        if told.get("state") == "finished":
            ran.append(told["label"])

    wanted = {"strategies": ["hardest", "easiest"], "keep": [0.5, 0.1], "steps": 20, "seeds": 2}
    wanted |= {"work": tmp_path / "cells", "on_progress": note}
    return evaluate_cells(scores, **(wanted | changes)), ran


def test_every_cell_is_beside_random_and_full(split_scores: Path, tmp_path: Path) -> None:
    result, ran = run(split_scores, tmp_path)
    kinds = [(row["kind"], row["keep"]) for row in result.rows if row["kind"] != "matched"]
    budget = [("random", 0.5), ("strategy", 0.5), ("strategy", 0.5)]
    assert kinds == [("full", None), *budget, *((kind, 0.1) for kind, _ in budget)]
    assert result.status == "complete"
    assert result.held_out == "test split"
    assert result.num_test_rows == 90
    assert all(row["seeds"] == 2 and len(row["class_accuracy"]) == 3 for row in result.rows)
    assert result.rows[0]["accuracy"] > 0.9
    assert result.scoring_s is not None
    assert len(ran) == len(set(ran)) == len(Ledger(tmp_path / "cells").records())


def test_what_is_finished_is_not_run_again(split_scores: Path, tmp_path: Path) -> None:
    first, ran = run(split_scores, tmp_path, seeds=1)
    assert all(label.endswith("seed 0") for label in ran)
    more, ran = run(split_scores, tmp_path)
    assert ran
    assert all(label.endswith("seed 1") for label in ran)
    assert [row["per_seed"][0] for row in more.rows] == [r["per_seed"][0] for r in first.rows]
    again, ran = run(split_scores, tmp_path)
    assert ran == []
    assert again == more


def test_a_unit_that_was_lost_is_run_again_alone(split_scores: Path, tmp_path: Path) -> None:
    whole, _ran = run(split_scores, tmp_path)
    units = Ledger(tmp_path / "cells").records()
    (units[0].folder / "unit.json").unlink()
    again, ran = run(split_scores, tmp_path)
    assert len(ran) == 1
    keys = ("arm", "per_seed", "class_accuracy")
    assert [{k: r[k] for k in keys} for r in again.rows] == [
        {k: r[k] for k in keys} for r in whole.rows
    ]


def test_units_that_fail_leave_a_partial_table_that_the_next_call_completes(
    split_scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    (tmp_path / "fragile.py").write_text(
        "from pathlib import Path\nfrom torch import nn\nbuilt = []\n\n"
        "def build(shape, num_outputs):\n"
        "    built.append(1)\n"
        f"    if Path({str(broken)!r}).exists() and len(built) > 4:\n"
        "        raise RuntimeError('no more')\n"
        "    return nn.Linear(shape[0], num_outputs)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    broken.touch()
    part, ran = run(split_scores, tmp_path, model="fragile:build")
    assert part.status == "partial"
    assert part.failed > 0
    assert 0 < len(part.rows) < 7
    assert part.rows[0]["arm"] == "full"
    broken.unlink()
    whole, more = run(split_scores, tmp_path, model="fragile:build")
    assert whole.status == "complete"
    assert not set(ran) & set(more)
    assert len(more) == part.failed


def test_the_files_are_written_and_pictures_repeat_byte_for_byte(
    split_scores: Path, tmp_path: Path
) -> None:
    result, _ran = run(split_scores, tmp_path, baselines=["rs2", "infobatch"], out=tmp_path / "a")
    names = ["curve.png", "curve.svg", "results.json", "table.md"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    assert json.loads((tmp_path / "a/results.json").read_text())["rows"] == result.rows
    told = (tmp_path / "a/table.md").read_text()
    assert told == markdown(result)
    for row in result.rows:
        assert (row["arm"] in told) or row["kind"] == "matched"
    assert (tmp_path / "a/curve.png").read_bytes()[:4] == b"\x89PNG"
    svg = (tmp_path / "a/curve.svg").read_text()
    assert "<dc:date>" not in svg
    result.write(tmp_path / "b")
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_another_model_is_retrained_and_said(
    split_scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "models"
    home.mkdir()
    (home / "my_line.py").write_text(
        "from torch import nn\n\ndef build(shape, num_outputs):\n"
        "    return nn.Linear(shape[0], num_outputs)\n"
    )
    monkeypatch.syspath_prepend(str(home))
    own, _ran = run(split_scores, tmp_path, keep=[0.5], seeds=1)
    other, ran = run(split_scores, tmp_path, keep=[0.5], seeds=1, model="my_line:build")
    assert ran
    assert other.scored_with == own.model == "mlp(widths=[16])"
    assert other.model == "my_line:build"
    assert "transfer: scores are of mlp" in markdown(other)
    assert "transfer" not in markdown(own)
    record = Ledger(tmp_path / "cells").records()
    assert {r.identity["probe"]["model"]["name"] for r in record} == {"mlp", other.model}


def test_the_recipes_section_gives_the_defaults(split_recipe: Recipe, tmp_path: Path) -> None:
    data = split_recipe.model_dump(mode="json")
    data["evaluate"] = {"strategies": "window:offset=0.2", "keep": 0.3, "seeds": 1,
                        "protocol": "fixed_epochs", "epochs": 2, "baselines": ["rs2"]}  # fmt: skip
    data["scores"] = {"names": ["loss"]}
    scores = flow.score(parse_recipe(data, where="tests"), work=tmp_path / "w").path
    result = evaluate_cells(scores, work=tmp_path / "cells")
    names = [row["arm"] for row in result.rows if row["kind"] != "matched"]
    assert names == ["full", "random@0.3", "rs2@0.3", "window:offset=0.2@0.3"]
    assert [row["num_steps"] for row in result.rows][:2] == [2 * 18, 2 * 5]
    asked = evaluate_cells(scores, protocol="fixed_steps", baselines=[], work=tmp_path / "cells")
    assert {row["num_steps"] for row in asked.rows} == {4 * 18}


def test_does_it_pay_says_when(split_scores: Path, tmp_path: Path) -> None:
    same, _ran = run(split_scores, tmp_path, seeds=1)
    for line in sentences_of(same)[1:]:
        assert "saves nothing (it takes as many steps as full data)" in line
    fewer, _ran = run(
        split_scores, tmp_path, seeds=1, steps=None, protocol="fixed_epochs", epochs=4
    )
    row = next(row for row in fewer.rows if row["arm"] == "hardest@0.1")
    if row["saved_s"] > 0:
        count = row["breaks_even_at"]
        when = "the first retraining" if count == 1 else f"retraining {count}"
        assert f"saves from {when} on" in sentences_of(fewer)[3]


def test_regression_has_curves_and_no_classes(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)).astype(np.float32)
    y = x @ np.array([1.0, -2.0, 0.5, 0.0]) + 0.1 * rng.normal(size=200)
    features = pa.array(x.tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({"features": features, "label": y}), tmp_path / "r.parquet")
    recipe = {
        "name": "r", "source": {"uri": str(tmp_path / "r.parquet")}, "task": "regression",
        "probe": {"batch_size": 16, "optimizer": {"lr": 0.01}, "schedule_epochs": 3},
        "scores": {"names": ["loss"]}, "seeds": 2,
    }  # fmt: skip
    scores = flow.score(parse_recipe(recipe, where="tests"), work=tmp_path / "w").path
    result, _ran = run(scores, tmp_path, keep=[0.5], out=tmp_path / "out")
    assert result.metric_key == "r2"
    assert all("worst_class" not in row for row in result.rows)
    assert "worst class" not in (tmp_path / "out/table.md").read_text()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"strategies": ["hardst"]}, "hardst"),
        ({"keep": [1.5]}, "keep is 1.5"),
        ({"keep": [301]}, "the source has 300 rows"),
        ({"by": "nothing"}, "nothing"),
        ({"epochs": 3}, "epochs has no effect with fixed_steps"),
        ({"model": "resnet19"}, "resnet19"),
        ({"model": "resnet18"}, "resnet18"),
        ({"strategies": ["flagged->hardest"]}, "flag"),
        ({"strategies": ["hardest->easiest"]}, "nothing can come after it"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(
    split_scores: Path, tmp_path: Path, wrong: dict[str, Any], told: str
) -> None:
    with pytest.raises(DatapruneError, match=told) as caught:
        run(split_scores, tmp_path, **wrong)
    assert "\n" not in caught.value.message
    assert not list((tmp_path / "cells").glob("units/*"))


def test_it_is_public() -> None:
    assert dataprune.evaluate_cells is evaluate_cells
