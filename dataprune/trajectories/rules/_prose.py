"""What an agent wrote for people: its messages without code, tool calls and SQL.

Thoughts and answers are prose. Marks belong to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from dataprune.trajectories.dialects import ACTIONS, Turn

_LONGEST = 1_000_000  # characters of a message that are looked at for language and meaning


def prose(turn: Turn) -> list[tuple[int, str]]:
    """Stretches of a turn's prose, from left to right: (place in the content, text).

    Together at most a million characters: what is wrong with a longer text shows before.
    """
    content = turn.message.content
    stretches, left = [], _LONGEST
    for start, end in _stretches(turn):
        stop = min(end, start + left)
        if stop > start:
            stretches.append((start, content[start:stop]))
            left -= stop - start
    return stretches


def _stretches(turn: Turn) -> Iterator[tuple[int, int]]:
    at = 0
    for piece in turn.pieces:
        if piece.kind in ACTIONS and piece.start >= at:
            yield at, piece.start
            at = piece.end
        elif piece.kind not in ACTIONS:
            if piece.start > at:
                yield at, piece.start
            at = max(at, piece.inner_start)
            if piece.is_closed:
                yield at, piece.inner_end
                at = max(at, piece.end)
    yield at, len(turn.message.content)
