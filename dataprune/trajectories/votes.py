"""Agreement and the judge in a curation: which runs vote, what the votes make of each run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.core.recipe_curate import CurateRecipe, GroupsRecipe
from dataprune.trajectories.groups import Agreement, Pair, agree
from dataprune.trajectories.judge.judge import Judge, pairs_judge
from dataprune.trajectories.judge.prompts import transcript
from dataprune.trajectories.judge.verdicts import (
    CategoryItem,
    CorrectnessItem,
    QualityItem,
    Verdict,
)
from dataprune.trajectories.rules import Code, Reason
from dataprune.trajectories.table import stored_rows

J_INCORRECT, J_LOW_QUALITY = "J_INCORRECT", "J_LOW_QUALITY"
J_UNDECIDED = "J_UNDECIDED"
CODES: dict[str, Code] = {
    "G_SINGLETON": Code("groups", "reject", "the query has too few runs to agree"),
    "G_NO_CONSENSUS": Code("groups", "reject", "no answer of the query has the votes to win"),
    "G_MINORITY": Code("groups", "reject", "another answer of the query has won"),
    J_INCORRECT: Code("judge", "reject", "the judge says that the answer is not the reference"),
    J_LOW_QUALITY: Code("judge", "reject", "the judge's grade is below the least asked for"),
    J_UNDECIDED: Code("judge", "undecided", "neither code nor judge could decide"),
}
WITHOUT_JUDGE = {**CODES, J_UNDECIDED: Code("groups", "undecided", "code cannot compare answers")}
Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]


def open_judge(settings: CurateRecipe, work: Path, seed: int) -> Judge | None:
    """The judge that a recipe names, with its cache in `work`; None where it names none."""
    return None if settings.judge.base_url is None else Judge(settings.judge, work, seed)


@dataclass(frozen=True)
class Votes:
    """What agreement came to, for n trajectories.

    numbers: float64 (n,), NaN where a run has no vote. tiers: words. reasons: {row: reason}.
    """

    numbers: dict[str, Values]
    tiers: list[str]
    reasons: dict[int, Reason]
    warnings: list[str]
    retry: list[dict[str, Any]]
    in_largest: Mask


def vote(
    query_ids: Sequence[str],
    traj_ids: Sequence[str],
    answers: Sequence[str | None],
    actions: Sequence[int],
    votes: Mask,
    settings: GroupsRecipe,
    prompts: dict[str, str],
    judge: Judge | None,
) -> Votes:
    """Group the runs that vote.

    votes: bool (n,), the runs that were read and are no exact copies. prompts: {query: its text},
        for a judge of equivalence.
    """
    rows = np.flatnonzero(votes)
    same = None
    if judge is not None and judge.settings.task == "equivalence":
        ask = pairs_judge(judge)

        def same(pairs: list[Pair]) -> list[bool | None]:
            return ask([(prompts.get(p.query_id, ""), p.first, p.second) for p in pairs])

    places = rows.tolist()
    found = agree(
        [query_ids[row] for row in places],
        [answers[row] for row in places],
        [str(actions[row]) for row in places],
        settings,
        judge=same,
    )
    n = len(query_ids)
    tiers = ["none"] * n
    reasons, in_largest = {}, np.zeros(n, dtype=np.bool_)
    for place, row in enumerate(places):
        tiers[row] = str(found.tier[place])
        in_largest[row] = found.class_id[place] == 0
        if found.reason[place] is not None:
            reasons[row] = _reason(found, place)
    numbers: dict[str, npt.NDArray[Any]] = {
        "vote_share": found.vote_share, "num_runs": found.num_runs,
        "num_classes": found.num_classes, "entropy": found.entropy, "class_id": found.class_id,
        "spread": found.spread,
    }  # fmt: skip
    return Votes(
        {name: _spread(values, rows, n) for name, values in numbers.items()},
        tiers,
        reasons,
        list(found.warnings),
        _retry(query_ids, traj_ids, found, rows),
        in_largest,
    )


def _reason(found: Agreement, place: int) -> Reason:
    runs, share = int(found.num_runs[place]), float(found.vote_share[place])
    detail = f"{found.num_classes[place]} answers in {runs} runs, {share:.2f} of them this one"
    return Reason(str(found.reason[place]), detail=detail, score=share)


def _spread(values: npt.NDArray[Any], rows: npt.NDArray[np.int64], n: int) -> Values:
    spread = np.full(n, np.nan)
    spread[rows] = values
    return spread


def _retry(
    query_ids: Sequence[str],
    traj_ids: Sequence[str],
    found: Agreement,
    rows: npt.NDArray[np.int64],
) -> list[dict[str, Any]]:
    """Queries without a winner, with their runs: what a sampler may try again."""
    failed: dict[str, dict[str, Any]] = {}
    for place, row in enumerate(rows.tolist()):
        code = found.reason[place]
        if code in {"G_NO_CONSENSUS", J_UNDECIDED}:
            entry = failed.setdefault(
                query_ids[row], {"query_id": query_ids[row], "code": str(code), "traj_ids": []}
            )
            entry["traj_ids"].append(traj_ids[row])
    return [
        {**failed[query], "traj_ids": sorted(failed[query]["traj_ids"])} for query in sorted(failed)
    ]


def judge_runs(
    judge: Judge,
    left: Mask,
    rows_file: Path,
    references: Sequence[str | None],
    answers: Sequence[str | None],
) -> tuple[dict[int, Reason], Values]:
    """Ask about each run that is left: is it correct, or how good is it.

    left: bool (n,). rows_file: where the trajectories lie. A run without a reference or an answer
    is not asked about.

    Returns:
        reasons by row, and the judge's grades, float64 (n,), NaN where there is none.
    """
    rows, items = [], list[Any]()
    for row, trajectory in enumerate(stored_rows(rows_file)):
        answer, reference = answers[row], references[row]
        if not left[row]:
            continue
        if judge.settings.task == "quality":
            items.append(QualityItem(trajectory.prompt, transcript(trajectory)))
        elif answer is not None and reference is not None:
            items.append(CorrectnessItem(trajectory.prompt, answer, reference))
        else:
            continue
        rows.append(row)
    is_quality = judge.settings.task == "quality"
    verdicts = judge.quality(items) if is_quality else judge.correct(items)
    code = J_LOW_QUALITY if is_quality else J_INCORRECT
    scores = np.full(len(left), np.nan)
    reasons = dict(_against(rows, verdicts, code))
    for row, verdict in zip(rows, verdicts, strict=True):
        scores[row] = np.nan if verdict.score is None else verdict.score
    return reasons, scores


def _against(
    rows: Sequence[int], verdicts: Sequence[Verdict[bool]], code: str
) -> Iterator[tuple[int, Reason]]:
    for row, verdict in zip(rows, verdicts, strict=True):
        if verdict.value is None:
            yield row, Reason(J_UNDECIDED, detail=verdict.detail)
        elif not verdict.value:
            yield row, Reason(code, detail=verdict.detail, score=verdict.score)


def judge_categories(judge: Judge, prompts: Sequence[str]) -> list[str | None]:
    """The kind of task of each prompt, one of the 18; None where the judge could not say."""
    return [verdict.value for verdict in judge.category([CategoryItem(p) for p in prompts])]
