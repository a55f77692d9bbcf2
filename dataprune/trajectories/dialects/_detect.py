"""Which dialect agents write: by the share of their turns that act or answer in it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dataprune.core.errors import UsageError
from dataprune.trajectories import Message, Trajectory
from dataprune.trajectories.dialects import DIALECTS, Dialect, parse

SAMPLE = 100  # trajectories that are looked at
_ENOUGH = 0.95  # share of turns that must be read
_AHEAD = 0.20  # and how much smaller the next dialect's must be


@dataclass(frozen=True, slots=True)
class FoundDialect:
    """A dialect; {dialect: share of the agent's turns that act or answer in it}; for people."""

    name: str
    scores: Mapping[str, float]
    evidence: str


def detect_dialect(trajectories: Iterable[Trajectory]) -> FoundDialect:
    """The one dialect that at least 95 % of the turns are in, 20 points ahead of every other.

    The first 100 trajectories are looked at. Dialects share marks such as <answer>: one whose own
    marks, which no other has, are nowhere, is out. Turns of trajectories with tool calls are in
    `tools`, and so is talk in which no other dialect acts or answers.

    Raises:
        UsageError: there is none, or no agent says anything; it lists the scores.
    """
    sample = list(
        itertools.islice((t for t in trajectories if t.problem is None and t.messages), SAMPLE)
    )
    dialects = [DIALECTS.get(name) for name in DIALECTS.names()]
    counts = [_count(t, [d for d in dialects if not d.calls]) for t in sample]
    turns = sum(len(_of_agent(t)) for t in sample)
    if not turns:
        raise UsageError(
            f"the dialect cannot be told: no agent says anything in {len(sample)} trajectories",
            hint=f"check the format, or name the dialect with --dialect: {_names()}",
        )
    own = {name for count in counts for name in count.own}
    scores = dict.fromkeys(DIALECTS.names(), 0.0)
    for trajectory, count in zip(sample, counts, strict=True):
        for name in own & count.read.keys():
            scores[name] += count.read[name] / turns
        is_marked = count.is_tagged or any(count.read[name] for name in own)
        if any(m.tool_calls or m.role == "tool" for m in trajectory.messages) or not is_marked:
            said = [m for m in _of_agent(trajectory) if m.tool_calls or m.content.strip()]
            for dialect in dialects:
                scores[dialect.name] += len(said) / turns if dialect.calls else 0
    ranked = sorted(scores, key=lambda name: (-scores[name], name))
    best, second = ranked[0], ranked[1]
    told = ", ".join(f"{name} {scores[name]:.1%}" for name in ranked if scores[name]) or "none"
    evidence = f"of {turns} turns in {len(sample)} trajectories act or answer in: {told}"
    if scores[best] >= _ENOUGH and scores[best] - scores[second] >= _AHEAD - 1e-9:
        return FoundDialect(best, scores, evidence)
    first = f"--dialect {best}" if scores[best] else "--dialect FILE.yaml"
    raise UsageError(
        f"the dialect cannot be told: {evidence}",
        hint=f"if it is {best}, whose other turns are void, run it again with {first}; known: "
        f"{_names()}"
        if scores[best]
        else f"name one with --dialect ({_names()}), or describe yours: {first}",
    )


def share_in(trajectories: Iterable[Trajectory], dialect: Dialect) -> float | None:
    """Share of the agent's turns that act or answer in a dialect; None if no agent says anything.

    Where agents talk, every turn that says something counts.
    """
    turns = read = 0
    for trajectory in itertools.islice((t for t in trajectories if t.messages), SAMPLE):
        for turn in parse(trajectory, dialect).turns:
            turns += 1
            talks = dialect.talks and bool(turn.message.content.strip())
            read += turn.has_action or bool(turn.answers) or talks
    return read / turns if turns else None


def _names() -> str:
    return ", ".join(DIALECTS.names())


@dataclass(frozen=True, slots=True)
class _Count:
    """Of one trajectory: turns that act or answer, by dialect; dialects with marks of their own."""

    read: Counter[str]
    own: frozenset[str]
    is_tagged: bool  # acts or answers other than in a fence, which talk has, too


def _count(trajectory: Trajectory, dialects: list[Dialect]) -> _Count:
    shared = Counter(mark.open for d in dialects for mark in d.marks)
    read: Counter[str] = Counter()
    own, is_tagged = set(), False
    for dialect in dialects:
        alone = {mark.open for mark in dialect.marks if shared[mark.open] == 1}
        for turn in parse(trajectory, dialect).turns:
            content = turn.message.content
            done = [content[p.start : p.inner_start] for p in (*turn.actions, *turn.answers)]
            read[dialect.name] += bool(done)
            is_tagged |= any(not opening.startswith("```") for opening in done)
            if any(content[p.start : p.inner_start] in alone for p in turn.pieces):
                own.add(dialect.name)
    return _Count(read, frozenset(own), is_tagged)


def _of_agent(trajectory: Trajectory) -> list[Message]:
    return [m for m in trajectory.messages if m.role == "assistant"]
