"""From a recipe and loaded examples to units: what each computes, and which are done already.

A unit's identity holds all that its trace depends on. Units that recorded more signals or more
checkpoints than are wanted serve as they are.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import UsageError
from dataprune.core.files import sha256_file
from dataprune.core.fingerprint import HASH_VERSION, fingerprint
from dataprune.core.protocols import Unit
from dataprune.core.recipe import Images, Recipe
from dataprune.probe.examples import DEFAULT_RUNS
from dataprune.probe.folds import strata_of, stratified_folds
from dataprune.runs.ledger import Record
from dataprune.runs.place import LocalPlace, Place, open_place
from dataprune.sources._load import Loaded
from dataprune.tables.examples import GROUP
from dataprune.tables.trace import FORMAT_VERSION as TRACE_VERSION

ENTRYPOINT = "dataprune.probe.unit:probe_unit"
# Raise it with any change to what a probe computes: data, training, tasks, signals, models.
PROBE_VERSION = 3
_GROWING = ("signals", "checkpoints")
# Of a unit's spec: in its identity only where they decide something, or by another name.
_NOT_ALWAYS = frozenset({"removal", "layer", "features", "workers"})


@dataclass(frozen=True)
class Plan:
    """What a scoring run needs.

    done: finished units that serve, by seed.
    units: units to run.
    reasons: why units run although the folder has finished ones, for people.
    """

    done: dict[int, Record]
    units: list[Unit]
    reasons: list[str]


def run_fingerprint(recipe: Recipe, loaded: Loaded) -> str:
    """Identity of a run folder: source and probe, without seeds, scores or where it runs."""
    return fingerprint(
        {
            "source": loaded.ref.fingerprint,
            "probe": _identifying(recipe),
            "inputs": reading_of(recipe),
            "task": recipe.task,
            "root_seed": recipe.seed,
            "holdout": _holdout(recipe, loaded),
        }
    )


def run_place(recipe: Recipe, loaded: Loaded, work: str | Path | None) -> Place:
    """Where a recipe's units go: as was asked for, else as the recipe says, else by its identity.

    Raises:
        UsageError: nodes of a cluster could not read the inputs that are streamed.
    """
    default = DEFAULT_RUNS / f"{recipe.name}-{run_fingerprint(recipe, loaded)[:12]}"
    place = open_place(work or recipe.run.work or default)
    check_stream(recipe, place)
    return place


def check_stream(recipe: Recipe, place: Place) -> None:
    """Refuse inputs in a run folder that workers cannot read files of.

    Raises:
        UsageError: they would be streamed from behind a URL.
    """
    if recipe.run.stream and recipe.run.runner == "ray" and not isinstance(place, LocalPlace):
        raise UsageError(
            f"run.stream reads inputs from the run folder, which workers cannot at {place.url}",
            hint="give a work folder on a disk that every node shares",
        )


def plan_run(
    recipe: Recipe, loaded: Loaded, scores: Mapping[str, Iterable[str]], records: list[Record]
) -> Plan:
    """Units for scores: each records what they read, and what costs nothing beside that.

    scores: {score: signals that it reads}.
    """
    from dataprune.probe.signals import recorded_anyway
    from dataprune.probe.tasks import TASKS

    assert recipe.task is not None
    wanted = sorted({signal for signals in scores.values() for signal in signals})
    also = recorded_anyway(TASKS.get(recipe.task), recipe.scores.mode, wanted)
    return plan_units(recipe, loaded, wanted, records, also=also)


def seconds_spent(records: Iterable[Record], source: str) -> list[float]:
    """Seconds of each finished unit of a source, by its fingerprint: what a budget counts.

    A source that has grown is another one, so that a nightly run has its budget each time.
    """
    return [r.run["seconds"] for r in records if r.identity.get("source") == source]


def plan_units(
    recipe: Recipe,
    loaded: Loaded,
    wanted: Iterable[str],
    records: list[Record],
    *,
    also: Iterable[str] = (),
) -> Plan:
    """Units for every seed of the recipe, less those the ledger can answer.

    wanted: signals that a unit must have recorded. also: what new units record besides.
    """
    done, units = {}, []
    reasons: dict[str, None] = {}
    wanted = sorted(set(wanted))
    for seed in range(recipe.seeds):
        least = _unit(recipe, loaded, wanted, seed)
        unit = _unit(recipe, loaded, sorted({*wanted, *also}), seed)
        record = _serving(least, unit.unit_id, records)
        if record is not None:
            done[seed] = record
        else:
            units.append(unit)
            reasons.update(dict.fromkeys(_why(least, records)))
    return Plan(done, units, list(reasons))


def shared_arrays(recipe: Recipe, loaded: Loaded) -> dict[str, Any]:
    """Arrays that every unit of a run reads: inputs, targets, what normalises them, folds."""
    from dataprune.probe.tasks import TASKS
    from dataprune.probe.tasks.regression import target_scale

    assert recipe.task is not None
    task = TASKS.get(recipe.task)
    shared = {**model_inputs(recipe, loaded), "targets": task.targets(loaded.labels, loaded.labels)}
    if recipe.task == "regression":
        shared["target_mean"], shared["target_std"] = target_scale(loaded.labels)
    if loaded.test is not None:
        shared["test_targets"] = task.targets(loaded.test.labels, loaded.labels)
    if holds_out_folds(recipe, loaded):
        for repeat in range(recipe.holdout.repeats or 1):
            shared[f"folds/{repeat}"] = folds_of(recipe, loaded, repeat)
    return shared


def model_inputs(recipe: Recipe, loaded: Loaded) -> dict[str, Any]:
    """What a model reads of the source and its test split, and what normalises it."""
    from dataprune.probe.data import statistics
    from dataprune.probe.models import find_model
    from dataprune.probe.text import encode

    if loaded.inputs is not None:
        mean, std = statistics(loaded.inputs)
        shared = {"inputs": loaded.inputs, "mean": mean, "std": std}
        return shared if loaded.test is None else {**shared, "test_inputs": loaded.test.inputs}
    assert loaded.texts is not None
    model, params = find_model(recipe.probe.model.chosen), recipe.probe.model.params
    ids = encode(model, params, loaded.texts, None)
    if loaded.test is None or loaded.test.texts is None:
        return {"inputs": ids}
    return {"inputs": ids, "test_inputs": encode(model, params, loaded.test.texts, ids.shape[1])}


def folds_of(recipe: Recipe, loaded: Loaded, repeat: int) -> Any:
    """Fold of each row, int64 (n,), in one repeat's partition; groups are kept together."""
    salt = (recipe.seed, repeat) if repeat else (recipe.seed,)
    strata = strata_of(loaded.labels)
    groups = groups_of(loaded)
    return stratified_folds(loaded.hashes, strata, recipe.holdout.folds, *salt, groups=groups)


