"""Cron expressions that mean the same to every target: five fields, checked, names as numbers.

Dialects differ at the edges (Sunday as 7, `5/15`, `?`, seconds, @reboot), so only what cron,
Kubernetes and Airflow all read alike passes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from dataprune.core.errors import UsageError, nearest

_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # days of each month
_PART = re.compile(r"(?P<first>\*|[^-/*]+)(-(?P<last>[^-/*]+))?(/(?P<step>[^-/*]+))?")


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def number(self, word: str) -> int:
        """A number, or a name's; the range is checked."""
        if word.lower() in self.names:
            return self.low + self.names.index(word.lower())
        if not (word.isascii() and word.isdigit()):
            known = f" or one of {', '.join(self.names)}" if self.names else ""
            self.refuse(f"{word!r} is no number{known}")
        if self.names is _DAYS and word == "7":
            self.refuse("7 is not known everywhere: Sunday is 0")
        if not self.low <= int(word) <= self.high:
            self.refuse(f"{word} is not within {self.low} to {self.high}")
        return int(word)

    def refuse(self, reason: str) -> NoReturn:
        raise UsageError(
            f"--cron: in the {self.name}, {reason}",
            hint="minute hour day-of-month month day-of-week, such as '0 2 * * *'",
        )


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 6, _DAYS),
)


def parse_cron(text: str) -> str:
    """The expression in five fields of numbers.

    Raises:
        UsageError: it is not one, or names a day that never comes.
    """
    text = text.strip()
    if text.startswith("@"):
        if text not in _NICKNAMES:
            raise UsageError(
                f"--cron: {text} is not known everywhere", hint=nearest(text, _NICKNAMES)
            )
        return _NICKNAMES[text]
    words = text.split()
    if len(words) != len(_FIELDS):
        raise UsageError(
            f"--cron: {text!r} has {len(words)} fields, and cron reads 5",
            hint="minute hour day-of-month month day-of-week, such as '0 2 * * *'",
        )
    fields = [_parse_field(field, word) for field, word in zip(_FIELDS, words, strict=True)]
    days, months = fields[2][1], fields[3][1]
    if fields[4][0] == "*" and all(min(days) > _LONGEST[month - 1] for month in months):
        raise UsageError(
            f"--cron: {text!r} never comes: no month named has a day {min(days)}",
            hint="check the third and fourth field",
        )
    return " ".join(told for told, _ in fields)


def _parse_field(field: _Field, text: str) -> tuple[str, set[int]]:
    """A field in numbers, and the values that it matches."""
    told, values = [], set[int]()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            field.refuse(f"{part!r} is neither a value, a range a-b, * nor one with a /step")
        first, last, step = match["first"], match["last"], match["step"]
        if first == "*" and last is None:
            low, high, shown = field.low, field.high, "*"
        elif first == "*":
            field.refuse(f"{part!r} is no range")
        else:
            low = field.number(first)
            high = low if last is None else field.number(last)
            shown = str(low) if last is None else f"{low}-{high}"
            if high < low:
                field.refuse(f"the range {part} goes backwards")
            if step is not None and last is None:
                field.refuse(
                    f"{part} is not read alike everywhere: write {low}-{field.high}/{step}"
                )
        if step is not None:
            if not step.isdigit() or not 1 <= int(step) <= max(1, high - low):
                field.refuse(f"the step of {part} is not within 1 to {max(1, high - low)}")
            shown += f"/{int(step)}"
        told.append(shown)
        values |= set(range(low, high + 1, int(step or 1)))
    return ",".join(told), values
