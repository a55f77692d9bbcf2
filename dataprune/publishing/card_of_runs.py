"""What the card of a curation's version says: stages, codes, bias to easy queries, commands."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from dataprune.publishing.markdown import code, escaped, share, table
from dataprune.tables.ledger import CURATION, is_ledger
from dataprune.tables.manifest import ALL_LEFT, Manifest
from dataprune.trajectories.decide import LATER_CODES
from dataprune.trajectories.rules._run import all_codes

if TYPE_CHECKING:
    from dataprune.publishing.card import Card

_RATES = ["never", *(f"up to {i / 10:.1f}" for i in range(1, 10)), "below 1", "always"]
_OF_REJECTED = {
    "rejected": "In this version: the curation rejected it.",
    "curated": "The curation keeps it, in the version beside this one.",
    "not_shown": "Rejected for a secret or personal data, or left undecided.",
}
TABLES = (
    "`decisions` has a row for every trajectory of the source: kept or dropped, and why. `scores` "
    "is the ledger: every reason that was found, with message and characters, and its numbers. "
    "Both join to the source by `row`, its position there."
)
PRIVACY = (
    "Decisions and the ledger are published for every trajectory, dropped ones too: its id, hash, "
    "reasons and numbers, and no text of it. Whoever holds a trajectory of the source can tell "
    "that it was curated and whether it is in this version (membership). Secrets are found by "
    "their forms alone; look through the rows yourself."
)
LIMITS = (
    "The rules read text and run nothing: whether code or an answer is right they do not know.",
    "Agreement of runs is not correctness, and it favours easy queries.",
)


def has_runs(card: Card) -> bool:
    """Whether a version was made of a ledger."""
    return is_ledger(card.scores_meta)


def is_whole(manifest: Manifest) -> bool:
    """Whether it is what `curate` itself makes, and no part that `prune` chose."""
    return manifest.selection.strategy == "random" and manifest.selection.keep == ALL_LEFT


def _is_rejected(manifest: Manifest) -> bool:
    """Whether it holds what a curation rejected."""
    return "rejected" in manifest.reasons and "kept" not in manifest.reasons


def curation(card: Card) -> list[str]:
    """How the trajectories were read, and what each stage took."""
    told: dict[str, Any] = card.scores_meta[CURATION]
    read = {key: code(told[key]["name"]) for key in ("format", "dialect")}
    parts = ["**These were rejected.** Do not train on them."] * _is_rejected(card.manifest)
    parts += [
        "## Curation",
        f"Format {read['format']}, dialect {read['dialect']}, preset {code(told['preset'])}.",
        table(
            ["stage", "in", "left"],
            "lrr",
            [[code(s["stage"]), f"{s['rows_in']:,}", f"{s['rows_out']:,}"] for s in told["stages"]],
        ),
    ]
    before, after = (told["stages"][at]["pass_rates"] for at in (0, -1))
    if before is not None:
        left = after or [0] * len(before)
        rows = [
            [rate, f"{was:,}", f"{now:,}"]
            for rate, was, now in zip(_RATES, before, left, strict=True)
            if was
        ]
        parts += ["Queries by the share of their runs that succeed:"]
        parts += [table(["solved", "queries", "left"], "lrr", rows)]
    if told["frontier_retention"] is not None:
        kept = told["frontier_retention"]
        parts.append(f"Of the queries that are solved sometimes, {kept:.1%} have a row left.")
    if told.get("judge"):
        judge = told["judge"]
        parts.append(f"A judge was asked: {code(judge['model'])}, task {code(judge['task'])}.")
    return parts + [escaped(line, longest=1000) for line in told.get("bounds", [])]


def meaning(reason: str) -> str | None:
    """What a code of the ledger means; None for a word that is none."""
    known = {**all_codes(), **LATER_CODES}
    if reason in known:
        means = known[reason].means
        return f"{means[0].upper()}{means[1:]}."
    return _OF_REJECTED.get(reason)


def commands(card: Card, prune: list[str]) -> str:
    """The commands that make the version again. prune: options of that, for a part of a ledger."""
    manifest = card.manifest
    rejects = _is_rejected(manifest)
    name = manifest.name.removesuffix("-rejected") if rejects else manifest.name
    line = ["dataprune", "curate", "recipe.yaml", "--name", name, "--tag"]
    if is_whole(manifest):
        made = shlex.join([*line, manifest.version])
        return f"{made}\n# it makes {manifest.name}, too, of what it rejects" if rejects else made
    made = shlex.join([*line, f"{manifest.version}-all", "--ledger", "ledger.parquet"])
    return f"{made}\ndataprune prune ledger.parquet {shlex.join(prune)}"


def source_share(manifest: Manifest) -> str:
    """How many of the trajectories are in the version."""
    chosen = manifest.selection
    part = share(chosen.rows_out, chosen.rows_in)
    return f"{chosen.rows_out:,} of {chosen.rows_in:,} agent trajectories ({part})"
