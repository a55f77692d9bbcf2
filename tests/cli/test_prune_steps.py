"""`prune` with several strategies in order: from the command line to a version and its card."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune import flow
from dataprune.core.recipe import SourceRecipe
from dataprune.publishing.card import render_card
from dataprune.selection import _stream
from dataprune.sources import open_source
from dataprune.sources._load import load_rows
from dataprune.tables.examples import GROUP
from dataprune.tables.flags import FlagTable, label_columns
from dataprune.tables.manifest import ParentRef, read_manifest
from dataprune.tables.scores import write_scores
from dataprune.versions.derive import without_rows
from tests.publishing.cards import card_of
from tests.tables.flagged import RULE, flag_columns

N = 90
ONCE = ["--strategy", "duplicates", "--strategy", "flagged", "--strategy", "ccs"]
HOW = [*ONCE, "--param", "beta=0.1", "--param", "duplicates.of=content", "--keep", "0.5"]


def write(folder: Path, recipe: dict[str, Any]) -> Path:
    """Scores with a value written down for each row: copies, flags of labels and two scores."""
    labels = np.arange(N) % 3
    features = [[float(i // 2 * 2 if i < 20 else i), 1.0] for i in range(N)]  # ten pairs of copies
    data = {"features": pa.array(features, pa.list_(pa.float32())), "label": list(labels % 3)}
    pq.write_table(pa.table(data), folder / "data.parquet")
    uri = str(folder / "data.parquet")
    loaded = load_rows(open_source(SourceRecipe(uri=uri)), task="classification")
    examples = loaded.examples
    if GROUP.name not in examples.schema.names:
        hashes = examples.column("content_hash").to_numpy()
        _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        examples = examples.append_column(GROUP, pa.array(first[inverse]))
    flags = flag_columns(labels, (np.arange(N) >= 18) & (np.arange(N) < 24))
    table = pa.table({name: pa.array(values) for name, values in flags.items()})
    meta = {"flag": "label_issue", "rule": RULE, "totals": {}, "warnings": [], "audit": None}
    spec = {"higher_is": "harder"}
    write_scores(
        folder / "scores.parquet",
        examples,
        {"el2n": np.arange(N) / N, "confidence": -np.arange(N)[::-1] / N},
        {
            "scores": {"el2n": spec, "confidence": spec},
            "source": loaded.ref.model_dump(mode="json"),
            "recipe": {"name": "steps", "source": {"uri": uri}, **recipe},
            "status": "complete",
            "unit_ids": [],
            "reliability": {},
        },
        [label_columns(FlagTable(table, meta))],
    )
    return folder / "scores.parquet"


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    return write(tmp_path, {})


@pytest.fixture
def prune(cli: Any, scores: Path, tmp_path: Path) -> Any:
    def run(*more: object, tag: str = "v1", code: int = 0) -> Any:
        line = ["prune", scores, "--name", "d", "--tag", tag, "--store", tmp_path / "s"]
        done = cli(*line, *more)
        assert done.code == code, done.err
        return done

    return run


def test_steps_are_told_counted_and_kept_in_the_version(
    prune: Any, cli: Any, tmp_path: Path
) -> None:
    told = prune(*HOW, "--json").json
    waterfall = [
        {"step": "duplicates", "rows_in": 90, "dropped": 10, "left": 80},
        {"step": "flagged", "rows_in": 80, "dropped": 5, "left": 75},
        {"step": "ccs", "rows_in": 75, "dropped": 30, "left": 45},
    ]
    assert told["waterfall"] == waterfall
    assert told["rows_out"] == 45
    assert (told["strategy"], told["params"], told["by"]) == ("ccs", {"beta": 0.1}, "el2n")
    steps = [
        {"strategy": "duplicates", "params": {"of": "content"}},
        {"strategy": "flagged", "params": {}},
    ]
    assert told["steps"] == steps
    manifest = json.loads((tmp_path / "s" / "d" / "v1" / "manifest.json").read_text())
    assert manifest["selection"]["steps"] == steps
    assert manifest["waterfall"] == waterfall
    again = prune(*HOW)
    assert "was there already" in again.err
    for words in ("duplicates", "10", "flagged", "75"):
        assert words in again.out
    store = ["--store", tmp_path / "s"]
    assert cli("versions", "verify", "d", "v1", *store).code == 0
    assert (
        "dropped, duplicate, before the others competed" in cli("explain", "d", "v1", 1, *store).out
    )
    assert "dropped, label_issue, before the" in cli("explain", "d", "v1", 20, *store).out
    assert "dropped, among_hardest: place" in cli("explain", "d", "v1", 89, *store).out


def test_other_steps_are_another_version_and_the_difference_is_told(
    prune: Any, cli: Any, tmp_path: Path
) -> None:
    prune(*HOW)
    taken = prune(*ONCE[2:], "--param", "beta=0.1", "--keep", "0.5", code=1)
    assert 'steps duplicates {"of": "content"}, flagged, this has flagged' in taken.err
    prune(*ONCE[2:], "--param", "beta=0.1", "--keep", "0.5", tag="v2")
    told = cli("diff", "d", "v1", "v2", "--store", tmp_path / "s", "--json").json
    assert told["settings"] == {"steps": ['duplicates {"of": "content"}, flagged', "flagged"]}


def test_filters_alone_keep_all_the_others(prune: Any, tmp_path: Path) -> None:
    told = prune("--strategy", "duplicates", "--strategy", "flagged", "--json").json
    assert told["rows_out"] == 75
    assert told["warnings"] == [w for w in told["warnings"] if "audited" in w]
    manifest = read_manifest(tmp_path / "s" / "d" / "v1" / "manifest.json")
    assert manifest.selection.in_words == "duplicates, flagged, all others"
    likely = prune("--drop-likely", "--json", tag="v2").json
    flagged = prune("--strategy", "flagged", "--json", tag="v3").json
    assert likely["reasons"] == flagged["reasons"] == {"kept": 84, "label_issue": 6}


def test_a_score_that_parameters_name_is_read_and_a_wrong_name_is_told(prune: Any) -> None:
    by_other = ["--strategy", "ccs", "--param", "beta=0.1", "--keep", "0.5", "--json"]
    own = prune(*by_other, tag="v1").json
    other = prune(*by_other, "--param", "hard_by=confidence", tag="v2").json
    assert own["reasons"]["among_hardest"] == other["reasons"]["among_hardest"] == 9
    assert own["fingerprint"] != other["fingerprint"]
    wrong = prune(*by_other, "--param", "hard_by=confidense", tag="v3", code=2)
    assert "no column confidense" in wrong.err
    assert "did you mean confidence" in wrong.err


def test_the_card_tells_the_steps_and_how_to_take_them_again(
    prune: Any, cli: Any, scores: Path, tmp_path: Path
) -> None:
    fingerprint = prune(*HOW, "--json").json["fingerprint"]
    text = render_card(card_of(tmp_path / "s" / "d" / "v1"))
    text = text.replace("<code>", "`").replace("</code>", "`")
    assert "Before that, in order: `duplicates` left out duplicates; `flagged` left out" in text
    assert "| `duplicates` | 90 | 10 | 80 |" in text
    assert "A row before it in the source is its copy, or nearly so." in text
    assert "It is among the hardest rows, which were left out first." in text
    (line,) = (row for row in text.splitlines() if row.startswith("dataprune prune"))
    words = shlex.split(line)[3:]
    told = cli("prune", scores, *words, "--store", tmp_path / "other", "--json").json
    assert told["fingerprint"] == fingerprint


def test_steps_of_a_recipe_are_its_default(cli: Any, tmp_path: Path) -> None:
    steps = [{"strategy": "flagged"}, {"strategy": "gumbel", "params": {"temperature": 0.3}}]
    path = write(tmp_path, {"prune": {"keep": 0.4, "steps": steps}})
    line = ["prune", path, "--name", "d", "--tag", "v1", "--store", tmp_path / "s", "--json"]
    told = cli(*line).json
    assert [stage["step"] for stage in told["waterfall"]] == ["flagged", "gumbel"]
    assert (told["rows_out"], told["params"]) == (36, {"temperature": 0.3})
    made = flow.prune(
        path, name="d", tag="v1", store=tmp_path / "s", strategy=["flagged", "gumbel"]
    )
    assert not made.created


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--strategy", "ccs", "--strategy", "flagged"], "ccs fills the budget"),
        (["--strategy", "flagged", "--keep", "0.5"], "flagged chooses none"),
        (["--strategy", "flagged", "--strategy", "ccs", "--param", "flag.x=1"], "of no step"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(prune: Any, more: list[str], message: str) -> None:
    assert message in prune(*more, code=2).err


def test_a_column_that_no_filter_reads_is_said_to_choose_nothing(prune: Any) -> None:
    assert "--by chooses nothing" in prune("--strategy", "duplicates", "--by", "el2n").err
    told = prune("--strategy", "threshold", "--param", "above=0.5", "--by", "el2n", tag="v2")
    assert "chooses nothing" not in told.err


def test_a_version_of_a_selection_in_parts_is_whole_but_for_ranks(
    prune: Any, cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_stream, "IN_PARTS_ABOVE", 10)
    how = ["--strategy", "flagged", "--strategy", "hardest", "--keep", "0.5"]
    assert prune(*how, "--json").json["rows_out"] == 45
    store = ["--store", tmp_path / "s"]
    assert cli("versions", "verify", "d", "v1", *store).code == 0
    told = cli("explain", "d", "v1", 89, *store).out
    assert "kept among all rows by hardest, without a place: el2n = 0.9889" in told
    loaded = flow.load("d", "v1", store=tmp_path / "s")
    parent = ParentRef(version="v1", manifest_sha256="0" * 64, relation="retracted")
    left = without_rows(loaded, "v2", parent, np.asarray([3, 89]))
    assert set(left.decisions.column("rank").to_pylist()) == {-1}


def test_what_if_compares_budgets_with_steps_and_builds_nothing(
    cli: Any, scores: Path, tmp_path: Path
) -> None:
    line = ["prune", scores, *ONCE, "--what-if", "10%,0.5,80,0.3"]
    done = cli(*line)
    assert done.code == 0, done.err
    assert "0.9" not in done.out
    for words in ("class", "lowest score", "flagged label_issue", "overlap with the column before"):
        assert words in done.out
    assert "80: 75 of 90 rows are left" in done.err
    told = cli(*line, "--json").json
    assert [o["keep"] for o in told["outcomes"]] == [0.1, 0.3, 0.5, 80]
    assert [o["rows_out"] for o in told["outcomes"]] == [9, 27, 45, 0]
    assert told["outcomes"][1]["flagged"] == {"label_issue": 0.0}
    assert not (tmp_path / "s").exists()
    refused = cli(*line, "--name", "d", "--keep", "0.5", "--control")
    assert refused.code == 2
    assert "--what-if builds nothing: leave --keep, --name, --control out" in refused.err
    assert cli("prune", scores, "--keep", "0.5").code == 2
