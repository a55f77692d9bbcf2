"""Small sources of every format, in the layouts people have, for the contract suite."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataprune.core.recipe import Columns, SourceRecipe
from tests.conftest import blobs, png

HUB_SHARDS = ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001")
FEATURES = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a", "b"]}}


def pictures(seed: int, num_rows: int = 10) -> list[bytes]:
    """Encoded images of 6 x 5 pixels."""
    rng = np.random.default_rng(seed)
    return [png(p) for p in rng.integers(0, 256, (num_rows, 6, 5), dtype=np.uint8)]


def image_table(seed: int, note: str) -> pa.Table:
    """Ten images in two classes, with Hugging Face features."""
    return pa.table(
        {
            "image": [{"bytes": data, "path": None} for data in pictures(seed)],
            "label": pa.array([0, 1] * 5, pa.int64()),
            "note": [f"{note} {i}" for i in range(10)],
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": FEATURES}})})


def tar_of(path: Path, members: list[tuple[str, bytes]]) -> Path:
    """Write a tar of members, in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def digits(folder: Path) -> SourceRecipe:
    """The digits need no file."""
    return SourceRecipe(uri="digits")


def parquet_features(folder: Path) -> SourceRecipe:
    """One file of numeric lists, with a key."""
    pq.write_table(blobs(60), folder / "blobs.parquet", row_group_size=25)
    return SourceRecipe(uri=str(folder / "blobs.parquet"), columns=Columns(key="id"))


def parquet_text(folder: Path) -> SourceRecipe:
    """One file of texts."""
    table = pa.table({"text": [f"text {i}" for i in range(20)], "label": ["été", "b"] * 10})
    pq.write_table(table, folder / "texts.parquet")
    return SourceRecipe(uri=str(folder / "texts.parquet"))


def parquet_hub(folder: Path) -> SourceRecipe:
    """Shards of images in a folder laid out like a Hub dataset, with a test split."""
    (folder / "data").mkdir()
    for i, shard in enumerate(HUB_SHARDS):
        pq.write_table(image_table(i, shard), folder / "data" / f"{shard}.parquet")
    return SourceRecipe(uri=str(folder))


def parquet_url(folder: Path) -> SourceRecipe:
    """A folder of a file system that is not this machine's, with a test split."""
    import fsspec

    memory = fsspec.filesystem("memory")
    for i, name in enumerate(("train", "test")):
        with memory.open(f"/{folder.name}/{name}.parquet", "wb") as file:
            pq.write_table(blobs(30, seed=i), file)
    return SourceRecipe(uri=f"memory://{folder.name}")


def arrow_file(folder: Path) -> SourceRecipe:
    """One Feather file in several batches, with a key."""
    table = blobs(60)
    with pa.ipc.new_file(folder / "blobs.feather", table.schema) as writer:
        writer.write_table(table, max_chunksize=25)
    return SourceRecipe(uri=str(folder / "blobs.feather"), columns=Columns(key="id"))


def arrow_streams(folder: Path) -> SourceRecipe:
    """Shards of images in the stream format, with a test split."""
    for i, shard in enumerate(HUB_SHARDS):
        table = image_table(i, shard)
        with pa.ipc.new_stream(folder / f"{shard}.arrow", table.schema) as writer:
            writer.write_table(table)
    return SourceRecipe(uri=str(folder))


def csv_text(folder: Path) -> SourceRecipe:
    """A CSV file of texts with commas, quotes and line breaks, beside its test split."""
    rows = [f'"text {i}, ""quoted""\nand on",{"été" if i % 2 else "b"},id-{i}\n' for i in range(20)]
    (folder / "train.csv").write_text("text,label,id\n" + "".join(rows))
    (folder / "test.csv").write_text("text,label,id\n" + "".join(rows[:6]))
    return SourceRecipe(uri=str(folder), columns=Columns(key="id"))


def csv_numbers(folder: Path) -> SourceRecipe:
    """A gzipped TSV file of numbers, whose input is several columns."""
    rows = "".join(f"{i / 4}\t{i}\t{-i}\t{i % 3}\n" for i in range(30))
    (folder / "n.tsv.gz").write_bytes(gzip.compress(f"a\tb\tc\tlabel\n{rows}".encode()))
    return SourceRecipe(uri=str(folder / "n.tsv.gz"))


def jsonl_text(folder: Path) -> SourceRecipe:
    """Two files of texts, matched by a glob."""
    for name in ("a", "b"):
        lines = [{"text": f"{name} {i} é", "label": i % 2, "id": f"{name}{i}"} for i in range(9)]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return SourceRecipe(uri=str(folder / "*.jsonl"), columns=Columns(key="id"))


