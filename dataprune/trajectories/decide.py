"""What is decided over all trajectories together: copies, pass rates, votes, judge, choice.

Every run that was read counts for the pass rate of its query, and votes if it is no exact copy,
whatever rules say of it: a missing answer is dissent. Chosen from are the runs that nothing
rejected.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.recipe_curate import CurateRecipe, RulesRecipe, SelectRecipe
from dataprune.tables.ledger import KEEP, REASON, REJECT, REPAIR, UNDECIDED
from dataprune.trajectories import choose, decontaminate, duplicates, votes
from dataprune.trajectories.bradley_terry import bounds
from dataprune.trajectories.choose import Runs
from dataprune.trajectories.duplicates import find_duplicates
from dataprune.trajectories.funnel import funnel, stage_place
from dataprune.trajectories.inspect import Inspected, as_findings, is_rejected
from dataprune.trajectories.judge.judge import Judge
from dataprune.trajectories.keys import group_numbers
from dataprune.trajectories.pairs import Pair, best_and_worst
from dataprune.trajectories.rewards import (
    PassRates,
    curriculum_rank,
    difficulty_proxy,
    outcomes,
    pass_rates,
)
from dataprune.trajectories.rules import Code, Reason
from dataprune.trajectories.rules._run import Finding, all_codes
from dataprune.trajectories.rules.schema import DUP_ID, duplicate_ids
from dataprune.trajectories.taxonomy import (
    count_categories,
    empty_categories,
    from_column,
    from_keywords,
)
from dataprune.trajectories.votes import judge_runs, vote

LATER_CODES = {**duplicates.CODES, **decontaminate.CODES, **votes.CODES, **choose.CODES}
Values = npt.NDArray[np.float64]
_MOST = 0.5  # of all runs: a code that alone takes out more is doubted
_FORM = {"schema", "format", "void", "termination", "fabrication"}
_SPECS = {
    "pass_rate": ("easier", "share of the query's runs that succeed"),
    "difficulty_proxy": ("easier", "vote share of the query's largest answer: no pass rate"),
    "vote_share": ("easier", "share of the query's runs with this run's answer"),
    "reward": ("easier", "reward of the run, as the input has it"),
    "judge_score": ("easier", "what the judge gave the run, 0..1"),
    "curriculum_rank": ("harder", "place from easy to hard: by band, then turns"),
    "n_turns": ("harder", "messages of the agent"),
    "n_actions": ("harder", "actions and tool calls of the agent"),
    "n_tokens": ("harder", "characters of all messages / 4"),
    "weight": ("nothing", "policy bt: probability with which the run is chosen"),
}


@dataclass
class Decided:
    """The outcome for n trajectories, in the order of the input.

    query_ids: near-duplicate prompts together. findings: of every stage. numbers: float64 (n,),
    NaN where a row has none. tiers: words. told: what the ledger's metadata says. retry: queries
    that failed agreement, with their runs.
    """

    query_ids: Sequence[str]
    findings: list[list[Finding]]
    numbers: dict[str, Values]
    tiers: list[str]
    told: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    retry: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)

    @property
    def decisions(self) -> list[str]:
        """keep, reject or undecided, (n,)."""
        return [_decision(found) for found in self.findings]

    @property
    def is_kept(self) -> npt.NDArray[np.bool_]:
        """Which trajectories nothing rejects or doubts so far, bool (n,)."""
        return np.asarray([word == KEEP for word in self.decisions], dtype=np.bool_)

    def add(
        self, reasons: Mapping[int, Reason], codes: Mapping[str, Code], rules: RulesRecipe
    ) -> None:
        """What a later stage has against trajectories, by row."""
        for row, reason in reasons.items():
            self.findings[row] += as_findings([reason], codes, rules)


def decide(
    seen: Inspected, settings: CurateRecipe, seed: int, *, rows: Path, judge: Judge | None = None
) -> Decided:
    """All later stages, in their order.

    rows: the file of all trajectories, for a judge to read.

    Raises:
        UsageError: a stage that is asked for needs what no trajectory has.
    """
    findings = [list(found) for found in seen.findings]
    copied = duplicate_ids(seen.ids)
    for row in copied:
        told = [Reason(DUP_ID, detail="an earlier row has the same id")]
        findings[row] += as_findings(told, dict(all_codes()), settings.rules)
    rejected = np.asarray([is_rejected(found) for found in findings], dtype=np.bool_)
    copies = find_duplicates(seen.prints, settings.duplicates, ~rejected)
    for row, reasons in copies.reasons.items():
        findings[row] += as_findings(reasons, duplicates.CODES, settings.rules)
    is_run = ~np.asarray(seen.unread, dtype=np.bool_)
    is_run[copied] = False
    outcome = np.where(is_run, outcomes(seen.rewards, seen.successes), np.nan)
    counted = is_run & np.asarray([code != duplicates.D_EXACT for code in copies.codes])
    rates = pass_rates(copies.query_ids, outcome)
    decided = Decided(copies.query_ids, findings, {}, ["none"] * len(seen))
    if judge is not None:
        decided.told["judge"] = {"model": judge.model, "task": judge.settings.task}
    if settings.groups.policy != "off":
        proxy = _vote(decided, seen, counted, settings, judge)
        rates = proxy if np.isnan(outcome).all() else rates
    _number(decided, seen, rates, seed)
    if judge is not None and judge.settings.task in {"correctness", "quality"}:
        _judge(decided, seen, settings, judge, rows)
    categories = _categories(decided, seen, settings.select.keywords, judge)
    _choose(decided, seen, rates, categories, settings, seed)
    _tell(decided, rates)
    return decided


def _vote(
    decided: Decided,
    seen: Inspected,
    counted: npt.NDArray[np.bool_],
    settings: CurateRecipe,
    judge: Judge | None,
) -> PassRates:
    """Agreement of each query's runs; the share of the largest answer stands for a pass rate."""
    found = vote(
        decided.query_ids, seen.traj_ids, seen.answers, list(seen.prints.actions), counted,
        settings.groups, seen.prompts, judge,
    )  # fmt: skip
    codes = votes.CODES if judge is not None else votes.WITHOUT_JUDGE
    decided.add(found.reasons, codes, settings.rules)
    undecided = sum(reason.code == votes.J_UNDECIDED for reason in found.reasons.values())
    if undecided and judge is None:
        decided.warnings.append(
            f"{undecided} trajectories are undecided: their answers are texts that code cannot "
            "compare; a judge can, judge.base_url and judge.model name one"
        )
    decided.tiers = found.tiers
    decided.numbers |= found.numbers
    decided.warnings += found.warnings
    decided.retry = found.retry
    queries = [q for q, is_counted in zip(decided.query_ids, counted, strict=True) if is_counted]
    return difficulty_proxy(queries, found.in_largest[counted].tolist())


