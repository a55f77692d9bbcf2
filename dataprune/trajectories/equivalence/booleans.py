"""Yes and no, true and false, alone or before an explanation."""

from __future__ import annotations

import re

from dataprune.trajectories.equivalence.values import Boolean

_WORDS = {"yes": True, "true": True, "no": False, "false": False}
_FIRST = re.compile(r"(yes|no|true|false)(?:[.!]*$|[,.;:!] | - )", re.IGNORECASE)


def read_boolean(text: str) -> Boolean | None:
    """The truth value that a text is or begins with: "No, it is not." is no, "No one" is none."""
    found = _FIRST.match(text)
    return Boolean(_WORDS[found[1].lower()]) if found else None
