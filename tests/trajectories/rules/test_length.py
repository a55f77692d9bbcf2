"""Lengths in tokens, approximate or of a tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataprune.core.errors import UsageError
from dataprune.core.recipe_curate import LengthRules
from dataprune.trajectories.rules.length import num_tokens
from tests.trajectories.rules.reading import TAGGED, codes, findings, pointed, talk

tokenizers = pytest.importorskip("tokenizers")


def test_four_characters_are_a_token_rounded_up() -> None:
    assert [num_tokens("x" * n, None) for n in (0, 1, 4, 5, 8)] == [0, 1, 1, 2, 2]


def test_an_answer_above_its_limit_rejects_and_is_pointed_at() -> None:
    limits = LengthRules(answer=3)
    run = talk("u: q", "a: <think>long enough to be long</think><answer>" + "x" * 13 + "</answer>")
    (found,) = (f for f in findings(run, length=limits) if f.code == "N_ANSWER_LONG")
    assert (found.code, found.severity, pointed(run, found)) == (
        "N_ANSWER_LONG", "reject", "x" * 13,
    )  # fmt: skip
    assert (found.score, found.threshold) == (4, 3)
    assert "approx" in found.detail
    short = talk("u: q", "a: <answer>" + "x" * 12 + "</answer>")
    assert "N_ANSWER_LONG" not in codes(short, length=limits)


def test_totals_and_observations_are_noted() -> None:
    run = talk(
        "u: q",
        "a: <code>1</code>",
        f"u: <interpreter>{'y' * 41}</interpreter>",
        "a: <answer>1</answer>",
    )
    found = findings(run, length=LengthRules(observation=10, total=20))
    noted = {f.code: (f.severity, pointed(run, f)) for f in found if f.code[0] == "N"}
    assert noted["N_OBS_LONG"] == ("flag", "y" * 41)
    assert noted["N_TOTAL_LONG"][0] == "flag"


def test_a_task_with_files_needs_an_action() -> None:
    lazy = talk("u: q", "a: <answer>1</answer>", files=("a.csv",))
    assert "N_TOO_SHORT" in codes(lazy)
    assert "N_TOO_SHORT" not in codes(talk("u: q", "a: <answer>1</answer>"))
    busy = talk("u: q", "a: <code>1</code>", "u: 1", "a: <answer>1</answer>", files=("a.csv",))
    assert "N_TOO_SHORT" not in codes(busy)


def test_a_tokenizer_counts_its_own_tokens(tmp_path: Path) -> None:
    words = {"[UNK]": 0, "one": 1, "two": 2}
    model = tokenizers.models.WordLevel(words, unk_token="[UNK]")  # noqa: S106
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    path = str(tmp_path / "tokenizer.json")
    made.save(path)
    assert num_tokens("one two three one", path) == 4
    assert num_tokens("one \ud800 two", path) == 3
    run = talk("u: q", "a: <answer>one two one two</answer>")
    (found,) = (
        f
        for f in findings(run, TAGGED, length=LengthRules(answer=3, tokenizer=path))
        if f.code == "N_ANSWER_LONG"
    )
    assert (found.score, found.detail) == (4, "4 tokens")


def test_a_tokenizer_that_is_missing_or_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no tokenizer"):
        num_tokens("x", str(tmp_path / "missing.json"))
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(UsageError, match=r"bad\.json"):
        num_tokens("x", str(tmp_path / "bad.json"))
