"""The page in a real browser: keys, verdicts, what is kept, and hostile text that does nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune.auditing.draw import make_draw
from dataprune.auditing.prepare import Prepared, prepare_audit
from dataprune.auditing.verdicts import read_verdicts
from dataprune.core.files import sha256_file
from dataprune.tables.flags import read_flags
from tests.auditing.chromium import Browser
from tests.conftest import png

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

N = 210
NAMES = [
    "ape",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "\u05d0\u05d1 \u202edog",
]
LABELS = [NAMES[i % 4] for i in range(N)]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def audit(flags: Path, folder: Path, inputs: list[Any], kind: pa.DataType) -> Prepared:
    """An audit of 60 of the flags, whose source has these inputs."""
    source = folder / "source.parquet"
    pq.write_table(pa.table({"input": pa.array(inputs, kind), "label": LABELS}), source)
    wanted = {"sample": 60, "tier": "likely", "seed": 0}
    return prepare_audit(flags, folder / "audit", source=str(source), **wanted)


@pytest.fixture
def images(make_flags: Any, tmp_path: Path) -> Prepared:
    """Grey images of 5 x 4, one damaged, one GIF; class names are hostile."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (N, 4, 5), dtype=np.uint8)
    cells = [{"bytes": png(p), "path": None} for p in pixels]
    flags = make_flags(N, class_names=NAMES)
    second = make_draw(read_flags(flags), "", tier="likely", sample=60, seed=0).rows[1]
    cells[second]["bytes"] = cells[second]["bytes"][:30]
    return audit(flags, tmp_path, cells, IMAGE)


@pytest.fixture
def texts(make_flags: Any, tmp_path: Path) -> Prepared:
    """Texts, every other one hostile."""
    rows = [f"plain\ntext {i}" if i % 2 else NAMES[1] + NAMES[2] + str(i) for i in range(N)]
    return audit(make_flags(N, class_names=NAMES), tmp_path, rows, pa.string())


def url(made: Prepared) -> str:
    return (made.folder / "audit.html").as_uri()


def test_a_person_judges_with_keys_and_saves(
    browser: Browser, images: Prepared, tmp_path: Path
) -> None:
    browser.open(url(images))
    rows = images.draw.rows
    assert browser.text("#status") == "0 of 60 judged"
    assert browser.text("#place") == f"Example 1 of 60, row {rows[0]}"
    browser.press("w", "R", "u")
    assert browser.text("#status") == "3 of 60 judged"
    browser.press("w", "z")
    assert browser.text("#status") == "3 of 60 judged"
    assert browser.text("#place") == f"Example 4 of 60, row {rows[3]}"
    browser.press("ArrowRight", "j", "ArrowLeft", "w", "k", "k")
    assert browser.text("#status") == "4 of 60 judged, 1 skipped"
    assert browser.text("#place") == f"Example 4 of 60, row {rows[3]}"
    browser.press("s")
    saved = browser.saved()
    assert saved == {
        "format": "dataprune.verdicts",
        "format_version": 1,
        "audit": images.draw.id,
        "flags_sha256": images.draw.flags_sha256,
        "draw": {"tier": "likely", "sample": 60, "seed": 0},
        "verdicts": [
            {"row": rows[0], "verdict": "wrong"},
            {"row": rows[1], "verdict": "right"},
            {"row": rows[2], "verdict": "unsure"},
            {"row": rows[4], "verdict": "wrong"},
        ],
    }
    (tmp_path / "back.json").write_text(json.dumps(saved))
    flags = tmp_path / "FLAGS.parquet"
    found = read_verdicts(tmp_path / "back.json", read_flags(flags), sha256_file(flags))
    assert found.by_row[rows[2]] == "unsure"
    assert found.skipped == (rows[3],)
    assert browser.log == []


def test_verdicts_survive_a_reload_and_buttons_do_what_keys_do(
    browser: Browser, images: Prepared
) -> None:
    browser.open(url(images))
    for word in ("wrong", "right", "unsure"):
        browser.run(f"document.querySelector('#verdicts [data-verdict={word}]').click()")
    browser.open("about:blank")
    browser.open(url(images))
    assert browser.text("#status") == "3 of 60 judged"
    assert browser.text("#place").startswith("Example 4 of 60")
    browser.run("document.querySelector('#back').click()")
    pressed = "document.querySelector('#verdicts [aria-pressed=true]').dataset.verdict"
    assert browser.run(pressed) == "unsure"
    browser.run("document.querySelectorAll('#strip button')[0].click()")
    assert browser.run(pressed) == "wrong"
    assert browser.text("#strip li:nth-child(2)") == "2 R"
    browser.run("document.querySelector('#undo').click()")
    assert browser.text("#status") == "3 of 60 judged", "undo does not reach before a reload"
    assert browser.log == []


