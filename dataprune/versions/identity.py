"""What makes a version the version it is, and proof that what lies on disk still is that."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dataprune.core.errors import VersionError
from dataprune.core.files import sha256_file
from dataprune.core.fingerprint import canonical_json, fingerprint
from dataprune.tables.decisions import count_by_class, count_reasons
from dataprune.tables.manifest import FileEntry, Manifest, RowOrder, SelectionEntry
from dataprune.versions.order import kept_rows


def version_identity(
    kind: str,
    source_fingerprint: str,
    selection: SelectionEntry,
    decisions: pa.Table,
    control_of: str | None,
    order: RowOrder,
) -> dict[str, Any]:
    """Kind, source, selection, every decision and the rows' order: the same in these is the same.

    The source's own order goes without saying.
    """
    digest = hashlib.sha256()
    for name in ("keep", "rank", "value"):
        digest.update(np.ascontiguousarray(decisions.column(name).to_numpy()).tobytes())
    digest.update("\n".join(decisions.column("reason").to_pylist()).encode())
    return {
        "kind": kind,
        "source": source_fingerprint,
        "selection": selection.model_dump(mode="json"),
        "decisions": digest.hexdigest(),
        "control_of": control_of,
        **({} if order == "source" else {"order": order}),
    }


def check_manifest(manifest: Manifest, decisions: pa.Table) -> None:
    """Check that a manifest says of its version what the decisions say.

    Raises:
        VersionError: its fingerprint or its counts are not those of the decisions.
    """
    identity = version_identity(
        manifest.kind,
        manifest.source.fingerprint,
        manifest.selection,
        decisions,
        manifest.control_of,
        manifest.result.order,
    )
    counts = count_by_class(decisions, manifest.source.class_names)
    same = (
        fingerprint(identity) == manifest.fingerprint
        and counts == {name: c.model_dump() for name, c in manifest.classes.items()}
        and count_reasons(decisions) == manifest.reasons
    )
    if not same:
        raise VersionError(
            f"the manifest of {manifest.name}@{manifest.version} is not what its decisions say",
            hint="it was changed by hand: restore it, or build under a new tag",
        )


def check_rows(folder: Path, manifest: Manifest, decisions: pa.Table) -> None:
    """Check that the data files hold as many rows as the manifest says, and of which content.

    Raises:
        VersionError: a file has another number of rows, or the hash of the rows is not theirs.
    """
    for split in manifest.result.splits.values():
        for file in split.files:
            rows = pq.read_metadata(folder / file.path).num_rows
            if rows != file.rows:
                raise VersionError(
                    f"{file.path} of {manifest.name}@{manifest.version} has {rows} rows, and its "
                    f"manifest says {file.rows}",
                    hint="the manifest was changed by hand: build under a new tag",
                )
    if rows_sha256(decisions, kept_rows(decisions, manifest.result.order)) != (
        manifest.result.rows_sha256
    ):
        raise VersionError(
            f"the rows of {manifest.name}@{manifest.version} are not those of its decisions",
            hint="the manifest was changed by hand: build under a new tag",
        )


def rows_sha256(decisions: pa.Table, rows: npt.NDArray[np.int64]) -> str:
    """Hash of rows' content and labels, in their order: the same however they are sharded.

    rows: int64, positions in the source.
    """
    digest = hashlib.sha256(canonical_json(["rows", len(rows)]).encode())
    digest.update(decisions.column("content_hash").to_numpy()[rows].astype("<u8").tobytes())
    labels = decisions.column("label").take(pa.array(rows))
    if pa.types.is_integer(labels.type):
        digest.update(labels.to_numpy().astype("<i4").tobytes())
    else:
        digest.update(canonical_json(labels.to_pylist()).encode())
    return digest.hexdigest()


def verify_file(path: Path, entry: FileEntry) -> None:
    """Check that a file is the one a manifest names.

    Raises:
        VersionError: it is missing, or its size or hash differs.
    """
    problem = None
    if not path.is_file():
        problem = "is missing"
    elif path.stat().st_size != entry.bytes:
        problem = f"has {path.stat().st_size} bytes, the manifest says {entry.bytes}"
    elif sha256_file(path) != entry.sha256:
        problem = "has other content than the manifest says"
    if problem:
        raise VersionError(f"{path} {problem}", hint="restore the file, or build under a new tag")


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Check every file that a manifest names.

    Raises:
        VersionError: as `verify_file`.
    """
    for entry in manifest.files:
        verify_file(folder / entry.path, entry)
