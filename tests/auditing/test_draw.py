"""The draw: uniform, seeded, made again at will; a smaller one is the beginning of a larger one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprune.auditing.draw import claim_folder, make_draw
from dataprune.core.errors import TableError, UsageError
from dataprune.core.files import read_json, sha256_file
from dataprune.tables.flags import read_flags


def drawn(path: Path, **wanted: Any) -> Any:
    asked = {"tier": "likely", "sample": 120, "seed": 0, **wanted}
    return make_draw(read_flags(path), sha256_file(path), **asked)


def test_only_flagged_rows_are_drawn_each_once(make_flags: Any) -> None:
    path = make_flags(900)
    likely = drawn(path)
    assert (likely.population, len(likely.rows), len(set(likely.rows))) == (300, 120, 120)
    assert all(row % 3 == 0 for row in likely.rows)
    flagged = drawn(path, tier="flagged")
    assert flagged.population == 600
    assert {row % 3 for row in flagged.rows} == {0, 1}


def test_a_draw_is_made_again_and_another_seed_or_file_is_another_draw(make_flags: Any) -> None:
    path, other = make_flags(900), make_flags(901, name="other.parquet")
    assert drawn(path) == drawn(path)
    ids = {drawn(path).id, drawn(path, seed=1).id, drawn(path, sample=121).id, drawn(other).id}
    assert len(ids) == 4
    assert drawn(path, seed=1).rows != drawn(path).rows


def test_a_larger_sample_goes_on_where_a_smaller_one_ended(make_flags: Any) -> None:
    path = make_flags(900)
    assert drawn(path, sample=240).rows[:60] == drawn(path, sample=60).rows


def test_every_row_is_as_likely_at_every_place(make_flags: Any) -> None:
    """Chi-squared over 2000 seeds: how often each of 30 rows is in a sample of 10, and first."""
    flags = read_flags(make_flags(90))
    times, rows = 2000, np.zeros(30)
    first = np.zeros(30)
    for seed in range(times):
        at = np.asarray(make_draw(flags, "", tier="likely", sample=10, seed=seed).rows) // 3
        rows[at] += 1
        first[at[0]] += 1
    # 29 degrees of freedom: above 59 in one of a thousand fair draws
    expected = times / 3
    spread = ((rows - expected) ** 2 / (expected * (2 / 3))).sum() * 29 / 30
    assert spread < 59
    assert ((first - times / 30) ** 2 / (times / 30)).sum() < 59


def test_few_flags_are_all_drawn(make_flags: Any) -> None:
    found = drawn(make_flags(90))
    assert found.is_census
    assert sorted(found.rows) == list(range(0, 90, 3))


def test_no_flags_are_nothing_to_audit(make_flags: Any) -> None:
    path = make_flags(6, tier=["ok", "suspect"] * 3)
    with pytest.raises(TableError, match="no row is likely") as caught:
        drawn(path)
    assert "3 are suspect: audit them with --tier flagged" in str(caught.value.hint)
    with pytest.raises(TableError, match="no row is likely or suspect"):
        drawn(make_flags(6, tier=["ok"] * 6), tier="flagged")


def test_a_folder_is_claimed_once_and_found_again(make_flags: Any, tmp_path: Path) -> None:
    draw = drawn(make_flags(900))
    (tmp_path / "empty").mkdir()
    for name in ("new/deep", "empty", "empty"):
        claim_folder(tmp_path / name, draw)
        data = read_json(tmp_path / name / "audit.json")
        assert (data["format"], data["format_version"]) == ("dataprune.audit", 1)
        assert (data["id"], tuple(data["rows"])) == (draw.id, draw.rows)
        assert (data["population"], data["seed"], data["tier"]) == (300, 0, "likely")
        assert data["flags_sha256"] == draw.flags_sha256


def test_a_folder_of_another_audit_or_of_other_files_is_refused(
    make_flags: Any, tmp_path: Path
) -> None:
    path = make_flags(900)
    claim_folder(tmp_path / "a", drawn(path))
    with pytest.raises(UsageError, match="holds another audit"):
        claim_folder(tmp_path / "a", drawn(path, seed=1))
    (tmp_path / "a" / "audit.json").write_text("[]")
    with pytest.raises(UsageError, match="holds another audit"):
        claim_folder(tmp_path / "a", drawn(path))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        claim_folder(tmp_path / "b", drawn(path))
    with pytest.raises(UsageError, match="is a file"):
        claim_folder(tmp_path / "b" / "thesis.txt", drawn(path))


def test_what_a_killed_writer_left_does_not_fill_a_folder(make_flags: Any, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    left = tmp_path / "a" / ".audit.json.4194304.00ff.tmp"
    left.write_text("{")
    claim_folder(tmp_path / "a", drawn(make_flags(900)))
    assert not left.exists()
