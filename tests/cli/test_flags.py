"""`dataprune flags` on the command line."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from dataprune.tables.flags import read_flags
from tests.conftest import RECIPE

NAMES = ["ape", "bee", "cat"]
N = 600


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two votes and labels, a fifth of which are wrong, in every format; read-only."""
    folder = tmp_path_factory.mktemp("flags")
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, N)
    given = np.where(rng.random(N) < 0.2, (truth + 1) % 3, truth)
    for vote in "ab":
        logits = rng.normal(size=(N, 3)) + 4 * np.eye(3)[truth]
        p = np.exp(logits)
        p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
        np.save(folder / f"{vote}.npy", p)
        np.save(folder / f"{vote}_logits.npy", logits)
        order = [0, 1, 2] if vote == "a" else [2, 0, 1]
        pq.write_table(pa.table({NAMES[k]: p[:, k] for k in order}), folder / f"{vote}.parquet")
        lists = pa.table({"p": pa.array(p.tolist(), pa.list_(pa.float32()))})
        pq.write_table(lists, folder / f"{vote}_list.parquet")
    np.save(folder / "labels.npy", given)
    named = pa.array([NAMES[k] for k in given])
    table = pa.table({"label": named, "coded": named.dictionary_encode(), "index": given})
    pq.write_table(table, folder / "labels.parquet")
    return folder


def line(folder: Path, *names: str, labels: str = "labels.npy") -> list[object]:
    probs: list[object] = [part for name in names for part in ("--probs", folder / name)]
    return ["flags", *probs, "--labels", folder / labels]


