"""Load a version: check the tag, the manifest and every file's hash, then hand out the data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from dataprune.core.errors import AlignmentError, SourceError, VersionError
from dataprune.core.recipe import Images, SourceRecipe, parse_recipe
from dataprune.selection import STRATEGIES
from dataprune.sources import Source, open_source
from dataprune.sources._assemble import open_splits
from dataprune.sources._files import DataFile
from dataprune.sources._load import load_rows
from dataprune.sources._places import is_there, is_url
from dataprune.sources.parquet import FILES as PARQUET
from dataprune.tables.decisions import RETRACTED, read_decisions
from dataprune.tables.examples import GROUP, check_aligned, class_name
from dataprune.tables.flags import TIERS
from dataprune.tables.join import LABEL_ISSUE
from dataprune.tables.manifest import Manifest, SourceRef
from dataprune.tables.scores import ScoreTable, read_scores
from dataprune.versions.identity import check_manifest, check_rows, verify_files
from dataprune.versions.order import kept_rows
from dataprune.versions.relabel import check_suggested
from dataprune.versions.store import LocalStore
from dataprune.versions.write import kept_table

HUB = "hub"  # the format of sources on the Hub

if TYPE_CHECKING:
    from dataprune.versions.torch_view import VersionDataset


@dataclass(frozen=True)
class LoadedVersion:
    """A version whose files were checked against its manifest.

    `frame()`, `arrow()` and `torch()` give the kept rows, every column of the source (and
    `suggested_label` after `prune(relabel=True)`), in source order unless the version was built in
    another (`prune(order="score")`); `decisions()` gives a row per row of the source.

    repo, commit: where it was loaded from, if that was the Hub.
    """

    manifest: Manifest
    folder: Path
    source_uri: str | None = None
    repo: str | None = None
    commit: str | None = None

    @property
    def name(self) -> str:
        """The version's name."""
        return self.manifest.name

    @property
    def tag(self) -> str:
        """The version's tag."""
        return self.manifest.version

    def __len__(self) -> int:
        return self.manifest.selection.rows_out

    def __repr__(self) -> str:
        rows = f"{len(self)} of {self.manifest.selection.rows_in} rows"
        return f"<{self.repo or self.name}@{self.tag}: {rows}, {self.manifest.kind}>"

    def frame(self) -> pl.LazyFrame:
        """The kept rows as a polars LazyFrame."""
        if self.manifest.kind == "materialized":
            return pl.scan_parquet(self._paths, glob=False)
        source = self._source
        if not source.paths:
            return pl.LazyFrame(pl.from_arrow(self._view_table))
        rows = pl.Series("rows", np.flatnonzero(self._keep))
        return (
            pl.scan_parquet(list(source.paths), glob=False, row_index_name="__dataprune_row")
            .filter(pl.col("__dataprune_row").cast(pl.Int64).is_in(rows.implode()))
            .drop("__dataprune_row")
        )

    def arrow(self) -> pads.Dataset:
        """The kept rows as a pyarrow dataset; a view's rows are read into memory."""
        if self.manifest.kind == "materialized":
            return pads.dataset(self._paths, format="parquet")
        return pads.dataset(self._view_table)

    def torch(self, *, raw: bool = False) -> VersionDataset:
        """The kept rows as a map-style torch dataset of dicts.

        raw: leave images as stored; else they are resized as the recipe resized them to score them.

        Raises:
            MissingExtraError: torch (or, for images, Pillow) is not installed.
        """
        from dataprune.core.extras import require

        require("torch", extra="probe", why="the torch view of a version")
        from dataprune.versions.torch_view import VersionDataset

        source = self.manifest.source
        image = source.columns.inputs[0] if source.kind == "image" else None
        recorded = parse_recipe(self.manifest.recipe, where=f"{self.name}@{self.tag}")
        policy = Images() if raw else recorded.source.image
        return VersionDataset(self.arrow().to_table(), image=image, policy=policy)

    def decisions(self) -> pl.DataFrame:
        """The decision on every row of the source, with its reason."""
        return pl.DataFrame(pl.from_arrow(self.decisions_table))

    def own_rows(self) -> Source:
        """Where its rows are read from: its shards, or for a view the pinned source."""
        if self.manifest.kind == "view":
            return self._source
        ref = self.manifest.source
        uri, columns = str(self.folder), ref.columns
        recipe = SourceRecipe(uri=uri, format="parquet", split=ref.split, columns=columns)
        files = self.manifest.result.splits[ref.split].files
        shards = [DataFile(file.path, str(self.folder / file.path)) for file in files]
        return open_splits(recipe, PARQUET, {ref.split: shards})

    @cached_property
    def schema(self) -> pa.Schema:
        """Every column of the rows, with the source's metadata."""
        if self.manifest.kind == "materialized":
            return pq.read_schema(self._paths[0])
        return self._source.schema

    @cached_property
    def scores(self) -> ScoreTable:
        """The score table that it was decided from: a row per row of the source."""
        return read_scores(self.folder / self.manifest.scores.file.path)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of the label codes of `decisions()`."""
        return self.manifest.source.class_names

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Positions of the kept rows in the source, int64, in the order of the version's rows."""
        return kept_rows(self.decisions_table, self.manifest.result.order)

    @property
    def _paths(self) -> list[str]:
        split = self.manifest.source.split
        return [str(self.folder / f.path) for f in self.manifest.result.splits[split].files]

    @cached_property
    def decisions_table(self) -> pa.Table:
        """The decisions as stored."""
        return read_decisions(self.folder / self.manifest.decisions.path)

    @cached_property
    def _keep(self) -> npt.NDArray[np.bool_]:
        column = self.decisions_table.column("keep")
        keep: npt.NDArray[np.bool_] = column.to_numpy(zero_copy_only=False)
        return keep

    @cached_property
    def _source(self) -> Source:
        """The source, proven to be the one that was scored."""
        return open_pinned(self.manifest.source, self.source_uri, examples=self.decisions_table)

    @cached_property
    def _view_table(self) -> pa.Table:
        return kept_table(self._source, self._keep)


