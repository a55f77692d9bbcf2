"""Flags of labels from held-out probabilities that exist: seconds and peak memory.

The bar: 50,000 x 10 under 3 s; 100,000 x 1,000 under 10 s and 4 GiB, on two cores. Each size runs
in a process of its own, whose peak includes the probabilities (float32) and the interpreter. Votes
are whole arrays, or the 32 largest logits and the label's, as units of over 100 classes store them.
"""

import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

from benchmarks.machine import describe

SIZES = (
    (50_000, 10, 1, "whole"),
    (50_000, 10, 5, "whole"),
    (100_000, 1_000, 1, "whole"),
    (100_000, 1_000, 2, "whole"),
    (100_000, 1_000, 2, "top 32"),
    (100_000, 5_000, 1, "top 32"),
)


def run() -> dict[str, Any]:
    rows = []
    for size in SIZES:
        command = [sys.executable, "-m", "benchmarks.flags", *map(str, size)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout))
    return {"rows": rows, **describe()}


def measure(num_rows: int, num_classes: int, num_votes: int, stored: str) -> dict[str, Any]:
    """Flag softmax outputs of random logits; a tenth of the labels is replaced at random."""
    import dataprune
    from dataprune.flags.label_issue import judge_votes

    rng = np.random.default_rng(0)
    truth = rng.integers(0, num_classes, num_rows)
    given = np.where(rng.random(num_rows) < 0.1, rng.integers(0, num_classes, num_rows), truth)
    make = _vote if stored == "whole" else _top_vote
    votes = [make(rng, truth, given, num_classes) for _ in range(num_votes)]
    before = _peak_gib()
    started = time.perf_counter()
    if stored == "whole":
        result = dataprune.flag_labels(votes, given)
    else:
        result = judge_votes(votes, given, class_names=None, seed=0, rule="tiers")
    seconds = time.perf_counter() - started
    return {
        "rows": num_rows,
        "classes": num_classes,
        "votes": num_votes,
        "stored": stored,
        "seconds": round(seconds, 2),
        "peak GiB before": round(before, 2),
        "peak GiB": round(_peak_gib(), 2),
        "likely": result.totals["tiers"]["likely"],
    }


def _logits(rng: np.random.Generator, truth: np.ndarray, num_classes: int) -> np.ndarray:
    logits = rng.standard_normal((len(truth), num_classes), dtype=np.float32)
    logits[np.arange(len(truth)), truth] += np.log(num_classes) + 2
    return logits


def _top_vote(
    rng: np.random.Generator, truth: np.ndarray, given: np.ndarray, num_classes: int
) -> Any:
    from dataprune.flags._units import vote_of
    from dataprune.tables.heldout import condense

    parts = []
    for start in range(0, len(truth), 5000):
        rows = np.arange(start, min(start + 5000, len(truth)))
        parts.append(condense(rows, _logits(rng, truth[rows], num_classes), given[rows]))
    return vote_of("repeat", parts, given, num_classes)


def _vote(
    rng: np.random.Generator, truth: np.ndarray, _given: np.ndarray, num_classes: int
) -> np.ndarray:
    vote = _logits(rng, truth, num_classes)
    np.exp(vote, out=vote)
    vote /= vote.sum(axis=1, keepdims=True)
    return vote


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    print(json.dumps(measure(*map(int, sys.argv[1:4]), sys.argv[4])))
