"""Flags join scores where they speak of the same rows and labels, and never by luck."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import AlignmentError, TableError, UsageError
from dataprune.tables.examples import examples_table
from dataprune.tables.flags import in_score_table, label_columns, read_flags
from dataprune.tables.join import join_tables
from dataprune.tables.scores import ScoreTable, read_scores, write_scores
from tests.tables.flagged import RULE, put_flags

NAMES = ["ape", "bee", "cat"]
LABELS = np.asarray([0, 1, 2, 1, 0, 2])
HASHES = np.arange(10, 16, dtype=np.uint64)
LIKELY = np.asarray([False, True, False, False, False, True])
PINNED = "c3c886e11b1abbf6a2d2d0f981fcdf7889d194b2d7b924f7e4c2183fe50018f1"


def scored(path: Path, labels: Any = LABELS, **meta: Any) -> Path:
    """Scores of six rows in three classes."""
    about = {"scores": {"el2n": {"score": "el2n"}}, "source": {"class_names": NAMES}, **meta}
    write_scores(path, examples_table(HASHES, labels), {"el2n": np.arange(6.0)}, about)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return scored(tmp_path / "scores.parquet")


def joined(path: Path, *others: Path) -> ScoreTable:
    return join_tables(read_scores(path), path, others)


def test_flags_become_columns_beside_the_scores(path: Path, tmp_path: Path) -> None:
    file = put_flags(tmp_path / "f.parquet", LABELS, LIKELY, class_names=NAMES, warnings=["weak"])
    table = joined(path, file)
    columns = in_score_table(read_flags(file).table)
    assert table.table.select(columns.schema.names).equals(columns)
    assert table.table.select(read_scores(path).table.schema.names).equals(read_scores(path).table)
    about = table.meta["flags"]["label_issue"]
    assert about["columns"] == columns.schema.names
    assert (about["rule"], about["warnings"], about["class_names"]) == (RULE, ["weak"], NAMES)
    assert len(about["sha256"]) == 64
    assert "audit" not in about


def sha256_of(path: Path, flags: Path) -> str:
    told: str = joined(path, flags).meta["flags"]["label_issue"]["sha256"]
    return told


def test_flags_are_told_apart_by_what_they_say_not_by_their_file(
    path: Path, tmp_path: Path
) -> None:
    file = put_flags(tmp_path / "f.parquet", LABELS, LIKELY, class_names=NAMES)
    # pinned: it is part of the identity of versions, whatever pyarrow wrote the file
    assert sha256_of(path, file) == PINNED
    inputs = [{"file": "/home/me/a.npy", "sha256": "0" * 64}]
    same = put_flags(tmp_path / "g.parquet", LABELS, LIKELY, inputs=inputs, warnings=["weak"])
    assert sha256_of(path, same) == PINNED
    for i, (likely, suspect) in enumerate([(~LIKELY, None), (LIKELY, np.arange(6) == 2)]):
        other = put_flags(tmp_path / f"{i}.parquet", LABELS, likely, suspect=suspect)
        assert sha256_of(path, other) != PINNED


def test_folders_of_what_flags_were_made_from_stay_behind(path: Path, tmp_path: Path) -> None:
    inputs = [{"file": "/home/me/a.npy", "sha256": "0" * 64}]
    file = put_flags(tmp_path / "f.parquet", LABELS, LIKELY, inputs=inputs)
    about = joined(path, file).meta["flags"]["label_issue"]
    assert about["inputs"] == [{"file": "a.npy", "sha256": "0" * 64}]


def test_label_issue_can_be_decided_by_and_knows_where_it_came_from(
    path: Path, tmp_path: Path
) -> None:
    file = put_flags(tmp_path / "f.parquet", LABELS, LIKELY, unit_ids=["u1"])
    table = joined(path, file)
    assert table.columns == ["el2n", "label_issue"]
    assert table.meta["scores"]["label_issue"]["higher_is"] == "noisier"
    assert np.array_equal(table.values("label_issue"), read_flags(file).column("label_q"))
    origin = table.origin("label_issue")
    assert (origin["status"], origin["unit_ids"], origin["reliability"]) == ("complete", ["u1"], {})
    with pytest.raises(UsageError, match="no column label_score"):
        table.values("label_score")
    put_flags(file, LABELS, LIKELY, missing=["seed 3"])
    assert joined(path, file).origin("label_issue")["status"] == "partial"


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(3)), likely=st.lists(st.booleans(), min_size=6, max_size=6))
def test_classes_are_matched_by_name_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], likely: list[bool]
) -> None:
    folder = tmp_path_factory.mktemp("join")
    path = scored(folder / "scores.parquet")
    names = [NAMES[k] for k in order]
    theirs = np.argsort(order)[LABELS]  # the same labels, by the flags' own positions
    matrix = np.arange(9.0).reshape(3, 3)  # [given][true], of positions in `names`
    file = put_flags(
        folder / "f.parquet", theirs, np.asarray(likely), class_names=names,
        totals={"transition": matrix.tolist()},
    )  # fmt: skip
    table = joined(path, file)
    by_name = [names[k] for k in read_flags(file).column("suggested")]
    assert [NAMES[k] for k in table.table.column("suggested").to_pylist()] == by_name
    about = table.meta["flags"]["label_issue"]
    mine = about["totals"]["transition"]
    for i, j in np.ndindex(3, 3):
        assert mine[NAMES.index(names[i])][NAMES.index(names[j])] == matrix[i, j]


def test_flags_may_know_fewer_classes(path: Path, tmp_path: Path) -> None:
    labels = np.asarray([0, 2, 2, 0, 0, 2])
    path = scored(path, labels)
    file = put_flags(tmp_path / "f.parquet", labels // 2, LIKELY, class_names=["ape", "cat"])
    suggested = joined(path, file).table.column("suggested").to_pylist()
    assert suggested == [0, 0, 2, 0, 0, 0]


def test_content_is_checked_where_the_flags_tell_it(path: Path, tmp_path: Path) -> None:
    file = put_flags(tmp_path / "f.parquet", LABELS, LIKELY, content_hash=HASHES)
    joined(path, file)
    other = np.array(HASHES)
    other[[2, 4]] = [7, 8]
    put_flags(file, LABELS, LIKELY, content_hash=other)
    with pytest.raises(AlignmentError, match=r"row 2 .* differ in content_hash \(2 rows differ\)"):
        joined(path, file)


@pytest.mark.parametrize(
    ("given", "names", "message"),
    [
        (LABELS[:5], NAMES, "has 6 rows, .* has 5"),
        ([0, 1, 2, 2, 0, 1], NAMES, r"row 3 is bee in .* and cat in .* \(2 rows differ\)"),
        ([0, 1, 2, 1, 0, 1], None, r"row 5 is cat in .* and bee in .* \(1 rows differ\)"),
        (LABELS, ["ape", "bee", "cot"], "has a class cot, and .* has none of that name"),
        (LABELS, ["bee", "ape", "cat"], "row 0 is ape in .* and bee in"),
        ([0, 1, 2, 1, 0, 3], None, "has given 3 at row 5, and there are 3 classes"),
        (LABELS, ["ape", "bee"], "has given 2 at row 2, and there are 2 classes"),
        (LABELS - 1, None, "has given -1 at row 0"),
    ],
)
def test_other_rows_or_labels_are_refused_and_the_first_named(
    path: Path, tmp_path: Path, given: Any, names: list[str] | None, message: str
) -> None:
    given = np.asarray(given)
    file = put_flags(tmp_path / "f.parquet", given, LIKELY[: len(given)], class_names=names)
    with pytest.raises(AlignmentError, match=message) as caught:
        joined(path, file)
    assert caught.value.hint


def test_flags_are_for_labels_of_one_class(tmp_path: Path) -> None:
    path = scored(tmp_path / "scores.parquet", np.arange(6.0)[:, None])
    file = put_flags(tmp_path / "f.parquet", LABELS, LIKELY)
    with pytest.raises(UsageError, match=r"the task of .* is not classification"):
        joined(path, file)


def test_two_tables_of_flags_clash(path: Path, tmp_path: Path) -> None:
    files = [put_flags(tmp_path / f"{i}.parquet", LABELS, LIKELY) for i in range(2)]
    with pytest.raises(
        UsageError, match="has a column suggested, and so have the scores"
    ) as caught:
        joined(path, *files)
    assert "leave one" in str(caught.value.hint)


def test_flags_stand_in_for_those_that_were_made_with_the_scores(
    path: Path, tmp_path: Path
) -> None:
    first = put_flags(tmp_path / "first.parquet", LABELS, LIKELY)
    about = {"scores": {"el2n": {"score": "el2n"}}, "source": {"class_names": NAMES}}
    with_flags = tmp_path / "with.parquet"
    own = label_columns(read_flags(first))
    write_scores(with_flags, examples_table(HASHES, LABELS), {"el2n": np.ones(6)}, about, [own])
    audited = put_flags(tmp_path / "audited.parquet", LABELS, ~LIKELY)
    table = joined(with_flags, audited)
    assert table.table.column("is_label_issue").to_pylist() == (~LIKELY).tolist()
    assert table.meta["flags"]["label_issue"]["sha256"] == sha256_of(path, audited)
    assert len(set(table.table.schema.names)) == len(table.table.schema.names)
    with pytest.raises(UsageError, match="has a column suggested"):
        joined(with_flags, audited, first)


def test_flags_and_further_scores_join_together(path: Path, tmp_path: Path) -> None:
    mine = scored(tmp_path / "mine.parquet")
    about = {"scores": {"mine": {"score": "mine"}}, "source": {"class_names": NAMES}}
    write_scores(mine, examples_table(HASHES, LABELS), {"mine": np.ones(6)}, about)
    flags = put_flags(tmp_path / "f.parquet", LABELS, LIKELY)
    for others in ((mine, flags), (flags, mine)):
        table = joined(path, *others)
        assert set(table.columns) == {"el2n", "mine", "label_issue"}
        assert table.meta["joined"] == ["mine"]


def test_what_is_neither_scores_nor_flags_is_named(path: Path, tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(TableError, match="cannot be read as Parquet"):
        joined(path, tmp_path / "text.parquet")
    with pytest.raises(TableError, match="there is no scores file at"):
        joined(path, tmp_path / "nowhere.parquet")
