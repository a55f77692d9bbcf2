"""The recipe of the reproduction: shipped, frozen, strict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dataprune.core.errors import RecipeError
from dataprune.reproductions.grok_recipe import SHIPPED, load_grok_recipe

RUN: dict[str, Any] = {"name": "r", "steps": 1}


@pytest.fixture
def mistake(tmp_path: Path) -> Any:
    """The error that changed data give."""

    def make(**changes: Any) -> str:
        path = tmp_path / "mine.yaml"
        data = {"reproduces": "grok", "name": "mine", "p": 11, "runs": [RUN], **changes}
        path.write_text(yaml.safe_dump(data))
        with pytest.raises(RecipeError) as caught:
            load_grok_recipe(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return make


def test_the_shipped_recipe_is_the_papers_setting() -> None:
    recipe = load_grok_recipe()
    assert recipe.name == SHIPPED
    assert (recipe.p, recipe.num_neurons, recipe.alpha, recipe.xi) == (97, 500, 0.5, 0.35)
    decays = [run.weight_decay for run in recipe.runs]
    assert decays == [0, 5, 15, 20, 0]
    norm = recipe.runs[-1]
    assert (norm.batch_norm, norm.batch_size, norm.lr) == (True, 64, 0.005)
    assert (recipe.alpha_of(norm), recipe.xi_of(norm)) == (0.65, 0.2)


def test_an_unknown_key_names_the_nearest(mistake: Any) -> None:
    assert "unknown key sead (did you mean seed?" in mistake(sead=1)
    told = mistake(runs=[{**RUN, "weight_decai": 1}])
    assert "unknown key runs.0.weight_decai (did you mean weight_decay?" in told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"p": 12}, "p is 12, which is not a prime number"),
        ({"p": 1000}, "p: "),
        ({"alpha": 1.0}, "alpha: "),
        ({"alpha": 0.001}, "run r trains on 0 of 121 examples"),
        ({"xi": 1.5}, "xi: "),
        ({"runs": []}, "runs: "),
        ({"runs": [RUN, RUN]}, "two runs are called r"),
        ({"runs": [{**RUN, "batch_size": 100}]}, "batches of 100 and 60 training examples"),
        ({"runs": [{**RUN, "steps": 0}]}, "runs.0.steps: "),
        ({"reproduces": "grock"}, "reproduces: "),
        ({"operation": "division"}, "operation: "),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_one_sentence(
    mistake: Any, changes: dict[str, Any], told: str
) -> None:
    assert told in mistake(**changes)


def test_a_missing_file_says_where_to_start(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="there is no recipe file") as caught:
        load_grok_recipe(tmp_path / "gone.yaml")
    assert caught.value.hint == "start from a copy of grok_modular_addition.yaml"
