"""What users get wrong: each is one sentence with the value in it, an exit code, no traceback."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Cli = Callable[..., Any]

PRUNE = "prune {ground}/work/scores.parquet --name x --tag v1 --store {tmp}/store"


def features(values: list[Any]) -> pa.Array:
    return pa.array(values, pa.list_(pa.float32()))


LABELS = [f"class-{i % 3}" for i in range(60)]
VALUES = [[float(i % 3), float(i)] for i in range(60)]
TABLES = {
    "no-label": {"features": features(VALUES)},
    "no-input": {"label": LABELS, "when": [datetime(2026, 1, 1, tzinfo=UTC)] * 60},
    "two-inputs": {"a": features(VALUES), "b": features(VALUES), "label": LABELS},
    "nan": {"features": features([*VALUES[:7], [float("nan"), 1.0], *VALUES[8:]]), "label": LABELS},
    "ragged": {"features": features([*VALUES[:7], [1.0], *VALUES[8:]]), "label": LABELS},
    "null-input": {"features": features([*VALUES[:7], None, *VALUES[8:]]), "label": LABELS},
    "null-label": {"features": features(VALUES), "label": [*LABELS[:7], None, *LABELS[8:]]},
    "one-class": {"features": features(VALUES), "label": ["same"] * 60},
    "few-rows": {"features": features(VALUES[:5]), "label": LABELS[:5]},
    "no-rows": {"features": features([]), "label": pa.array([], pa.string())},
    "no-features": {"features": features([[]] * 60), "label": LABELS},
    "fractions": {"features": features(VALUES), "label": [i / 2 for i in range(60)]},
    "no-images": {"image": [b"no image"] * 60, "label": LABELS},
    "text": {"text": [f"words {i}" for i in range(60)], "label": LABELS},
    "all-alike": {"features": features([[1.0, 1.0]] * 60), "label": LABELS},
}

RECIPES = {
    "no-yaml": "name: [",
    "a-list": "- name: x",
    "nothing": "",
    "bytes": "\x00",
    "no-text": "name: x\nsource: {{uri: {tmp}/text.parquet}}\nprobe: {{model: {{name: mlp}}}}",
    "mistyped-key": "name: x\nsource: {uri: digits}\nseedz: 3\n",
    "mistyped-inner-key": "name: x\nsource: {uri: digits}\nprobe: {batchsize: 3}\n",
    "wrong-type": "name: x\nsource: {uri: digits}\nseeds: many\n",
    "no-source": "name: x\n",
    "bad-name": "name: a/b\nsource: {uri: digits}\n",
    "negative": "name: x\nsource: {uri: digits}\nprobe: {optimizer: {lr: -1}}\n",
    "no-such-model": "name: x\nsource: {uri: digits}\nprobe: {model: {name: mpl}}\n",
    "no-such-parameter": (
        "name: x\nsource: {uri: digits}\nprobe: {model: {name: mlp, params: {width: 3}}}\n"
    ),
    "bad-widths": (
        "name: x\nsource: {uri: digits}\nprobe: {model: {name: mlp, params: {widths: 3}}}\n"
    ),
    "no-such-format": "name: x\nsource: {uri: digits, format: parket}\n",
    "no-such-schedule": "name: x\nsource: {uri: digits}\nprobe: {schedule: {name: cosine}}\n",
    "stops-too-late": (
        "name: x\nsource: {uri: digits}\nprobe: {schedule_epochs: 2, stop_epoch: 3}\n"
    ),
    "augmented-features": (
        "name: x\nsource: {{uri: {ground}/data.parquet}}\n"
        "probe: {{model: {{name: mlp}}, augment: {{flip: true}}}}\n"
    ),
    "no-such-column": (
        "name: x\nsource: {{uri: {ground}/data.parquet, columns: {{label: lable}}}}\n"
    ),
    "diverges": (
        "name: x\nsource: {{uri: {ground}/data.parquet}}\nseeds: 2\n"
        "probe: {{model: {{name: mlp}}, schedule_epochs: 2, optimizer: {{lr: 1.0e+30}}}}\n"
    ),
}

CASES: list[tuple[str, int, str]] = [
    # what to score
    ("score digitz", 2, "did you mean digits?"),
    ("score ''", 2, "neither a recipe nor data"),
    ("score {tmp}/nowhere.parquet", 1, "no Parquet files at {tmp}/nowhere.parquet"),
    ("score {tmp}/nowhere.yaml", 2, "no recipe {tmp}/nowhere.yaml"),
    ("score {tmp}/empty-folder", 1, "there are no files in the folder {tmp}/empty-folder"),
    ("score {tmp}/*.nothing", 1, "there are no files at {tmp}/*.nothing"),
    ("score {tmp}/garbage.parquet", 1, "{tmp}/garbage.parquet cannot be read as Parquet"),
    ("score {tmp}/truncated.parquet", 1, "{tmp}/truncated.parquet cannot be read as Parquet"),
    ("score {tmp}/zero-bytes.parquet", 1, "{tmp}/zero-bytes.parquet cannot be read as Parquet"),
    ("score {tmp}/note.txt", 2, "{tmp}/note.txt"),
    ("score {ground}/recipe.yaml --source nowhere", 2, "nowhere is neither a known source"),
    ("score $DATAPRUNE_DATA/x", 2, "DATAPRUNE_DATA"),
    # data
    ("score {tmp}/no-label.parquet", 1, "no label column found"),
    ("score {tmp}/no-input.parquet", 1, "no image, text or numeric column"),
    ("score {tmp}/two-inputs.parquet", 1, "several features columns: a, b"),
    ("score {tmp}/nan.parquet", 1, "1 rows of {tmp}/nan.parquet (train) have a NaN"),
    ("score {tmp}/ragged.parquet", 1, "do not have 2 features: 7"),
    ("score {tmp}/null-input.parquet", 1, "have no input: 7"),
    ("score {tmp}/null-label.parquet", 1, "have no label: 7"),
    ("score {tmp}/one-class.parquet", 2, "has 1 class"),
    ("score {tmp}/few-rows.parquet", 2, "has 5 rows, too few for 10 folds"),
    ("score {tmp}/no-rows.parquet", 1, "no rows"),
    ("score {tmp}/no-features.parquet", 1, "{tmp}/no-features.parquet"),
    ("score {tmp}/fractions.parquet", 1, "labels of {tmp}/fractions.parquet (train) are double"),
    ("score {tmp}/no-images.parquet", 1, "no readable image: 0, 1, 2, 3, 4, ..."),
    ("score {tmp}/no-text.yaml", 2, "model mlp does not read text"),
    # recipes
    ("score {tmp}/no-yaml.yaml", 2, "{tmp}/no-yaml.yaml is not YAML"),
    ("score {tmp}/a-list.yaml", 2, "holds list"),
    ("score {tmp}/nothing.yaml", 2, "{tmp}/nothing.yaml holds"),
    ("score {tmp}/bytes.yaml", 2, "{tmp}/bytes.yaml is not YAML"),
    ("score {tmp}/mistyped-key.yaml", 2, "did you mean seed"),
    ("score {tmp}/mistyped-inner-key.yaml", 2, "did you mean batch_size?"),
    ("score {tmp}/wrong-type.yaml", 2, "(got 'many')"),
    ("score {tmp}/no-source.yaml", 2, "source"),
    ("score {tmp}/bad-name.yaml", 2, "(got 'a/b')"),
    ("score {tmp}/negative.yaml", 2, "probe.optimizer.lr"),
    ("score {tmp}/no-such-model.yaml", 2, "did you mean mlp?"),
    ("score {tmp}/no-such-parameter.yaml", 2, "did you mean widths?"),
    ("score {tmp}/bad-widths.yaml", 2, "model mlp cannot be built with"),
    ("score {tmp}/no-such-format.yaml", 2, "did you mean parquet?"),
    ("score {tmp}/no-such-schedule.yaml", 2, "'one_cycle'"),
    ("score {tmp}/stops-too-late.yaml", 2, "stop_epoch 3 is after schedule_epochs 2"),
    ("score {tmp}/augmented-features.yaml", 2, "crops and flips images"),
    ("score {tmp}/no-such-column.yaml", 1, "did you mean label?"),
    ("score {tmp}/diverges.yaml --work {tmp}/w", 1, "training diverged: loss"),
    ("score {tmp}/all-alike.parquet --seeds 2", 2, "60 rows in 1 groups, too few for 10 folds"),
    # options of score
    ("score digits --score el2m", 2, "did you mean el2n?"),
    (
        "score digits --out scores.csv",
        2,
        "tables of scores are Parquet, and the name is scores.csv",
    ),
    ("score digits --at 0", 2, "has epoch 0, but the probe trains epochs 1 to 20"),
    ("score digits --at 99", 2, "has epoch 99"),
    ("score digits --at ten", 2, "'ten' is not a list of epochs such as 5,10"),
    ("score digits --at ''", 2, "is not a list of epochs"),
    ("score digits --seeds 0", 2, "--seeds"),
    ("score digits --seeds 1", 2, "one seed is not enough without a test split"),
    ("score digits --runner slurm", 2, "'local', 'ray'"),
    ("score digits --address 10.0.0.1:6379", 2, "has no effect with the local runner"),
    ("score {ground}/recipe.yaml --work {tmp}/note.txt", 2, "is a file"),
    ("score {ground}/recipe.yaml --work {tmp}/note.txt/x", 1, "{tmp}/note.txt"),
    ("score {ground}/recipe.yaml --work {tmp}/w --out {tmp}/note.txt/x", 1, "{tmp}/note.txt"),
    ("score {ground}/recipe.yaml --out {tmp}", 2, "is a directory"),
    # what to prune
    ("prune {tmp}/none.parquet --keep 1 --name x --tag v1", 1, "no scores file at {tmp}/none"),
    (
        "prune {ground}/data.parquet --keep 1 --name x --tag v1",
        1,
        "is not a dataprune scores table",
    ),
    ("prune {tmp}/garbage.parquet --keep 1 --name x --tag v1", 1, "cannot be read as Parquet"),
    (
        "prune {ground}/store/d/v1/decisions.parquet --keep 1 --name x --tag v1",
        1,
        "it is a decisions table",
    ),
    ("prune {ground}/work/scores.parquet --keep 1 --tag v1", 2, "--name"),
    ("prune {ground}/work/scores.parquet --keep 1 --name x", 2, "--tag"),
    # how much and by what
    (PRUNE, 2, "nothing says how much to keep"),
    (PRUNE + " --keep half", 2, "--keep is 'half'"),
    ("prune {ground}/work/scores.parquet --what-if 0.1,half", 2, "--what-if is 'half'"),
    (PRUNE + " --keep 0", 2, "keep is 0"),
    (PRUNE + " --keep 61", 2, "keep is 61, and the source has 60 rows"),
    (PRUNE + " --keep 1.5", 2, "keep is 1.5, a fraction must be in (0, 1]"),
    (PRUNE + " --keep 60.0", 2, "keep is 60.0, a fraction must be in (0, 1]"),
    (PRUNE + " --keep 150%", 2, "fraction must be in (0, 1]"),
    (PRUNE + " --keep nan", 2, "--keep is 'nan'"),
    (PRUNE + " --keep 1e999", 2, "keep is inf"),
    (PRUNE + " --keep 0.001", 2, "keep 0.001 of 60 rows is no row"),
    (PRUNE + " --keep 0.5 --by el2m", 2, "did you mean el2n?"),
    (PRUNE + " --keep 0.5 --strategy hardst", 2, "did you mean hardest?"),
    (PRUNE + " --keep 0.5 --strategy window", 2, "needs the parameter offset"),
    (PRUNE + " --keep 0.5 --strategy window --param offset=NaN", 2, "offset is nan"),
    (PRUNE + " --keep 0.5 --strategy window --param offset=-1", 2, "offset is -1"),
    (PRUNE + " --keep 0.5 --strategy window --param offset=40", 2, "offset can be 30 at most"),
    (PRUNE + " --keep 0.5 --param offset=1", 2, "strategy hardest has no parameter offset"),
    (PRUNE + " --keep 0.5 --param offset", 2, "'offset' is not NAME=VALUE"),
    (PRUNE + " --keep 0.5 --min-per-class 21", 2, "has 20 rows, fewer than the 21"),
    (PRUNE + " --keep 0.5 --min-per-class 11", 2, "are more than the 30 to keep"),
    (PRUNE + " --keep 0.5 --class-balance fair", 2, "'proportional'"),
    (PRUNE + " --keep 0.5 --seed -1", 2, "--seed"),
    (PRUNE + " --keep 0.5 --strategy random --by el2n", 2, "strategy random uses no score"),
    # tables and sources that do not belong
    (PRUNE + " --keep 0.5 --with {tmp}/none.parquet", 1, "no scores file at {tmp}/none.parquet"),
    (PRUNE + " --keep 0.5 --with {ground}/work/scores.parquet", 2, "has a column el2n"),
    (PRUNE + " --keep 0.5 --source {tmp}/other.parquet", 1, "row 0 of source {tmp}/other.parquet"),
    (PRUNE + " --keep 0.5 --source {tmp}/few-rows.parquet", 1, "has 5 rows"),
    (PRUNE + " --keep 0.5 --source {tmp}/nowhere", 1, "{tmp}/nowhere"),
    # names, tags and stores
    (PRUNE + " --keep 0.5 --tag latest", 2, "'latest' is not a version tag"),
    (PRUNE + " --keep 0.5 --tag V1", 2, "'V1' is not a version tag"),
    (PRUNE + " --keep 0.5 --name org/data", 2, "has a slash"),
    (PRUNE + " --keep 0.5 --name ../x", 2, "has a slash"),
    (PRUNE + " --keep 0.5 --name ''", 2, "'' is not a version name"),
    (PRUNE + " --keep 0.5 --store {tmp}/note.txt", 2, "is a file"),
    (PRUNE + " --keep 0.5 --store {tmp}/note.txt/x", 1, "{tmp}/note.txt"),
    (
        PRUNE + " --keep 0.3 --name d --store {ground}/store",
        1,
        "d@v1 exists with keep 0.5, this has 0.3",
    ),
    # versions
    ("load d v9 --store {ground}/store", 1, "tags: v1, v1-control, v2"),
    ("load e v1 --store {ground}/store", 1, "has nothing named e"),
    ("load ../d v1 --store {ground}/store", 2, "is not the name of a Hub dataset"),
    ("load d --store {ground}/store", 2, "TAG"),
    ("load d v1 --store {tmp}/none", 1, "dataprune prune makes one"),
    ("explain d v1 60 --store {ground}/store", 1, "rows 0 to 59, and no row 60"),
    ("explain d v1 first --store {ground}/store", 2, "'first' is not a valid integer"),
    ("diff d v1 v9 --store {ground}/store", 1, "d has no version v9"),
    ("diff d v1 --store {ground}/store", 2, "TAG2"),
    ("evaluate d --store {ground}/store", 2, "TAG"),
    ("evaluate d v9 --store {ground}/store", 1, "d has no version v9"),
    ("evaluate d v1 --seeds 0 --store {ground}/store", 2, "--seeds"),
    ("evaluate d v1 --store {ground}/store --source {tmp}/other.parquet", 1, "other.parquet"),
    ("evaluate d v1 --store {ground}/store --work {tmp}/note.txt/x", 1, "{tmp}/note.txt"),
    (
        "evaluate d v1 --store {ground}/store --work {tmp}/w --address 10.0.0.1:6379",
        2,
        "has no effect with the local runner",
    ),
    ("evaluate d v1 --keep 0.5 --store {ground}/store", 2, "--keep has no effect on versions"),
    ("evaluate {ground}/work/scores.parquet v1", 2, "v1 the tag of a version"),
    ("evaluate {ground}/work/scores.parquet --store {tmp}", 2, "--store has no effect"),
    ("evaluate {ground}/work/scores.parquet --keep 0.5,x", 2, "--keep is 'x'"),
    ("evaluate {ground}/work/scores.parquet --steps 0", 2, "--steps"),
    ("evaluate {ground}/work/scores.parquet --epochs 3 --work {tmp}/w", 2, "of fixed_epochs"),
    ("evaluate {ground}/work/scores.parquet --strategy hardst --work {tmp}/w", 2, "hardest"),
    ("evaluate {ground}/none.parquet", 1, "none.parquet"),
    # runs
    ("status {tmp}/none", 1, "{tmp}/none holds no run"),
    ("status {tmp}/empty-folder", 1, "holds no run"),
    ("status {tmp}/note.txt", 2, "is a file"),
    ("status {tmp}/damaged-run", 1, "{tmp}/damaged-run/run.json"),
    ("status {tmp}/foreign-run", 1, "{tmp}/foreign-run/run.json"),
    # the line itself
    ("versions --store", 2, "--store"),
    ("versions extra", 2, "extra"),
    ("load d v1 --stor x", 2, "--stor"),
]


@pytest.fixture(scope="module")
def pitfalls(ground: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder full of things that cannot be used."""
    folder = tmp_path_factory.mktemp("pitfalls")
    for name, columns in TABLES.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    for name, text in RECIPES.items():
        filled = text.format(ground=ground, tmp=folder) if "{{" in text else text
        (folder / f"{name}.yaml").write_text(filled)
    (folder / "garbage.parquet").write_bytes(b"PAR1 and then nothing of the kind")
    whole = (ground / "data.parquet").read_bytes()
    (folder / "truncated.parquet").write_bytes(whole[:-20])
    (folder / "zero-bytes.parquet").touch()
    (folder / "note.txt").write_text("no data")
    (folder / "empty-folder").mkdir()
    table = pq.read_table(ground / "data.parquet")
    pq.write_table(table.take([1, 0, *range(2, 60)]), folder / "other.parquet")
    for name, text in (("damaged-run", '{"units": '), ("foreign-run", "[]")):
        (folder / name).mkdir()
        (folder / name / "run.json").write_text(text)
    return folder


