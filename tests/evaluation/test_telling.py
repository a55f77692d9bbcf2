"""What `auto` says: sentences from made-up results, and a line that decides as the pilot did."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataprune.core.errors import DatapruneError
from dataprune.core.recipe import Recipe
from dataprune.core.recipe_prune import PruneRecipe
from dataprune.evaluation.choices import Chosen, Tried
from dataprune.evaluation.of_scores import evaluate_cells
from dataprune.evaluation.priors import Noise
from dataprune.evaluation.rounds import Difference, Round, verdict
from dataprune.evaluation.study import Study, open_study
from dataprune.evaluation.telling import command_of, reason_of, sentences_of, table_of, warnings_of

LAST = Round(3, 3, 200)
CHOSEN = Chosen(
    keep=0.3, strategy="ccs:beta=0.1", by="el2n", why="because", noise=Noise(0.1, "flags"),
    tried=[
        Tried("ccs:beta=0.1", "el2n", "covers", [[0.5, 0.7], [0.8, 0.9, 0.7]]),
        Tried("beta", "dual", "uncertain", [[0.4, 0.4]]),
        Tried("random", None, "needs no score", [[0.3, 0.3], [0.6, 0.6, 0.6]]),
    ],
    rounds=[Round(5, 2, 90), LAST], over=[Difference("random", 0.2, 0.1)],
    full_steps=1500, own_steps=400, num_validation_rows=50, metric="accuracy", pilot_s=12.34,
    unit="CPU-s", failed=0, command="dataprune prune s.parquet",
)  # fmt: skip


def test_a_reason_says_who_led_and_by_how_much() -> None:
    order = ["first", "second", "random"]
    values = {"first": {0: 0.8, 1: 0.7}, "second": {0: 0.73, 1: 0.8}, "random": {0: 0.5, 1: 0.5}}
    told = reason_of(verdict(values, order), LAST, "hard rows", 100)
    assert told.startswith("it led the pilot after 200 steps with 3 seeds (+1.50 +- ")
    assert "over first; +26.50 +- " in told
    assert told.endswith("over random): hard rows")
    told = reason_of(verdict({"first": {0: 0.5}, "random": {0: 0.4}}, order), LAST, "x", 100)
    assert "(+10.00 over random)" in told
    close = verdict({"first": {0: 0.5}, "random": {0: 0.51}}, order, 100)
    assert reason_of(close, LAST, "x", 100).startswith("it led the pilot but for random rows")
    assert reason_of(verdict({"first": {0: 0.5}}, order), LAST, "x", 100).startswith("nothing else")


def test_warnings_are_of_short_pilots_and_of_what_random_rows_give_as_well() -> None:
    assert warnings_of(CHOSEN) == []
    unsure = replace(CHOSEN, over=[Difference("random", 0.1, 0.2)])
    assert "cannot tell" in warnings_of(unsure)[0]
    short = replace(CHOSEN, rounds=[Round(4, 3, 99)])
    assert "99 steps at most and yours of 400" in warnings_of(short)[0]
    assert warnings_of(replace(short, own_steps=99)) == []
    assert "and yours of 900" in warnings_of(replace(CHOSEN, own_steps=900))[0]
    left = [replace(CHOSEN.tried[1], left_out="no room")]
    assert "beta was left out: no room" in warnings_of(replace(CHOSEN, tried=left))[0]


def test_the_table_and_the_sentences_have_every_figure() -> None:
    _header, rows = table_of([CHOSEN])
    assert rows[0] == ["0.3", "ccs:beta=0.1*", "el2n", "60.00", "80.00", "covers"]
    assert rows[1][3:5] == ["40.00", None]
    _header, rows = table_of([replace(CHOSEN, rounds=[LAST])])
    assert rows[1][3:5] == [None, "40.00"]
    told = "\n".join(sentences_of([CHOSEN]))
    assert "10.0%, flags" in told
    assert "12.3 CPU-s, 1.80 trainings on everything, tested on 50 training rows" in told


@pytest.fixture
def study(split_scores: Path, tmp_path: Path) -> Any:
    with open_study(
        split_scores, {"protocol": None}, by=None, class_balance="proportional", extra=(),
        source=None, scored_in=None, work=tmp_path, run={},
    ) as opened:  # fmt: skip
        yield opened


def words_of(study: Study, chosen: str, **prune: Any) -> list[str]:
    scored: Recipe = study.scored.model_copy(update={"prune": PruneRecipe(**prune)})
    return shlex.split(command_of(replace(study, scored=scored), chosen, "el2n", 0.3))


def test_the_line_has_every_parameter_and_the_classes_share(study: Study) -> None:
    words = words_of(study, "flagged->ccs:beta=0.1,hard_by=aum")
    assert words[:3] == ["dataprune", "prune", str(study.path)]
    assert [w for w in words if w in {"flagged", "ccs", "beta=0.1", "hard_by=aum"}] == [
        "flagged", "ccs", "beta=0.1", "hard_by=aum",
    ]  # fmt: skip
    assert words[words.index("--class-balance") + 1] == "proportional"
    assert "--no-relabel" not in words


def test_parameters_of_the_recipe_do_not_slip_into_what_the_pilot_tried(study: Study) -> None:
    assert "c_d=4.0" in words_of(study, "beta", strategy="beta", params={"c_d": 7})
    steps = [{"strategy": "flagged", "params": {"tier": "suspect"}}, {"strategy": "hardest"}]
    words = words_of(study, "flagged->hardest", steps=steps)
    assert "flagged.tier=likely" in words
    assert "c_d=4.0" not in words_of(study, "beta", strategy="ccs", params={"beta": 0.1})
    assert "--no-relabel" in words_of(study, "hardest", relabel=True)


def test_a_pilot_that_nobody_asked_for_is_refused(split_scores: Path, tmp_path: Path) -> None:
    with pytest.raises(DatapruneError, match="pilot has no effect"):
        evaluate_cells(split_scores, strategies=["hardest"], pilot=2, work=tmp_path)
