"""An unattended run does nothing where nothing changed, else it makes the next version."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from dataprune.core.errors import TableError, UsageError
from dataprune.tables.release import NAME, read_release, write_release
from dataprune.versions.load import explain_row, load_version
from tests.releasing.conftest import Release
from tests.runs.object_store import ObjectStore


def test_the_first_run_tags_a_version_that_names_its_score_and_share(release: Release) -> None:
    result = release.run()
    assert (result.status, result.exit_code, result.created) == ("released", 0, True)
    assert result.tag == "v1-el2n-keep0.5"
    assert result.trained == [0, 1]
    assert release.store.tags("grows") == ["v1-el2n-keep0.5", "v1-el2n-keep0.5-control"]
    assert [gate.name for gate in result.gates] == [
        "complete", "reliability", "class_floor", "rank_drift",
    ]  # fmt: skip
    version = load_version(release.store, "grows", result.tag)
    assert len(version.rows) == result.outcome.rows_out == 60
    assert "release" not in version.manifest.recipe


def test_an_unchanged_source_trains_nothing_and_reads_nothing(release: Release) -> None:
    first = release.run()
    shutil.rmtree(release.work / "units")  # which a run that looks at anything would miss
    second = release.run()
    assert second.unchanged
    assert not second.created
    assert second.outcome == first.outcome
    assert second.folder == first.folder
    assert release.units() == {}
    assert release.tags() == [first.tag]


def test_what_trains_nothing_loads_neither_torch_nor_ray(quick: Release) -> None:
    quick.work.mkdir()
    recipe = quick.work / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(quick.recipe))
    code = (
        "import sys, json\n"
        "from dataprune.releasing.run import run\n"
        "recipe, work, store = sys.argv[1:]\n"
        "unchanged = run(recipe, work=work, store=store).unchanged\n"
        "heavy = [m for m in ('torch', 'ray', 'sklearn', 'scipy') if m in sys.modules]\n"
        "print(json.dumps([unchanged, heavy]))"
    )
    command = [sys.executable, "-c", code, recipe, quick.work, quick.folder]
    for unchanged in (False, True):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == [unchanged, []]


def test_a_touched_file_of_the_same_content_trains_nothing(release: Release) -> None:
    first = release.run()
    units = release.units()
    os.utime(release.source, ns=(1, 1))
    second = release.run()
    assert not second.unchanged
    assert (second.created, second.trained, second.tag) == (False, [], first.tag)
    assert release.units() == units
    assert release.run().unchanged


def test_a_grown_source_is_scored_anew_and_gets_the_next_number(
    release: Release, rows: pa.Table
) -> None:
    first = release.run()
    release.write(rows)
    second = release.run()
    assert second.tag == "v2-el2n-keep0.5"
    assert second.trained == [0, 1]
    assert second.outcome.carried == 0
    assert release.tags() == [first.tag, second.tag]
    [drift] = [gate for gate in second.gates if gate.name == "rank_drift"]
    assert drift.value is not None
    assert "120 rows in common" in drift.told


def test_rows_of_before_keep_their_scores_where_that_is_asked_for(
    release: Release, rows: pa.Table
) -> None:
    release.section["incremental"] = True
    first = release.run()
    release.write(rows)
    second = release.run()
    assert (second.trained, second.outcome.carried) == ([0, 1], 120)
    old, new = release.scores(first.tag), release.scores(second.tag)
    for name in ("el2n", "el2n@2", "el2n_std"):
        assert new.table.column(name).slice(0, 120).equals(old.table.column(name))
    assert new.table.column("carried").to_pylist() == [1] * 120 + [0] * 40
    [entry] = new.meta["carried"]
    assert entry == {
        "source": old.meta["source"]["fingerprint"], "unit_ids": old.meta["unit_ids"], "rows": 120,
    }  # fmt: skip
    assert set(new.meta["unit_ids"]).isdisjoint(old.meta["unit_ids"])
    told = explain_row(load_version(release.store, "grows", second.tag), 3)
    assert told["scores"]["carried"] == 1


def test_where_no_row_is_new_nothing_is_trained(release: Release, rows: pa.Table) -> None:
    release.section["incremental"] = True
    release.run()
    units = release.units()
    release.write(rows.slice(0, 100))
    shrunk = release.run()
    order = np.random.default_rng(0).permutation(100)
    release.write(rows.take(order))
    reordered = release.run()
    assert release.units() == units
    assert [shrunk.tag, reordered.tag] == ["v2-el2n-keep0.5", "v3-el2n-keep0.5"]
    assert [shrunk.outcome.carried, reordered.outcome.carried] == [100, 100]
    ours, theirs = release.scores(reordered.tag), release.scores(shrunk.tag)
    assert np.array_equal(ours.values("el2n"), theirs.values("el2n")[order])
    kept = set(load_version(release.store, "grows", shrunk.tag).frame().collect()["id"])
    assert kept == set(load_version(release.store, "grows", reordered.tag).frame().collect()["id"])


def test_new_vectors_of_the_same_rows_make_a_new_version(release: Release, rows: pa.Table) -> None:
    release.without_probes()
    release.section["incremental"] = True
    release.section["gates"] |= {"class_floor": None}
    release.recipe["source"]["columns"] = {"embedding": "emb"}
    release.recipe["prune"] = {"keep": 4, "strategy": "kcenter"}

    def kept(far: list[int]) -> set[str]:
        vectors = np.zeros((120, 2))
        vectors[far] = [[9, 0], [0, 9], [9, 9]]
        emb = pa.array(vectors.tolist())
        release.write(rows.slice(0, 120).append_column("emb", emb))
        result = release.run()
        assert result.created
        version = load_version(release.store, "grows", result.tag)
        return set(version.frame().collect()["id"])

    assert kept([5, 50, 100]) > {"id-5", "id-50", "id-100"}
    assert kept([6, 60, 110]) > {"id-6", "id-60", "id-110"}


def test_a_row_whose_label_changed_is_a_new_one(release: Release, rows: pa.Table) -> None:
    release.section["incremental"] = True
    release.run()
    labels = rows.column("label").to_pylist()[:120]
    labels[7] = "class-0"  # was class-1
    release.write(rows.slice(0, 120).set_column(1, "label", [labels]))
    second = release.run()
    assert (second.trained, second.outcome.carried) == ([0, 1], 119)
    assert release.scores(second.tag).table.column("carried").to_pylist()[7] == 0


def test_the_work_folder_is_where_the_recipe_says_unless_another_is_named(
    release: Release,
) -> None:
    elsewhere = release.work.with_name("elsewhere")
    release.recipe["run"] = {"work": str(elsewhere)}
    assert release.run(work=None).trained == [0, 1]
    assert len(list(elsewhere.glob("units/*/unit.json"))) == 2
    assert read_release(elsewhere) is not None
    assert release.units() == {}
    assert release.run(work=None).unchanged


def test_a_work_folder_behind_a_url_is_gone_on_with_from_another_machine(
    quick: Release, bucket: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "s3://bucket/release"
    first = quick.run(work=url)
    assert (first.tag, first.created) == ("v1-random-keep0.5", True)
    assert {"release.json", "scores.parquet"} <= {n.rpartition("/")[2] for n in bucket.objects}
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    again = quick.run(work=url)
    assert (again.tag, again.unchanged) == (first.tag, True)
    bucket.objects.clear()
    anew = quick.run(work=url)
    assert (anew.tag, anew.unchanged, anew.created) == (first.tag, False, False)


@pytest.mark.slow
def test_the_pilot_works_behind_the_url_too_so_that_every_node_reaches_it(
    quick: Release, bucket: ObjectStore
) -> None:
    quick.section["gates"]["pilot"] = {"seeds": 2, "tolerance": 1.0}
    quick.run(work="s3://bucket/release")
    units = [n for n in bucket.objects if n.startswith("bucket/release/pilot/units/")]
    assert len([n for n in units if n.endswith("unit.json")]) == 4
    assert "bucket/release/pilot/run.json" in bucket.objects


def test_a_run_that_died_after_its_tag_ends_as_if_it_had_not(
    release: Release, rows: pa.Table
) -> None:
    release.section["incremental"] = True
    release.run()
    state = (release.work / NAME).read_bytes()
    release.write(rows)
    second = release.run()
    (release.work / NAME).write_bytes(state)
    again = release.run()
    assert not again.created
    assert (again.tag, again.outcome) == (second.tag, second.outcome)


def test_a_first_run_that_died_after_its_tag_ends_as_if_it_had_not(release: Release) -> None:
    first = release.run()
    state = read_release(release.work)
    assert state is not None
    started = state.model_copy(update={"released": None, "inputs": None, "outcome": None})
    write_release(release.work, started)
    again = release.run()
    assert (again.created, again.trained, again.outcome) == (False, [], first.outcome)


def test_a_lost_work_folder_starts_from_the_newest_version_in_the_store(
    release: Release, rows: pa.Table
) -> None:
    release.section["incremental"] = True
    first = release.run()
    shutil.rmtree(release.work)
    release.write(rows)
    second = release.run()
    assert second.outcome.carried == 120
    assert [first.tag, second.tag] == ["v1-el2n-keep0.5", "v2-el2n-keep0.5"]


def test_a_changed_probe_scores_every_row_anew_and_says_so(
    release: Release, rows: pa.Table
) -> None:
    release.section["incremental"] = True
    release.run()
    release.recipe["probe"]["batch_size"] = 32
    release.write(rows)
    second = release.run()
    assert second.outcome.carried == 0
    assert second.notes == [
        "every row is scored anew: probe of the recipe changed since v1-el2n-keep0.5"
    ]


def test_another_budget_is_another_version_of_the_same_scores(release: Release) -> None:
    release.run()
    release.recipe["prune"]["keep"] = 40
    second = release.run()
    assert (second.tag, second.trained) == ("v2-el2n-keep40", [])


def test_comments_and_where_it_runs_change_nothing(quick: Release) -> None:
    quick.run()
    quick.recipe["run"] = {"memory_gb": 4, "max_retries": 1}
    quick.recipe["publish"] = {"to": "org/repo"}
    assert quick.run().unchanged


def test_a_version_that_was_deleted_is_built_again(quick: Release) -> None:
    first = quick.run()
    for tag in quick.store.tags("grows"):
        shutil.rmtree(quick.store.path("grows", tag))
    again = quick.run()
    assert (again.unchanged, again.created, again.tag) == (False, True, first.tag)
    assert again.warnings[0].startswith(f"{first.tag}, the last version, is not in the store")


def test_a_source_that_goes_back_finds_its_version(quick: Release, rows: pa.Table) -> None:
    first = quick.run()
    quick.write(rows)
    assert quick.run().tag.startswith("v2")
    quick.write(rows.slice(0, 120))
    back = quick.run()
    assert (back.tag, back.created, back.exit_code) == (first.tag, False, 0)


@pytest.mark.parametrize(
    ("tag", "strategy", "made"),
    [
        ("auto", "random", "v1-random-keep0.5"),
        ("auto", "hardest", "v1-random-keep0.5"),
        ("v{n}-nightly", "hardest", "v1-nightly"),
    ],
)
def test_tags_follow_the_template(quick: Release, tag: str, strategy: str, made: str) -> None:
    quick.section["tag"] = tag
    quick.recipe["prune"]["strategy"] = strategy
    assert quick.run().tag == made


def test_a_score_with_an_epoch_makes_a_legal_tag(release: Release) -> None:
    release.recipe["prune"]["by"] = "el2n@2"
    assert release.run().tag == "v1-el2n-2-keep0.5"


def test_a_recipe_without_the_section_is_refused_with_the_lines_to_add(quick: Release) -> None:
    del quick.recipe["release"]
    with pytest.raises(UsageError, match="has no section release") as caught:
        quick.run()
    lines = str(caught.value.hint).split("\n", 1)[1]
    assert len(lines.splitlines()) == 3
    quick.recipe |= yaml.safe_load(lines)
    quick.recipe["release"]["gates"] = quick.section["gates"] | {
        "reliability": None, "rank_drift": None, "pilot": None,
    }  # fmt: skip
    assert quick.run().created


@pytest.mark.parametrize(
    ("prune", "told"),
    [
        ({}, "does not say how much to keep"),
        ({"keep": 1.0}, "a control has no effect where every row is kept"),
        ({"keep": 0.5, "by": "margin"}, "prunes by margin, which it does not score"),
        ({"keep": 0.5, "by": "random@7"}, "prunes by random@7, which it does not score"),
        ({"keep": 0.5, "drop_likely": True}, "prunes by flags of labels, and raises none"),
        ({"keep": 0.5, "strategy": "hardset"}, "hardset"),
    ],
)
def test_what_cannot_end_well_is_refused_before_anything_is_read(
    quick: Release, prune: dict[str, Any], told: str
) -> None:
    quick.recipe["prune"] = prune
    with pytest.raises(UsageError, match=told):
        quick.run()
    assert not quick.work.exists()


def test_nothing_is_sent_without_a_place_to_send_it_to(quick: Release) -> None:
    with pytest.raises(UsageError, match="does not say where to push"):
        quick.run(push="")
    with pytest.raises(UsageError, match="private has no effect"):
        quick.run(private=True)
    assert not quick.folder.exists()


def test_a_damaged_state_is_an_error_that_says_what_to_do(quick: Release) -> None:
    quick.run()
    (quick.work / NAME).write_text('{"format": "other"}')
    with pytest.raises(TableError, match="not what dataprune run writes") as caught:
        quick.run()
    assert "move it away" in str(caught.value.hint)
    (quick.work / NAME).unlink()
    assert not quick.run().created
