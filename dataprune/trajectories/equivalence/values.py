"""What an answer can be. Everything here is frozen and hashable, so equal answers merge first."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Unit:
    """Of a number: one that is known has a dimension and a factor to it, another only its words."""

    dimension: str
    factor: Fraction = Fraction(1)
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class Number:
    """value: as written, before its unit. is_whole: an integer or a count, which are exact."""

    value: Fraction
    is_whole: bool
    unit: Unit | None = None


@dataclass(frozen=True, slots=True)
class Boolean:
    """Yes and true, no and false."""

    value: bool


@dataclass(frozen=True, slots=True)
class Date:
    """readings: every (year, month, day, time) that it may mean; 03/05/2019 may mean two days.

    A day of 0 is a whole month; a time is in seconds of the day, midnight where none is written.
    """

    readings: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Text:
    """words: normalised, equal ones are equal. number: the only one in a sentence, if there is."""

    words: str
    number: Number | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """Of a multiple choice. rest: what the option says, where it is written out.

    is_initial: "A. Lincoln" may be a name.
    """

    letter: str
    rest: Number | Boolean | Date | Text | None = None
    is_initial: bool = False


Scalar = Number | Boolean | Date | Option | Text


@dataclass(frozen=True, slots=True)
class Items:
    """A list or set. is_vector: numbers or truth values in brackets, whose order counts."""

    items: tuple[Scalar, ...]
    is_vector: bool = False


@dataclass(frozen=True, slots=True)
class Pairs:
    """Values by name, names sorted."""

    pairs: tuple[tuple[str, Scalar | Items], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """rows: all of one length. header: normalised names, None where there is none."""

    header: tuple[str, ...] | None
    rows: tuple[tuple[Scalar, ...], ...]


Value = Scalar | Items | Pairs | Table


def size(value: Value) -> int:
    """How many scalars it has: what comparing it costs."""
    if isinstance(value, Table):
        return sum(len(row) for row in value.rows)
    if isinstance(value, Items):
        return len(value.items)
    if isinstance(value, Pairs):
        return sum(len(v.items) if isinstance(v, Items) else 1 for _, v in value.pairs)
    return 1
