"""Actions that a run takes again, and whether anything else came of them.

To run the same tests after an edit is work; to do the same and see the same is not. Digits of
observations do not count: steps left, timings, addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dataprune.trajectories.dialects import Parsed, Piece
from dataprune.trajectories.rules import Reason, whole

_DIGITS = re.compile(r"\d+")
_LONGEST = 2_000  # characters of an observation that are compared


def repeated_actions(parsed: Parsed) -> Iterator[tuple[Reason, int, bool]]:
    """Each action that is taken more than once: its last place, how often, whether idly.

    Idly: three times or more the same was seen behind it.
    """
    taken: dict[tuple[str, str], list[tuple[Reason, int]]] = {}
    for turn in parsed.turns:
        for call in turn.calls:
            place = whole("", turn.step, turn.message)
            taken.setdefault((call.name, call.arguments.strip()), []).append((place, turn.step))
        for piece in turn.actions:
            text = turn.text(piece).strip()
            if text:
                place = _piece_place(turn.step, piece)
                taken.setdefault((piece.kind, text), []).append((place, turn.step))
    again = {action: places for action, places in taken.items() if len(places) > 1}
    if not again:
        return
    seen = _seen(parsed)
    for places in again.values():
        effects = [seen.get(step, "") for _, step in places]
        most = max(effects.count(effect) for effect in set(effects)) if len(places) < 100 else 3
        yield places[-1][0], len(places), most >= 3


def _piece_place(step: int, piece: Piece) -> Reason:
    return Reason("", step, piece.start, piece.end)


def _seen(parsed: Parsed) -> dict[int, str]:
    """What came of each turn: the start of what was observed before the next, without digits."""
    seen: dict[int, str] = {}
    steps = iter(parsed.observations)
    observation = next(steps, None)
    for at, turn in enumerate(parsed.turns):
        end = parsed.turns[at + 1].step if at + 1 < len(parsed.turns) else None
        texts = []
        while observation is not None and (end is None or observation.step < end):
            texts.append(_DIGITS.sub("", observation.text[:_LONGEST]))
            observation = next(steps, None)
        seen[turn.step] = "\n".join(texts)
    return seen
