"""Words with their places, in one pass, whatever the text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataprune.similarity.words import normalised, shingles_of_all, words_of


def texts(text: str) -> list[str]:
    words = words_of(text)
    return [text[a:b] for a, b in zip(words.starts.tolist(), words.ends.tolist(), strict=True)]


def test_words_are_letters_and_digits() -> None:
    assert texts("  It's 3.14, caf\u00e9_x!") == ["It", "s", "3", "14", "caf\u00e9", "x"]
    assert texts("") == texts(" .,\n") == []


def test_characters_of_scripts_without_spaces_are_words() -> None:
    assert texts("a\u4e16\u754cb \u3042\u3044") == [
        "a",
        "\u4e16",
        "\u754c",
        "b",
        "\u3042",
        "\u3044",
    ]


def test_combining_marks_stay_with_their_letters() -> None:
    assert texts("\u0939\u093f\u0928\u094d\u0926\u0940 e\u0301") == [
        "\u0939\u093f\u0928\u094d\u0926\u0940",
        "e\u0301",
    ]


def test_half_characters_and_unassigned_ones_separate() -> None:
    assert texts("a\ud800b\U0010fffdc") == ["a", "b", "c"]


def test_case_and_punctuation_do_not_count() -> None:
    a, b = words_of("The SUM, of (all) rows"), words_of("the sum of all ROWS!")
    assert a.hashes.tolist() == b.hashes.tolist()
    assert len(set(a.hashes.tolist())) == 5
    assert normalised("The SUM, of\n(all) rows") == "the sum of all rows"


def test_order_counts_in_sequences() -> None:
    a, b = words_of("one two three"), words_of("two one three")
    assert set(a.hashes.tolist()) == set(b.hashes.tolist())
    assert a.sequences(3).tolist() != b.sequences(3).tolist()
    assert len(a.sequences(4)) == 0
    assert a.shingles(5).tolist() == a.sequences(3).tolist()
    assert len(words_of("").shingles(5)) == 0


def slow_words(text: str) -> list[str]:
    return [
        w for w in "".join(c if c.isascii() and c.isalnum() else " " for c in text).split() if w
    ]


@given(st.text(st.sampled_from("aAbB01 .,\n-\u2026"), max_size=40))
def test_words_and_hashes_agree_with_a_split(text: str) -> None:
    words = slow_words(text)
    assert texts(text) == words
    hashes = words_of(text).hashes.tolist()
    ids = [word.casefold() for word in words]
    assert len(set(hashes)) == len(set(ids))
    assert dict(zip(ids, hashes, strict=True)) == {
        word: int(words_of(word).hashes[0]) for word in ids
    }


@given(st.text(max_size=60))
def test_any_text_is_read_and_places_are_inside(text: str) -> None:
    words = words_of(text)
    at = 0
    for start, end in zip(words.starts.tolist(), words.ends.tolist(), strict=True):
        assert at <= start < end <= len(text)
        at = end


def test_a_huge_text_is_read_in_part() -> None:
    words = words_of("word " * 10_000_000)
    assert 0 < len(words) < 1_000_000


@given(st.lists(st.text(alphabet="ab \n\u4e16\ud800.", max_size=40), max_size=6), st.integers(1, 5))
def test_many_texts_at_once_have_the_sets_they_have_alone(many: list[str], width: int) -> None:
    together = shingles_of_all(many, width)
    alone = [sorted(set(words_of(text).shingles(width).tolist())) for text in many]
    assert [found.tolist() for found in together] == alone
