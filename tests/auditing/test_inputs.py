"""Inputs of drawn rows: the right ones, of every kind, or an error that says what differs."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dataprune.auditing.inputs import Inputs, flag_class_names, open_flagged, read_inputs
from dataprune.auditing.render import MAX_NUMBERS, media_type, shown_image, shown_numbers
from dataprune.core.errors import AlignmentError, SourceError, TableError, UsageError
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import open_source
from dataprune.sources._load import load
from dataprune.tables.flags import read_flags
from tests.conftest import png

N = 90
ROWS = (63, 6, 87, 0, 30)
NAMES = ["ape", "bee", "cat", "dog"]


def texts(path: Path, **columns: Any) -> Path:
    """A source of N texts whose labels are the flags' own."""
    given = [NAMES[i % 4] for i in range(N)]
    data = {"text": [f"text {i}" for i in range(N)], "label": given, **columns}
    pq.write_table(pa.table(data), path, row_group_size=20)
    return path


def read(
    flags: Path,
    source: Path | str | None,
    *,
    input_column: str | None = None,
    label_column: str | None = None,
) -> Inputs:
    table = read_flags(flags)
    uri = None if source is None else str(source)
    opened = open_flagged(
        table, flags, source=uri, input_column=input_column, label_column=label_column
    )
    assert opened is not None
    return read_inputs(table, flags, opened, ROWS)


def pinned(path: str | Path, **columns: Any) -> dict[str, Any]:
    """What flags made from stored units hold: the source, content hashes, labels."""
    recipe = SourceRecipe.model_validate({"uri": str(path), "columns": columns})
    loaded = load(open_source(recipe))
    ref = loaded.ref.model_dump(mode="json")
    return {
        "meta": {"source": ref},
        "class_names": ref["class_names"],
        "given": loaded.labels,
        "content_hash": loaded.hashes,
    }


def test_texts_come_in_the_order_of_the_draw(make_flags: Any, tmp_path: Path) -> None:
    flags = make_flags(N, class_names=NAMES)
    found = read(flags, texts(tmp_path / "t.parquet"))
    assert found.shown == [{"kind": "text", "text": f"text {row}"} for row in ROWS]
    assert (found.keys, found.class_names) == (None, NAMES)


def test_flags_without_names_take_the_sources(make_flags: Any, tmp_path: Path) -> None:
    assert read(make_flags(N), texts(tmp_path / "t.parquet")).class_names == NAMES


def test_a_class_that_no_label_has_is_never_a_bare_number(make_flags: Any, tmp_path: Path) -> None:
    flags = make_flags(N, given=np.arange(N) % 3, suggested=np.full(N, 4, np.int32))
    source = texts(tmp_path / "t.parquet", label=[NAMES[i % 3] for i in range(N)])
    assert read(flags, source).class_names == [*NAMES[:3], "class #3", "class #4"]
    numbers = texts(tmp_path / "n.parquet", label=[str(4 - i % 3) for i in range(N)])
    assert read(flags, numbers).class_names == ["4", "3", "2", "class #3", "class #4"]


def test_integers_may_be_positions_of_the_flags_classes(make_flags: Any, tmp_path: Path) -> None:
    source = texts(tmp_path / "t.parquet", label=[i % 4 for i in range(N)])
    columns = {"input_column": "text", "label_column": "label"}
    assert read(make_flags(N, class_names=NAMES), source, **columns).class_names == NAMES


def test_a_source_without_labels_is_taken_by_its_rows(make_flags: Any, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [f"text {i}" for i in range(N)]}), tmp_path / "t.parquet")
    found = read(make_flags(N), tmp_path / "t.parquet")
    assert (found.class_names, found.is_proven) == (None, False)
    assert found.shown[0]["text"] == "text 63"


def test_labels_contents_or_a_pinned_source_prove_the_rows(make_flags: Any, tmp_path: Path) -> None:
    source = texts(tmp_path / "t.parquet")
    assert read(make_flags(N), source).is_proven
    known = pinned(source)
    assert read(make_flags(N, **known), None).is_proven
    hashes = known.pop("content_hash")
    assert read(make_flags(N, **known), None).is_proven, "the source is compared as a whole"
    bare = pq.read_table(source).select(["text"])
    pq.write_table(bare, tmp_path / "bare.parquet")
    assert read(make_flags(N, content_hash=hashes), tmp_path / "bare.parquet").is_proven


@pytest.mark.parametrize("names", [NAMES, None])
def test_labels_in_another_order_are_refused(
    make_flags: Any, tmp_path: Path, names: list[str] | None
) -> None:
    shuffled = np.random.default_rng(0).permutation([NAMES[i % 4] for i in range(N)])
    source = texts(tmp_path / "t.parquet", label=shuffled.tolist())
    with pytest.raises(AlignmentError, match=r"row \d+ is labelled \w+ in source .* rows differ"):
        read(make_flags(N, class_names=names), source)


def test_one_label_that_differs_is_named(make_flags: Any, tmp_path: Path) -> None:
    labels = [NAMES[i % 4] for i in range(N)]
    labels[17] = "dog"
    source = texts(tmp_path / "t.parquet", label=labels)
    for names in (NAMES, None):
        flags = make_flags(N, class_names=names)
        with pytest.raises(AlignmentError, match=r"row 17 is labelled dog in .* and bee in"):
            read(flags, source)


def test_another_number_of_rows_is_refused(make_flags: Any, tmp_path: Path) -> None:
    source = texts(tmp_path / "t.parquet")
    with pytest.raises(AlignmentError, match=r"has 90 rows, and .* has 93"):
        read(make_flags(93), source)


