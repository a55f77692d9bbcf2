"""The card of a published version: what it holds, how it was chosen, and how far to trust it.

One text, README.md: YAML that the Hub and `datasets` read, then Markdown for people. Nothing in it
says when or where it was made, so the same version always gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dataprune.publishing.card_of_runs import (
    LIMITS,
    PRIVACY,
    TABLES,
    curation,
    has_runs,
    meaning,
    source_share,
)
from dataprune.publishing.card_of_strategies import (
    meanings_of,
    plugin_of,
    steps_before,
    waterfall_table,
)
from dataprune.publishing.front_matter import front_matter, render_yaml
from dataprune.publishing.markdown import (
    bullets,
    code,
    escaped,
    fenced,
    portable,
    share,
    table,
    without_places,
)
from dataprune.publishing.reproduce import reproducing
from dataprune.tables.join import LABEL_ISSUE
from dataprune.tables.manifest import ALL_LEFT, Manifest
from dataprune.tables.scores import CARRIED
from dataprune.versions.build import recorded_choice
from dataprune.versions.relabel import COLUMN

_MOST_CLASSES = 50
_BALANCES = {
    "none": "none, all classes competed in one pool",
    "proportional": "proportional, each class kept its share",
    "equal": "equal, the same number of rows of each class where it has them",
    "matched": "matched, as many rows of each class as the version it is compared with",
}

_AUDITED = {"likely": "likely", "flagged": "likely or suspect"}


@dataclass(frozen=True)
class Card:
    """What a card is made of.

    schema: of the data files; of a view, its source's.
    decisions_schema, scores_schema: of decisions.parquet and scores.parquet.
    repo: "ORG/REPO". license, source_datasets: as the Hub spells them.
    splits: {split: (rows, bytes in memory, paths in the repository)}; empty for a view.
    download_size: bytes of the data files.
    scores_meta: the score table's metadata.
    warnings: what was said when the version was made.
    """

    manifest: Manifest
    schema: pa.Schema
    decisions_schema: pa.Schema
    scores_schema: pa.Schema
    repo: str
    splits: dict[str, tuple[int, int, list[str]]]
    download_size: int
    license: str | None
    source_datasets: list[str]
    scores_meta: dict[str, Any]
    warnings: list[str]

    @property
    def by(self) -> str | None:
        """The score column that decided; None for a strategy that reads no score."""
        selection = self.manifest.selection
        names = [*(step.strategy for step in selection.steps), selection.strategy]
        if any(plugin_of(name) is None for name in names):
            return selection.by
        return selection.by if recorded_choice(selection).reads_score else None


def render_card(card: Card) -> str:
    """The text of README.md.

    Raises:
        SourceError: a column has a type that Hugging Face datasets lack.
    """
    parts = [
        f"---\n{render_yaml(front_matter(card))}---",
        *_intro(card),
        *_loading(card),
        *(curation(card) if has_runs(card) else []),
        *(_scoring(card) if card.by is not None or not has_runs(card) else []),
        *_dropping(card),
        *_limits(card),
        *reproducing(card),
    ]
    return "\n\n".join(parts) + "\n"


def _intro(card: Card) -> list[str]:
    manifest, selection = card.manifest, card.manifest.selection
    source = manifest.source
    plugin = plugin_of(selection.strategy)
    how = plugin.says if plugin is not None else "chose the rows by {by}"
    chosen = how.format(by=code(card.by or "no score"))
    chosen = f"chosen with dataprune: the strategy {code(selection.strategy)} {chosen}"
    settings = f"Budget: {code(selection.keep)}. Seed: {selection.seed}."
    if selection.keep == ALL_LEFT:
        chosen, settings = "made with dataprune", f"No budget was set. Seed: {selection.seed}."
    if source.task == "classification":
        balance = _BALANCES.get(selection.class_balance, escaped(selection.class_balance))
        settings += f" Class balance: {balance}."
    what = (
        f"{selection.rows_out:,} of the {selection.rows_in:,} rows "
        f"({share(selection.rows_out, selection.rows_in)}) of {escaped(portable(source.uri))}, "
        f"split {escaped(source.split)}"
    )
    what = source_share(manifest) if has_runs(card) else what
    parts = [f"# {escaped(manifest.name)}@{manifest.version}", f"{what}, {chosen}. {settings}"]
    if selection.steps:
        parts.append(steps_before(selection))
    if recorded_choice(selection).drops_label_issues or selection.relabel:
        parts.append(_of_flags(card))
    if manifest.control_of:
        of = f"{escaped(manifest.name)}@{manifest.control_of}"
        parts.append(
            f"**This is a control.** It has as many rows as {of}, drawn at random (of each class "
            f"as many, where rows have one class). Train on both: if {of} is not better than this "
            "one, the scores that chose it did not help."
        )
    if manifest.result.order == "score":
        parts.append(
            "Its rows stand in the order of the strategy, best to keep first: the first rows are a "
            "smaller version. Shuffle them before training."
        )
    if manifest.kind == "view":
        parts.append(
            "**This is a view.** It holds no data, only the decision for each row of the source. "
            "`dataprune.load` reads the rows from the source and checks that they are the same."
        )
    if card.warnings:
        parts.append("Warnings given when it was made:")
        parts.append(bullets(escaped(without_places(w), longest=1000) for w in card.warnings))
    return parts


def _of_flags(card: Card) -> str:
    said = "Rows whose label is flagged as likely wrong were dropped before the others competed."
    if card.manifest.selection.relabel:
        said = (
            f"The column {code(COLUMN)} holds the label that flags suggest for rows whose own is "
            "likely wrong, and for all others their own. The label as it came is untouched."
        )
    about = card.scores_meta["flags"][LABEL_ISSUE]
    made = f", values with sha256 {code(about['sha256'])}" if about.get("sha256") else ""
    audited = f" {_of_audit(about['audit'])}" if about.get("audit") else ""
    return f"{said} Flags: {escaped(about['rule'], longest=1000)}{made}.{audited}"


def _of_audit(audit: dict[str, Any]) -> str:
    """What a person judged of flags, and what follows; of suggested labels it says nothing."""
    words = audit.get("verdicts", {})
    judged = sum(words.get(word, 0) for word in ("wrong", "right", "unsure"))
    tiers = _AUDITED.get(audit.get("tier", ""), "likely")
    of = f"{audit.get('population', 0):,} rows that were flagged {tiers}"
    said = f"A person judged the labels of {judged:,} of {of}."
    alpha, rows = audit.get("alpha"), audit.get("passed_rows")
    if alpha is None:
        return said
    if not rows:
        return f"{said} No part of these flags was shown to have at most {alpha:.0%} wrong ones."
    sure = f" (confidence {1 - audit['delta']:.0%})" if "delta" in audit else ""
    return (
        f"{said} Of the {rows:,} most suspicious ones ({audit.get('passed_share') or 0:.0%}) at "
        f"most {alpha:.0%} were flagged wrongly{sure}."
    )


def _loading(card: Card) -> list[str]:
    manifest = card.manifest
    repo, tag = json.dumps(card.repo), json.dumps(manifest.version)
    checked = f"import dataprune\n\nversion = dataprune.load({repo}, {tag})"
    lines = ["from datasets import load_dataset", ""]
    if manifest.kind == "materialized":
        lines.append(f"rows = load_dataset({repo}, revision={tag})")
    lines += [
        f'{name} = load_dataset({repo}, "{name}", revision={tag}, split="train")'
        for name in ("decisions", "scores")
    ]
    gets = "it does not check the manifest"
    if manifest.kind == "view":
        gets = "it gets the decisions and the scores, not the rows"
    return [
        "## Load",
        fenced(checked, "python"),
        (
            f"This checks every file against the manifest. Plain `datasets` works too, but {gets}. "
            "Where the Hub cannot be reached, some releases of it give another version from their "
            "cache."
        ),
        fenced("\n".join(lines), "python"),
        TABLES
        if has_runs(card)
        else (
            "`decisions` has a row for every row of the source: kept or dropped, and why. `scores` "
            "has every score that was computed. Both join to the source by `row`, its position "
            "there."
        ),
    ]


def _scoring(card: Card) -> list[str]:
    manifest, meta = card.manifest, card.scores_meta
    if card.by is None:
        return [
            "## Scores",
            "No score decided here. The table `scores` comes along for comparison.",
        ]
    spec = manifest.scores.spec
    higher = f"Higher means {spec['higher_is']}." if "higher_is" in spec else ""
    if spec.get("higher_is") == "nothing":
        higher = "It is a control: it says nothing about the rows."
    definition = ", ".join(str(spec[k]) for k in ("of", "norm", "source") if k in spec)
    facts = [f"Column: {code(card.by)}. {higher}"]
    if spec.get("status") == "imported":
        facts.append(
            f"Imported: the values come from another tool's file, {escaped(spec['source'])}."
        )
    elif definition:
        facts.append(f"Definition: {escaped(definition)}.")
    if "epoch" in spec:
        facts.append(
            f"Probe: {escaped(portable(str(spec.get('model', 'unknown'))))}, scored after epoch "
            f"{spec['epoch']} of {spec.get('schedule_epochs', 'unknown')} "
            f"({escaped(spec.get('mode', 'unknown'))} mode)."
        )
    if spec.get("seeds"):
        over = f" ({escaped(spec['over'])})" if "over" in spec else ""
        facts.append(f"Number of seeds: {len(spec['seeds'])}{over}.")
    facts += [] if has_runs(card) else [_agreement(manifest.scores.reliability)]
    if manifest.scores.unit_ids == meta.get("unit_ids"):  # not of a table that was joined
        facts += _measured(meta)
    if spec.get("status") == "experimental":
        facts.append("This score is experimental in dataprune: its definition may change.")
    if manifest.scores.status == "partial":
        facts.append(
            "**Partial**: some of the probes failed, so the scores are a mean of fewer seeds than "
            "were asked for."
        )
    probe = "A probe is a small model, trained briefly and only to score the rows."
    return ["## Scores", *([probe] if "epoch" in spec else []), bullets(facts)]


def _agreement(reliability: dict[str, Any]) -> str:
    half, whole = (reliability.get(k) for k in ("split_half_spearman", "reliability"))
    if half is None or whole is None:
        return "Reliability: unknown. It takes several seeds to tell how far they agree."
    return (
        f"Reliability: two halves of the seeds rank the rows alike with a correlation of "
        f"{half:.3f} (split-half Spearman). For all of the seeds that makes {whole:.3f} "
        "(Spearman-Brown). At 1 other seeds would give the same ranking, at 0 an unrelated one."
    )


def _measured(meta: dict[str, Any]) -> list[str]:
    facts = []
    if kept := sum(entry["rows"] for entry in meta.get(CARRIED, [])):
        facts.append(f"{kept:,} rows keep their scores of earlier revisions of the source.")
    if meta.get("timing"):
        values = ", ".join(f"{t['value']:.3f} at epoch {t['epoch']}" for t in meta["timing"])
        facts.append(f"Held-out {escaped(meta['timing'][0]['metric'])} of the probe: {values}.")
    if environment := meta.get("environment"):
        told = ", ".join(f"{name} {value}" for name, value in sorted(environment.items()))
        facts.append(f"Run with: {escaped(told)}.")
    return facts


def _dropping(card: Card) -> list[str]:
    manifest = card.manifest
    meanings = meanings_of(manifest.selection)
    reasons = [
        [
            code(reason),
            f"{rows:,}",
            meanings.get(reason) or meaning(reason) or "A reason of the strategy's own.",
        ]
        for reason, rows in manifest.reasons.items()
    ]
    parts = ["## What was dropped", table(["reason", "rows", "meaning"], "lrl", reasons)]
    if manifest.waterfall:
        parts.insert(1, waterfall_table(manifest))
    names = manifest.source.class_names
    if has_runs(card):
        return parts
    if not names:
        return [*parts, "The rows have no classes to count by."]
    by_size = sorted(range(len(names)), key=lambda i: -manifest.classes[names[i]].source)
    shown, rest = sorted(by_size[:_MOST_CLASSES]), by_size[_MOST_CLASSES:]
    rows = [_class_row(escaped(names[i]), manifest, [names[i]]) for i in shown]
    if rest:
        title = f"*{len(rest):,} smaller classes*"
        rows.append(_class_row(title, manifest, [names[i] for i in rest]))
    header = ["class", "source rows", "kept", "dropped", "kept share"]
    parts.append(table(header, "lrrrr", rows))
    if manifest.source.task == "multilabel":
        parts.append("A row of several classes counts in each of them.")
    return parts


def _class_row(title: str, manifest: Manifest, names: Sequence[str]) -> list[str]:
    counts = [manifest.classes[name] for name in names]
    source, kept, dropped = (
        sum(getattr(c, part) for c in counts) for part in ("source", "kept", "dropped")
    )
    return [title, f"{source:,}", f"{kept:,}", f"{dropped:,}", share(kept, source)]


def _limits(card: Card) -> list[str]:
    manifest = card.manifest
    limits = [*LIMITS] if has_runs(card) else []
    if card.by is not None and not has_runs(card):
        limits += [
            (
                "The scores depend on the probe, on its training and on when it was looked at. "
                "Another probe would score otherwise."
            ),
            (
                "Hard is not mislabelled. A high score may be a wrong label, a rare case or a "
                "useful example, and the score does not say which."
            ),
        ]
    limits.append(
        "There is no claim that another model trains as well on these rows. Compare with a random "
        "sample of the same size before you rely on it."
    )
    limits += _lost_most(manifest)
    if manifest.kind == "view":
        limits.append(
            "A view works only as long as its source is there, unchanged. If the source goes or "
            "its rows change, this version cannot be loaded any more."
        )
    private = (
        "Decisions and scores are published for every row, dropped ones too. Whoever holds a row "
        "of the source can tell that it was in the training set of the probe and whether it is in "
        "this version (membership), and how a model fared on it. Do not publish this for data "
        "whose membership is a secret."
    )
    private = PRIVACY if has_runs(card) else private
    return ["## Limits", bullets(limits), "## Privacy", private]


def _lost_most(manifest: Manifest) -> list[str]:
    """The class whose share fell most, where shares of classes are not as in the source."""
    counts = {name: c for name, c in manifest.classes.items() if c.source}
    if manifest.source.task != "classification" or len(counts) < 2:
        return []
    name, least = min(counts.items(), key=lambda item: item[1].kept / item[1].source)
    selection = manifest.selection
    expected = least.source * selection.rows_out / selection.rows_in
    if expected - least.kept < 1:  # as near as whole rows come
        return ["The classes have about the shares that they have in the source."]
    return [
        (
            "The classes do not have the shares that they have in the source. The class "
            f"{escaped(name)} lost most: {least.kept:,} of its {least.source:,} rows are kept. Its "
            f"share went from {share(least.source, selection.rows_in)} to "
            f"{share(least.kept, selection.rows_out)}."
        )
    ]
