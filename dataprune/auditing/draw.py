"""The draw of an audit: which flags a person judges, in which order; any prefix of it is uniform.

The order depends on rows and seed alone, so a draw is made again from FLAGS.parquet whenever
verdicts come back, and a larger sample goes on where a smaller one ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import TableError, UsageError
from dataprune.core.files import read_json, write_json
from dataprune.core.fingerprint import fingerprint, mix64
from dataprune.tables.flags import FlagTable

FORMAT = "dataprune.audit"
FORMAT_VERSION = 1
DRAW_FILE = "audit.json"
POPULATIONS = {"likely": ("likely",), "flagged": ("likely", "suspect")}
MIN_SAMPLE, MAX_SAMPLE = 60, 240


@dataclass(frozen=True)
class Draw:
    """A uniform sample without replacement of the flagged rows.

    tier: a key of POPULATIONS. sample: how many rows were asked for. rows: those drawn, in order.
    """

    flags_sha256: str
    tier: str
    sample: int
    seed: int
    population: int
    rows: tuple[int, ...]

    @property
    def id(self) -> str:
        """What names this draw: 64 hex digits."""
        return fingerprint(self._told())

    @property
    def is_census(self) -> bool:
        """Whether every flag was drawn."""
        return len(self.rows) == self.population

    def as_json(self) -> dict[str, Any]:
        """What stands in audit.json."""
        head = {"format": FORMAT, "format_version": FORMAT_VERSION, "id": self.id}
        return {**head, **self._told()}

    def _told(self) -> dict[str, Any]:
        return {
            "flags_sha256": self.flags_sha256,
            "tier": self.tier,
            "sample": self.sample,
            "seed": self.seed,
            "population": self.population,
            "rows": list(self.rows),
        }


def population(flags: FlagTable, tier: str) -> npt.NDArray[np.int64]:
    """Rows of the flags to audit, ascending."""
    rows: npt.NDArray[np.int64] = flags.column("row")
    return rows[np.isin(flags.column("tier"), POPULATIONS[tier])]


def make_draw(flags: FlagTable, flags_sha256: str, *, tier: str, sample: int, seed: int) -> Draw:
    """Draw `sample` of the flags, or all if there are fewer.

    Raises:
        TableError: no row is flagged.
    """
    rows = population(flags, tier)
    if len(rows) == 0:
        others = len(population(flags, "flagged"))
        suspect = f"; {others} are suspect: audit them with --tier flagged" if others else ""
        raise TableError(
            f"there is nothing to audit: no row is {' or '.join(POPULATIONS[tier])}",
            hint=f"these flags call no label wrong{suspect}",
        )
    order = np.lexsort((rows, mix64(rows, "audit", seed)))
    drawn = tuple(int(row) for row in rows[order[:sample]])
    return Draw(flags_sha256, tier, sample, seed, len(rows), drawn)


def claim_folder(folder: Path, draw: Draw) -> None:
    """Write audit.json into a folder that is new, empty, or holds this very draw.

    It comes first, so that an audit that was interrupted is finished by the same command.

    Raises:
        UsageError: the folder holds another draw, or other files.
    """
    path = folder / DRAW_FILE
    if path.is_file():
        found = _id_in(path)
        if found == draw.id:
            return
        raise UsageError(
            f"{folder} holds another audit: other flags, tier, seed or sample",
            hint="name another folder; verdicts there may be somebody's work",
        )
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", hint="--out names a folder to write the audit to")
    if folder.is_dir() and any(not _is_left_over(entry) for entry in folder.iterdir()):
        raise UsageError(f"{folder} is not empty", hint="name a new folder, or an empty one")
    write_json(path, draw.as_json())


def _is_left_over(path: Path) -> bool:
    """Whether a file is what a killed writer of audit.json left; the next one sweeps it."""
    return path.name.startswith(f".{DRAW_FILE}.") and path.suffix == ".tmp"


def _id_in(path: Path) -> Any:
    """The draw that a folder's audit.json names; None if it is no such file."""
    try:
        data = read_json(path)
    except TableError:
        return None
    return data.get("id") if isinstance(data, dict) and data.get("format") == FORMAT else None
