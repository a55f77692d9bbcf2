"""Lists and sets: in brackets, with commas, with bullets. Order counts in a vector alone.

A vector is numbers or truth values in square or round brackets: coordinates, several answers of a
question in several parts. Everything else is a multiset.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar

from dataprune.trajectories.equivalence.options import plain, read_option
from dataprune.trajectories.equivalence.values import Boolean, Items, Number, Scalar, Text

_T = TypeVar("_T", bound=Hashable)
_CLOSING = {"[": "]", "(": ")", "{": "}"}
_BULLET = re.compile(r"\s{0,8}(?:[-*]|\d{1,3}[.)]) ")
_DECIMAL = re.compile(r"Decimal\('([^']{0,400})'\)")
_MOST_WORDS = 4  # of a list's item where nothing but commas says that it is a list
_MOST_MATCHED = 64  # items that are paired off by search; more are paired off in sorted order


def read_items(text: str) -> Items | None:
    """The list that a whole text is; None where it is none."""
    if text[:1] in _CLOSING and text:
        parts = inside(text)
        if parts is None or any(part[:1] in _CLOSING for part in parts):
            return None
        items = tuple(read_scalar(unquoted(part)) for part in parts)
        is_vector = text[0] != "{" and all(isinstance(i, Number | Boolean) for i in items)
        return Items(items, is_vector)
    loose = _bulleted(text) or _separated(text)
    return Items(tuple(read_scalar(unquoted(part)) for part in loose)) if loose else None


def read_scalar(text: str) -> Scalar:
    """One item."""
    return read_option(text) or plain(text)


def inside(text: str) -> list[str] | None:
    """Parts of a bracketed text between its commas; None where brackets do not match."""
    if len(text) < 2 or text[-1] != _CLOSING.get(text[0]):
        return None
    parts, open_brackets, start = [], [], 1
    quote = ""
    at_start = True
    for at in range(1, len(text) - 1):
        char = text[at]
        if quote:
            if char == quote and text[at - 1] != "\\":
                quote = ""
            continue
        if char in "\"'" and at_start:
            quote = char
        elif char in _CLOSING:
            open_brackets.append(_CLOSING[char])
        elif char in "])}":
            if not open_brackets or open_brackets.pop() != char:
                return None
        elif char == "," and not open_brackets:
            parts.append(text[start:at].strip())
            start = at + 1
        at_start = char in ",[({:" or (at_start and char.isspace())
    if quote or open_brackets:
        return None
    last = text[start:-1].strip()
    return [*parts, last] if last else parts


def unquoted(part: str) -> str:
    """An item without its quotes, or a decimal without its constructor."""
    if len(part) > 1 and part[0] == part[-1] and part[0] in "\"'":
        return part[1:-1].strip()
    decimal = _DECIMAL.fullmatch(part)
    return decimal[1] if decimal else part


def _bulleted(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip()]
    marks = [_BULLET.match(line) for line in lines]
    if len(lines) < 2 or not all(marks):
        return []
    return [line[m.end() :].strip() for line, m in zip(lines, marks, strict=True) if m]


def _separated(text: str) -> list[str]:
    if "\n" in text:
        return []
    separator = "; " if "; " in text else ", " if ", " in text else ","
    parts = [part.strip() for part in text.rstrip(". ").split(separator)]
    first, conjunction, last = parts[-1].rpartition(" and ")
    if conjunction:
        parts[-1:] = [first.strip(), last.strip()]
    elif parts[-1].startswith("and "):
        parts[-1] = parts[-1][4:].strip()
    if len(parts) < 2 or not all(parts) or any(len(p.split()) > _MOST_WORDS for p in parts):
        return []
    return parts


def every(verdicts: Iterable[bool | None]) -> bool | None:
    """False at the first one that is, else None where one is, else True."""
    open_ = False
    for verdict in verdicts:
        if verdict is False:
            return False
        open_ = open_ or verdict is None
    return None if open_ else True


def matched(
    a: Sequence[_T],
    b: Sequence[_T],
    same: Callable[[_T, _T], bool | None],
    order: Callable[[_T], Any],
) -> bool | None:
    """Whether two multisets are one: equal members first, then the rest are paired off.

    None: they are one only if undecided pairs are equal.
    """
    if len(a) != len(b):
        return False
    counts_a, counts_b = Counter(a), Counter(b)
    left = sorted((counts_a - counts_b).elements(), key=order)
    right = sorted((counts_b - counts_a).elements(), key=order)
    if len(left) > _MOST_MATCHED:
        return every(same(x, y) for x, y in zip(left, right, strict=True))
    verdicts = [[same(x, y) for y in right] for x in left]
    if _perfect([[v is True for v in row] for row in verdicts]):
        return True
    return None if _perfect([[v is not False for v in row] for row in verdicts]) else False


def _perfect(may: list[list[bool]]) -> bool:
    """Whether every row finds a column of its own (augmenting paths, at most 64 deep)."""
    owner: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column, allowed in enumerate(may[row]):
            if allowed and column not in tried:
                tried.add(column)
                if column not in owner or place(owner[column], tried):
                    owner[column] = row
                    return True
        return False

    return all(place(row, set()) for row in range(len(may)))


def is_prose(items: Items) -> bool:
    """Whether a list is made of nothing but words, as a text with commas is."""
    return all(isinstance(item, Text) for item in items.items)
