"""Stage 5: runs that are well formed and teach nothing, by signs that code can see.

Every pattern is kept narrow: what rejects must be right, and the rest are flags for people, groups
and judges to weigh. Agents that talk to a user are not judged by what they say last: to decline is
often their task.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories.dialects import Parsed
from dataprune.trajectories.rules import Code, Reason, Rule, at_end
from dataprune.trajectories.rules._numbers import is_grounded, numbers
from dataprune.trajectories.rules._repeats import repeated_actions

PLACEHOLDER_ANSWER, ERRORS = "X_PLACEHOLDER_ANSWER", "X_ERRORS"
REPEAT_ACTION, REPEAT_ACTION_2 = "X_REPEAT_ACTION", "X_REPEAT_ACTION_2"
UNGROUNDED = "X_UNGROUNDED"
NEVER_EXECUTED, NO_OBSERVATION = "X_NEVER_EXECUTED", "X_NO_OBSERVATION"
REFUSAL, GIVE_UP, PROMPT_LEAK = "X_REFUSAL", "X_GIVE_UP", "X_PROMPT_LEAK"

_LONGEST_ANSWER = 20_000  # characters of an answer that are looked at
_SHORT = 200  # characters; a longer answer says more than that it gives up
_LEAST_LEAK = 12  # characters; a shorter reference is in many prompts by chance
_PLACEHOLDER = re.compile(
    r"\[(?:insert|your|enter|placeholder|fill in|answer here)\b[^\[\]\n]{0,80}\]"
    r"|<(?:your|insert|placeholder)[ _][^<>\n]{0,60}>"
    r"|(?<![\w.])x{1,3}\.xx+(?![\w.])"
    r"|\A\W*(?:todo|tbd|answer here|final answer|placeholder)\W*\Z",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\A\W*(?:i(?:'|\u2019)?m sorry,? but |sorry,? but |i apologi[sz]e,? but |unfortunately,? )?"
    r"(?:as an ai(?: language model| assistant)?,? )?i (?:cannot|can't|can\u2019t|am unable to|"
    r"am not able to|won't) (?:assist|help|comply|fulfil+|answer this|answer that|provide that)"
    r"|\bas an ai language model,? i (?:cannot|can't|can\u2019t|don't|do not|am unable)",
    re.IGNORECASE,
)
_GIVE_UP = re.compile(
    r"\A\W*(?:i give up|i (?:do not|don't|don\u2019t) know|unknown|n/a|not available|no answer|"
    r"not found|no solution found|unable to (?:determine|find|answer|solve|complete)|"
    r"(?:i|we) (?:was|were|am|are) (?:unable|not able) to (?:determine|find|answer|solve|complete)|"
    r"(?:i|we) (?:could not|couldn't|cannot|can't) (?:determine|find|answer|solve|complete))\b",
    re.IGNORECASE,
)
_OPTION = re.compile(r"\s*(?:[-*\u2022]|\(?[A-Za-z0-9]{1,2}[.):])\s*\Z")
_CHOICE = re.compile(r"\b(?:or|between|either)\b", re.IGNORECASE)


def _check(parsed: Parsed, rules: RulesRecipe) -> Iterator[Reason]:  # noqa: ARG001
    if not parsed.turns:
        return
    answer = _marked_answer(parsed)
    if answer is not None:
        text, place = answer
        yield from _words(text, place)
        yield from _numeric(parsed, text, place)
    yield from _repeats(parsed)
    yield from _errors(parsed, None if answer is None else answer[0])
    yield from _unexecuted(parsed)
    yield from _prompt_leak(parsed)


def _marked_answer(parsed: Parsed) -> tuple[str, Reason] | None:
    """An answer that is marked as one, or kept apart, with a place to show; None for talk."""
    turn, piece = parsed.answer or (None, None)
    if turn is not None and piece is not None:
        text = turn.text(piece)
        place = Reason("", turn.step, piece.start, piece.end)
    elif parsed.trajectory.answer is not None:
        text, place = parsed.trajectory.answer, at_end("", parsed)
    else:
        return None
    return text[:_LONGEST_ANSWER].strip(), place


def _at(code: str, place: Reason, detail: str) -> Reason:
    return Reason(code, place.step, place.start, place.end, detail)


def _words(text: str, place: Reason) -> Iterator[Reason]:
    """Answers that answer nothing."""
    if _PLACEHOLDER.search(text):
        yield _at(PLACEHOLDER_ANSWER, place, "a blank that was not filled in")
    if _REFUSAL.search(text[:1_000]):
        yield _at(REFUSAL, place, "the answer is a refusal")
    elif len(text) <= _SHORT and _GIVE_UP.search(text):
        yield _at(GIVE_UP, place, "the answer is that there is none")


def _numeric(parsed: Parsed, text: str, place: Reason) -> Iterator[Reason]:
    """A short answer with numbers, none of which was seen within 0.5 %."""
    observed = [seen.text for seen in parsed.observations if not seen.is_nag]
    if len(text) > _SHORT or not observed:
        return
    given = numbers(text)
    if given and not is_grounded(given, observed):
        yield _at(UNGROUNDED, place, "no number of the answer is in an observation")


def _repeats(parsed: Parsed) -> Iterator[Reason]:
    for place, num, is_idle in repeated_actions(parsed):
        code = REPEAT_ACTION if num >= 3 and is_idle else REPEAT_ACTION_2
        threshold = 3 if code == REPEAT_ACTION else 2
        detail = f"the same action {num} times"
        yield Reason(code, place.step, place.start, place.end, detail, num, threshold)


def _errors(parsed: Parsed, answer: str | None) -> Iterator[Reason]:
    failed = [seen for seen in parsed.observations if seen.status == "error"]
    if not failed:
        return
    last = failed[-1]
    if len(failed) >= 2:
        detail = f"{len(failed)} failing executions"
    elif last is parsed.observations[-1] and answer and len(answer) <= _SHORT and numbers(answer):
        detail = "the last execution failed, and the answer is a number"
    else:
        return
    start, end = last.start, last.end
    yield Reason(ERRORS, last.step, start, end, detail, len(failed), 2)


def _unexecuted(parsed: Parsed) -> Iterator[Reason]:
    if any(not seen.is_nag for seen in parsed.observations) or parsed.dialect.talks:
        return
    if parsed.trajectory.files:
        yield at_end(NEVER_EXECUTED, parsed, "the task has files, and nothing was observed")
    else:
        yield at_end(NO_OBSERVATION, parsed, "nothing was observed")


def _prompt_leak(parsed: Parsed) -> Iterator[Reason]:
    """The reference in the prompt, unless the prompt offers it as a choice."""
    reference, prompt = (parsed.trajectory.reference or "").strip(), parsed.trajectory.prompt
    if len(reference) < _LEAST_LEAK or len(reference) > len(prompt):
        return
    place = prompt.find(reference)
    if place < 0 and len(prompt.lower()) == len(prompt):  # a few letters are two in lower case
        place = prompt.lower().find(reference.lower())
    if place < 0:
        return
    line = prompt.rfind("\n", 0, place) + 1
    before, behind = prompt[line:place], prompt[place + len(reference) :].partition("\n")[0]
    if _OPTION.match(before) or _CHOICE.search(before[-_SHORT:]) or _CHOICE.search(behind[:_SHORT]):
        return
    detail = f"the reference, {len(reference)} characters, is in the prompt"
    for step, message in enumerate(parsed.trajectory.messages):
        if message.role == "user":
            at = message.content.find(prompt[place : place + len(reference)])
            if at >= 0:
                yield Reason(PROMPT_LEAK, step, at, at + len(reference), detail)
                return
    yield Reason(PROMPT_LEAK, detail=detail)


RULE = Rule(
    name="substance",
    codes={
        PLACEHOLDER_ANSWER: Code("substance", "reject", "an answer with a blank left in"),
        REPEAT_ACTION: Code(
            "substance", "reject", "the same action three times or more, to the same effect"
        ),
        REPEAT_ACTION_2: Code("substance", "flag", "the same action twice or more"),
        ERRORS: Code("substance", "flag", "two failing executions, or a number after the last did"),
        UNGROUNDED: Code("substance", "flag", "no number of the answer was observed"),
        NEVER_EXECUTED: Code("substance", "reject", "the task has files, and nothing was observed"),
        NO_OBSERVATION: Code("substance", "flag", "nothing was observed"),
        REFUSAL: Code("substance", "reject", "the answer is a refusal"),
        GIVE_UP: Code("substance", "reject", "the answer is that there is none"),
        PROMPT_LEAK: Code("substance", "reject", "the reference is in the prompt"),
    },
    check=_check,
    cost=7,
)
