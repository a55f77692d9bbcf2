"""Only what is needed of a dataset on the Hub travels: columns of large files, shards of views."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from tests.conftest import blobs
from tests.hub.asking import run as run_action
from tests.sources.hub_desk import (
    ACTIONS,
    DATA,
    EACH_TROUBLE,
    LARGE_ROWS,
    LINES,
    TEXTS,
    TROUBLES,
    Desk,
    fetched,
    flip,
    is_fetch,
    local_rows,
    read,
    shards,
)

# --- only what is needed travels


def large() -> pa.Table:
    """A table of 12 MB, of which the features and the labels are a hundredth."""
    rng = np.random.default_rng(0)
    media = [rng.bytes(4000) for _ in range(LARGE_ROWS)]
    features = rng.normal(size=(LARGE_ROWS, 4)).astype(np.float32).tolist()
    return pa.table(
        {
            "features": pa.array(features, pa.list_(pa.float32())),
            "media": media,
            "label": [i % 3 for i in range(LARGE_ROWS)],
        }
    )


def publish_large(desk: Desk) -> pa.Table:
    """A file of several row groups; the columns that are wanted of it."""
    folder = desk.folder / "large"
    folder.mkdir()
    pq.write_table(large(), folder / "big.parquet", row_group_size=500)
    desk.do("upload", repo="acme/big", folder=str(folder))
    desk.asked()
    return large().select(["features", "label"])


def test_of_a_large_file_only_the_wanted_columns_travel_and_only_once(each: Desk) -> None:
    wanted = publish_large(each)
    names = ["features", "label"]
    assert each.rows(f"{DATA}acme/big", names=names).equals(wanted)
    asked = each.asked()
    assert fetched(asked) == ["big.parquet"]
    assert sum(request.bytes_out for request in asked) < 1 << 20
    assert all(request.authorized == ("/store/" not in request.path) for request in asked)
    assert each.rows(f"{DATA}acme/big", names=names).equals(wanted)
    assert not [request for request in each.asked() if "/resolve/" in request.path]

    assert each.rows(f"{DATA}acme/big").equals(large())
    travelled = sum(request.bytes_out for request in each.asked())
    assert each.hub.xet or 12_000_000 < travelled < 13_000_000
    assert each.rows(f"{DATA}acme/big", names=names).equals(wanted)
    assert fetched(each.asked()) == []


def test_a_piece_that_was_damaged_since_is_fetched_anew(desk: Desk) -> None:
    wanted = publish_large(desk)
    assert desk.rows(f"{DATA}acme/big", names=["features", "label"]).equals(wanted)
    pieces = sorted((desk.folder / "home-1").glob("dataprune/pieces/*/*"))
    num = sum(is_fetch(request) for request in desk.asked())
    assert len(pieces) == num > 3
    for at, piece in enumerate(pieces):
        flip(piece) if at % 2 else piece.write_bytes(b"")
    assert desk.rows(f"{DATA}acme/big", names=["features", "label"]).equals(wanted)
    assert sum(is_fetch(request) for request in desk.asked()) == num


@pytest.mark.parametrize("trouble", EACH_TROUBLE)
def test_trouble_at_a_piece_is_sat_out(desk: Desk, trouble: str) -> None:
    wanted = publish_large(desk)
    fault = desk.hub.fault(path="/resolve/", method="GET", nth=2, **TROUBLES[trouble])
    assert desk.rows(f"{DATA}acme/big", names=["features", "label"]).equals(wanted)
    assert fault.fired == 1


def test_trouble_at_a_piece_that_stays_is_told(desk: Desk) -> None:
    publish_large(desk)
    desk.hub.fault("status", status=503, path="/resolve/", nth=2, times=None)
    message = desk.refused(
        f"{DATA}acme/big", "write_rows", path="never", names=["features", "label"]
    )
    assert "fetching a part of big.parquet of acme/big@" in message
    assert "503" in message


def test_a_run_that_was_killed_goes_on_with_the_pieces_it_has(desk: Desk) -> None:
    wanted = publish_large(desk)
    home = desk.folder / "home-1"
    slow = desk.hub.fault("slow", path="/resolve/", method="GET", nth=3, delay_s=1.5)
    path = str(desk.folder / "killed.arrow")
    names = ["features", "label"]
    desk.client.start(f"{ACTIONS}:write_rows", uri=f"{DATA}acme/big", path=path, names=names)
    while not slow.fired:
        time.sleep(0.01)
    desk.client.kill()
    kept = len(list(home.glob("dataprune/pieces/*/[0-9]*")))
    assert kept == 3
    desk.do("use_home", folder=str(home))
    desk.asked()
    assert desk.rows(f"{DATA}acme/big", names=names).equals(wanted)
    again = sum(is_fetch(r) and r.fault is None for r in desk.asked())
    total = len(list(home.glob("dataprune/pieces/*/[0-9]*")))
    assert again == total - kept
    while not any(request.fault for request in desk.hub.requests):
        time.sleep(0.01)  # the killed one's last request is done with


# --- views


def view(desk: Desk, uri: str, **options: Any) -> tuple[Path, dict[str, Any]]:
    """A view of a source, in a store of the test's."""
    folder = desk.folder / "view"
    return folder, desk.do("make_view", uri=uri, folder=str(folder), **options)


