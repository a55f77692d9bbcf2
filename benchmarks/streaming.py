"""300,000 images trained on and scored: streamed from disk against held in memory.

Fashion-MNIST's training images (DATAPRUNE_DATA), each taken five times with other noise, in Parquet
shards. Both arms draw the same epochs (a block shuffle), so their traces are equal byte for byte.
Each arm is the command a user runs, in its own process; its memory is the peak of proportional set
sizes (PSS) over the whole process tree. Rows per second count training and scoring passes, from the
unit's own clock.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.machine import describe

COPIES, EPOCHS = 5, 1


def run() -> dict[str, Any]:
    source = Path(os.environ.get("DATAPRUNE_DATA", "../shared/data")) / "fashion_mnist"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        num_rows = write_noisy_copies(source, folder / "data")
        rows = [measure(folder, num_rows, stream=stream) for stream in (False, True)]
        traces = [
            next((folder / arm).glob("units/*/trace.parquet")).read_bytes()
            for arm in ("resident", "streamed")
        ]
    for row in rows:
        row["x resident"] = round(row["rows/s"] / rows[0]["rows/s"], 2)
        row["traces equal"] = traces[0] == traces[1]
    return {"machine": describe(), "rows": rows}


def write_noisy_copies(source: Path, folder: Path) -> int:
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    table = pq.read_table(next(source.glob("data/train-*.parquet")))
    images = table.column("image").combine_chunks().field("bytes")
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(b.as_py()))) for b in images])
    labels = table.column("label")
    for copy in range(COPIES):
        noisy = np.clip(pixels + rng.normal(scale=8, size=pixels.shape), 0, 255).astype(np.uint8)
        encoded = []
        for image in noisy:
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
            encoded.append({"bytes": buffer.getvalue(), "path": None})
        part = pa.table({"image": encoded, "label": labels})
        path = folder / f"train-{copy:05d}-of-{COPIES:05d}.parquet"
        pq.write_table(part, path, row_group_size=8192)
    pq.write_table(part.slice(0, 500), folder / "test-00000-of-00001.parquet")
    return COPIES * len(pixels)


def measure(folder: Path, num_rows: int, *, stream: bool) -> dict[str, Any]:
    arm = "streamed" if stream else "resident"
    recipe = {
        "name": arm,
        "source": {"uri": str(folder / "data")},
        "probe": {
            "model": {"name": "small_cnn", "params": {"widths": [8, 16]}},
            "schedule_epochs": EPOCHS,
            "augment": {"flip": True},
            "shuffle": {"name": "blocks"},
        },
        "scores": {"names": ["el2n"], "timing_gate": "off"},
        "seeds": 1,
        "run": {"stream": stream},
    }
    path = folder / f"{arm}.yaml"
    path.write_text(json.dumps(recipe))
    command = [sys.executable, "-m", "dataprune", "score", str(path), "--work", str(folder / arm)]
    started = time.monotonic()
    with subprocess.Popen([*command, "--json"], stdout=subprocess.DEVNULL) as process:
        peak = PeakPss(process.pid)
        assert process.wait() == 0
    wall_s = time.monotonic() - started
    unit = json.loads(next((folder / arm).glob("units/*/unit.json")).read_text())
    passes = EPOCHS + 1  # training, and one scored epoch
    return {
        "arm": arm,
        "rows": num_rows,
        "peak PSS GiB": round(peak.stop() / 2**30, 2),
        "rows/s": round(passes * num_rows / unit["run"]["seconds"]),
        "command s": round(wall_s, 1),
    }


class PeakPss:
    """The highest sum of proportional set sizes of a process and its descendants, in bytes."""

    def __init__(self, pid: int) -> None:
        self.pid, self.peak, self.done = pid, 0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def stop(self) -> int:
        """The peak; watching ends."""
        self.done.set()
        self.thread.join()
        return self.peak

    def _watch(self) -> None:
        while not self.done.wait(0.2):
            self.peak = max(self.peak, sum(pss(pid) for pid in family(self.pid)))


def family(pid: int) -> list[int]:
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        for child in children:
            found += family(int(child))
    return found


def pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
