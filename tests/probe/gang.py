"""Real processes that do units together, meeting at a free port of this machine."""

from __future__ import annotations

import multiprocessing
import socket
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataprune.core.protocols import Attempt, Gang
from dataprune.runs.execute import load_entrypoint
from tests.probe.interrupted import Kept, Stopped


@dataclass(frozen=True)
class Task:
    """One unit for every process of a gang: its entrypoint, arguments and arrays.

    home: each rank gets a folder in it, and its snapshots in another. stop_after: snapshots that
    are kept before all processes stop; None: no snapshots.
    """

    entrypoint: str
    spec: dict[str, Any]
    shared: dict[str, Any]
    home: Path
    stop_after: int | None = None


def in_gangs(
    size: int, tasks: Sequence[Task], told: dict[int, list[Any]] | None = None
) -> list[Any]:
    """Do the tasks one after another in one set of processes; what rank 0 returned of each.

    told: gets the results of every rank. An exception of any rank stands for the result, as its
    traceback; "stopped" for a unit that stopped after a snapshot.
    """
    ports = [_free_port() for _ in tasks]
    context = multiprocessing.get_context("forkserver")  # torch is imported once, not in each
    context.set_forkserver_preload(["dataprune.probe.unit", "torch._dynamo"])
    queue = context.Queue()
    members = [
        context.Process(target=_member, args=(rank, size, ports, tasks, queue), daemon=True)
        for rank in range(size)
    ]
    for member in members:
        member.start()
    told = {} if told is None else told
    for _ in members:
        rank, results = queue.get(timeout=120)
        told[rank] = results
    for member in members:
        member.join(timeout=30)
    failed = [
        next((told[rank][i] for rank in told if isinstance(told[rank][i], str)), None)
        for i in range(len(tasks))
    ]
    return [failed[i] if failed[i] is not None else told[0][i] for i in range(len(tasks))]


@dataclass(frozen=True)
class Gathered:
    """The files of all ranks in one folder, as a runner leaves them: a finished unit."""

    folder: Path
    files: Mapping[str, str]

    def path(self, name: str) -> Path:
        """Where one is."""
        return self.folder / name


def gathered(home: Path, size: int) -> Gathered:
    """Move what each rank wrote into one folder; no two may write a file of the same name."""
    folder = home / "unit"
    folder.mkdir()
    for rank in range(size):
        for path in (home / f"rank-{rank}").iterdir():
            assert not (folder / path.name).exists(), f"two ranks wrote {path.name}"
            path.replace(folder / path.name)
    return Gathered(folder, {path.name: "" for path in folder.iterdir()})


def _member(rank: int, size: int, ports: list[int], tasks: Sequence[Task], queue: Any) -> None:
    results: list[Any] = []
    for port, task in zip(ports, tasks, strict=True):
        folder = task.home / f"rank-{rank}"
        folder.mkdir(parents=True, exist_ok=True)
        more = []
        if task.stop_after is not None:
            more = [Kept(task.home / f"kept-{rank}", stop_after=task.stop_after)]
        gang = Gang(rank, size, f"127.0.0.1:{port}")
        try:
            function = load_entrypoint(task.entrypoint)
            attempt = Attempt(folder, lambda _progress: None, *more, gang=gang)
            results.append(function(task.spec, task.shared, attempt))
        except Stopped:
            results.append("stopped")
        except Exception:  # noqa: BLE001 - told to the test, whatever it is
            results.append(traceback.format_exc())
    queue.put((rank, results))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
