"""The card's metadata: what `datasets` loads and the Hub's search reads, as YAML."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import yaml

from dataprune.publishing.card_of_runs import has_runs, is_whole
from dataprune.publishing.features_yaml import features_yaml
from dataprune.tables.manifest import Manifest

if TYPE_CHECKING:
    from dataprune.publishing.card import Card

_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
_TASKS = {
    ("image", "classification"): "image-classification",
    ("image", "multilabel"): "image-classification",
    ("text", "classification"): "text-classification",
    ("text", "multilabel"): "text-classification",
    ("features", "classification"): "tabular-classification",
    ("features", "multilabel"): "tabular-classification",
    ("features", "regression"): "tabular-regression",
}


def front_matter(card: Card) -> dict[str, Any]:
    """The card's metadata: what `datasets` loads, and what the Hub's search finds it by."""
    manifest = card.manifest
    configs: list[dict[str, Any]] = []
    infos: list[dict[str, Any]] = []
    if manifest.kind == "materialized":
        assert sum(rows for rows, _, _ in card.splits.values()) == manifest.selection.rows_out
        files = [{"split": s, "path": list(paths)} for s, (_, _, paths) in card.splits.items()]
        configs.append({"config_name": "default", "default": True, "data_files": files})
        sizes = {split: (rows, size) for split, (rows, size, _) in card.splits.items()}
        features = features_yaml(card.schema)
        infos.append(_info("default", features, sizes, card.download_size))
    entries = {"decisions": manifest.decisions, "scores": manifest.scores.file}
    schemas = {"decisions": card.decisions_schema, "scores": card.scores_schema}
    for name, entry in entries.items():
        assert entry.rows is not None
        files = [{"split": "train", "path": [entry.path]}]
        configs.append({"config_name": name, "data_files": files})
        features = _with_class_names(features_yaml(schemas[name]), manifest)
        infos.append(_info(name, features, {"train": (entry.rows, entry.bytes)}, entry.bytes))
    return {
        "pretty_name": f"{manifest.name}@{manifest.version}",
        **({"license": card.license} if card.license else {}),
        **({"source_datasets": card.source_datasets} if card.source_datasets else {}),
        **_task_categories(card),
        "size_categories": [_size_category(manifest.selection.rows_out)],
        "tags": _tags(card),
        "configs": configs,
        "dataset_info": infos,
    }


def _tags(card: Card) -> list[str]:
    tags = ["dataprune", "data-pruning"]
    tags += ["agent-trajectories"] if has_runs(card) else []
    tags += [] if has_runs(card) and is_whole(card.manifest) else [card.manifest.selection.strategy]
    return list(dict.fromkeys(tags))


def _info(
    name: str,
    features: list[dict[str, Any]],
    sizes: dict[str, tuple[int, int]],
    download_size: int,
) -> dict[str, Any]:
    splits = [
        {"name": split, "num_bytes": size, "num_examples": rows}
        for split, (rows, size) in sizes.items()
    ]
    return {
        "config_name": name,
        "features": features,
        "splits": splits,
        "download_size": download_size,
        "dataset_size": sum(size for _, size in sizes.values()),
    }


def _with_class_names(features: list[dict[str, Any]], manifest: Manifest) -> list[dict[str, Any]]:
    """Our own tables hold indices of classes as labels: here they get their names."""
    names = {str(i): name for i, name in enumerate(manifest.source.class_names)}
    label = {
        "classification": {"dtype": {"class_label": {"names": names}}},
        "multilabel": {"list": {"class_label": {"names": names}}},
    }.get(manifest.source.task or "")
    if not names or label is None:
        return features
    indices = ({"name": "suggested", "dtype": "int32"},)  # of flags
    return [
        {"name": f["name"], **label} if f["name"] == "label" or f in indices else f
        for f in features
    ]


def _task_categories(card: Card) -> dict[str, list[str]]:
    """The Hub's name for the task, where it is certain: a list of numbers may be anything."""
    source = card.manifest.source
    columns = [card.schema.field(n).type for n in source.columns.inputs if n in card.schema.names]
    if source.kind == "features" and any(pa.types.is_nested(column) for column in columns):
        return {}
    task = _TASKS.get((source.kind, source.task or ""))
    return {"task_categories": [task]} if task else {}


def _size_category(num_rows: int) -> str:
    for i, bound in enumerate(_SIZES):
        if num_rows < 1000 * 10**i:
            return f"{_SIZES[i - 1]}<n<{bound}" if i else f"n<{bound}"
    return f"n>{_SIZES[-1]}"


class _Dumper(yaml.SafeDumper):
    """YAML that parsers of 1.1 and of 1.2 read alike: only plain words go without quotes."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Write what occurs twice twice: anchors are not for people."""
        return True


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]+", text) is not None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _quoted)


def render_yaml(data: Any) -> str:
    """YAML that every reader reads alike: what is not a plain word is quoted."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 30)
    return text
