"""Whatever stands in data, a card stays a card: markup, YAML, names, places."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dataprune.publishing.card import Card, render_card
from dataprune.publishing.front_matter import render_yaml
from dataprune.publishing.markdown import escaped, portable, without_places
from dataprune.tables.manifest import ClassCounts
from tests.publishing.cards import (
    build,
    card_of,
    class_table,
    header,
    page,
    pictures,
)


def with_classes(card: Card, names: list[str]) -> Card:
    """The same card, as if its classes were these."""
    source = card.manifest.source.model_copy(update={"class_names": names})
    classes = {n: ClassCounts(source=10 + i, kept=5, dropped=5 + i) for i, n in enumerate(names)}
    update = {"source": source, "classes": classes}
    return replace(card, manifest=card.manifest.model_copy(update=update))


def test_of_a_thousand_classes_the_largest_are_listed(folder: Path) -> None:
    card = with_classes(card_of(folder), [f"c{i}" for i in range(1000)])
    text = render_card(card)
    rows = class_table(text)[1:]
    assert [row[0] for row in rows] == [*(f"c{i}" for i in range(950, 1000)), "950 smaller classes"]
    total = sum(int(row[1].replace(",", "")) for row in rows)
    assert total == sum(c.source for c in card.manifest.classes.values())


nasty = st.text(
    st.one_of(
        st.sampled_from("|`*_[]()<>!#&;:\\\n\r\t~$@{}\"'-+=. 1a"),
        st.characters(codec="utf-8"),
    ),
    max_size=20,
)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.lists(nasty, min_size=1, max_size=5, unique=True))
def test_no_class_name_breaks_the_card(names: list[str]) -> None:
    card = with_classes(CARDS["card"], names)
    text = render_card(card)
    rows = class_table(text)[1:]
    plain = [re.sub(r"\s+", " ", html.unescape(escaped(name))).strip() for name in names]
    assert [re.sub(r"\s+", " ", row[0]).strip() for row in rows] == plain
    assert [row[1] for row in rows] == [str(10 + i) for i in range(len(names))]
    assert set(re.findall(r"</?([a-z0-9]+)", page(text))) == TAGS
    for info in header(text)["dataset_info"][1:]:
        label = next(f for f in info["features"] if f["name"] == "label")
        assert list(label["dtype"]["class_label"]["names"].values()) == names


CARDS: dict[str, Card] = {}
TAGS: set[str] = set()


@pytest.fixture(scope="module", autouse=True)
def a_card(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One card for the property tests, which cannot have a fixture of each test."""
    CARDS["card"] = card_of(build(tmp_path_factory.mktemp("card"), pictures(), {}))
    TAGS.update(re.findall(r"</?([a-z0-9]+)", page(render_card(CARDS["card"]))))


@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script>", "a\n\n# heading", "a|b", "`a`", "[a](javascript:x)", "![a](b)",
     "</details>", "&lt;b&gt;", "a\\|b", "**a**", "~~a~~", "$a$", ":smile:", "<!--", "```\na"],
)  # fmt: skip
def test_markup_in_data_stays_text(text: str) -> None:
    made = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    shown = html.unescape(re.fullmatch(r"<p>(.*)</p>\n", made.render(f"x {escaped(text)}"))[1])  # type: ignore[index]
    assert shown == "x " + text.replace("\n", "\\n")


def test_a_recipe_cannot_leave_its_block(folder: Path) -> None:
    card = card_of(folder)
    recipe = {**card.manifest.recipe, "name": "```\n</details><script>", "x": "~~~\n````"}
    update = {"recipe": recipe}
    text = render_card(replace(card, manifest=card.manifest.model_copy(update=update)))
    assert "<script" not in page(text)
    block = re.search(r"^(`{3,})yaml\n(.*?)\n\1$", text, re.DOTALL | re.MULTILINE)
    assert block is not None
    read = yaml.safe_load(block[2])
    assert (read["name"], read["x"]) == (recipe["name"], recipe["x"])


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=10), nasty))
def test_yaml_round_trip(data: dict[str, str]) -> None:
    text = render_yaml({"a": [data]})
    assert yaml.safe_load(text) == {"a": [data]}
    assert all(not line.startswith("---") for line in text.splitlines())


@pytest.mark.parametrize("word", ["on", "y", "1e3", "0o7", "1_0", "null", "~", "a: b", "- x", "12"])
def test_words_that_some_yaml_reads_otherwise_are_quoted(word: str) -> None:
    assert re.fullmatch(r"""key: (".*"|'.*')\n""", render_yaml({"key": word}))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("/home/me/data/cats", "cats"),
        ("/home/me/data/cats/", "cats"),
        ("file:///home/me/cats.parquet", "cats.parquet"),
        ("~/cats", "cats"),
        ("C:\\Users\\me\\cats", "cats"),
        ("\\\\host\\share\\cats", "cats"),
        ("cats/train.parquet", "cats/train.parquet"),
        ("$DATAPRUNE_DATA/cats", "$DATAPRUNE_DATA/cats"),
        ("hf://datasets/org/cats@v1", "hf://datasets/org/cats@v1"),
        ("https://me:secret@host/cats?token=x", "https://host/cats"),
        ("digits", "digits"),
        ("/", "/"),
    ],
)
def test_places_are_not_told(given: str, shown: str) -> None:
    assert portable(given) == shown


def test_places_in_sentences_are_not_told() -> None:
    said = (
        "read '/home/me/a b'; see /home/me/x.csv, ~/y/z and file:///p/q. and/or 1/2, http://h/p/q"
    )
    told = without_places(said)
    assert "home" not in told
    assert told.endswith("see x.csv, z and q. and/or 1/2, http://h/p/q")
