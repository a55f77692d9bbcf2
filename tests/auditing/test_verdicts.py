"""Verdicts come back from the page and from a spreadsheet, or are refused for a reason."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from dataprune.auditing.draw import make_draw
from dataprune.auditing.sheet import is_changed, read_sheet, write_sheet
from dataprune.auditing.verdicts import Verdicts, read_verdicts, token_of
from dataprune.core.errors import AlignmentError, DatapruneError, TableError
from dataprune.core.files import sha256_file
from dataprune.tables.flags import read_flags


class Audit:
    """Flags, their draw, and the files that a person may give back."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self.flags, self.sha256 = read_flags(path), sha256_file(path)
        self.draw = make_draw(self.flags, self.sha256, tier="likely", sample=60, seed=3)

    def json(self, said: list[tuple[Any, Any]], **changes: Any) -> Path:
        """As the page saves it."""
        data = {
            "format": "dataprune.verdicts",
            "format_version": 1,
            "audit": self.draw.id,
            "flags_sha256": self.sha256,
            "draw": {"tier": "likely", "sample": 60, "seed": 3},
            "verdicts": [{"row": row, "verdict": word} for row, word in said],
            **changes,
        }
        path = self.folder / "verdicts.json"
        path.write_text(json.dumps(data))
        return path

    def csv(self, said: list[tuple[Any, Any]], token: str | None = None) -> Path:
        """As a person fills it in."""
        token = token_of(self.draw) if token is None else token
        rows = [{"row": row, "verdict": word, "draw": token} for row, word in said]
        write_sheet(self.folder / "audit.csv", rows)
        return self.folder / "audit.csv"

    def read(self, path: Path) -> Verdicts:
        """What comes back."""
        return read_verdicts(path, self.flags, self.sha256)


@pytest.fixture
def audit(make_flags: Any, tmp_path: Path) -> Audit:
    return Audit(make_flags(900), tmp_path)


def test_both_files_give_the_same_verdicts(audit: Audit) -> None:
    words = ("wrong", "right", "unsure")
    said = [(row, words[i % 3]) for i, row in enumerate(audit.draw.rows)]
    found = audit.read(audit.json(said))
    assert found == audit.read(audit.csv(said))
    assert found.by_row == dict(said)
    assert found.rows_called("right") == audit.draw.rows[1::3]
    assert found.judged == tuple(sorted(audit.draw.rows))
    assert found.wrong_flags == tuple(sorted({*audit.draw.rows[1::3], *audit.draw.rows[2::3]}))


def test_a_sheet_may_say_it_with_the_pages_keys(audit: Audit) -> None:
    said = [(row, "wru"[i % 3]) for i, row in enumerate(audit.draw.rows)]
    words = {"w": "wrong", "r": "right", "u": "unsure"}
    assert audit.read(audit.csv(said)).by_row == {row: words[key] for row, key in said}


def test_who_stops_early_has_judged_a_prefix(audit: Audit) -> None:
    found = audit.read(audit.json([(row, "wrong") for row in audit.draw.rows[:7]]))
    assert (found.skipped, found.judged) == ((), tuple(sorted(audit.draw.rows[:7])))


def test_a_skipped_row_counts_as_a_wrong_flag(audit: Audit) -> None:
    rows = audit.draw.rows
    found = audit.read(audit.json([(rows[0], "wrong"), (rows[3], "wrong")]))
    assert found.skipped == rows[1:3]
    assert found.judged == tuple(sorted(rows[:4]))
    assert found.wrong_flags == tuple(sorted(rows[1:3]))


def test_what_spreadsheets_do_to_a_file_does_not_matter(audit: Audit) -> None:
    rows, token = audit.draw.rows, token_of(audit.draw)
    lines = ["row;text;VERDICT;draw", f"{rows[0]};caf\xe9; Wrong ;{token}", f"{rows[1]};;;{token}"]
    path = audit.folder / "other.csv"
    path.write_bytes("\r\n".join(lines).replace("VERDICT", "verdict").encode("cp1252"))
    assert audit.read(path).by_row == {rows[0]: "wrong"}
    text = "\ufeff" + audit.csv([(rows[1], "RIGHT")]).read_text()
    path.write_text(text, encoding="utf-8")
    assert audit.read(path).by_row == {rows[1]: "right"}