def test_images_are_shown_large_and_a_damaged_one_is_said_to_be(
    browser: Browser, images: Prepared
) -> None:
    browser.open(url(images))
    image = "document.querySelector('#input img')"
    size = f"{image}.decode().then(() => [{image}.naturalWidth, {image}.width, {image}.alt])"
    assert browser.run(size) == [5, 320, f"Input of row {images.draw.rows[0]}"]
    assert browser.run(f"getComputedStyle({image}).imageRendering") == "pixelated"
    browser.press("j")
    waited = "new Promise(done => setTimeout(done, 200))"
    browser.run(waited)
    assert browser.text("#input") == "This image cannot be shown: it is damaged."
    browser.press("j")
    assert browser.run(size)[0] == 5
    assert browser.log == []


def test_hostile_text_is_shown_as_text(browser: Browser, texts: Prepared) -> None:
    browser.open(url(texts))
    for place, row in enumerate(texts.draw.rows):
        shown = f"plain\ntext {row}" if row % 2 else NAMES[1] + NAMES[2] + str(row)
        assert browser.run("document.querySelector('#input pre').textContent") == shown
        given = browser.run("document.querySelector('#question bdi').textContent")
        assert given == LABELS[row]
        assert browser.run("document.querySelectorAll('script, #input img').length") == 2
        browser.press("w")
        if place == 12:
            break
    assert browser.log == []


def test_the_policy_stops_what_would_run_or_call_out(browser: Browser, texts: Prepared) -> None:
    browser.open(url(texts))
    browser.run("document.body.append(Object.assign(document.createElement('script'), "
                "{textContent: 'window.ran = 1'}))")  # fmt: skip
    browser.run("document.body.insertAdjacentHTML('beforeend', '<b onclick=\"window.ran = 1\">')")
    browser.run("document.body.lastChild.click()")
    called = "fetch('http://127.0.0.1:9/').then(() => 'called', error => 'stopped')"
    assert browser.run(called) == "stopped"
    assert browser.run("window.ran") is None
    assert sum("Content Security Policy" in text for text in browser.log) >= 3


def test_numbers_that_sway_a_judgement_stay_hidden(browser: Browser, texts: Prepared) -> None:
    browser.open(url(texts))
    assert "Probability" not in browser.text("body")
    browser.run("document.querySelector('#details').open = true")
    assert "Probability" in browser.text("#card")
    browser.press("w")
    assert "Probability" not in browser.text("body")


def test_a_saved_file_is_loaded_to_go_on_and_a_wrong_one_is_not(
    browser: Browser, texts: Prepared, tmp_path: Path
) -> None:
    browser.open(url(texts))
    browser.press("w", "r", "s")
    saved = browser.saved()
    browser.run("localStorage.clear()")
    browser.open(url(texts))
    assert browser.text("#status") == "0 of 60 judged"

    def load(text: str) -> str:
        browser.run(
            "(() => { const files = new DataTransfer();"
            f"files.items.add(new File([{json.dumps(text)}], 'v.json'));"
            "const input = document.querySelector('#load'); input.files = files.files;"
            "input.dispatchEvent(new Event('change')); })()"
        )
        browser.run("new Promise(done => setTimeout(done, 100))")
        return browser.text("#said")

    assert load(json.dumps(saved)) == "Loaded. 2 of 60 judged"
    assert browser.text("#place").startswith("Example 3 of 60")
    assert "not JSON" in load(json.dumps(saved)[:50])
    assert "not a file of verdicts" in load("null")
    assert "other flags" in load(json.dumps({**saved, "flags_sha256": "0"}))
    assert "was not drawn here" in load(
        json.dumps({**saved, "verdicts": [{"row": 1, "verdict": "wrong"}]})
    )
    odd = [{"row": texts.draw.rows[3], "verdict": "<b>"}]
    assert "a verdict that is none" in load(json.dumps({**saved, "verdicts": odd}))
    assert browser.text("#status") == "2 of 60 judged"


def test_the_page_works_where_nothing_is_kept(browser: Browser, texts: Prepared) -> None:
    refuse = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no') }})"
    browser.send("Page.addScriptToEvaluateOnNewDocument", source=refuse)
    browser.open(url(texts))
    assert "does not keep verdicts" in browser.text("#kept")
    browser.press("w", "w", "s")
    assert len(browser.saved()["verdicts"]) == 2
    assert browser.log == []


def test_what_a_browser_kept_of_something_else_is_ignored(
    browser: Browser, texts: Prepared
) -> None:
    browser.open(url(texts))
    for text in ("{", "", "Wrong", '{"format": "dataprune.verdicts", "verdicts": [{"row": 1}]}'):
        key = json.dumps(f"dataprune.audit.{texts.draw.id}.{texts.draw.rows[0]}")
        browser.run(f"localStorage.setItem({key}, {json.dumps(text)})")
        browser.open(url(texts))
        assert browser.text("#status") == "0 of 60 judged"
    assert browser.log == []


