"""Stage 3: lengths, in tokens of the tokenizer that is named, else characters / 4, rounded up."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dataprune.core.errors import UsageError
from dataprune.core.extras import require
from dataprune.core.recipe_curate import LengthRules, RulesRecipe
from dataprune.trajectories import Message
from dataprune.trajectories.dialects import Parsed
from dataprune.trajectories.rules import Code, Reason, Rule, at_end

ANSWER_LONG, TOTAL_LONG = "N_ANSWER_LONG", "N_TOTAL_LONG"
OBS_LONG, TOO_SHORT = "N_OBS_LONG", "N_TOO_SHORT"
_MOST_TOKENS = 4  # of a character: a token of bytes is one byte of UTF-8 at least


def num_tokens(text: str, tokenizer: str | None) -> int:
    """Length of a text: in tokens of a tokenizer.json, or ceil(characters / 4) without one.

    Raises:
        UsageError: the file is missing or is no tokenizer.
        MissingExtraError: a tokenizer is named and the `tokenizers` package is not installed.
    """
    if tokenizer is None:
        return -(-len(text) // 4)
    # A surrogate that stands alone cannot be handed over; it counts as the character it is not.
    readable = text.encode("utf-8", "replace").decode("utf-8")
    return len(_tokenizer(tokenizer).encode(readable, add_special_tokens=False).ids)


@functools.lru_cache(maxsize=4)
def _tokenizer(path: str) -> Any:
    tokenizers = require("tokenizers", extra="transformers", why="rules.length.tokenizer")
    if not Path(path).is_file():
        raise UsageError(f"there is no tokenizer {path}", hint="name a tokenizer.json file")
    try:
        return tokenizers.Tokenizer.from_file(path)
    except Exception as exc:
        raise UsageError(f"{path} is no tokenizer.json: {exc}") from exc


def _check(parsed: Parsed, rules: RulesRecipe) -> Iterator[Reason]:
    limits = rules.length
    yield from _answer(parsed, limits)
    yield from _total(parsed, limits)
    for seen in parsed.observations:
        found = _over(seen.text, limits.observation, limits)
        if found is not None:
            num, detail = found
            yield Reason(OBS_LONG, seen.step, seen.start, seen.end, detail, num, limits.observation)
    if parsed.trajectory.files and not any(turn.has_action for turn in parsed.turns):
        yield at_end(TOO_SHORT, parsed, "the task has files, and no turn acts")


def _answer(parsed: Parsed, limits: LengthRules) -> Iterator[Reason]:
    text = parsed.answer_text
    found = None if text is None else _over(text, limits.answer, limits)
    if found is None:
        return
    num, detail = found
    step = start = end = None
    if parsed.answer is not None:
        turn, piece = parsed.answer
        step, start, end = turn.step, 0, len(turn.message.content)
        if piece is not None:
            start, end = piece.inner_start, piece.inner_end
        if start == end:
            start = end = None
    yield Reason(ANSWER_LONG, step, start, end, detail, num, limits.answer)


def _total(parsed: Parsed, limits: LengthRules) -> Iterator[Reason]:
    texts = [text for message in parsed.trajectory.messages for text in _texts(message)]
    if not _may_exceed(sum(map(len, texts)), limits.total, limits):
        return
    num = sum(num_tokens(text, limits.tokenizer) for text in texts)
    if num > limits.total:
        place = at_end(TOTAL_LONG, parsed)
        detail = _in_words(num, limits)
        yield Reason(TOTAL_LONG, place.step, place.start, place.end, detail, num, limits.total)


def _texts(message: Message) -> Iterator[str]:
    yield message.content
    if message.reasoning:
        yield message.reasoning
    for call in message.tool_calls:
        yield call.name
        yield call.arguments


def _over(text: str, limit: int, limits: LengthRules) -> tuple[int, str] | None:
    if not _may_exceed(len(text), limit, limits):
        return None
    num = num_tokens(text, limits.tokenizer)
    return (num, _in_words(num, limits)) if num > limit else None


def _may_exceed(num_characters: int, limit: int, limits: LengthRules) -> bool:
    """False where it need not be counted."""
    return num_characters * (_MOST_TOKENS if limits.tokenizer else 1) > limit


def _in_words(num: int, limits: LengthRules) -> str:
    return f"{num} tokens" if limits.tokenizer else f"{num} tokens, approx"


RULE = Rule(
    name="length",
    codes={
        ANSWER_LONG: Code("length", "reject", "a final answer above the limit of tokens"),
        TOTAL_LONG: Code("length", "flag", "more tokens in all than a model may be trained on"),
        OBS_LONG: Code("length", "flag", "an observation above the limit of tokens"),
        TOO_SHORT: Code("length", "reject", "no action, though the task has files"),
    },
    check=_check,
    cost=2,
)
