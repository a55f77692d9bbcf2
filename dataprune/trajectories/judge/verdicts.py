"""What a judge is asked and what it answers: questions, votes, verdicts.

Items are plain values, one class a task. A verdict is what most votes say; where that is not clear,
or no reply could be used, its value is None: undecided, which is never a rejection.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

Task = Literal["equivalence", "correctness", "quality", "category"]
Value = TypeVar("Value", bool, str, tuple[int, ...])

RUBRIC = {"executability": 0.4, "answer": 0.3, "alignment": 0.2, "technique": 0.1}
"""Weights of what makes a run good; they sum to 1."""


@dataclass(frozen=True, slots=True)
class EquivalenceItem:
    """Do these answers to one question say the same? Two answers or more."""

    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CorrectnessItem:
    """Does an answer agree with the reference?"""

    question: str
    answer: str
    reference: str


@dataclass(frozen=True, slots=True)
class QualityItem:
    """How well is a run done? transcript: its messages as text, see `transcript`."""

    question: str
    transcript: str


@dataclass(frozen=True, slots=True)
class CategoryItem:
    """Which of the 18 kinds of task is a question?"""

    question: str


Item: TypeAlias = EquivalenceItem | CorrectnessItem | QualityItem | CategoryItem


@dataclass(frozen=True, slots=True)
class Vote(Generic[Value]):
    """One reply.

    value: None if the reply could not be used, and then `problem` says why.
    order: position shown -> place in the item's answers; () where there is nothing to shuffle.
    raw: the reply's text as it came, without the key; "" if none came.
    key: of the cache. cached: whether it was there before this call.
    reasoning: the judge's own words. score: of quality, the weighted rubric, 0..1.
    """

    value: Value | None
    order: tuple[int, ...]
    raw: str
    key: str
    cached: bool
    problem: str | None = None
    reasoning: str = ""
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict(Generic[Value]):
    """What most votes say.

    value: None is undecided. Of equivalence, a class for each answer, numbered by first appearance:
        (0, 1, 0) says that the first and the third are the same.
    agreement: share of all votes for the most frequent value; 0 if no vote could be used.
    detail: for people, in a few words; it quotes nothing.
    cached: whether every vote came from the cache.
    score: of quality, the median of the votes' scores; None where undecided.
    critique: the reasoning of the first vote for the value, which may quote; "" where undecided.
    """

    value: Value | None
    votes: tuple[Vote[Value], ...]
    agreement: float
    detail: str
    score: float | None = None
    critique: str = ""

    @property
    def cached(self) -> bool:
        """Whether every vote came from the cache."""
        return all(vote.cached for vote in self.votes)

    @property
    def raw(self) -> tuple[str, ...]:
        """The replies as they came."""
        return tuple(vote.raw for vote in self.votes)


def count(votes: Sequence[Vote[Value]], *, is_cut: bool) -> Verdict[Value]:
    """Votes -> verdict: a value needs more than half of all votes, those that failed included.

    is_cut: whether the judge saw texts without their middle; the detail says so.
    """
    usable = [vote for vote in votes if vote.value is not None]
    counted = Counter(vote.value for vote in usable)
    value, most = max(counted.items(), key=lambda pair: pair[1], default=(None, 0))
    scores = [vote.score for vote in usable if vote.score is not None]
    notes = [f"{most} of {len(votes)} votes agree"]
    notes += sorted({vote.problem for vote in votes if vote.problem is not None})
    notes += ["texts were cut"] if is_cut else []
    if 2 * most <= len(votes):
        value = None
    return Verdict(
        value=value,
        votes=tuple(votes),
        agreement=most / len(votes),
        detail="; ".join(notes),
        score=statistics.median(scores) if scores and value is not None else None,
        critique=next((vote.reasoning for vote in usable if vote.value == value), ""),
    )
