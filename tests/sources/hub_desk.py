"""A dataset on a loopback Hub, and what tests of it ask for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from dataprune.core.recipe import SourceRecipe
from dataprune.sources import open_source
from tests.conftest import blobs
from tests.hub.server import Exchange, LoopbackHub
from tests.hub.warm_client import ClientError, WarmClient

ACTIONS = "tests.sources.hub_actions"
DATA = "hf://datasets/"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE_ROWS = 3000
Files = Mapping[str, pa.Table | str]
TEXTS = "text,label\n" + "".join(f'"no {i}, é",{"ab"[i % 2]}\n' for i in range(9))
LINES = "".join(json.dumps({"text": f"é {i}", "label": i % 2}) + "\n" for i in range(9))
TROUBLES: dict[str, dict[str, Any]] = {
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503},
    "429": {"kind": "status", "status": 429},
    "dropped": {"kind": "drop"},
    "lost": {"kind": "lost"},
    "cut short": {"kind": "truncate"},
    "slow": {"kind": "slow", "delay_s": 0.05},
}
QUICK = ("500", "dropped", "cut short")
EACH_TROUBLE = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in TROUBLES
]


def shards(num: int, rows: int = 20, split: str = "train") -> dict[str, pa.Table]:
    """Shards of one split, of separable rows."""
    names = [f"data/{split}-{i:05d}-of-{num:05d}.parquet" for i in range(num)]
    return {name: blobs(rows, seed=i) for i, name in enumerate(names)}


def card(*configs: Mapping[str, Any]) -> str:
    """A card's text that declares configurations."""
    return f"---\n{json.dumps({'license': 'mit', 'configs': configs})}\n---\n# Words\n"


def write(folder: Path, files: Files) -> Path:
    """Write tables as Parquet, and texts."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            pq.write_table(content, path, row_group_size=15)
    return folder


@dataclass
class Desk:
    """A test's Hub, its client with an empty cache, and a folder."""

    hub: LoopbackHub
    client: WarmClient
    folder: Path
    count: int = 0
    before: int = field(default=0)

    def do(self, action: str, **kwargs: Any) -> Any:
        """Run an action in the client's process."""
        return self.client.call(f"{ACTIONS}:{action}", **kwargs)

    def forget(self) -> Path:
        """Give the client an empty cache; where it is."""
        self.count += 1
        home = self.folder / f"home-{self.count}"
        self.do("use_home", folder=str(home))
        return home

    def publish(self, repo: str, files: Files, **options: Any) -> Path:
        """Commit files; the folder with the same ones on this machine."""
        self.count += 1
        folder = write(self.folder / f"files-{self.count}" / "copy", files)
        self.do("upload", repo=repo, folder=str(folder), **options)
        return folder

    def opened(self, uri: str, **options: Any) -> dict[str, Any]:
        """What opening gives."""
        found: dict[str, Any] = self.do("opened", uri=uri, **options)
        return found

    def rows(self, uri: str, **options: Any) -> pa.Table:
        """Every row of a source."""
        path = self.folder / "rows.arrow"
        self.do("write_rows", uri=uri, path=str(path), **options)
        return read(path)

    def names(self, uri: str, **options: Any) -> list[str]:
        """The files that a uri names, in order."""
        return [entry["path"] for entry in self.opened(uri, **options)["files"]]

    def refused(self, uri: str, action: str = "opened", **options: Any) -> str:
        """The one sentence that an action ends with."""
        with pytest.raises(ClientError) as caught:
            self.do(action, uri=uri, **options)
        return sentence(caught.value, self.hub)

    def refused_view(self, folder: Path, **options: Any) -> str:
        """The one sentence that loading a view ends with."""
        with pytest.raises(ClientError) as caught:
            self.do("write_view", folder=str(folder), path="never", **options)
        return sentence(caught.value, self.hub)

    def asked(self) -> list[Exchange]:
        """Requests since it was last asked for them."""
        found = self.hub.requests[self.before :]
        self.before = len(self.hub.requests)
        return found


def sentence(error: ClientError, hub: LoopbackHub) -> str:
    """An error's message, fit to be read: one line, of ours, and no token in it."""
    assert "DatapruneError" in error.kinds, error.trace
    assert "\n" not in error.message
    assert len(error.message) < 500
    assert "Traceback" not in error.message
    assert hub.token not in error.message
    return error.message


def read(path: Path | str) -> pa.Table:
    """The table of an Arrow file."""
    with pa.ipc.open_file(path) as reader:
        return reader.read_all()


def fetched(asked: list[Exchange]) -> list[str]:
    """The files whose bytes were asked for, each once, in order."""
    paths = [r.path.split("/resolve/")[1].partition("/")[2] for r in asked if is_fetch(r)]
    return list(dict.fromkeys(paths))


def is_fetch(request: Exchange) -> bool:
    """Whether a request is for a file's bytes."""
    return request.method == "GET" and "/resolve/" in request.path


def local_rows(folder: Path | str, **options: Any) -> pa.Table:
    """Every row of a source on this machine."""
    return pa.Table.from_batches(
        open_source(SourceRecipe(uri=str(folder), **options)).batches(None)
    )


def flip(path: Path) -> None:
    """Change one byte in the middle of a file."""
    path = path.resolve()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
