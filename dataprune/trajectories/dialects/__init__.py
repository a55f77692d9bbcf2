r"""Dialects: how the text of messages holds thoughts, actions, observations and answers.

One dialect a file, each defines `DIALECT`; a user's own comes from YAML (`_yaml`). A dialect is
made of literal marks and never of regular expressions: a message is read in one pass however it
was made up, and no input can make it take long.

Offsets are positions of characters in `Message.content`, ends exclusive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dataprune.core.registry import Registry
from dataprune.trajectories import Message, ToolCall, Trajectory

Kind = Literal["think", "code", "tool", "sql", "answer"]
VoidKind = Literal["empty", "text_only", "partial_action", "unparsable", "truncated"]
Status = Literal["ok", "error", "empty", "timeout", "unknown"]
ACTIONS: frozenset[str] = frozenset({"code", "tool", "sql"})
_LONGEST_BALANCED = 20_000  # characters between braces that are found by counting


@dataclass(frozen=True, slots=True)
class Mark:
    r"""A stretch of text between two literals.

    close: None for a heading: up to the next mark's opening, or the end.
    at_line_start: counts only at the start of a line, as headings do.
    balanced: `close` is a brace that is found by counting, as of \boxed{...}.
    language: of code, where it is always the same.
    """

    kind: Kind
    open: str
    close: str | None
    at_line_start: bool = False
    balanced: bool = False
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one kind of agent writes.

    marks: of assistant messages. think_hides: what stands in thoughts is neither action nor answer.
    calls: actions are tool calls beside the text.
    talks: a text without an action is a turn like any other, as in talk with a user.
    observation_role: who brings observations. observation: marks around them, taken off.
    environment: what only the environment writes, at the start of a line; in an assistant message
        it is made up. after_action: only behind the first closing mark of an action or answer.
    nags: how messages begin that say an action was invalid.
    prefixes: what assistant messages may begin with, and means nothing ("Assistant:").
    failed: how observations begin, or what they contain, where an execution failed.
    prompt_after: the task is what follows the last of these in the first user message.
    ends_anywhere: a run may end on an observation: a transfer, a stop.
    void_kinds: what counts as void unless a recipe says otherwise.
    """

    name: str
    marks: tuple[Mark, ...]
    think_hides: bool = True
    calls: bool = False
    talks: bool = False
    observation_role: Literal["user", "tool"] = "user"
    observation: tuple[tuple[str, str], ...] = ()
    environment: tuple[str, ...] = ()
    after_action: bool = False
    nags: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    failed: tuple[str, ...] = ("Traceback (most recent call last)",)
    prompt_after: tuple[str, ...] = ()
    ends_anywhere: bool = False
    void_kinds: tuple[VoidKind, ...] = (
        "empty",
        "text_only",
        "partial_action",
        "unparsable",
        "truncated",
    )


@dataclass(frozen=True, slots=True)
class Piece:
    """A marked stretch of an assistant message: start, end with its marks, inner without.

    is_closed: whether its closing mark is there; where not, it ends with the message.
    """

    kind: Kind
    start: int
    end: int
    inner_start: int
    inner_end: int
    is_closed: bool
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One assistant message, read. step: its place among the messages."""

    step: int
    message: Message
    pieces: tuple[Piece, ...]

    @property
    def actions(self) -> list[Piece]:
        """Complete actions in the text."""
        return [p for p in self.pieces if p.kind in ACTIONS and p.is_closed]

    @property
    def answers(self) -> list[Piece]:
        """Complete answers."""
        return [p for p in self.pieces if p.kind == "answer" and p.is_closed]

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """Tool calls beside the text."""
        return self.message.tool_calls

    @property
    def has_action(self) -> bool:
        """Whether it does something."""
        return bool(self.message.tool_calls) or bool(self.actions)

    def text(self, piece: Piece) -> str:
        """What stands between a piece's marks."""
        return self.message.content[piece.inner_start : piece.inner_end]

    def outside(self) -> Iterator[tuple[int, int]]:
        """Stretches that no piece covers."""
        at = 0
        for piece in self.pieces:
            if piece.start > at:
                yield at, piece.start
            at = max(at, piece.end)
        if at < len(self.message.content):
            yield at, len(self.message.content)