def jsonl_features(folder: Path) -> SourceRecipe:
    """One gzipped file of lists of numbers."""
    lines = [json.dumps({"features": [i, i / 2], "label": "ab"[i % 2]}) for i in range(12)]
    (folder / "x.ndjson.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return SourceRecipe(uri=str(folder / "x.ndjson.gz"))


def image_folder_classes(folder: Path) -> SourceRecipe:
    """A folder a class, with a name that is not ASCII and a file that is ignored."""
    for i, name in enumerate(("katze", "hündchen")):
        (folder / name).mkdir()
        for j, data in enumerate(pictures(i, 4)):
            (folder / name / f"{j}.PNG").write_bytes(data)
    (folder / "katze" / "Thumbs.db").write_bytes(b"whatever")
    return SourceRecipe(uri=str(folder))


def image_folder_splits(folder: Path) -> SourceRecipe:
    """A folder a split, and in it one a class."""
    for i, name in enumerate(("train/a", "train/b", "test/a", "test/b")):
        (folder / name).mkdir(parents=True)
        for j, data in enumerate(pictures(i, 3)):
            (folder / name / f"{j}.png").write_bytes(data)
    return SourceRecipe(uri=str(folder))


def webdataset_cls(folder: Path) -> SourceRecipe:
    """Shards of images and class numbers, with a test split."""
    for i, shard in enumerate(("x-train-000000", "x-train-000001", "x-test-000000")):
        pairs = enumerate(pictures(i, 4))
        members = [
            member
            for j, data in pairs
            for member in ((f"{i}/{j}.png", data), (f"{i}/{j}.cls", b"%d" % (j % 2)))
        ]
        tar_of(folder / f"{shard}.tar", members)
    return SourceRecipe(uri=str(folder))


def webdataset_json(folder: Path) -> SourceRecipe:
    """One tar of texts whose labels are in JSON, with keys that are ours."""
    members = []
    for i in range(8):
        fields = {"label": "ab"[i % 2], "weight": i / 2, "boxes": [1]}
        members += [(f"s{i}.json", json.dumps(fields).encode()), (f"s{i}.txt", b"text %d" % i)]
    tar_of(folder / "texts.tar", members)
    columns = Columns(input="txt", key="__key__")
    return SourceRecipe(uri=str(folder / "texts.tar"), columns=columns)


def saved_dataset_one(folder: Path) -> SourceRecipe:
    """One dataset that save_to_disk wrote in two files."""
    import datasets

    made = datasets.Dataset.from_dict({"text": list("abcdef"), "label": [0, 1] * 3})
    made.save_to_disk(folder / "one", num_shards=2)
    return SourceRecipe(uri=str(folder / "one"))


def saved_dataset_splits(folder: Path) -> SourceRecipe:
    """A dictionary of datasets with features."""
    import datasets

    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["a", "b"])
    )
    splits = {}
    for i, name in enumerate(("train", "test")):
        columns = {"image": [{"bytes": b} for b in pictures(i, 6)], "label": [0, 1] * 3}
        splits[name] = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(splits).save_to_disk(folder / "two")
    return SourceRecipe(uri=str(folder / "two"))


def hub_images(folder: Path) -> SourceRecipe:
    """Shards of images on the Hub that HF_ENDPOINT names, with a test split."""
    parquet_hub(folder)
    return SourceRecipe(uri=on_hub(folder))


def hub_text(folder: Path) -> SourceRecipe:
    """Two files of texts on the Hub that HF_ENDPOINT names, named by a glob, with a key."""
    jsonl_text(folder)
    return SourceRecipe(uri=f"{on_hub(folder)}/*.jsonl", columns=Columns(key="id"))


def on_hub(folder: Path) -> str:
    """Make a dataset of a folder; its uri."""
    from huggingface_hub import HfApi

    repo = f"acme/{folder.name}"
    HfApi().create_repo(repo, repo_type="dataset")
    HfApi().upload_folder(repo_id=repo, folder_path=folder, repo_type="dataset")
    return f"hf://datasets/{repo}"


# These run in a process whose Hub is on loopback: test_hub_source starts one with this suite.
has_hub = os.environ.get("HF_ENDPOINT", "").startswith("http://127.0.0.1")
ELSEWHERE = set() if has_hub else {"hub"}
CASES: dict[str, list[Callable[[Path], SourceRecipe]]] = {
    "arrow": [arrow_file, arrow_streams],
    "csv": [csv_text, csv_numbers],
    "digits": [digits],
    "hub": [hub_images, hub_text],
    "image_folder": [image_folder_classes, image_folder_splits],
    "jsonl": [jsonl_text, jsonl_features],
    "parquet": [parquet_features, parquet_text, parquet_hub, parquet_url],
    "saved_dataset": [saved_dataset_one, saved_dataset_splits],
    "webdataset": [webdataset_cls, webdataset_json],
}
