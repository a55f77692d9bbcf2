r"""Answers, read for what they are, and whether two of them are one answer.

    "$1,234.50" -> Number    "C ) Dementia" -> Option    "[1, 0]" -> Items    "| a |..." -> Table

One kind of value a file. The relation is symmetric and every answer is equivalent to itself; it is
not transitive, because of tolerances, and that is for `trajectories.groups` to mind.

What is decided here:

- numbers within a relative tolerance, whole ones exactly ("28" and "28.0" are whole and equal)
- a number and a sentence with exactly one number in it, by that number
- units where both have one, converted where they can be; without one a number is taken as it is
- options by letter, or by what they say against an answer without a letter
- lists as multisets, vectors in order, tables as multisets of rows, named values by name
- words by equality alone; words that differ are undecided, for a judge to say
"""

from __future__ import annotations

from dataclasses import dataclass

from dataprune.trajectories.equivalence.cleaning import clean
from dataprune.trajectories.equivalence.compare import relative_difference, same
from dataprune.trajectories.equivalence.lists import read_items, read_scalar
from dataprune.trajectories.equivalence.pairs import read_pairs
from dataprune.trajectories.equivalence.tables import read_table
from dataprune.trajectories.equivalence.texts import LONGEST, opaque
from dataprune.trajectories.equivalence.values import Items, Table, Text, Value, size

__all__ = ["Answer", "equivalent", "read_answer", "size", "spread"]


@dataclass(frozen=True, slots=True)
class Answer:
    """text: as it came. value: what it says; answers of equal values are equivalent."""

    text: str
    value: Value


def read_answer(text: str) -> Answer:
    """Read an answer. Nothing is refused: what is no other kind of value is free text.

    Texts of more than 100,000 characters are free text that is equal only to itself.
    """
    if len(text) > LONGEST:
        return Answer(text, opaque(text))
    cleaned = clean(text)
    return Answer(text, _unwrapped(_read(cleaned)))


def equivalent(a: Answer, b: Answer, tolerance: float = 1e-4) -> bool | None:
    """Whether two answers are one; None where code cannot tell, as with words that differ.

    tolerance: relative, |a - b| <= tolerance * max(|a|, |b|), for numbers that are not whole.
    """
    return same(a.value, b.value, tolerance)


def spread(a: Answer, b: Answer) -> float:
    """Relative difference of two equivalent answers' numbers; 0 for lists, tables and words."""
    return relative_difference(a.value, b.value)


def _read(text: str) -> Value:
    whole = read_table(text) or read_pairs(text)
    if whole is not None:
        return whole
    scalar = read_scalar(text)
    if not isinstance(scalar, Text):
        return scalar
    return read_items(text) or scalar


def _unwrapped(value: Value) -> Value:
    """One cell or one item is that value; one column is a list."""
    if isinstance(value, Table) and len(value.rows[0]) == 1:
        value = Items(tuple(row[0] for row in value.rows))
    return value.items[0] if isinstance(value, Items) and len(value.items) == 1 else value
