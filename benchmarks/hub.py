"""Requests and bytes of publishing to the Hub: first, again, and a smaller version after it.

Fashion-MNIST's training images (DATAPRUNE_DATA) by a random score, kept 50 % (v1), published again,
then kept 40 % (v2), against the tests' loopback Hub with the real client, in LFS and in Xet mode.
`--order source` keeps the source's order of rows, `--order score` puts the best first. MB sent are
what the Hub received, in Xet mode what its chunk store grew by; MB of v is the version's files.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from tests.hub.server import LoopbackHub
from tests.hub.warm_client import client_env

REPO = "acme/fashion"


def run() -> dict[str, Any]:
    source = Path(os.environ.get("DATAPRUNE_DATA", "../shared/data")) / "fashion_mnist"
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scores = folder / "scores.parquet"
        dataprune(["score", str(source), "--score", "random", "--seeds", "1", "--out", str(scores)])
        for order in ("source", "score"):
            for tag, keep in (("v1", "50%"), ("v2", "40%")):
                asked = ["prune", str(scores), "--keep", keep, "--by", "random", "--order", order]
                dataprune(
                    [*asked, "--name", "fashion", "--tag", tag, "--store", f"{folder}/{order}"]
                )
            for mode in ("LFS", "Xet"):
                rows += measure(folder, order, mode)
    return {"machine": describe(), "rows": rows}


def measure(folder: Path, order: str, mode: str) -> list[dict[str, Any]]:
    rows = []
    root = folder / f"hub-{order}-{mode}"
    with LoopbackHub(root, xet=mode == "Xet") as hub:
        env = client_env(hub, folder / f"home-{order}-{mode}")
        for what, tag in (("first publish", "v1"), ("again", "v1"), ("40 % after 50 %", "v2")):
            hub.requests.clear()
            before, start = stored(root / "xet"), time.perf_counter()
            store = str(folder / order)
            dataprune(["publish", "fashion", tag, "--to", REPO, "--store", store], env)
            seconds = time.perf_counter() - start
            time.sleep(0.2)  # the log's last line
            sent = sum(r.bytes_in for r in hub.requests) + stored(root / "xet") - before
            size = sum(
                f.stat().st_size for f in (folder / order / "fashion" / tag).rglob("*.parquet")
            )
            rows.append(
                {
                    "mode": mode,
                    "order": order,
                    "what": what,
                    "requests": len(hub.requests),
                    "MB sent": round(sent / 1e6, 2),
                    "MB of v": round(size / 1e6, 2),
                    "share": f"{sent / size:.1%}",
                    "s, with start of Python": round(seconds, 1),
                }
            )
        hub.fsck(REPO)
    return rows


def stored(folder: Path) -> int:
    """Bytes in the chunk store; without the index, which is the client's."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and f.suffix != ".redb")


def dataprune(args: list[str], env: dict[str, str] | None = None) -> None:
    command = [sys.executable, "-m", "dataprune", *args]
    subprocess.run(command, env=env, check=True, capture_output=True)
