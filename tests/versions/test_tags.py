"""Numbers of tags: the next one, templates for it, and the same version found again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprune import flow
from dataprune.core.errors import UsageError
from dataprune.tables.manifest import check_tag, is_tag
from dataprune.versions.store import LocalStore
from dataprune.versions.tags import is_template, next_number, settle_tag, tag_order

TAGS = st.from_regex(r"v[0-9]{1,3}(\.[0-9]{1,2}){0,2}(-[a-z0-9]{1,4})?", fullmatch=True)


def never(_: str) -> bool:
    return False


@pytest.mark.parametrize(
    ("tags", "number"),
    [
        ([], 1),
        (["v1"], 2),
        (["v10", "v9"], 11),
        (["v2.7", "v1-el2n-keep0.5"], 3),
        (["v3-control"], 4),
        (["v007"], 8),
        (["latest", "x9", "v", "v9.9.9.9", "V12", "v12.lock", ""], 1),
    ],
)
def test_the_next_number_is_one_more_than_the_largest(tags: list[str], number: int) -> None:
    assert next_number(tags) == number


@given(st.lists(TAGS))
def test_the_next_number_is_larger_than_any_taken(tags: list[str]) -> None:
    new = f"v{next_number(tags)}"
    assert new not in tags
    assert all(tag_order(tag) < tag_order(new) for tag in tags)


@pytest.mark.parametrize("tag", ["auto", "v{n}", "v{n}-a", "{n}", "v1-{n}"])
def test_a_template_asks_for_a_number(tag: str) -> None:
    assert is_template(tag)


@pytest.mark.parametrize("tag", ["v1", "v1-auto", "v{m}", "", "Auto"])
def test_what_names_no_number_is_no_template(tag: str) -> None:
    assert not is_template(tag)


@pytest.mark.parametrize(
    ("template", "tag"),
    [
        ("auto", "v4"),
        ("v{n}", "v4"),
        ("v{n}-el2n-keep0.5", "v4-el2n-keep0.5"),
        ("v{n}.1", "v4.1"),
        ("v2", "v2"),
        ("v9-mine", "v9-mine"),
    ],
)
def test_a_template_takes_the_next_number_and_a_tag_is_itself(template: str, tag: str) -> None:
    assert settle_tag(template, ["v1", "v3-b", "v2"], never) == tag


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{n}", "does not begin with v"),
        ("V{n}", "does not begin with v"),
        ("v1-{n}", "does not begin with v"),
        ("v{n}-{n}", "the one place of the number"),
        ("v{n}0", "has a digit after"),
        ("v{n}_a", "'v4_a' is not a version tag"),
        ("v{n}-A", "'v4-A' is not a version tag"),
        ("v{n}-" + "a" * 61, "is not a version tag"),
        ("Auto", "'Auto' is not a version tag"),
        ("", "'' is not a version tag"),
    ],
)
def test_a_template_that_makes_no_tag_is_refused_with_the_form(template: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        settle_tag(template, ["v3"], never)
    assert "el2n-keep0.5" in (caught.value.hint or "")


def test_the_same_version_is_found_again_the_newest_first() -> None:
    taken = ["v1", "v2", "v10", "v3-a", "v4"]
    asked: list[str] = []

    def is_same(tag: str) -> bool:
        asked.append(tag)
        return tag in {"v1", "v2"}

    assert settle_tag("auto", taken, is_same) == "v2"
    assert asked == ["v10", "v4", "v2"]


def test_only_tags_of_the_templates_form_are_looked_at() -> None:
    taken = ["v1", "v2-a", "v3-ab", "v4.1", "v5-a.b", "junk"]
    assert settle_tag("v{n}-a", taken, lambda tag: tag == "v2-a") == "v2-a"
    assert settle_tag("v{n}-a", taken, lambda tag: tag != "v2-a") == "v6-a"
    assert settle_tag("v{n}-a.b", taken, lambda _: True) == "v5-a.b"
    assert settle_tag("auto", taken, lambda tag: tag != "v1") == "v6"


@given(st.lists(TAGS), st.sampled_from(["auto", "v{n}", "v{n}-el2n", "v{n}.1"]))
def test_a_new_tag_is_legal_and_not_taken(tags: list[str], template: str) -> None:
    new = settle_tag(template, tags, never)
    assert check_tag(new) == new
    assert new not in tags
    assert settle_tag(template, [*tags, new], lambda tag: tag == new) == new


# --- prune


@pytest.fixture
def prune(blobs_scores: Path, tmp_path: Path) -> Callable[..., Any]:
    """Prune to d@auto."""

    def run(**changes: Any) -> Any:
        wanted = {"tag": "auto", "keep": 0.5, "view": True, **changes}
        return flow.prune(blobs_scores, name="d", store=tmp_path / "store", **wanted)

    return run


def test_auto_numbers_versions_and_finds_the_same_one_again(prune: Callable[..., Any]) -> None:
    assert [prune(keep=k).tag for k in (0.5, 0.4, 0.5, 0.4, 0.3)] == ["v1", "v2", "v1", "v2", "v3"]
    again = prune(keep=0.4)
    assert not again.created
    assert again.folder.name == again.manifest.version == "v2"


def test_a_template_with_a_slug_numbers_on_after_all_versions(prune: Callable[..., Any]) -> None:
    assert prune(tag="v7").tag == "v7"
    assert prune(tag="v{n}-small", keep=0.1).tag == "v8-small"
    assert prune(tag="v{n}-small", keep=0.1).tag == "v8-small"
    assert prune(tag="v{n}-small", keep=0.2).tag == "v9-small"
    assert prune(tag="auto", keep=0.1).tag == "v10", "another form of tag is another version"


def test_auto_with_a_control_gives_it_the_same_number(
    prune: Callable[..., Any], tmp_path: Path
) -> None:
    first, again, other = prune(control=True), prune(control=True), prune(control=True, keep=0.3)
    assert (first.tag, first.control.version, first.control.control_of) == (
        "v1",
        "v1-control",
        "v1",
    )
    assert (again.tag, again.control, again.created) == ("v1", first.control, False)
    assert (other.tag, other.control.version) == ("v2", "v2-control")
    assert LocalStore(tmp_path / "store").tags("d") == ["v1", "v1-control", "v2", "v2-control"]


@pytest.mark.parametrize("tag", ["v{n}_x", "{n}", "v{n}1", "v{n}-{n}"])
def test_a_bad_template_builds_nothing(tag: str, prune: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        prune(tag=tag)
    assert LocalStore(tmp_path / "store").tags("d") == []


def test_what_is_no_version_in_the_store_takes_no_number(
    prune: Callable[..., Any], tmp_path: Path
) -> None:
    prune()
    for stray in ("v9 copy", "V8", "old"):
        (tmp_path / "store" / "d" / stray).mkdir()
        (tmp_path / "store" / "d" / stray / "manifest.json").write_text("{}")
    assert LocalStore(tmp_path / "store").tags("d") == ["v1"]
    assert not is_tag("v9 copy")
    assert prune(keep=0.1).tag == "v2"
