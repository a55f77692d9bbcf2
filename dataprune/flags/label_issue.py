"""`label_issue`: which given labels are wrong, from held-out probabilities of any model.

Per-vote temperature and mean vote (`_evidence`), the noise from the surest rows (`_anchors`), the
probability of each label being wrong (`_posterior`), and how much noise there is by three
estimates (`_totals`). Three tiers by two signs: that probability, and the votes' consensus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import TableError, UsageError
from dataprune.flags import Flag
from dataprune.flags import _cleanlab as cleanlab
from dataprune.flags import _confident as confident
from dataprune.flags import _totals as totals
from dataprune.flags._anchors import anchor_counts, transition_of
from dataprune.flags._evidence import Evidence, weigh
from dataprune.flags._plateau import train_plateau
from dataprune.flags._posterior import Posterior, fit_sharpness, judge, log_truth
from dataprune.flags._told import tell
from dataprune.flags._totals import Noise
from dataprune.flags._units import StoredUnits, votes_of
from dataprune.flags._votes import (
    Labels,
    Values,
    Vote,
    are_integers,
    check_labels,
    check_together,
    check_vote,
)
from dataprune.tables.flags import (
    TIERS,
    FlagColumns,
    FlagTable,
    flag_table,
    label_columns,
    write_flags,
)

_MOST_Q = 0.5
_CONSENSUS = 0.8 - 1e-9  # four of five votes, whatever their sum rounds to


@dataclass(frozen=True)
class LabelFlags:
    """Flags of n rows in source order.

    columns: {name: (n,)} as in FLAGS.parquet (see `dataprune.tables.flags`).
    transition: T[given, true] = P(given | true), float64 (C, C).
    totals: counts, noise rates, agreement, planted recall, most frequent confusions.
    warnings: what makes these flags weak, a sentence each.
    rule: how verdicts follow, where that is not the flag's own rule.
    about: of stored units: source, unit_ids, and missing, the units that did not finish.
    """

    columns: Mapping[str, npt.NDArray[Any]]
    transition: Values
    totals: dict[str, Any]
    warnings: list[str]
    class_names: list[str] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    rule: str | None = None

    @property
    def is_partial(self) -> bool:
        """Whether units are missing, so that some rows have fewer votes."""
        return bool(self.about.get("missing"))

    def order(self) -> npt.NDArray[np.int64]:
        """Rows, the most suspicious first: by label_q, then margin, then row."""
        return self.table().ranked(np.arange(len(self.columns["row"])))

    def table(self) -> FlagTable:
        """As FLAGS.parquet has them."""
        return flag_table(self.columns, self._meta([]))

    def in_scores(self) -> FlagColumns:
        """As a score table has them."""
        return label_columns(self.table())

    def write(self, path: str | Path, *, inputs: Sequence[dict[str, str]] = ()) -> Path:
        """Write FLAGS.parquet; inputs: {file, sha256} of what the flags were made from."""
        write_flags(Path(path), self.columns, self._meta(list(inputs)))
        return Path(path)

    def _meta(self, inputs: list[dict[str, str]]) -> dict[str, Any]:
        return {
            "flag": FLAG.name,
            "rule": self.rule or FLAG.rule,
            "class_names": self.class_names,
            "totals": self.totals,
            "warnings": self.warnings,
            "inputs": inputs,
            **self.about,
        }


def flag_labels(
    probs: npt.ArrayLike | Sequence[npt.ArrayLike],
    labels: npt.ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    logits: bool = False,
    seed: int = 0,
) -> LabelFlags:
    """Flag labels that are probably wrong, from held-out predictions of your own models.

    probs: out-of-fold probabilities (n, C), or a list of such arrays, a vote each; a row that a
        vote did not hold out is NaN there. With `logits`, logits instead. Never float16.
    labels: given labels (n,): positions of columns, or class names, matched by name.
    class_names: of the columns.
    seed: of the draws for planted errors, and of rows for temperatures where there are very many.

    Raises:
        TableError: values that are no probabilities, or labels that are no classes; names the row.
        AlignmentError: votes and labels of different sizes.
        UsageError: no votes, or class names that do not fit.
    """
    arrays = _as_votes(probs)
    names = ["probs"] if len(arrays) == 1 else [f"probs[{s}]" for s in range(len(arrays))]
    return flag_votes(
        dict(zip(names, arrays, strict=True)),
        _as_labels(labels),
        labels_name="labels",
        class_names=class_names,
        logits=logits,
        seed=seed,
    )


def flag_votes(
    probs: Mapping[str, npt.NDArray[Any]],
    labels: npt.NDArray[Any],
    *,
    labels_name: str,
    class_names: Sequence[str] | None,
    logits: bool,
    seed: int,
    rule: str = "tiers",
) -> LabelFlags:
    """`flag_labels` of votes that have names for errors to tell.

    rule: "tiers", or "cleanlab:FILTER" for its verdicts in place of ours.
    """
    votes = [check_vote(array, name=name, is_logits=logits) for name, array in probs.items()]
    check_together(votes, labels, labels_name)
    num_classes = votes[0].shape[1]
    known = None if class_names is None else _checked_names(class_names, num_classes)
    given = check_labels(labels, num_classes, known, name=labels_name)
    result = judge_votes(votes, given, class_names=known, seed=seed, rule=rule)
    if known is not None and labels.dtype.kind in "iu" and not are_integers(known):
        result.warnings.append(f"integer labels are taken as positions of columns: 0 is {known[0]}")
    return result


def flag_units(stored: StoredUnits, *, rule: str = "tiers") -> LabelFlags:
    """Flag labels from a run's finished units; every draw is seeded by the recipe.

    rule: as `flag_votes`.

    Raises:
        PartialError: a row that no finished unit held out.
    """
    table, ref = stored.examples.table, stored.examples.ref
    labels = table.column("label").to_numpy().astype(np.int64)
    records, seed = stored.records, stored.recipe.seed
    votes = votes_of(records, labels, len(ref.class_names))
    names = list(ref.class_names)
    found = judge_votes(votes, labels, class_names=names, seed=seed, rule=rule)
    plateau = train_plateau(records.values(), stored.recipe.checkpoints)
    found.warnings.extend(_contradictions(table.column("content_hash").to_numpy(), labels))
    if stored.missing:
        found.warnings.append(
            f"PARTIAL: {len(stored.missing)} units are missing ({', '.join(stored.missing)}): "
            "rows that they held out have fewer votes; score again to complete it"
        )
    return replace(
        found,
        columns={**found.columns, "content_hash": table.column("content_hash").to_numpy()},
        totals={**found.totals, "train_plateau": plateau},
        about={
            "source": ref.model_dump(mode="json"),
            "unit_ids": [record.unit_id for record in records.values()],
            "missing": stored.missing,
        },
    )


def _contradictions(hashes: npt.NDArray[np.uint64], labels: Labels) -> list[str]:
    """Copies that are labelled otherwise, if there are any: one of the labels must be wrong."""
    _, group = np.unique(hashes, return_inverse=True)
    order = np.lexsort((labels, group))
    pairs = np.unique(np.stack([group, labels]), axis=1)
    several = np.bincount(pairs[0], minlength=group.max() + 1) > 1
    rows = order[several[group[order]]]
    if not len(rows):
        return []
    first = np.sort(rows[group[rows] == group[rows].min()])
    other = first[labels[first] != labels[first[0]]][0]
    told = (
        f"{len(rows)} rows are exact copies of rows with another label (rows {first[0]} and "
        f"{other}, for one): whatever their tier, one of the labels is wrong"
    )
    return [told]


def judge_votes(
    votes: Sequence[Vote], given: Labels, *, class_names: list[str] | None, seed: int, rule: str
) -> LabelFlags:
    """Flags from votes and labels that were checked, labels as class indices."""
    filter_by = cleanlab.check_rule(rule)
    evidence = weigh(votes, given, seed=seed)
    thresholds = confident.class_thresholds(evidence.means, given)
    counts = confident.confident_counts(evidence.means, given, thresholds)
    anchors = anchor_counts(evidence.means, given)
    transition, concentration = transition_of(anchors)
    log_pi = log_truth(evidence.means, transition)
    sharpness = fit_sharpness(log_pi, evidence.means, given, transition, seed=seed)
    believed = judge(log_pi, evidence.means, given, transition, sharpness)
    columns = _columns(given, believed, evidence)
    noise = Noise(
        transition, sharpness, concentration, int(anchors.sum()),
        confident.noise_rate(confident.calibrated_joint(counts, given)),
    )  # fmt: skip
    told = _totals(votes, evidence, columns, believed, noise, class_names, seed)
    warnings = totals.warnings_of(evidence, votes, given, told, class_names)
    found = LabelFlags(columns, transition, told, warnings, class_names)
    if filter_by is None:
        return found
    return _by_cleanlab(found, believed, cleanlab.verdicts(votes, given, filter_by), filter_by)


def _by_cleanlab(
    found: LabelFlags, believed: Posterior, flagged: npt.NDArray[np.bool_], filter_by: str
) -> LabelFlags:
    """The same evidence with cleanlab's verdicts; what it would find of planted ones is unknown."""
    planted = {**found.totals["planted_recall"], "random": None, "transition": None}
    tier = np.where(flagged, TIERS[0], TIERS[2])
    return replace(
        found,
        columns={
            **found.columns,
            "suggested": _suggested(tier, believed),
            "tier": tier,
            "is_label_issue": flagged,
        },
        totals={
            **found.totals,
            "tiers": {name: int((tier == name).sum()) for name in TIERS},
            "planted_recall": planted,
        },
        rule=cleanlab.told(filter_by),
    )