def _judge(
    decided: Decided, seen: Inspected, settings: CurateRecipe, judge: Judge, rows: Path
) -> None:
    """The judge's word on each run that is left."""
    reasons, scores = judge_runs(judge, decided.is_kept, rows, seen.references, seen.answers)
    decided.add(reasons, votes.CODES, settings.rules)
    if np.isfinite(scores).any():
        decided.numbers["judge_score"] = scores


def _number(decided: Decided, seen: Inspected, rates: PassRates, seed: int) -> None:
    """The numbers that rows can be selected by."""
    rate = dict(zip(rates.query_ids, rates.rate.tolist(), strict=True))
    bands = rates.of_rows(decided.query_ids)
    rank = curriculum_rank(seen.traj_ids, bands, [None] * len(seen), seen.turns, seed)
    decided.numbers |= {
        rates.name: np.asarray([rate.get(q, np.nan) for q in decided.query_ids], dtype=np.float64),
        "reward": _floats(seen.rewards),
        "curriculum_rank": rank.astype(np.float64),
        "n_turns": np.asarray(seen.turns, dtype=np.float64),
        "n_actions": np.asarray(seen.actions, dtype=np.float64),
        "n_tokens": np.asarray(seen.tokens, dtype=np.float64),
    }


def _choose(
    decided: Decided,
    seen: Inspected,
    rates: PassRates,
    categories: Sequence[str | None],
    settings: CurateRecipe,
    seed: int,
) -> None:
    """The policy's choice among the runs that nothing rejected."""
    rewards = decided.numbers["reward"]
    runs = Runs(
        query_ids=decided.query_ids,
        traj_ids=seen.traj_ids,
        is_candidate=decided.is_kept,
        lengths=np.asarray(seen.tokens, dtype=np.int64),
        rewards=rewards,
        judge_scores=decided.numbers.get("judge_score", np.full(len(seen), np.nan)),
        bands=rates.of_rows(decided.query_ids),
        categories=categories,
    )
    chosen = choose.choose(runs, settings.select, seed)
    _tell_of_choice(decided, runs, chosen, settings.select)
    against = {row: Reason(code) for row, code in enumerate(chosen.codes) if code is not None}
    decided.add(against, choose.CODES, settings.rules)
    if np.isfinite(chosen.weight).any():
        decided.numbers["weight"] = chosen.weight
    margin = settings.select.pairs_margin
    if margin is not None:
        well_formed = [_is_well_formed(found) for found in decided.findings]
        decided.pairs = best_and_worst(
            decided.query_ids, seen.traj_ids, rewards, runs.lengths,
            np.asarray(well_formed, dtype=np.bool_), margin=margin,
        )  # fmt: skip