def groups_of(loaded: Loaded) -> npt.NDArray[np.int64] | None:
    """The group of each row, int64 (n,); None where every row is alone."""
    if GROUP.name not in loaded.examples.schema.names:
        return None
    groups: npt.NDArray[np.int64] = loaded.examples.column(GROUP.name).to_numpy()
    return groups if (groups != np.arange(len(groups))).any() else None


def holds_out_folds(recipe: Recipe, loaded: Loaded) -> bool:
    """Whether each seed leaves a fold of the source untrained."""
    return recipe.holdout.repeats is not None or loaded.test is None


def _identifying(recipe: Recipe) -> dict[str, Any]:
    """The probe without its stop: where training ends changes nothing before it.

    How far a trace reaches is told by its checkpoints.
    """
    return recipe.probe.model_dump(mode="json", exclude={"stop_epoch"})


def reading_of(recipe: Recipe) -> dict[str, Any]:
    """What the model reads, besides the source's content: image policy, its own code."""
    return {
        "image": recipe.source.image.model_dump(mode="json"),
        "pillow": None if recipe.source.image == Images() else importlib.metadata.version("pillow"),
        "model_code": _code_sha256(recipe.probe.model.chosen),
    }


def _code_sha256(model: str) -> str | None:
    """Hash of the code that a model of the user's own is written in; None for one of ours.

    That is its module and every loaded one of the same package or folder. A file is hashed when it
    is first seen in this process, since that is the code which runs, edited later or not.
    """
    if ":" not in model:
        return None
    from dataprune.probe.models import find_model

    find_model(model)  # imports it, or says what is wrong
    module = model.partition(":")[0]
    home = Path(str(sys.modules[module].__file__)).parent
    package = module.partition(".")[0]
    files = {
        Path(str(loaded.__file__))
        for name, loaded in list(sys.modules.items())
        if getattr(loaded, "__file__", None)
        and (name.partition(".")[0] == package or Path(str(loaded.__file__)).parent == home)
    }
    return fingerprint(sorted(_first_seen_sha256(path) for path in files if path.suffix == ".py"))


@functools.cache
def _first_seen_sha256(path: Path) -> str:
    return sha256_file(path)


def _holdout(recipe: Recipe, loaded: Loaded) -> dict[str, Any]:
    """What is held out, for all seeds alike."""
    about: dict[str, Any] = {"kind": "test"}
    if loaded.test is not None:
        about["fingerprint"] = loaded.test.ref.fingerprint
    if holds_out_folds(recipe, loaded):
        about |= {
            "kind": "folds" if recipe.holdout.repeats is None else "cross-fitting",
            "folds": recipe.holdout.folds,
            "groups": _groups_sha256(loaded),
        }
    if recipe.holdout.repeats is not None:  # outputs are taken over the last epochs: the end counts
        about |= {"last": recipe.holdout.last, "epochs": recipe.probe.last_epoch}
    return about


def _groups_sha256(loaded: Loaded) -> str | None:
    groups = groups_of(loaded)
    if groups is None:
        return None
    return hashlib.sha256(groups.astype("<i8").tobytes()).hexdigest()


