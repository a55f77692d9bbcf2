"""What a card says of the strategies that decided, in their own words."""

from __future__ import annotations

from dataprune.publishing.markdown import code, table
from dataprune.selection import STRATEGIES, Strategy
from dataprune.tables.manifest import Manifest, SelectionEntry

_REASONS = {
    "kept": "In this version.",
    "kept_for_floor": "In this version, because its class had too few rows otherwise.",
    "displaced_by_floor": "Would have been kept; gave its place to a row of a class with too few.",
    "label_issue": "Its label is likely wrong, so that it did not compete.",
    "group_is_full": "As many rows as allowed of its group of near-duplicates came before it.",
    "too_easy": "Its score was too low for the budget.",
    "too_hard": "Its score was too high for the budget.",
    "retracted": "Taken out afterwards, with its content hash and scores.",
}


def plugin_of(strategy: str) -> Strategy | None:
    """A strategy; None for one that is not installed, or of a curation."""
    return STRATEGIES.get(strategy) if strategy in STRATEGIES.names() else None


def steps_before(selection: SelectionEntry) -> str:
    """What was dropped before the strategy filled the budget, in order."""
    told = []
    for step in selection.steps:
        plugin = plugin_of(step.strategy)
        how = plugin.says if plugin is not None else "left out rows"
        told.append(f"{code(step.strategy)} {how.format(by=code(selection.by))}")
    return f"Before that, in order: {'; '.join(told)}."


def meanings_of(selection: SelectionEntry) -> dict[str, str]:
    """What reasons mean, those of the strategies that decided first."""
    meanings = dict(_REASONS)
    for name in [*(step.strategy for step in selection.steps), selection.strategy]:
        plugin = plugin_of(name)
        meanings |= plugin.meanings if plugin is not None else {}
    return meanings


def waterfall_table(manifest: Manifest) -> str:
    """What each step dropped of the rows that came to it."""
    stages = [
        [code(stage.step), f"{stage.rows_in:,}", f"{stage.dropped:,}", f"{stage.left:,}"]
        for stage in manifest.waterfall
    ]
    return table(["step", "rows in", "dropped", "left"], "lrrr", stages)
