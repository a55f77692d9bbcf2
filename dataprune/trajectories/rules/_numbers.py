"""Numbers in texts, and whether those of an answer were observed."""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Iterable

_NUMBER = re.compile(r"(?<![\w.])-?\d{1,40}(?:,\d{3}){0,12}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?")
_NEAR = 0.005  # relative
_LONGEST = 1_000_000  # characters of observations that are looked at


def numbers(text: str) -> list[float]:
    """Numbers that stand in a text, with signs, thousands' commas and exponents as written."""
    found = (float(match.replace(",", "")) for match in _NUMBER.findall(text))
    return [number for number in found if math.isfinite(number)]


def is_grounded(given: Iterable[float], observed: Iterable[str]) -> bool:
    """Whether a number is within 0.5 % of one that was observed, also as a percentage of it."""
    left, seen = _LONGEST, []
    for text in observed:
        seen.extend(numbers(text[:left]))
        left -= min(left, len(text))
    if left == 0:  # not all was looked at
        return True
    seen.sort()
    return any(_has_near(number * unit, seen) for number in given for unit in (1, 100, 0.01))


def _has_near(number: float, ordered: list[float]) -> bool:
    margin = abs(number) * _NEAR
    at = bisect.bisect_left(ordered, number - margin)
    return at < len(ordered) and ordered[at] <= number + margin
