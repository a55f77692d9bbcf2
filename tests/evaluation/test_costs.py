"""What scoring took, and from which retraining on it is paid for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataprune.core.recipe import Recipe, RunRecipe, parse_recipe
from dataprune.evaluation.costs import device_seconds, payoff, scoring_cost
from dataprune.runs.ledger import Ledger
from dataprune.tables.scores import read_scores


@pytest.mark.parametrize(
    ("scoring_s", "own_s", "k"), [(0, 4, 1), (5, 4, 1), (6, 4, 2), (12, 4, 3), (11.9, 4, 2)]
)
def test_the_break_even_is_the_first_retraining_at_which_less_was_spent(
    scoring_s: float, own_s: float, k: int
) -> None:
    found = payoff(10, own_s, scoring_s, fewer_steps=True)["breaks_even_at"]
    assert found == k
    assert k * (10 - own_s) > scoring_s
    assert (k - 1) * (10 - own_s) <= scoring_s


def test_nothing_is_saved_by_as_many_steps_or_more_seconds() -> None:
    assert payoff(10, 9.9, 0, fewer_steps=False) == {
        "saved_s": 0.0, "scoring_s": 0, "breaks_even_at": None,
    }  # fmt: skip
    assert payoff(10, 11, 5, fewer_steps=True)["breaks_even_at"] is None
    assert payoff(10, 4, None, fewer_steps=True)["breaks_even_at"] is None


def test_seconds_count_once_for_each_thread_or_by_the_share_of_a_gpu() -> None:
    assert device_seconds(3, RunRecipe(num_cpus=2)) == 6
    assert device_seconds(3, RunRecipe(num_cpus=2, num_gpus=0.5)) == 1.5
    assert device_seconds(3, RunRecipe(runner="ray", num_cpus=2, workers=4)) == 24


def test_scoring_costs_what_the_units_of_its_table_took(
    split_recipe: Recipe, split_scores: Path, tmp_path: Path
) -> None:
    table = read_scores(split_scores)
    folder = split_scores.parent
    seconds = [Ledger(folder).finished(i).run["seconds"] for i in table.meta["unit_ids"]]  # type: ignore[union-attr]
    found = scoring_cost(table, split_recipe, [tmp_path, folder], split_recipe.run)
    assert found.seconds == pytest.approx(sum(seconds))
    assert len(seconds) == 2
    lost = scoring_cost(table, split_recipe, [tmp_path / "nowhere"], split_recipe.run)
    assert lost.seconds is None
    assert "--scored-in" in str(lost.why)
    carried = replace(table, meta={**table.meta, "carried": [{"rows": 3}]})
    assert scoring_cost(carried, split_recipe, [folder], split_recipe.run).seconds is None
    other = scoring_cost(table, split_recipe, [folder], RunRecipe(num_gpus=1))
    assert other.seconds is None
    assert "do not add up" in str(other.why)


def test_scores_without_units_have_no_known_cost(split_recipe: Recipe, tmp_path: Path) -> None:
    from dataprune import flow

    data = split_recipe.model_dump(mode="json") | {"scores": {"names": ["random"]}}
    path = flow.score(parse_recipe(data, where="tests"), work=tmp_path / "other").path
    found = scoring_cost(read_scores(path), split_recipe, [path.parent], split_recipe.run)
    assert found.seconds is None
    assert "names no units" in str(found.why)
