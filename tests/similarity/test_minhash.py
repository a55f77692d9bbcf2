"""Texts: what counts as nearly the same, and that the threshold means what it says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import MissingExtraError, SourceError, UsageError
from dataprune.similarity.minhash import minhash_groups
from dataprune.similarity.shingles import normalise, shingles_of


def slow_shingles(text: str) -> set[str]:
    """Character 5-grams of the normalised text between two spaces."""
    inner = normalise(text)
    padded = f" {inner} ".ljust(5)
    return {padded[k : k + 5] for k in range(len(padded) - 4)} if inner else set()


def slow_groups(texts: list[str], threshold: float) -> list[int]:
    """Compare all pairs, relabel whole groups."""
    sets = [slow_shingles(text) for text in texts]
    groups = list(range(len(texts)))
    for j in range(len(texts)):
        for i in range(j):
            union = len(sets[i] | sets[j])
            near = not union or len(sets[i] & sets[j]) / union >= threshold
            if near and groups[i] != groups[j]:
                low, high = sorted((groups[i], groups[j]))
                groups = [low if g == high else g for g in groups]
    return groups


QUESTIONS = [
    "What is the capital of France ?",
    "How many bones are there in the human hand ?",
    "Who invented the instant Polaroid camera ?",
    "What do I do if I still have not received my new card ?",
    "Can you tell me the amount of gas I have in my car right now",
]


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("What is a cat ?", "What is a cat ?"),
        ("What is a cat ?", "  what IS a\tcat ?\n"),
        ("How many bones are there in the human hand ?", "How many bones are in the human hand ?"),
        (
            "Which college did Dikembe Mutombo play at ?",
            "Which college did Dikembe Mutombo play at",
        ),
        ("\uff37\uff49\uff44\uff45 letters", "Wide letters"),
        ("cafe\u0301 au lait", "caf\u00e9 au lait"),
        (
            "\u4eca\u5929\u5929\u6c14\u600e\u4e48\u6837",
            "\u4eca\u5929\u5929\u6c14\u600e\u4e48\u6837",
        ),
        ("ok", "OK"),
    ],
)
def test_nearly_the_same_letters_are_a_group(text: str, other: str) -> None:
    assert minhash_groups([text, *QUESTIONS[2:], other]).tolist() == [0, 1, 2, 3, 0]


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("What is the capital of France ?", "What is the capital of Spain ?"),
        ("share my location with mom", "share my location with dad"),
        ("CNN is the abbreviation for what ?", "CPR is the abbreviation for what ?"),
        ("yes", "no"),
        ("a", ""),
        ("\U0001f600", "\U0001f601"),
        ("one text", "another text"),
    ],
)
def test_another_question_is_another_group(text: str, other: str) -> None:
    assert minhash_groups([text, other]).tolist() == [0, 1]


def test_empty_texts_are_one_group_and_near_no_other() -> None:
    texts = ["", "a", "  ", "What is a cat ?", "\n", "a"]
    assert minhash_groups(texts).tolist() == [0, 1, 0, 3, 0, 1]
    assert minhash_groups(texts, threshold=0.5).tolist() == [0, 1, 0, 3, 0, 1]


def test_no_text_and_one_text() -> None:
    assert minhash_groups([]).tolist() == []
    assert minhash_groups([""]).tolist() == [0]
    assert minhash_groups(iter(["one"])).dtype == np.int64


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.5, 0.65, 0.8, 0.9, 1.0]))
def test_groups_equal_those_of_all_pairs(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    texts = []
    for question in rng.choice(QUESTIONS, 25):
        words = str(question).split()
        for _ in range(rng.integers(0, 4)):
            words[rng.integers(len(words))] = str(rng.choice(["what", "card", "x", "", "gas"]))
        texts.append(" ".join(words))
    assert minhash_groups(texts, threshold=threshold).tolist() == slow_groups(texts, threshold)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab \u00e9\u4e2d\U0001f600", max_size=12), max_size=12))
def test_groups_of_any_texts_equal_those_of_all_pairs(texts: list[str]) -> None:
    assert minhash_groups(texts, threshold=0.6).tolist() == slow_groups(texts, 0.6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=8))
def test_shingles_are_the_character_5_grams(texts: list[str]) -> None:
    expected = [len(slow_shingles(text)) for text in texts]
    assert shingles_of(texts).sizes.tolist() == expected


def test_the_threshold_itself_is_near_enough() -> None:
    text = "abcdefghijklmnopqrstuvwxyz"
    longer = text + "012345"
    shared = len(slow_shingles(text) & slow_shingles(longer))
    index = shared / len(slow_shingles(text) | slow_shingles(longer))
    assert 0.5 < index < 1
    assert minhash_groups([text, longer], threshold=index).tolist() == [0, 0]
    assert minhash_groups([text, longer], threshold=index + 1e-9).tolist() == [0, 1]


def test_groups_are_closed_a_step_at_a_time() -> None:
    text = "we went to the old market in the north of the town to buy some fresh bread"
    first, middle, last = (text[k : k + 60] for k in (0, 6, 12))
    assert minhash_groups([first, last], threshold=0.7).tolist() == [0, 1]
    assert minhash_groups([first, last, middle], threshold=0.7).tolist() == [0, 0, 0]


def test_permuting_rows_permutes_the_groups() -> None:
    texts = [f"{q} {tail}".strip() for q in QUESTIONS for tail in ("", "please", "?", "now")]
    groups = minhash_groups(texts)
    assert 1 < len(np.unique(groups)) < len(texts)
    order = np.random.default_rng(1).permutation(len(texts))
    permuted = minhash_groups([texts[k] for k in order])
    assert {frozenset(order[permuted == g].tolist()) for g in permuted} == {
        frozenset(np.flatnonzero(groups == g).tolist()) for g in groups
    }


def test_groups_do_not_depend_on_pythons_hash_seed() -> None:
    code = (
        "from dataprune.similarity.minhash import minhash_groups\n"
        "texts = [f'question {k // 2} about the weather in the city number {k // 2}'\n"
        "         + ' please' * (k % 2) for k in range(40)]\n"
        "print(minhash_groups(texts, threshold=0.7).tolist())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert len(set(printed.pop().split(","))) < 40


def test_thousands_of_texts_from_one_template_are_grouped_in_seconds() -> None:
    template = "Your order number {:06d} has been received and is being processed in our warehouse"
    texts = [template.format(k) for k in range(10_000)]
    started = time.perf_counter()
    groups = minhash_groups([*texts, *[""] * 10_000])
    assert time.perf_counter() - started < 20
    assert np.unique(groups).tolist() == [0, 10_000]


def test_without_the_extra_the_command_that_brings_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(MissingExtraError, match="near-duplicate texts needs datasketch") as caught:
        minhash_groups(QUESTIONS)
    assert caught.value.hint == "pip install 'dataprune[similarity]'"


@pytest.mark.parametrize("threshold", [0.0, 0.49, 1.01, float("nan"), "0.8", None])
def test_a_threshold_out_of_range_is_refused(threshold: Any) -> None:
    with pytest.raises(UsageError, match="threshold is"):
        minhash_groups([], threshold=threshold)


@pytest.mark.parametrize(
    ("text", "what"), [(None, "is NoneType, not a string"), ("\ud800", "holds a lone surrogate")]
)
def test_what_is_no_text_is_refused_by_row(text: Any, what: str) -> None:
    with pytest.raises(SourceError, match=f"text 1 {what}"):
        minhash_groups(["fine", text])
