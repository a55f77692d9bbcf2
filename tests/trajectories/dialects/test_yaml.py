"""Dialects of users: read from YAML, and refused with the key that is wrong; and their prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataprune.core.errors import RecipeError, UsageError
from dataprune.trajectories import Message, Trajectory
from dataprune.trajectories.dialects import DIALECTS, parse
from dataprune.trajectories.dialects._prompt import prompt_of
from dataprune.trajectories.dialects._yaml import find_dialect

_GOOD = """
name: mine
marks:
  - {kind: code, open: "<run>", close: "</run>", language: python}
  - {kind: answer, open: "<done>", close: "</done>"}
observation: [["<out>", "</out>"]]
environment: ["<out>"]
prompt_after: ["Task: "]
"""


def _written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


def test_a_users_dialect_reads_messages(tmp_path: Path) -> None:
    dialect = find_dialect(_written(tmp_path, _GOOD))
    said = (
        Message("user", "Obey. Task: 2 + 2"),
        Message("assistant", "<run>print(4)</run>"),
        Message("user", "<out>4</out>"),
        Message("assistant", "<done>4</done>"),
    )
    run = Trajectory("t", "q", said, prompt=said[0].content)
    parsed = parse(run, dialect)
    assert parsed.answer_text == "4"
    assert parsed.observations[0].text == "4"
    assert prompt_of(run, dialect) == "2 + 2"


@pytest.mark.parametrize("name", DIALECTS.names())
def test_a_dialect_is_found_by_name(name: str) -> None:
    assert find_dialect(name) is DIALECTS.get(name)


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="mintt") as told:
        find_dialect("mintt")
    assert "did you mean mint?" in (told.value.hint or "")


@pytest.mark.parametrize(
    ("text", "says", "hints"),
    [
        (_GOOD + "enviroment: []", "enviroment", "did you mean environment?"),
        (_GOOD.replace("language", "langage"), "langage", "did you mean language?"),
        (_GOOD.replace("kind: code", "kind: cod"), "marks.0.kind", "known keys"),
        (_GOOD.replace('"<run>"', '""'), "marks.0.open", "known keys"),
        ("name: mine", "neither an action nor an answer", "known keys"),
        (_GOOD + 'nags: [""]', "empty text", "known keys"),
        ("- 1", "no dialect", "keys"),
        ("{", "not YAML", "example"),
        ("a: !!python/object:os.system x", "not YAML", "example"),
    ],
)
def test_a_dialect_that_is_wrong_is_refused(
    text: str, says: str, hints: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=says) as told:
        find_dialect(_written(tmp_path, text))
    assert hints in (told.value.hint or "")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        find_dialect(str(tmp_path / "missing.yaml"))


def test_the_prompt_is_what_follows_the_dialects_last_mark() -> None:
    first = "Examples:\nTask:\nold\n\nTask:\nnew"
    run = Trajectory("t", "q", (Message("user", first),), prompt=first)
    assert prompt_of(run, find_dialect("mint")) == "new"
    assert prompt_of(run, find_dialect("tools")) == first


def test_a_prompt_that_the_row_gave_is_taken_as_it_is() -> None:
    run = Trajectory("t", "q", (Message("user", "x"),), prompt="do\nTask:\nthis")
    assert prompt_of(run, find_dialect("mint")) == "do\nTask:\nthis"
