"""Files with trajectories -> one Parquet file of all of them and the ledger of what to keep."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dataprune.core.errors import SourceError
from dataprune.core.files import write_text
from dataprune.core.fingerprint import fingerprint
from dataprune.core.recipe import Columns, Recipe, SourceRecipe
from dataprune.core.recipe_curate import CurateRecipe
from dataprune.sources import open_source
from dataprune.sources._load import load_rows
from dataprune.tables.ledger import CURATION, KEEP, ledger_table, write_ledger
from dataprune.tables.manifest import SourceRef, portable_recipe
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
from dataprune.trajectories.dialects._detect import detect_dialect, share_in
from dataprune.trajectories.dialects._yaml import find_dialect
from dataprune.trajectories.evaluation import Evaluation
from dataprune.trajectories.formats._read import Reading, read_trajectories
from dataprune.trajectories.inspect import inspect
from dataprune.trajectories.rules._run import check_codes
from dataprune.trajectories.rules.length import num_tokens
from dataprune.trajectories.rules.secrets import SECRET
from dataprune.trajectories.settings import Input, without_counting, without_places
from dataprune.trajectories.table import INPUT, KEY
from dataprune.trajectories.votes import open_judge

ROWS, LEDGER, RETRY, PAIRS = "trajectories.parquet", "ledger.parquet", "retry.jsonl", "pairs.jsonl"

_FEW = 0.5  # of the turns: a dialect that was named and is rarely spoken

log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class Curation:
    """A curation's folder and what it came to.

    folder: of these settings, below that of the rows. rows: the Parquet file of all trajectories.
    ledger: the score table. told: what the ledger's metadata says under `curation`. spent: on the
    judge, now; empty without one.
    """

    folder: Path
    rows: Path
    ledger: Path
    decided: Decided
    told: dict[str, Any]
    warnings: list[str]
    spent: dict[str, Any] = field(default_factory=dict)


def curate_files(
    recipe: Recipe,
    source: Input,
    home: Path,
    *,
    ledger: str | Path | None = None,
    on_row: Callable[[int], None] = lambda _done: None,
) -> Curation:
    """Run every stage and write what came of it.

    recipe: with a `curate` section, its preset settled. home: folder that curations lie in: one for
        the same files read the same way, and in it one for each choice of other settings. ledger:
        where to write it, if not there.

    Raises:
        UsageError: a format, dialect, code or setting that cannot work.
        SourceError: a file cannot be read, or holds no trajectory.
    """
    target = None if ledger is None else check_table_path(ledger)
    settings = recipe.curate or CurateRecipe()
    check_codes(settings.rules, LATER_CODES)
    if settings.rules.length.tokenizer is not None:
        num_tokens("", settings.rules.length.tokenizer)
    warnings = []
    if source.curated is not None and settings != (bare := without_counting(settings)):
        settings = bare
        warnings.append(
            f"{source.curated} is curated: votes, judge and choice counted runs that are no longer "
            "there, and are not done again"
        )
    reading = read_trajectories(source.paths, settings.format, settings.group_by)
    dialect, why, doubt = _dialect(reading, settings)
    warnings += doubt
    log.info("format %s: %s", reading.format, reading.evidence)
    log.info("dialect %s: %s", dialect.name, why)
    if dialect.talks:
        log.info(
            "agents talk in it, so no answer is marked, and rules of answers say nothing: "
            "F_NO_ANSWER, X_PLACEHOLDER_ANSWER, X_REFUSAL, X_GIVE_UP"
        )
    above = home / f"{recipe.name}-{_reading_id(reading, dialect, settings)}"
    folder = above / _settings_id(settings, recipe.seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = above / ROWS
    against = settings.duplicates.against
    seen = inspect(
        reading.trajectories(),
        dialect,
        settings.rules,
        rows,
        evaluation=Evaluation.read(against, settings.duplicates.words) if against else None,
        on_row=on_row,
    )
    if not len(seen):
        raise SourceError("there is no trajectory in the files", hint="name others")
    judge = open_judge(settings, above, recipe.seed)
    decided = decide(seen, settings, recipe.seed, rows=rows, judge=judge)
    warnings += [*decided.warnings, *_found_but_kept(decided)]
    told = {
        "format": {"name": reading.format, "evidence": reading.evidence},
        "dialect": {"name": dialect.name, "evidence": why},
        "preset": settings.preset,
        "inputs": [entry.model_dump() for entry in reading.entries()],
        "warnings": warnings,
        **decided.told,
    }
    loaded = load_rows(open_source(_source(rows)), task=None)
    table = ledger_table(loaded.examples, ledger_columns(decided, seen), ledger_numbers(decided))
    path = target or folder / LEDGER
    ref = _portable(loaded.ref, rows)
    write_ledger(path, table, _meta(without_places(recipe), ref, decided, told))
    _write_lines(folder / RETRY, decided.retry)
    _write_lines(folder / PAIRS, [pair.row() for pair in decided.pairs])
    spent = {} if judge is None else asdict(judge.spent)
    return Curation(folder, rows, path, decided, told, warnings, spent)


def _dialect(reading: Reading, settings: CurateRecipe) -> tuple[Dialect, str, list[str]]:
    """The dialect, why it is that one, and whether few turns are in one that was named."""
    if settings.dialect is None:
        found = detect_dialect(reading.sample())
        return find_dialect(found.name), found.evidence, []
    dialect = find_dialect(settings.dialect)
    share = share_in(reading.sample(), dialect)
    doubt = f"{share or 0:.0%} of the first turns act or answer in the dialect {dialect.name}"
    few = share is not None and share < _FEW
    return dialect, "it was named", [f"{doubt}: leave --dialect out to have it found"] * few


def _found_but_kept(decided: Decided) -> list[str]:
    """Whether runs are kept in which a secret was found: a recipe may say that it is only noted."""
    kept = sum(
        word == KEEP and any(finding.code == SECRET for finding in found)
        for word, found in zip(decided.decisions, decided.findings, strict=True)
    )
    said = "a run is kept in which" if kept == 1 else f"{kept} runs are kept in which"
    return [f"{said} a key, a token or a password was found: look before you publish"] * bool(kept)


def _reading_id(reading: Reading, dialect: Dialect, settings: CurateRecipe) -> str:
    """Of what the file of all trajectories depends on."""
    files = [entry.sha256 for entry in reading.entries()]
    read = [files, reading.format, repr(dialect), settings.group_by, settings.rules.repair]
    return fingerprint(json.loads(json.dumps(read)))[:12]


def _settings_id(settings: CurateRecipe, seed: int) -> str:
    """Of what else the ledger depends on: two choices have two ledgers."""
    return fingerprint([settings.model_dump(mode="json"), seed])[:12]


def _source(rows: Path) -> SourceRecipe:
    columns = Columns(input=INPUT, key=KEY)
    return SourceRecipe(uri=str(rows), format="parquet", columns=columns)


def _portable(ref: SourceRef, rows: Path) -> SourceRef:
    """A source whose path tells nothing of this machine: it is found from any folder above."""
    path = Path(*rows.parts[-2:]) if rows.is_absolute() else rows
    return ref.model_copy(update={"uri": path.as_posix()})


def _meta(recipe: Recipe, ref: SourceRef, decided: Decided, told: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": "complete",
        "source": ref.model_dump(mode="json"),
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