@dataclass(frozen=True, slots=True)
class Observation:
    """What the environment answered: a message, and the stretch of it without marks."""

    step: int
    message: Message
    start: int
    end: int
    status: Status
    is_nag: bool

    @property
    def text(self) -> str:
        """The answer without marks."""
        return self.message.content[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A trajectory, read in a dialect.

    answer: the last turn's or the last complete answer: (turn, piece); piece None where the whole
        text is the answer (dialects whose agents talk).
    """

    trajectory: Trajectory
    dialect: Dialect
    turns: tuple[Turn, ...]
    observations: tuple[Observation, ...]
    answer: tuple[Turn, Piece | None] | None

    @property
    def answer_text(self) -> str | None:
        """The final answer, stripped; None if there is none."""
        if self.trajectory.answer is not None:
            return self.trajectory.answer.strip()
        if self.answer is None:
            return None
        turn, piece = self.answer
        return (turn.message.content if piece is None else turn.text(piece)).strip()


def parse(trajectory: Trajectory, dialect: Dialect) -> Parsed:
    """Read a trajectory's messages."""
    turns, observations = [], []
    has_acted = False
    for step, message in enumerate(trajectory.messages):
        if message.role == "assistant":
            turns.append(Turn(step, message, tuple(_pieces(message.content, dialect))))
            has_acted = True
        elif message.role == "tool" or (message.role == dialect.observation_role and has_acted):
            observations.append(_observation(step, message, dialect))
    return Parsed(
        trajectory, dialect, tuple(turns), tuple(observations), _answer_of(turns, dialect)
    )


def _answer_of(turns: list[Turn], dialect: Dialect) -> tuple[Turn, Piece | None] | None:
    for turn in reversed(turns):
        if turn.answers:
            return turn, turn.answers[-1]
    if dialect.talks:
        for turn in reversed(turns):
            if turn.message.content.strip() and not turn.has_action:
                return turn, None
    return None


def _pieces(content: str, dialect: Dialect) -> Iterator[Piece]:
    """Marked stretches from left to right; they do not overlap.

    An opening mark whose closing mark is missing is a piece of its own up to the end, and what
    follows the mark is read on, so that a later action still counts.
    """
    marks = dialect.marks
    if not dialect.think_hides:
        marks = tuple(mark for mark in marks if mark.kind != "think")
    found = [_Finder(content, mark) for mark in marks]
    at = 0
    while True:
        nearest = min(
            (finder for finder in found if finder.seek(at) >= 0),
            key=lambda finder: (finder.place, -len(finder.mark.open)),
            default=None,
        )
        if nearest is None:
            return
        piece = nearest.piece(found)
        yield piece
        at = piece.end if piece.is_closed else piece.inner_start


class _Finder:
    """Where a mark opens next; the place is kept until the reading has passed it."""

    def __init__(self, content: str, mark: Mark) -> None:
        self.content, self.mark = content, mark
        self.place = -2  # not looked for yet
        self.is_unclosed = False  # no closing mark is left from here on

    def seek(self, at: int) -> int:
        """The first opening at or behind a place, -1 if there is none."""
        if self.place == -1 or self.place >= at:
            return self.place
        place = self.content.find(self.mark.open, at)
        while place > 0 and self.mark.at_line_start and self.content[place - 1] != "\n":
            place = self.content.find(self.mark.open, place + 1)
        self.place = place
        return place

    def piece(self, others: list[_Finder]) -> Piece:
        """The stretch that opens at the place found."""
        start, mark = self.place, self.mark
        inner = start + len(mark.open)
        if mark.close is None:
            ends = [place for other in others if (place := other.seek(inner)) >= 0]
            end = min(ends, default=len(self.content))
            return Piece(mark.kind, start, end, inner, end, True, mark.language)
        close = self._closing(inner, mark.close)
        if close < 0:
            end = len(self.content)
            return Piece(mark.kind, start, end, inner, end, False, mark.language)
        end = close + len(mark.close)
        return Piece(mark.kind, start, end, inner, close, True, mark.language)

    def _closing(self, inner: int, close: str) -> int:
        """The closing mark, -1 if there is none; each part of a text is searched once for it."""
        if self.mark.balanced:
            return _balanced(self.content, inner)
        if not self.is_unclosed:
            place = self.content.find(close, inner)
            self.is_unclosed = place < 0
            return place
        return -1


def _balanced(content: str, inner: int) -> int:
    """Place of the brace that closes one opened before `inner`, -1 if none near does."""
    depth, at, last = 1, inner, min(len(content), inner + _LONGEST_BALANCED)
    while (close := content.find("}", at, last)) >= 0:
        depth += content.count("{", at, close) - 1
        if depth == 0:
            return close
        at = close + 1
    return -1


def _observation(step: int, message: Message, dialect: Dialect) -> Observation:
    content = message.content
    start, end = 0, len(content)
    for opening, closing in dialect.observation:
        place = content.find(opening)
        if place >= 0:
            start = place + len(opening)
            close = content.find(closing, start) if closing else -1
            end = close if close >= 0 else len(content)
            break
    text = content[start:end].strip()
    head = text[:20_000]  # a failure says so at once
    status: Status = "ok" if text else "empty"
    if any(mark in head for mark in dialect.failed):
        status = "error"
    is_nag = any(content.lstrip().startswith(nag) for nag in dialect.nags)
    return Observation(step, message, start, end, status, is_nag)


DIALECTS: Registry[Dialect] = Registry("dataprune.trajectories.dialects", "DIALECT", "dialect")
