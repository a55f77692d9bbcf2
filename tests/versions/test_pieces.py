"""How much of a source is read at a time changes no file that is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune.core.recipe import SourceRecipe
from dataprune.sources import Source, open_source, parquet
from dataprune.versions import write
from dataprune.versions.write import kept_table, write_shards

NUM_ROWS = 9000


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Two files of rows of some 200 bytes, the second of fewer rows than a piece."""
    rng = np.random.default_rng(0)
    for name, rows in (("a", 6000), ("b", NUM_ROWS - 6000)):
        texts = [rng.bytes(100).hex() for _ in range(rows)]
        table = pa.table({"text": texts, "label": rng.integers(0, 3, rows)})
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=700)
    return open_source(SourceRecipe(uri=str(tmp_path)))


def written(source: Source, keep: np.ndarray[tuple[int], np.dtype[np.bool_]], folder: Path) -> Path:
    [entry] = write_shards(source, keep, folder, "train")
    return folder / Path(entry.path).name


def test_batches_of_any_size_give_the_same_bytes(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "_ROW_GROUP_BYTES", 200 << 10)
    keep = np.random.default_rng(1).random(NUM_ROWS) < 0.5
    keep[3500:4096] = False  # the end of the first piece
    files = []
    for i, batch_bytes in enumerate((1 << 40, 60 << 10, 3 << 10)):
        monkeypatch.setattr(parquet, "_BATCH_BYTES", batch_bytes)
        files.append(written(source, keep, tmp_path / f"out{i}"))
    assert len({path.read_bytes() for path in files}) == 1
    about = pq.read_metadata(files[0])
    groups = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
    assert groups == [keep[:4096].sum(), keep[4096:6000].sum() + keep[6000:].sum()]


def test_rows_come_in_order_whatever_is_read_at_a_time(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_BATCH_BYTES", 3 << 10)
    keep = np.arange(NUM_ROWS) % 7 == 3
    whole = pa.Table.from_batches(source.batches(None))
    assert kept_table(source, keep).equals(whole.filter(pa.array(keep)))


def test_rows_that_are_large_come_few_at_a_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pa.table(
        {"text": [rng.bytes(50_000).hex() for _ in range(300)], "label": [0, 1, 2] * 100}
    )
    pq.write_table(table, tmp_path / "large.parquet")
    batches = list(open_source(SourceRecipe(uri=str(tmp_path / "large.parquet"))).batches(None))
    assert max(batch.nbytes for batch in batches) <= 8 << 20
    assert pa.Table.from_batches(batches).equals(table)
