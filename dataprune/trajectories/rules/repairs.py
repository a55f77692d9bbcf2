"""Stage 1: repairs, made before anything is judged; none unless `rules.repair` names it.

Every repair is told with the hash of the message before and after, so that nothing is rewritten in
silence. Repairing a repaired trajectory changes nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories import Message, Trajectory
from dataprune.trajectories.dialects import Dialect, Parsed, parse
from dataprune.trajectories.rules import Code, Reason, Rule

TRIM_AFTER_ACTION = "P_TRIM_AFTER_ACTION"
DROP_TRAILING = "P_DROP_TRAILING_NONASSISTANT"
STRIP_NAG, ORPHAN_THINK_CLOSE = "P_STRIP_NAG", "P_ORPHAN_THINK_CLOSE"

# A message by its place, or None where it is to go.
_Changes = dict[int, Message | None]


@dataclass(frozen=True, slots=True)
class Repair:
    """One message changed or taken out.

    step: its place before this repair, behind those made earlier. sha_before, sha_after: SHA-256 of
        its content; sha_after is "" where it was taken out.
    """

    code: str
    step: int
    sha_before: str
    sha_after: str


def repair(
    trajectory: Trajectory, dialect: Dialect, rules: RulesRecipe
) -> tuple[Trajectory, list[Repair]]:
    """Make the repairs that a recipe names, always in the same order; tell each."""
    made: list[Repair] = []
    parsed: Parsed | None = None
    for code, changes_of in _REPAIRS.items():
        if code not in rules.repair:
            continue
        parsed = parsed or parse(trajectory, dialect)
        changes = changes_of(parsed)
        old = trajectory.messages
        for step, message in sorted(changes.items()):
            after = "" if message is None else _sha256(message)
            made.append(Repair(code, step, _sha256(old[step]), after))
        if changes:
            new = [changes.get(step, message) for step, message in enumerate(old)]
            kept = tuple(message for message in new if message is not None)
            trajectory, parsed = dataclasses.replace(trajectory, messages=kept), None
    return trajectory, made


def _orphan_think_close(parsed: Parsed) -> _Changes:
    """Open a thought where its opening was left in the prompt, as chat templates do."""
    changes: _Changes = {}
    marks = [mark for mark in parsed.dialect.marks if mark.kind == "think" and mark.close]
    for turn in parsed.turns:
        content = turn.message.content
        for mark in marks:
            assert mark.close is not None
            close, opening = content.find(mark.close), content.find(mark.open)
            if close >= 0 and (opening < 0 or close < opening):
                changes[turn.step] = dataclasses.replace(turn.message, content=mark.open + content)
                break
    return changes


def _strip_nags(parsed: Parsed) -> _Changes:
    """Take out a turn that neither acts nor answers, with the nag that it was answered by."""
    nags = {seen.step for seen in parsed.observations if seen.is_nag}
    return {
        step: None
        for turn in parsed.turns
        if turn.step + 1 in nags and not turn.has_action and not turn.answers
        for step in (turn.step, turn.step + 1)
    }


def _trim_after_action(parsed: Parsed) -> _Changes:
    """Cut a message behind its first complete action, else its first answer, as DataMind does.

    What stands there was written before anything had run. An action must have been observed:
    without that the cut would only lose what the agent went on to say.
    """
    seen = {observation.step for observation in parsed.observations if not observation.is_nag}
    changes: _Changes = {}
    for turn in parsed.turns:
        if turn.actions and turn.step + 1 not in seen:
            continue
        for piece in (turn.actions or turn.answers)[:1]:
            if turn.message.content[piece.end :].strip():
                cut = turn.message.content[: piece.end]
                changes[turn.step] = dataclasses.replace(turn.message, content=cut)
    return changes


def _drop_trailing(parsed: Parsed) -> _Changes:
    """Take out what comes behind the last turn, unless runs may end there."""
    if parsed.dialect.ends_anywhere or not parsed.turns:
        return {}
    last = parsed.turns[-1].step
    return dict.fromkeys(range(last + 1, len(parsed.trajectory.messages)))


def _sha256(message: Message) -> str:
    return hashlib.sha256(message.content.encode("utf-8", "surrogatepass")).hexdigest()


def _check(parsed: Parsed, rules: RulesRecipe) -> Iterable[Reason]:  # noqa: ARG001
    """Nothing: repairs are made, not found."""
    return ()


_REPAIRS: dict[str, Callable[[Parsed], _Changes]] = {
    ORPHAN_THINK_CLOSE: _orphan_think_close,
    STRIP_NAG: _strip_nags,
    TRIM_AFTER_ACTION: _trim_after_action,
    DROP_TRAILING: _drop_trailing,
}

RULE = Rule(
    name="repairs",
    codes={
        TRIM_AFTER_ACTION: Code("repair", "repair", "cut behind the first complete action"),
        DROP_TRAILING: Code("repair", "repair", "drop messages behind the last assistant's"),
        STRIP_NAG: Code("repair", "repair", "take out void turns with the nag they got"),
        ORPHAN_THINK_CLOSE: Code("repair", "repair", "open a thought that only closes"),
    },
    check=_check,
)
