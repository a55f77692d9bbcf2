"""The exception tree: exit codes, one-sentence texts, and a way through pickle."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core import errors
from dataprune.core.errors import DatapruneError, nearest

KINDS = sorted(
    (
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, DatapruneError)
    ),
    key=lambda kind: kind.__name__,
)
EXIT_CODES = {
    "UsageError": 2,
    "RecipeError": 2,
    "PartialError": 3,
    "BusyError": 4,
}


@pytest.mark.parametrize("hint", [None, "do that"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_error_comes_back_whole_from_pickle(
    kind: type[DatapruneError], hint: str | None
) -> None:
    back = pickle.loads(pickle.dumps(kind("this is wrong", hint=hint)))  # noqa: S301 - our own
    assert type(back) is kind
    assert (back.message, back.hint, back.exit_code) == ("this is wrong", hint, kind.exit_code)
    assert str(back) == str(kind("this is wrong", hint=hint))


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_can_be_copied(kind: type[DatapruneError]) -> None:
    assert copy.copy(kind("this is wrong", hint="do that")).hint == "do that"


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_the_exit_code_of_its_branch(kind: type[DatapruneError]) -> None:
    assert kind.exit_code == EXIT_CODES.get(kind.__name__, 1)


def test_the_tree_drawn_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        name = line.split()[0] if line.strip() else ""
        if name.endswith("Error"):
            depth = len(line) - len(line.lstrip())
            above = [(d, n) for d, n in above if d < depth]
            drawn[name] = above[-1][1] if above else "Exception"
            above.append((depth, name))
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in KINDS}


def test_an_error_shows_its_hint_in_brackets() -> None:
    assert str(DatapruneError("this is wrong", hint="do that")) == "this is wrong (do that)"


def test_an_error_without_a_hint_is_its_message() -> None:
    assert str(DatapruneError("this is wrong")) == "this is wrong"


def test_the_nearest_name_comes_first() -> None:
    assert (
        nearest("hardst", ["random", "hardest"]) == "did you mean hardest? known: hardest, random"
    )


def test_a_name_like_no_other_gets_the_list_alone() -> None:
    assert nearest("zzz", ["random", "hardest"]) == "known: hardest, random"


@settings(deadline=None)
@given(st.text(max_size=20), st.lists(st.text(max_size=10), max_size=8))
def test_a_hint_lists_every_known_name_whatever_was_typed(name: str, known: list[str]) -> None:
    assert nearest(name, known).endswith(f"known: {', '.join(sorted(known))}")