def is_likely(q: Values, vote_frac: Values) -> npt.NDArray[np.bool_]:
    """Both signs: q above a half, and at least 80 % of the votes against the label.

    With one vote the second is that its margin is below 0, because then the fraction is 0 or 1.
    """
    both: npt.NDArray[np.bool_] = (q > _MOST_Q) & (vote_frac >= _CONSENSUS)
    return both


def _columns(given: Labels, believed: Posterior, evidence: Evidence) -> dict[str, npt.NDArray[Any]]:
    q = believed.q
    likely = is_likely(q, evidence.vote_frac)
    either = (q > _MOST_Q) | (evidence.vote_frac >= _CONSENSUS)
    tier = np.select([likely, either], TIERS[:2], TIERS[2])
    return {
        "row": np.arange(len(given)),
        "given": given.astype(np.int32),
        "suggested": _suggested(tier, believed),
        "label_q": q.astype(np.float32),
        "label_score": (1 - q).astype(np.float32),
        "oof_margin": evidence.margin.astype(np.float32),
        "oof_vote_frac": evidence.vote_frac.astype(np.float32),
        "n_votes": evidence.num_votes,
        "tier": tier,
        "is_label_issue": likely,
    }


def _suggested(tier: npt.NDArray[Any], believed: Posterior) -> npt.NDArray[np.int32]:
    """What to call a row: if its label is suspected, something else."""
    return np.where(tier == TIERS[2], believed.best, believed.other)


