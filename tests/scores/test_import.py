"""Scores of other tools: joined to every row of the source, or refused with the rows named."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataprune
from dataprune import flow
from dataprune.core.errors import AlignmentError, DatapruneError, TableError, UsageError
from dataprune.scores import SCORES
from dataprune.tables.scores import read_scores

NUM_ROWS = 8
NAMES = ["ant", "bee", "cat", "ant", "bee", "cat", "ant", "bee"]
VALUES = [0.5, -1.25, 3.0, 4.5, 0.0, 2.0, 1e-3, 7.0]
Write = Callable[..., Path]
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> dataprune.Recipe:
    """Eight rows with keys, in three classes; rows 2 and 5 are copies of one content."""
    path = tmp_path_factory.mktemp("data") / "data.parquet"
    features = [[float(row), 1.0] for row in (0, 1, 2, 3, 4, 2, 6, 7)]
    ids = [f"id-{row}" for row in range(NUM_ROWS)]
    pq.write_table(pa.table({"features": features, "label": NAMES, "id": ids}), path)
    return dataprune.Recipe.model_validate(
        {"name": "d", "source": {"uri": str(path), "columns": {"key": "id"}}}
    )


def rows_of(**columns: list[Any]) -> Rows:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def plain() -> Rows:
    """A row per source row, in order: where it is, and a score."""
    return rows_of(
        row=list(range(NUM_ROWS)),
        id=[f"id-{row}" for row in range(NUM_ROWS)],
        label=NAMES,
        s=VALUES,
    )


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write rows as a file of some format."""

    def make(rows: Rows, ending: str = ".csv") -> Path:
        path = tmp_path / f"theirs{ending}"
        if ending == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif ending == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]), dialect="unix")
                writer.writeheader()
                writer.writerows(rows)
        return path

    return make


@pytest.fixture
def imported(recipe: dataprune.Recipe, tmp_path: Path) -> Callable[..., list[float]]:
    """Import column s as `theirs` and read it back, in source order."""

    def run(path: Path, **how: Any) -> list[float]:
        settings = {"scores": {"theirs": "s"}, **how}
        out = tmp_path / "out.parquet"
        made = dataprune.import_scores(path, source=recipe, out=out, **settings)
        return list(read_scores(made.path).values("theirs"))

    return run


FLOAT32 = list(np.asarray(VALUES, dtype=np.float32).astype(np.float64))


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("how", [{"row": "row"}, {"key": "id"}])
def test_rows_in_any_order_find_their_place(
    write: Write, imported: Any, ending: str, how: dict[str, str]
) -> None:
    shuffled = [plain()[i] for i in (3, 0, 7, 5, 1, 2, 6, 4)]
    assert imported(write(shuffled, ending), **how) == FLOAT32


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_content_hashes_are_exact_and_copies_match_in_order(
    recipe: dataprune.Recipe, tmp_path: Path, write: Write, imported: Any, ending: str
) -> None:
    made = flow.score(recipe, scores=["random"], work=tmp_path / "w")
    hashes = read_scores(made.path).table.column("content_hash").to_pylist()
    assert hashes[2] == hashes[5]
    assert max(hashes) > 2**53
    rows = [{"hash": h, "s": s} for h, s in zip(hashes, VALUES, strict=True)]
    if ending == ".parquet":
        table = pa.table({"hash": pa.array(hashes[::-1], pa.uint64()), "s": VALUES[::-1]})
        pq.write_table(table, tmp_path / "theirs.parquet")
        path = tmp_path / "theirs.parquet"
    else:
        path = write(rows[::-1], ending)
    backwards = list(FLOAT32)
    backwards[2], backwards[5] = FLOAT32[5], FLOAT32[2]
    assert imported(path, content_hash="hash") == backwards


def test_in_order_takes_the_rows_as_they_stand(write: Write, imported: Any) -> None:
    assert imported(write([{"s": s} for s in VALUES]), in_order=True) == FLOAT32


def test_lower_is_stored_negated_and_the_spec_says_so(
    recipe: dataprune.Recipe, write: Write, tmp_path: Path
) -> None:
    path = write(plain(), ".parquet")
    wanted = {"up": "s:higher", "down": "s:lower"}
    made = dataprune.import_scores(
        path, source=recipe, scores=wanted, row="row", label="label", out=tmp_path / "o.parquet"
    )
    table = read_scores(made.path)
    assert (table.values("down") == -table.values("up")).all()
    assert table.meta["scores"]["down"] == {
        "score": "down",
        "higher_is": "harder",
        "status": "imported",
        "source": "theirs.parquet",
        "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "column": "s",
        "stored": "negated: lower was harder",
        "matched_by": "row",
    }
    assert table.meta["scores"]["up"]["stored"] == "as given"
    assert made.notes == []