def _unit(recipe: Recipe, loaded: Loaded, signals: list[str], seed: int) -> Unit:
    from dataprune.probe.tasks import TASKS

    assert recipe.task is not None
    task = TASKS.get(recipe.task)
    repeat, fold = 0, None
    if holds_out_folds(recipe, loaded):
        repeat, fold = divmod(seed, recipe.holdout.folds)
    spec = {
        "probe": recipe.probe.model_dump(mode="json"),
        "task": recipe.task,
        "num_outputs": task.num_outputs(loaded.labels, len(loaded.ref.class_names)),
        "root_seed": recipe.seed,
        "seed": seed,
        "fold": fold,
        "repeat": repeat if recipe.holdout.repeats is not None else 0,
        "heldout_last": recipe.holdout.last if recipe.holdout.repeats is not None else 0,
        "signals": signals,
        "checkpoints": list(recipe.checkpoints),
        "mode": recipe.scores.mode,
        "window": recipe.scores.window,
        "removal": recipe.scores.removal,
        "layer": recipe.scores.layer,
        "features": recipe.probes_give_features,
        "threads": recipe.run.num_cpus,
        "workers": recipe.run.workers,
        "device": "cuda" if recipe.run.num_gpus > 0 else "cpu",
        "torch": importlib.metadata.version("torch"),
    }
    identity = {
        **{key: value for key, value in spec.items() if key not in _NOT_ALWAYS},
        "probe": _identifying(recipe),
        "inputs": reading_of(recipe),
        "entrypoint": ENTRYPOINT,
        "source": loaded.ref.fingerprint,
        "holdout": _holdout(recipe, loaded),
        "window": recipe.scores.window if _has_windows(signals) else None,
        **(_identifying_removal(recipe) if _has_removal(signals) else {}),
        **({"features": recipe.probe.last_epoch} if recipe.probes_give_features else {}),
        "dtype": "float32",
        "probe_version": PROBE_VERSION,
        "world_size": recipe.run.workers,
        "hash_version": HASH_VERSION,
        "trace_version": TRACE_VERSION,
    }
    return Unit(fingerprint(identity)[:32], ENTRYPOINT, identity, spec, f"seed {seed}")


def _has_windows(signals: list[str]) -> bool:
    from dataprune.probe.signals import SIGNALS

    return any(SIGNALS.get(name).state.per_window for name in signals)


def _has_removal(signals: list[str]) -> bool:
    from dataprune.probe.removal import OF_REMOVAL
    from dataprune.probe.signals import SIGNALS

    return any(OF_REMOVAL.intersection(SIGNALS.get(name).reads) for name in signals)


def _identifying_removal(recipe: Recipe) -> dict[str, Any]:
    """No layer where it is the last one, as in units of before another could be named."""
    layer = recipe.scores.layer
    return {"removal": recipe.scores.removal, **({} if layer is None else {"layer": layer})}


def _serving(least: Unit, unit_id: str, records: list[Record]) -> Record | None:
    """A finished unit that computed the same and recorded at least as much; `unit_id` first."""
    serving = [r for r in records if not _differences(least, r)]
    return min(serving, key=lambda r: (r.unit_id != unit_id, r.unit_id), default=None)


def _differences(unit: Unit, record: Record) -> list[str]:
    """Identity keys in which a finished unit does not serve for the wanted one."""
    keys = []
    for key in unit.identity.keys() | record.identity.keys():
        wanted, have = unit.identity.get(key), record.identity.get(key)
        serves = set(wanted) <= set(have) if key in _GROWING and have else wanted == have  # type: ignore[arg-type]
        decides = "removal" if key == "layer" else key  # a last layer is None, too
        if decides in {"window", "removal", "features"} and unit.identity.get(decides) is None:
            continue  # nothing that is wanted has it
        if not serves:
            keys.append(key)
    return sorted(keys)


def _why(unit: Unit, records: list[Record]) -> list[str]:
    """Why a finished unit of the same seed and source does not serve."""
    same = [
        r
        for r in records
        if all(r.identity.get(k) == unit.identity[k] for k in ("seed", "source", "entrypoint"))
    ]
    if not same:
        return []
    nearest = min(same, key=lambda r: (len(_differences(unit, r)), r.unit_id))
    reasons = []
    for key in _differences(unit, nearest):
        wanted, have = unit.identity.get(key), nearest.identity.get(key)
        if key in _GROWING:
            missing = sorted(set(wanted) - set(have or ()))  # type: ignore[arg-type]
            reasons.append(f"{key} {', '.join(map(str, missing))} were not recorded")
        elif key == "features":
            reasons.append(f"features were not recorded at epoch {wanted}")
        elif key == "probe":
            reasons.append("the probe recipe is another")
        else:
            reasons.append(f"{key} is {wanted}, was {have}")
    return [f"training again: {reason}" for reason in reasons]
