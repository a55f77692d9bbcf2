"""trace -> scores, for traces that are there already: checked against the source, then scored.

Every `trace.parquet` under a folder is one seed. Those of a Recorder hold the labels they saw;
those of our own units lie beside a unit.json that names the source.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from dataprune.core.errors import AlignmentError, UsageError
from dataprune.core.recipe import Recipe
from dataprune.probe.examples import read_rows
from dataprune.probe.observe import Observed
from dataprune.probe.recorded_batch import Ints, label_codes
from dataprune.probe.recorder import LABEL, UNSEEN
from dataprune.runs.place import LocalPlace
from dataprune.scores import Score
from dataprune.scores._aggregate import compute_scores
from dataprune.scores._check import find_scores
from dataprune.scores._features import with_embedding
from dataprune.scores._recordings import Recording, find_recordings
from dataprune.scores._table import table_meta, table_path
from dataprune.sources._load import Loaded
from dataprune.tables.manifest import SourceRef
from dataprune.tables.scores import write_scores
from dataprune.tables.trace import Trace, read_trace

NO_GATE = "recorded traces hold no held-out accuracy: the timing gate was not applied"

log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class FromTraces:
    """What `score_traces` made.

    path: the score table. meta: what went with it. recipe: with the checkpoints that were scored.
    """

    path: Path
    meta: dict[str, Any]
    recipe: Recipe
    source: SourceRef
    notes: list[str]
    warnings: list[str]


def score_traces(
    recipe: Recipe, folder: Path, at: Sequence[int] | None, out: Path | None
) -> FromTraces:
    """Score every example of the recipe's source from all traces under a folder.

    recipe: gives source, task, scores, root seed and defaults of pruning; its probe is not used.
    at: checkpoints to score at; default: the last that all traces have.
    out: the table to write; default: scores.parquet in the folder.

    Raises:
        UsageError: no traces, traces of several kinds, a signal or checkpoint that is not there.
        AlignmentError: a trace of other rows or labels than the source's; the first is named.
        TableError: a trace that is damaged.
    """
    wanted = find_scores(recipe.score_names)
    found = find_recordings(folder)
    _check_alike(found, recipe)
    at = _checkpoints(found, at)
    signals = _signals(found, wanted)
    recipe, loaded = read_rows(recipe)
    for recording in found:
        _check_rows(recording, loaded)
    _check_scores(found, wanted, at)
    warnings = _check_labels(found, loaded)
    path = out or table_path(LocalPlace(folder), loaded, wanted)
    traces = {_number(r): read_trace(r.files, signals, at) for r in found}
    for score in wanted:
        if score.over != "in_sample" and all(trace.in_sample.all() for trace in traces.values()):
            raise UsageError(
                f"score {score.name} looks at held-out rows, and no trace in {folder} has one",
                hint="give the rows trained on as in_sample to the Recorder, or leave it out",
            )
    log.info("%d traces in %s, scored at epoch %s", len(found), folder, ", ".join(map(str, at)))
    log.info(NO_GATE)
    scored = _with_at(recipe, at).model_copy(update={"seeds": len(found)})
    columns = compute_scores(scored, wanted, traces, loaded.labels)
    warnings += columns.warnings
    specs = {name: _spec(spec, found[0], traces) for name, spec in columns.specs.items()}
    columns = replace(columns, specs=specs)
    # The recipe's epochs are its own probe's: what was scored stands in the specs.
    stored = _with_at(recipe, None)
    meta = table_meta(stored, loaded, Observed(traces, {}, [], [], []), columns, [])
    meta["unit_ids"] = [r.sha256 for r in sorted(found, key=_number)]
    write_scores(path, loaded.examples, columns.values, with_embedding(path, loaded, meta))
    return FromTraces(path, meta, scored, loaded.ref, [NO_GATE], warnings)


def _number(recording: Recording) -> int:
    assert recording.seed is not None
    return recording.seed


def _with_at(recipe: Recipe, at: tuple[int, ...] | None) -> Recipe:
    """The recipe with these checkpoints, which its own probe need not reach."""
    return recipe.model_copy(update={"scores": recipe.scores.model_copy(update={"at": at})})


def _check_alike(found: list[Recording], recipe: Recipe) -> None:
    """One kind of training in all, and the recipe's task."""
    first = found[0]
    for recording in found[1:]:
        for key in first.about.keys() | recording.about.keys():
            ours, theirs = first.about.get(key), recording.about.get(key)
            if ours != theirs:
                raise UsageError(
                    f"{first.path} has {key} {ours}, and {recording.path} has {theirs}",
                    hint="scores are a mean over seeds of one training: score them apart",
                )
    if first.about["task"] != recipe.task:
        raise UsageError(
            f"{first.path} has task {first.about['task']}, and recipe {recipe.name} has "
            f"{recipe.task or 'none'}",
            hint="set task in the recipe to what was recorded",
        )


def _checkpoints(found: list[Recording], at: Sequence[int] | None) -> tuple[int, ...]:
    """The checkpoints to score at, sorted; by default the last that all traces have."""
    common = sorted(set.intersection(*(set(r.checkpoints) for r in found)))
    if at is None:
        if not common:
            raise UsageError(f"the {len(found)} traces have no checkpoint in common")
        return (common[-1],)
    for recording in found:
        missing = sorted(set(at) - set(recording.checkpoints))
        if missing:
            raise UsageError(
                f"{recording.path} has no checkpoint {missing[0]}",
                hint=f"all traces have {', '.join(map(str, common)) or 'none in common'}",
            )
    return tuple(sorted(set(at)))