def _totals(
    votes: Sequence[Vote],
    evidence: Evidence,
    columns: Mapping[str, npt.NDArray[Any]],
    believed: Posterior,
    noise: Noise,
    class_names: list[str] | None,
    seed: int,
) -> dict[str, Any]:
    given, tier = columns["given"].astype(np.int64), columns["tier"]
    agreement = totals.agreement_of(evidence.choices_Sn)
    votes_for, mean_q = totals.votes_for_labels(evidence), float(believed.q.mean())
    return {
        "rows": len(given),
        "classes": len(noise.transition),
        "votes": len(votes),
        "tiers": {name: int((tier == name).sum()) for name in TIERS},
        "noise_rate": totals.noise_rates(votes_for, agreement, noise.confident_joint, mean_q),
        "agreement": agreement,
        "votes_for": votes_for,
        "planted_recall": totals.planted_recall(
            votes, evidence, given, np.flatnonzero(tier == "ok"), noise, is_likely, seed=seed
        ),
        "temperatures": list(evidence.temperatures),
        "mean_temperature": evidence.mean_temperature,
        "anchors": noise.num_anchors,
        "concentration": noise.concentration,
        "sharpness": noise.sharpness,
        "confusions": totals.confusions(believed.joint, class_names),
        "transition": totals.matrix_for_people(noise.transition),
        "seed": seed,
    }


def _as_votes(probs: npt.ArrayLike | Sequence[npt.ArrayLike]) -> list[npt.NDArray[Any]]:
    if not isinstance(probs, list | tuple):
        array = np.asarray(probs)
        return list(array) if array.ndim == 3 else [array]
    if len(probs) == 0:
        raise UsageError("there are no probabilities", hint="give at least one n x C array")
    arrays = [np.asarray(vote) for vote in probs]
    if arrays[0].ndim != 1:
        return arrays
    if any(array.shape != arrays[0].shape for array in arrays):
        raise UsageError("rows of probs have different lengths", hint="one number per class each")
    return [np.stack(arrays)]  # the rows of one vote


def _as_labels(labels: npt.ArrayLike) -> npt.NDArray[Any]:
    """Labels as an array; text that came as Python objects (pandas) as text."""
    array = np.asarray(labels)
    if array.dtype == object and all(isinstance(value, str) for value in array.ravel()):
        return array.astype(np.str_)
    return array


def _checked_names(class_names: Sequence[str], num_classes: int) -> list[str]:
    names = [str(name) for name in class_names]
    if len(names) != num_classes:
        raise UsageError(
            f"there are {len(names)} class names for {num_classes} columns",
            hint="name every column once",
        )
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise TableError(f"two classes are called {twice[0]}", hint="name every class differently")
    return names


FLAG = Flag(
    name="label_issue",
    compute=flag_units,
    tell=tell,
    beside=("aum", "el2n"),
    rule="likely: label_q > 0.5 and oof_vote_frac >= 0.8; suspect: one of the two; ok: neither; "
    "with one vote oof_margin < 0 stands for the fraction; is_label_issue: likely",
    status="experimental",
    source="Guo et al. 2017 (temperature), Patrini et al. 2017 (anchors), Northcutt et al. 2021 "
    "(confident joint); shrinking, sharpening, tiers: own",
    pitfalls="errors that depend on the example itself, as people make them, look like hard "
    "examples: look at a sample before dropping; on curated data few flags are errors",
    has_table=True,
)
