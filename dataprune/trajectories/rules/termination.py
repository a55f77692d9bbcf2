"""Stage 2: why a run ended, by the environment's own word and by the number of turns.

The words are those of MINT, SWE-agent, rLLM and of finish reasons; a word not listed means nothing.
DataMind's code rejects an answer given in the last turn allowed (`current_turns >= max_turns`);
here such an answer counts.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Literal

from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories.dialects import Parsed
from dataprune.trajectories.rules import Code, Reason, Rule, at_end, whole

MAX_TURNS, TRUNCATED = "F_MAX_TURNS", "F_TRUNCATED"
TIMEOUT, ENV_ERROR = "F_TIMEOUT", "F_ENV_ERROR"
Cause = Literal["turns", "truncated", "timeout", "error"]

_WORDS: dict[Cause, str] = {
    "turns": "max_steps max_turns max_iterations max_step max_turn step_limit turn_limit "
    "exit_max_steps exit_max_turns max_turns_reached max_steps_reached max_turns_exceeded "
    "limits_exceeded limitsexceeded max_propose_steps",
    "truncated": "length truncated truncation max_tokens max_length max_prompt max_response "
    "max_prompt_length_exceeded max_response_length_exceeded context_length "
    "context_length_exceeded context_window_exceeded exit_context exit_cost max_output_tokens",
    "timeout": "timeout timed_out time_out exit_timeout exit_command_timeout "
    "exit_total_execution_time wall_clock time_limit",
    "error": "error failed_to_run crash crashed exception env_error exit_error exit_api "
    "exit_format exit_environment_error environment_error runtime_error exit_forfeit",
}
_CAUSES: dict[str, Cause] = {
    word: cause for cause, words in _WORDS.items() for word in words.split()
}


@functools.lru_cache(maxsize=1024)
def cause(termination: str | None) -> Cause | None:
    """What cut a run short; None if nothing did, or the word says nothing.

    Of a word with another in parentheses, as SWE-agent's "submitted (exit_cost)", both count.
    """
    if termination is None:
        return None
    word = termination[:200].strip().lower()
    outer, _, inner = word.partition("(")
    for part in (word, inner.rstrip(") "), outer):
        found = _CAUSES.get(part.strip().replace(" ", "_").replace("-", "_"))
        if found is not None:
            return found
    return None


def _check(parsed: Parsed, rules: RulesRecipe) -> Iterator[Reason]:
    if not parsed.turns:
        return
    why = cause(parsed.trajectory.termination)
    yield from _max_turns(parsed, rules, why)
    if why == "truncated":
        yield at_end(TRUNCATED, parsed, "cut off, the environment says")
    elif why == "timeout":
        yield at_end(TIMEOUT, parsed, "out of time, the environment says")
    elif why == "error":
        yield at_end(ENV_ERROR, parsed, "an error, the environment says")


def _max_turns(parsed: Parsed, rules: RulesRecipe, why: Cause | None) -> Iterator[Reason]:
    """Too many turns, the last of which does not answer."""
    last, dialect = parsed.turns[-1], parsed.dialect
    is_answer = bool(last.answers) or (dialect.talks and not last.has_action)
    if is_answer or parsed.trajectory.answer is not None:
        return
    # A run that may end anywhere, or whose answers are not marked, has no turn to answer in.
    counts = not dialect.ends_anywhere and (
        dialect.talks or any(mark.kind == "answer" for mark in dialect.marks)
    )
    num = len(parsed.turns)
    if why == "turns" or (counts and num >= rules.max_turns):
        place = whole(MAX_TURNS, last.step, last.message, f"{num} turns, the last is no answer")
        yield Reason(
            MAX_TURNS, place.step, place.start, place.end, place.detail, num, rules.max_turns
        )


RULE = Rule(
    name="termination",
    codes={
        MAX_TURNS: Code("termination", "reject", "out of turns, and the last is no answer"),
        TRUNCATED: Code("termination", "reject", "cut off by a limit of length or cost"),
        TIMEOUT: Code("termination", "reject", "out of time"),
        ENV_ERROR: Code("termination", "reject", "ended by an error of the environment"),
    },
    check=_check,
    cost=1,
)
