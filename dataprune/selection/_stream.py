"""Selection of more rows than fit in memory: from a score table on disk to decisions on disk.

The same rows are kept for the same reasons as by `decide`; `rank` alone is left out, -1, since it
would take a sort of all. A ranker that sorts by one score or by the tie-break streams (`hardest`,
`easiest`, `window`, `random`), with quotas, floors and filters that look at a row alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe
from dataprune.selection import STRATEGIES
from dataprune.selection._choice import Choice, check_strategy
from dataprune.selection._columns import column_of, other_word
from dataprune.selection._cuts import MOST_GATHERED, Mask
from dataprune.selection._kept import Kept, kept_by, with_skipped
from dataprune.selection._passes import Plan, in_one_pool, left_of, numbered, planned
from dataprune.selection._steps import Stage, waterfall_of
from dataprune.tables import decisions
from dataprune.tables.decisions import NOT_RANKED
from dataprune.tables.examples import NO_CLASSES, class_counts, with_label_type
from dataprune.tables.ledger import is_ledger
from dataprune.tables.manifest import RowOrder
from dataprune.tables.parquet import table_writer
from dataprune.tables.score_scan import HeldScores, Scores, check_rows, finite, scan_scores
from dataprune.tables.scores import ScoreTable

Counts = Counter[tuple[str, str, bool]]  # rows by rule, reason and keep


IN_PARTS_ABOVE = 10_000_000  # rows: fewer are decided at once, with their ranks


@dataclass(frozen=True)
class Streamed:
    """What was decided. counts: rows by rule, reason and whether they are kept."""

    column: str
    by: str | None
    rows_in: int
    rows_out: int
    classes: dict[str, dict[str, int]]
    reasons: dict[str, int]
    waterfall: list[Stage]


def stream_decisions(
    scores: Path,
    out: Path,
    recipe: Recipe,
    choice: Choice,
    by: str | None = None,
    *,
    meta: dict[str, Any] | None = None,
    most: int = MOST_GATHERED,
) -> Streamed:
    """Decide for every row of a score table, part by part, and write the decisions.

    Neither the scores nor the decisions are ever held as a whole.

    most: rows that are sorted in memory at once.

    Raises:
        UsageError: a strategy or option that cannot stream, or as `decide`.
        TableError: the table is damaged, or a score is no number.
    """
    check_streams(choice)
    scan = scan_scores(scores)
    column = column_of(scan.head, recipe, choice, by)
    scan.head.values(column)  # that there is such a score
    counts: Counts = Counter()
    class_names = scan.head.meta["source"]["class_names"]
    classes = np.zeros((2, max(1, len(class_names))), dtype=np.int64)
    schema = with_label_type(decisions.SCHEMA, scan.head.table.schema.field("label").type)
    head = {"format": decisions.FORMAT, "format_version": decisions.FORMAT_VERSION}
    with table_writer(out, schema, {**head, **(meta or {})}) as write:
        for part, told in _decided_parts(scan, choice, column, most):
            counts.update(told)
            keep = part.column("keep").to_numpy(zero_copy_only=False)
            for i, rows in enumerate((None, keep)):
                classes[i] += class_counts(part, len(class_names), rows)
            write(part)
    source, out_of = classes.tolist()
    return Streamed(
        column=column,
        by=column if choice.reads_score else None,
        rows_in=scan.num_rows,
        rows_out=sum(n for (_, _, keep), n in counts.items() if keep),
        classes={
            name: {"source": n, "kept": k, "dropped": n - k}
            for name, n, k in zip(class_names or [NO_CLASSES], source, out_of, strict=True)
        },
        reasons=dict(sorted(_summed((why, n) for (_, why, _), n in counts.items()).items())),
        waterfall=waterfall_of(
            {(rule, why): n for (rule, why, keep), n in counts.items() if not keep},
            scan.num_rows,
            choice,
        ),
    )


def streams(table: ScoreTable, choice: Choice, order: RowOrder) -> bool:
    """Whether a table in memory is decided in parts: it is large, and nothing needs its ranks."""
    large = len(table.table) > IN_PARTS_ABOVE and not is_ledger(table.meta)
    return large and order == "source" and not _needs_all_rows(choice)


def decide_in_parts(
    table: ScoreTable, choice: Choice, column: str, *, most: int = MOST_GATHERED
) -> pa.Table:
    """Decisions for a table in memory as `decide` makes them, without ranks and without a sort.

    Raises:
        UsageError, TableError: as `stream_decisions`.
    """
    parts = _decided_parts(HeldScores(table), choice, column, most)
    return pa.concat_tables([part for part, _ in parts])


def _decided_parts(
    scan: Scores, choice: Choice, column: str, most: int
) -> Iterator[tuple[pa.Table, Counts]]:
    """Decisions part by part, and how many there are by rule, reason and keep."""
    plan = with_skipped(planned(scan, choice, column), most)
    kept = kept_by(plan, most)
    schema = with_label_type(decisions.SCHEMA, scan.head.table.schema.field("label").type)
    for start, part in numbered(scan.parts()):
        check_rows(part, start, what="the score table")
        yield _decided(plan, part, start, kept, schema)


def _needs_all_rows(choice: Choice) -> list[str]:
    """What of a choice cannot be decided in parts."""
    strategy = check_strategy(choice.strategy, choice.params)
    wrong = [choice.strategy] if strategy.sorts is None else []
    wrong += [step.strategy for step in choice.before if not step.plugin.row_local]
    return wrong + ["max_per_group"] * (choice.max_per_group is not None)


def check_streams(choice: Choice) -> None:
    """Refuse what cannot be decided in parts.

    Raises:
        UsageError: says what can.
    """
    if wrong := _needs_all_rows(choice):
        names = [n for n in STRATEGIES.names() if STRATEGIES.get(n).sorts is not None]
        filters = [n for n in STRATEGIES.names() if STRATEGIES.get(n).row_local]
        raise UsageError(
            f"{wrong[0]} needs all rows at once, and these are read in parts",
            hint=f"in parts go {', '.join(names)}, with the filters {' and '.join(filters)}, "
            "quotas and floors",
        )


def _decided(
    plan: Plan, part: pa.Table, start: int, kept: Kept, schema: pa.Schema
) -> tuple[pa.Table, Counts]:
    """Decisions for the rows of a part, and how many there are by rule, reason and keep."""
    left, out = left_of(plan, part, start)
    pooled = left if plan.by_class else in_one_pool(left)
    keep_left = kept.best.within(pooled, plan.last_digits)
    words = ["kept", "kept_for_floor", "displaced_by_floor", *_why_dropped(plan)]
    dropped = np.where(plan.is_skipped(left), 4, 3)
    code = np.where(keep_left, 0, dropped)
    if kept.of_floor is not None and kept.plain is not None:
        keep_left |= kept.of_floor.within(left, plan.last_digits)
        within = kept.plain.within(pooled, plan.last_digits)
        code = np.select([keep_left & ~within, keep_left, within], [1, 0, 2], dropped)
    places = left.rows - start
    keep = np.zeros(len(part), dtype=np.bool_)
    reason, rule = np.zeros(len(part), dtype=np.int32), np.zeros(len(part), dtype=np.int32)
    keep[places], reason[places] = keep_left, code
    rules = [plan.choice.strategy]
    if out is not None:
        reason[out.rows] = _coded(out.reasons, words)
        rule[out.rows] = _coded(out.rules, rules)
    columns = [part.column(name) for name in decisions.SCHEMA.names[:4]]
    added = [
        pa.array(keep),
        _spelled(reason, words),
        _spelled(rule, rules),
        pa.array(np.full(len(part), NOT_RANKED, dtype=np.int64)),
        pa.array(finite(part, plan.column, start)),
    ]
    return pa.table([*columns, *added], schema=schema), _counted(rule, rules, reason, words, keep)


def _spelled(codes: npt.NDArray[np.int32], words: list[str]) -> pa.Array:
    """Codes as the words that they stand for."""
    if len(words) == 1:
        return pa.repeat(words[0], len(codes))
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(words)).cast(pa.string())


def _counted(
    rule: npt.NDArray[np.int32],
    rules: list[str],
    reason: npt.NDArray[np.int32],
    words: list[str],
    keep: Mask,
) -> Counts:
    codes = (rule * len(words) + reason) * 2 + keep
    counts = np.bincount(codes, minlength=2 * len(rules) * len(words)).tolist()
    return Counter(
        {
            (rules[i // 2 // len(words)], words[i // 2 % len(words)], bool(i % 2)): count
            for i, count in enumerate(counts)
            if count
        }
    )


def _why_dropped(plan: Plan) -> list[str]:
    """The reasons of a ranker of this kind: of what it has no room for, and of what it skips."""
    sort = plan.sort
    words = [sort.dropped, sort.skipped]
    turned = plan.easier and plan.choice.last.reads_score
    return [other_word(word) for word in words] if turned else words


def _coded(found: npt.NDArray[Any], words: list[str]) -> npt.NDArray[np.int32]:
    """Words as places in a list, to which those that it lacks are added."""
    known = {word: i for i, word in enumerate(words)}
    codes = np.asarray([known.setdefault(word, len(known)) for word in found], dtype=np.int32)
    words[:] = list(known)
    return codes


def _summed(pairs: Any) -> Counter[str]:
    total: Counter[str] = Counter()
    for name, count in pairs:
        total[name] += count
    return total
