"""What an audit says of flags, and the tiers that it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprune.auditing.conclude import Conclusion, conclude_audit
from dataprune.auditing.draw import make_draw, population
from dataprune.core.files import sha256_file
from dataprune.tables.flags import read_flags


def judged(path: Path, says: Any, *, tier: str = "likely", n: int = 120, stop: int = 240) -> Path:
    """verdicts.json of a person who says says(row) of each drawn row, or None."""
    flags = read_flags(path)
    draw = make_draw(flags, sha256_file(path), tier=tier, sample=n, seed=0)
    said = [(row, says(row)) for row in draw.rows[:stop]]
    data = {
        "format": "dataprune.verdicts",
        "format_version": 1,
        "audit": draw.id,
        "flags_sha256": draw.flags_sha256,
        "draw": {"tier": tier, "sample": n, "seed": 0},
        "verdicts": [{"row": row, "verdict": word} for row, word in said if word],
    }
    target = path.with_suffix(".verdicts.json")
    target.write_text(json.dumps(data))
    return target


def conclude(path: Path, says: Any, alpha: float = 0.2, **asked: Any) -> Conclusion:
    return conclude_audit(path, judged(path, says, **asked), alpha=alpha, delta=0.1)


def good_half(path: Path) -> Any:
    """Labels of the more suspicious half of the likely flags are wrong, the others right."""
    flags = read_flags(path)
    rows = population(flags, "likely")
    q = flags.column("label_q")
    middle = np.median(q[rows])
    return lambda row: "wrong" if q[row] >= middle else "right"


def test_the_good_part_of_the_flags_passes(make_flags: Any, tmp_path: Path) -> None:
    path = make_flags(900)
    found = conclude(path, good_half(path))
    assert found.passed is not None
    assert (found.passed.share, found.passed.rows) == (0.5, 150)
    assert [p.wrong_flags > 0 for p in found.prefixes] == [False, False, True, True]
    assert (np.diff(read_flags(path).column("label_q")[found.ranked]) <= 0).all()


def test_equal_ones_are_ranked_by_margin_then_row(make_flags: Any) -> None:
    q, margin = np.full(90, 0.5, np.float32), np.zeros(90, np.float32)
    margin[60:] = -1
    path = make_flags(90, label_q=q, label_score=1 - q, oof_margin=margin)
    expected = [*range(60, 90, 3), *range(0, 60, 3)]
    assert conclude(path, lambda _: "wrong").ranked.tolist() == expected


def test_audited_flags_say_what_the_audit_said(make_flags: Any, tmp_path: Path) -> None:
    path = make_flags(900, class_names=["a", "b", "c", "d"])
    says = good_half(path)
    found = conclude(path, says)
    number = found.write(tmp_path / "AUDITED.parquet")
    before, after = read_flags(path), read_flags(tmp_path / "AUDITED.parquet")
    tier = after.column("tier")
    is_flagged = before.column("tier") == "likely"
    assert np.array_equal(tier[~is_flagged], before.column("tier")[~is_flagged])
    word = {row: says(row) for row in found.verdicts.judged}
    for place, row in enumerate(found.ranked):
        by_rank = "likely" if place < 150 else "suspect"
        assert tier[row] == {"wrong": "likely", "right": "ok"}.get(word.get(row, ""), by_rank)
    assert number == (tier == "likely").sum()
    changed = {"tier", "is_label_issue", "label_q", "label_score"}
    for name in set(before.table.column_names) - changed:
        assert np.array_equal(before.column(name), after.column(name)), name
    told = after.meta["audit"]
    assert told == json.loads(json.dumps(found.as_json()))
    assert (told["alpha"], told["delta"], told["passed_rows"]) == (0.2, 0.1, 150)
    assert told["flags_sha256"] == sha256_file(path)
    assert after.meta["class_names"] == ["a", "b", "c", "d"]
    assert after.meta["rule"].startswith("by an audit")


def test_a_selection_by_label_q_heeds_the_verdicts(make_flags: Any, tmp_path: Path) -> None:
    path = make_flags(900)
    words = ("wrong", "right", "unsure")
    found = conclude(path, lambda row: words[row % 7 % 3])
    found.write(tmp_path / "AUDITED.parquet")
    before, after = read_flags(path), read_flags(tmp_path / "AUDITED.parquet")
    wrong, right = (list(found.verdicts.rows_called(word)) for word in ("wrong", "right"))
    assert wrong
    assert right
    for name, of_wrong in {"label_q": 1, "label_score": 0}.items():
        assert set(after.column(name)[wrong].tolist()) == {of_wrong}, name
        assert set(after.column(name)[right].tolist()) == {1 - of_wrong}, name
        others = np.setdiff1d(np.arange(900), wrong + right)
        assert np.array_equal(after.column(name)[others], before.column(name)[others]), name
    assert "label_q is 1 where a person judged the label wrong, 0 where right" in after.meta["rule"]
    assert set(wrong) <= set(after.ranked(np.arange(900))[: len(wrong)].tolist())


def test_totals_count_the_tiers_anew_and_further_columns_stay(
    make_flags: Any, tmp_path: Path
) -> None:
    beside = {"aum": np.ones(90, np.float32), "content_hash": np.arange(90, dtype=np.uint64)}
    path = make_flags(90, meta={"totals": {"rows": 90, "tiers": {"likely": 30}}}, **beside)
    conclude(path, lambda _: "right").write(tmp_path / "A.parquet")
    found = read_flags(tmp_path / "A.parquet")
    assert found.meta["totals"] == {"rows": 90, "tiers": {"likely": 0, "suspect": 30, "ok": 60}}
    assert np.array_equal(found.column("content_hash"), beside["content_hash"])
    assert np.array_equal(found.column("aum"), beside["aum"])


def test_nothing_passes_where_the_flags_are_bad(make_flags: Any, tmp_path: Path) -> None:
    found = conclude(make_flags(900), lambda row: "wrong" if row % 2 else "right")
    assert found.passed is None
    tier = found.tiers()
    verdicts = found.verdicts
    assert set(np.flatnonzero(tier == "likely")) == set(verdicts.rows_called("wrong"))
    assert (tier[list(verdicts.rows_called("right"))] == "ok").all()
    unseen = sorted(set(found.ranked.tolist()) - set(verdicts.judged))
    assert (tier[unseen] == "suspect").all()


def test_unsure_counts_as_a_wrong_flag_and_is_not_dropped(make_flags: Any) -> None:
    path = make_flags(900)
    found = conclude(path, lambda row: "unsure" if row % 30 == 0 else "wrong")
    assert found.prefixes[-1].wrong_flags == len(found.verdicts.rows_called("unsure")) > 0
    assert found.passed is not None
    assert (found.tiers()[list(found.verdicts.rows_called("unsure"))] == "suspect").all()


def test_a_skipped_row_counts_like_unsure(make_flags: Any) -> None:
    path = make_flags(900)
    rows = conclude(path, lambda _: "wrong").verdicts.draw.rows
    stop = max(i for i, row in enumerate(rows) if row % 30) + 1  # the last one has a verdict
    skipping = conclude(path, lambda row: None if row % 30 == 0 else "wrong", stop=stop)
    unsure = conclude(path, lambda row: "unsure" if row % 30 == 0 else "wrong", stop=stop)
    assert len(skipping.verdicts.skipped) == len(unsure.verdicts.rows_called("unsure")) > 0
    assert len(skipping.verdicts.judged) == stop
    assert skipping.prefixes == unsure.prefixes
    assert np.array_equal(skipping.tiers(), unsure.tiers())


def test_a_census_is_exact(make_flags: Any) -> None:
    found = conclude(make_flags(90), lambda row: "right" if row == 0 else "wrong", alpha=0.04)
    assert [p.judged for p in found.prefixes] == [p.rows for p in found.prefixes] == [8, 15, 23, 30]
    assert found.prefixes[-1].bound == pytest.approx(1 / 30)
    assert found.passed == found.prefixes[-1]


def test_a_census_that_stops_early_is_an_estimate(make_flags: Any) -> None:
    found = conclude(make_flags(90), lambda _: "wrong", stop=20)
    assert found.prefixes[-1].judged == 20
    assert found.prefixes[-1].bound > 0.1


def test_suspects_can_be_audited_too(make_flags: Any) -> None:
    path = make_flags(900)
    found = conclude(path, lambda _: "wrong", tier="flagged")
    assert found.passed is not None
    assert found.passed.rows == 600
    assert (found.tiers()[found.ranked] == "likely").all()


def test_the_same_audit_gives_the_same_bytes(make_flags: Any, tmp_path: Path) -> None:
    path = make_flags(900)
    found = conclude(path, good_half(path))
    for name in "ab":
        found.write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_label_but_the_wrong_ones_is_dropped_more_often_than_said(make_flags: Any) -> None:
    """Audited likely rows, over 40 seeds of truth: few sets hold more wrong flags than alpha."""
    path = make_flags(1800)
    rows = population(read_flags(path), "likely")
    order = read_flags(path).ranked(rows)
    broken = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        is_right = np.zeros(1800, np.bool_)
        is_right[order] = rng.random(len(order)) < np.linspace(0, 0.5, len(order))
        said = ["right" if right else "wrong" for right in is_right]
        tier = conclude(path, said.__getitem__).tiers()
        dropped = np.flatnonzero(tier == "likely")
        broken += is_right[dropped].mean() > 0.2
    assert broken <= 4
