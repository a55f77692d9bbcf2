"""A curated version in the format of another tool: JSON Lines, a trajectory a line."""

from __future__ import annotations

import json
from pathlib import Path

from dataprune.core.errors import UsageError
from dataprune.core.files import atomic_path
from dataprune.trajectories.formats import FORMATS
from dataprune.trajectories.table import SCHEMA, trajectory_of
from dataprune.versions.load import LoadedVersion


def export_version(version: LoadedVersion, format_name: str, path: Path) -> int:
    """Write a version's trajectories, in its order; returns how many.

    format_name: messages, sharegpt or atif.

    Raises:
        UsageError: the version holds no trajectories, the format is only read or cannot hold one of
            them, or something is at the path.
    """
    write = FORMATS.get(format_name).write
    writable = [name for name in FORMATS.names() if FORMATS.get(name).write is not None]
    if write is None:
        raise UsageError(f"{format_name} is only read", hint=f"write {', '.join(writable)}")
    if not set(SCHEMA.names) <= set(version.schema.names):
        raise UsageError(
            f"{version.name}@{version.tag} holds no trajectories",
            hint="only versions that dataprune curate made can be exported",
        )
    if path.exists():
        raise UsageError(f"{path} is there already", hint="name another file")
    done = 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as lines:
        for batch in version.arrow().to_batches(columns=SCHEMA.names, batch_size=256):
            for row in batch.to_pylist():
                made = write(trajectory_of(row, row["traj_id"]))
                lines.write(json.dumps(made, ensure_ascii=False, sort_keys=True) + "\n")
                done += 1
    return done
