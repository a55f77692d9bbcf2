"""The trainings of `auto`: candidates on part of the training rows, tested on another part of them.

The test rows are neither trained on nor looked at, so that a comparison on them stays fair. Each
seed tests on a share of its own: where rows are few, which ones are tested on tells more than the
seed does. Rows whose labels are likely wrong, by flags of the table, are not tested on. Trainings
are units as all others are: cut off, the same call goes on, and one that is finished is not run
again.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dataprune.core.errors import ProbeError, UsageError
from dataprune.core.protocols import OnProgress
from dataprune.evaluation.arms import Arm, retrain
from dataprune.evaluation.bench import make_bench
from dataprune.evaluation.cells import Layout
from dataprune.evaluation.choices import Chosen, Tried
from dataprune.evaluation.compare import values_of
from dataprune.evaluation.costs import device_seconds, unit_of
from dataprune.evaluation.priors import (
    RANDOM,
    Candidate,
    candidates,
    fraction,
    likely_wrong,
    noise_of,
    untried,
)
from dataprune.evaluation.rounds import (
    Round,
    finalists,
    plan_rounds,
    usual_trainings,
    verdict,
)
from dataprune.evaluation.study import Study
from dataprune.evaluation.telling import command_of, reason_of, warnings_of
from dataprune.probe.check import check_model
from dataprune.runs.ledger import Record
from dataprune.selection._columns import default_column
from dataprune.selection._quotas import budget_rows

log = logging.getLogger("dataprune")
Keep = float | int


@dataclass
class _Race:
    """The candidates of one budget, and what came of them so far.

    share: to keep of the rows that a seed's share for testing leaves.
    """

    keep: Keep
    share: float
    own_steps: int
    candidates: dict[str, Candidate]
    tried: dict[str, Tried]
    rounds: list[Round]
    left: list[str]
    arms: dict[tuple[str, int], Arm] = field(default_factory=dict)
    values: dict[str, dict[int, float]] = field(default_factory=dict)
    units: dict[str, Record] = field(default_factory=dict)
    failed: int = 0


def choose_by_pilot(study: Study, keeps: Iterable[Keep], on_progress: OnProgress) -> list[Chosen]:
    """A strategy for each budget.

    Raises:
        UsageError: a budget that cannot be.
        ProbeError: every training failed.
    """
    pilot = _Pilot(study)
    races = [pilot.race(keep) for keep in dict.fromkeys(keeps)]
    first = [race for race in races if len(race.rounds) > 1]
    if first:
        pilot.run(first, lambda race: race.rounds[0], on_progress)
        for race in first:
            race.left = finalists(race.values, race.left)
    pilot.run(races, lambda race: race.rounds[-1], on_progress)
    return [pilot.chosen(race) for race in races]


class _Pilot:
    """What the races of one study share."""

    def __init__(self, study: Study) -> None:
        self.study = study
        check_model(study.recipe, study.loaded)
        self._layouts: dict[int, Layout] = {}
        everything = make_bench(study.recipe, study.loaded)
        self.noise = noise_of(study.table)
        self.num_rows = len(everything.train_rows)
        self.steps_of = Layout(study.recipe, study.settings, everything, study.table).num_steps
        self.bench = self._layout(0).bench
        self.trainings = study.settings.pilot or usual_trainings(self.bench.num_test_rows)

    def _layout(self, seed: int) -> Layout:
        """Arms of a seed, which tests on a share of its own."""
        if seed not in self._layouts:
            study = self.study
            doubtful = likely_wrong(study.table)
            bench = make_bench(study.recipe, study.loaded, validation=seed, doubtful=doubtful)
            self._layouts[seed] = Layout(
                study.recipe, study.settings, bench, study.table, study.path, balance=study.balance
            )
        return self._layouts[seed]

    def race(self, keep: Keep) -> _Race:
        """Candidates with their rows, at the fraction that was asked for of fewer rows."""
        study = self.study
        share = fraction(keep, self.num_rows)
        budget = budget_rows(keep, self.num_rows)
        if budget == self.num_rows:
            raise UsageError(
                f"auto chooses which rows to leave out, and keep {keep} leaves none out"
            )
        own = self.steps_of(budget)
        by = study.by or default_column(study.table, study.recipe)
        race = _Race(keep, share, own, {}, {}, [], [])
        for each in candidates(study.table, share, by, self.noise):
            name = each.asked.label
            race.candidates[name] = each
            race.tried[name] = Tried(name, each.asked.by, each.why)
            if self._arm(race, name, 0) is not None:
                race.left.append(name)
        if not race.left:
            raise UsageError(
                f"keep {keep} is less than a row of the {self._layout(0).num_rows} that a pilot "
                "trains on",
                hint="keep more, or choose without auto",
            )
        most = int(self.trainings * self.steps_of(self.num_rows))
        race.rounds = plan_rounds(len(race.left), own, most)
        return race

    def _arm(self, race: _Race, name: str, seed: int) -> Arm | None:
        """What a candidate trains on with a seed; None, and why is told, if it cannot be."""
        if (name, seed) in race.arms:
            return race.arms[name, seed]
        layout, asked = self._layout(seed), race.candidates[name].asked
        try:
            if name == RANDOM:
                rows = layout.random_of(seed, budget_rows(race.share, layout.num_rows))
            else:
                rows, _choice = layout.decided(asked, race.share)
        except UsageError as exc:  # such as flags that drop more than may go
            race.tried[name] = replace(race.tried[name], left_out=exc.message)
            return None
        return race.arms.setdefault((name, seed), Arm(name, (rows,), race.own_steps))

    def run(
        self, races: Sequence[_Race], of: Callable[[_Race], Round], on_progress: OnProgress
    ) -> None:
        """Train one round of all races; who has not all its seeds takes part no more."""
        for seeds in dict.fromkeys(of(race).seeds for race in races):
            self._run([race for race in races if of(race).seeds == seeds], of, seeds, on_progress)

    def _run(
        self,
        races: Sequence[_Race],
        of: Callable[[_Race], Round],
        seeds: int,
        on_progress: OnProgress,
    ) -> None:
        """Train one round of races with as many seeds, one seed after the other."""
        arms = {
            f"pilot {name}@{race.keep}, {of(race).steps} steps": (race, name)
            for race in races
            for name in race.left
        }
        study, failed = self.study, []
        records: dict[str, dict[int, Record]] = {label: {} for label in arms}
        for seed in range(seeds):
            wanted = [
                replace(arm, name=label, num_steps=of(race).steps)
                for label, (race, name) in arms.items()
                if (arm := self._arm(race, name, seed)) is not None
            ]
            if not wanted:
                continue
            done = retrain(
                study.recipe, study.loaded, self._layout(seed).bench, wanted,
                seeds=[seed], work=study.folder, on_progress=on_progress,
            )  # fmt: skip
            failed += done.failed
            for label in done.records:
                records[label] |= done.records[label]
        for race in races:
            race.values = {}
        for label, (race, name) in arms.items():
            self._note(race, name, records[label], seeds)
        for race in races:
            race.left = [name for name in race.left if name in race.values]
            if not race.left:
                first = failed[0] if failed else None
                why = next(told.left_out for told in race.tried.values() if told.left_out)
                raise ProbeError(
                    f"no candidate of keep {race.keep} was trained; the first: "
                    f"{first.error if first else why}",
                    hint=first.hint if first else None,
                )

    def _note(self, race: _Race, name: str, records: Mapping[int, Record], seeds: int) -> None:
        found = values_of(records)
        race.units |= {record.unit_id: record for record in records.values()}
        told = race.tried[name]
        told = replace(told, per_seed=[*told.per_seed, [found[s] for s in sorted(found)]])
        if len(found) == seeds:
            race.values[name] = found
        elif told.left_out is None:
            race.failed += seeds - len(found)
            told = replace(told, left_out=f"{seeds - len(found)} of its {seeds} trainings failed")
        race.tried[name] = told

    def chosen(self, race: _Race) -> Chosen:
        """The verdict, in the words and figures that a user is told."""
        study, run = self.study, self.study.recipe.run
        bench = self.bench
        rows = None if bench.metric == "R2" else bench.num_test_rows
        found = verdict(race.values, race.left, rows)
        told = race.tried[found.chosen]
        seconds = math.fsum(record.run["seconds"] for record in race.units.values())
        scale = 1.0 if self.bench.metric == "R2" else 100.0
        chosen = Chosen(
            keep=race.keep,
            strategy=told.strategy,
            by=told.by,
            why=reason_of(found, race.rounds[-1], told.why, scale),
            noise=self.noise,
            tried=list(race.tried.values()),
            rounds=race.rounds,
            over=found.over,
            full_steps=self.steps_of(self.num_rows),
            own_steps=race.own_steps,
            num_validation_rows=self.bench.num_test_rows,
            metric=self.bench.metric,
            pilot_s=device_seconds(seconds, run),
            unit=unit_of(run),
            failed=race.failed,
            command=command_of(study, told.strategy, told.by, race.keep),
        )
        log.info("auto chose %s for keep %s: %s", chosen.strategy, race.keep, chosen.why)
        return replace(chosen, warnings=[*warnings_of(chosen), *untried(study.table)])
