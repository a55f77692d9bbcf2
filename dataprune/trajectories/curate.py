"""Files with trajectories -> one Parquet file of all of them and the ledger of what to keep."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataprune.core.errors import SourceError
from dataprune.core.files import write_text
from dataprune.core.fingerprint import fingerprint
from dataprune.core.recipe import Columns, Recipe, SourceRecipe
from dataprune.core.recipe_curate import CurateRecipe
from dataprune.sources import open_source
from dataprune.sources._load import Loaded, load_rows
from dataprune.tables.ledger import CURATION, ledger_table, write_ledger
from dataprune.tables.manifest import portable_recipe
from dataprune.tables.scores import check_table_path
from dataprune.trajectories.decide import (
    LATER_CODES,
    Decided,
    decide,
    ledger_columns,
    ledger_numbers,
    score_specs,
)
from dataprune.trajectories.dialects import Dialect
from dataprune.trajectories.dialects._detect import detect_dialect
from dataprune.trajectories.dialects._yaml import find_dialect
from dataprune.trajectories.evaluation import Evaluation
from dataprune.trajectories.formats._read import Reading, read_trajectories
from dataprune.trajectories.inspect import inspect
from dataprune.trajectories.rules._run import check_codes
from dataprune.trajectories.settings import Input, without_counting
from dataprune.trajectories.table import INPUT, KEY
from dataprune.trajectories.votes import open_judge

ROWS, LEDGER, RETRY, PAIRS = "trajectories.parquet", "ledger.parquet", "retry.jsonl", "pairs.jsonl"

log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class Curation:
    """A curation's folder and what it came to.

    rows: the Parquet file of all trajectories. ledger: the score table beside it. told: what the
    ledger's metadata says under `curation`.
    """

    folder: Path
    rows: Path
    ledger: Path
    decided: Decided
    told: dict[str, Any]
    warnings: list[str]


def curate_files(
    recipe: Recipe,
    source: Input,
    home: Path,
    *,
    ledger: str | Path | None = None,
    on_row: Callable[[int], None] = lambda _done: None,
) -> Curation:
    """Run every stage and write what came of it.

    recipe: with a `curate` section, its preset settled. home: folder that curations lie in, one for
        the same files read the same way. ledger: where to write it, if not there.

    Raises:
        UsageError: a format, dialect, code or setting that cannot work.
        SourceError: a file cannot be read, or holds no trajectory.
    """
    target = None if ledger is None else check_table_path(ledger)
    settings = recipe.curate or CurateRecipe()
    check_codes(settings.rules, LATER_CODES)
    if source.curated is not None:
        settings = without_counting(settings)
        log.info(
            "%s is curated: votes, judge and choice counted runs that are no longer there, and are "
            "not done again",
            source.curated,
        )
    reading = read_trajectories(source.paths, settings.format, settings.group_by)
    dialect, why = _dialect(reading, settings)
    log.info("format %s: %s", reading.format, reading.evidence)
    log.info("dialect %s: %s", dialect.name, why)
    folder = home / f"{recipe.name}-{_curation_id(reading, dialect, settings)}"
    folder.mkdir(parents=True, exist_ok=True)
    against = settings.duplicates.against
    seen = inspect(
        reading.trajectories(),
        dialect,
        settings.rules,
        folder / ROWS,
        evaluation=Evaluation.read(against, settings.duplicates.words) if against else None,
        on_row=on_row,
    )
    if not len(seen):
        raise SourceError("there is no trajectory in the files", hint="name others")
    judge = open_judge(settings, folder, recipe.seed)
    decided = decide(seen, settings, recipe.seed, rows=folder / ROWS, judge=judge)
    told = {
        "format": {"name": reading.format, "evidence": reading.evidence},
        "dialect": {"name": dialect.name, "evidence": why},
        "preset": settings.preset,
        "inputs": [entry.model_dump() for entry in reading.entries()],
        "warnings": decided.warnings,
        **decided.told,
    }
    loaded = load_rows(open_source(_source(folder)), task=None)
    table = ledger_table(loaded.examples, ledger_columns(decided, seen), ledger_numbers(decided))
    path = target or folder / LEDGER
    write_ledger(path, table, _meta(recipe, loaded, decided, told))
    _write_lines(folder / RETRY, decided.retry)
    _write_lines(folder / PAIRS, [pair.row() for pair in decided.pairs])
    return Curation(folder, folder / ROWS, path, decided, told, decided.warnings)


def _dialect(reading: Reading, settings: CurateRecipe) -> tuple[Dialect, str]:
    if settings.dialect is not None:
        return find_dialect(settings.dialect), "it was named"
    found = detect_dialect(reading.sample())
    return find_dialect(found.name), found.evidence


def _curation_id(reading: Reading, dialect: Dialect, settings: CurateRecipe) -> str:
    """Of what the file of all trajectories depends on."""
    files = [entry.sha256 for entry in reading.entries()]
    read = [files, reading.format, repr(dialect), settings.group_by, settings.rules.repair]
    return fingerprint(json.loads(json.dumps(read)))[:12]


def _source(folder: Path) -> SourceRecipe:
    columns = Columns(input=INPUT, key=KEY)
    return SourceRecipe(uri=str(folder / ROWS), format="parquet", columns=columns)


def _meta(recipe: Recipe, loaded: Loaded, decided: Decided, told: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": "complete",
        "source": loaded.ref.model_dump(mode="json"),
        "recipe": portable_recipe(recipe),
        "scores": score_specs(decided),
        "seeds": [],
        "unit_ids": [],
        "reliability": {},
        "between_scores": [],
        "timing": [],
        "environment": {},
        CURATION: told,
    }


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """JSON Lines; no file where there are no rows."""
    if rows:
        write_text(path, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))
    else:
        path.unlink(missing_ok=True)