def test_a_column_without_an_effect_is_refused(make_flags: Any, tmp_path: Path) -> None:
    source = texts(tmp_path / "t.parquet")
    with pytest.raises(UsageError, match="--input has no effect without --source"):
        read(make_flags(N), None, input_column="text")
    with pytest.raises(UsageError, match="--label has no effect: the flags know"):
        read(make_flags(N, **pinned(source)), None, label_column="label")
    with pytest.raises(SourceError, match="no column words"):
        read(make_flags(N), source, input_column="words")


def test_flags_that_know_their_source_need_no_option(make_flags: Any, tmp_path: Path) -> None:
    source = texts(tmp_path / "t.parquet", id=[f"id-{i}" for i in range(N)])
    found = read(make_flags(N, **pinned(source, input="text", key="id")), None)
    assert found.keys == [f"id-{row}" for row in ROWS]
    assert found.class_names == NAMES
    assert found.shown[1] == {"kind": "text", "text": "text 6"}


def test_a_source_that_changed_is_refused_by_row(make_flags: Any, tmp_path: Path) -> None:
    source = texts(tmp_path / "t.parquet")
    flags = make_flags(N, **pinned(source))
    changed = [f"text {i}" for i in range(N)]
    changed[12] = "another"
    texts(source, text=changed)
    with pytest.raises(AlignmentError, match="row 12 of source"):
        read(flags, None)


def test_content_hashes_of_other_rows_are_refused(make_flags: Any, tmp_path: Path) -> None:
    known = pinned(texts(tmp_path / "t.parquet"))
    known["content_hash"] = known["content_hash"].copy()
    known["content_hash"][63] += np.uint64(1)
    with pytest.raises(AlignmentError, match=r"row 63 of source .* content_hash \(1 of the 5"):
        read(make_flags(N, **known), None)


def test_a_source_that_is_gone_says_what_to_do(make_flags: Any, tmp_path: Path) -> None:
    source = texts(tmp_path / "t.parquet")
    flags = make_flags(N, **pinned(source))
    source.rename(tmp_path / "moved.parquet")
    with pytest.raises(SourceError, match="is not there") as caught:
        read(flags, None)
    assert "--source" in str(caught.value.hint)


def test_damaged_metadata_is_an_error_of_the_file(make_flags: Any) -> None:
    flags = make_flags(N, meta={"source": {"uri": 3}})
    with pytest.raises(TableError, match="does not name its source"):
        read(flags, None)
    for names, message in ((["a"], "1 class names, and labels up to 3"), ("abcd", "no list")):
        flags = make_flags(N, class_names=names)
        with pytest.raises(TableError, match=message):
            flag_class_names(read_flags(flags), flags)


def test_the_digits_are_shown_as_images(make_flags: Any) -> None:
    known = pinned("digits")
    found = read(make_flags(1797, **known), None)
    for item in found.shown:
        assert item["src"].startswith("data:image/png;base64,")
        data = base64.b64decode(item["src"].partition(",")[2])
        assert Image.open(io.BytesIO(data)).size == (8, 8)


def test_numbers_are_shown_by_name(make_flags: Any, tmp_path: Path) -> None:
    path = tmp_path / "n.parquet"
    labels = [NAMES[i % 4] for i in range(N)]
    a, b = [i / 7 for i in range(N)], list(range(N))
    pq.write_table(pa.table({"a": a, "b": b, "label": labels}), path)
    found = read(make_flags(N, class_names=NAMES), path)
    assert found.shown[1] == {
        "kind": "numbers", "values": [["a", "0.857143"], ["b", "6"]], "more": 0
    }  # fmt: skip


def test_a_long_list_of_numbers_is_cut_and_says_so() -> None:
    shown = shown_numbers(["x"], [list(range(MAX_NUMBERS + 5))])
    assert (len(shown["values"]), shown["more"]) == (MAX_NUMBERS, 5)
    assert shown["values"][7] == ["7", "7"]
    assert shown_numbers(["x", "y"], [None, 2])["values"] == [["x", "missing"], ["y", "2"]]


def encoded(form: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (5, 4), 1).save(buffer, format=form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_what_a_browser_shows_is_given_as_it_is(form: str) -> None:
    data = encoded(form)
    shown = shown_image(data)
    assert shown["src"] == f"data:image/{form.lower()};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("form", "mode"),
    [("TIFF", "RGB"), ("BMP", "L"), ("TIFF", "CMYK"), ("TIFF", "I;16"), ("PPM", "1")],
)
def test_other_images_become_png(form: str, mode: str) -> None:
    shown = shown_image(encoded(form, mode))
    data = base64.b64decode(shown["src"].removeprefix("data:image/png;base64,"))
    assert media_type(data) == "image/png"
    assert Image.open(io.BytesIO(data)).size == (5, 4)


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"<html><script>alert(1)</script>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"RIFF\x00\x00\x00\x00WAVE",
        b"II*\x00 truncated",
        b"",
        None,
    ],
)
def test_what_is_no_image_is_said_so_and_never_shown(data: bytes | None) -> None:
    assert shown_image(data)["kind"] == "unreadable"


def test_a_damaged_image_does_not_stop_an_audit(make_flags: Any, tmp_path: Path) -> None:
    cells = [{"bytes": png(np.zeros((3, 3), np.uint8)), "path": "a.svg"} for _ in range(N)]
    cells[6] = {"bytes": b"nonsense", "path": "b.png"}
    cells[30] = {"bytes": None, "path": "c.png"}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    labels = [NAMES[i % 4] for i in range(N)]
    table = pa.table({"image": pa.array(cells, kind), "label": labels})
    pq.write_table(table, tmp_path / "i.parquet")
    found = read(make_flags(N, class_names=NAMES), tmp_path / "i.parquet")
    assert [item["kind"] for item in found.shown] == [
        "image", "unreadable", "image", "image", "unreadable"
    ]  # fmt: skip
