"""`auto`, from scores to the choice: on real digits with planted wrong labels, and its promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataprune
from dataprune import flow
from dataprune.core.errors import DatapruneError, UsageError
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.evaluation.auto import choose_strategies
from dataprune.evaluation.bench import make_bench
from dataprune.evaluation.choices import Chosen
from dataprune.evaluation.of_scores import evaluate_cells
from dataprune.evaluation.report import markdown
from dataprune.runs.ledger import Ledger
from tests.conftest import RECIPE
from tests.evaluation.conftest import loaded_of


def digits_of(folder: Path, test_labels: np.ndarray[Any, Any] | None = None) -> Recipe:
    """Real digits, a fifth of whose 800 training labels are wrong, with a clean test split."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(digits.target))
    x, y = (digits.data / 16).astype(np.float32)[order], digits.target[order].astype(np.int64)
    wrong = rng.random(800) < 0.2
    train = np.where(wrong, (y[:800] + rng.integers(1, 10, 800)) % 10, y[:800])
    test = y[800:] if test_labels is None else test_labels
    (folder / "data").mkdir()
    for name, inputs, labels in (("train", x[:800], train), ("test", x[800:], test)):
        features = pa.array(inputs.tolist(), pa.list_(pa.float32()))
        pq.write_table(
            pa.table({"features": features, "label": labels}), folder / f"data/{name}.parquet"
        )
    probe = RECIPE["probe"] | {"schedule_epochs": 10, "optimizer": {"lr": 0.05, "momentum": 0.9}}
    scores = {"names": ["el2n", "aum"], "at": [10], "timing_gate": "warn"}
    recipe = RECIPE | {"source": {"uri": str(folder / "data")}, "probe": probe, "scores": scores}
    return parse_recipe(recipe, where="tests")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of the digits with wrong labels."""
    folder = tmp_path_factory.mktemp("noisy")
    return flow.score(digits_of(folder), work=folder / "work").path


def choose(scores: Path, work: Path, **changes: Any) -> tuple[Chosen, list[str]]:
    """The choice at 30 %, and labels of the units that were run for it."""
    ran = []

    def note(_unit_id: str, told: dict[str, Any]) -> None:
        if told.get("state") == "finished":
            ran.append(told["label"])

    wanted = {"keep": [0.5], "pilot": 3.0, "work": work, "on_progress": note}
    (chosen,) = choose_strategies(scores, **(wanted | changes))
    return chosen, ran


def test_with_planted_noise_it_chooses_against_the_hardest_rows_and_is_right(
    noisy: Path, tmp_path: Path
) -> None:
    result = evaluate_cells(
        noisy, strategies=["auto", "hardest"], keep=[0.5], seeds=2, pilot=3, work=tmp_path
    )
    (chosen,) = result.chosen
    assert chosen.noise.matters
    assert chosen.strategy.startswith("ccs:beta=0.")
    assert "hardest" in {told.strategy for told in chosen.tried}
    rows = {row["strategy"]: row for row in result.rows}
    assert rows["auto"]["arm"] == f"auto ({chosen.strategy})@0.5"
    assert rows["auto"]["accuracy"] > rows["hardest"]["accuracy"] + 0.02
    assert rows["auto"]["pilot_s"] == chosen.pilot_s > 0
    assert rows["auto"]["scoring_s"] == pytest.approx(result.scoring_s + chosen.pilot_s)
    assert f"chose {chosen.strategy}" in markdown(result)
    assert "after a pilot of" in markdown(result)


def test_the_chosen_cell_is_not_trained_twice_nor_the_pilot_run_again(
    noisy: Path, tmp_path: Path
) -> None:
    chosen, ran = choose(noisy, tmp_path, pilot=0.5)
    assert ran
    again, ran = choose(noisy, tmp_path, pilot=0.5)
    assert ran == []
    assert again == chosen
    before = len(Ledger(tmp_path).records())
    names = ["auto", chosen.strategy]
    common: dict[str, Any] = {"keep": [0.5], "seeds": 1, "steps": 30, "work": tmp_path}
    evaluate_cells(noisy, strategies=names[1:], **common)
    alone = len(Ledger(tmp_path).records())
    assert alone > before
    pilot, _ran = choose(noisy, tmp_path, steps=30, pilot=0.5)
    with_pilot = len(Ledger(tmp_path).records())
    result = evaluate_cells(noisy, strategies=names, pilot=0.5, **common)
    if pilot.strategy == chosen.strategy:
        assert len(Ledger(tmp_path).records()) == with_pilot
    assert [choice.strategy for choice in result.chosen] == [pilot.strategy]


def test_the_pilot_stays_within_its_share(noisy: Path, tmp_path: Path) -> None:
    chosen, ran = choose(noisy, tmp_path, pilot=0.5)
    assert sum(round_.total for round_ in chosen.rounds) <= 0.5 * chosen.full_steps
    steps = [record.identity["num_steps"] for record in Ledger(tmp_path).records()]
    assert sum(steps) <= 0.5 * chosen.full_steps
    assert len(ran) == len(steps)


def test_each_seed_of_the_pilot_is_tested_on_rows_of_its_own(noisy: Path, tmp_path: Path) -> None:
    chosen, _ran = choose(noisy, tmp_path, steps=5, pilot=30, keep=[0.3])
    (round_,) = chosen.rounds
    assert round_.seeds > 2
    identities = [record.identity for record in Ledger(tmp_path).records()]
    seeds = range(round_.seeds)
    shares = {seed: {i["test"] for i in identities if i["seed"] == seed} for seed in seeds}
    assert all(len(tests) == 1 for tests in shares.values())
    assert len(set.union(*shares.values())) == round_.seeds
    assert len({i["rows"] for i in identities}) == len(identities)


def test_a_budget_of_less_than_a_row_of_the_pilot_is_refused(noisy: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"keep 0.00065 is less than a row of the \d+ that a pilot"
    ):
        choose(noisy, tmp_path, keep=[0.00065])


def test_a_score_that_there_is_not_is_named_before_anything_is_trained(
    noisy: Path, tmp_path: Path
) -> None:
    with pytest.raises(DatapruneError, match="el2nn"):
        choose(noisy, tmp_path, by="el2nn")
    with pytest.raises(UsageError, match="by el2n has no effect"):
        evaluate_cells(noisy, strategies=["hardest:by=aum", "random"], by="el2n", work=tmp_path)
    assert not (tmp_path / "units").exists()


def test_test_labels_have_no_part_in_the_choice(noisy: Path, tmp_path: Path) -> None:
    chosen, _ran = choose(noisy, tmp_path / "a", pilot=0.5)
    recipe = digits_of(tmp_path, np.random.default_rng(1).integers(0, 10, 997))
    other = flow.score(recipe, work=tmp_path / "work").path
    again, _ran = choose(other, tmp_path / "b", pilot=0.5)
    assert [told.per_seed for told in again.tried] == [told.per_seed for told in chosen.tried]
    assert (again.strategy, again.why) == (chosen.strategy, chosen.why)


def test_rows_held_out_as_test_rows_are_neither_trained_on_nor_tested_on() -> None:
    recipe = parse_recipe(RECIPE, where="tests")
    loaded = loaded_of(recipe)
    test = make_bench(recipe, loaded).shared["held_out"]
    pilot = make_bench(recipe, loaded, validation=0)
    assert not test[pilot.train_rows].any()
    assert not (test & pilot.shared["held_out"]).any()


def test_flags_lead_and_what_they_leave_no_room_for_is_told(
    split_recipe: Recipe, tmp_path: Path
) -> None:
    data = split_recipe.model_dump(mode="json")
    data |= {"holdout": {"folds": 2, "repeats": 1}, "seeds": 2}
    path = Path(data["source"]["uri"]) / "train.parquet"
    rows = pq.read_table(path)
    labels = rows.column("label").to_pylist()
    labels[:30] = [f"class-{(i + 1) % 3}" for i in range(30)]
    (tmp_path / "data").mkdir()
    pq.write_table(
        rows.set_column(rows.schema.get_field_index("label"), "label", pa.array(labels)),
        tmp_path / "data/train.parquet",
    )
    data["source"] = {"uri": str(tmp_path / "data")}
    data["flags"] = ["label_issue"]
    scores = flow.score(parse_recipe(data, where="tests"), work=tmp_path / "w").path
    chosen, _ran = choose(scores, tmp_path / "e", keep=[0.5], steps=20)
    assert chosen.tried[0].strategy == "flagged->hardest"
    assert 0.05 < chosen.noise.rate < 0.2  # type: ignore[operator]
    most, _ran = choose(scores, tmp_path / "e", keep=[0.99], steps=20)
    assert "left out" in " ".join(most.warnings)
    assert most.tried[0].left_out is not None


def test_what_reads_features_is_tried_where_they_were_recorded(
    split_recipe: Recipe, tmp_path: Path
) -> None:
    data = split_recipe.model_dump(mode="json")
    data["scores"] = {"names": ["el2n"], "features": True}
    scores = flow.score(parse_recipe(data, where="tests"), work=tmp_path / "w").path
    chosen, _ran = choose(scores, tmp_path / "e", steps=20)
    told = {each.strategy.partition(":")[0]: each for each in chosen.tried}
    assert told["d2"].left_out is None
    assert told["d2"].per_seed


def test_prune_and_recipes_that_ask_for_auto_are_told_where_it_is(
    noisy: Path, tmp_path: Path
) -> None:
    with pytest.raises(DatapruneError, match="trains nothing") as caught:
        flow.prune(noisy, keep=0.5, strategy="auto", name="d", tag="v1", store=tmp_path)
    assert "--choose" in str(caught.value.hint)
    with pytest.raises(DatapruneError, match="trains nothing"):
        evaluate_cells(noisy, strategies=["flagged->auto"], work=tmp_path)


def test_a_budget_that_leaves_nothing_out_is_refused(noisy: Path, tmp_path: Path) -> None:
    for keep in (1.0, 800):
        with pytest.raises(DatapruneError, match="leaves none out"):
            choose(noisy, tmp_path, keep=[0.5, keep])
    assert not list(tmp_path.glob("units/*"))


def test_it_is_public() -> None:
    assert dataprune.choose_strategies is choose_strategies
    assert dataprune.Chosen is Chosen
