"""Values by name: "@mean[34.65], @std[2.1]", "a = 23, b = -4", a JSON object."""

from __future__ import annotations

import json
import re
from typing import Any

from dataprune.trajectories.equivalence.lists import read_items, read_scalar
from dataprune.trajectories.equivalence.texts import normalised
from dataprune.trajectories.equivalence.values import Boolean, Items, Pairs, Scalar, Text

_MARK = re.compile(r"@([A-Za-z_]\w{0,80})\[", re.ASCII)
_EQUATION = re.compile(r"([A-Za-z_][A-Za-z_0-9 ]{0,40}?) ?[=:] ?([^=]+)")


def read_pairs(text: str) -> Pairs | None:
    """The named values that a text gives; None where it gives none."""
    if text[:1] == "{":
        return from_object(read_json(text))
    return _marked(text) if "@" in text else _equations(text)


def read_json(text: str) -> Any:
    """A JSON value with numbers as they are spelled; None where it is no JSON."""
    try:
        return json.loads(text, parse_int=_Spelled, parse_float=_Spelled, parse_constant=_Spelled)
    except (ValueError, RecursionError):
        return None


class _Spelled(str):
    """A number of a JSON text."""

    __slots__ = ()


def from_object(value: Any) -> Pairs | None:
    """Pairs of a JSON object of scalars and lists of scalars; None where it is anything else."""
    if not isinstance(value, dict) or not value:
        return None
    pairs: list[tuple[str, Scalar | Items]] = []
    for name, held in value.items():
        scalars = [scalar_of(item) for item in (held if isinstance(held, list) else [held])]
        known = [s for s in scalars if s is not None]
        if len(known) < len(scalars):
            return None
        pairs.append(
            (normalised(name), Items(tuple(known)) if isinstance(held, list) else known[0])
        )
    return _named(pairs)


def scalar_of(value: Any) -> Scalar | None:
    """The scalar that a JSON value is; None for arrays and objects."""
    if isinstance(value, bool):
        return Boolean(value)
    if value is None:
        return Text("null")
    return read_scalar(value.strip()) if isinstance(value, str) else None


def _marked(text: str) -> Pairs | None:
    pairs: list[tuple[str, Scalar | Items]] = []
    mark = _MARK.search(text)
    while mark:
        depth = 1
        at = mark.end()
        while at < len(text) and depth:
            depth += (text[at] == "[") - (text[at] == "]")
            at += 1
        if depth:
            return None
        pairs.append((mark[1].casefold(), _held(text[mark.end() : at - 1].strip())))
        mark = _MARK.search(text, at)
    return _named(pairs)


def _equations(text: str) -> Pairs | None:
    parts = [part.strip() for part in re.split(r"\n|; |, ", text) if part.strip()]
    found = [_EQUATION.fullmatch(part) for part in parts]
    if len(parts) < 2 or not all(found):
        return None
    return _named([(normalised(f[1]), _held(f[2].strip())) for f in found if f])


def _held(text: str) -> Scalar | Items:
    return (read_items(text) if text[:1] in {"[", "(", "{"} else None) or read_scalar(text)


def _named(pairs: list[tuple[str, Scalar | Items]]) -> Pairs | None:
    """Sorted by name; None where there are none or a name comes twice."""
    if not pairs or len({name for name, _ in pairs}) < len(pairs):
        return None
    return Pairs(tuple(sorted(pairs, key=lambda pair: pair[0])))
