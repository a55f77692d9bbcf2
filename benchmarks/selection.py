"""Top 30 % of each of 1,000 classes from a score table on disk: ours against reading and writing.

10,000,000 rows; with DATAPRUNE_BENCH_ROWS=100000000 as many as that. The limit is what no selection
can do without: read the score table once, and write the decisions once. Each arm is a process of
its own; seconds are CPU seconds of all its threads, memory is what its peak RSS is above that of
the same process before it began.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.machine import describe
from dataprune.core.recipe import parse_recipe
from dataprune.selection._choice import Choice
from dataprune.selection._stream import stream_decisions
from dataprune.tables import decisions, examples
from dataprune.tables.parquet import ROW_GROUP_ROWS, table_writer
from dataprune.tables.score_scan import scan_scores

CLASSES, REPEATS = 1000, 3
RECIPE = parse_recipe({"name": "bench", "source": {"uri": "x"}}, where="benchmark")
CHOICE = Choice("hardest", 0.3, {}, "proportional")


def run() -> dict[str, Any]:
    num_rows = int(os.environ.get("DATAPRUNE_BENCH_ROWS", "10000000"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scores(folder / "scores.parquet", num_rows)
        found: dict[str, list[dict[str, float]]] = {}
        for _ in range(REPEATS if num_rows <= 10_000_000 else 1):
            for arm in ("select", "read", "write"):  # what is written is what was selected
                found.setdefault(arm, []).append(in_process(arm, folder))
    ratios = [
        ours["cpu_s"] / (read["cpu_s"] + write["cpu_s"])
        for ours, read, write in zip(found["select"], found["read"], found["write"], strict=True)
    ]
    rows = [
        {
            "arm": arm,
            "cpu_s": round(float(np.median([r["cpu_s"] for r in runs])), 2),
            "wall_s": round(float(np.median([r["wall_s"] for r in runs])), 2),
            "extra_rss_mb": round(max(r["extra_rss_mb"] for r in runs)),
        }
        for arm, runs in found.items()
    ]
    ratio = [{"rows": num_rows, "ours / (read + write)": [round(r, 2) for r in ratios]}]
    return {"machine": describe(), "rows": rows, "tables": {"ratio of CPU seconds": ratio}}


def write_scores(path: Path, num_rows: int) -> None:
    """Scores of which 7 % tie, in the order of the rows."""
    schema = pa.schema([*examples.SCHEMA, pa.field("el2n", pa.float32(), nullable=False)])
    meta = {
        "format": "dataprune.scores", "format_version": 1, "hash_version": 1, "status": "complete",
        "scores": {"el2n": {"higher_is": "harder"}},
        "source": {"class_names": [f"class-{i}" for i in range(CLASSES)]},
    }  # fmt: skip
    rng = np.random.default_rng(0)
    with table_writer(path, schema, meta) as write:
        for start in range(0, num_rows, ROW_GROUP_ROWS):
            n = min(ROW_GROUP_ROWS, num_rows - start)
            scores = rng.beta(2, 3, n).astype(np.float32)
            tied = rng.random(n) < 0.07
            scores[tied] = np.round(scores[tied], 2)
            columns = [
                pa.array(np.arange(start, start + n)),
                pa.array(rng.integers(0, 2**64, n, dtype=np.uint64)),
                pa.nulls(n, pa.string()),
                pa.array(rng.integers(0, CLASSES, n).astype(np.int32)),
                pa.array(scores),
            ]
            write(pa.table(columns, schema=schema))


def in_process(arm: str, folder: Path) -> dict[str, float]:
    """One arm, in a process of its own."""
    line = [sys.executable, "-m", "benchmarks.selection", arm, str(folder)]
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    told: dict[str, float] = json.loads(done.stdout)
    return told


def measure(arm: str, folder: Path) -> dict[str, float]:
    """CPU and wall seconds of one arm, and its memory in MiB."""
    scan = scan_scores(folder / "scores.parquet")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu, wall = time.process_time(), time.perf_counter()
    if arm == "select":
        told = stream_decisions(scan.path, folder / "decisions.parquet", RECIPE, CHOICE)
        assert told.rows_out == round(0.3 * scan.num_rows)
    elif arm == "read":
        assert sum(len(part) for part in scan.parts()) == scan.num_rows
    else:
        return {**written(folder, before), "rows": scan.num_rows}
    return {
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - wall,
        "extra_rss_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }


def written(folder: Path, before: int) -> dict[str, float]:
    """The seconds that writing decisions takes alone, without reading those that are written."""
    cpu = wall = 0.0
    meta = {"format": decisions.FORMAT, "format_version": decisions.FORMAT_VERSION}
    made = scan_scores_of_decisions(folder / "decisions.parquet")
    with table_writer(folder / "again.parquet", decisions.SCHEMA, meta) as write:
        for part in made:
            c, w = time.process_time(), time.perf_counter()
            write(part)
            cpu, wall = cpu + time.process_time() - c, wall + time.perf_counter() - w
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cpu_s": cpu, "wall_s": wall, "extra_rss_mb": (peak - before) / 1024}


def scan_scores_of_decisions(path: Path) -> Any:
    """Decisions in parts, as they were written."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for i in range(file.metadata.num_row_groups):
            yield file.read_row_group(i).cast(decisions.SCHEMA)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
