"""Versions without likely label issues: what they hold, record, and are compared with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprune import flow
from dataprune.core.errors import UsageError, VersionExistsError
from dataprune.tables.flags import read_flags, write_flags
from dataprune.tables.join import join_tables
from dataprune.tables.parquet import write_table
from dataprune.tables.scores import read_scores
from dataprune.versions.load import LoadedVersion, explain_row
from tests.tables.flagged import put_flags
from tests.versions.derived import retracted

LIKELY = np.arange(300) % 10 == 4
SUSPECT = np.arange(300) % 10 == 5


@pytest.fixture
def flags(blobs_scores: Path, tmp_path: Path) -> Path:
    """Flags of the blobs: 30 likely, 30 suspect."""
    table = read_scores(blobs_scores)
    return put_flags(
        tmp_path / "FLAGS.parquet",
        table.table.column("label").to_numpy(),
        LIKELY,
        suspect=SUSPECT,
        class_names=table.meta["source"]["class_names"],
    )


def prune(scores: Path, store: Path, tag: str = "v1", **how: Any) -> Any:
    return flow.prune(scores, name="d", tag=tag, store=store / "store", **how)


def load(store: Path, tag: str = "v1") -> LoadedVersion:
    return flow.load("d", tag, store=store / "store")


def test_likely_rows_are_left_out_and_suspects_are_not(
    blobs_scores: Path, flags: Path, tmp_path: Path
) -> None:
    result = prune(blobs_scores, tmp_path, drop_likely=True, extra=[flags])
    assert (result.rows_in, result.rows_out) == (300, 270)
    assert result.reasons == {"kept": 270, "label_issue": 30}
    version = load(tmp_path)
    assert version.rows.tolist() == np.flatnonzero(~LIKELY).tolist()
    selection = version.manifest.selection
    assert (selection.drop_likely, selection.relabel, selection.keep) == (True, False, "all")
    about = version.scores.meta["flags"]["label_issue"]
    assert selection.flags_sha256 == about["sha256"]
    assert selection.suggested_sha256 is None
    assert version.manifest.reasons == result.reasons
    assert version.arrow().schema.names == ["features", "label", "id"]
    told = explain_row(version, 4)
    assert (told["reason"], told["rule"]) == ("label_issue", "drop_likely")
    assert told["suggested_class"] == "class-2"
    assert prune(blobs_scores, tmp_path, drop_likely=True, extra=[flags]).created is False


@pytest.mark.parametrize(("keep", "rows"), [(0.5, 150), (200, 200), (0.9, 270), (270, 270)])
def test_a_budget_counts_all_rows(
    blobs_scores: Path, flags: Path, tmp_path: Path, keep: float, rows: int
) -> None:
    for view in (False, True):
        store = tmp_path / str(view)
        prune(blobs_scores, store, drop_likely=True, keep=keep, extra=[flags], view=view)
        version = load(store)
        assert len(version) == version.arrow().count_rows() == rows
        assert not LIKELY[version.rows].any()
        assert version.manifest.selection.keep == keep


def test_a_budget_that_cannot_be_met_builds_nothing(
    blobs_scores: Path, flags: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"270 of 300 rows are left .* and 271 are to be kept"):
        prune(blobs_scores, tmp_path, drop_likely=True, keep=271, extra=[flags])
    assert not (tmp_path / "store").exists()


def test_the_control_draws_from_all_rows(blobs_scores: Path, flags: Path, tmp_path: Path) -> None:
    result = prune(blobs_scores, tmp_path, drop_likely=True, extra=[flags], control=True)
    control = load(tmp_path, "v1-control")
    assert LIKELY[control.rows].any()
    assert [c.kept for c in control.manifest.classes.values()] == [
        c.kept for c in load(tmp_path).manifest.classes.values()
    ]
    text = json.loads((control.folder / "manifest.json").read_text())["selection"]
    assert not {"drop_likely", "relabel", "flags_sha256", "suggested_sha256"} & text.keys()
    assert result.control.control_of == "v1"


def test_order_by_score_and_retraction_go_on_as_ever(
    blobs_scores: Path, flags: Path, tmp_path: Path
) -> None:
    how = {"extra": [flags], "order": "score", "by": "label_issue", "strategy": "easiest"}
    prune(blobs_scores, tmp_path, drop_likely=True, **how)
    old = load(tmp_path)
    assert SUSPECT[old.rows[-30:]].all(), "the most suspicious come last"
    new = retracted(old, "v2", [4, int(old.rows[0])])
    assert new.rows.tolist() == old.rows[1:].tolist()
    assert new.manifest.selection.drop_likely
    ranks = new.decisions_table.column("rank").to_numpy()
    reasons = new.decisions_table.column("reason").to_numpy(zero_copy_only=False)
    assert sorted(ranks[reasons == "label_issue"]) == list(range(269, 298))


def flagged_scores(scores: Path, flags: Path) -> Path:
    """A score table that has its flags itself, as `score --flag label_issue` makes one."""
    joined = join_tables(read_scores(scores), scores, [flags])
    about = {k: v for k, v in joined.meta["flags"]["label_issue"].items() if k != "sha256"}
    path = scores.with_name("flagged.parquet")
    write_table(path, joined.table, {**joined.meta, "flags": {"label_issue": about}})
    return path


def test_a_score_table_may_have_flags_of_its_own(
    blobs_scores: Path, flags: Path, tmp_path: Path
) -> None:
    own = flagged_scores(blobs_scores, flags)
    prune(own, tmp_path, drop_likely=True)
    assert load(tmp_path).manifest.selection.flags_sha256 is None
    assert load(tmp_path).rows.tolist() == np.flatnonzero(~LIKELY).tolist()
    prune(own, tmp_path, "v2", relabel=True)
    assert load(tmp_path, "v2").manifest.selection.flags_sha256 is None
    prune(own, tmp_path, "v3", drop_likely=True, extra=[flags])  # given ones stand in
    assert load(tmp_path, "v3").manifest.selection.flags_sha256 is not None
    with pytest.raises(VersionExistsError, match="exists with flags_sha256 None, this has"):
        prune(blobs_scores, tmp_path, drop_likely=True, extra=[flags])


def test_a_recipes_wish_and_its_keep_go_together(
    blobs_scores: Path, flags: Path, tmp_path: Path
) -> None:
    table = read_scores(blobs_scores)
    wish = {"drop_likely": True, "keep": 0.4}
    recipe = {**table.meta["recipe"], "prune": {**table.meta["recipe"]["prune"], **wish}}
    path = blobs_scores.with_name("wished.parquet")
    write_table(path, table.table, {**table.meta, "recipe": recipe})
    rows = {
        "v1": ({}, 120),
        "v2": ({"drop_likely": True}, 120),
        "v3": ({"keep": 0.6}, 180),
        "v4": ({"drop_likely": False}, 120),
    }
    for tag, (asked, kept) in rows.items():
        result = prune(path, tmp_path, tag, extra=[flags], **asked)
        assert result.rows_out == kept
        assert ("label_issue" in result.reasons) == (tag != "v4")
    with pytest.raises(UsageError, match="relabel has no effect with drop_likely"):
        prune(path, tmp_path, "v5", extra=[flags], relabel=True)
    with pytest.raises(UsageError, match="drop_likely wants flags of labels"):
        prune(path, tmp_path, "v5")


def test_flags_that_decide_nothing_are_told_of(
    blobs_scores: Path, flags: Path, tmp_path: Path
) -> None:
    told = "flags change nothing without --drop-likely, --relabel or --by label_issue"
    how: dict[str, Any] = {"keep": 0.5, "extra": [flags], "dry_run": True}
    assert told in prune(blobs_scores, tmp_path, **how).warnings
    assert told not in prune(blobs_scores, tmp_path, by="label_issue", **how).warnings


def test_flags_beside_scores_leave_decisions_as_they_are(
    blobs_scores: Path, flags: Path, tmp_path: Path
) -> None:
    plain = prune(blobs_scores, tmp_path, keep=0.5)
    beside = prune(blobs_scores, tmp_path, keep=0.5, extra=[flags])
    assert beside.created is False
    assert beside.manifest == plain.manifest


def test_by_label_issue_keeps_the_least_suspicious(
    blobs_scores: Path, flags: Path, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"by": "label_issue", "strategy": "easiest", "keep": 0.8}
    prune(blobs_scores, tmp_path, extra=[flags], **how)
    version = load(tmp_path)
    assert version.rows.tolist() == np.flatnonzero(~LIKELY & ~SUSPECT).tolist()
    assert version.manifest.scores.column == "label_issue"
    assert version.manifest.scores.spec["higher_is"] == "noisier"
    assert version.scores.columns == ["random@20", "random", "label_issue"] or set(
        version.scores.columns
    ) >= {"random", "label_issue"}


def test_equal_flags_make_the_same_version(blobs_scores: Path, flags: Path, tmp_path: Path) -> None:
    found = read_flags(flags)
    columns = {name: found.column(name) for name in found.table.schema.names}
    elsewhere = tmp_path / "elsewhere.parquet"
    inputs = [{"file": "/another/folder/a.npy", "sha256": "0" * 64}]
    write_flags(elsewhere, columns, {**found.meta, "inputs": inputs})
    for how in ({"drop_likely": True}, {"relabel": True}):
        tag = f"v{len(how)}-{next(iter(how)).replace('_', '-')}"
        assert prune(blobs_scores, tmp_path, tag, extra=[flags], **how).created
        assert not prune(blobs_scores, tmp_path, tag, extra=[elsewhere], **how).created
        other = write_suspect(tmp_path / "other.parquet", columns, found.meta)
        with pytest.raises(VersionExistsError, match="exists with flags_sha256"):
            prune(blobs_scores, tmp_path, tag, extra=[other], **how)


def write_suspect(path: Path, columns: dict[str, Any], meta: dict[str, Any]) -> Path:
    """Flags that differ in the tier of one row that is neither dropped nor relabelled."""
    tier = columns["tier"].copy()
    tier[int(np.flatnonzero(tier == "ok")[0])] = "suspect"
    write_flags(path, {**columns, "tier": tier}, meta)
    return path


@pytest.mark.parametrize("how", [{"keep": 1.0}, {"relabel": True}])
def test_a_control_of_every_row_is_refused(
    blobs_scores: Path, flags: Path, tmp_path: Path, how: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match="control has no effect where every row is kept") as caught:
        prune(blobs_scores, tmp_path, control=True, extra=[flags], **how)
    assert "--keep" in str(caught.value.hint)
    assert not (tmp_path / "store").exists()


def test_with_an_order_by_score_the_strategy_matters_without_a_budget(
    blobs_scores: Path, flags: Path, tmp_path: Path
) -> None:
    how = {"drop_likely": True, "extra": [flags], "by": "label_issue", "strategy": "easiest"}
    assert any(
        "--by, --strategy chooses nothing" in w
        for w in prune(blobs_scores, tmp_path, **how).warnings
    )
    ordered = prune(blobs_scores, tmp_path, "v2", order="score", **how, class_balance="equal")
    assert not any("chooses nothing" in w for w in ordered.warnings)
    floor = prune(blobs_scores, tmp_path, "v3", order="score", **how, min_per_class=1)
    assert any("--min-per-class chooses nothing" in w for w in floor.warnings)
