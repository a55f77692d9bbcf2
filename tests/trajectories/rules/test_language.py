"""Stage 4: garbled and mingled language, in prose only."""

from __future__ import annotations

import pytest

from dataprune.trajectories.rules.language import RULE
from tests.trajectories.rules.reading import findings, pointed, talk

WORD = "\u6df7\u6dc6"  # two Chinese characters
RUSSIAN = "\u043f\u0440\u0438\u0432\u0435\u0442"
ENGLISH = "There is no other composer of that name in the list"


def garbled(text: str, prompt: str = "who", seen: str = "") -> list[tuple[str, str]]:
    run = talk("u: " + prompt, f"a: {text}", f"u: {seen}", "a: <answer>1</answer>", prompt=prompt)
    return [(f.code, pointed(run, f)) for f in findings(run) if f.code in RULE.codes]


@pytest.mark.parametrize(
    "word", [WORD, RUSSIAN, "\ud55c\uad6d\uc5b4", "\u0645\u0631\u062d\u0628\u0627"]
)
@pytest.mark.parametrize("form", ["{} {}", "<think>{}{}</think>", "<answer>{}, {}</answer>"])
def test_a_foreign_word_amid_prose(word: str, form: str) -> None:
    assert garbled(form.format(ENGLISH, word)) == [("L_MIXED_SCRIPT", word)]


@pytest.mark.parametrize(
    "form",
    [
        '"{}"', "({})", "\u201c{}\u201d", "\u300c{}\u300d", "**{}**", "`{}`", "'{}'", "[{}]",
        "\uff08{}\uff09", "\u00ab{} 1\u00bb", "\n```\nx = {}\n```\n", "(the Baroness, {}, died)",
        "<code>print('{}') # {}</code>",
    ],
)  # fmt: skip
def test_what_is_set_off_is_quoted_and_code_is_no_prose(form: str) -> None:
    assert garbled(f"{ENGLISH} {form.replace('{}', WORD)} and on") == []


def test_quotes_elsewhere_in_the_line_set_nothing_off() -> None:
    text = f'{ENGLISH} "quoted" (aside) {WORD} and "more" it\'s (fine)'
    assert garbled(text) == [("L_MIXED_SCRIPT", WORD)]


def test_words_of_the_prompt_and_of_observations_are_free() -> None:
    assert garbled(f"{ENGLISH} {WORD}", prompt=f"what is {WORD}?") == []
    assert garbled(f"{ENGLISH} {WORD}", seen=f"it means {RUSSIAN}{WORD}{WORD}") == []
    assert garbled(f"{ENGLISH} {WORD}", seen=RUSSIAN) != []


def test_a_single_letter_greek_and_symbols_are_free() -> None:
    assert (
        garbled(f"{ENGLISH} {WORD[0]} \u03b1\u03b2\u03b3 \u2211 \u00b5m \U0001d400\U0001d401") == []
    )


def test_an_agent_may_write_its_own_language_with_latin_names_in_it() -> None:
    chinese = "\u6211\u4eec\u5148\u8bfb\u53d6\u6570\u636e\u8868 pandas DataFrame \u7136\u540e" * 3
    assert garbled(chinese) == []
    assert garbled(chinese + " " + RUSSIAN) == [("L_MIXED_SCRIPT", RUSSIAN)]


def test_an_agent_may_answer_in_the_language_it_was_asked_in() -> None:
    asked = "\u8fd9\u4e2a\u8868\u6709\u591a\u5c11\u884c"
    text = f"<think>{ENGLISH}</think><answer>\u5171\u5341\u884c</answer>"
    assert garbled(text, prompt=asked) == []


def test_one_reason_for_a_turn() -> None:
    assert len(garbled(f"{ENGLISH} {WORD} x {RUSSIAN} y {WORD}")) == 1


@pytest.mark.parametrize("code", [0xFFFD, 0xD800, 0xDFFF])
def test_characters_that_cannot_be_read(code: int) -> None:
    bad = chr(code)
    assert garbled(f"caf{bad} au lait") == [("L_REPLACEMENT_CHAR", bad)]
    assert garbled(f"<code>x = '{bad}'</code>") == []


@pytest.mark.parametrize("bad", ["\x00", "\x1b", "\x08", "\x7f", "\x9d"])
def test_control_characters(bad: str) -> None:
    assert garbled(f"caf{bad} au lait") == [("L_CONTROL_CHAR", bad)]


def test_tabs_and_ends_of_lines_are_no_control_characters() -> None:
    assert garbled("a\tb\r\nc\n") == []


def test_two_characters_decoded_wrongly() -> None:
    text = "\u00e9t\u00e9 \u2013 caf\u00e9".encode().decode("cp1252")
    assert [code for code, _ in garbled(text)] == ["L_MOJIBAKE"]
    assert garbled("caf\u00e9".encode().decode("cp1252")) == []
    assert (
        garbled("\u00c9t\u00e9 \u00e0 la Fa\u00e7on d'\u00c2me, NA\u00c7\u00c3O \u00c2\u00c3") == []
    )


def test_ten_words_eight_times() -> None:
    row = "the area of each sector is one third of it. "
    assert garbled("So " + row * 7) == []
    (found,) = garbled("So " + row * 8)
    assert found == ("L_REPEAT_10GRAM", row.strip())


def test_a_single_word_over_and_over_is_repetition_and_a_row_of_numbers_is_none() -> None:
    assert garbled("no " * 17)[0][0] == "L_REPEAT_10GRAM"
    assert garbled("no " * 16) == []
    assert garbled("0 1 " * 100) == []
    assert garbled("<code>x += 1\n" + "f(a, b, c, d, e, f, g, h, i, j)\n" * 50 + "</code>") == []


def test_repetition_against_a_count_of_all_rows() -> None:
    words = [f"w{i % 13 if i < 104 else i}" for i in range(200)]
    rows = [tuple(words[i : i + 10]) for i in range(len(words) - 9)]
    most = max(map(rows.count, rows))
    run = talk("u: q", "a: " + " ".join(words))
    (found,) = (f for f in findings(run) if f.code == "L_REPEAT_10GRAM")
    assert found.score == most


def test_a_long_text_that_all_but_vanishes_is_noted() -> None:
    run = talk("u: q", "a: " + "0 1 2 3 " * 400)
    found = {f.code: f for f in findings(run)}
    assert found["L_COMPRESS"].severity == "flag"
    assert found["L_COMPRESS"].score is not None
    assert found["L_COMPRESS"].score < 0.12
    assert "L_COMPRESS" not in {f.code for f in findings(talk("u: q", "a: " + "0 1 2 3 " * 200))}