def test_a_sheet_in_another_order_means_the_same(audit: Audit) -> None:
    said = [(row, "wrong" if i else "right") for i, row in enumerate(audit.draw.rows)]
    assert audit.read(audit.csv(said[::-1])) == audit.read(audit.csv(said))


def test_a_text_of_any_length_is_read_back(audit: Audit) -> None:
    row = {"row": audit.draw.rows[0], "text": 'a "quote", a line\nand more ' * 20_000}
    write_sheet(audit.folder / "a.csv", [{**row, "verdict": "wrong", "draw": token_of(audit.draw)}])
    assert audit.read(audit.folder / "a.csv").by_row == {row["row"]: "wrong"}
    assert csv.field_size_limit() == 131072
    assert read_sheet(audit.folder / "a.csv")[0]["text"] == row["text"].replace("\n", " ")


SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"


def test_text_that_a_spreadsheet_would_run_is_disarmed(tmp_path: Path) -> None:
    texts = ['=HYPERLINK("http://a")', "+1", "-1+2", "@SUM(A1)", "plain", "a=b", "\ud800", "\t=1"]
    write_sheet(tmp_path / "a.csv", [{"text": text, "verdict": ""} for text in texts])
    found = [row["text"] for row in read_sheet(tmp_path / "a.csv")]
    assert found == [*(f"'{text}" for text in texts[:4]), "plain", "a=b", "?", " '=1"]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_NONE])
@pytest.mark.parametrize("separator", [";", ",", "\t"])
def test_no_cell_is_a_formula_whatever_a_spreadsheet_splits_at(
    tmp_path: Path, separator: str, quoting: Any
) -> None:
    """Read with semicolons, the quotes that protect commas protect nothing."""
    texts = ["hello;=1+cmd|'/C calc'!A0\n=HYPERLINK(A1)", "a\r\n@b\r-c\u2028=d\x0b=e\x85+f"]
    for sign in SIGNS:
        starts = ("", "\n", "\r", "\t", " ", "\u3000", ";", ",", "; ", ',"', ';"";"', ";\x00", ",,")
        texts += [f"{start}{sign}1" for start in starts]
        texts += [f"text{start}{sign}1" for start in starts if ";" in start or "," in start]
    rows = [{"row": i, "text": text, "verdict": "", "draw": "d"} for i, text in enumerate(texts)]
    write_sheet(tmp_path / "a.csv", rows)
    back = read_sheet(tmp_path / "a.csv")
    assert [(row["row"], row["verdict"]) for row in back] == [
        (str(i), "") for i in range(len(rows))
    ]
    lines = (tmp_path / "a.csv").read_text(encoding="utf-8").split("\n")
    assert len(lines) == len(rows) + 2, "a row is a line"
    for cells in csv.reader(lines, delimiter=separator, quoting=quoting):
        for cell in cells:
            assert not cell.lstrip().lstrip('"').lstrip().startswith(tuple(SIGNS)), cell


