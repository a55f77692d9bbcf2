"""The card of a version: `datasets` loads by it, people read it, and nothing in data breaks it."""

from __future__ import annotations

import html
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.exceptions import DatasetsError
from PIL import Image

from dataprune import flow
from dataprune.publishing.card import render_card
from dataprune.tables.manifest import Manifest, ParentRef
from tests.publishing.cards import (
    NAMES,
    build,
    card_of,
    class_table,
    header,
    numbers,
    page,
    pictures,
    put,
    tables,
)


def test_datasets_load_what_the_card_says(
    folder: Path, tmp_path: Path, cache: dict[str, str]
) -> None:
    repository = put(folder, render_card(card_of(folder)), tmp_path / "repo")
    rows = datasets.load_dataset(repository, **cache)
    assert set(rows) == {"train"}
    written = pq.read_table(next((folder / "data").glob("*.parquet")))
    assert rows["train"]["label"][:] == written.column("label").to_pylist()
    assert rows["train"].features == datasets.Features.from_arrow_schema(pictures().schema)
    first = written.column("image")[0].as_py()["bytes"]
    assert rows["train"][0]["image"].getpixel((0, 0)) == Image.open(io.BytesIO(first)).getpixel(
        (0, 0)
    )
    for name in ("decisions", "scores"):
        own = datasets.load_dataset(repository, name, split="train", **cache)
        table = pq.read_table(folder / f"{name}.parquet")
        assert own.column_names == table.column_names
        assert own.features["label"] == datasets.ClassLabel(names=NAMES)
        assert own.with_format("arrow")[:].to_pylist() == table.to_pylist()


def test_a_wrong_number_of_rows_is_caught(
    folder: Path, tmp_path: Path, cache: dict[str, str]
) -> None:
    text = render_card(card_of(folder)).replace("num_examples: 15", "num_examples: 14", 1)
    repository = put(folder, text, tmp_path / "repo")
    with pytest.raises(DatasetsError):
        datasets.load_dataset(repository, **cache)


def test_a_missing_shard_is_caught(folder: Path, tmp_path: Path, cache: dict[str, str]) -> None:
    repository = put(folder, render_card(card_of(folder)), tmp_path / "repo")
    for path in Path(repository).glob("data/*"):
        path.rename(path.with_name("train-00000-of-00002.parquet"))
    with pytest.raises(FileNotFoundError):
        datasets.load_dataset(repository, **cache)


def test_of_a_view_plain_datasets_get_the_decisions(tmp_path: Path, cache: dict[str, str]) -> None:
    folder = build(tmp_path, pictures(), {}, view=True)
    text = render_card(card_of(folder))
    repository = put(folder, text, tmp_path / "repo")
    with pytest.raises(ValueError, match="Config name is missing"):  # never decisions as if rows
        datasets.load_dataset(repository, split="train", **cache)
    assert len(datasets.load_dataset(repository, "decisions", split="train", **cache)) == 30
    scores = datasets.load_dataset(repository, "scores", split="train", **cache)
    assert "random" in scores.column_names
    assert [c["config_name"] for c in header(text)["configs"]] == ["decisions", "scores"]
    assert "This is a view." in text
    assert "A view works only as long as its source is there" in text
    assert 'load_dataset("org/repo", revision="v1")' not in text
    assert "--view" in text
    assert str(tmp_path) not in text


def test_the_header_names_files_sizes_and_features(folder: Path) -> None:
    card = card_of(folder, license="mit", source_datasets=["org/base"])
    data = header(render_card(card))
    shard = "data/train-00000-of-00001.parquet"
    assert data["configs"] == [
        {"config_name": "default", "default": True,
         "data_files": [{"split": "train", "path": [shard]}]},
        {"config_name": "decisions",
         "data_files": [{"split": "train", "path": ["decisions.parquet"]}]},
        {"config_name": "scores", "data_files": [{"split": "train", "path": ["scores.parquet"]}]},
    ]  # fmt: skip
    default, decisions, scores = data["dataset_info"]
    assert default["features"][1] == {
        "name": "label",
        "dtype": {"class_label": {"names": dict(zip("012", NAMES, strict=True))}},
    }
    assert default["splits"] == [
        {"name": "train", "num_bytes": card.splits["train"][1], "num_examples": 15}
    ]
    assert default["download_size"] == (folder / shard).stat().st_size
    assert decisions["splits"][0]["num_examples"] == scores["splits"][0]["num_examples"] == 30
    assert data["license"] == "mit"
    assert data["source_datasets"] == ["org/base"]
    assert data["size_categories"] == ["n<1K"]
    assert data["task_categories"] == ["image-classification"]
    assert data["tags"] == ["dataprune", "data-pruning", "hardest"]
    assert data["pretty_name"] == "d@v1"
    assert header(render_card(card_of(folder))).keys() == data.keys() - {
        "license",
        "source_datasets",
    }


