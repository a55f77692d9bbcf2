"""Writes `schemas/`: JSON Schemas and Parquet column tables of every contract, from the code.

`python -m dataprune.tables.schemas` writes them; with `--check` it fails if they have drifted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from dataprune.core.fingerprint import HASH_VERSION
from dataprune.core.recipe import Recipe
from dataprune.tables import (
    decisions,
    examples,
    features,
    flags,
    heldout,
    ledger,
    run_examples,
    scores,
    trace,
)
from dataprune.tables.lock import LockFile
from dataprune.tables.manifest import Manifest
from dataprune.tables.release import ReleaseFile
from dataprune.tables.yanked import YankedFile

_FOLDER = Path(__file__).resolve().parents[2] / "schemas"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def render() -> dict[str, str]:
    """Every schema file: {name: text}."""
    documents = {
        "recipe.v1.json": _json_schema(Recipe),
        "manifest.v1.json": _json_schema(Manifest),
        "lock.v1.json": _json_schema(LockFile),
        "release.v1.json": _json_schema(ReleaseFile),
        "yanked.v1.json": _json_schema(YankedFile),
        "scores.v1.json": _columns(
            scores.FORMAT,
            scores.FORMAT_VERSION,
            examples.SCHEMA,
            scores.DESCRIPTIONS,
            "a row per example of the source, in source order",
            {
                "status": "complete, or partial when units failed",
                "source": "the source, pinned: uri, files with sha256, columns, fingerprint",
                "recipe": "the recipe, without where and how it ran",
                "scores": "{column: score_spec}: epoch, seeds, mode, norm, source of the formula",
                "seeds": "seeds that the scores are a mean of",
                "unit_ids": "fingerprints of the finished units behind them",
                "reliability": "{score: split_half_spearman, reliability, kept_half_overlap}",
                "between_scores": "[{a, b, spearman, kept_half_overlap}] at the last checkpoint",
                "timing": "the held-out metric at each scored epoch, with its lower 95 % bound",
                "environment": "device class, threads and torch version the bits depend on",
                "flags": "{flag: rule, totals, warnings, unit_ids, missing, columns, sha256}; the "
                "sha256 of flags that were joined from a table of their own",
                "flag_overlap": "with several flags, rows by the verdicts of each two: "
                "[{a, b, both, only_a, only_b, neither}]",
                "removals": "with scores mem_*, per epoch: what was removed of which layer (null: "
                "the input of the last linear one), a mean over seeds, the localizability index, "
                "and whether it is above 0 in most",
                "features": "with features: file (beside the table), sha256, dimensions; of probes "
                "seeds and the epoch after which they were taken, else the source's column",
                "carried": "where rows keep scores of earlier revisions of the source: [{source: "
                "its fingerprint, unit_ids, rows}], newest first; the rest of the metadata speaks "
                "of the table's own units",
            },
        ),
        "trace.v1.json": _columns(
            trace.FORMAT,
            trace.FORMAT_VERSION,
            trace.SCHEMA,
            trace.DESCRIPTIONS,
            "a row per (checkpoint, example), one row group per checkpoint",
            {
                "mode": "eval: a clean pass at the end of the epoch; train: the training steps",
                "shard": "only in trace-e<checkpoint>-r<first>.parquet, of a unit of several "
                "workers: the rows first to stop - 1 at one checkpoint, with num_rows and "
                "checkpoints of the whole trace",
            },
        ),
        "heldout.v1.json": _columns(
            heldout.FORMAT,
            heldout.FORMAT_VERSION,
            heldout.SCHEMA,
            heldout.DESCRIPTIONS,
            "a row per example that the unit did not train on",
            {"fold": "the fold it is", "epochs": "how many last epochs the outputs are a mean of"},
        ),
        "features.v1.json": _columns(
            features.FORMAT,
            features.FORMAT_VERSION,
            features.SCHEMA,
            features.DESCRIPTIONS,
            "a row per example of the source, in source order",
            {
                "epoch": "after which they were taken",
                "source_fingerprint": "beside a score table: the source the rows belong to",
                "seeds": "beside a score table: whose features the vectors are a mean of",
                "unit_ids": "beside a score table: fingerprints of their units",
                "whitened": "beside a score table: {ridge}: its share of the mean variance",
                "column": "beside a score table, in place of the others: the source's own column",
            },
        ),
        "examples.v1.json": _columns(
            run_examples.FORMAT,
            run_examples.FORMAT_VERSION,
            examples.SCHEMA,
            {**examples.DESCRIPTIONS, "group": examples.GROUP_DESCRIPTION},
            "a row per example of the source, in source order",
            {"source": "uri, format, columns, class names, row count, fingerprint, files"},
        ),
        "ledger.v1.json": _columns(
            scores.FORMAT,
            scores.FORMAT_VERSION,
            pa.schema([*ledger.COLUMNS]),
            ledger.DESCRIPTIONS,
            "a row per trajectory, in the order of the input; a score table: first the columns of "
            "examples, then these, then numbers (float, null where a row has none)",
            {
                ledger.CURATION: "format and dialect with their evidence, preset, inputs with "
                "sha256, stages, codes, frontier_retention, decisions, warnings"
            },
        ),
        "flags.v1.json": _columns(
            flags.FORMAT,
            flags.FORMAT_VERSION,
            pa.schema([*flags.SCHEMA, *flags.OPTIONAL]),
            flags.DESCRIPTIONS,
            "a row per example of the source, in source order",
            flags.METADATA,
        ),
        "decisions.v1.json": _columns(
            decisions.FORMAT,
            decisions.FORMAT_VERSION,
            decisions.SCHEMA,
            decisions.DESCRIPTIONS,
            "a row per example of the source, kept or dropped",
            {
                "class_names": "names of the labels",
                "source_fingerprint": "the source the rows belong to",
                "selection": "strategy, score column, parameters, budget, seed",
            },
        ),
    }
    return {name: json.dumps(d, indent=2) + "\n" for name, d in documents.items()}


def drifted(folder: Path) -> list[str]:
    """Names of schema files that are not what the code says."""
    wanted = render()
    have = {path.name for path in folder.glob("*.json")}
    changed = {n for n in wanted if n not in have or (folder / n).read_text() != wanted[n]}
    return sorted(changed | (have - wanted.keys()))


def _json_schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"$schema": _DIALECT, **model.model_json_schema()}


def _columns(
    format_name: str,
    version: int,
    schema: pa.Schema,
    descriptions: dict[str, str],
    rows: str,
    metadata: dict[str, str],
) -> dict[str, Any]:
    """A Parquet table described in JSON: its columns, and the keys of its metadata."""
    fixed = [
        {
            "name": field.name,
            "type": str(field.type),
            "nullable": field.nullable,
            "description": descriptions[field.name],
        }
        for field in schema
    ]
    named = [
        {"name": name, "type": _type_in(text), "nullable": False, "description": text}
        for name, text in descriptions.items()
        if name not in schema.names
    ]
    return {
        "format": format_name,
        "format_version": version,
        "rows": rows,
        "columns": [*fixed, *named],
        "metadata": {
            "key": "dataprune",
            "encoding": "canonical JSON in the Parquet schema metadata",
            "keys": {
                "format": format_name,
                "format_version": str(version),
                **({"hash_version": str(HASH_VERSION)} if format_name == scores.FORMAT else {}),
                **metadata,
            },
        },
    }


def _type_in(description: str) -> str:
    """Columns that are not in every table begin their description with their type."""
    first = description.replace(",", ":").split(":")[0]
    return first if first == "int64" or "<" in first else "float"


def main(args: list[str]) -> int:
    """Write the schemas, or check them."""
    changed = drifted(_FOLDER)
    if "--check" in args:
        if changed:
            sys.stderr.write(f"schemas drifted: {', '.join(changed)}; run make schemas\n")
        return 1 if changed else 0
    _FOLDER.mkdir(exist_ok=True)
    for name, text in render().items():
        (_FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
