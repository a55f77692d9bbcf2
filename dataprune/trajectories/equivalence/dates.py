"""Dates, with or without a time: ISO, month names, and slashes that may mean two days."""

from __future__ import annotations

import re
from datetime import date

from dataprune.trajectories.equivalence.values import Date

_LONGEST = 60
_WORDS = "january february march april may june july august september october november december"
_NAMES = {name[:k]: i + 1 for i, name in enumerate(_WORDS.split()) for k in (3, 4, len(name))}
_ISO = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:\.0{1,9})?)?Z?)?", re.ASCII
)
_SLASHES = re.compile(r"(\d{1,2})[/.](\d{1,2})[/.](\d{4})", re.ASCII)
_YEAR_FIRST = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})", re.ASCII)
_MONTH_DAY = re.compile(r"([a-z]{3,9})\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})", re.ASCII)
_DAY_MONTH = re.compile(
    r"(?:the )?(\d{1,2})(?:st|nd|rd|th)?(?: of)?[ -]([a-z]{3,9})\.?,?[ -](\d{4})", re.ASCII
)
_MONTH = re.compile(r"([a-z]{3,9})\.?,? (\d{4})", re.ASCII)


def read_date(text: str) -> Date | None:
    """The date that a whole text is; None where it is none. A year alone is a number."""
    if len(text) > _LONGEST:
        return None
    text = text.lower().rstrip(". ").removeprefix("on ")
    if found := _ISO.fullmatch(text.upper()):
        hour, minute, second = (int(part or 0) for part in found.groups()[3:])
        if hour > 23 or minute > 59 or second > 60:
            return None
        return _dates([_numbers(found)], (hour * 60 + minute) * 60 + second)
    if found := _YEAR_FIRST.fullmatch(text):
        return _dates([_numbers(found)])
    if found := _SLASHES.fullmatch(text):
        first, second, year = _numbers(found)
        return _dates([(year, first, second), (year, second, first)])
    if found := _MONTH_DAY.fullmatch(text):
        return _dates([(int(found[3]), _NAMES.get(found[1], 0), int(found[2]))])
    if found := _DAY_MONTH.fullmatch(text):
        return _dates([(int(found[3]), _NAMES.get(found[2], 0), int(found[1]))])
    if (found := _MONTH.fullmatch(text)) and found[1] in _NAMES:
        return Date(((int(found[2]), _NAMES[found[1]], 0, 0),))
    return None


def same_date(a: Date, b: Date) -> bool | None:
    """Whether two dates are one; None where one may mean the other and another day as well."""
    if len(a.readings) == 1 and len(b.readings) == 1:
        return a.readings == b.readings
    return None if set(a.readings) & set(b.readings) else False


def _numbers(found: re.Match[str]) -> tuple[int, int, int]:
    first, second, third = (int(part) for part in found.groups()[:3])
    return first, second, third


def _dates(days: list[tuple[int, int, int]], time: int = 0) -> Date | None:
    real = {(*day, time) for day in days if _is_day(day)}
    return Date(tuple(sorted(real))) if real else None


def _is_day(day: tuple[int, int, int]) -> bool:
    try:
        date(*day)
    except ValueError:
        return False
    return True