def seen(desk: Desk, folder: Path, **options: Any) -> tuple[list[int], pa.Table]:
    """A view's rows: their places in the source, and themselves."""
    path = str(desk.folder / "seen.arrow")
    return desk.do("write_view", folder=str(folder), path=path, **options), read(path)


def shards_of(rows: list[int], files: Mapping[str, pa.Table]) -> list[str]:
    """The shards that hold some of these rows."""
    found, start = [], 0
    for name, table in files.items():
        if any(start <= row < start + len(table) for row in rows):
            found.append(name)
        start += len(table)
    return found


def test_a_view_fetches_the_shards_that_hold_its_rows_and_no_others(desk: Desk) -> None:
    files = shards(12, rows=4)
    copy = desk.publish("acme/src", {**files, **shards(2, split="test")})
    folder, made = view(desk, f"{DATA}acme/src", keep=0.1)
    wanted = shards_of(made["rows"], files)
    assert 0 < len(wanted) < 6
    desk.forget()
    desk.asked()
    rows, table = seen(desk, folder)
    assert rows == made["rows"]
    assert table.equals(local_rows(copy).take(rows))
    asked = desk.asked()
    whole = {
        name
        for name in fetched(asked)
        if any(r.status == 200 and name in r.path for r in asked if is_fetch(r))
    }
    assert whole == set(wanted)
    footers = set(fetched(asked)) - whole
    assert footers <= {next(iter(files)), *shards(2, split="test")}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_view_of_text_files_fetches_those_that_hold_its_rows(desk: Desk, form: str) -> None:
    text, start = (TEXTS, 1) if form == "csv" else (LINES, 0)
    lines = text.splitlines(keepends=True)
    files = {
        f"{i}.{form}": "".join(lines[:start]) + lines[start + i] for i in range(len(lines) - start)
    }
    copy = desk.publish("acme/texts", files)
    desk.forget()
    desk.asked()
    desk.do("loaded", uri=f"{DATA}acme/texts")
    folder, made = view(desk, f"{DATA}acme/texts", keep=0.3)
    desk.forget()
    desk.asked()
    rows, table = seen(desk, folder)
    assert table.equals(local_rows(copy).take(made["rows"]))
    wanted = {f"{row}.{form}" for row in rows}
    assert set(fetched(desk.asked())) == wanted | {f"0.{form}"}


def test_a_view_reads_its_source_as_it_was_when_the_branch_has_moved_on(desk: Desk) -> None:
    files = shards(3)
    copy = desk.publish("acme/src", files)
    folder, made = view(desk, f"{DATA}acme/src@main")
    assert made["uri"] == f"{DATA}acme/src@{desk.hub.commits('acme/src')[0]}"
    desk.publish("acme/src", {"data/train-00000-of-00001.parquet": blobs(8)}, deleted=list(files))
    desk.forget()
    rows, table = seen(desk, folder)
    assert table.equals(local_rows(copy).take(rows))
    message = desk.refused_view(folder, source=f"{DATA}acme/src")
    assert "acme/src" in message


def test_a_view_of_a_dataset_that_was_deleted_is_told_and_a_copy_serves(desk: Desk) -> None:
    copy = desk.publish("acme/src", shards(2))
    folder, made = view(desk, f"{DATA}acme/src")
    run_action(desk.client, "delete", repo="acme/src")
    desk.forget()
    message = desk.refused_view(folder)
    assert "acme/src" in message
    assert "the Hub has no such dataset" in message
    rows, table = seen(desk, folder, source=str(copy))
    assert rows == made["rows"]
    assert table.equals(local_rows(copy).take(rows))
