"""Kinds of tasks: DataMind's 18 as the default, a user's own column, or keywords in the prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dataprune.similarity.words import normalised

# DataMind (arXiv 2509.25084), appendix I.2.
CATEGORIES: tuple[str, ...] = (
    "Aggregation",
    "Ranking",
    "Counting",
    "Comparison",
    "Domain Specific",
    "Causal Analysis",
    "Statistical Analysis",
    "Correlation Analysis",
    "Arithmetic Calculation",
    "Descriptive Analysis",
    "Impact Analysis",
    "Fact Checking",
    "Anomaly Detection",
    "Multi-hop Numerical Reasoning",
    "Time-based Calculation",
    "Distribution Analysis",
    "Feature Engineering",
    "Comprehensive Data Preprocessing",
)
_LONGEST_PROMPT = 100_000  # characters that are searched for keywords


def from_column(
    values: Sequence[str | None], taxonomy: Sequence[str] = CATEGORIES
) -> list[str | None]:
    """Categories as the rows have them; one of the taxonomy in the taxonomy's spelling.

    Case, punctuation and spacing do not count: "fact-checking" is "Fact Checking". Another name
    stays as it is, an empty one is none, and half a character in one is "?".
    """
    spelled = {normalised(name): name for name in taxonomy}
    whole = (v if v is None else v.encode("utf-8", "replace").decode() for v in values)
    return [
        None if value is None else spelled.get(normalised(value), value.strip() or None)
        for value in whole
    ]


def from_keywords(
    prompts: Sequence[str], keywords: Mapping[str, Sequence[str]]
) -> list[str | None]:
    """The category whose keywords stand most often in each prompt; None where none does.

    A keyword is one or more whole words, in any case. Of equals the category first in the map wins.
    """
    wanted = [
        (category, [f" {words} " for word in ways if (words := normalised(word))])
        for category, ways in keywords.items()
    ]
    found: list[str | None] = []
    for prompt in prompts:
        # Doubled spaces let two keywords in a row both count.
        text = f" {normalised(prompt[:_LONGEST_PROMPT])} ".replace(" ", "  ")
        hits = {
            category: sum(text.count(word.replace(" ", "  ")[1:-1]) for word in ways)
            for category, ways in wanted
        }
        best = max(hits, key=hits.__getitem__, default=None)
        found.append(best if best is not None and hits[best] else None)
    return found


@dataclass(frozen=True, slots=True)
class CategoryCount:
    """Runs of a category before and after; category None: those without one."""

    category: str | None
    before: int
    after: int


def count_categories(
    before: Sequence[str | None],
    after: Sequence[str | None],
    taxonomy: Sequence[str] = CATEGORIES,
) -> list[CategoryCount]:
    """Counts of the taxonomy's categories, then of others by name, then of none.

    A category of the taxonomy without a run is listed with 0: it is what to collect next.
    """
    was, now = Counter(before), Counter(after)
    others = sorted(name for name in was | now if name is not None and name not in taxonomy)
    names: list[str | None] = [*taxonomy, *others]
    if was[None] or now[None]:
        names.append(None)
    return [CategoryCount(name, was[name], now[name]) for name in names]


def empty_categories(counts: Sequence[CategoryCount]) -> list[str]:
    """Categories that have no run left, or never had one."""
    return [c.category for c in counts if c.category is not None and not c.after]
