"""Options of a multiple choice: "C", "(C)", "C ) Dementia", "option C"."""

from __future__ import annotations

import re
from dataclasses import replace

from dataprune.trajectories.equivalence.booleans import read_boolean
from dataprune.trajectories.equivalence.dates import read_date
from dataprune.trajectories.equivalence.numbers import read_number
from dataprune.trajectories.equivalence.texts import read_text
from dataprune.trajectories.equivalence.values import Boolean, Date, Number, Option, Text

_ALONE = re.compile(r"(?:option |choice )?\(?([A-Ja-j])[).:]?", re.IGNORECASE)
_WRITTEN = re.compile(r"(?:option |choice )?(?:\(([A-J])\)|([A-J]) ?\)|([A-J])([.:]) )\s*(?=\S)")
_ANOTHER = re.compile(r"(?:^|[\s,;])\(?[A-J] ?\)")


def read_option(text: str) -> Option | None:
    """The one option that a text names; None where it names none or several."""
    if len(text) <= 12 and (alone := _ALONE.fullmatch(text)):
        return Option(alone[1].upper())
    found = _WRITTEN.match(text[:40])
    if found is None or _ANOTHER.search(text, found.end()):
        return None
    letter = found[1] or found[2] or found[3]
    return Option(letter, plain(text[found.end() :].strip()), is_initial=found[4] == ".")


def plain(text: str) -> Number | Boolean | Date | Text:
    """What a text is where it is no option."""
    return read_boolean(text) or read_date(text) or read_number(text) or read_text(text)


def same_option(a: Option, b: Option) -> bool | None:
    """Whether two options are one, by their letters; None where letters may be initials."""
    if a.letter != b.letter:
        return False
    told_apart = a.rest != b.rest and a.rest is not None and b.rest is not None
    return None if told_apart and (a.is_initial or b.is_initial) else True


def said(option: Option) -> Number | Boolean | Date | Text | None:
    """What an option says, to compare with an answer without a letter."""
    rest = option.rest
    return replace(rest, number=None) if isinstance(rest, Text) else rest
