"""All rules on one trajectory: what the recipe wants found, how bad each finding is, in order."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dataprune.core.errors import UsageError, nearest
from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories.dialects import Parsed
from dataprune.trajectories.rules import RULES, Code, Reason, Rule, Severity


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason, with the stage of its code and what it does to this trajectory.

    The other fields are those of `Reason`.
    """

    code: str
    stage: str
    severity: Severity
    step: int | None = None
    start: int | None = None
    end: int | None = None
    detail: str = ""
    score: float | None = None
    threshold: float | None = None


def all_codes() -> dict[str, Code]:
    """Every code of every family, sorted; codes of repairs have severity "repair"."""
    codes = {code: what for rule in _families() for code, what in rule.codes.items()}
    return dict(sorted(codes.items()))


def check_codes(rules: RulesRecipe, later: Mapping[str, Code]) -> None:
    """See to it that a recipe names codes that exist, each in one list, repairs among repairs.

    later: codes of stages after the rules.

    Raises:
        UsageError: it does not; the hint names the nearest code.
    """
    known = {**all_codes(), **later}
    repairs = {code for code, what in known.items() if what.severity == "repair"}
    lists = {"reject": rules.reject, "flag": rules.flag, "off": rules.off}
    for code in rules.only:
        _check_known(code, "only", known.keys() - repairs)
    seen: dict[str, str] = {}
    for name, codes in lists.items():
        for code in codes:
            _check_known(code, name, known.keys() - repairs)
            if seen.setdefault(code, name) != name:
                raise UsageError(
                    f"rules.{seen[code]} and rules.{name} both have {code}",
                    hint="leave it in one of them",
                )
    for code in rules.repair:
        _check_known(code, "repair", repairs)


def run_rules(parsed: Parsed, rules: RulesRecipe) -> list[Finding]:
    """What is wrong with a trajectory, sorted by step, start and code.

    Reasons about the whole come first. All families run, unless `rules.fail_fast`: then cheap ones
    run first, and nothing is looked for behind the first finding that rejects. Of a row that could
    not be read, that is all there is to say.
    """
    found = []
    for finding in _findings(parsed, rules):
        found.append(finding)
        if rules.fail_fast and finding.severity == "reject":
            break
    return sorted(found, key=_place)


def _findings(parsed: Parsed, rules: RulesRecipe) -> Iterator[Finding]:
    for rule, severities in _plan(rules):
        if parsed.trajectory.problem is not None and rule.name != "schema":
            continue
        for reason in rule.check(parsed, rules):
            severity = severities.get(reason.code)
            if severity is not None:
                yield _finding(reason, rule.codes[reason.code].stage, severity)


def _finding(reason: Reason, stage: str, severity: Severity) -> Finding:
    return Finding(
        reason.code,
        stage,
        severity,
        reason.step,
        reason.start,
        reason.end,
        reason.detail,
        reason.score,
        reason.threshold,
    )


def _place(finding: Finding) -> tuple[int, int, str, int]:
    step = -1 if finding.step is None else finding.step
    start = -1 if finding.start is None else finding.start
    return step, start, finding.code, -1 if finding.end is None else finding.end


@functools.lru_cache(maxsize=16)
def _plan(rules: RulesRecipe) -> tuple[tuple[Rule, dict[str, Severity]], ...]:
    """The families to run, cheap ones first, each with the codes it may give."""
    plan = []
    for rule in _families():
        severities = {
            code: severity_of(code, what, rules)
            for code, what in rule.codes.items()
            if code not in rules.off and what.severity != "repair"
        }
        if severities:
            plan.append((rule, severities))
    return tuple(plan)


def severity_of(code: str, what: Code, rules: RulesRecipe) -> Severity:
    """What a finding does: as the recipe says, else as its code does by itself."""
    if code in rules.reject:
        return "reject"
    if code in rules.flag or (rules.only and code not in rules.only and what.severity == "reject"):
        return "flag"
    return what.severity


@functools.cache
def _families() -> tuple[Rule, ...]:
    rules = [RULES.get(name) for name in RULES.names()]
    return tuple(sorted(rules, key=lambda rule: (rule.cost, rule.name)))


def _check_known(code: str, name: str, known: set[str]) -> None:
    if code not in known:
        raise UsageError(f"rules.{name} has no code {code} to name", hint=nearest(code, known))
