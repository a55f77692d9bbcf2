"""Votes from a run's stored units: what each probe said of the fold that it did not train on.

A repeat of cross-fitting holds every row out once, so it is one vote with one temperature. Its
units are trained alike; a temperature for each would be fitted to the labels of its fold, and a
fold that happens to hold few errors would then be surest and vouch for the others.
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
from dataprune.flags._votes import ArrayVote, Labels, Values, Vote, rows_without_vote
from dataprune.runs.ledger import Ledger, Record
from dataprune.runs.place import open_place
from dataprune.tables.heldout import TOP, HeldOut, read_heldout
from dataprune.tables.run_examples import NAME, RunExamples, read_run_examples

_LEAST = 1e-12  # of probability, that a logsumexp in float32 can tell
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
    """A vote that is stored for a row's 32 largest logits and the label's.

    classes_nR: int32 (n, 33), the label last. log_p_nR: float32, their log probabilities.
    log_other_n: float32 (n,), that of each other class: what is left, shared alike.
    """

    name: str
    num_classes: int
    classes_nR: npt.NDArray[np.int32]
    log_p_nR: npt.NDArray[np.float32]
    log_other_n: npt.NDArray[np.float32]
    held_out: npt.NDArray[np.bool_]

    @property
    def values(self) -> npt.NDArray[Any]:
        """What is stored of the kept classes."""
        return self.log_p_nR

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and classes."""
        return len(self.held_out), self.num_classes

    def logits(self, rows: slice | Labels) -> Values:
        """As `Vote.logits`."""
        others = self.log_other_n[rows].astype(np.float64)
        logits_bC = np.repeat(others[:, None], self.num_classes, axis=1)
        np.put_along_axis(logits_bC, self.classes_nR[rows], self.log_p_nR[rows], axis=1)
        logits_bC[~self.held_out[rows]] = 0.0
        return logits_bC


def read_units(where: Path | str) -> StoredUnits:
    """What a run folder holds of its last scoring.

    Raises:
        UsageError: no run folder, or one whose units held out nothing.
        TableError: it is damaged.
    """
    place = open_place(where)
    work = place.folder
    if place.fetch("run.json") is None:
        raise UsageError(
            f"{place.url} is no run folder of dataprune score", hint=f"{HOW}, --work {place.url}"
        )
    run = read_json(work / "run.json")
    if not isinstance(run, dict) or not {"recipe", "units"} <= run.keys():
        raise TableError(f"{work / 'run.json'} does not say what was run", hint="score again")
    recipe = parse_recipe(run["recipe"], where=str(work / "run.json"))
    if recipe.holdout.repeats is None:
        raise UsageError(f"the probes in {work} keep no held-out outputs", hint=HOW)
    if place.fetch(NAME) is None:
        raise UsageError(
            f"{work} has no {NAME}: an older dataprune scored there",
            hint="score again with the same --work; finished units are not trained again",
        )
    ledger, examples = Ledger(place), read_run_examples(work)
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


def votes_of(records: Mapping[int, Record], labels: Labels, num_classes: int) -> list[Vote]:
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
        vote_of(f"repeat {repeat}", list(_outputs(several)), labels, num_classes)
        for repeat, several in sorted(repeats.items())
    ]
    alone = rows_without_vote(votes)
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


def vote_of(name: str, parts: Sequence[HeldOut], labels: Labels, num_classes: int) -> Vote:
    """The held-out outputs of a repeat's units as one vote."""
    n = len(labels)
    held_out = np.zeros(n, dtype=np.bool_)
    for part in parts:
        held_out[part.rows] = True
    if parts[0].outputs is not None:
        values = np.full((n, num_classes), np.nan, dtype=np.float32)
        for part in parts:
            values[part.rows] = part.outputs
        return ArrayVote(values, name, is_logits=True, held_out=held_out, floor=0.0)
    classes_nR = np.zeros((n, TOP + 1), dtype=np.int32)
    log_p_nR = np.zeros((n, TOP + 1), dtype=np.float32)
    log_other_n = np.zeros(n, dtype=np.float32)
    for part in parts:
        assert part.top_classes is not None
        assert part.top_logits is not None
        assert part.logsumexp is not None
        assert part.label_logit is not None
        rows, own = part.rows, labels[part.rows, None]
        logits = np.concatenate([part.top_logits, part.label_logit[:, None]], axis=1)
        log_p_kR = logits.astype(np.float64) - part.logsumexp[:, None]
        alone = ~(part.top_classes == own).any(axis=1)
        told = np.exp(log_p_kR[:, :TOP]).sum(axis=1) + alone * np.exp(log_p_kR[:, TOP])
        left = np.maximum(1 - told, _LEAST) / (num_classes - TOP - alone)
        classes_nR[rows] = np.concatenate([part.top_classes, own], axis=1)
        log_p_nR[rows] = log_p_kR
        log_other_n[rows] = np.minimum(np.log(left), log_p_kR[:, :TOP].min(axis=1))
    return TopVote(name, num_classes, classes_nR, log_p_nR, log_other_n, held_out)
