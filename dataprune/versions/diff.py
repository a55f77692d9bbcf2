"""What changed between two versions: rows by content, so that sources need not be the same."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dataprune.tables.examples import class_name, occurrences
from dataprune.versions.load import LoadedVersion
from dataprune.versions.relabel import suggested_labels

_FIELDS = (
    "strategy",
    "by",
    "params",
    "keep",
    "class_balance",
    "min_per_class",
    "max_per_group",
    "seed",
    "drop_likely",
    "relabel",
    "flags_sha256",
)


def diff_versions(old: LoadedVersion, new: LoadedVersion) -> dict[str, Any]:
    """Kept rows in both, added and removed, in total and per class, and changed settings.

    Of rows in both, `relabelled` have another suggested label. Where one version has none, its
    given labels count; where neither has, it is 0.

    Rows of one source are matched by their places; of two sources, by content hash and occurrence
    (the k-th copy of an example matches the k-th).
    """
    same_source = old.manifest.source.fingerprint == new.manifest.source.fingerprint
    kept_old, kept_new = (_kept(version, by_row=same_source) for version in (old, new))
    both = kept_old.keys() & kept_new.keys()
    added, removed = kept_new.keys() - both, kept_old.keys() - both
    classes: dict[str, dict[str, int]] = {}
    for kind, ids, kept in (("added", added, kept_new), ("removed", removed, kept_old)):
        for identity in ids:
            entry = classes.setdefault(kept[identity].given, {"added": 0, "removed": 0})
            entry[kind] += 1
    before, after = old.manifest.selection, new.manifest.selection
    pairs = {field: [getattr(before, field), getattr(after, field)] for field in _FIELDS}
    settings = {field: pair for field, pair in pairs.items() if pair[0] != pair[1]}
    if before.steps != after.steps:
        settings["steps"] = [s.steps_in_words or None for s in (before, after)]
    digests = [s.suggested_sha256 for s in (before, after)]
    if None not in digests and digests[0] != digests[1]:
        settings["suggested_sha256"] = digests
    if not same_source:
        settings["source"] = [old.manifest.source.uri, new.manifest.source.uri]
    return {
        "name": old.name,
        "tags": [old.tag, new.tag],
        "kept": [len(kept_old), len(kept_new)],
        "in_both": len(both),
        "added": len(added),
        "removed": len(removed),
        "relabelled": sum(kept_old[i].suggested != kept_new[i].suggested for i in both)
        if before.relabel or after.relabel
        else 0,
        "classes": dict(sorted(classes.items())),
        "settings": settings,
    }


class _Classes(NamedTuple):
    given: str
    suggested: str


def _kept(version: LoadedVersion, *, by_row: bool) -> dict[tuple[int, int], _Classes]:
    """{(content hash, occurrence) or (row, 0): names of its classes} of the kept rows.

    The class is "all" without classes. Retracted rows have no content hash any more, so that copies
    of them would be counted amiss where rows can be matched by place.
    """
    table = version.decisions_table
    hashes = table.column("row" if by_row else "content_hash").to_numpy()
    labels = table.column("label").to_pylist()
    keep = table.column("keep").to_numpy(zero_copy_only=False)
    occurrence = occurrences(hashes)
    names = version.manifest.source.class_names
    suggested = labels
    if version.manifest.selection.relabel:
        suggested = suggested_labels(version.scores.table, table).tolist()
    return {
        (int(hashes[i]), int(occurrence[i])): _Classes(
            class_name(labels[i], names), class_name(suggested[i], names)
        )
        for i in np.flatnonzero(keep)
    }
