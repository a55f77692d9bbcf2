"""Versions to make cards of, and cards taken apart."""

from __future__ import annotations

import html
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from markdown_it import MarkdownIt
from PIL import Image

from dataprune import flow
from dataprune.core.recipe import parse_recipe
from dataprune.publishing.card import Card
from dataprune.tables.manifest import read_manifest

NAMES = ["on", "1e3", 'a: b | "c"']


def build(tmp_path: Path, table: pa.Table, recipe: dict[str, Any], **how: Any) -> Path:
    """A version of random scores; returns its folder."""
    path = tmp_path / "a_b[c]" / "rows.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path)
    wanted = {
        "name": "random", "scores": {"names": ["random"]}, "seeds": 2, **recipe,
        "source": {"uri": str(path), **recipe.get("source", {})},
    }  # fmt: skip
    parsed = parse_recipe(wanted, where="tests")
    scores = flow.score(parsed, work=tmp_path / "work", out=tmp_path / "scores.parquet")
    how = {"tag": "v1", "keep": 0.5, "strategy": "hardest", **how}
    made = flow.prune(scores.path, name="d", store=tmp_path / "store", **how)
    assert made.folder is not None
    return made.folder


def card_of(folder: Path, **changes: Any) -> Card:
    """The card of a built version, as publishing makes it."""
    manifest = read_manifest(folder / "manifest.json")
    shards = {s: [folder / f.path for f in e.files] for s, e in manifest.result.splits.items()}
    splits: dict[str, Any] = {}
    if manifest.kind == "materialized":
        splits = {
            split: (
                sum(pq.read_metadata(p).num_rows for p in paths),
                sum(pq.read_table(p).nbytes for p in paths),
                [p.relative_to(folder).as_posix() for p in paths],
            )
            for split, paths in shards.items()
        }
    scores = pq.read_schema(folder / "scores.parquet")
    files = [p for paths in shards.values() for p in paths]
    card = Card(
        manifest=manifest,
        schema=pq.read_schema(files[0]) if files else pa.schema([("x", pa.float32())]),
        decisions_schema=pq.read_schema(folder / "decisions.parquet"),
        scores_schema=scores,
        repo="org/repo",
        splits=splits,
        download_size=sum(p.stat().st_size for p in files),
        license=None,
        source_datasets=[],
        scores_meta=json.loads(scores.metadata[b"dataprune"]),
        warnings=[],
    )
    return replace(card, **changes)


def header(text: str) -> dict[str, Any]:
    found = re.match(r"---\n(.*?\n)---\n\n# ", text, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = yaml.safe_load(found[1])
    return data


def page(text: str) -> str:
    """The card's Markdown as HTML, as the Hub would make it: raw HTML let through."""
    body = text.split("\n---\n", 1)[1]
    made: str = MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
    return made


def tables(text: str) -> list[list[list[str]]]:
    """Every table of the page: rows of cells, as a reader sees them."""
    found = []
    for table in re.findall(r"<table>(.*?)</table>", page(text), re.DOTALL):
        rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
        found.append([[html.unescape(re.sub("<[^>]*>", "", c)) for c in row] for row in cells])
    return found


def class_table(text: str) -> list[list[str]]:
    return next(t for t in tables(text) if t[0][0] == "class")


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), value, dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def pictures() -> pa.Table:
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=NAMES),
            "note|`x`": datasets.Value("string"),
        }
    )
    images = [{"bytes": png(i), "path": None} for i in range(30)]
    columns = {"image": images, "label": [i % 3 for i in range(30)], "note|`x`": ["n"] * 30}
    return pa.table(columns, schema=features.arrow_schema)


def numbers(label: pa.Array | None) -> pa.Table:
    rows = 30 if label is None else len(label)
    columns = {f"x{i}": np.random.default_rng(i).normal(size=rows) for i in range(3)}
    return pa.table(columns if label is None else {**columns, "label": label})


def put(folder: Path, text: str, to: Path) -> str:
    """A copy of the version as it lies in a repository, with its card."""
    shutil.copytree(folder, to)
    (to / "README.md").write_text(text, encoding="utf-8")
    return str(to)
