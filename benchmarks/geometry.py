"""Strategies of geometry on 50,000 rows of 128 features: seconds, memory; and apricot's greedy.

Each arm runs in a process of its own, so that its peak memory is its own. The peer runs where
DATAPRUNE_PEERS names a Python that has apricot-select, and is left out elsewhere.
"""

import importlib.metadata
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

from benchmarks.machine import describe
from dataprune.core.fingerprint import mix64
from dataprune.selection import STRATEGIES, Pool
from dataprune.selection._cloud import Cloud
from dataprune.selection.facility_location import dense, lazy_greedy, sparse

ROWS, FEATURES, CLASSES = 50_000, 128, 10
PEER_ROWS, PEER_BUDGET, ROUNDS = 5_000, 500, 3
ARMS: list[tuple[str, float, dict[str, Any]]] = [
    ("kcenter", 0.1, {}),
    ("kcenter", 0.5, {}),
    ("d2", 0.5, {}),
    ("d2", 0.5, {"per_class": False}),
    ("facility_location", 0.1, {}),
    ("moderate", 0.5, {}),
    ("prototypes", 0.5, {}),
    ("semantic_dedup", 1.0, {"eps": 0.05}),
]
_PEER = """
import json, sys, time, numpy, apricot
similar = numpy.load(sys.argv[1]).astype(numpy.float64)
times = []
for _ in range(int(sys.argv[3]) + 1):
    start = time.perf_counter()
    made = apricot.FacilityLocationSelection(int(sys.argv[2]), metric="precomputed",
                                             optimizer="lazy", verbose=False).fit(similar)
    times.append(time.perf_counter() - start)
print(json.dumps({"version": apricot.__version__, "seconds": sorted(times[1:])[len(times) // 2 - 1],
                  "rows": made.ranking.tolist()}))
"""


def run() -> dict[str, Any]:
    rows = []
    for name, keep, params in ARMS:
        line = [sys.executable, "-m", "benchmarks.geometry", name, str(keep), json.dumps(params)]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout))
    peers, libraries = _peers()
    packages = {"numpy": importlib.metadata.version("numpy"), **libraries}
    tables = {f"Facility location, {PEER_BUDGET} of {PEER_ROWS}": peers}
    about = describe(rows_each=ROWS, features=FEATURES, libraries=packages)
    return {"rows": rows, "tables": tables, **about}


def points(num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Points about ten means, float32, and their classes; nothing large is made on the way."""
    rng = np.random.default_rng(0)
    means = 2 * rng.standard_normal((CLASSES, FEATURES), dtype=np.float32)
    labels = rng.integers(0, CLASSES, num_rows)
    features = rng.standard_normal((num_rows, FEATURES), dtype=np.float32)
    for start in range(0, num_rows, 1000):
        features[start : start + 1000] += means[labels[start : start + 1000]]
    return features, labels


def _arm(name: str, keep: float, params: dict[str, Any]) -> dict[str, Any]:
    from dataprune.selection import Left

    features, labels = points(ROWS)
    budget = round(keep * ROWS)
    ties, scores = mix64(np.arange(ROWS), 0), np.random.default_rng(1).random(ROWS)
    pool = Pool(scores, ties, budget, labels=labels, features=features)
    plugin = STRATEGIES.get(name)
    before, start, cpu = _peak_mb(), time.perf_counter(), time.process_time()
    if plugin.drop is not None:
        import pyarrow as pa

        plugin.drop(Left(pa.table({"row": np.arange(ROWS)}), pool), **params)
    else:
        assert plugin.order is not None
        plugin.order(pool, **params)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {
        "strategy": " ".join([name, *(f"{k}={v}" for k, v in params.items())]),
        "keep": keep,
        "s": round(seconds, 1),
        "CPU s": round(cpu, 1),
        "peak RSS MB": round(_peak_mb()),
        "MB above the start": round(_peak_mb() - before),
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _peers() -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The value reached is by every pair's similarity, whatever was used to choose."""
    cloud = Cloud(points(PEER_ROWS)[0])
    served, _ = dense(cloud)
    similar = np.stack([served(j)[1] for j in range(PEER_ROWS)])
    arms: list[tuple[str, list[int], float]] = []
    for label, make in (
        ("dataprune, neighbours all", lambda: dense(cloud)),
        ("dataprune, neighbours 100", lambda: sparse(cloud, 100)),
    ):
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            chosen, _left = lazy_greedy(*make(), PEER_BUDGET)
            times.append(time.perf_counter() - start)
        arms.append((label, chosen.tolist(), sorted(times)[ROUNDS // 2]))
    random = np.random.default_rng(2).permutation(PEER_ROWS)[:PEER_BUDGET]
    arms.append(("random", random.tolist(), 0.0))
    peer = _apricot(similar)
    if peer:
        arms.append(("apricot, lazy, similarities given", peer["rows"], peer["seconds"]))
    exact = similar[arms[0][1]].max(axis=0).sum(dtype=float)
    table = [
        {
            "arm": label,
            "value / exact greedy": round(float(similar[rows].max(axis=0).sum()) / exact, 5),
            "mean distance to the nearest": round(_mean_distance(similar, rows), 4),
            "rows in common": len(set(rows) & set(arms[0][1])),
            "s": round(seconds, 2),
        }
        for label, rows, seconds in arms
    ]
    return table, {"apricot-select": peer["version"]} if peer else {}


def _mean_distance(similar: np.ndarray, rows: list[int]) -> float:
    return float((similar.max() - similar[rows].max(axis=0)).mean(dtype=float))


def _apricot(similar: np.ndarray) -> dict[str, Any] | None:
    python = os.environ.get("DATAPRUNE_PEERS")
    if python is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "similar.npy"
        np.save(path, similar)
        line = [python, "-c", _PEER, str(path), str(PEER_BUDGET), str(ROUNDS)]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    print(json.dumps(_arm(sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3]))))
