"""Stage 4: garbled and mingled language in what the agent wrote for people.

DataMind keeps runs of "linguistic integrity": no garbled text, no natural languages mingled. Code,
tool calls and SQL are not looked at, and of a message the first million characters of prose.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator

from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories.dialects import Parsed, Turn
from dataprune.trajectories.rules import Code, Reason, Rule
from dataprune.trajectories.rules._prose import prose
from dataprune.trajectories.rules._scripts import mixed_scripts

MIXED_SCRIPT, REPLACEMENT_CHAR = "L_MIXED_SCRIPT", "L_REPLACEMENT_CHAR"
CONTROL_CHAR, MOJIBAKE = "L_CONTROL_CHAR", "L_MOJIBAKE"
REPEAT_10GRAM, COMPRESS = "L_REPEAT_10GRAM", "L_COMPRESS"

_WORDS_IN_A_ROW, _MOST_REPEATS = 10, 8
_LEAST_COMPRESSED, _SHORTEST, _LONGEST = 0.12, 2_000, 200_000
_REPLACED = re.compile("[\ufffd\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_ASCII_CONTROL = bytes(c for c in range(128) if _CONTROL.match(chr(c)))
# UTF-8 read as Windows-1252: the first byte of two or three, and a byte that goes on.
_BEHIND = (
    "\x80-\xbf\u20ac\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d"
    "\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178"
)
_MOJIBAKE = re.compile(
    f"[\u00c2\u00c3\u00c4\u00c5\u00ce\u00cf\u00d0\u00d1][{_BEHIND}]"
    f"|[\u00e2-\u00ef][{_BEHIND}][{_BEHIND}]|\u00f0\u0178[{_BEHIND}]"
)
_LEAST_MOJIBAKE = 2


def _check(parsed: Parsed, rules: RulesRecipe) -> Iterator[Reason]:  # noqa: ARG001
    stretches = [(turn, prose(turn)) for turn in parsed.turns]
    for turn, texts in stretches:
        if not all(text.isascii() for _, text in texts):
            yield from _first(REPLACEMENT_CHAR, _REPLACED, turn, texts, "no readable character")
            yield from _mojibake(turn, texts)
        if any(_may_control(text) for _, text in texts):
            yield from _first(CONTROL_CHAR, _CONTROL, turn, texts, "a control character")
        yield from _repeats(turn, texts)
        yield from _compressed(turn, texts)
    for step, start, end, script in mixed_scripts(parsed, stretches):
        yield Reason(MIXED_SCRIPT, step, start, end, f"a word in {script} script")


def _may_control(text: str) -> bool:
    """False for plain text without control characters, found out faster than by searching."""
    if not text.isascii():
        return True
    plain = text.encode("ascii")
    return len(plain.translate(None, _ASCII_CONTROL)) != len(plain)


def _first(
    code: str, pattern: re.Pattern[str], turn: Turn, texts: list[tuple[int, str]], detail: str
) -> Iterator[Reason]:
    for at, text in texts:
        found = pattern.search(text)
        if found is not None:
            yield Reason(code, turn.step, at + found.start(), at + found.end(), detail)
            return


def _mojibake(turn: Turn, texts: list[tuple[int, str]]) -> Iterator[Reason]:
    places = [
        (at + found.start(), at + found.end())
        for at, text in texts
        if not text.isascii()
        for found in _MOJIBAKE.finditer(text)
    ]
    if len(places) >= _LEAST_MOJIBAKE:
        start, end = places[0]
        detail = f"{len(places)} characters decoded wrongly"
        yield Reason(MOJIBAKE, turn.step, start, end, detail, len(places), _LEAST_MOJIBAKE)


def _repeats(turn: Turn, texts: list[tuple[int, str]]) -> Iterator[Reason]:
    """The 10 words in a row that come most often, where that is 8 times or more."""
    words = [word for _, text in texts for word in text.split()]
    if len(words) < _WORDS_IN_A_ROW + _MOST_REPEATS - 1:
        return
    counts = Counter(words)
    if max(counts.values()) < _MOST_REPEATS:
        return
    # All words of such a row come as often as the row: one that does not breaks it.
    often = {word for word, num in counts.items() if num >= _MOST_REPEATS and _is_word(word)}
    rows: Counter[tuple[str, ...]] = Counter()
    first = -1
    for at, word in enumerate(words):
        if word not in often:
            first = -1
            continue
        first = at if first < 0 else first
        if at - first + 1 >= _WORDS_IN_A_ROW:
            rows[tuple(words[at - _WORDS_IN_A_ROW + 1 : at + 1])] += 1
    if not rows:
        return
    row, num = rows.most_common(1)[0]
    if num >= _MOST_REPEATS:
        start, end = _place_of(row, texts)
        detail = f"{_WORDS_IN_A_ROW} words in a row {num} times"
        yield Reason(REPEAT_10GRAM, turn.step, start, end, detail, num, _MOST_REPEATS)


def _is_word(word: str) -> bool:
    """Rows of numbers and of table rules are no language."""
    return any(map(str.isalpha, word))


def _place_of(row: tuple[str, ...], texts: list[tuple[int, str]]) -> tuple[int, int]:
    """Where some words in a row stand first in a content."""
    places: list[tuple[int, int]] = []
    words: list[str] = []
    for at, text in texts:
        for found in re.finditer(r"\S+", text):
            places.append((at + found.start(), at + found.end()))
            words.append(found[0])
            if len(words) >= len(row) and tuple(words[-len(row) :]) == row:
                return places[-len(row)][0], places[-1][1]
    raise AssertionError("the words came from these texts")


def _compressed(turn: Turn, texts: list[tuple[int, str]]) -> Iterator[Reason]:
    if sum(len(text) for _, text in texts) <= _SHORTEST:
        return
    joined = "\n".join(text for _, text in texts)[:_LONGEST].encode("utf-8", "replace")
    ratio = round(len(zlib.compress(joined)) / len(joined), 4)
    if ratio < _LEAST_COMPRESSED:
        start, end = texts[0][0], texts[-1][0] + len(texts[-1][1])
        detail = "so repetitive that it all but vanishes when compressed"
        yield Reason(COMPRESS, turn.step, start, end, detail, ratio, _LEAST_COMPRESSED)


RULE = Rule(
    name="language",
    codes={
        MIXED_SCRIPT: Code("linguistic", "reject", "a word in another script amid the prose"),
        REPLACEMENT_CHAR: Code("linguistic", "reject", "U+FFFD, or half of a surrogate pair"),
        CONTROL_CHAR: Code("linguistic", "reject", "a control character in prose"),
        MOJIBAKE: Code("linguistic", "reject", "two or more characters decoded wrongly"),
        REPEAT_10GRAM: Code("linguistic", "reject", "some 10 words in a row 8 times or more"),
        COMPRESS: Code("linguistic", "flag", "a long text that compresses to under 12 %"),
    },
    check=_check,
    cost=6,
)
