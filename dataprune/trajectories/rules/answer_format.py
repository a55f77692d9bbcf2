"""Stage 2: whether marks are whole, actions and observations alternate, and there is one answer.

The rules of DataMind's `validate_format` (balanced marks, one answer, as many observations as
actions) and of its strict check (nothing outside of marks), told of each place apart.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories.dialects import Dialect, Parsed, Turn
from dataprune.trajectories.rules import Code, Reason, Rule, at_end

NO_ANSWER, MULTI_ANSWER = "F_NO_ANSWER", "F_MULTI_ANSWER"
TAG_UNBALANCED, CODE_OBS_MISMATCH = "F_TAG_UNBALANCED", "F_CODE_OBS_MISMATCH"
TEXT_OUTSIDE_TAGS = "F_TEXT_OUTSIDE_TAGS"
_TEXT = re.compile(r"\S")


def _check(parsed: Parsed, rules: RulesRecipe) -> Iterator[Reason]:  # noqa: ARG001
    yield from _no_answer(parsed)
    yield from _several_answers(parsed)
    if parsed.dialect.marks:
        yield from _mismatches(parsed)
        closing, thoughts = _closing_marks(parsed.dialect), _loose_thoughts(parsed.dialect)
        for turn in parsed.turns:
            yield from _unbalanced(turn, closing)
            yield from _outside(turn, thoughts, parsed.dialect.prefixes)


def _no_answer(parsed: Parsed) -> Iterator[Reason]:
    """No complete answer anywhere, where the dialect can give one and a run must end on it."""
    dialect = parsed.dialect
    can_answer = dialect.talks or any(mark.kind == "answer" for mark in dialect.marks)
    if can_answer and not dialect.ends_anywhere and parsed.turns and parsed.answer_text is None:
        yield at_end(NO_ANSWER, parsed, "no turn has a complete answer")


def _several_answers(parsed: Parsed) -> Iterator[Reason]:
    """A second answer before anybody replied to the first.

    An agent that is told "your answer is wrong", or is asked the next question, may answer again.
    """
    before, num = -2, 0
    for turn in parsed.turns:
        if turn.step != before + 1:
            num = 0
        before = turn.step
        for piece in turn.answers:
            num += 1
            if num == 2:
                detail = "another answer, and nobody replied to the first"
                yield Reason(MULTI_ANSWER, turn.step, piece.start, piece.end, detail)


def _mismatches(parsed: Parsed) -> Iterator[Reason]:
    """Turns with more actions than observations behind them, or the other way round.

    The last turn is not judged: `S_DANGLING_CALL` and `F_MAX_TURNS` are about it. Nor is a turn
    that was replied to because of what it is: its answer was refused, or it got a nag.
    """
    dialect = parsed.dialect
    if dialect.calls:
        return
    nags = {seen.step for seen in parsed.observations if seen.is_nag}
    seen = {
        seen.step: _num_observations(seen.message.content, dialect) for seen in parsed.observations
    }
    for turn, following in itertools.pairwise(parsed.turns):
        steps = range(turn.step + 1, following.step)
        num, actions = sum(seen.get(step, 0) for step in steps), turn.actions
        if len(actions) == num or any(step in nags for step in steps):
            continue
        detail = f"{len(actions)} actions, {num} observations"
        if actions and not (num == 0 and turn.answers):
            piece = actions[min(num, len(actions) - 1)]
            yield Reason(CODE_OBS_MISMATCH, turn.step, piece.start, piece.end, detail)
        elif not actions and any(closing for _, closing in dialect.observation):
            step = next(step for step in steps if seen.get(step))
            length = len(parsed.trajectory.messages[step].content)
            yield Reason(CODE_OBS_MISMATCH, step, 0, length, detail)


def _num_observations(content: str, dialect: Dialect) -> int:
    """How many observations a message brings: by their marks, where they have closing ones."""
    for opening, closing in dialect.observation:
        if opening in content:
            return max(1, content.count(closing)) if closing else 1
    # A mark before an observation is often left out; a pair of tags that is missing is missing.
    return 0 if any(closing for _, closing in dialect.observation) else 1


def _closing_marks(dialect: Dialect) -> list[str]:
    """Closing marks that can be told from the text around them, as that of a fence cannot."""
    return [
        mark.close
        for mark in dialect.marks
        if mark.close is not None
        and not mark.balanced
        and mark.close.strip() not in {"", "```", "}", ")", "]"}
        and (mark.kind != "think" or dialect.think_hides)
    ]


def _loose_thoughts(dialect: Dialect) -> list[tuple[str, str]]:
    """Marks of thoughts that are not read as pieces, because they hide nothing."""
    if dialect.think_hides:
        return []
    return [(m.open, m.close) for m in dialect.marks if m.kind == "think" and m.close is not None]


def _unbalanced(turn: Turn, closing: list[str]) -> Iterator[Reason]:
    """The first mark of a turn that opens and never closes, or closes and never opened."""
    wrong = []
    unclosed = next((piece for piece in turn.pieces if not piece.is_closed), None)
    if unclosed is not None:
        wrong.append((unclosed.start, unclosed.inner_start, "a mark that is not closed"))
    num_closed = sum(piece.is_closed for piece in turn.pieces)
    num_closing = sum(turn.message.content.count(close) for close in closing)
    if num_closing > num_closed or unclosed is not None:
        for close in closing:
            place = _closing_outside(turn, close)
            if place >= 0:
                wrong.append((place, place + len(close), "a closing mark without its opening"))
    if wrong:
        start, end, detail = min(wrong)
        yield Reason(TAG_UNBALANCED, turn.step, start, end, detail)


def _closing_outside(turn: Turn, close: str) -> int:
    """Where a closing mark stands outside of complete pieces, -1 if nowhere."""
    at = 0
    content = turn.message.content
    for piece in turn.pieces:
        if not piece.is_closed or piece.start < at:
            continue
        place = content.find(close, at, piece.start)
        if place >= 0:
            return place
        at = piece.end
    return content.find(close, at)


def _outside(
    turn: Turn, thoughts: list[tuple[str, str]], prefixes: tuple[str, ...]
) -> Iterator[Reason]:
    """The first text outside of thoughts, actions and answers.

    thoughts: marks of thoughts that may go on around actions.
    """
    content = turn.message.content
    open_until: str | None = None  # the closing mark of the thought that is open
    for begin, end in turn.outside():
        at = _text_from(content, begin, end)
        if begin == 0:
            at += len(next((p for p in prefixes if content.startswith(p, at)), ""))
            at = _text_from(content, at, end)
        while at < end:
            if open_until is None:
                marks = (mark for mark in thoughts if content.startswith(mark[0], at))
                opening, open_until = next(marks, ("", None))
                at += len(opening)
                if open_until is None:
                    break
            close = content.find(open_until, at, end)
            if close < 0:
                at = end
            else:
                at = _text_from(content, close + len(open_until), end)
                open_until = None
        if at < end:
            stop = at + len(content[at:end].rstrip())
            yield Reason(TEXT_OUTSIDE_TAGS, turn.step, at, stop, "text outside of marks")
            return


def _text_from(content: str, at: int, end: int) -> int:
    """Where the next text begins that is no space; `end` if there is none."""
    found = _TEXT.search(content, at, end)
    return end if found is None else found.start()


RULE = Rule(
    name="answer_format",
    codes={
        NO_ANSWER: Code("format", "reject", "no complete answer"),
        MULTI_ANSWER: Code("format", "reject", "a second answer before any reply to the first"),
        TAG_UNBALANCED: Code("format", "reject", "a mark that opens or closes alone"),
        CODE_OBS_MISMATCH: Code("format", "reject", "not one observation for each action"),
        TEXT_OUTSIDE_TAGS: Code("format", "flag", "text outside of thoughts, actions and answers"),
    },
    check=_check,
    cost=3,
)
