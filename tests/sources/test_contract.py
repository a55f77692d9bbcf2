"""What every source format owes: one suite over all of them; a format without a case fails it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune.core.errors import SourceError
from dataprune.core.recipe import Columns, SourceRecipe
from dataprune.sources import FORMATS, Source, open_source
from dataprune.sources._columns import features_of
from dataprune.sources._load import Loaded, load
from dataprune.sources._places import place_of
from dataprune.tables import examples
from dataprune.tables.manifest import SourceRef
from dataprune.versions.write import kept_table, write_shards
from tests.sources.cases import CASES, ELSEWHERE

PAIRS = [(name, case) for name in CASES if name not in ELSEWHERE for case in CASES[name]]


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: str(pair[1].__name__))
def recipe(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> SourceRecipe:
    """What opens the source; every format is named by its uri alone."""
    found: SourceRecipe = request.param[1](tmp_path_factory.mktemp(request.param[1].__name__))
    return found


@pytest.fixture(scope="module")
def source(recipe: SourceRecipe) -> Source:
    """The source, opened."""
    return open_source(recipe)


@pytest.fixture(scope="module")
def loaded(source: Source) -> Loaded:
    """The source, loaded."""
    return load(source)


def rows(source: Source, names: list[str] | None = None) -> pa.Table:
    """Every row of a source, as it reads them."""
    return pa.Table.from_batches(source.batches(names))


def with_rows(source: Source, table: pa.Table) -> Source:
    """The same source over other rows."""

    def batches(names: list[str] | None) -> Iterator[pa.RecordBatch]:
        yield from table.select(names or table.column_names).to_batches()

    return replace(source, batches=batches, num_rows=len(table), test=None)


def hashes(loaded: Loaded) -> list[int]:
    """The content hashes of a source's rows."""
    found: list[int] = loaded.examples.column("content_hash").to_pylist()
    return found


def relabelled(source: Source) -> pa.Table:
    """The source's rows, where two that have different labels have swapped them."""
    table, name = rows(source), str(source.columns.label)
    labels = table.column(name).to_pylist()
    other = next(i for i, label in enumerate(labels) if label != labels[0])
    labels[0], labels[other] = labels[other], labels[0]
    at = table.schema.get_field_index(name)
    return table.set_column(
        at, table.schema.field(at), pa.array(labels, table.schema.field(at).type)
    )


def test_every_format_has_a_case_here() -> None:
    assert set(CASES) == set(FORMATS.names())
    assert all(CASES.values())


@pytest.mark.parametrize(("name", "case"), PAIRS, ids=lambda part: getattr(part, "__name__", part))
def test_a_format_knows_its_own_uris_and_no_other_format_claims_them(
    tmp_path: Path, name: str, case: Callable[[Path], SourceRecipe]
) -> None:
    recipe = case(tmp_path)
    assert recipe.format is None
    assert [n for n in FORMATS.names() if FORMATS.get(n).matches(recipe.uri)] == [name]
    assert open_source(recipe).format == name


# --- rows


def test_rows_come_in_the_same_order_each_time_they_are_read(source: Source) -> None:
    assert rows(source).equals(rows(source), check_metadata=True)


def test_rows_come_in_the_same_order_when_opened_again(
    source: Source, recipe: SourceRecipe
) -> None:
    assert rows(open_source(recipe)).equals(rows(source), check_metadata=True)


def test_reading_all_columns_gives_every_one_with_the_schemas_metadata(source: Source) -> None:
    for batch in source.batches(None):
        assert batch.schema.equals(source.schema, check_metadata=True)


def test_reading_gives_as_many_rows_as_the_source_says(source: Source) -> None:
    assert sum(len(batch) for batch in source.batches(None)) == source.num_rows


def test_reading_one_column_gives_that_one_and_the_same_values(source: Source) -> None:
    whole = rows(source)
    for name in source.schema.names:
        assert rows(source, [name]).equals(whole.select([name]))


def test_a_second_reader_does_not_disturb_the_first(source: Source) -> None:
    one, other = source.batches(None), source.batches(None)
    assert next(one).equals(next(other))
    assert 1 + sum(1 for _ in one) == sum(1 for _ in source.batches(None))


def test_the_input_and_label_columns_are_settled_on_opening(source: Source) -> None:
    assert {*source.columns.inputs, source.columns.label} <= set(source.schema.names)
    assert source.columns.label not in source.columns.inputs


@pytest.mark.parametrize("part", ["input", "label", "key"])
def test_a_column_there_is_not_is_refused(recipe: SourceRecipe, part: str) -> None:
    asked = recipe.model_copy(update={"columns": Columns(**{part: "no such column"})})
    with pytest.raises(SourceError, match="has no column no such column"):
        open_source(asked)


