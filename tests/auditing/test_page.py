"""The page: what stands in it is inert, it asks for nothing, and its policy fits its script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dataprune.auditing.page import escaped_json, render_page
from dataprune.auditing.prepare import prepare_audit

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]>&lt;b&gt;\u2028\u2029\x00\ud800",
    "@@script@@ @@policy@@ {{7*7}} ${7*7}",
    "\u202egnp.exe",
]
ACTIVE = {"script", "img", "iframe", "link", "object", "embed", "base", "form", "svg", "video"}


class Tags(HTMLParser):
    """Elements with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inside = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.inside = tag
        self.tags.append((tag, dict(attrs)))
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_data(self, data: str) -> None:
        """Note what a script or a style holds."""
        if self.inside in self.texts:
            self.texts[self.inside][-1] += data

    def handle_endtag(self, tag: str) -> None:
        """Leave it; no script or style holds another element."""
        assert tag
        self.inside = ""


def page(text: str = "hello") -> str:
    """A page all of whose foreign text is the same."""
    item = {
        "row": 4, "given": text, "suggested": text, "key": text, "tier": "likely",
        "label_q": 0.5, "oof_margin": -1.0, "oof_vote_frac": 1.0,
        "input": {"kind": "text", "text": text},
    }  # fmt: skip
    draw = {"tier": "likely", "sample": 60, "seed": 0}
    return render_page(
        {"id": "i", "flags_sha256": "s", "draw": draw, "command": text, "items": [item]}
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_changes_no_element_of_the_page(text: str) -> None:
    found, plain = Tags(page(text)), Tags(page())
    assert found.tags == plain.tags
    assert found.texts["script"][1:] == plain.texts["script"][1:]
    assert found.texts["style"] == plain.texts["style"]
    data = json.loads(found.texts["script"][0])
    assert data["items"][0]["given"] == data["items"][0]["input"]["text"] == text


def test_json_in_the_page_has_no_character_that_html_minds() -> None:
    text = escaped_json(HOSTILE)
    assert set("<>&\u2028\u2029\x00") & set(text) == set()
    assert text.isascii()
    assert json.loads(text) == HOSTILE


def test_the_policy_allows_this_script_and_this_style_and_nothing_else() -> None:
    found = Tags(page())
    metas = [a for tag, a in found.tags if tag == "meta"]
    (policy,) = [a["content"] for a in metas if a.get("http-equiv") == "Content-Security-Policy"]

    def name_of(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    (script,), (style,) = found.texts["script"][1:], found.texts["style"]
    assert policy == (
        f"default-src 'none'; img-src data:; script-src 'sha256-{name_of(script)}'; "
        f"style-src 'sha256-{name_of(style)}'; base-uri 'none'; form-action 'none'"
    )


def test_the_page_asks_for_nothing_and_has_no_handlers_in_attributes() -> None:
    text = page()
    found = Tags(text)
    assert [tag for tag, _ in found.tags if tag in ACTIVE] == ["script", "script"]
    for _, attributes in found.tags:
        assert not {"src", "href", "srcset", "style"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    assert "http" not in re.sub('http-equiv="', "", text)
    assert "url(" not in text
    assert "@import" not in text


def test_the_script_writes_text_and_no_markup() -> None:
    (script,) = Tags(page()).texts["script"][1:]
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
        "Function(",
    ):
        assert word not in script
    assert "</" not in script
    assert "<!--" not in script


def test_what_can_be_used_has_a_name() -> None:
    tags = Tags(page()).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    named = [a for tag, a in tags if "aria-labelledby" in a]
    assert named
    assert all(a["aria-labelledby"] in ids for a in named)
    assert [a.get("aria-live") for _, a in tags if a.get("role") == "status"] == ["polite"] * 2
    assert all(a.get("type") == "button" for tag, a in tags if tag == "button")
    assert tags[0] == ("html", {"lang": "en"})


def test_an_audit_without_a_source_shows_rows_and_labels(make_flags: Any, tmp_path: Path) -> None:
    flags = make_flags(900, class_names=["a", HOSTILE[0], HOSTILE[1], "d"])
    made = prepare_audit(flags, tmp_path / "a", sample=60, tier="likely", seed=0)
    text = (tmp_path / "a" / "audit.html").read_text()
    data = json.loads(Tags(text).texts["script"][0])
    assert [item["row"] for item in data["items"]] == list(made.draw.rows)
    assert all(item["input"] is None for item in data["items"])
    assert {item["given"] for item in data["items"]} == {"a", *HOSTILE[:2], "d"}
    assert data["id"] == made.draw.id
    assert Tags(text).tags == Tags(page()).tags
    assert made.source is None


def test_a_sheet_with_verdicts_is_kept(make_flags: Any, tmp_path: Path) -> None:
    flags, folder = make_flags(900), tmp_path / "a"
    draw = {"sample": 60, "tier": "likely", "seed": 0}
    prepare_audit(flags, folder, **draw)
    sheet = folder / "audit.csv"
    before = sheet.read_text()
    assert not prepare_audit(flags, folder, **draw).sheet_kept
    assert sheet.read_text() == before
    lines = before.splitlines()
    cells = lines[1].split(",")
    cells[lines[0].split(",").index("verdict")] = "wrong"
    filled = "\n".join([lines[0], ",".join(cells), *lines[2:]])
    sheet.write_text(filled)
    (folder / "audit.html").unlink()
    assert prepare_audit(flags, folder, **draw).sheet_kept
    assert sheet.read_text() == filled
    assert (folder / "audit.html").exists()


def test_notes_in_any_cell_of_a_sheet_are_kept(make_flags: Any, tmp_path: Path) -> None:
    flags, folder = make_flags(900), tmp_path / "a"
    draw = {"sample": 60, "tier": "likely", "seed": 0}
    prepare_audit(flags, folder, **draw)
    sheet = folder / "audit.csv"
    noted = sheet.read_text().replace("\n", ",ask Ann\n", 2)
    sheet.write_text(noted)
    assert prepare_audit(flags, folder, **draw).sheet_kept
    assert sheet.read_text() == noted
