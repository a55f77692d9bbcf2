"""Our Parquet files: whole, self-describing, the same bytes for the same table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune.core.errors import TableError
from dataprune.tables.parquet import METADATA_KEY, check_schema, read_table, write_table

META = {"format": "dataprune.things", "format_version": 1, "note": "größe"}
TABLE = pa.table(
    {
        "row": pa.array(range(100), pa.int64()),
        "name": [f"é{i % 7}" for i in range(100)],
        "value": pa.array([i / 3 for i in range(100)], pa.float32()),
        "maybe": pa.array([None, 1] * 50, pa.int32()),
    }
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A table of ours on disk."""
    write_table(tmp_path / "things.parquet", TABLE, META)
    return tmp_path / "things.parquet"


def read(path: Path, **options: Any) -> tuple[pa.Table, dict[str, Any]]:
    """Read a file as the table of this test."""
    return read_table(path, format_name="dataprune.things", format_version=1, **options)


def test_a_table_and_its_metadata_come_back(path: Path) -> None:
    table, meta = read(path)
    assert table.equals(TABLE)
    assert meta == META


def test_the_same_table_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.parquet"
    write_table(again, pa.concat_tables([TABLE.slice(0, 30), TABLE.slice(30)]), dict(META))
    assert again.read_bytes() == path.read_bytes()


def test_metadata_that_came_with_the_table_is_not_kept(tmp_path: Path) -> None:
    foreign = TABLE.replace_schema_metadata({"pandas": "{}", "time": "now"})
    write_table(tmp_path / "a.parquet", foreign, META)
    assert pq.read_schema(tmp_path / "a.parquet").metadata.keys() == {METADATA_KEY}


def test_only_the_columns_asked_for_are_read(path: Path) -> None:
    table, _ = read(path, columns=["value"])
    assert table.equals(TABLE.select(["value"]))


def test_row_groups_have_the_size_asked_for(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", TABLE, META, row_group_rows=40)
    info = pq.read_metadata(tmp_path / "a.parquet")
    assert [info.row_group(i).num_rows for i in range(info.num_row_groups)] == [40, 40, 20]


def test_an_empty_table_comes_back(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", TABLE.slice(0, 0), META)
    assert read(tmp_path / "a.parquet")[0].equals(TABLE.slice(0, 0))


def test_metadata_that_json_cannot_hold_leaves_the_old_file(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(TypeError, match=r"\$\.note is nan"):
        write_table(path, TABLE, {**META, "note": float("nan")})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_other_tools_can_read_it(path: Path) -> None:
    polars = pytest.importorskip("polars")
    assert polars.read_parquet(path)["value"].to_list() == TABLE.column("value").to_pylist()


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"there is no things file at .*gone\.parquet"):
        read(tmp_path / "gone.parquet")


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="there is no things file"):
        read(tmp_path)


def test_another_of_our_tables_is_told_by_its_format(path: Path) -> None:
    with pytest.raises(TableError, match="is not a dataprune scores table") as caught:
        read_table(path, format_name="dataprune.scores", format_version=1)
    assert caught.value.hint == "it is a things table"


def test_anyone_elses_parquet_is_not_our_table(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "a.parquet")
    with pytest.raises(TableError, match="is not a dataprune things table") as caught:
        read(tmp_path / "a.parquet")
    assert caught.value.hint is None


def test_another_format_version_is_refused(path: Path) -> None:
    with pytest.raises(TableError, match="has things format 1, this dataprune reads 2"):
        read_table(path, format_name="dataprune.things", format_version=2)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"hello" * 100, b"PAR1" * 10])
def test_a_file_that_is_no_parquet_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(TableError, match=r"a\.parquet cannot be read as Parquet") as caught:
        read(tmp_path / "a.parquet")
    assert "\n" not in str(caught.value)


def test_a_file_cut_short_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(TableError):
            read(path)


def test_a_flipped_byte_is_a_table_error_or_readable_never_another_exception(path: Path) -> None:
    whole = path.read_bytes()
    raised: dict[str, int] = {}
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            read(path)
        except TableError:
            continue
        except Exception as exc:  # noqa: BLE001 - whatever escapes is what this test is about
            raised.setdefault(type(exc).__name__, at)
    assert raised == {}


@pytest.mark.parametrize(
    "raw",
    [b"{oops", b"\xff", b"[]", b'"text"', b'{"format": "dataprune.things"}', b'{"format": 3}'],
)
def test_metadata_that_is_not_ours_is_refused(tmp_path: Path, raw: bytes) -> None:
    pq.write_table(TABLE.replace_schema_metadata({METADATA_KEY: raw}), tmp_path / "a.parquet")
    with pytest.raises(TableError):
        read(tmp_path / "a.parquet")


# --- check_schema

WANTED = pa.schema([("row", pa.int64()), ("name", pa.string())])


def test_a_table_that_begins_as_its_contract_says_passes() -> None:
    check_schema(TABLE, WANTED, what="things")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (TABLE.select(["row"]), "column 1 called name, found nothing"),
        (TABLE.select(["name", "row"]), "column 0 called row, found name"),
        (
            TABLE.set_column(0, "row", pa.array(range(100), pa.int32())),
            "column row of type int32, should be int64",
        ),
    ],
    ids=["missing", "order", "type"],
)
def test_a_table_that_does_not_names_its_first_wrong_column(table: pa.Table, says: str) -> None:
    with pytest.raises(TableError, match=says):
        check_schema(table, WANTED, what="things")