def test_an_imported_score_prunes_and_joins_other_tables(
    recipe: dataprune.Recipe, write: Write, tmp_path: Path
) -> None:
    made = dataprune.import_scores(
        write(plain()), source=recipe, scores={"theirs": "s"}, key="id", out=tmp_path / "i.parquet"
    )
    result = flow.prune(made.path, name="d", tag="v1", keep=3, store=tmp_path / "store")
    assert result.by == "theirs"
    version = flow.load("d", "v1", store=tmp_path / "store")
    assert version.rows.tolist() == [2, 3, 7]
    ours = flow.score(recipe, scores=["random"], work=tmp_path / "w").path
    settings: dict[str, Any] = {"name": "d", "keep": 3, "by": "theirs", "store": tmp_path / "store"}
    joined = flow.prune(ours, tag="v2", extra=[made.path], **settings)
    assert joined.manifest is not None
    assert joined.manifest.scores.spec["status"] == "imported"
    assert flow.load("d", "v2", store=tmp_path / "store").rows.tolist() == [2, 3, 7]


@pytest.mark.parametrize("labels", [NAMES, [0, 1, 2, 0, 1, 2, 0, 1]])
def test_labels_that_agree_pass_as_names_or_indices(
    write: Write, imported: Any, labels: list[Any]
) -> None:
    rows = [{**row, "label": label} for row, label in zip(plain(), labels, strict=True)]
    assert imported(write(rows[::-1]), row="row", label="label") == FLOAT32


def test_a_column_like_the_sources_label_is_pointed_at(
    recipe: dataprune.Recipe, write: Write, tmp_path: Path
) -> None:
    made = dataprune.import_scores(
        write(plain()), source=recipe, scores={"theirs": "s"}, row="row", out=tmp_path / "o.parquet"
    )
    (note,) = made.notes
    assert "has a column label, which was not compared" in note


def changed(at: int, /, **values: Any) -> Rows:
    """The plain rows with one changed."""
    rows = plain()
    rows[at] = {**rows[at], **values}
    return rows


