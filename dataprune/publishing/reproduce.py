"""The part of a card that says what proves a version and how to make it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dataprune.publishing.card_of_runs import commands, has_runs
from dataprune.publishing.front_matter import render_yaml
from dataprune.publishing.markdown import (
    code,
    details,
    each_text,
    escaped,
    fenced,
    portable,
    table,
)
from dataprune.selection._choice import labels_of
from dataprune.tables.join import LABEL_ISSUE
from dataprune.tables.manifest import ALL_LEFT, FileEntry, SelectionEntry
from dataprune.tables.scores import CARRIED

if TYPE_CHECKING:
    from dataprune.publishing.card import Card

_MOST_FILES = 50


def reproducing(card: Card) -> list[str]:
    """The card's last sections: what proves the version, and the commands that make it again."""
    manifest, source = card.manifest, card.manifest.source
    parts = [
        "## Integrity",
        (
            "The tag is not meant to move, but only convention holds it: git lets its owner move "
            "it. `.dataprune/manifest.json` names every file with its sha256, and `dataprune.load` "
            f"refuses files that differ. Fingerprint of this version: {code(manifest.fingerprint)}."
        ),
        "## Reproduce",
        (
            f"Made with dataprune {escaped(manifest.producer.dataprune)}. With the recipe below "
            "saved as `recipe.yaml`:"
        ),
        fenced(_commands(card), "bash"),
    ]
    recipe = each_text(manifest.recipe, portable)
    if recipe != manifest.recipe:
        parts.append(
            "The recipe names folders of the machine that it ran on. Only their last part is shown "
            "here: put in where the data is on yours."
        )
    parts.append(details("Recipe", fenced(render_yaml(recipe), "yaml")))
    parts.append(
        f"Source: {escaped(portable(source.uri))}, format {escaped(source.format)}, split "
        f"{escaped(source.split)}, {source.num_rows:,} rows, fingerprint "
        f"{code(source.fingerprint)}."
    )
    if manifest.parents:
        parts.append("It was made from these versions:")
        parts.append(
            table(
                ["version", "how", "sha256 of its manifest"],
                "lll",
                [
                    [escaped(p.version), p.relation, code(p.manifest_sha256)]
                    for p in manifest.parents
                ],
            )
        )
    if source.files:
        parts.append(details("Files of the source", _files(source.files)))
    return [*parts, details("Files of this version", _files(manifest.files))]


def _commands(card: Card) -> str:
    manifest, selection, spec = card.manifest, card.manifest.selection, card.manifest.scores.spec
    score = "dataprune score recipe.yaml --out scores.parquet"
    if spec.get("status") == "imported":
        score = "# bring in the other tool's scores: dataprune scores import --help"
    elif card.scores_meta.get(CARRIED):
        score = "# scores.parquet is this version's own: rows of before keep the scores of then"
    elif spec.get("model") == "external":
        score = "# score the traces of your own training: dataprune score --help, --traces"
    if manifest.parents:
        made = ", ".join(f"{parent.relation} of {parent.version}" for parent in manifest.parents)
        return f"# {made}: as the card of that version says"
    if manifest.control_of and not has_runs(card):
        version = f"{manifest.name}@{manifest.control_of}"
        return f"{score}\n# then as the card of {version} says, with --control added"
    asked = manifest.recipe.get("prune", {})
    flags = [] if selection.keep == ALL_LEFT else ["--keep", str(selection.keep)]
    for name in ("drop_likely", "relabel"):
        flags += _switch(name, on=getattr(selection, name), usual=asked.get(name, False))
    flags += ["--by", card.by] if card.by else []
    flags += _strategies(selection)
    flags += ["--seed", str(selection.seed), "--class-balance", selection.class_balance]
    if selection.min_per_class or asked.get("min_per_class"):
        flags += ["--min-per-class", str(selection.min_per_class)]
    if selection.max_per_group is not None:
        flags += ["--max-per-group", str(selection.max_per_group)]
    flags += ["--name", manifest.name, "--tag", manifest.version]
    flags += ["--view"] if manifest.kind == "view" else []
    if manifest.result.order != asked.get("order", "source"):
        flags += ["--order", manifest.result.order]
    flags += _joined(card)
    if has_runs(card):
        if manifest.control_of:
            version = f"{manifest.name}@{manifest.control_of}"
            return f"# as the card of {version} says, with --control added"
        return commands(card, flags)
    return f"{score}\ndataprune prune scores.parquet {shlex.join(flags)}"


def _strategies(selection: SelectionEntry) -> list[str]:
    """The options that name the steps in order, with the parameters of each."""
    steps = [(step.strategy, step.params) for step in selection.steps]
    if not steps or selection.keep != ALL_LEFT:
        steps.append((selection.strategy, selection.params))
    flags = [word for name, _ in steps for word in ("--strategy", name)]
    for label, (_, params) in zip(labels_of([name for name, _ in steps]), steps, strict=True):
        step = "" if len(steps) == 1 else f"{label}."
        for name, value in params.items():
            flags += ["--param", f"{step}{name}={json.dumps(value)}"]
    return flags


def _switch(name: str, *, on: bool, usual: bool) -> list[str]:
    """The option that turns something on, or off where the recipe asks for it."""
    option = name.replace("_", "-")
    return [f"--{option}"] if on else [f"--no-{option}"] if usual else []


def _joined(card: Card) -> list[str]:
    """Options for the tables that were joined to the scores: flags, and other scores."""
    flags, meta = [], card.scores_meta
    has_flags = bool(meta.get("flags", {}).get(LABEL_ISSUE, {}).get("sha256"))
    if has_flags:
        flags += ["--with", "FLAGS.parquet"]
    from_flags = has_flags and card.manifest.scores.column == LABEL_ISSUE
    elsewhere = card.manifest.scores.unit_ids != meta.get("unit_ids") and not from_flags
    if meta.get("joined") or elsewhere:
        flags += ["--with", "OTHER-SCORES.parquet"]
    return flags


def _files(files: Sequence[FileEntry]) -> str:
    rows = [
        [
            escaped(portable(file.path)),
            "" if file.rows is None else f"{file.rows:,}",
            f"{file.bytes:,}",
            code(file.sha256),
        ]
        for file in files[:_MOST_FILES]
    ]
    listed = table(["file", "rows", "bytes", "sha256"], "lrrl", rows)
    more = len(files) - _MOST_FILES
    return (
        listed
        if more <= 0
        else f"{listed}\n\nand {more:,} more, which `.dataprune/manifest.json` names."
    )
