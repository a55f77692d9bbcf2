"""`dataprune audit` on the command line: draw, judge, conclude, and every way to get it wrong."""

from __future__ import annotations

import csv
import json
import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune.tables.flags import read_flags
from tests.auditing.example_flags import example_flags

N = 600
NAMES = ["ape", "bee", "ñandú"]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text source with a tenth of the labels wrong, and the flags that its votes give."""
    from dataprune.flags.label_issue import flag_labels

    folder = tmp_path_factory.mktemp("audit")
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, N)
    given = np.where(rng.random(N) < 0.2, (truth + 1) % 3, truth)
    votes = []
    for _ in range(2):
        logits = rng.normal(size=(N, 3)) + 4 * np.eye(3)[truth]
        p = np.exp(logits)
        votes.append(p / p.sum(axis=1, keepdims=True))
    labels = [NAMES[k] for k in given]
    flags = flag_labels(votes, labels, class_names=NAMES)
    flags.write(folder / "FLAGS.parquet")
    texts = [f'ɗan "{i}", =1\nnext' for i in range(N)]
    source = pa.table({"text": texts, "label": labels, "truth": [NAMES[k] for k in truth]})
    pq.write_table(source, folder / "source.parquet")
    return folder


@pytest.fixture
def make_flags(tmp_path: Path) -> Any:
    """Write made-up flags that name no source."""

    def make(n: int, *, name: str = "FLAGS.parquet", **wanted: Any) -> Path:
        return example_flags(tmp_path / name, n, **wanted)

    return make


def draw(ground: Path, out: Path, *more: object) -> list[object]:
    where = ["--source", ground / "source.parquet", "--input", "text", "--label", "label"]
    return ["audit", ground / "FLAGS.parquet", "--out", out, *where, "-n", 60, *more]


def fill_in(sheet: Path, ground: Path, wrong: float = 0) -> Path:
    """Judge every row of audit.csv by the truth; a share of the flags is called wrong anyway."""
    truth = pq.read_table(ground / "source.parquet").column("truth").to_pylist()
    with sheet.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for i, row in enumerate(rows):
        is_wrong = row["given"] != truth[int(row["row"])] and i >= wrong * len(rows)
        row["verdict"] = "Wrong" if is_wrong else "RIGHT"
    with sheet.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return sheet


def test_from_flags_to_audited_flags(cli: Any, ground: Path, tmp_path: Path) -> None:
    out, audited = tmp_path / "a", tmp_path / "AUDITED.parquet"
    done = cli(*draw(ground, out))
    assert (done.code, done.out) == (0, f"{out / 'audit.html'}\n")
    assert "60 of " in done.err
    assert "likely flags are drawn" in done.err
    assert sorted(p.name for p in out.iterdir()) == ["audit.csv", "audit.html", "audit.json"]
    with (out / "audit.csv").open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    assert first["text"] == f'ɗan "{first["row"]}", \'=1 next'
    assert first["given"] in NAMES
    assert first["verdict"] == ""
    again = cli(*draw(ground, out))
    assert (again.code, again.out) == (0, done.out)

    sheet = fill_in(out / "audit.csv", ground)
    line = ["audit", ground / "FLAGS.parquet", "--verdicts", sheet]
    told = cli(*line)
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("60 of ")
    assert "At most 20% of these " in told.out
    assert "(90% confidence): write them with --out AUDITED.parquet, then drop them" in told.out
    written = cli(*line, "--out", audited)
    assert written.code == 0
    drop = f"dataprune prune scores.parquet --with {audited} --drop-likely --name mine --tag v1"
    assert written.out.splitlines()[-2].endswith(drop)
    assert written.out.splitlines()[-1] == str(audited)
    before = audited.read_bytes()
    assert cli(*line, "--out", audited).code == 0, "the same again"
    assert audited.read_bytes() == before
    found = read_flags(audited)
    number = int(found.column("is_label_issue").sum())
    assert f"{number} rows are likely in {audited}" in written.err
    assert found.meta["audit"]["passed_rows"] > 60


def test_json_tells_the_same(cli: Any, ground: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    made = cli(*draw(ground, out, "--json"))
    assert (made.code, made.err) == (0, "")
    assert made.json["id"] == json.loads((out / "audit.json").read_text())["id"]
    assert (len(made.json["rows"]), made.json["census"]) == (60, False)
    sheet = fill_in(out / "audit.csv", ground)
    kept = cli(*draw(ground, out, "--json"))
    assert "is not as this audit writes it and was left as it was" in kept.json["warnings"][0]
    assert len(kept.json["warnings"]) == len(made.json["warnings"]) + 1 == 1
    line = ["audit", ground / "FLAGS.parquet", "--verdicts", sheet, "--json"]
    done = cli(*line, "--out", tmp_path / "A.parquet")
    assert (done.code, done.err) == (0, "")
    assert [p["share"] for p in done.json["prefixes"]] == [0.25, 0.5, 0.75, 1]
    assert done.json["passed_share"] == 1
    assert (
        done.json["likely_after"]
        == read_flags(tmp_path / "A.parquet").column("is_label_issue").sum()
    )
    assert done.json["sentence"].startswith("At most 20% of these ")


def test_bad_flags_are_an_answer_too(cli: Any, ground: Path, tmp_path: Path) -> None:
    cli(*draw(ground, tmp_path / "a"))
    sheet = fill_in(tmp_path / "a" / "audit.csv", ground, wrong=0.9)
    done = cli("audit", ground / "FLAGS.parquet", "--verdicts", sheet, "--alpha", "0.125")
    assert (done.code, done.err) == (0, "")
    assert "No prefix can be said to have at most 12.5% wrong flags" in done.out
    assert "nothing is safe to drop unseen" in done.out
    assert "dataprune prune" not in done.out
    line = ["audit", ground / "FLAGS.parquet", "--verdicts", sheet, "--alpha", "0.125"]
    written = cli(*line, "--out", tmp_path / "A B.parquet")
    number = int(read_flags(tmp_path / "A B.parquet").column("is_label_issue").sum())
    drop = f"Drop the {number} whose label you judged wrong with dataprune prune scores.parquet"
    assert f"{drop} --with '{tmp_path / 'A B.parquet'}' --drop-likely" in written.out


@pytest.mark.parametrize("has_flags", [False, True])
def test_the_command_that_is_named_works(
    cli: Any, ground: Path, tmp_path: Path, monkeypatch: Any, *, has_flags: bool
) -> None:
    from dataprune import flow
    from dataprune.tables.examples import first_columns
    from dataprune.tables.flags import label_columns
    from dataprune.tables.scores import read_scores, write_scores

    monkeypatch.chdir(tmp_path)
    recipe = (
        f"name: r\nsource: {{uri: {ground / 'source.parquet'}, columns: {{label: label, input: "
    )
    Path("recipe.yaml").write_text(recipe + "text}}\nscores: {names: [random]}\nseeds: 1\n")
    flow.score(Path("recipe.yaml"), work=Path("work"), out=Path("scores.parquet"))
    if has_flags:
        made = read_scores(Path("scores.parquet"))
        first = made.table.select(range(first_columns(made.table)))
        values = {"random": made.table.column("random").to_numpy()}
        flags = [label_columns(read_flags(ground / "FLAGS.parquet"))]
        write_scores(Path("scores.parquet"), first, values, made.meta, flags)
    cli(*draw(ground, tmp_path / "a"))
    sheet = fill_in(tmp_path / "a" / "audit.csv", ground, wrong=0.2)
    line = ["audit", ground / "FLAGS.parquet", "--verdicts", sheet, "--out", "AUDITED.parquet"]
    line += ["--alpha", 0.6]
    sentence = cli(*line).out.splitlines()[-2]
    done = cli(*shlex.split(sentence.partition("drop them with dataprune ")[2]))
    assert done.code == 0, done.err
    kept = flow.load("mine", "v1").frame().collect()["text"].to_list()
    likely = read_flags(tmp_path / "AUDITED.parquet").column("is_label_issue")
    texts = pq.read_table(ground / "source.parquet").column("text").to_pylist()
    assert kept == [text for text, is_likely in zip(texts, likely, strict=True) if not is_likely]
    least = ["--strategy", "easiest", "--by", "label_issue", "--keep", "0.8"]
    names = ["--with", "AUDITED.parquet", "--name", "mine", "--tag", "v2"]
    assert cli("prune", "scores.parquet", *names, *least).code == 0
    kept = flow.load("mine", "v2").frame().collect()["text"].to_list()
    with sheet.open(newline="", encoding="utf-8") as file:
        said = {texts[int(row["row"])]: row["verdict"] for row in csv.DictReader(file)}
    assert set(said.values()) == {"RIGHT", "Wrong"}
    assert {text for text, word in said.items() if word == "RIGHT"} <= set(kept)
    assert not {text for text, word in said.items() if word == "Wrong"} & set(kept)


def test_rows_that_nothing_proves_are_warned_of(cli: Any, make_flags: Any, tmp_path: Path) -> None:
    flags, source = make_flags(90), tmp_path / "bare.parquet"
    pq.write_table(pa.table({"text": [f"text {i}" for i in range(90)]}), source)
    line = ["audit", flags, "--source", source, "--out"]
    done = cli(*line, tmp_path / "a")
    assert done.code == 0
    told = " ".join(done.err.split())
    assert "rows could not be proven to be the flagged ones: neither" in told
    assert "give --label, or flags from stored units" in told
    assert "could not be proven" in cli(*line, tmp_path / "b", "--json").json["warnings"][0]
    labels = [str(i % 4) for i in range(90)]
    pq.write_table(pa.table({"text": labels, "is": labels}), source)
    done = cli(*line, tmp_path / "c", "--label", "is")
    assert (done.code, "proven" in done.err) == (0, False)


def test_skipped_rows_are_told_of(cli: Any, ground: Path, tmp_path: Path) -> None:
    cli(*draw(ground, tmp_path / "a"))
    sheet = fill_in(tmp_path / "a" / "audit.csv", ground)
    text = sheet.read_text(encoding="utf-8").replace("Wrong", "", 2)
    sheet.write_text(text, encoding="utf-8")
    done = cli("audit", ground / "FLAGS.parquet", "--verdicts", sheet)
    assert done.code == 0
    assert "2 rows before the last verdict have none; they count as unsure" in done.err
    assert "2 skipped" in done.out


def test_few_flags_are_a_census_and_said_to_be(cli: Any, make_flags: Any, tmp_path: Path) -> None:
    done = cli("audit", make_flags(90), "--out", tmp_path / "a")
    assert done.code == 0
    assert "All 30 likely flags are drawn" in done.err
    assert "these flags name no source; --source PATH|URI shows the inputs" in done.err
    with (tmp_path / "a" / "audit.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    said = ["row,verdict,draw", *(f"{r['row']},wrong,{r['draw']}" for r in rows)]
    (tmp_path / "v.csv").write_text("\n".join(said))
    told = cli("audit", tmp_path / "FLAGS.parquet", "--verdicts", tmp_path / "v.csv")
    assert "At most 20% of these 30 flags are wrong (each was judged)" in told.out


USAGE = [
    ([], "--out DIR says where to write the audit"),
    (["--out", "a", "--alpha", "0.1"], "--alpha has no effect without --verdicts"),
    (["--out", "a", "--delta", "0.1"], "--delta has no effect without --verdicts"),
    (["--verdicts", "v.json", "-n", "60"], "--sample has no effect with --verdicts"),
    (["--verdicts", "v.json", "--tier", "likely"], "--tier has no effect with --verdicts"),
    (["--verdicts", "v.json", "--source", "x"], "--source has no effect with --verdicts"),
    (["--verdicts", "v.json", "--input", "x"], "--input has no effect with --verdicts"),
    (["--verdicts", "v.json", "--label", "x"], "--label has no effect with --verdicts"),
    (["--verdicts", "v.json", "--seed", "1"], "--seed has no effect with --verdicts"),
    (["--verdicts", "v.json", "--out", "v.csv"], "Parquet, and the name is v.csv"),
    (["--verdicts", "v.json", "--alpha", "1"], "--alpha"),
    (["--out", "a", "-n", "59"], "59 is not in the range 60<=x<=240"),
    (["--out", "a", "-n", "241"], "241 is not in the range"),
    (["--out", "a", "--tier", "ok"], "'ok' is not one of"),
    (["--out", "a", "--input", "x"], "--input has no effect without --source"),
]


@pytest.mark.parametrize(("line", "message"), USAGE)
def test_options_that_do_not_fit_are_usage_errors(
    cli: Any, make_flags: Any, tmp_path: Path, monkeypatch: Any, line: list[str], message: str
) -> None:
    flags = make_flags(90)
    monkeypatch.chdir(tmp_path)
    done = cli("audit", flags, *line)
    assert (done.code, done.out) == (2, "")
    assert message in " ".join(done.err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["FLAGS.parquet"]


def test_the_flags_themselves_are_not_written_over(
    cli: Any, make_flags: Any, tmp_path: Path
) -> None:
    flags = make_flags(90)
    done = cli("audit", flags, "--verdicts", "v.json", "--out", tmp_path / "." / "FLAGS.parquet")
    assert done.code == 2
    assert "write to another file" in done.err


def test_bad_files_are_one_sentence_each(cli: Any, make_flags: Any, tmp_path: Path) -> None:
    flags = make_flags(90)
    pq.write_table(pa.table({"row": [1]}), tmp_path / "other.parquet")
    (tmp_path / "cut.parquet").write_bytes(flags.read_bytes()[:500])
    (tmp_path / "v.json").write_text('{"format": "dataprune.verd')
    none = make_flags(6, name="none.parquet", tier=["ok"] * 6)
    for line, message in [
        ([tmp_path / "gone.parquet", "--out", "a"], "there is no flags file"),
        ([tmp_path / "other.parquet", "--out", "a"], "is not a dataprune flags table"),
        ([tmp_path / "cut.parquet", "--out", "a"], "cannot be read as Parquet"),
        ([none, "--out", "a"], "no row is likely"),
        ([flags, "--verdicts", tmp_path / "gone.json"], "no file of verdicts"),
        ([flags, "--verdicts", tmp_path / "v.json"], "is not valid JSON"),
        ([flags, "--out", flags / "below"], "Not a directory"),
    ]:
        done = cli("audit", *line)
        assert (done.code, done.out) == (1, ""), line
        assert message in done.err, line
        assert "Traceback" not in done.err
        assert done.err.startswith("Error: ")


def test_verdicts_of_another_flags_file_are_refused(
    cli: Any, make_flags: Any, tmp_path: Path
) -> None:
    one, two = make_flags(900), make_flags(903, name="two.parquet")
    assert cli("audit", one, "--out", tmp_path / "a").code == 0
    sheet = tmp_path / "a" / "audit.csv"
    done = cli("audit", two, "--verdicts", sheet)
    assert done.code == 1
    assert "of another draw, or of other flags" in done.err


def test_another_draw_never_takes_a_folder(cli: Any, make_flags: Any, tmp_path: Path) -> None:
    flags = make_flags(900)
    assert cli("audit", flags, "--out", tmp_path / "a").code == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()}
    done = cli("audit", flags, "--out", tmp_path / "a", "--seed", 1)
    assert done.code == 2
    assert "holds another audit" in done.err
    assert {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(
    cli: Any, make_flags: Any, tmp_path: Path
) -> None:
    flags = make_flags(90)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    done = cli("audit", flags, "--out", locked / "a")
    assert done.code == 1
    assert "Permission denied" in done.err


def test_a_folder_inside_a_file_is_named(cli: Any, make_flags: Any, tmp_path: Path) -> None:
    flags = make_flags(90)
    done = cli("audit", flags, "--out", flags / "a")
    assert done.code == 1
    assert "Not a directory" in done.err
    assert done.out == ""
