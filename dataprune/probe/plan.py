"""From a recipe and loaded examples to units: what each computes, and which are done already.

A unit's identity holds all that its trace depends on. Units that recorded more signals or more
checkpoints than are wanted serve as they are.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.core.fingerprint import HASH_VERSION, fingerprint
from dataprune.core.protocols import Unit
from dataprune.core.recipe import Recipe
from dataprune.probe.folds import stratified_folds
from dataprune.runs.ledger import Record
from dataprune.sources._load import Loaded
from dataprune.tables.trace import FORMAT_VERSION as TRACE_VERSION

ENTRYPOINT = "dataprune.probe.unit:probe_unit"
# Raise it with any change to what a probe computes: data, training, tasks, signals, models.
PROBE_VERSION = 1
_GROWING = ("signals", "checkpoints")


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
            "task": recipe.task,
            "root_seed": recipe.seed,
            "holdout": _holdout(recipe, loaded),
        }
    )


def plan_units(
    recipe: Recipe, loaded: Loaded, signals: Iterable[str], records: list[Record]
) -> Plan:
    """Units for every seed of the recipe, less those the ledger can answer."""
    done, units = {}, []
    reasons: dict[str, None] = {}
    for seed in range(recipe.seeds):
        unit = _unit(recipe, loaded, sorted(signals), seed)
        record = _serving(unit, records)
        if record is not None:
            done[seed] = record
        else:
            units.append(unit)
            reasons.update(dict.fromkeys(_why(unit, records)))
    return Plan(done, units, list(reasons))


def shared_arrays(recipe: Recipe, loaded: Loaded) -> dict[str, Any]:
    """Arrays that every unit of a run reads."""
    from dataprune.probe.data import statistics

    assert loaded.inputs is not None
    mean, std = statistics(loaded.inputs)
    shared = {"inputs": loaded.inputs, "labels": loaded.labels, "mean": mean, "std": std}
    if loaded.test is not None:
        assert loaded.test.inputs is not None
        return {**shared, "test_inputs": loaded.test.inputs, "test_labels": loaded.test.labels}
    hashes = loaded.examples.column("content_hash").to_numpy()
    return {**shared, "folds": stratified_folds(hashes, loaded.labels, recipe.folds, recipe.seed)}


def check_trainable(recipe: Recipe, loaded: Loaded) -> None:
    """Refuse what no unit could train, before any is started.

    Raises:
        UsageError: text input, one class, too few rows or seeds, augmentation without effect,
            unknown model or parameters.
    """
    from dataprune.core.params import check_params
    from dataprune.probe.models import MODELS
    from dataprune.probe.unit import model_shape

    check_readable(loaded)
    assert loaded.inputs is not None
    present = len(np.unique(loaded.labels))
    if present < 2:
        raise UsageError(f"source {loaded.ref.uri} has {present} class; a probe needs two or more")
    if loaded.test is None:
        _check_folds(recipe, loaded)
    _check_augment(recipe, loaded)
    model = MODELS.get(recipe.probe.model.chosen)
    check_params(model.build, recipe.probe.model.params, what=f"model {model.name}")
    shape = model_shape(loaded.inputs.shape)
    try:
        model.build(shape, len(loaded.ref.class_names), **recipe.probe.model.params)
    except (TypeError, ValueError, RuntimeError) as exc:
        raise UsageError(
            f"model {model.name} cannot be built with {recipe.probe.model.params}: {exc}"
        ) from exc


def check_readable(loaded: Loaded) -> None:
    """Refuse inputs that no probe reads.

    Raises:
        UsageError: the input is text.
    """
    if loaded.inputs is None:
        raise UsageError(
            f"column {loaded.ref.columns.input} is text, and no probe model reads text yet",
            hint="use images or numeric features; only --score random takes text",
        )


def _check_folds(recipe: Recipe, loaded: Loaded) -> None:
    if recipe.seeds < 2:
        raise UsageError(
            "one seed is not enough without a test split: each seed leaves its own fold unscored",
            hint="use --seeds 2 or more",
        )
    if len(loaded.labels) < 2 * recipe.folds:
        raise UsageError(
            f"source {loaded.ref.uri} has {len(loaded.labels)} rows, too few for "
            f"{recipe.folds} folds",
            hint="lower folds in the recipe, or give a test split",
        )


def _check_augment(recipe: Recipe, loaded: Loaded) -> None:
    assert loaded.inputs is not None
    augment = recipe.probe.augment
    if not (augment.crop or augment.flip):
        return
    if loaded.inputs.ndim != 4:
        raise UsageError(
            "probe.augment crops and flips images, and the input is feature vectors",
            hint="remove probe.augment from the recipe",
        )
    smallest = min(loaded.inputs.shape[1:3])
    if augment.crop >= smallest:
        raise UsageError(
            f"probe.augment.crop is {augment.crop} pixels and the images are {smallest} wide",
            hint="use a smaller crop",
        )


def _identifying(recipe: Recipe) -> dict[str, Any]:
    """The probe without its stop: where training ends changes nothing before it.

    How far a trace reaches is told by its checkpoints.
    """
    return recipe.probe.model_dump(mode="json", exclude={"stop_epoch"})


def _holdout(recipe: Recipe, loaded: Loaded) -> dict[str, Any]:
    if loaded.test is not None:
        return {"kind": "test", "fingerprint": loaded.test.ref.fingerprint}
    return {"kind": "folds", "folds": recipe.folds}


def _unit(recipe: Recipe, loaded: Loaded, signals: list[str], seed: int) -> Unit:
    device = "cuda" if recipe.run.num_gpus > 0 else "cpu"
    spec = {
        "probe": recipe.probe.model_dump(mode="json"),
        "task": recipe.task,
        "num_classes": len(loaded.ref.class_names),
        "root_seed": recipe.seed,
        "seed": seed,
        "fold": None if loaded.test is not None else seed % recipe.folds,
        "signals": signals,
        "checkpoints": list(recipe.checkpoints),
        "threads": recipe.run.num_cpus,
        "device": device,
        "torch": importlib.metadata.version("torch"),
    }
    identity = {
        **spec,
        "probe": _identifying(recipe),
        "entrypoint": ENTRYPOINT,
        "source": loaded.ref.fingerprint,
        "holdout": _holdout(recipe, loaded),
        "mode": "eval",
        "dtype": "float32",
        "probe_version": PROBE_VERSION,
        "world_size": 1,
        "hash_version": HASH_VERSION,
        "trace_version": TRACE_VERSION,
    }
    return Unit(fingerprint(identity)[:32], ENTRYPOINT, identity, spec, f"seed {seed}")


def _serving(unit: Unit, records: list[Record]) -> Record | None:
    """A finished unit that computed the same and recorded at least as much; the id itself first."""
    serving = [r for r in records if not _differences(unit, r)]
    return min(serving, key=lambda r: (r.unit_id != unit.unit_id, r.unit_id), default=None)


def _differences(unit: Unit, record: Record) -> list[str]:
    """Identity keys in which a finished unit does not serve for the wanted one."""
    keys = []
    for key in unit.identity.keys() | record.identity.keys():
        wanted, have = unit.identity.get(key), record.identity.get(key)
        serves = set(wanted) <= set(have) if key in _GROWING and have else wanted == have  # type: ignore[arg-type]
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
        elif key == "probe":
            reasons.append("the probe recipe is another")
        else:
            reasons.append(f"{key} is {wanted}, was {have}")
    return [f"training again: {reason}" for reason in reasons]
