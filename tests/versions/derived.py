"""What tests of versions that are made of versions share."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from dataprune import flow
from dataprune.core.errors import (
    UsageError,
)
from dataprune.tables.manifest import Manifest, ParentRef, render_manifest
from dataprune.versions.build import build_version
from dataprune.versions.derive import without_rows
from dataprune.versions.load import LoadedVersion
from dataprune.versions.store import LocalStore
from tests.versions.conftest import KINDS

every_kind = pytest.mark.parametrize("kind", KINDS)


def sha256(manifest: Manifest) -> str:
    return hashlib.sha256(render_manifest(manifest).encode()).hexdigest()


def retracted(old: LoadedVersion, tag: str, rows: list[int]) -> LoadedVersion:
    """Build and load the version without rows, in the same store."""
    store = LocalStore(old.folder.parent.parent)
    parent = ParentRef(version=old.tag, manifest_sha256=sha256(old.manifest), relation="retracted")
    build_version(store, without_rows(old, tag, parent, np.asarray(rows, dtype=np.int64)))
    return flow.load(old.name, tag, store=store.folder)


def refused(old: LoadedVersion, rows: list[int]) -> UsageError:
    """The error of taking rows out."""
    with pytest.raises(UsageError) as caught:
        retracted(old, "v9", rows)
    assert LocalStore(old.folder.parent.parent).tags(old.name) == [old.tag]
    return caught.value


def keys(version: LoadedVersion) -> list[str]:
    """Keys of the rows, which frame, arrow and torch must agree on."""
    found = version.arrow().to_table().column("key").to_pylist()
    assert version.frame().collect()["key"].to_list() == found
    dataset = version.torch()
    assert [dataset[i]["key"] for i in (0, len(dataset) - 1)] == [found[0], found[-1]]
    return list(found)
