"""Cross-fitting: every row is held out once per repeat, and its outputs are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dataprune.core.errors import RecipeError, TableError
from dataprune.core.fingerprint import fingerprint
from dataprune.core.protocols import Attempt
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.flow import score
from dataprune.probe.folds import strata_of, stratified_folds, stratified_holdout
from dataprune.probe.plan import folds_of, plan_units, shared_arrays
from dataprune.probe.unit import probe_unit
from dataprune.runs.ledger import Ledger
from dataprune.sources._load import Loaded
from dataprune.tables.heldout import HeldOut, condense, read_heldout, write_heldout
from dataprune.tables.trace import read_trace

MakeRecipe = Callable[..., Recipe]
CROSS = {"folds": 3, "repeats": 2, "last": 2}


def crossfit(make_recipe: MakeRecipe, **changes: Any) -> Recipe:
    return make_recipe(seeds=6, holdout=CROSS, **changes)


def units_of(recipe: Recipe, loaded: Loaded, folder: Path) -> list[tuple[Any, Path]]:
    """Every unit, trained: (unit, its folder)."""
    done = []
    for unit in plan_units(recipe, loaded, {"loss", "correct"}, []).units:
        home = folder / unit.unit_id
        home.mkdir()
        probe_unit(unit.spec, shared_arrays(recipe, loaded), Attempt(home, lambda _progress: None))
        done.append((unit, home))
    return done


@pytest.mark.parametrize("split", ["features_loaded", "tested_loaded"])
def test_every_row_is_held_out_once_per_repeat_with_or_without_a_test_split(
    request: pytest.FixtureRequest, make_recipe: MakeRecipe, tmp_path: Path, split: str
) -> None:
    loaded = request.getfixturevalue(split)
    held_out = [
        read_heldout(home / "heldout.parquet").rows
        for _, home in units_of(crossfit(make_recipe), loaded, tmp_path)
    ]
    for repeat in (held_out[:3], held_out[3:]):
        assert sorted(np.concatenate(repeat).tolist()) == list(range(60))
    assert not np.array_equal(held_out[0], held_out[3])


def test_outputs_are_the_mean_of_the_last_epochs_and_agree_with_the_trace(
    make_recipe: MakeRecipe, features_loaded: Loaded, tmp_path: Path
) -> None:
    recipe = crossfit(make_recipe, scores__at=[3, 4])
    for _, home in units_of(recipe, features_loaded, tmp_path)[:2]:
        found = read_heldout(home / "heldout.parquet")
        trace = read_trace(home / "trace.parquet", {"loss"})
        assert np.array_equal(found.rows, np.flatnonzero(~trace.in_sample))
        assert found.outputs is not None
        assert found.outputs.shape == (20, 3)
        # logits averaged over epochs 3 and 4: the loss of the mean is near the mean of the losses
        logits = torch.from_numpy(found.outputs.copy())
        labels = torch.from_numpy(features_loaded.labels[found.rows])
        loss = torch.nn.functional.cross_entropy(logits, labels, reduction="none").numpy()
        both = [trace.signals[epoch]["loss"][found.rows] for epoch in (3, 4)]
        assert (loss <= np.mean(both, axis=0) + 1e-6).all()  # convexity
        assert (loss >= np.min(both, axis=0) * 0.5 - 1e-3).all()


def test_one_last_epoch_gives_that_epochs_logits(
    make_recipe: MakeRecipe, features_loaded: Loaded, tmp_path: Path
) -> None:
    recipe = make_recipe(seeds=3, holdout={"folds": 3, "repeats": 1}, scores__at=[4])
    _, home = units_of(recipe, features_loaded, tmp_path)[0]
    found = read_heldout(home / "heldout.parquet")
    expected = read_trace(home / "trace.parquet", {"loss"}).signals[4]["loss"][found.rows]
    assert found.outputs is not None
    labels = torch.from_numpy(features_loaded.labels[found.rows])
    loss = torch.nn.functional.cross_entropy(
        torch.from_numpy(found.outputs.copy()), labels, reduction="none"
    )
    assert loss.numpy() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_without_repeats_no_outputs_are_kept(
    make_recipe: MakeRecipe, features_loaded: Loaded, tmp_path: Path
) -> None:
    (_, home), *_ = units_of(make_recipe(), features_loaded, tmp_path)
    assert [path.name for path in home.iterdir()] == ["trace.parquet"]


def test_the_seeds_follow_from_cross_fitting_and_another_number_is_refused() -> None:
    data = {"name": "c", "source": {"uri": "digits"}, "holdout": {"folds": 5, "repeats": 2}}
    recipe = parse_recipe(data, where="tests")
    assert recipe.seeds == 10
    assert parse_recipe(recipe.model_dump(mode="json"), where="again") == recipe
    with pytest.raises(RecipeError, match="seeds is 7, and cross-fitting 5 folds 2 times takes 10"):
        parse_recipe({**data, "seeds": 7}, where="tests")
    with pytest.raises(RecipeError, match="last has no effect without repeats"):
        parse_recipe({**data, "holdout": {"last": 3}}, where="tests")
    with pytest.raises(RecipeError, match=r"holdout\.last is 30"):
        parse_recipe({**data, "holdout": {"folds": 5, "repeats": 1, "last": 30}}, where="tests")


def test_another_repeat_redoes_none_of_the_units_there_are(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    few = make_recipe(seeds=3, holdout={**CROSS, "repeats": 1})
    more = crossfit(make_recipe)
    ids = [
        [u.unit_id for u in plan_units(r, features_loaded, {"loss"}, []).units] for r in (few, more)
    ]
    assert ids[1][:3] == ids[0]
    stopped = crossfit(make_recipe, probe__stop_epoch=3)
    others = [u.unit_id for u in plan_units(stopped, features_loaded, {"loss"}, []).units]
    assert set(others).isdisjoint(ids[1])  # other last epochs, other outputs


def test_the_ledger_covers_held_out_outputs(tmp_path: Path) -> None:
    data = {
        "name": "c",
        "source": {"uri": "digits"},
        "probe": {"model": {"name": "mlp", "params": {"widths": [8]}}, "schedule_epochs": 2},
        "scores": {"names": ["el2n"], "timing_gate": "off"},
        "holdout": {"folds": 2, "repeats": 1},
    }
    recipe = parse_recipe(data, where="tests")
    result = score(recipe, work=tmp_path)
    records = Ledger(tmp_path).records()
    assert [sorted(record.files) for record in records] == [
        ["heldout.parquet", "trace.parquet"]
    ] * 2
    records[0].path("heldout.parquet").write_bytes(b"damaged")
    assert len(Ledger(tmp_path).records()) == 1
    assert len(score(recipe, work=tmp_path).trained) == 1
    assert result.trained == [0, 1]


# --- groups


def test_rows_of_one_group_share_a_fold_and_folds_stay_balanced() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 3000).astype(np.uint64)
    strata = rng.integers(0, 5, 3000)
    groups = np.arange(3000)
    groups[:900] = rng.integers(0, 200, 900)
    for repeat in (0, 1):
        folds = stratified_folds(hashes, strata, 5, 7, repeat, groups=groups)
        for group in np.unique(groups[:900]):
            assert len(set(folds[groups == group].tolist())) == 1
        assert np.ptp(np.bincount(folds)) <= 6
        assert max(np.ptp(np.bincount(folds[strata == s], minlength=5)) for s in range(5)) <= 3


def test_folds_of_groups_depend_on_content_alone() -> None:
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**63, 200).astype(np.uint64)
    strata, groups = rng.integers(0, 3, 200), rng.integers(0, 60, 200)
    order = rng.permutation(200)
    folds = stratified_folds(hashes, strata, 4, 0, groups=groups)
    moved = stratified_folds(hashes[order], strata[order], 4, 0, groups=groups[order])
    assert np.array_equal(moved, folds[order])


def test_exact_copies_are_never_split_over_folds(
    make_recipe: MakeRecipe, load_table: Callable[..., Loaded]
) -> None:
    features = np.repeat(np.random.default_rng(0).normal(size=(20, 3)), 3, axis=0)
    loaded = load_table(pa.table({"features": features.tolist(), "label": [0, 1, 0] * 20}))
    groups = np.repeat(np.arange(20) * 3, 3)
    folds = folds_of(make_recipe(), loaded.with_groups(groups), 0)
    assert all(len(set(folds[3 * i : 3 * i + 3])) == 1 for i in range(20))
    without = folds_of(make_recipe(), loaded, 0)
    assert any(len(set(without[3 * i : 3 * i + 3])) > 1 for i in range(20))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([2, 0, 2]), [2, 0, 2]),
        (np.array([[1, 0], [0, 1], [1, 0]], dtype=np.uint8), [1, 0, 1]),
        (np.arange(20.0)[:, None], [i // 2 for i in range(20)]),
        (np.empty((3, 0)), [0, 0, 0]),
    ],
)
def test_folds_balance_classes_sets_of_classes_and_tenths_of_a_number(
    labels: Any, expected: list[int]
) -> None:
    assert strata_of(labels).tolist() == expected


# --- the table


def test_beyond_100_classes_the_top_32_and_the_labels_own_logit_are_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    outputs, labels = rng.normal(size=(7, 150)) * 4, rng.integers(0, 150, 7)
    rows = np.arange(7) * 3
    write_heldout(tmp_path / "h.parquet", condense(rows, outputs, labels), {"fold": 0, "epochs": 1})
    found = read_heldout(tmp_path / "h.parquet")
    assert found.outputs is None
    assert found.top_classes is not None
    assert found.top_logits is not None
    assert np.array_equal(found.rows, rows)
    for i in range(7):
        order = sorted(range(150), key=lambda k: -outputs[i, k])[:32]
        assert found.top_classes[i].tolist() == order
        assert found.top_logits[i] == pytest.approx(outputs[i, order], rel=1e-6)
        total = np.log(np.exp(outputs[i]).sum())
        assert found.logsumexp is not None
        assert found.label_logit is not None
        assert found.logsumexp[i] == pytest.approx(total, rel=1e-6)
        assert found.label_logit[i] == pytest.approx(outputs[i, labels[i]], rel=1e-6)


def test_up_to_100_outputs_are_kept_whole_in_float32(tmp_path: Path) -> None:
    outputs = np.random.default_rng(0).normal(size=(5, 100))
    held_out = condense(np.arange(5), outputs, np.zeros(5, dtype=np.int64))
    write_heldout(tmp_path / "h.parquet", held_out, {"fold": 0, "epochs": 1})
    found = read_heldout(tmp_path / "h.parquet")
    assert found.outputs is not None
    assert np.array_equal(found.outputs, outputs.astype(np.float32))
    assert found.top_classes is None


def test_an_output_that_is_not_finite_names_its_row(tmp_path: Path) -> None:
    outputs = np.zeros((3, 2), dtype=np.float32)
    outputs[1, 0] = np.nan
    with pytest.raises(TableError, match="row 9 is not finite"):
        write_heldout(tmp_path / "h.parquet", HeldOut(np.array([4, 9, 11]), outputs), {"fold": 0})


def test_another_image_policy_or_grouping_makes_other_units(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    def ids(recipe: Recipe, loaded: Loaded) -> str:
        return fingerprint([u.unit_id for u in plan_units(recipe, loaded, {"loss"}, []).units])

    base = ids(make_recipe(), features_loaded)
    assert ids(make_recipe(source__image={"size": 8}), features_loaded) != base
    alone = features_loaded.with_groups(np.arange(60))
    assert ids(make_recipe(), alone) == base
    grouped = features_loaded.with_groups(np.arange(60) // 2 * 2)
    assert ids(make_recipe(), grouped) != base


# --- partitions


def patients() -> tuple[Any, Any, Any]:
    """200 rows of 30 patients who have between 1 and 12 rows each."""
    rng = np.random.default_rng(3)
    hashes = rng.integers(0, 2**63, 200).astype(np.uint64)
    return (
        hashes,
        rng.integers(0, 2, 200),
        np.repeat(np.arange(30), rng.multinomial(200, [1 / 30] * 30)),
    )


def test_repeats_have_partitions_of_their_own_where_groups_differ_in_size() -> None:
    hashes, strata, groups = patients()
    partitions = []
    for salt in ((0,), (0, 1), (0, 2), (1,)):
        folds = stratified_folds(hashes, strata, 4, *salt, groups=groups)
        together = folds[:, None] == folds[None, :]  # whatever the folds are called
        partitions.append(together.tobytes())
    assert len(set(partitions)) == 4


def test_a_held_out_share_with_groups_is_near_its_size_and_never_the_giant() -> None:
    hashes, strata, groups = patients()
    shares = [stratified_holdout(hashes, strata, 0.2, seed, groups).mean() for seed in range(5)]
    assert all(0.15 <= share <= 0.25 for share in shares)
    giant = np.where(np.arange(200) < 120, 0, np.arange(200))
    held_out = stratified_holdout(hashes, strata, 0.2, 0, giant)
    assert 0 < held_out.mean() < 0.25


def test_folds_of_many_strata_take_time_in_proportion() -> None:
    strata = np.arange(20_000)
    folds = stratified_folds(strata.astype(np.uint64), strata, 5, 0)
    assert np.bincount(folds).tolist() == [4000] * 5


def test_held_out_numbers_are_in_the_labels_own_units(
    make_recipe: MakeRecipe, load_table: Callable[..., Loaded], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"x": x.tolist(), "label": 1000 + 50 * x[:, 0]}), path)
    recipe = make_recipe(
        task="regression",
        source__uri=str(path),
        holdout={"folds": 3, "repeats": 1},
        seeds=3,
        probe__schedule_epochs=20,
        scores={"names": ["el2n"], "at": [20]},
    )
    score(recipe, work=tmp_path / "w")
    outputs = [read_heldout(p).outputs for p in (tmp_path / "w").rglob("heldout.parquet")]
    found = np.concatenate([o for o in outputs if o is not None])
    assert len(found) == 60
    assert 980 < found.mean() < 1020
    assert found.std() > 20