@pytest.mark.parametrize(("line", "code", "phrase"), CASES, ids=[c[0] for c in CASES])
def test_a_mistake_is_one_sentence_and_an_exit_code(
    line: str,
    code: int,
    phrase: str,
    ground: Path,
    pitfalls: Path,
    cli: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATAPRUNE_DATA", raising=False)
    args = [
        arg.replace("{ground}", str(ground)).replace("{tmp}", str(pitfalls)).replace("''", "")
        for arg in line.split(" ")
    ]
    done = cli(args[0], "--json", *args[1:])
    told = phrase.replace("{ground}", str(ground)).replace("{tmp}", str(pitfalls))
    assert done.code == code, done.err
    assert done.out == ""
    assert told in done.err
    assert "Traceback" not in done.err
    assert "defect of dataprune" not in done.err
    lines = [text for text in done.err.splitlines() if text]
    if lines[0].startswith("Usage: "):  # click shows how the command is called
        assert re.fullmatch(r"Try 'dataprune.* --help' for help\.", lines[1])
        del lines[:2]
    assert lines[0].startswith("Error: ")
    assert len(lines) <= 2
    assert all(text.startswith("Hint: ") for text in lines[1:])


def test_a_mistake_leaves_nothing_behind(
    cli: Cli, ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in ("score digitz", "score digits --at 99", "score digits --score el2m",
                 f"prune {ground}/work/scores.parquet --keep 2.0 --name x --tag v1",
                 f"prune {ground}/work/scores.parquet --keep 0.5 --name x --tag one",
                 "load x v1", "versions", "evaluate x v1", "status nowhere"):  # fmt: skip
        cli(*line.split(" "))
        assert list(tmp_path.iterdir()) == [], line