def test_flags_are_written_and_totals_shown(cli: Any, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "FLAGS.parquet"
    done = cli(*line(files, "a.parquet", "b.parquet", labels="labels.parquet"), "--out", out)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == "Labels of 600 rows in 3 classes"
    assert done.out.splitlines()[-1] == str(out)
    assert "noise rate" in done.out
    found = read_flags(out)
    assert found.meta["class_names"] == NAMES
    assert found.meta["rule"].startswith("likely: label_q > 0.5")
    files_given = [files / name for name in ("a.parquet", "b.parquet", "labels.parquet")]
    assert found.meta["inputs"] == [
        {"file": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in files_given
    ]
    assert 80 < found.column("is_label_issue").sum() < 160


def test_every_format_is_the_same_evidence(cli: Any, files: Path, tmp_path: Path) -> None:
    lines = {
        "npy": line(files, "a.npy", "b.npy"),
        "lists": line(files, "a_list.parquet", "b_list.parquet"),
        "named": line(files, "a.parquet", "b.parquet", labels="labels.parquet"),
        "coded": [
            *line(files, "a.parquet", "b.parquet", labels="labels.parquet"),
            "--label-column", "coded",
        ],
        "index": [
            *line(files, "a.npy", "b.npy", labels="labels.parquet"), "--label-column", "index"
        ],
    }  # fmt: skip
    found = {}
    for name, arguments in lines.items():
        done = cli(*arguments, "--out", tmp_path / name)
        assert done.code == 0, done.err
        found[name] = read_flags(tmp_path / name).table
    assert all(table.equals(found["npy"]) for table in found.values())


def test_logits_give_nearly_the_same_flags(cli: Any, files: Path) -> None:
    logits = cli(*line(files, "a_logits.npy"), "--logits", "--json").json
    probs = cli(*line(files, "a.npy"), "--json").json
    assert logits["tiers"] == probs["tiers"]


def test_json_holds_totals_and_warnings(cli: Any, files: Path) -> None:
    done = cli(*line(files, "a.npy"), "--json")
    assert "Warning: 600 of 600 rows have one held-out vote" in done.err
    assert done.json["flags"] is None
    assert done.json["noise_rate"]["agreement"] is None
    assert sum(done.json["tiers"].values()) == N
    assert len(done.json["transition"]) == 3
    assert done.json["warnings"]


def test_integers_beside_named_columns_are_positions_and_that_is_said(
    cli: Any, files: Path
) -> None:
    done = cli(*line(files, "b.parquet"))
    assert "integer labels are taken as positions of columns: 0 is cat" in done.err


def bad_files(folder: Path) -> None:
    p = np.tile(np.float32([0.5, 0.25, 0.25]), (4, 1))
    np.save(folder / "p.npy", p)
    np.save(folder / "off.npy", p * 2)
    np.save(folder / "wide.npy", np.full((4, 4), 0.25))
    np.save(folder / "labels.npy", np.array([0, 1, 2, 3]))
    np.save(folder / "objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    (folder / "empty.npy").write_bytes(b"")
    (folder / "text.parquet").write_text("no")
    pq.write_table(pa.table({"a": [0.5] * 4, "row": range(4)}), folder / "row.parquet")
    pq.write_table(pa.table({"a": [0.5] * 4, "b": [0.5] * 4}), folder / "ab.parquet")
    pq.write_table(pa.table({"a": [0.5] * 4, "c": [0.5] * 4}), folder / "ac.parquet")
    pq.write_table(pa.table({"p": [[0.5, 0.5], [1.0]]}), folder / "ragged.parquet")
    pq.write_table(pa.table({"y": ["a", None, "b", "a"], "z": [0] * 4}), folder / "y.parquet")
    pq.write_table(pa.table({"label": ["a", "b", "x", "a"]}), folder / "x.parquet")


@pytest.mark.parametrize(
    ("probs", "more", "code", "message"),
    [
        (["no.npy"], [], 1, "there is no file"),
        (["p.csv"], [], 2, "is neither .npy nor .parquet"),
        (["empty.npy"], [], 1, "cannot be read as a .npy array"),
        (["objects.npy"], [], 1, "cannot be read as a .npy array"),
        (["text.parquet"], [], 1, "cannot be read as Parquet"),
        (["row.parquet"], [], 1, "column row of"),
        (["ragged.parquet"], [], 1, "row 1 of"),
        (["off.npy"], [], 1, "sums to 2, not to 1"),
        (["p.npy", "wide.npy"], [], 1, "is 4 rows x 4 classes, and"),
        (["p.npy", "p.npy"], [], 2, "is given twice"),
        (["p.npy", "ab.parquet"], [], 1, "names its classes, and the other does not"),
        (["ab.parquet", "ac.parquet"], [], 1, "has a class b"),
        (["p.npy"], [], 1, "is 3, and classes are 0 to 2"),
        (["p.npy"], ["--label-column", "y"], 2, "has no effect"),
        (["p.npy"], ["--labels", "y.parquet"], 2, "none is called label"),
        (["p.npy"], ["--labels", "y.parquet", "--label-column", "yy"], 2, "did you mean y?"),
        (["ab.parquet"], ["--labels", "y.parquet", "--label-column", "y"], 1, "row 1 of column y"),
        (["ab.parquet"], ["--labels", "x.parquet"], 1, "is 'x', which no class is called"),
        (["p.npy"], ["--labels", "p.npy"], 1, "not one integer or text per row"),
        (["p.npy"], ["--out", "flags.csv"], 2, "the name is flags.csv"),
    ],
)
def test_a_mistake_is_one_sentence_and_a_hint(
    cli: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    probs: list[str],
    more: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    bad_files(tmp_path)
    labels = [] if "--labels" in more else ["--labels", "labels.npy"]
    done = cli("flags", *(part for name in probs for part in ("--probs", name)), *labels, *more)
    assert done.code == code
    assert message in done.err
    assert "Hint: " in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


# --- a run folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits' first scoring with the flag, small; read-only."""
    from dataprune import flow
    from dataprune.core.recipe import parse_recipe

    recipe = parse_recipe({**RECIPE, "flags": ["label_issue"]}, where="tests")
    return flow.score(recipe, work=tmp_path_factory.mktemp("run") / "run").work


def test_a_run_folder_gives_flags(cli: Any, run: Path, tmp_path: Path) -> None:
    done = cli("flags", run, "--out", tmp_path / "F.parquet", "--json")
    assert done.code == 0
    assert done.json["rows"] == 1797
    assert done.json["class_names"][:2] == ["0", "1"]
    assert done.json["train_plateau"]["status"] == "experimental"
    assert {"aum", "el2n", "content_hash"} <= set(
        read_flags(tmp_path / "F.parquet").table.schema.names
    )
    shown = cli("flags", run)
    assert "noise by training (experimental)" in shown.out


def test_a_run_that_lacks_units_exits_three(cli: Any, run: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    next((copied / "units").glob("*/unit.json")).unlink()
    done = cli("flags", copied)
    assert done.code == 3
    assert "PARTIAL: 1 units are missing" in done.err


def test_score_shows_the_flags_totals(cli: Any, run: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump({**RECIPE, "flags": ["label_issue"]}))
    done = cli("score", recipe, "--work", run, "--out", tmp_path / "s.parquet")
    assert done.code == 0
    assert "likely wrong" in done.out
    assert "5 folds, repeats: 2, so 10 seeds" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give WORK, the run folder of a scoring, or --probs and --labels"),
        (["--probs", "p.npy"], "give WORK"),
        (["RUN", "--probs", "p.npy"], "--probs has no effect with"),
        (["RUN", "--seed", "0"], "--seed has no effect with"),
        (["RUN", "--rule", "cleanlab"], "there is no rule cleanlab"),
        (["nowhere"], "nowhere is no run folder of dataprune score"),
    ],
)
def test_where_evidence_comes_from_is_said_once(
    cli: Any, run: Path, arguments: list[str], message: str
) -> None:
    done = cli("flags", *(run if a == "RUN" else a for a in arguments))
    assert done.code == 2
    assert message in done.err


def test_cleanlabs_rule_is_written_down(cli: Any, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "F.parquet"
    done = cli(*line(files, "a.npy", "b.npy"), "--rule", "cleanlab:both", "--out", out)
    assert done.code == 0
    assert "planted errors found, at most" in done.out
    assert "filter_by='both'" in read_flags(out).meta["rule"]
