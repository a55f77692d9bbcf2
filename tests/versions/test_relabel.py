"""Relabelled versions: a second label beside the given one, that stays through all that is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune import flow
from dataprune.core.errors import (
    AlignmentError,
    UsageError,
    VersionError,
    VersionExistsError,
)
from dataprune.core.fingerprint import fingerprint
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import open_source
from dataprune.tables.manifest import Manifest, render_manifest
from dataprune.tables.scores import read_scores
from dataprune.versions.diff import diff_versions
from dataprune.versions.identity import version_identity
from dataprune.versions.load import LoadedVersion, explain_row
from dataprune.versions.relabel import with_suggested
from dataprune.versions.write import _Shards
from tests.conftest import blobs
from tests.tables.flagged import put_flags
from tests.versions.conftest import ScoreRandom
from tests.versions.derived import retracted

LIKELY = np.arange(60) % 7 == 1


def flags_of(scores: Path, likely: Any = LIKELY) -> Path:
    """Flags of a score table: the likely rows are suggested the next class."""
    table = read_scores(scores)
    given, names = table.table.column("label").to_numpy(), table.meta["source"]["class_names"]
    path = scores.with_name(f"flags-{int(likely.sum())}.parquet")
    return put_flags(path, given, likely, class_names=names)


@pytest.fixture
def relabel(animals_scores: Path, tmp_path: Path) -> Any:
    """Build and load a relabelled version of the animals."""

    def build(tag: str = "v1", likely: Any = LIKELY, **changes: Any) -> LoadedVersion:
        extra = [flags_of(animals_scores, likely)]
        how = {"relabel": True, "extra": extra, "store": tmp_path / "store", **changes}
        flow.prune(animals_scores, name="d", tag=tag, **how)
        return flow.load("d", tag, store=tmp_path / "store")

    return build


def expected(rows: Any, likely: Any = LIKELY) -> list[int]:
    """Suggested labels of animals, whose class is their row modulo three."""
    return [(r % 3 + 1) % 3 if likely[r] else r % 3 for r in rows]


@pytest.mark.parametrize(
    "how", [{}, {"keep": 0.5}, {"order": "score"}, {"keep": 31, "order": "score"}]
)
def test_kept_rows_have_the_suggested_label_and_their_own(relabel: Any, how: Any) -> None:
    version = relabel(**how)
    rows = version.rows
    assert len(rows) == {None: 60, 0.5: 30, 31: 31}[how.get("keep")]
    for table in (version.arrow().to_table(), version.frame().collect().to_arrow()):
        assert table.column("suggested_label").to_pylist() == expected(rows)
        assert table.column("label").to_pylist() == [r % 3 for r in rows]
        assert table.column("key").to_pylist() == [f"animal-{r}" for r in rows]
    item = version.torch()[5]
    assert item["suggested_label"] == expected(rows)[5]


def test_names_of_classes_stay_with_the_new_column(relabel: Any) -> None:
    version = relabel()
    features = version.manifest.result.features
    assert features["suggested_label"] == features["label"]
    files = [str(p) for p in sorted((version.folder / "data").iterdir())]
    loaded = datasets.Dataset.from_parquet(files, cache_dir=str(version.folder.parent / "cache"))
    assert loaded.features["suggested_label"] == datasets.ClassLabel(names=["cat", "dog", "owl"])
    own = pq.read_schema(files[0])
    assert own.names[-1] == "suggested_label"
    assert own.field("suggested_label").type == pa.int64()


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ([f"class-{i % 3}" for i in range(60)], pa.string()),
        ([f"class-{i % 3}" for i in range(60)], pa.large_string()),
        ([(4, 7, 20)[i % 3] for i in range(60)], pa.int16()),
        ([i % 2 == 0 for i in range(60)], pa.bool_()),
        ([f"class-{i % 3}" for i in range(60)], pa.dictionary(pa.int32(), pa.string())),
    ],
    ids=str,
)
def test_the_new_column_has_the_type_and_values_of_the_label(
    score_random: ScoreRandom, tmp_path: Path, labels: list[Any], kind: pa.DataType
) -> None:
    table = blobs(60).set_column(1, "label", pa.array(labels, kind))
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=17)
    scores = score_random(tmp_path / "rows.parquet")
    flow.prune(
        scores, name="d", tag="v1", relabel=True, extra=[flags_of(scores)], store=tmp_path / "s"
    )
    found = flow.load("d", "v1", store=tmp_path / "s").arrow().to_table()
    assert found.schema.field("suggested_label").type == found.schema.field("label").type
    assert found.column("label").to_pylist() == labels
    classes = sorted(set(labels))
    following = {c: classes[(i + 1) % len(classes)] for i, c in enumerate(classes)}
    wanted = [following[v] if LIKELY[i] else v for i, v in enumerate(labels)]
    assert found.column("suggested_label").to_pylist() == wanted


def test_sources_without_files_are_relabelled_too(tiny_scores: Path, tmp_path: Path) -> None:
    likely = np.arange(len(read_scores(tiny_scores).table)) % 50 == 3
    path = put_flags(
        tmp_path / "f.parquet", read_scores(tiny_scores).table.column("label").to_numpy(), likely
    )
    flow.prune(
        tiny_scores, name="d", tag="v1", relabel=True, extra=[path], store=tmp_path / "store"
    )
    rows = flow.load("d", "v1", store=tmp_path / "store").arrow().to_table()
    given, new = (rows.column(n).to_numpy() for n in ("label", "suggested_label"))
    assert np.array_equal(new, np.where(likely, (given + 1) % 10, given))


def test_labels_go_by_position_whichever_files_are_read(animals_folder: Path) -> None:
    source = open_source(SourceRecipe(uri=str(animals_folder)))
    wider = with_suggested(source, np.arange(60) // 20, ["cat", "dog", "owl"])
    assert wider.file_batches is not None
    table = pa.Table.from_batches(wider.file_batches(1))
    assert table.column("suggested_label").to_pylist() == (np.arange(25, 60) // 20).tolist()
    assert [b.schema.names for b in wider.batches(["label"])] == [["label"]] * 2
    short = with_suggested(source, np.arange(59) // 20, ["cat", "dog", "owl"])
    with pytest.raises(AlignmentError, match="had 59 rows, and has more now"):
        list(short.batches(None))


def test_what_was_done_is_recorded_and_part_of_the_identity(relabel: Any) -> None:
    first = relabel()
    selection = first.manifest.selection
    assert (selection.relabel, selection.drop_likely, selection.keep) == (True, False, "all")
    assert (selection.rows_in, selection.rows_out) == (60, 60)
    again = relabel()
    assert again.manifest == first.manifest
    other = relabel("v2", likely=np.arange(60) % 9 == 2)
    assert other.manifest.selection.flags_sha256 != selection.flags_sha256
    assert other.manifest.selection.suggested_sha256 != selection.suggested_sha256
    assert other.manifest.fingerprint != first.manifest.fingerprint
    with pytest.raises(VersionExistsError, match=r"exists with flags_sha256 "):
        relabel(likely=np.arange(60) % 9 == 2)
    with pytest.raises(VersionExistsError, match=r"exists with keep all, this has 0\.5"):
        relabel(keep=0.5)
    settings = diff_versions(first, other)["settings"]
    assert list(settings) == ["flags_sha256", "suggested_sha256"]


def test_the_same_rows_with_and_without_suggestions_are_two_versions(
    relabel: Any, animals_scores: Path
) -> None:
    version = relabel(keep=30)
    with pytest.raises(VersionExistsError, match="exists with relabel True, this has False"):
        flow.prune(animals_scores, name="d", tag="v1", keep=30, store=version.folder.parent.parent)


def test_bytes_repeat(relabel: Any, tmp_path: Path) -> None:
    one, two = relabel(), relabel(store=tmp_path / "store2")
    two = flow.load("d", "v1", store=tmp_path / "store2")
    for path in sorted(p for p in one.folder.rglob("*") if p.is_file()):
        assert path.read_bytes() == (two.folder / path.relative_to(one.folder)).read_bytes()


def test_a_control_has_labels_as_they_came(relabel: Any) -> None:
    version = relabel(keep=30, control=True)
    control = flow.load("d", "v1-control", store=version.folder.parent.parent)
    assert "suggested_label" not in control.arrow().schema.names
    assert "relabel" not in json.loads((control.folder / "manifest.json").read_text())["selection"]
    assert [c.kept for c in control.manifest.classes.values()] == [
        c.kept for c in version.manifest.classes.values()
    ]


@pytest.mark.parametrize("order", ["source", "score"])
def test_a_retracted_row_takes_its_suggestion_along(relabel: Any, order: str) -> None:
    old = relabel(keep=40, order=order)
    gone = [r for r in old.rows.tolist() if LIKELY[r]][:2]
    new = retracted(old, "v2", [*gone, 0])
    assert not {*gone, 0} & set(new.rows.tolist())
    table = new.arrow().to_table()
    assert table.column("suggested_label").to_pylist() == expected(new.rows)
    assert new.manifest.selection.relabel
    assert new.manifest.selection.suggested_sha256 != old.manifest.selection.suggested_sha256
    blank = new.scores.table.take(pa.array(gone)).to_pylist()
    assert {row["tier"] for row in blank} == {None}
    assert not any(row["is_label_issue"] or row["label_issue"] for row in blank)
    assert "suggested_class" not in explain_row(new, gone[0])


def test_suggestions_of_a_manifest_changed_by_hand_are_refused(relabel: Any) -> None:
    version = relabel()
    old = version.manifest
    selection = old.selection.model_copy(update={"suggested_sha256": "0" * 64})
    table = version.decisions_table
    identity = version_identity(
        old.kind, old.source.fingerprint, selection, table, None, old.result.order
    )
    forged: Manifest = old.model_copy(
        update={"selection": selection, "fingerprint": fingerprint(identity)}
    )
    (version.folder / "manifest.json").write_text(render_manifest(forged))
    with pytest.raises(VersionError, match="suggested labels of d@v1 are not its flags'"):
        flow.load("d", "v1", store=version.folder.parent.parent)


def test_a_diff_counts_the_rows_whose_suggested_label_changed(
    relabel: Any, animals_scores: Path
) -> None:
    likely = np.arange(60) % 9 == 2
    first, other = relabel(), relabel("v2", likely=likely, keep=40)
    changed = [r for r in other.rows.tolist() if LIKELY[r] != likely[r]]
    assert changed
    assert diff_versions(first, other)["relabelled"] == len(changed)
    assert diff_versions(first, first)["relabelled"] == 0
    flow.prune(animals_scores, name="d", tag="v3", keep=1.0, store=first.folder.parent.parent)
    plain = flow.load("d", "v3", store=first.folder.parent.parent)
    assert diff_versions(plain, first)["relabelled"] == LIKELY.sum()


def test_columns_keep_their_own_number_in_the_file(
    score_random: ScoreRandom, tmp_path: Path
) -> None:
    table = blobs(60)
    numbered = [
        f.with_metadata({"PARQUET:field_id": str(i)}) for i, f in enumerate(table.schema, 1)
    ]
    pq.write_table(table.cast(pa.schema(numbered)), tmp_path / "rows.parquet")
    scores = score_random(tmp_path / "rows.parquet")
    extra = [flags_of(scores)]
    made = flow.prune(scores, name="d", tag="v1", relabel=True, extra=extra, store=tmp_path / "s")
    assert made.folder is not None
    schema = pq.read_schema(next((made.folder / "data").iterdir()))
    ids = [(f.metadata or {}).get(b"PARQUET:field_id") for f in schema]
    assert ids == [b"1", b"2", b"3", None]


def test_suggested_labels_that_were_written_wrong_are_noticed(
    relabel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = _Shards.add

    def spoilt(shards: _Shards, piece: list[pa.RecordBatch]) -> None:
        at = piece[0].schema.get_field_index("suggested_label")
        field = piece[0].schema.field(at)
        add(shards, [batch.set_column(at, field, batch.column("label")) for batch in piece])

    monkeypatch.setattr(_Shards, "add", spoilt)
    with pytest.raises(VersionError, match="or their labels differ"):
        relabel(likely=np.arange(60) % 9 == 0)  # of one class, so that counts per class differ


def test_a_view_has_no_room_for_labels(relabel: Any) -> None:
    with pytest.raises(UsageError, match="relabel has no effect on a view") as caught:
        relabel(view=True)
    assert "leave --view out" in str(caught.value.hint)


def test_a_column_of_that_name_is_not_replaced(score_random: ScoreRandom, tmp_path: Path) -> None:
    table = blobs(60).append_column("suggested_label", pa.array(["mine"] * 60))
    pq.write_table(table, tmp_path / "rows.parquet")
    scores = score_random(tmp_path / "rows.parquet", label="label", input="features")
    with pytest.raises(UsageError, match="has a column suggested_label already") as caught:
        flow.prune(
            scores, name="d", tag="v1", relabel=True, extra=[flags_of(scores)], store=tmp_path
        )
    assert "rename it" in str(caught.value.hint)


def test_a_row_is_explained_with_its_flags(relabel: Any) -> None:
    version = relabel(keep=40)
    likely = next(r for r in version.rows.tolist() if LIKELY[r])
    told = explain_row(version, likely)
    name, following = (["cat", "dog", "owl"][(likely + k) % 3] for k in (0, 1))
    assert (told["class_name"], told["suggested_class"]) == (name, following)
    assert told["suggested_label"] == following
    assert told["scores"]["tier"] == "likely"
    other = explain_row(version, next(r for r in version.rows.tolist() if not LIKELY[r]))
    assert other["suggested_label"] == other["class_name"]
    dropped = explain_row(version, next(r for r in range(60) if r not in version.rows))
    assert "suggested_label" not in dropped
