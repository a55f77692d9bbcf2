"""What `auto` says, in sentences and as a line to run."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dataprune.evaluation.priors import RANDOM
from dataprune.evaluation.rounds import MOST_SEEDS, Difference, Round, Verdict
from dataprune.evaluation.strategies import parse_strategy
from dataprune.selection._choice import labels_of, recipe_steps

if TYPE_CHECKING:
    from dataprune.evaluation.choices import Chosen
    from dataprune.evaluation.study import Study

_FEW_STEPS = 50
_SMALL_SHARE = 0.25  # of the steps of a training on what is kept


def command_of(study: Study, strategy: str, by: str | None, keep: float | int) -> str:
    """The `dataprune prune` line that keeps what was chosen."""
    steps = parse_strategy(strategy).steps
    usual = recipe_steps(study.scored.prune)
    same = [step.strategy for step in usual] == [step.strategy for step in steps]
    words = ["dataprune", "prune", str(study.path)]
    for other in study.extra:
        words += ["--with", str(other)]
    words += ["--keep", str(keep)]
    labels = labels_of([step.strategy for step in steps])
    for i, (label, step) in enumerate(zip(labels, steps, strict=True)):
        words += ["--strategy", step.strategy]
        params = step.params
        if same and not params:  # prune would take the recipe's, and the pilot took none
            known = inspect.signature(step.plugin.function).parameters
            params = {name: known[name].default for name in usual[i].params}
        for name, value in params.items():
            owner = "" if step is steps[-1] else f"{label}."
            words += ["--param", f"{owner}{name}={value}"]
    words += ["--by", by] if by else []
    words += ["--no-relabel"] if study.scored.prune.relabel else []
    words += ["--class-balance", study.balance] if study.balance else []
    return shlex.join([*words, "--name", study.scored.name, "--tag", "auto"])


def reason_of(found: Verdict, last: Round, why: str, scale: float) -> str:
    """One sentence: by how much it led, and over whom."""
    if not found.over:
        return f"nothing else could be: {why}"
    over = "; ".join(told_difference(d, scale) for d in found.over)
    seeds = f"{last.seeds} seed{'s' if last.seeds > 1 else ''}"
    about = f"after {last.steps} steps with {seeds} ({over})"
    if any(d.mean < 0 for d in found.over):
        return f"it led the pilot but for random rows, whose lead may be chance, {about}: {why}"
    return f"it led the pilot {about}: {why}"


def told_difference(difference: Difference, scale: float) -> str:
    """A difference with its 95 % interval."""
    half = "" if difference.half_width is None else f" +- {scale * difference.half_width:.2f}"
    return f"{scale * difference.mean:+z.2f}{half} over {difference.other}"


def warnings_of(chosen: Chosen) -> list[str]:
    """Where the pilot was too short, or could not tell the choice from random rows."""
    start, found = f"auto at keep {chosen.keep}", []
    last = chosen.rounds[-1].steps
    if last < min(max(_FEW_STEPS, _SMALL_SHARE * chosen.own_steps), chosen.own_steps):
        found.append(
            f"{start}: the pilot's trainings are of {last} steps at most and yours of "
            f"{chosen.own_steps}, and so short ones favour easy rows; raise --pilot"
        )
    unsure = [d for d in chosen.over if d.other == RANDOM and not (d.tells and d.mean > 0)]
    if unsure:
        told = f"{start}: the pilot cannot tell {chosen.strategy} from random rows"
        more = "; raise --pilot, which gives it more seeds"
        found.append(f"{told}{more if chosen.rounds[-1].seeds < MOST_SEEDS else ''}")
    found += [
        f"{start}: {told.strategy} was left out: {told.left_out}"
        for told in chosen.tried
        if told.left_out
    ]
    return found


def sentences_of(chosen: Sequence[Chosen]) -> list[str]:
    """What was chosen for each budget, why and for how much."""
    lines = []
    for each in chosen:
        by = f" by {each.by}" if each.by else ""
        rate = "" if each.noise.rate is None else f"{each.noise.rate:.1%}, "
        share = sum(r.total for r in each.rounds) / each.full_steps
        took = f"{each.pilot_s:.3g} {each.unit}, {share:.2f} trainings on everything"
        lines += [
            f"keep {each.keep}: {each.strategy}{by}; {each.why}",
            f"  wrong labels: {rate}{each.noise.told_by}",
            f"  the pilot took {took}, tested on {each.num_validation_rows} training rows",
            f"  {each.command}",
        ]
    return lines


def table_of(chosen: Sequence[Chosen]) -> tuple[list[str], list[list[str | None]]]:
    """Header and rows: every candidate with its mean in each round."""
    header = ["keep", "candidate", "by", "short round", "last round", "why it was tried"]
    rows: list[list[str | None]] = []
    for each in chosen:
        scale = 1.0 if each.metric == "R2" else 100.0
        for told in each.tried:
            star = "*" if told.strategy == each.strategy else ""
            means = [f"{scale * sum(v) / len(v):.2f}" if v else None for v in told.per_seed]
            means += [None] * (len(each.rounds) - len(means))
            cells = [means[0] if len(means) > 1 else None, means[-1], told.left_out or told.why]
            rows.append([str(each.keep), f"{told.strategy}{star}", told.by, *cells])
    return header, rows
