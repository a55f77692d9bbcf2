"""Categories from a column or from keywords, and what is missing."""

from __future__ import annotations

from dataprune.trajectories.taxonomy import (
    CATEGORIES,
    count_categories,
    empty_categories,
    from_column,
    from_keywords,
)


def test_the_default_has_dataminds_18() -> None:
    assert len(set(CATEGORIES)) == 18
    assert CATEGORIES[0] == "Aggregation"
    assert CATEGORIES[-1] == "Comprehensive Data Preprocessing"


def test_a_column_is_spelled_as_the_taxonomy() -> None:
    assert from_column(["fact-checking", " RANKING ", "My own", "", None]) == [
        "Fact Checking",
        "Ranking",
        "My own",
        None,
        None,
    ]


def test_keywords_are_whole_words_and_the_most_frequent_category_wins() -> None:
    keywords = {"Counting": ["how many", "count"], "Ranking": ["top", "rank"]}
    prompts = [
        "How many rows? Count, count!",
        "How many of the top, top rows rank?",
        "Stop counting.",
        "",
        "how many tops? The top.",
    ]
    assert from_keywords(prompts, keywords) == ["Counting", "Ranking", None, None, "Counting"]


def test_counts_list_the_taxonomy_others_and_none() -> None:
    counts = count_categories(["Ranking", "Own", None, "Ranking"], ["Ranking", None])
    assert [c.category for c in counts] == [*CATEGORIES, "Own", None]
    by_name = {c.category: (c.before, c.after) for c in counts}
    assert by_name["Ranking"] == (2, 1)
    assert by_name["Own"] == (1, 0)
    assert by_name[None] == (1, 1)
    assert empty_categories(counts) == [*(c for c in CATEGORIES if c != "Ranking"), "Own"]