def load_version(
    store: LocalStore,
    name: str,
    tag: str,
    *,
    source_uri: str | None = None,
    prove_source: bool = True,
) -> LoadedVersion:
    """Find a version and verify every file it names.

    source_uri: where a view's source lies now, if it has moved.
    prove_source: check a view's source now, not when its rows are first asked for.

    Raises:
        VersionNotFoundError: no such name or tag; the hint lists the tags there are.
        VersionError: a file is missing or is not the one the manifest names.
        AlignmentError: a view's source has changed.
    """
    manifest = store.manifest(name, tag)
    folder = store.path(name, tag)
    if (manifest.name, manifest.version) != (name, tag):
        raise VersionError(
            f"{folder} holds {manifest.name}@{manifest.version}, not {name}@{tag}",
            hint="the folder was renamed or copied by hand; build the version again",
        )
    loaded = LoadedVersion(manifest, folder, source_uri)
    prove(loaded, source=prove_source)
    return loaded


def prove(loaded: LoadedVersion, *, source: bool, files: bool = True) -> None:
    """Check every file of a version against its manifest, and the manifest against the decisions.

    source: check a view's source too. files: False if they were checked as they came.

    Raises:
        VersionError, AlignmentError: as `load_version`.
    """
    if files:
        verify_files(loaded.folder, loaded.manifest)
    check_manifest(loaded.manifest, loaded.decisions_table)
    check_rows(loaded.folder, loaded.manifest, loaded.decisions_table)
    if loaded.manifest.selection.relabel:
        check_suggested(loaded.manifest, loaded.scores.table, loaded.decisions_table)
    if loaded.manifest.kind == "view" and source:
        _ = loaded._source  # noqa: SLF001 - our own class: prove the source before it is handed out