def _categories(
    decided: Decided,
    seen: Inspected,
    keywords: Mapping[str, Sequence[str]],
    judge: Judge | None,
) -> list[str | None]:
    """Each row's own category, in the taxonomy's spelling, else by words or judge."""
    found = from_column(seen.categories)
    if keywords:
        prompts = [seen.prompts.get(query, "") for query in decided.query_ids]
        by_words = from_keywords(prompts, keywords)
        found = [own or other for own, other in zip(found, by_words, strict=True)]
    if judge is None or judge.settings.task != "category":
        return found
    asked = sorted({q for q, own in zip(decided.query_ids, found, strict=True) if own is None})
    said = votes.judge_categories(judge, [seen.prompts.get(query, "") for query in asked])
    named = dict(zip(asked, said, strict=True))
    return [own or named.get(q) for q, own in zip(decided.query_ids, found, strict=True)]


def _tell_of_choice(
    decided: Decided, runs: Runs, chosen: choose.Chosen, select: SelectRecipe
) -> None:
    """Categories before and after; of policy bt, the bounds that hold and why others do not."""
    if any(category is not None for category in runs.categories):
        kept = [c for c, keep in zip(runs.categories, chosen.keep.tolist(), strict=True) if keep]
        counts = count_categories(runs.categories, kept)
        decided.told["categories"] = [dataclasses.asdict(count) for count in counts]
        decided.told["empty_categories"] = empty_categories(counts)
    if select.policy != "bt" or not runs.is_candidate.any():
        return
    rows = np.flatnonzero(runs.is_candidate)
    decided.told["bounds"] = bounds(
        [runs.query_ids[row] for row in rows.tolist()], runs.rewards[rows], k=select.k,
        beta=select.beta, mix=select.mix, m=select.max_per_query or 1,
        is_learned=select.is_learned,
    ).lines()  # fmt: skip


def _is_well_formed(found: Sequence[Finding]) -> bool:
    """Whether no rule of form rejects a run, so that a pair does not teach form."""
    return not any(f.severity == "reject" and f.stage in _FORM for f in found)


def _tell(decided: Decided, rates: PassRates) -> None:
    """Funnel, histograms and what to be warned of."""
    stages = {f.code: f.stage for found in decided.findings for f in found}
    severities = [{f.code: f.severity for f in found} for found in decided.findings]
    first = [rejection(found) for found in decided.findings]
    _, queries = group_numbers(decided.query_ids)
    decided.told |= funnel(
        severities,
        [None if found is None else found.stage for found in first],
        stages,
        decided.numbers[rates.name],
        queries,
    )
    means = {**all_codes(), **LATER_CODES}
    for told in decided.told["codes"]:
        told["means"] = means[told["code"]].means if told["code"] in means else ""
    decided.warnings += _harsh(decided.told["codes"], len(decided.findings))
    decided.told["queries"] = len(rates.query_ids)
    decided.told["queries_of_one_run"] = int((np.bincount(queries) == 1).sum())
    decided.told["rewards"] = _rewards(decided)
    words = decided.decisions
    decided.told["decisions"] = {word: words.count(word) for word in (KEEP, REJECT, UNDECIDED)}