def test_every_column_of_every_row_can_be_written_as_a_version(
    source: Source, tmp_path: Path
) -> None:
    keep = np.arange(source.num_rows) % 3 != 1
    write_shards(source, keep, tmp_path / "data", source.split)
    written = pa.concat_tables(map(pq.read_table, sorted((tmp_path / "data").iterdir())))
    assert written.equals(rows(source).filter(pa.array(keep)))
    assert kept_table(source, keep).equals(written)
    assert features_of(written.schema) == features_of(source.schema)


# --- files


def test_the_files_behind_it_are_pinned_by_content(source: Source) -> None:
    found = {}
    for file in place_of(source.uri).files() if source.files else []:
        with file.open() as opened:
            found[file.name] = opened.read()
    for entry in source.files:
        assert entry.sha256 == hashlib.sha256(found[entry.path]).hexdigest()
        assert entry.bytes == len(found[entry.path])
    assert bool(source.files) != (source.format == "digits")
    assert not source.files or sum(entry.rows or 0 for entry in source.files) == source.num_rows


def test_its_paths_are_the_parquet_files_on_this_machine(source: Source) -> None:
    is_local = source.format == "parquet" and "://" not in source.uri
    assert len(source.paths) == (len(source.files) if is_local else 0)
    for entry, path in zip(source.files, source.paths, strict=is_local):
        assert entry.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert entry.rows == pq.read_metadata(path).num_rows


# --- examples


def test_there_is_an_example_for_every_row(source: Source, loaded: Loaded) -> None:
    assert loaded.ref.num_rows == source.num_rows
    assert loaded.examples.schema.equals(examples.SCHEMA)
    assert loaded.examples.column("row").to_pylist() == list(range(source.num_rows))


def test_labels_are_indices_into_the_class_names(loaded: Loaded) -> None:
    assert set(loaded.labels.tolist()) == set(range(len(loaded.ref.class_names)))
    assert loaded.examples.column("label").to_pylist() == loaded.labels.tolist()


def test_inputs_have_the_shape_of_their_kind(source: Source, loaded: Loaded) -> None:
    if source.kind == "text":
        assert loaded.inputs is None
    else:
        assert loaded.inputs is not None
        assert len(loaded.inputs) == source.num_rows
        assert loaded.inputs.ndim == {"image": 4, "features": 2}[source.kind]
        assert source.kind != "image" or loaded.inputs.dtype == np.uint8


def test_keys_are_the_key_columns_values_or_null(source: Source, loaded: Loaded) -> None:
    keys = loaded.examples.column("key").to_pylist()
    name = source.columns.key
    assert keys == (rows(source).column(name).to_pylist() if name else [None] * source.num_rows)


def test_fingerprint_and_content_hashes_are_the_same_when_opened_again(
    recipe: SourceRecipe, loaded: Loaded
) -> None:
    again = load(open_source(recipe))
    assert again.ref == loaded.ref
    assert again.examples.equals(loaded.examples)


def test_a_pinned_source_survives_json(loaded: Loaded) -> None:
    assert SourceRef.model_validate_json(loaded.ref.model_dump_json()) == loaded.ref


def test_a_label_is_in_the_fingerprint_and_not_in_the_content_hash(
    source: Source, loaded: Loaded
) -> None:
    changed = load(with_rows(source, relabelled(source)))
    assert hashes(changed) == hashes(loaded)
    assert changed.ref.class_names == loaded.ref.class_names
    assert changed.ref.fingerprint != loaded.ref.fingerprint


def test_another_order_moves_the_content_hashes_and_changes_the_fingerprint(
    source: Source, loaded: Loaded
) -> None:
    backwards = list(range(source.num_rows))[::-1]
    turned = load(with_rows(source, rows(source).take(backwards)))
    assert hashes(turned) == hashes(loaded)[::-1]
    assert turned.ref.fingerprint != loaded.ref.fingerprint


def test_the_same_rows_have_the_same_fingerprint_however_they_are_batched(
    source: Source, loaded: Loaded
) -> None:
    table = pa.concat_tables(rows(source).slice(i, 7) for i in range(0, source.num_rows, 7))
    assert load(with_rows(source, table)).ref.fingerprint == loaded.ref.fingerprint


def test_a_row_less_changes_the_fingerprint_and_no_other_rows_hash(
    source: Source, loaded: Loaded
) -> None:
    shorter = load(with_rows(source, rows(source).slice(0, source.num_rows - 1)))
    assert hashes(shorter) == hashes(loaded)[:-1]
    assert shorter.ref.fingerprint != loaded.ref.fingerprint


def test_a_test_split_is_read_like_the_training_split(source: Source, loaded: Loaded) -> None:
    assert (source.test is None) == (loaded.test is None)
    if source.test is not None and loaded.test is not None:
        assert source.test.kind == source.kind
        assert loaded.ref.test is not None
        assert loaded.ref.test.split == source.test.split != source.split
        assert loaded.test.ref.class_names == loaded.ref.class_names
        assert len(loaded.test.labels) == source.test.num_rows