def open_pinned(
    ref: SourceRef,
    uri: str | None = None,
    *,
    examples: pa.Table | None = None,
    near: Path | None = None,
) -> Source:
    """Open the source that `ref` pins, and prove that it is the same.

    Equal files by hash are proof enough; otherwise its examples are read and compared.
    examples: a table of the pinned rows; with it, the row that differs is named.
    near: a file made from it: a relative path is looked for from each folder above it, too.

    Raises:
        SourceError: it is not where it was.
        AlignmentError: it is not the same source any more.
    """
    recipe = SourceRecipe(
        uri=uri or _locate(ref, near),
        format=ref.format,
        split=ref.split,
        test_split=ref.test.split if ref.test else None,
        columns=ref.columns,
    )
    source = _open(recipe, ref)
    if _same_files(source, ref):
        return source
    found = load_rows(source, task=ref.task)
    if examples is not None:
        what, other = f"source {recipe.uri}", "what was scored"
        check_aligned(found.examples, _as_scored(examples, found.examples), what=what, other=other)
    if found.ref.fingerprint != ref.fingerprint:
        raise AlignmentError(
            f"source {recipe.uri} is not the one that was scored",
            hint="its rows, labels or order changed: score it again, or point to the original",
        )
    return source


def _as_scored(examples: pa.Table, found: pa.Table) -> pa.Table:
    """A version's examples with the hashes that `retract` took out of it put back."""
    if "reason" not in examples.column_names or len(examples) != len(found):
        return examples
    retracted = pc.equal(examples.column("reason"), RETRACTED)
    hashes = pc.if_else(retracted, found.column("content_hash"), examples.column("content_hash"))
    at = examples.schema.get_field_index("content_hash")
    return examples.set_column(at, examples.schema.field(at), hashes)


def _open(recipe: SourceRecipe, ref: SourceRef) -> Source:
    if ref.format == HUB and recipe.uri == ref.uri:  # what is known of its files need not be asked
        from dataprune.sources.hub import open_hub

        return open_hub(recipe, ref=ref)
    if recipe.uri != ref.uri and ref.format == HUB:
        recipe = recipe.model_copy(update={"format": None})  # a copy of it may lie anywhere
    return open_source(recipe)


def _locate(ref: SourceRef, near: Path | None) -> str:
    """Where a source is: as it was named, or that name from a folder above `near`.

    What is found is proven by its content, so a wrong guess cannot pass.
    """
    if not ref.files or ref.format == HUB or is_there(ref.uri):
        return ref.uri
    if near is not None and not is_url(ref.uri) and not Path(ref.uri).is_absolute():
        for folder in near.resolve().parents:
            within = near.resolve().is_relative_to((folder / ref.uri).resolve())
            if not within and is_there(str(folder / ref.uri)):  # not the store's own folder
                return str(folder / ref.uri)
    raise SourceError(
        f"the source that was scored, {ref.uri}, is not there",
        hint="say where it lies now with --source (source= in Python)",
    )


def _same_files(source: Source, ref: SourceRef) -> bool:
    """Whether an opened source consists of the very files that `ref` pins."""
    have, want = ([(f.path, f.sha256) for f in files] for files in (source.files, ref.files))
    found = source.columns
    if ref.task is None:
        found = found.model_copy(update={"label": None})
    return bool(want) and have == want and found == ref.columns


def explain_row(loaded: LoadedVersion, row: int) -> dict[str, Any]:
    """Everything known of one row of the source: decision, reason, rank and scores.

    Raises:
        VersionError: the source has no such row.
    """
    total = loaded.manifest.selection.rows_in
    if not 0 <= row < total:
        raise VersionError(f"the source has rows 0 to {total - 1}, and no row {row}")
    decision = read_decisions(loaded.folder / loaded.manifest.decisions.path).slice(row, 1)
    told: dict[str, Any] = decision.to_pylist()[0]
    values = loaded.scores.table.slice(row, 1).to_pylist()[0]
    told["class_name"] = class_name(told["label"], loaded.manifest.source.class_names)
    selection = loaded.manifest.selection
    needs_score = STRATEGIES.get(selection.strategy).needs_score
    told["by"] = selection.by if needs_score else None
    told["competed"] = told["rule"] == selection.strategy
    told["class_balance"] = selection.class_balance
    told["scores"] = {k: v for k, v in values.items() if k not in told and k != GROUP.name}
    if values.get("tier") is not None and LABEL_ISSUE in loaded.scores.meta.get("flags", {}):
        told["suggested_class"] = loaded.class_names[values["suggested"]]
        if selection.relabel and told["keep"]:
            taken = "suggested_class" if values["tier"] == TIERS[0] else "class_name"
            told["suggested_label"] = told[taken]
    return told
