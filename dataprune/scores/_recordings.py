"""Recorded traces under a folder: which there are, of which seeds, and what is known of them.

A trace is `trace.parquet`, or the shards of a unit that several workers did (`tables/trace.py`).
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dataprune.core.errors import AlignmentError, UsageError
from dataprune.core.files import sha256_file
from dataprune.core.fingerprint import fingerprint
from dataprune.probe.recorder import LABEL
from dataprune.runs.ledger import Ledger
from dataprune.scores._removals import spec_of_removal
from dataprune.tables import trace as trace_table
from dataprune.tables.parquet import read_meta
from dataprune.tables.trace import TRACE, read_trace, trace_names


@dataclass(frozen=True)
class Recording:
    """One trace, before its signals are read.

    seed: as it was recorded, else the first that is free; None until then.
    about: what must be the same in all: task, mode, and what was trained.
    source: fingerprint of the source, for our own units; None for a Recorder's trace.
    kind: of our own units, what seeds of one run have in common.
    window: epochs in a window, if windows were recorded.
    removal: of our own units, what specs of scores mem_* tell.
    whole: of a Recorder's, the checkpoints before which every row was shown, held out or not.
    shards: of a unit that several workers did, all files of the trace; `path` is the first.
    """

    path: Path
    seed: int | None
    about: dict[str, Any]
    source: str | None
    checkpoints: tuple[int, ...]
    signals: tuple[str, ...]
    kind: str | None = None
    window: int | None = None
    whole: tuple[int, ...] = ()
    removal: dict[str, Any] | None = None
    shards: tuple[Path, ...] = ()

    @property
    def files(self) -> list[Path]:
        """The file, or all shards."""
        return list(self.shards or [self.path])

    @property
    def sha256(self) -> str:
        """Of the file; of shards, over their hashes."""
        hashes = [sha256_file(path) for path in self.files]
        return hashes[0] if len(hashes) == 1 else fingerprint(hashes)

    @property
    def is_own(self) -> bool:
        """Whether a unit of ours wrote it."""
        return self.source is not None


def find_recordings(folder: Path) -> list[Recording]:
    """Every trace under a folder, in the order of paths (10 after 2); attempts are left out.

    Raises:
        UsageError: there is none, or two of the same seed.
        TableError: a trace that is damaged.
    """
    beside: dict[Path, list[str]] = {}
    for path in folder.rglob("trace*.parquet"):
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            beside.setdefault(path.parent, []).append(path.name)
    traces = [
        [home / name for name in names]
        for home in sorted(beside, key=_natural)
        if (names := trace_names(beside[home]))
    ]
    if not traces:
        raise UsageError(
            f"there is no {TRACE} under {folder}",
            hint="give the folder that dataprune.Recorder wrote into, or the one above",
        )
    found = [_read_recording(paths) for paths in traces]
    taken = {recording.seed for recording in found}
    free = (seed for seed in itertools.count() if seed not in taken)
    found = [r if r.seed is not None else replace(r, seed=next(free)) for r in found]
    _check_one_training(found)
    by_seed: dict[int | None, Recording] = {}
    for recording in found:
        other = by_seed.setdefault(recording.seed, recording)
        if other is not recording:
            raise UsageError(
                f"{other.path} and {recording.path} are both of seed {recording.seed}",
                hint="leave one of them out, or record them with different seeds (or none)",
            )
    return found


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key by which seed2 comes before seed10."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", str(path))]


def _read_recording(paths: list[Path]) -> Recording:
    path = paths[0]
    meta = read_meta(
        path, format_name=trace_table.FORMAT, format_version=trace_table.FORMAT_VERSION
    )
    checkpoints = tuple(read_trace(paths, []).signals)
    names = pq.read_schema(path).names[len(trace_table.SCHEMA) :]
    signals = tuple(name for name in names if name != LABEL)
    if LABEL in names and {"task", "mode", "seed"} <= meta.keys():
        about = {"task": meta["task"], "mode": meta["mode"], "model": "external"}
        window, whole = meta.get("window"), tuple(meta.get("whole", ()))
        return Recording(
            path, meta["seed"], about, None, checkpoints, signals, window=window, whole=whole
        )
    record = Ledger(path.parents[2]).finished(path.parent.name) if len(path.parents) > 2 else None
    if record is None:
        raise AlignmentError(
            f"{path} holds no labels and no unit.json that is whole stands beside it, so nothing "
            "says which rows it is of",
            hint="give a folder that dataprune.Recorder wrote into, or a whole run folder",
        )
    identity = record.identity
    about = {
        "task": identity["task"],
        "mode": identity["mode"],
        "model": identity["probe"]["model"]["name"],
        "schedule_epochs": identity["probe"]["schedule_epochs"],
        "trained_in": identity["probe"]["precision"],
    }
    own = {"seed", "fold", "repeat", "signals", "checkpoints", "window"}
    kind = fingerprint({key: value for key, value in identity.items() if key not in own})
    basis = identity.get("removal")
    removal = None if basis is None else spec_of_removal(basis, identity.get("layer"))
    return Recording(
        path, identity["seed"], about, identity["source"], checkpoints, signals, kind,
        identity.get("window"), removal=removal, shards=tuple(paths) if len(paths) > 1 else (),
    )  # fmt: skip


def _check_one_training(found: list[Recording]) -> None:
    """Units of ours are seeds of one run, whatever folders they lie in."""
    for recording in found[1:]:
        if recording.kind != found[0].kind:
            raise UsageError(
                f"{found[0].path} and {recording.path} are of probes that were trained otherwise: "
                "recipe, root seed, folds or software differ",
                hint="scores are a mean over seeds of one training: score them apart",
            )
