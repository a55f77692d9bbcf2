"""All rules on one trajectory: what the recipe wants found, how bad each finding is, in order."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dataprune.core.errors import UsageError, nearest
from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories.dialects import Parsed
from dataprune.trajectories.rules import RULES, Code, Reason, Rule, Severity

_SECRETS = "secrets"  # the family that looks for them
_UNREADABLE = frozenset({"S_PARSE", "S_EMPTY"})
_ALWAYS = _UNREADABLE | {"X_SECRET"}
_ASKED_FOR = frozenset({"contamination", "groups", "judge", "selection", "balance"})


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
        UsageError: it does not; the hint names the nearest code. Or rows that nobody can read
            would be kept.
    """
    known = {**all_codes(), **later}
    repairs = {code for code, what in known.items() if what.severity == "repair"}
    lists = {"reject": rules.reject, "flag": rules.flag, "off": rules.off}
    for code in rules.only:
        _check_known(code, "only", known.keys() - repairs)
        for name in ("flag", "off"):
            if code in lists[name]:
                raise UsageError(
                    f"rules.only and rules.{name} both have {code}", hint="leave it in one of them"
                )
    undecided = {code for code, what in known.items() if what.severity == "undecided"}
    for name, codes in (("reject", rules.reject), ("only", rules.only)):
        if undecided & set(codes):
            raise UsageError(
                f"rules.{name} has {min(undecided & set(codes))}, and what could not be decided is "
                "never rejected",
                hint="leave it out: undecided runs are in no version",
            )
    unread = next((n for n in ("flag", "off") if set(lists[n]) & _UNREADABLE), None)
    if unread is not None:
        raise UsageError(
            f"rules.{unread} has {' or '.join(sorted(_UNREADABLE))}, and what has no message of an "
            "agent cannot be kept",
            hint="leave it out",
        )
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
    run first, and behind the first finding that rejects nothing is looked for but secrets, because
    what is rejected is stored, too, unless it holds one. Of a row that could not be read, that is
    all there is to say.
    """
    found: list[Finding] = []
    is_done = False
    for rule, severities in _plan(rules):
        if parsed.trajectory.problem is not None and rule.name != "schema":
            continue
        if is_done and rule.name != _SECRETS:
            continue
        for finding in _findings(rule, severities, parsed, rules):
            found.append(finding)
            is_done = rules.fail_fast and (is_done or finding.severity == "reject")
            if is_done and rule.name != _SECRETS:
                break
    return sorted(found, key=_place)


def _findings(
    rule: Rule, severities: Mapping[str, Severity], parsed: Parsed, rules: RulesRecipe
) -> Iterator[Finding]:
    for reason in rule.check(parsed, rules):
        severity = severities.get(reason.code)
        if severity is not None:
            yield finding_of(reason, rule.codes[reason.code].stage, severity)


def finding_of(reason: Reason, stage: str, severity: Severity) -> Finding:
    """A reason with what becomes of it."""
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
    """What a finding does: as the recipe says, else as its code does by itself.

    `only` is about what is found by looking at a run, not about stages that are asked for by their
    own settings; and what cannot be read, or holds secrets, is rejected whatever it says.
    """
    if code in rules.reject or code in rules.only:
        return "reject"
    is_noted = rules.only and what.stage not in _ASKED_FOR and code not in _ALWAYS
    if code in rules.flag or (is_noted and what.severity == "reject"):
        return "flag"
    return what.severity


@functools.cache
def _families() -> tuple[Rule, ...]:
    rules = [RULES.get(name) for name in RULES.names()]
    return tuple(sorted(rules, key=lambda rule: (rule.cost, rule.name)))


def _check_known(code: str, name: str, known: set[str]) -> None:
    if code not in known:
        raise UsageError(f"rules.{name} has no code {code} to name", hint=nearest(code, known))
