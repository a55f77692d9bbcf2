"""The section `release`: gates that can be switched off, and mistakes told in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from dataprune.core.errors import RecipeError
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.core.recipe_release import Pilot, ReleaseRecipe
from dataprune.tables.manifest import portable_recipe


def parse(release: Any) -> Recipe:
    data = {"name": "r", "source": {"uri": "digits"}, "release": release}
    return parse_recipe(data, where="tests")


def test_an_empty_section_has_every_gate() -> None:
    gates = ReleaseRecipe().gates
    assert (gates.reliability, gates.class_floor, gates.rank_drift) == (0.8, 0.1, 0.7)
    assert gates.pilot == Pilot(seeds=3, tolerance=0.0)
    assert parse(None).release is None


@pytest.mark.parametrize("off", [False, None])
@pytest.mark.parametrize("name", ["reliability", "class_floor", "pilot", "rank_drift"])
def test_false_and_null_switch_a_gate_off(name: str, *, off: bool | None) -> None:
    release = parse({"gates": {name: off}}).release
    assert release is not None
    assert getattr(release.gates, name) is None
    again = parse(release.model_dump(mode="json")).release
    assert again == release


def test_zero_is_a_threshold() -> None:
    release = parse({"gates": {"reliability": 0, "pilot": True}}).release
    assert release is not None
    assert release.gates.reliability == 0.0
    assert release.gates.pilot == Pilot()


@pytest.mark.parametrize(
    ("release", "told"),
    [
        ({"tag": "v1"}, "tag v1 names one version for ever"),
        ({"gates": {"reliability": True}}, "true is no threshold"),
        ({"gates": {"reliability": 1.5}}, "less than or equal to 1"),
        ({"gates": {"class_floor": -0.1}}, "greater than or equal to 0"),
        ({"gates": {"pilot": {"seeds": 1}}}, "greater than or equal to 2"),
        ({"gates": {"relibility": 0.5}}, "did you mean reliability?"),
        ({"gates": {"pilot": {"sseeds": 5}}}, "did you mean seeds?"),
        ({"incremetal": True}, "did you mean incremental?"),
    ],
)
def test_mistakes_are_told_in_a_sentence(release: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(release)
    assert told in str(caught.value)


def test_the_section_is_no_part_of_what_decides_a_score() -> None:
    assert portable_recipe(parse({})) == portable_recipe(parse(None))