def test_a_sheet_is_changed_by_whatever_a_person_types(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [{"row": 1, "verdict": "", "text": "a"}, {"row": 2, "verdict": "", "text": "b"}]
    assert not is_changed(path, rows)
    write_sheet(path, rows)
    assert not is_changed(path, rows)
    text = path.read_text()
    for other in ("1,wrong,a", "1,,a see Ann", "1,,a,look again", " 1,,a", "1,,", "1;;a"):
        path.write_text(text.replace("1,,a", other))
        assert is_changed(path, rows), other
    path.write_bytes(b"PK\x03\x04 an xlsx\n1,2")
    assert is_changed(path, rows)


BAD_WORDS = [
    ([(0, "wrong"), (0, "right")], "two verdicts on row 0"),
    ([(1, "wrong")], "row 1, which was not drawn"),
    ([(0, "maybe")], "verdict 'maybe' on row 0"),
    ([(0, "is wrong")], "verdict 'is wrong'"),
]


@pytest.mark.parametrize(("said", "message"), BAD_WORDS)
@pytest.mark.parametrize("kind", ["json", "csv"])
def test_verdicts_that_cannot_be_are_refused(
    make_flags: Any, tmp_path: Path, kind: str, said: Any, message: str
) -> None:
    audit = Audit(make_flags(900, tier=["likely", "ok", "ok"] * 20 + ["ok"] * 840), tmp_path)
    assert 0 in audit.draw.rows
    path = audit.json(said) if kind == "json" else audit.csv(said)
    with pytest.raises(DatapruneError, match=message):
        audit.read(path)


def test_words_in_json_are_the_pages_own(audit: Audit) -> None:
    with pytest.raises(TableError, match="verdict 'Wrong'"):
        audit.read(audit.json([(audit.draw.rows[0], "Wrong")]))


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_file_without_a_verdict_is_refused(audit: Audit, kind: str) -> None:
    path = audit.json([]) if kind == "json" else audit.csv([(r, "") for r in audit.draw.rows])
    with pytest.raises(TableError, match="has no verdict yet"):
        audit.read(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "dataprune.flags"}, "is not a file of verdicts"),
        ({"format_version": 2}, "format 2, this dataprune reads 1"),
        ({"flags_sha256": "0" * 64}, "of other flags than these"),
        ({"audit": "0" * 64}, "of another draw"),
        ({"draw": {"tier": "likely", "sample": 60, "seed": 4}}, "of another draw"),
        ({"draw": {"tier": "none", "sample": 60, "seed": 3}}, 'of a tier "none"'),
        ({"draw": {"tier": "likely", "sample": 0, "seed": 3}}, "draw.sample"),
        ({"draw": None}, "draw: "),
        ({"verdicts": {"12": "wrong"}}, "verdicts: "),
        ({"verdicts": [{"row": "12", "verdict": "wrong"}]}, r"verdicts.0.row"),
        ({"verdicts": [{"row": True, "verdict": "wrong"}]}, r"verdicts.0.row"),
        ({"verdicts": [{"row": 0}]}, r"verdicts.0.verdict"),
        ({"more": 1}, "more"),
    ],
)
def test_json_that_is_not_this_draws_is_refused(
    audit: Audit, changes: dict[str, Any], message: str
) -> None:
    path = audit.json([(audit.draw.rows[0], "wrong")], **changes)
    with pytest.raises((TableError, AlignmentError), match=message):
        audit.read(path)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", '"wrong"', "\x00"])
def test_what_is_no_json_of_ours_is_refused(audit: Audit, text: str) -> None:
    path = audit.folder / "verdicts.json"
    path.write_text(text)
    with pytest.raises(TableError, match="is not"):
        audit.read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("row,verdict,draw\n", "has no rows"),
        ("row,verdict\n1,wrong\n", "has no column draw"),
        ("row,draw\n1,x\n", "has no column verdict"),
        ("row,verdict,draw\n1,wrong,\n", "does not say which draw"),
        ("row,verdict,draw\n1,wrong,likely-x-0-ab\n", "does not say which draw"),
        ("row,verdict,draw\n1,wrong,likely-60-4-0123456789abcdef\n", "of another draw"),
        ("row,verdict,draw\n1,wrong,a\n2,wrong,b\n", "rows of 2 draws"),
        ("row,verdict,draw\n1", "does not say which draw"),
    ],
)
def test_a_sheet_that_is_not_this_draws_is_refused(audit: Audit, text: str, message: str) -> None:
    path = audit.folder / "a.csv"
    path.write_text(text)
    with pytest.raises((TableError, AlignmentError), match=message):
        audit.read(path)


def test_a_row_that_is_no_number_names_its_line(audit: Audit) -> None:
    path = audit.csv([(audit.draw.rows[0], "wrong"), ("1e3", "wrong")])
    with pytest.raises(TableError, match="'1e3' as row in line 3"):
        audit.read(path)


def test_a_file_that_is_not_there_is_named(audit: Audit) -> None:
    with pytest.raises(TableError, match=r"no file of verdicts at .*gone\.json"):
        audit.read(audit.folder / "gone.json")
