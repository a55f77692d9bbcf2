"""Pieces of Markdown in which no text from data becomes markup, and paths without the machine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_LONGEST = 120


def share(part: int, whole: int) -> str:
    """A part in per cent; a dash of nothing."""
    return f"{part / whole:.1%}" if whole else "-"


def bullets(sentences: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {sentence.strip()}" for sentence in sentences)


def details(title: str, body: str) -> str:
    """What opens on a click."""
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"


def table(header: list[str], align: str, rows: list[list[str]]) -> str:
    """A Markdown table; cells hold no bare pipe and no line break."""
    rule = ["---:" if side == "r" else ":---" for side in align]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *rows])


def fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def code(value: object) -> str:
    """A name in code type; as HTML, because in backticks nothing can be escaped."""
    return f"<code>{escaped(value)}</code>"


def escaped(value: object, *, longest: int = _LONGEST) -> str:
    """Any text as itself in Markdown: no line break, no markup, no HTML, no end of a cell.

    Characters that do not show are written as escapes, blanks at the ends in quotes.
    """
    text = str(value)
    if text != text.strip() or not text:
        text = f'"{text}"'
    if len(text) > longest:
        text = text[: longest - 3] + "..."
    shown = "".join(c if c.isprintable() or c in _JOINERS else _escape(c) for c in text)
    return _MARKUP.sub(lambda m: _entity(m[0]), shown)


# An underscore inside a word is no markup, and reads better bare.
_MARKUP = re.compile(r"[^\w\s.,;%()=+/-]|(?<![^\W_])_|_(?![^\W_])", re.ASCII)


_JOINERS = "\u200c\u200d"  # parts of words and pictures


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _entity(character: str) -> str:
    """ASCII punctuation as an entity, which is never markup; letters of other scripts stay."""
    return f"&#{ord(character)};" if character.isascii() else character


_ROOTED = re.compile(r"(?:file:)?[/\\]|~[^/\\]*[/\\]|[A-Za-z]:[/\\]")
_PLACE = re.compile(
    r"(?<![\w:/.~\\-])(?:file:|~\w*|[A-Za-z]:)?[/\\]+(?:[^\s/\\'\"]+[/\\])+[^\s'\":,;)]*"
)


def portable(text: str) -> str:
    """A path or address without what is one machine's or secret: folders, passwords, queries."""
    if _ROOTED.match(text):
        return re.split(r"[/\\]", text.rstrip("/\\"))[-1] or "/"
    if "://" in text:
        return re.sub(r"://[^/@]*@", "://", text).split("?")[0]
    return text


def without_places(sentence: str) -> str:
    """A sentence in which paths show their last part only."""
    return _PLACE.sub(lambda m: portable(m[0]), sentence)


def each_text(data: Any, change: Any) -> Any:
    """Nested JSON with every text in it changed."""
    if isinstance(data, dict):
        return {key: each_text(value, change) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [each_text(value, change) for value in data]
    return change(data) if isinstance(data, str) else data
