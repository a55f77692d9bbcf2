"""Cost of the whole `dataprune curate` command by number of trajectories: time, memory, bytes.

MINT's runs over and over, each copy with one word in twenty exchanged for another of the data, in
prompts too: no two are exact copies or one query, and all are near enough to be compared. The
command runs in its own process with rules and duplicates, its memory the peak of its resident set.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROWS = (10_000, 100_000)
EXCHANGED = 0.05  # of the words
_UNDECIDED = 3  # exit status: some rows were decided neither way
# Runs the command and tells its processor seconds and the peak of its resident set in KiB.
_CHILD = """
import resource, sys
from dataprune.cli import main
sys.argv[0] = "dataprune"
try:
    main()
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
"""


def measure(mint: Path, sizes: tuple[int, ...] = ROWS) -> list[dict[str, Any]]:
    """One row a size; the first is run twice, in the same place, and must give the same bytes."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        source, folder = Path(name, "runs.jsonl"), Path(name, "made")
        for size in sizes:
            write(source, mint, size)
            found = curate(source, folder)
            shutil.rmtree(folder)
            row = row_of(size, source, found)
            row["cost a row over the first"] = round(
                row["ms a row"] / (rows[0]["ms a row"] if rows else row["ms a row"]), 2
            )
            row["same bytes again"] = ""
            if not rows:
                row["same bytes again"] = curate(source, folder)["bytes"] == found["bytes"]
                shutil.rmtree(folder)
            rows.append(row)
    return rows


def row_of(size: int, source: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Processor seconds, because the wall's depend on who else is there."""
    return {
        "trajectories": size,
        "MB": round(source.stat().st_size / 1e6),
        "wall s": round(found["seconds"], 1),
        "CPU s": round(found["cpu"], 1),
        "rows per CPU s": round(size / found["cpu"]),
        "ms a row": round(1000 * found["cpu"] / size, 3),
        "peak RSS GiB": round(found["peak"] / 2**30, 2),
        "kept": found["kept"],
    }


def write(path: Path, mint: Path, size: int, seed: int = 0) -> None:
    """JSON Lines of MINT's runs with edits, `size` of them."""
    rows = [json.loads(line) for file in sorted(mint.glob("*/*.jsonl")) for line in file.open()]
    rng = random.Random(seed)  # noqa: S311 - no secret
    words = {word for row in rows for word in row["task"]["prompt"].split(" ")}
    pool = sorted(filter(_is_free, words))
    with path.open("w") as file:
        for number in range(size):
            copy, place = divmod(number, len(rows))
            file.write(json.dumps(_edited(rows[place], copy, pool, rng)) + "\n")


def _edited(row: dict[str, Any], copy: int, pool: list[str], rng: random.Random) -> dict[str, Any]:
    task = {**row["task"], "task_id": f"{row['task']['task_id']}-{copy}"}
    # The prompt stands at the end of the first message, too, and in every model's run of the task:
    # all are edited alike.
    same = random.Random(f"{task['task_id']} {copy}")  # noqa: S311 - no secret
    task["prompt"] = _exchanged(task["prompt"], pool, same)
    history = []
    for message in row["state"]["history"]:
        content = message["content"].replace(row["task"]["prompt"], task["prompt"])
        if message["role"] == "assistant":
            content = _exchanged(content, pool, rng)
        history.append({**message, "content": content})
    return {**row, "task": task, "state": {**row["state"], "history": history}}


def _exchanged(text: str, pool: list[str], rng: random.Random) -> str:
    words = text.split(" ")
    free = [place for place, word in enumerate(words) if _is_free(word)]
    for place in rng.sample(free, min(len(free), 1 + int(len(words) * EXCHANGED))):
        words[place] = rng.choice(pool)
    return " ".join(words)


def _is_free(word: str) -> bool:
    """Whether it is prose, no part of a mark or of code's signs."""
    return len(word) > 2 and word.isascii() and word.isalpha() and word.islower()


def curate(source: Path, folder: Path, *settings: str) -> dict[str, Any]:
    """The command in a process: its seconds, peak memory, and hashes of what it wrote."""
    where = ["--store", str(folder / "store"), "--work", str(folder / "work")]
    line = ["curate", str(source), "--name", "runs", "--tag", "v1", *where, "--json", *settings]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *line], capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    assert done.returncode in (0, _UNDECIDED), done.stderr
    told = json.loads(done.stdout)
    cpu, peak = done.stderr.split()[-2:]
    version = Path(told["folder"]) if told["folder"] else None  # none where nothing is kept
    return {
        "seconds": seconds,
        "cpu": float(cpu),
        "peak": int(peak) * 1024,
        "kept": told["decisions"]["keep"],
        "bytes": digests(Path(told["rows"]), Path(told["ledger"]), version),
        "told": told,
    }


def digests(rows: Path, ledger: Path, version: Path | None) -> dict[str, str]:
    """SHA-256 of the trajectories, the ledger and every file of the version."""
    paths = [rows, ledger, *(sorted(version.rglob("*")) if version else ())]
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in paths if p.is_file()}


if __name__ == "__main__":
    for row in measure(Path(sys.argv[1]), tuple(map(int, sys.argv[2:]))):
        print(row)