def _harsh(codes: Sequence[Mapping[str, Any]], num_rows: int) -> list[str]:
    """A rule that alone takes out most of all runs may not fit how these agents write."""
    return [
        f"{told['code']} alone takes out {told['alone']} of {num_rows} trajectories "
        f"({told['means']}): if your agents are meant to do so, --set rules.flag={told['code']}"
        for told in codes
        if told["alone"] > _MOST * num_rows and told["code"] in all_codes()
    ]


def _rewards(decided: Decided) -> dict[str, Any] | None:
    """Mean reward before and after, and kept runs below the best reward; None without rewards."""
    rewards = decided.numbers["reward"]
    known = np.isfinite(rewards)
    if not known.any():
        return None
    kept = known & decided.is_kept
    return {
        "mean_before": float(rewards[known].mean()),
        "mean_after": float(rewards[kept].mean()) if kept.any() else None,
        "kept_below_best": int((rewards[kept] < rewards[known].max()).sum()),
    }


def _decision(found: Iterable[Finding]) -> str:
    severities = {finding.severity for finding in found}
    if "reject" in severities:
        return REJECT
    return UNDECIDED if "undecided" in severities else KEEP


def rejection(found: Sequence[Finding]) -> Finding | None:
    """The finding that keeps a row out: the first of the earliest stage that rejects, or doubts."""
    for severity in ("reject", "undecided"):
        against = [finding for finding in found if finding.severity == severity]
        if against:
            return min(against, key=lambda f: stage_place(f.stage))
    return None


def ledger_columns(decided: Decided, seen: Inspected) -> dict[str, pa.Array]:
    """The columns of `tables.ledger.COLUMNS`."""
    against = [rejection(found) for found in decided.findings]
    reasons = [[_reason(f) for f in found] for found in decided.findings]
    repairs = [
        [{"code": r.code, "step": r.step, "sha_before": r.sha_before, "sha_after": r.sha_after}
         for r in made]
        for made in seen.repairs
    ]  # fmt: skip
    return {
        "traj_id": pa.array(seen.traj_ids, pa.string()),
        "query_id": pa.array(list(decided.query_ids), pa.string()),
        "decision": pa.array(decided.decisions, pa.string()),
        "tier": pa.array(decided.tiers, pa.string()),
        "reject_stage": pa.array([None if f is None else f.stage for f in against], pa.string()),
        "reject_code": pa.array([None if f is None else f.code for f in against], pa.string()),
        "reasons": pa.array(reasons, pa.list_(REASON)),
        "repairs": pa.array(repairs, pa.list_(REPAIR)),
        "content_sha256": pa.array(seen.sha256, pa.string()),
    }


def _reason(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "stage": finding.stage,
        "severity": finding.severity,
        "step": finding.step,
        "char_start": finding.start,
        "char_end": finding.end,
        "detail": finding.detail,
        "score": finding.score,
        "threshold": finding.threshold,
    }


def ledger_numbers(decided: Decided) -> dict[str, pa.Array]:
    """Number columns, float32, null where a row has none; those that no row has are left out."""
    return {
        name: pa.array(values.astype(np.float32), from_pandas=True)
        for name, values in decided.numbers.items()
        if np.isfinite(values).any()
    }


def score_specs(decided: Decided) -> dict[str, Any]:
    """{number: score_spec} of the numbers that every kept row has: rows are selected by these.

    A number that no row has is no column.
    """
    kept = decided.is_kept
    specs: Mapping[str, tuple[str, str]] = _SPECS
    return {
        name: {"score": name, "higher_is": higher, "of": of, "status": "experimental"}
        for name, (higher, of) in specs.items()
        if name in decided.numbers
        and np.isfinite(decided.numbers[name]).any()
        and np.isfinite(decided.numbers[name][kept]).all()
    }


def _floats(values: Sequence[float | None]) -> Values:
    return np.asarray([np.nan if value is None else value for value in values], dtype=np.float64)
