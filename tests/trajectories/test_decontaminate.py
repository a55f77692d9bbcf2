"""Evaluation data in prompts: words in a row, table headers, ids; and how files are read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprune.core.errors import SourceError
from dataprune.similarity.words import normalised
from dataprune.trajectories import Message, Trajectory
from dataprune.trajectories.decontaminate import CODES, overlaps
from dataprune.trajectories.dialects import Parsed, parse
from dataprune.trajectories.dialects.mint import DIALECT as MINT
from dataprune.trajectories.dialects.tools import DIALECT as TOOLS
from dataprune.trajectories.evaluation import Evaluation
from dataprune.trajectories.headers import header_of, headers_in

QUESTION = (
    "Compute the mean fare that passengers of the first class paid and round the result "
    "to two decimal places"
)


def asked(text: str, prompt: str = "", query: str = "q-1234", **kwargs: object) -> Parsed:
    messages = (
        Message("system", QUESTION),
        Message("user", text),
        Message("assistant", f"<execute>1</execute>{QUESTION}"),
        Message("user", f"Observation: {QUESTION}"),
    )
    return parse(Trajectory("run-1", query, messages, prompt=prompt), MINT)


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    file = tmp_path / "eval.jsonl"
    file.write_text(
        json.dumps({"id": "q-1234", "question": QUESTION, "answer": "never looked for " * 9})
        + "\n\n"
        + json.dumps({"id": 7, "question": "What is the mean fare of all passengers?"})
    )
    return Evaluation.read([file])


def test_thirteen_words_in_a_row_are_an_overlap_with_its_span(evaluation: Evaluation) -> None:
    words = QUESTION.split()
    shared = " ".join(words[:13]).upper().replace(" ", ",  ")
    text = f"Please: {shared} of the second ship."
    reasons = overlaps(asked(text, query="x"), evaluation)
    assert [(r.code, r.step, r.score, r.threshold) for r in reasons] == [("C_NGRAM", 1, 13, 13)]
    assert text[reasons[0].start : reasons[0].end] == shared
    assert overlaps(asked("Please: " + " ".join(words[:12]) + " no", query="x"), evaluation) == []


def test_a_longer_overlap_is_one_reason(evaluation: Evaluation) -> None:
    text = f"Well. {QUESTION}. Well."
    (reason,) = overlaps(asked(text, query="x"), evaluation)
    assert text[reason.start : reason.end] == QUESTION
    assert reason.score == len(QUESTION.split())
    assert "fare" not in reason.detail


def test_only_what_users_asked_counts(evaluation: Evaluation) -> None:
    assert overlaps(asked("nothing of it", query="x"), evaluation) == []


def test_instructions_before_the_task_do_not_count(evaluation: Evaluation) -> None:
    text = f"Example: {QUESTION}\nTask:\nSomething else"
    assert overlaps(asked(text, "Something else", query="x"), evaluation) == []
    text = f"Example\nTask:\n{QUESTION}"
    (reason,) = overlaps(asked(text, QUESTION, query="x"), evaluation)
    assert text[reason.start : reason.end] == QUESTION


def test_a_later_word_of_a_user_counts_where_agents_talk(evaluation: Evaluation) -> None:
    messages = (
        Message("user", "hi"),
        Message("assistant", "hello"),
        Message("user", QUESTION),
        Message("tool", QUESTION),
    )
    reasons = overlaps(parse(Trajectory("t", "x", messages), TOOLS), evaluation)
    assert [r.step for r in reasons] == [2]


def test_a_short_question_counts_as_a_whole(evaluation: Evaluation, tmp_path: Path) -> None:
    text = "Question - what is the mean fare of ALL passengers - Answer it."
    (reason,) = overlaps(asked(text, query="x"), evaluation)
    assert text[reason.start : reason.end] == "what is the mean fare of ALL passengers"
    file = tmp_path / "short.txt"
    file.write_text("Who won the race?\n\nok")
    short = Evaluation.read([file])
    assert [r.code for r in overlaps(asked("who won the race"), short)] == ["C_NGRAM"]
    assert overlaps(asked("tell me who won the race"), short) == []
    assert overlaps(asked("ok"), short) == []


def test_an_id_counts_if_it_names_something(evaluation: Evaluation) -> None:
    assert [r.code for r in overlaps(asked("hi"), evaluation)] == ["C_ANSWERED"]
    assert overlaps(asked("hi", query="7"), evaluation) == []
    assert evaluation.num_weak_ids == 1


def test_words_of_a_template_do_not_count(tmp_path: Path) -> None:
    file = tmp_path / "eval.json"
    template = "Answer with one letter and nothing else, or you will lose all of your points: "
    file.write_text(json.dumps([{"question": template + f"is {i} odd"} for i in range(11)]))
    found = Evaluation.read([file])
    assert found.num_questions == 11
    assert found.num_common > 0
    assert overlaps(asked(template + "something"), found) == []


TABLE = "| Name | Age | Fare |\n|:---|---:|---|\n| A | 3 | 4 |"


def test_headers_are_markdown_or_separated_lines_with_a_table_below() -> None:
    head = header_of(["fare", "NAME", "age"])
    assert head is not None
    text = f"See:\n{TABLE}\nend"
    assert headers_in(text) == {head: (5, 26)}
    text = "Data:\nname,age,fare\nA,3,4\nB,4,5"
    assert headers_in(text) == {head: (6, 19)}
    assert headers_in("name\tage\tfare\r\nA\t3\t4") == {head: (0, 13)}
    assert headers_in("Red, green, blue\nare, well, colours") == {}
    assert headers_in("1,2,3\n4,5,6") == {}
    assert headers_in("a,b\n1,2") == {}
    assert header_of(["a", "A", "b"]) is None


@given(st.text(st.sampled_from("ab1,|-\n\t"), max_size=60))
def test_header_places_point_at_their_lines(text: str) -> None:
    for header, (start, end) in headers_in(text).items():
        line = text[start:end]
        assert "\n" not in line
        cells = {normalised(c) for s in "|,\t;" for c in line.strip("| ").split(s)}
        assert header <= cells


@pytest.mark.parametrize("kind", ["csv", "parquet", "columns", "prompt"])
def test_tables_of_evaluation_files_are_kept_out_by_their_header(tmp_path: Path, kind: str) -> None:
    file = tmp_path / {"csv": "t.csv", "parquet": "t.parquet"}.get(kind, "t.json")
    if kind == "csv":
        file.write_text("Fare,Name,Age\n1,2,3\n")
    elif kind == "parquet":
        pq.write_table(pa.table({"fare": [1], "name": ["x"], "age": [3]}), file)
    elif kind == "columns":
        file.write_text(json.dumps([{"table": {"columns": ["age", "name", "fare"], "data": []}}]))
    else:
        file.write_text(json.dumps({"question": f"Which?\n{TABLE}"}))
    (reason,) = overlaps(asked(f"Look.\n{TABLE}"), Evaluation.read([file]))
    assert (reason.code, reason.step, reason.detail) == ("C_HEADER", 1, "3 cells")
    assert f"Look.\n{TABLE}"[reason.start : reason.end] == "| Name | Age | Fare |"
    assert set(CODES) == {"C_NGRAM", "C_HEADER", "C_ANSWERED"}


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv", "parquet", "txt"])
def test_every_kind_of_file_gives_the_same_questions(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"eval.{ending}"
    rows = [{"id": "abcd", "question": QUESTION}, {"id": "efgh", "question": "Who won the race?"}]
    if ending == "json":
        file.write_text(json.dumps({row["id"]: row for row in rows}))
    elif ending == "jsonl":
        file.write_text("\n".join(map(json.dumps, rows)))
    elif ending == "csv":
        file.write_text("id,question\n" + "\n".join(f"{r['id']},{r['question']}" for r in rows))
    elif ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        file.write_text("\n\n".join(row["question"] for row in rows))
    found = Evaluation.read([str(file)])
    assert found.num_questions == 2
    assert found.ids == (frozenset() if ending == "txt" else {"abcd", "efgh"})
    assert len(found.sequences) == len(QUESTION.split()) - 12
    assert list(found.wholes) == [4]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("none.json", None, "there is no evaluation file"),
        ("a.json", b"{", "cannot be read"),
        ("a.jsonl", b'{"a": 1}\n{', "line 2"),
        ("deep.json", b"[" * 200_000, "cannot be read"),
        ("a.parquet", b"PAR1", "cannot be read"),
        ("a.txt", b"\xff\xfe", "no UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, data: bytes | None, message: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=message) as caught:
        Evaluation.read([tmp_path / name])
    assert name in str(caught.value)
    assert caught.value.hint


@pytest.mark.slow
def test_hostile_prompts_are_read_in_bounded_time(evaluation: Evaluation) -> None:
    for text in ("a,b,c\n" * 2_000_000, "|" * 5_000_000, "\ud800" * 1_000_000, QUESTION * 20_000):
        reasons = overlaps(asked(text, query="x"), evaluation)
        assert len(reasons) <= 10


def test_no_evaluation_files_find_nothing() -> None:
    found = Evaluation.read([])
    assert found.num_questions == 0
    assert overlaps(asked(QUESTION), found) == []
    assert found.sequences.dtype == np.uint64


@pytest.mark.real_data
def test_infiagent_questions_are_found_and_mint_is_clean_of_them(real_data: Path) -> None:
    folder = real_data / "trajectories"
    found = Evaluation.read([folder / "infiagent-dabench/da-dev-questions.jsonl"])
    assert found.num_questions > 200
    rows = [
        json.loads(line)
        for line in (folder / "infiagent-dabench/da-dev-questions.jsonl").read_text().splitlines()
    ]
    hits = [overlaps(asked(f"Do this. {row['question']} Thanks."), found) for row in rows]
    assert sum(bool(reasons) for reasons in hits) / len(rows) > 0.9
    for line in (folder / "mint-bench/gpt-4-0613/reasoning_gsm8k.jsonl").read_text().splitlines():
        assert overlaps(asked(json.loads(line)["task"]["prompt"]), found) == []
