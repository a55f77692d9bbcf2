"""The main job on real data sets, where a folder of them is at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataprune
from dataprune.core.recipe import SourceRecipe, load_recipe
from dataprune.sources import open_source
from dataprune.sources._load import Loaded, load

pytestmark = pytest.mark.real_data


def pixels(loaded: Loaded) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The images of a source that is held in memory."""
    assert isinstance(loaded.inputs, np.ndarray)
    return loaded.inputs


def test_fashion_mnist_opens_as_a_hub_dataset_with_its_class_names(real_data: Path) -> None:
    loaded = load(open_source(SourceRecipe(uri=str(real_data / "fashion_mnist"))))
    assert loaded.test is not None
    assert pixels(loaded).shape == (60000, 28, 28, 1)
    assert len(loaded.test.labels) == 10000
    assert loaded.ref.class_names[0] == "T-shirt/top"
    assert np.bincount(loaded.labels).tolist() == [6000] * 10
    # Fashion-MNIST's published mean pixel, 0.2860.
    assert pixels(loaded).mean() / 255 == pytest.approx(0.2860, abs=1e-4)


def test_cifar10_opens_from_two_shards_with_its_published_statistics(real_data: Path) -> None:
    loaded = load(open_source(SourceRecipe(uri=str(real_data / "cifar10"))))
    means = pixels(loaded).reshape(-1, 3).mean(axis=0) / 255
    assert means == pytest.approx([0.491400, 0.482158, 0.446531], abs=1e-5)
    assert len(loaded.ref.files) == 2
    assert np.bincount(loaded.labels).tolist() == [5000] * 10


@pytest.mark.parametrize(("name", "rows", "classes"), [("trec", 5452, 6), ("banking77", 10003, 77)])
def test_text_sets_open_and_take_the_random_score(
    real_data: Path, tmp_path: Path, name: str, rows: int, classes: int
) -> None:
    result = dataprune.score(str(real_data / name), scores=["random"], work=tmp_path)
    assert (result.source.num_rows, len(result.source.class_names)) == (rows, classes)
    pruned = dataprune.prune(
        result.path, keep=0.3, strategy="random", name=name, tag="v1", store=tmp_path / "store"
    )
    assert pruned.rows_out == round(0.3 * rows)


def test_a_short_trec_run_learns_and_its_seeds_agree(real_data: Path, tmp_path: Path) -> None:
    recipe = load_recipe("trec")
    probe = recipe.probe.model_copy(update={"schedule_epochs": 5})
    scores = recipe.scores.model_copy(update={"names": ("el2n",), "at": (5,)})
    short = recipe.model_copy(update={"probe": probe, "scores": scores, "seeds": 2})
    result = dataprune.score(short, source=str(real_data / "trec"), work=tmp_path)
    assert result.timing[0].value > 0.8
    assert result.reliability["el2n"]["split_half_spearman"] > 0.6


def test_a_short_fashion_mnist_run_scores_prunes_and_loads(real_data: Path, tmp_path: Path) -> None:
    recipe = load_recipe("fashion_mnist")
    probe = recipe.probe.model_copy(update={"schedule_epochs": 1})
    scores = recipe.scores.model_copy(update={"names": ("el2n",), "at": (1,)})
    short = recipe.model_copy(update={"probe": probe, "scores": scores, "seeds": 1})
    result = dataprune.score(short, source=str(real_data / "fashion_mnist"), work=tmp_path / "work")
    assert result.timing[0].value > 0.75
    pruned = dataprune.prune(
        result.path, keep=6000, class_balance="equal", name="f", tag="v1", store=tmp_path / "store"
    )
    assert {c["kept"] for c in pruned.classes.values()} == {600}
    version = dataprune.load("f", "v1", store=tmp_path / "store")
    table = version.arrow().to_table()
    original = pq.read_table(real_data / "fashion_mnist/data/train-00000-of-00001.parquet")
    assert table.schema.metadata[b"huggingface"] == original.schema.metadata[b"huggingface"]
    assert table.equals(original.take(version.rows))


def test_grand_ranks_as_el2n_on_fashion_mnist_and_at_init_only_as_the_input_norm(
    real_data: Path, tmp_path: Path
) -> None:
    files = sorted((real_data / "fashion_mnist" / "data").glob("train-*.parquet"))
    table = pa.concat_tables([pq.read_table(file) for file in files])
    labels = table.column("label").to_numpy()
    rows = np.concatenate([np.flatnonzero(labels == c)[:300] for c in range(10)])
    pq.write_table(table.take(np.sort(rows)), tmp_path / "data.parquet")
    recipe = load_recipe("fashion_mnist")
    source = recipe.source.model_copy(update={"uri": str(tmp_path / "data.parquet")})
    scores = recipe.scores.model_copy(update={"names": None, "at": (6,)})
    made = dataprune.score(
        recipe.model_copy(update={"source": source, "scores": scores, "seeds": 3}),
        scores=["el2n", "grand", "grand_init", "input_norm"],
        work=tmp_path / "work",
    )
    found = {(pair["a"], pair["b"]): pair["spearman"] for pair in made.between}
    assert found["el2n", "grand"] > 0.9
    assert found["grand_init", "input_norm"] > 0.6
    assert abs(found["el2n", "grand_init"]) < 0.25