def said_in(browser: Browser) -> dict[int, str]:
    """The verdicts that a tab saves."""
    browser.press("s")
    return {entry["row"]: entry["verdict"] for entry in browser.saved()["verdicts"]}


def test_two_tabs_of_an_audit_keep_each_others_verdicts(browser: Browser, texts: Prepared) -> None:
    rows = texts.draw.rows
    browser.open(url(texts))
    browser.press("w")
    first = browser.new_tab()
    second = browser.session
    browser.open(url(texts))
    assert browser.text("#place").startswith("Example 2 of 60")
    browser.press("r", "r")
    browser.session = first
    browser.wait_for("#status", "3 of 60 judged")
    assert browser.text("#strip li:nth-child(3)") == "3 R"
    pressed = "document.querySelector('#verdicts [aria-pressed=true]').dataset.verdict"
    assert browser.text("#place").startswith("Example 2 of 60"), "what is looked at stays"
    assert browser.run(pressed) == "right"
    browser.press("u", "j", "w")
    browser.session = second
    browser.wait_for("#status", "4 of 60 judged")
    browser.wait_for("#strip li:nth-child(2)", "2 U")
    browser.press("z")
    browser.session = first
    browser.wait_for("#status", "3 of 60 judged, 1 skipped")
    expected = {rows[0]: "wrong", rows[1]: "unsure", rows[3]: "wrong"}
    assert said_in(browser) == expected
    for session in (first, second):
        browser.session = session
        assert said_in(browser) == expected
        browser.open("about:blank")
        browser.open(url(texts))
        assert said_in(browser) == expected
    assert browser.log == []


def test_a_verdict_that_another_tab_changed_is_not_undone(
    browser: Browser, texts: Prepared
) -> None:
    browser.open(url(texts))
    browser.press("w", "w")
    first = browser.new_tab()
    browser.open(url(texts))
    browser.press("k", "r")
    browser.session = first
    browser.wait_for("#strip li:nth-child(2)", "2 R")
    browser.press("z", "z")
    assert said_in(browser) == {texts.draw.rows[1]: "right"}
    assert browser.log == []


def test_tabs_that_hear_nothing_of_each_other_lose_nothing(
    browser: Browser, texts: Prepared
) -> None:
    deaf = "addEventListener('storage', event => event.stopImmediatePropagation(), true)"
    browser.send("Page.addScriptToEvaluateOnNewDocument", source=deaf)
    browser.open(url(texts))
    first = browser.new_tab()
    browser.open(url(texts))
    browser.press("j", "r")
    browser.session = first
    browser.press("w")
    assert browser.text("#status") == "1 of 60 judged"
    browser.open("about:blank")
    browser.open(url(texts))
    assert said_in(browser) == {texts.draw.rows[0]: "wrong", texts.draw.rows[1]: "right"}


def test_rows_that_are_not_proven_are_said_to_be(
    browser: Browser, make_flags: Any, texts: Prepared, tmp_path: Path
) -> None:
    browser.open(url(texts))
    assert browser.text("#unproven") == ""
    source = tmp_path / "bare.parquet"
    for i, value in enumerate(("a text", {"bytes": png(np.zeros((3, 3), np.uint8)), "path": None})):
        kind = IMAGE if i else pa.string()
        pq.write_table(pa.table({"input": pa.array([value] * N, kind)}), source)
        flags, wanted = make_flags(N, name=f"{i}.parquet"), {"sample": 60, "tier": "likely"}
        made = prepare_audit(flags, tmp_path / f"audit{i}", source=str(source), seed=0, **wanted)
        assert not made.is_proven
        browser.open(url(made))
        assert "could not be proven to be the flagged ones" in browser.text("#unproven")
        assert "give --label" in browser.text("#unproven")
    assert browser.log == []


@pytest.mark.parametrize("width", [400, 1100])
def test_nothing_sticks_out_of_a_narrow_window(
    browser: Browser, texts: Prepared, tmp_path: Path, width: int
) -> None:
    browser.open(url(texts))
    browser.look(tmp_path / "page.png", width=width, height=800, dark=width == 400)
    assert (tmp_path / "page.png").stat().st_size > 10_000
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.run(wide) == 0
    browser.run("window.scrollTo(0, document.body.scrollHeight)")
    browser.run("document.querySelector('#strip li:last-child button').click()")
    assert browser.text("#place").startswith("Example 60 of 60")
    assert browser.run("window.scrollY") == 0, "the example comes into view"


def test_every_row_judged_says_so(browser: Browser, texts: Prepared) -> None:
    browser.open(url(texts))
    browser.press(*"wru" * 20)
    assert browser.text("#status") == "60 of 60 judged"
    assert browser.text("#said") == "All are judged: save them."
    assert browser.run("document.querySelector('#bar').value") == 60
