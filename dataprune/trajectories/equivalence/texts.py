"""Free text, normalised: case, spaces, quotes and marks around it, a leading article.

Signs and marks inside a text stay: a formula is not the formula without its minus.
"""

from __future__ import annotations

import hashlib

from dataprune.trajectories.equivalence.numbers import number_in
from dataprune.trajectories.equivalence.values import Text

LONGEST = 100_000  # characters; longer answers are one opaque text each
_AROUND = " \t\r\n.,;:!?\"'`*_"
_ARTICLES = ("the ", "a ", "an ")


def read_text(text: str) -> Text:
    """Any text."""
    return Text(normalised(text), number_in(text))


def opaque(text: str) -> Text:
    """A text too long to look into: equal only to itself."""
    digest = hashlib.sha256(text.strip().encode(errors="surrogatepass")).hexdigest()
    return Text(f"sha256 {digest}")


def normalised(text: str) -> str:
    """The words of a text."""
    words = " ".join(text.casefold().split()).strip(_AROUND)
    for article in _ARTICLES:
        if words.startswith(article):
            return words[len(article) :]
    return words
