"""Parameters of plug-ins are checked against the function that takes them."""

from __future__ import annotations

import pytest

from dataprune.core.errors import UsageError
from dataprune.core.params import check_params


def window(scores: list[float], *, low: float, width: float = 0.5) -> None:
    """A stand-in for a plug-in: one required parameter, one with a default."""


def plain(scores: list[float]) -> None:
    """A plug-in without parameters."""


@pytest.mark.parametrize("params", [{"low": 0.1}, {"low": 0.1, "width": 1}])
def test_parameters_the_function_takes_are_fine(params: dict[str, float]) -> None:
    check_params(window, params, what="strategy window")


def test_no_parameters_are_fine_where_none_are_taken() -> None:
    check_params(plain, {}, what="strategy plain")


def test_an_unknown_parameter_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="strategy window has no parameter widht") as caught:
        check_params(window, {"low": 0.1, "widht": 1}, what="strategy window")
    assert caught.value.hint == "did you mean width? known: low, width"


def test_a_missing_required_parameter_is_refused_with_how_to_give_it() -> None:
    with pytest.raises(UsageError, match="strategy window needs the parameter low") as caught:
        check_params(window, {"width": 1}, what="strategy window")
    assert caught.value.hint == "give it as low=VALUE"


def test_any_parameter_is_refused_where_none_are_taken() -> None:
    with pytest.raises(UsageError, match="has no parameter low") as caught:
        check_params(plain, {"low": 1}, what="strategy plain")
    assert caught.value.hint == "strategy plain takes no parameters"


def test_positional_arguments_are_not_the_users_to_give() -> None:
    with pytest.raises(UsageError, match="has no parameter scores"):
        check_params(window, {"low": 1, "scores": []}, what="strategy window")