def _signals(found: list[Recording], wanted: Sequence[Score]) -> list[str]:
    """The signals that the wanted scores read, which every trace must have."""
    for score in wanted:
        for recording in found:
            missing = sorted(set(score.signals) - set(recording.signals))
            if missing:
                raise UsageError(
                    f"score {score.name} reads {', '.join(missing)}, and {recording.path} has none",
                    hint=f"it has {', '.join(recording.signals)}; choose with --score",
                )
    signals = sorted({signal for score in wanted for signal in score.signals})
    if not signals:
        names = ", ".join(score.name for score in wanted)
        raise UsageError(f"traces have no effect on {names}", hint="leave --traces out")
    return signals


def _check_rows(recording: Recording, loaded: Loaded) -> None:
    """As many rows as the source has; our own units also say which source it was."""
    rows = sum(pq.read_metadata(path).num_rows for path in recording.files)
    rows //= len(recording.checkpoints)
    if rows != len(loaded.labels):
        raise AlignmentError(
            f"{recording.path} has {rows} rows, and source {loaded.ref.uri} has "
            f"{len(loaded.labels)}",
            hint="point to the source that was trained on, or record again",
        )
    if recording.is_own and recording.source != loaded.ref.fingerprint:
        raise AlignmentError(
            f"{recording.path} was recorded on another source than {loaded.ref.uri}",
            hint="point to the source that was trained on, or record again",
        )


def _check_labels(found: list[Recording], loaded: Loaded) -> list[str]:
    """Row by row, the labels that were seen are the source's; returns warnings.

    Numbers of a regression are recorded on the model's scale, so traces are compared with each
    other there.
    """
    recorded = [r for r in found if not r.is_own]
    if not recorded:
        return []
    compared = loaded.ref.task != "regression"
    expected = label_codes(loaded.labels) if compared else _seen_labels(recorded[0])
    against = f"source {loaded.ref.uri}" if compared else str(recorded[0].path)
    for recording in recorded:
        seen = _seen_labels(recording)
        both = (seen != UNSEEN) & (expected != UNSEEN)
        differs = np.flatnonzero(both & (seen != expected))
        if len(differs):
            row = int(differs[0])
            is_class = loaded.ref.task == "classification"
            values = f" ({seen[row]} and {expected[row]})" if is_class else ""
            raise AlignmentError(
                f"row {row} of {recording.path} and of {against} differ in label{values}; "
                f"{len(differs)} rows differ",
                hint="a row id is the row's position in the source, and a class its index there: "
                f"{', '.join(loaded.ref.class_names[:10])}",
            )
    if compared:
        return []
    what = "numbers trained on are on the model's scale"
    return [f"{what}: only the count of rows was compared with the source"]


def _check_scores(found: list[Recording], wanted: Sequence[Score], at: tuple[int, ...]) -> None:
    """One window in all, and held-out rows that were shown, where a score needs them."""
    for score in wanted:
        for recording in found:
            if score.window and recording.window != found[0].window:
                raise UsageError(
                    f"{found[0].path} has windows of {found[0].window} epochs, and "
                    f"{recording.path} of {recording.window}",
                    hint=f"score {score.name} needs one window in all; leave it out",
                )
            if score.over == "in_sample":
                continue
            needs = f"score {score.name} looks at held-out rows, and"
            if recording.about["mode"] == "train":
                raise UsageError(
                    f"{needs} the training steps in {recording.path} never showed one",
                    hint="record in mode eval, or leave it out",
                )
            missing = sorted(set(at) - set(recording.whole))
            if missing and not recording.is_own:
                raise UsageError(
                    f"{needs} {recording.path} was not shown all of them before checkpoint "
                    f"{missing[0]}",
                    hint="show every row before each checkpoint, or leave it out",
                )


def _seen_labels(recording: Recording) -> Ints:
    last = recording.checkpoints[-1]
    return read_trace(recording.path, [LABEL], [last]).signals[last][LABEL].astype(np.int64)


def _spec(spec: dict[str, Any], recording: Recording, traces: dict[int, Trace]) -> dict[str, Any]:
    """A column's spec, saying how it was recorded instead of what the recipe's probe does."""
    if "epoch" not in spec:  # it reads no trace
        return spec
    trained = {"schedule_epochs", "trained_in"}  # not known of a training that is not ours
    told = {key: value for key, value in spec.items() if key not in trained}
    told |= recording.about
    if "window" in spec:
        told["window"] = recording.window
    if "removal" in spec:
        assert recording.removal is not None  # only our own units record what these scores read
        told |= recording.removal
    if not recording.is_own:
        told["precision"] = "as recorded"
    in_train = recording.about["mode"] == "train"
    if "counted" in spec and not recording.is_own:
        told["counted"] = "per training step of the row" if in_train else "per recorded pass"
    told["augmentation"] = "as trained" if in_train else "none"
    held_out = any(not trace.in_sample.all() for trace in traces.values())
    told["holdout"] = "as recorded" if held_out else "none"
    return told
