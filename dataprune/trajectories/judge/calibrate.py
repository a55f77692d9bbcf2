"""How far a judge may be trusted: its verdicts beside those of people.

One JSON object a line: `question`, `human` (true or false), and
`answers`: are they all equivalent? or `answer` and `reference`: is it correct?
or `transcript`: is the run good enough?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from dataprune.core.errors import SourceError, UsageError
from dataprune.trajectories.judge.judge import Judge
from dataprune.trajectories.judge.verdicts import (
    CorrectnessItem,
    EquivalenceItem,
    QualityItem,
    Task,
    Verdict,
)
from dataprune.trajectories.rewards import wilson

HumanItem = EquivalenceItem | CorrectnessItem | QualityItem


@dataclass(frozen=True, slots=True)
class Human:
    """Items of one task and what people said of them."""

    task: Task
    items: tuple[HumanItem, ...]
    verdicts: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Rate:
    """hits of trials, and the Wilson 95 % interval of the share; None of no trials."""

    hits: int
    trials: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """A judge beside people. Undecided verdicts are in `undecided` and nowhere else.

    agreement: of decided verdicts. false_accept: of those that people rejected.
    false_reject: of those that people accepted. label_noise: of those that the judge accepts, what
        people rejected, at the share of good ones in this file.
    """

    task: Task
    agreement: Rate
    false_accept: Rate
    false_reject: Rate
    label_noise: Rate
    undecided: Rate


class _Line(BaseModel):
    """A line; other keys are the user's own."""

    model_config = ConfigDict(strict=True, extra="ignore")

    question: str
    human: bool
    answers: list[str] | None = None
    answer: str | None = None
    reference: str | None = None
    transcript: str | None = None


def read_human(path: Path) -> Human:
    """Read people's verdicts.

    Raises:
        SourceError: a line that is not as told above, or of another task than the first; no lines.
    """
    items: list[HumanItem] = []
    verdicts = []
    tasks: list[Task] = []
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            where = f"line {number} of {path}"
            line = _parse(raw, where)
            task, item = _item(line, where)
            if tasks and task != tasks[0]:
                raise SourceError(
                    f"{where} is about {task}, the lines before about {tasks[0]}",
                    hint="calibrate one task at a time",
                )
            tasks.append(task)
            items.append(item)
            verdicts.append(line.human)
    if not tasks:
        raise SourceError(f"{path} holds no verdicts")
    return Human(tasks[0], tuple(items), tuple(verdicts))


def calibrate(judge: Judge, human: Human) -> Calibration:
    """Ask the judge about the same items and compare.

    Raises:
        what the judge raises; UsageError if its settings are for another task.
    """
    settings = judge.settings
    if "task" in settings.model_fields_set and settings.task != human.task:
        raise UsageError(
            f"the judge's task is {settings.task}, and the verdicts are about {human.task}"
        )
    accepted = _accepted(judge, human.items)
    return compare(human.task, accepted, human.verdicts)


def compare(task: Task, judged: Sequence[bool | None], human: Sequence[bool]) -> Calibration:
    """Two lists of verdicts, None where the judge is undecided -> rates."""
    both = [(j, h) for j, h in zip(judged, human, strict=True) if j is not None]

    def rate(hits: list[bool]) -> Rate:
        return rate_of(sum(hits), len(hits))

    return Calibration(
        task=task,
        agreement=rate([j == h for j, h in both]),
        false_accept=rate([j for j, h in both if not h]),
        false_reject=rate([not j for j, h in both if h]),
        label_noise=rate([not h for j, h in both if j]),
        undecided=rate([j is None for j in judged]),
    )


def rate_of(hits: int, trials: int) -> Rate:
    """A share with its Wilson 95 % score interval."""
    if trials == 0:
        return Rate(0, 0, None, None, None)
    (low,), (high,) = wilson(np.array([hits]), np.array([trials]))
    return Rate(hits, trials, hits / trials, float(low), float(high))


def _accepted(judge: Judge, items: Sequence[HumanItem]) -> list[bool | None]:
    """The judge's yes, no or undecided: of equivalence, yes is a single class."""
    pairs = [item for item in items if isinstance(item, EquivalenceItem)]
    answers = [item for item in items if isinstance(item, CorrectnessItem)]
    runs = [item for item in items if isinstance(item, QualityItem)]
    if pairs:
        classes = [verdict.value for verdict in judge.equivalent(pairs)]
        return [None if value is None else max(value) == 0 for value in classes]
    verdicts: list[Verdict[bool]] = judge.correct(answers) if answers else judge.quality(runs)
    return [verdict.value for verdict in verdicts]


def _parse(raw: bytes, where: str) -> _Line:
    try:
        return _Line.model_validate_json(raw)
    except ValidationError as exc:
        first: Any = exc.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise SourceError(
            f"{where} is no verdict: {field + ': ' if field else ''}{first['msg']}",
            hint="each line is JSON with question, human: true or false, and what was judged",
        ) from exc


def _item(line: _Line, where: str) -> tuple[Task, HumanItem]:
    match (line.answers, line.answer, line.reference, line.transcript):
        case ([_, _, *_] as answers, None, None, None):
            return "equivalence", EquivalenceItem(line.question, tuple(answers))
        case (None, str(answer), str(reference), None):
            return "correctness", CorrectnessItem(line.question, answer, reference)
        case (None, None, None, str(transcript)):
            return "quality", QualityItem(line.question, transcript)
    raise SourceError(
        f"{where} does not say what was judged",
        hint="either answers (two or more), or answer and reference, or transcript",
    )
