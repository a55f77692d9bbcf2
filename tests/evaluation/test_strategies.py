"""Strategies as they are typed."""

from __future__ import annotations

import pytest

from dataprune.core.errors import DatapruneError
from dataprune.core.recipe_prune import PruneRecipe
from dataprune.evaluation.strategies import choice_of, parse_strategy, recorded_strategy
from dataprune.selection._choice import Step


def test_a_name_with_parameters() -> None:
    assert parse_strategy("hardest").steps == (Step("hardest"),)
    found = parse_strategy("window: offset=0.1")
    assert found.label == "window:offset=0.1"
    assert found.steps == (Step("window", {"offset": 0.1}),)


def test_each_strategy_may_decide_by_a_score_of_its_own() -> None:
    found = parse_strategy("flagged->ccs:by=aum@12,beta=0.1")
    assert found.by == "aum@12"
    assert found.steps == (Step("flagged"), Step("ccs", {"beta": 0.1}))
    assert parse_strategy("hardest").by is None


def test_steps_in_order_become_filters_and_one_that_fills_the_budget() -> None:
    asked = parse_strategy("duplicates -> flagged:tier=suspect -> ccs:beta=0.1")
    choice = choice_of(asked, PruneRecipe(strategy="ccs", params={"beta": 0.3}), 0.5, None)
    assert [step.strategy for step in choice.before] == ["duplicates", "flagged"]
    assert choice.before[1].params == {"tier": "suspect"}
    assert (choice.strategy, choice.params) == ("ccs", {"beta": 0.1})


def test_what_a_recipe_prunes_by_is_typed_as_it_would_be() -> None:
    recipe = PruneRecipe(strategy="window", params={"offset": 20})
    assert recorded_strategy(recipe) == "window:offset=20"
    assert parse_strategy(recorded_strategy(recipe)).steps == (Step("window", {"offset": 20}),)


def test_a_cell_keeps_floors_and_seed_of_the_recipe_and_not_its_strategy() -> None:
    recipe = PruneRecipe(strategy="window", params={"offset": 20}, seed=7, min_per_class=2)
    choice = choice_of(parse_strategy("easiest"), recipe, 0.25, "equal")
    assert (choice.strategy, choice.params, choice.keep) == ("easiest", {}, 0.25)
    assert (choice.seed, choice.min_per_class, choice.balance) == (7, 2, "equal")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hardst", "hardst"),
        ("window", "needs the parameter offset"),
        ("window:ofset=1", "no parameter ofset"),
        ("flagged:by=aum->hardest", "no parameter by"),
        ("window:offset", "cannot be read"),
        ("", "has no name"),
        ("hardest->", "has no name"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, told: str) -> None:
    with pytest.raises(DatapruneError, match=told):
        parse_strategy(text)
