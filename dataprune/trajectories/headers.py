"""Headers of tables that stand in a text: of Markdown tables and of comma or tab separated lines.

A header is the set of its cells' words, so that order, case and punctuation do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dataprune.similarity.words import normalised

Header = frozenset[str]

_FEWEST = 3  # cells; "name, value" heads too many tables to tell them apart
_LONGEST_LINE = 5_000  # characters
_LONGEST_CELL = 80
_SEPARATORS = (",", "\t", ";")


def header_of(cells: Sequence[str]) -> Header | None:
    """The set of cells; None with fewer than three different ones."""
    words = frozenset(cell for cell in map(normalised, cells) if cell)
    return words if len(words) >= _FEWEST else None


def headers_in(text: str) -> dict[Header, tuple[int, int]]:
    """Headers with where each stands first, (start, end) in characters, in order.

    A line counts as a header if the next one shows that a table follows: dashes under a Markdown
    row; as many separators, and a number where the header has none, under a line of a CSV file.
    """
    found: dict[Header, tuple[int, int]] = {}
    before: tuple[int, str] | None = None
    for start, line in _lines(text):
        if before is not None:
            header = _header(before[1], line)
            if header is not None:
                found.setdefault(header, (before[0], before[0] + len(before[1])))
        before = start, line
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their places, stripped on the right; a line that is too long is empty."""
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield start, text[start:end].rstrip() if end - start <= _LONGEST_LINE else ""
        start = end + 1


def _header(line: str, following: str) -> Header | None:
    if "|" in line and "-" in following and not following.strip(" |:-\t"):
        return header_of(line.strip().strip("|").split("|"))
    for separator in _SEPARATORS:
        count = line.count(separator)
        if count >= _FEWEST - 1 and following.count(separator) == count:
            cells = line.split(separator)
            is_head = all(0 < len(cell.strip()) <= _LONGEST_CELL for cell in cells)
            has_values = any(map(_is_number, following.split(separator)))
            if is_head and has_values and not any(map(_is_number, cells)):
                return header_of(cells)
    return None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