def test_the_body_tells_what_it_is_and_how_to_get_it(folder: Path, tmp_path: Path) -> None:
    warning = f"look at {tmp_path}/x.yaml, https://example.org/a/b and half/half | <b>"
    text = render_card(card_of(folder, warnings=[warning]))
    shown = html.unescape(re.sub("<[^>]*>", "", page(text)))
    for told in (
        "d@v1",
        "15 of the 30 rows (50.0%) of rows.parquet, split train",
        'dataprune.load("org/repo", "v1")',
        'load_dataset("org/repo", revision="v1")',
        "look at x.yaml, https://example.org/a/b and half/half | <b>",
        "Hard is not mislabelled",
        "in the training set",
        "(membership)",
        "refuses files that differ",
        "dataprune prune scores.parquet --keep 0.5 --by random --strategy hardest --seed 0",
        "--class-balance none --name d --tag v1",
        "Only their last part is shown",
        "It is a control: it says nothing about the rows.",
        "Number of seeds: 2",
    ):
        assert told in shown, told
    assert str(tmp_path) not in text
    for heading in ("Load", "Scores", "What was dropped", "Limits", "Privacy", "Integrity"):
        assert f"<h2>{heading}</h2>" in page(text)


def test_tables_reconcile(folder: Path) -> None:
    card = card_of(folder)
    text = render_card(card)
    rows = class_table(text)[1:]
    assert [row[0] for row in rows] == NAMES
    for name, source, kept, dropped, share in rows:
        counts = card.manifest.classes[name]
        assert (int(source), int(kept), int(dropped)) == (10, counts.kept, counts.dropped)
        assert share == f"{counts.kept / 10:.1%}"
    reasons = next(t for t in tables(text) if t[0][0] == "reason")[1:]
    assert {code: int(count) for code, count, _ in reasons} == card.manifest.reasons
    shas = {cell for table in tables(text) for row in table for cell in row if len(cell) == 64}
    assert {card.manifest.decisions.sha256, card.manifest.scores.file.sha256} <= shas


def test_a_probe_tells_its_reliability_and_accuracy(tiny_scores: Path, tmp_path: Path) -> None:
    made = flow.prune(tiny_scores, name="d", tag="v1", keep=0.5, store=tmp_path, control=True)
    assert made.folder is not None
    text = render_card(card_of(made.folder))
    assert "Paul et al. 2021, Definition 2.3" in text
    assert re.search(r"correlation of 0\.\d{3} \(split-half", text)
    assert re.search(
        r"Held-out accuracy of the probe: 0\.\d{3} at epoch 2, 0\.\d+ at epoch 4", text
    )
    assert "lost most" in text
    assert "Higher means harder." in text
    assert header(text)["task_categories"] == ["image-classification"]
    control = render_card(card_of(made.folder.parent / "v1-control"))
    assert "**This is a control.** It has as many rows as d@v1" in control
    assert "No score decided here" in control
    assert "as the card of d@v1 says, with --control added" in control
    assert "The classes have about the shares" not in control