MANY = [{"row": row, "s": 0.5} for row in (0, 0, 20, 21, 22, 23, 24, 25)]


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
@pytest.mark.parametrize(
    ("error", "rows", "how", "message"),
    [
        (AlignmentError, plain()[:6], {"row": "row"}, r"does not .* once: 2 are missing \(6, 7\)$"),
        (AlignmentError, changed(1, row=3), {"row": "row"},
         r": 1 are missing \(1\); 1 come more than once \(3\)$"),
        (AlignmentError, changed(1, id="id-x"), {"key": "id"},
         r": 1 are missing \(id-1\); 1 are unknown \(id-x\)$"),
        (AlignmentError, MANY, {"row": "row"},
         r"\(1, 2, 3, 4, 5, \.\.\.\); 6 are unknown \(20, .*, \.\.\.\); 1 come .* once \(0\)$"),
        (AlignmentError, changed(1, row=-1), {"row": "row"}, r"1 are unknown \(-1\)"),
        (AlignmentError, changed(1, row=2**70), {"content_hash": "row"}, "8 are missing"),
        (AlignmentError, plain()[:6], {"in_order": True}, "has 6 rows, and .* has 8$"),
        (AlignmentError, changed(4, label="ant"), {"row": "row", "label": "label"},
         r"row 4 is ant in .* and bee in .* \(1 rows differ\)"),
        (TableError, changed(4, label="dog"), {"row": "row", "label": "label"},
         "has the label dog, which is no class"),
        (TableError, changed(4, label=None), {"row": "row", "label": "label"},
         r"1 rows of .* have no value in label \(first: row 4, null\)"),
        (TableError, changed(2, s=None), {"row": "row"},
         r"1 rows of .* have no finite number in s \(first: row 2, null\)"),
        (TableError, changed(2, s="NaN"), {"row": "row"}, r"first: row 2, 'NaN'"),
        (TableError, changed(2, s="1_000"), {"row": "row"}, r"first: row 2, '1_000'"),
        (TableError, changed(2, s="high"), {"row": "row"}, r"first: row 2, 'high'"),
        (TableError, changed(2, s=10**400), {"row": "row"}, r"no finite number"),
        (TableError, changed(2, s=1e300), {"row": "row"}, "1e\\+300 for row 2, which float32"),
        (TableError, changed(2, row=None), {"row": "row"},
         r"have no whole number in row \(first: row 2, null\)"),
        (TableError, changed(2, row="2.0"), {"row": "row"}, "no whole number in row"),
        (TableError, changed(2, id=None), {"key": "id"}, "no key .* in id"),
        (UsageError, plain(), {"row": "rwo"}, "has no column rwo"),
        (UsageError, plain(), {"row": "row", "label": "lable"}, "has no column lable"),
        (UsageError, plain(), {"row": "row", "scores": {"theirs": "t"}}, "has no column t"),
        (UsageError, plain(), {}, "one way to match rows is needed, and none was given"),
        (UsageError, plain(), {"row": "row", "in_order": True}, "row and in_order was given"),
        (UsageError, plain(), {"row": "row", "scores": {}}, "no score was named"),
        (UsageError, plain(), {"row": "row", "scores": {"theirs": ":lower"}}, "has no column"),
        (UsageError, plain(), {"row": "row", "scores": {"el2n": "s"}}, "one of dataprune's own"),
        (UsageError, plain(), {"row": "row", "scores": {"a@3": "s"}}, "'a@3' is not a score name"),
        (UsageError, plain(), {"row": "row", "scores": {"label": "s"}}, "name of another column"),
        (UsageError, plain(), {"row": "row", "scores": {"a_std": "s"}}, "name of another column"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(
    write: Write,
    imported: Any,
    tmp_path: Path,
    ending: str,
    error: type[DatapruneError],
    rows: Rows,
    how: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(error) as caught:
        imported(write(rows, ending), **how)
    assert re.search(message, caught.value.message), caught.value.message
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    "column",
    [
        pa.array([*VALUES[:-1], float("nan")]),
        pa.array([*VALUES[:-1], float("inf")]),
        pa.array([*VALUES[:-1], None]),
        pa.array([*map(str, VALUES[:-1]), "0.5"]),
        pa.array([True] * NUM_ROWS),
    ],
)
def test_parquet_columns_that_are_no_finite_numbers_are_refused(
    imported: Any, tmp_path: Path, column: pa.Array
) -> None:
    pq.write_table(pa.table({"s": column}), tmp_path / "theirs.parquet")
    with pytest.raises(TableError, match=r"have no finite number in s \(first: row [07], "):
        imported(tmp_path / "theirs.parquet", in_order=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "has no column s|has no rows"),
        ("a.csv", b"s\n", "has no rows"),
        ("a.csv", b"s,s\n1,2\n", "has two columns s"),
        ("a.csv", b"s,t\n1,2\n3\n", r"row 1 of .* has 1 cells, and the header 2"),
        ("a.csv", b's\n"1\n', "cannot be read as CSV"),
        ("a.csv", b"s\n\xff\n", "cannot be read as CSV"),
        ("a.jsonl", b"", "has no rows"),
        ("a.jsonl", b'{"s": 1}\n{"s": \n', "line 2 of .* is not JSON"),
        ("a.jsonl", b'{"s": 1}\n3\n', "line 2 of .* is no JSON object"),
        ("a.jsonl", b'{"s": "\xff"}\n', "is not UTF-8"),
        ("a.parquet", b"PAR1", "cannot be read as Parquet"),
        ("a.xlsx", b"", "is of no format that scores are imported from"),
        ("missing.csv", None, "there is no file"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(
    imported: Any, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DatapruneError, match=message) as caught:
        imported(tmp_path / name, in_order=True)
    assert "\n" not in str(caught.value)


def test_blank_lines_a_byte_order_mark_and_long_texts_are_no_matter(
    imported: Any, tmp_path: Path
) -> None:
    lines = [f"{'x' * 200_000 if i == 3 else 'x'},{s}\n\n" for i, s in enumerate(VALUES)]
    path = tmp_path / "a.csv"
    path.write_text("text,s\n" + "".join(lines), encoding="utf-8-sig")
    assert imported(path, in_order=True) == FLOAT32


def test_the_file_itself_is_not_overwritten(
    recipe: dataprune.Recipe, write: Write, tmp_path: Path
) -> None:
    path = write(plain(), ".parquet")
    with pytest.raises(UsageError, match="is the file to import"):
        dataprune.import_scores(path, source=recipe, scores={"t": "s"}, row="row", out=path)


def test_a_source_without_keys_says_where_to_name_them(
    recipe: dataprune.Recipe, write: Write, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="has no key column"):
        dataprune.import_scores(
            write(plain()), source=recipe.source.uri, scores={"t": "s"}, key="id",
            out=tmp_path / "o.parquet",
        )  # fmt: skip


@pytest.mark.parametrize("name", SCORES.names())
def test_none_of_our_own_names_is_taken(write: Write, imported: Any, name: str) -> None:
    with pytest.raises(UsageError, match="one of dataprune's own") as caught:
        imported(write(plain()), row="row", scores={name: "s"})
    assert f"my_{name}" in (caught.value.hint or "")
