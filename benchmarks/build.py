"""A pruned version of 2 GB of images against the least it could cost: read all, write the half.

Half of the rows, by a random score, built by `dataprune.prune` in its own process; the limit is
`cat` of every shard and `cp` of half of them. `prune` proves besides that the source is the one
that was scored, and records what it wrote, by SHA-256 of both: those seconds are measured apart.
Rounds are paired, CPU seconds are compared. Images are PNGs of noise, laid out as the Hub does,
with its features. The bar is 4x (stretch 2.2x) and 512 MB of resident memory above what the process
held after its imports; rows, their order and features kept.
"""

import hashlib
import json
import os
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import dataprune
from benchmarks.machine import describe
from dataprune.core.files import sha256_file
from dataprune.core.recipe import parse_recipe
from dataprune.versions.write import writer_options

ROUNDS, SHARDS = 3, 5
SETS = {"20 KB": (100_000, 81), "2.5 KB": (800_000, 28)}  # rows, side of a square RGB image
PRUNE = """
import json, sys, time
import dataprune, dataprune.flow, pyarrow.parquet
from dataprune.probe.footprint import peak_bytes, reset_peak, resident_bytes
before, cpu, wall = resident_bytes(), time.process_time(), time.perf_counter()
reset_peak()
dataprune.prune(sys.argv[1], keep=0.5, by="random", name="half", tag=sys.argv[3], store=sys.argv[2])
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
print(json.dumps({"cpu": cpu, "wall": wall, "extra": peak_bytes() - before}))
"""


def run() -> dict[str, Any]:
    return {
        "rows": [_measure(name, *SETS[name]) for name in SETS],
        **describe(rounds=ROUNDS, shards=SHARDS, load=os.getloadavg()[0]),
    }


def _measure(name: str, num_rows: int, side: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="build-") as where:
        folder = Path(where)
        shards = _write(folder / "source" / "data", num_rows, side)
        scores = _score(folder)
        rounds = []
        for i in range(ROUNDS):
            limit, hashes = _limit(shards, folder / "copied")
            pruned = _prune(scores, folder / "store", f"v{i + 1}")
            rounds.append({**pruned, "limit": limit, "hashes": hashes})
        kept = _kept_as_it_was(folder / "store" / "half" / "v1", shards)
        num_bytes = sum(path.stat().st_size for path in shards)
    middle = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}

    def ratio(what: Callable[[dict[str, float]], float]) -> float:
        return round(statistics.median(what(each) for each in rounds), 2)

    return {
        "images": name,
        "rows": num_rows,
        "GB": round(num_bytes / 1e9, 2),
        "cat + cp, CPU s": round(middle["limit"], 2),
        "SHA-256 of both, CPU s": round(middle["hashes"], 2),
        "prune, CPU s": round(middle["cpu"], 2),
        "x cat + cp": ratio(lambda each: each["cpu"] / each["limit"]),
        "without hashes": ratio(lambda each: (each["cpu"] - each["hashes"]) / each["limit"]),
        "x cat + cp + SHA-256": ratio(lambda each: each["cpu"] / (each["limit"] + each["hashes"])),
        "prune, wall s": round(middle["wall"], 1),
        "extra RSS MB": round(middle["extra"] / 1e6),
        "order and features kept": kept,
    }


def _write(folder: Path, num_rows: int, side: int) -> list[Path]:
    """Shards of rows {image: {bytes, path}, label}, with the Hub's metadata of features."""
    folder.mkdir(parents=True)
    features = {
        "image": {"_type": "Image"},
        "label": {"names": [f"c{i}" for i in range(10)], "_type": "ClassLabel"},
    }
    schema = pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("label", pa.int64()),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    rng, shards = np.random.default_rng(0), []
    per_shard = num_rows // SHARDS
    for i in range(SHARDS):
        path = folder / f"train-{i:05d}-of-{SHARDS:05d}.parquet"
        with pq.ParquetWriter(path, schema, **writer_options(schema)) as writer:
            for start in range(0, per_shard, 4000):
                rows = min(4000, per_shard - start)
                pixels = rng.integers(0, 256, (rows, side, 1 + 3 * side), dtype=np.uint8)
                pixels[:, :, 0] = 0  # PNG's filter of each line: none
                images = [{"bytes": _png(each, side), "path": None} for each in pixels]
                labels = rng.integers(0, 10, rows)
                writer.write_table(pa.table({"image": images, "label": labels}, schema=schema))
        shards.append(path)
    return shards


def _png(lines: np.ndarray[Any, np.dtype[np.uint8]], side: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(lines.tobytes(), 0))
    return b"\x89PNG\r\n\x1a\n" + head + data + chunk(b"IEND", b"")


def _score(folder: Path) -> Path:
    about = {
        "name": "half",
        "source": {"uri": str(folder / "source")},
        "scores": {"names": ["random"]},
    }
    recipe = parse_recipe(about, where="benchmark")
    return dataprune.score(recipe, work=folder / "work", out=folder / "scores.parquet").path


def _limit(shards: list[Path], folder: Path) -> tuple[float, float]:
    """CPU seconds of reading every shard and copying half of their bytes; of hashing all of it."""
    folder.mkdir()
    half = shards[: len(shards) // 2]
    rest = shards[len(shards) // 2].stat().st_size // 2
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["cat", *shards], stdout=subprocess.DEVNULL, check=True)  # reads without writing
    subprocess.run(["cp", *half, folder], check=True)
    if len(shards) % 2:
        with (folder / "part").open("wb") as part:
            subprocess.run(["head", "-c", str(rest), shards[-1]], stdout=part, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.process_time()
    for path in [*shards, *folder.iterdir()]:
        sha256_file(path)
    hashes = time.process_time() - begun
    shutil.rmtree(folder)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, hashes


def _prune(scores: Path, store: Path, tag: str) -> dict[str, float]:
    command = [sys.executable, "-c", PRUNE, str(scores), str(store), tag]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    if tag != "v1":
        shutil.rmtree(store / "half" / tag)
    time.sleep(0.1)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _kept_as_it_was(version: Path, shards: list[Path]) -> bool:
    """Whether the rows are those decided to be kept, in their order, with the source's schema."""
    decisions = pq.read_table(version / "decisions.parquet", columns=["keep"])
    keep = decisions.column("keep").to_numpy(zero_copy_only=False)
    written = sorted((version / "data").glob("*.parquet"))
    schema = pq.read_schema(shards[0])
    same = all(pq.read_schema(path).equals(schema, check_metadata=True) for path in written)
    return same and _hash(shards, keep) == _hash(written, None) and int(keep.sum()) * 2 == len(keep)


def _hash(
    paths: list[Path], keep: np.ndarray[Any, np.dtype[np.bool_]] | None
) -> tuple[str, list[int]]:
    """Hash of the images' bytes in their order, and the labels."""
    digest, labels, row = hashlib.sha256(), list[int](), 0
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                mask = None if keep is None else pa.array(keep[row : row + len(batch)])
                kept = batch if mask is None else batch.filter(mask)
                row += len(batch)
                labels.extend(kept.column(1).to_pylist())
                for value in kept.column(0).field("bytes").to_pylist():
                    digest.update(value)
    return digest.hexdigest(), labels