@pytest.mark.parametrize(
    ("recipe", "label", "category", "task"),
    [
        ({"task": "regression"}, pa.array(np.arange(30) / 7), "tabular-regression", "regression"),
        ({"task": "multilabel"}, pa.array([["a"], ["a", "b"], []] * 10), "tabular-classification",
         "multilabel"),
        ({"task": None}, None, None, None),
    ],
)  # fmt: skip
def test_other_tasks(
    tmp_path: Path, recipe: dict[str, Any], label: Any, category: str | None, task: str | None
) -> None:
    folder = build(tmp_path, numbers(label), recipe)
    text = render_card(card_of(folder))
    assert header(text).get("task_categories") == ([category] if category else None)
    assert ("A row of several classes counts in each" in text) == (task == "multilabel")
    assert ("no classes to count by" in text) == (task != "multilabel")
    assert "lost most" not in text
    repository = put(folder, text, tmp_path / "repo")
    cached = {"cache_dir": str(tmp_path / "cache"), "split": "train"}
    assert len(datasets.load_dataset(repository, **cached)) == 15
    decisions = datasets.load_dataset(repository, "decisions", **cached)
    assert (
        decisions.with_format("arrow")[:].to_pylist()
        == pq.read_table(folder / "decisions.parquet").to_pylist()
    )


def test_the_same_version_gives_the_same_bytes(folder: Path) -> None:
    card = card_of(folder)
    again = replace(card, manifest=Manifest.model_validate(card.manifest.model_dump(mode="json")))
    assert render_card(card) == render_card(again)


@pytest.mark.parametrize(
    ("rows", "category"),
    [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10_000, "10K<n<100K"), (999_999, "100K<n<1M"),
     (10**9, "1B<n<10B"), (10**12, "n>1T")],
)  # fmt: skip
def test_size_categories(folder: Path, rows: int, category: str) -> None:
    card = card_of(folder)
    chosen = card.manifest.selection.model_copy(update={"rows_out": rows})
    manifest = card.manifest.model_copy(update={"selection": chosen})
    splits = {"train": (rows, 1, ["data/x.parquet"])}
    assert header(render_card(replace(card, manifest=manifest, splits=splits)))[
        "size_categories"
    ] == [category]


def test_what_a_manifest_may_also_say(folder: Path) -> None:
    card = card_of(folder)
    spec = {**card.manifest.scores.spec, "status": "experimental"}
    scores = card.manifest.scores.model_copy(
        update={"status": "partial", "spec": spec, "unit_ids": ["of another table"]}
    )
    chosen = card.manifest.selection.model_copy(
        update={"params": {"offset": 0.1}, "min_per_class": 2, "max_per_group": 1, "keep": 15}
    )
    update = {"scores": scores, "selection": chosen}
    meta = {**card.scores_meta, "timing": [{"epoch": 1, "metric": "accuracy", "value": 0.5}]}
    manifest = card.manifest.model_copy(update=update)
    text = render_card(replace(card, manifest=manifest, scores_meta=meta))
    assert "**Partial**" in text
    assert "experimental" in text
    assert "Held-out" not in text
    assert "--with OTHER-SCORES.parquet" in text
    assert "--param 'offset=0.1'" in text or "--param offset=0.1" in text
    assert "--keep 15 " in text
    assert "--min-per-class 2 --max-per-group 1" in text


def test_parents_are_listed(folder: Path) -> None:
    card = card_of(folder)
    parent = ParentRef(version="v0", manifest_sha256="0" * 64, relation="rollback")
    manifest = card.manifest.model_copy(update={"parents": [parent]})
    text = render_card(replace(card, manifest=manifest))
    assert ["v0", "rollback", "0" * 64] in [row for table in tables(text) for row in table]


def test_a_list_of_numbers_may_be_anything(folder: Path) -> None:
    card = card_of(folder)
    columns = card.manifest.source.columns.model_copy(update={"input": "x"})
    source = card.manifest.source.model_copy(update={"kind": "features", "columns": columns})
    manifest = card.manifest.model_copy(update={"source": source})
    schema = pa.schema([("x", pa.list_(pa.float32())), ("label", pa.int64())])
    assert "task_categories" not in header(
        render_card(replace(card, manifest=manifest, schema=schema))
    )


def test_scores_of_another_tool_say_so(folder: Path) -> None:
    card = card_of(folder)
    spec = {"score": "x", "higher_is": "harder", "status": "imported", "source": "their`s.csv"}
    scores = card.manifest.scores.model_copy(update={"spec": spec, "reliability": {}})
    text = render_card(replace(card, manifest=card.manifest.model_copy(update={"scores": scores})))
    assert "another tool's file, their&#96;s.csv" in text
    assert "dataprune scores import" in text
    assert "Reliability: unknown" in text
