"""Votes from a run's stored units: what each probe said of the fold that it did not train on.

A repeat of cross-fitting holds every row out once, so it is one vote; each of its units is
calibrated on its own fold first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import PartialError, TableError, UsageError
from dataprune.core.files import read_json
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.flags._evidence import calibrate, fit_temperature
from dataprune.flags._means import TOP, Means, some
from dataprune.flags._votes import ArrayVote, Labels, Values, Vote
from dataprune.runs.ledger import Ledger, Record
from dataprune.tables.heldout import HeldOut, read_heldout
from dataprune.tables.run_examples import NAME, RunExamples, read_run_examples

HELD_OUT = "heldout.parquet"
HOW = "score with --flag label_issue, or with holdout: {folds: 5, repeats: 2} in the recipe"


@dataclass(frozen=True)
class StoredUnits:
    """A run folder: its recipe, its rows, and the finished units of its last scoring, by seed.

    missing: names of the units that did not finish.
    """

    recipe: Recipe
    examples: RunExamples
    records: dict[int, Record]
    missing: list[str]


@dataclass(frozen=True)
class TopVote:
    """A vote that is stored for a row's 32 largest logits and the label's, calibrated."""

    means: Means
    name: str
    held_out: npt.NDArray[np.bool_]

    @property
    def values(self) -> npt.NDArray[Any]:
        """Probabilities of the kept classes, float32 (n, 33)."""
        return self.means.p_nR

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and classes."""
        return len(self.means), self.means.num_classes

    def logits(self, rows: slice | Labels) -> Values:
        """As `Vote.logits`; classes that are not kept share what is left alike."""
        part = self.means.taken(rows)
        logits_bR, _ = part.with_rest(slice(None))
        logits_bC = np.repeat(logits_bR[:, -1:], part.num_classes, axis=1)
        every = np.arange(len(part))[:, None]
        classes_bR = part.classes(slice(None))
        twice = part.twice(slice(None))
        logits_bC[every, classes_bR[:, :TOP]] = logits_bR[:, :TOP]
        alone = np.flatnonzero(~twice)
        logits_bC[alone, classes_bR[alone, TOP]] = logits_bR[alone, TOP]
        logits_bC[~self.held_out[rows]] = 0.0
        return logits_bC


def read_units(work: Path) -> StoredUnits:
    """What a run folder holds of its last scoring.

    Raises:
        UsageError: no run folder, or one whose units held out nothing.
        TableError: it is damaged.
    """
    if not (work / "run.json").is_file():
        raise UsageError(
            f"{work} is no run folder of dataprune score", hint=f"{HOW}, --work {work}"
        )
    run = read_json(work / "run.json")
    if not isinstance(run, dict) or not {"recipe", "units"} <= run.keys():
        raise TableError(f"{work / 'run.json'} does not say what was run", hint="score again")
    recipe = parse_recipe(run["recipe"], where=str(work / "run.json"))
    if recipe.holdout.repeats is None:
        raise UsageError(f"the probes in {work} keep no held-out outputs", hint=HOW)
    if not (work / NAME).is_file():
        raise UsageError(
            f"{work} has no {NAME}: an older dataprune scored there",
            hint="score again with the same --work; finished units are not trained again",
        )
    ledger, examples = Ledger(work), read_run_examples(work)
    found = {unit_id: ledger.finished(unit_id) for unit_id in run["units"]}
    records = {
        record.identity["seed"]: record
        for record in found.values()
        if record is not None and record.identity["source"] == examples.ref.fingerprint
    }
    missing = [run["units"][unit_id] for unit_id, record in found.items() if record is None]
    if not records:
        raise UsageError(f"no unit in {work} has finished", hint="score again: it goes on there")
    return StoredUnits(recipe, examples, dict(sorted(records.items())), sorted(missing))


def votes_of(
    records: Mapping[int, Record], labels: Labels, num_classes: int, *, seed: int
) -> list[Vote]:
    """One vote per repeat, rows that no finished unit of it held out left out.

    labels: class indices, int64 (n,).

    Raises:
        PartialError: a row that no finished unit held out.
        TableError: a unit's outputs are damaged.
    """
    repeats: dict[int, list[Record]] = {}
    for record in records.values():
        repeats.setdefault(int(record.identity["repeat"]), []).append(record)
    votes = [
        _vote(f"repeat {repeat}", list(_outputs(several)), labels, num_classes, seed=seed)
        for repeat, several in sorted(repeats.items())
    ]
    alone = np.flatnonzero(~np.any([vote.held_out for vote in votes], axis=0))
    if len(alone):
        raise PartialError(
            f"{len(alone)} rows were held out by no finished unit (first: row {alone[0]})",
            hint="score again with the same --work: the units that are missing will be trained",
        )
    return votes


def _outputs(records: Sequence[Record]) -> Iterator[HeldOut]:
    for record in records:
        if HELD_OUT not in record.files:
            raise UsageError(f"unit {record.unit_id} kept no held-out outputs", hint=HOW)
        yield read_heldout(record.path(HELD_OUT))


def _vote(
    name: str, parts: Sequence[HeldOut], labels: Labels, num_classes: int, *, seed: int
) -> Vote:
    n = len(labels)
    held_out = np.zeros(n, dtype=np.bool_)
    for part in parts:
        held_out[part.rows] = True
    if parts[0].outputs is None:
        means = Means.empty(n, num_classes, labels)
        assert means.classes_nR is not None
        means.p_nR[:], means.classes_nR[:], means.place[:] = 1.0 / num_classes, 0, 0
        for part in parts:
            own = _means_of(part, labels, num_classes)
            calibrate(own, seed=seed)
            assert own.classes_nR is not None
            rows = part.rows
            means.p_nR[rows], means.classes_nR[rows] = own.p_nR, own.classes_nR
            means.place[rows] = own.place
        return TopVote(means, name, held_out)
    values = np.full((n, num_classes), np.nan, dtype=np.float32)
    for part in parts:
        assert part.outputs is not None
        chosen = some(np.arange(len(part.rows)), num_classes, (seed, 1 << 23))
        fitted = part.outputs[chosen].astype(np.float64)
        temperature = fit_temperature(fitted, labels[part.rows[chosen]])
        values[part.rows] = part.outputs / temperature
    return ArrayVote(values, name, is_logits=True, held_out=held_out, floor=0.0)


def _means_of(part: HeldOut, labels: Labels, num_classes: int) -> Means:
    """Stored logits as probabilities; the 33rd column is the label's own."""
    assert part.top_classes is not None
    assert part.top_logits is not None
    assert part.logsumexp is not None
    assert part.label_logit is not None
    own = labels[part.rows]
    among = part.top_classes == own[:, None]
    present = among.any(axis=1)
    logits = np.concatenate([part.top_logits, part.label_logit[:, None]], axis=1)
    p_kR = np.exp(logits.astype(np.float64) - part.logsumexp[:, None])
    p_kR[present, TOP] = 0
    classes_kR = np.concatenate([part.top_classes, own[:, None]], axis=1).astype(np.int32)
    place = np.where(present, among.argmax(axis=1), TOP)
    return Means(p_kR.astype(np.float32), classes_kR, place, num_classes)
