"""Features beside a score table: of several seeds, put together, or a column of the source's own.

Each seed's are centred and whitened; two seeds' whitened spaces differ by a rotation at best, so
each is turned onto the first one's (orthogonal Procrustes) before their mean is taken. Distances in
the mean do not depend on how a seed's space happens to lie, and what one seed alone sees shrinks.

Shape suffixes: N rows, D features.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import UsageError
from dataprune.core.files import sha256_file
from dataprune.core.recipe import Recipe
from dataprune.runs.ledger import Record
from dataprune.sources._load import Loaded
from dataprune.tables.features import FEATURES, Float32, read_unit_features, write_features

RIDGE = (
    1.0  # of the mean variance: with less, directions of mere noise come to weigh as much as others
)
_BLOCK_ROWS = 1 << 14

Float64 = npt.NDArray[np.float64]
log = logging.getLogger("dataprune")


def with_embedding(path: Path, loaded: Loaded, meta: dict[str, Any]) -> dict[str, Any]:
    """Write the source's own vectors beside its score table, if it has any; the table's metadata.

    path: of the score table, as SCORES.parquet; features go to SCORES.features.parquet.
    meta: of the table so far.
    """
    if loaded.embedding is None:
        return meta
    column = loaded.ref.columns.embedding
    about = {"source_fingerprint": loaded.ref.fingerprint, "column": column}
    return {**meta, "features": {**_written(path, loaded.embedding, about), "column": column}}


def with_features(
    path: Path,
    recipe: Recipe,
    loaded: Loaded,
    records: Mapping[int, Record],
    meta: dict[str, Any],
) -> dict[str, Any]:
    """Write the features of a run beside its score table, if asked for; the table's metadata.

    Those of the source's own column, if it names one, else of the probes.
    records: finished units by seed. Others as `with_embedding`.

    Raises:
        UsageError: probes are to give them, and no score trains one.
    """
    if not recipe.probes_give_features:
        return with_embedding(path, loaded, meta)
    if not records:
        raise UsageError(
            "features come from probes, and these scores train none",
            hint="ask for a score such as el2n, too, or name a column of vectors by "
            "source.columns.embedding (--embedding), or give prune a file by --features",
        )
    seeds, source, epoch = sorted(records), meta["source"], recipe.probe.last_epoch
    units = (read_unit_features(records[s].path(FEATURES), source["num_rows"]) for s in seeds)
    combined = mean_of_seeds(units)
    about = {
        "source_fingerprint": source["fingerprint"],
        "seeds": seeds,
        "unit_ids": [records[seed].unit_id for seed in seeds],
        "epoch": epoch,
        "whitened": {"ridge": RIDGE},
    }
    told = _written(path, combined, about)
    return {**meta, "features": {**told, "seeds": seeds, "epoch": epoch}}


def _written(
    path: Path, vectors_ND: npt.NDArray[np.floating], about: dict[str, Any]
) -> dict[str, Any]:
    """Write features beside a score table; how the table names them."""
    target, size = features_path(path), vectors_ND.shape[1]
    write_features(target, vectors_ND, about)
    log.info("features of %d numbers for each row are in %s", size, target)
    return {"file": target.name, "sha256": sha256_file(target), "dimensions": size}


def features_path(scores: Path) -> Path:
    """Where the features that go with a score table are."""
    return scores.with_name(f"{scores.stem}.{FEATURES}")


def mean_of_seeds(units: Iterator[Float32]) -> Float32:
    """One vector for each row from each seed's, (N, D); one seed at a time is in memory."""
    total, first, count = np.empty((0, 0), np.float32), np.empty((0, 0), np.float32), 0
    for features_ND in units:
        white = whitened(features_ND)
        if count == 0:
            total, first = white.copy(), white
        else:
            turned = white @ rotation_onto(white, first)
            total += turned
        count += 1
    return total / np.float32(count)


def whitened(features_ND: Float32) -> Float32:
    """Centred, and with variance l / (l + ridge) along the principal direction of variance l.

    In the original's axes (ZCA), so that turned features come out turned and no sign is arbitrary.
    """
    mean = features_ND.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((features_ND.shape[1],) * 2)
    for block in _blocks(features_ND):
        centred = block - mean
        covariance += centred.T @ centred
    covariance /= len(features_ND)
    variances, directions = np.linalg.eigh(covariance)
    variances = np.maximum(variances, 0)
    ridge = RIDGE * variances.mean()
    if ridge == 0:  # every row is the same
        return np.zeros_like(features_ND)
    scale = (directions / np.sqrt(variances + ridge)) @ directions.T
    parts = [((block - mean) @ scale).astype(np.float32) for block in _blocks(features_ND)]
    return np.concatenate(parts)


def rotation_onto(features_ND: Float32, first_ND: Float32) -> Float32:
    """The rotation or reflection (D, D) that brings them nearest to the first's (Schoenemann)."""
    product = np.zeros((features_ND.shape[1],) * 2)
    for ours, theirs in zip(_blocks(features_ND), _blocks(first_ND), strict=True):
        product += ours.T @ theirs
    left, _, right = np.linalg.svd(product)
    rotation: Float32 = (left @ right).astype(np.float32)
    return rotation


def _blocks(features_ND: Float32) -> Iterator[Float64]:
    for start in range(0, len(features_ND), _BLOCK_ROWS):
        yield features_ND[start : start + _BLOCK_ROWS].astype(np.float64)
