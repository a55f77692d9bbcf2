"""One pass over all trajectories: repair, read, judge by rules, and keep what later stages need.

The trajectories themselves go to a Parquet file as they come; what stays in memory is a few hundred
bytes of each.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dataprune.core.files import atomic_path
from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories import Message, Trajectory
from dataprune.trajectories.decontaminate import CODES as CONTAMINATION
from dataprune.trajectories.decontaminate import overlaps
from dataprune.trajectories.dialects import Dialect, Parsed, parse
from dataprune.trajectories.dialects._prompt import prompt_of
from dataprune.trajectories.duplicates import Table, fingerprints
from dataprune.trajectories.evaluation import Evaluation
from dataprune.trajectories.keys import text_key
from dataprune.trajectories.rules import Code, Reason
from dataprune.trajectories.rules._run import Finding, finding_of, run_rules, severity_of
from dataprune.trajectories.rules.repairs import Repair, repair
from dataprune.trajectories.rules.secrets import holds_secret
from dataprune.trajectories.table import TrajectoryWriter

_LONGEST_ANSWER = 10_000  # characters; of a longer one its hash stands for it
_LONGEST_PROMPT = 20_000  # characters that a judge may be shown
_TOGETHER, _ENOUGH = 32, 100_000  # runs whose words are found together; or tokens of these


@dataclass
class Inspected:
    """What is known of each trajectory, in columns, in the order of the input.

    traj_ids: made unique. ids: as they came. answers: None where there is none. tokens: characters
    of all messages / 4. written: characters the agent wrote.
    """

    ids: list[str] = field(default_factory=list)
    traj_ids: list[str] = field(default_factory=list)
    sha256: list[str] = field(default_factory=list)
    rewards: list[float | None] = field(default_factory=list)
    successes: list[bool | None] = field(default_factory=list)
    references: list[str | None] = field(default_factory=list)
    categories: list[str | None] = field(default_factory=list)
    answers: list[str | None] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    unread: list[bool] = field(default_factory=list)
    findings: list[list[Finding]] = field(default_factory=list)
    repairs: list[list[Repair]] = field(default_factory=list)
    prompts: dict[str, str] = field(default_factory=dict)
    prints: Table = field(default_factory=Table)

    def __len__(self) -> int:
        return len(self.ids)


def inspect(
    trajectories: Iterable[Trajectory],
    dialect: Dialect,
    rules: RulesRecipe,
    path: Path,
    *,
    evaluation: Evaluation | None = None,
    on_row: Callable[[int], None] = lambda _done: None,
) -> Inspected:
    """Read every trajectory once and write them, repaired, to a Parquet file.

    evaluation: what prompts must not overlap. on_row: called with the number of rows so far.

    Raises:
        SourceError: a file cannot be read on.
    """
    seen = Inspected()
    taken: set[str] = set()
    waiting: list[Parsed] = []
    with atomic_path(path) as temporary, TrajectoryWriter(temporary) as writer:
        for trajectory in trajectories:
            parsed, repairs = _prepared(trajectory, dialect, rules, taken)
            seen.sha256.append(writer.add(parsed.trajectory))
            _note(seen, parsed, trajectory.traj_id, rules, evaluation)
            seen.repairs.append(repairs)
            waiting.append(parsed)
            if len(waiting) == _TOGETHER or sum(seen.tokens[-len(waiting) :]) > _ENOUGH:
                seen.prints.add(fingerprints(waiting))
                waiting = []
            on_row(len(seen))
        seen.prints.add(fingerprints(waiting))
    return seen


def _prepared(
    trajectory: Trajectory, dialect: Dialect, rules: RulesRecipe, taken: set[str]
) -> tuple[Parsed, list[Repair]]:
    """A trajectory as it is stored: repaired, under an id that no other has, its prompt cut out.

    An id that holds a secret is replaced by its hash: ids of rejected rows are told, too.
    """
    repaired, repairs = repair(trajectory, dialect, rules)
    name, query_id = map(_told, (trajectory.traj_id, trajectory.query_id))
    unique, copy = name, 1
    while unique in taken:
        copy += 1
        unique = f"{name}#{copy}"
    taken.add(unique)
    made = dataclasses.replace(
        repaired, traj_id=unique, query_id=query_id, prompt=prompt_of(repaired, dialect)
    )
    return parse(made, dialect), repairs


def _note(
    seen: Inspected, parsed: Parsed, own_id: str, rules: RulesRecipe, evaluation: Evaluation | None
) -> None:
    trajectory = parsed.trajectory
    findings = run_rules(parsed, rules)
    if evaluation is not None:
        findings += as_findings(overlaps(parsed, evaluation), CONTAMINATION, rules)
    seen.ids.append(own_id)
    seen.traj_ids.append(trajectory.traj_id)
    seen.rewards.append(trajectory.reward)
    seen.successes.append(trajectory.success)
    seen.references.append(trajectory.reference)
    seen.categories.append(trajectory.category)
    seen.answers.append(_short(parsed.answer_text))
    seen.turns.append(len(parsed.turns))
    seen.actions.append(sum(len(turn.actions) + len(turn.calls) for turn in parsed.turns))
    seen.tokens.append(-(-sum(map(_characters, trajectory.messages)) // 4))
    seen.unread.append(trajectory.problem is not None)
    seen.findings.append(findings)
    prompt = trajectory.prompt[:_LONGEST_PROMPT]
    # The least of several, so that the order of rows does not matter.
    seen.prompts[trajectory.query_id] = min(seen.prompts.get(trajectory.query_id, prompt), prompt)


def _told(name: str) -> str:
    return f"secret-{text_key(name):016x}" if holds_secret(name) else name


def _characters(message: Message) -> int:
    calls = sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    return len(message.content) + len(message.reasoning or "") + calls


def _short(answer: str | None) -> str | None:
    if answer is None or len(answer) <= _LONGEST_ANSWER:
        return answer
    return f"sha256 {hashlib.sha256(answer.encode('utf-8', 'surrogatepass')).hexdigest()}"


def as_findings(
    reasons: Iterable[Reason], codes: Mapping[str, Code], rules: RulesRecipe
) -> list[Finding]:
    """Reasons of later stages, with the severity that the recipe gives their codes."""
    return [
        finding_of(r, codes[r.code].stage, severity_of(r.code, codes[r.code], rules))
        for r in reasons
        if r.code not in rules.off
    ]


def is_rejected(findings: Sequence[Finding]) -> bool:
    """Whether any finding rejects."""
    return any(finding.severity == "reject" for finding in findings)
