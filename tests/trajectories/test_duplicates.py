"""Copies of runs and queries asked twice, from hashes alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprune.core.recipe_curate import DuplicatesRecipe
from dataprune.similarity.minhash import near_signatures, signature_of
from dataprune.similarity.words import words_of
from dataprune.trajectories import Message, ToolCall, Trajectory
from dataprune.trajectories.dialects import Dialect, parse
from dataprune.trajectories.dialects.mint import DIALECT as MINT
from dataprune.trajectories.dialects.tools import DIALECT as TOOLS
from dataprune.trajectories.duplicates import (
    CODES,
    Duplicates,
    Table,
    find_duplicates,
    fingerprints,
)

ALL = DuplicatesRecipe()
PROMPT = (
    "How many rows of the table have a price that is above the average price of all the rows "
    "that were sold in the year before the last one, counting every row once"
)


def run(
    number: int,
    said: str,
    *,
    query: str = "q",
    prompt: str = "",
    calls: tuple[ToolCall, ...] = (),
    dialect: Dialect = MINT,
) -> Any:
    messages = (
        Message("user", prompt or f"task of {query}"),
        Message("assistant", said, tool_calls=calls),
    )
    return parse(Trajectory(f"t{number}", query, messages, prompt=prompt), dialect)


def found(*parsed: Any, recipe: DuplicatesRecipe = ALL, eligible: Any = None) -> Duplicates:
    table = Table()
    table.add(fingerprints(parsed))
    return find_duplicates(table, recipe, None if eligible is None else np.array(eligible))


def act(code: str, answer: str, thought: str = "") -> str:
    return f"{thought}<execute>{code}</execute><solution>{answer}</solution>"


def text(num_words: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [f"w{number}" for number in rng.integers(0, 10_000, num_words)]


def test_the_same_actions_and_answer_are_a_copy_and_the_shortest_stays() -> None:
    result = found(
        run(0, act("f()", "1", "a long thought that says much")),
        run(1, act(" f()\n", "1")),
        run(2, act("f()", "1")),
        run(3, act("f()", "2")),
        run(4, act("g()", "1")),
        run(5, act("f()", "1"), query="other"),
        recipe=DuplicatesRecipe(near_trajectory=None),
    )
    assert result.codes == ("D_EXACT", "D_EXACT", None, None, None, None)
    assert result.kept.tolist() == [2, 2, 2, 3, 4, 5]
    assert result.reasons[0][0].detail == "copy of t2"


def test_of_equally_long_copies_the_first_stays() -> None:
    assert found(*(run(i, act("f()", "1")) for i in range(3))).kept.tolist() == [0, 0, 0]


def test_a_run_that_a_rule_rejected_displaces_no_good_one() -> None:
    result = found(
        run(0, act("f()", "1")),
        run(1, act("f()", "1", "longer")),
        eligible=[False, True],
    )
    assert result.codes == ("D_EXACT", None)


def test_arguments_are_compared_as_json() -> None:
    def call(number: int, arguments: str) -> Any:
        calls = (ToolCall("look", arguments),)
        return run(number, "", calls=calls, dialect=TOOLS)

    result = found(
        call(0, '{"a": 1, "b": [2]}'),
        call(1, '{"b":[2],"a":1}'),
        call(2, '{"a": 1, "b": [3]}'),
        call(3, "no json"),
        call(4, "[" * 100_000),
        recipe=DuplicatesRecipe(near_trajectory=None),
    )
    assert result.codes == ("D_EXACT", None, None, None, None)  # the other is spelled shorter


def test_no_answer_is_not_the_answer_none() -> None:
    result = found(
        run(0, "<execute>f()</execute>"),
        run(1, act("f()", "none")),
        recipe=DuplicatesRecipe(near_trajectory=None),
    )
    assert result.codes == (None, None)


def test_other_thoughts_to_one_answer_are_no_copies() -> None:
    result = found(
        run(0, "Two and two. <solution>4</solution>"),
        run(1, "Five less one. <solution>4</solution>"),
        run(2, "Two and two. <solution>4</solution>"),
        run(3, "Nothing to see."),
        run(4, "Nothing to do."),
    )
    assert result.codes == (None, None, "D_EXACT", None, None)


def test_one_farewell_after_other_talks_is_no_copy() -> None:
    def talk(number: int, said: str) -> Any:
        messages = (
            Message("user", "hi"),
            Message("assistant", said),
            Message("user", "thanks"),
            Message("assistant", "Bye!"),
        )
        return parse(Trajectory(f"t{number}", "q", messages), TOOLS)

    result = found(talk(0, "It is red."), talk(1, "It is not here."), talk(2, "It is red."))
    assert result.codes == (None, None, "D_EXACT")


def test_nearly_the_same_words_are_a_copy_within_a_query() -> None:
    words = text(400)
    near = [*words[:200], "changed", *words[201:]]
    far = [*words[:200], *text(200, seed=1)]
    result = found(
        run(0, act("f()", "1", " ".join([*words, "lengthened"]))),
        run(1, act("g()", "1", " ".join(near))),
        run(2, act("h()", "1", " ".join(far))),
        run(3, act("i()", "1", " ".join(near)), query="other"),
    )
    assert result.codes == ("D_NEAR_TRAJ", None, None, None)


def test_a_copy_of_a_near_copy_names_the_run_that_stays() -> None:
    words = " ".join(text(300))
    result = found(
        run(0, act("f()", "1", words + " and some words more")),
        run(1, act("f()", "1", words + " and")),
        run(2, act("f() ", "2", words)),
    )
    assert result.codes == ("D_EXACT", "D_NEAR_TRAJ", None)
    assert result.kept.tolist() == [2, 2, 2]


def test_runs_that_say_nothing_are_not_near() -> None:
    result = found(run(0, ""), run(1, "."), run(2, "."))
    assert result.codes == (None, None, "D_EXACT")


def test_near_prompts_are_one_query_named_by_its_first_run() -> None:
    result = found(
        run(0, act("f()", "1"), query="a", prompt=PROMPT),
        run(1, act("g()", "2"), query="b", prompt=PROMPT.upper() + "?"),
        run(2, act("h()", "3"), query="c", prompt=" ".join(PROMPT.split()[:20])),
        run(3, act("h()", "4"), query="b", prompt=""),
    )
    assert result.query_ids == ("a", "a", "c", "a")
    assert [r.code for r in result.reasons[1]] == ["D_NEAR_QUERY"]
    assert result.reasons[1][0].detail == "query=a"
    assert set(CODES) == {"D_EXACT", "D_NEAR_TRAJ", "D_NEAR_QUERY"}


def test_queries_stay_apart_if_asked() -> None:
    result = found(
        run(0, act("f()", "1"), query="a", prompt=PROMPT),
        run(1, act("f()", "1"), query="b", prompt=PROMPT),
        recipe=DuplicatesRecipe(near_query=None),
    )
    assert result.query_ids == ("a", "b")
    assert result.codes == (None, None)


def test_copies_are_found_across_merged_queries() -> None:
    result = found(
        run(0, act("f()", "1"), query="a", prompt=PROMPT),
        run(1, act("f()", "1"), query="b", prompt=PROMPT),
    )
    assert result.codes == (None, "D_EXACT")


def test_a_greeting_is_no_query() -> None:
    result = found(
        run(0, "Hello.", query="a", prompt=PROMPT, dialect=TOOLS),
        run(1, "Hello there.", query="b", prompt=PROMPT, dialect=TOOLS),
    )
    assert result.query_ids == ("a", "b")


def test_rows_that_could_not_be_read_are_no_copies() -> None:
    unread = [parse(Trajectory(f"t{i}", "q", (), problem="no JSON"), MINT) for i in range(2)]
    assert found(*unread).codes == (None, None)


def test_nothing_at_all_is_no_error() -> None:
    result = found()
    assert result.query_ids == ()


@pytest.mark.slow
def test_hostile_texts_are_read_in_bounded_time() -> None:
    huge = "\ud800 " + "a b " * 2_000_000
    result = found(run(0, huge, prompt=huge), run(1, huge + "x", prompt="x" * 2_000_000))
    assert result.codes[0] is None


@pytest.mark.parametrize("index", [0.5, 0.8, 0.9, 0.95])
def test_signatures_estimate_the_jaccard_index_with_the_stated_error(index: float) -> None:
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(200):
        shared, apart = round(500 * index), round(500 * (1 - index))
        values = np.unique(rng.integers(0, 2**63, shared + apart).astype(np.uint64))
        cut = apart // 2
        a, b = np.sort(values[cut:]), np.sort(np.concatenate([values[:cut], values[2 * cut :]]))
        true = len(np.intersect1d(a, b)) / len(np.union1d(a, b))
        errors.append((signature_of(a) == signature_of(b)).mean() - true)
        assert abs(true - index) < 0.01
    assert abs(np.mean(errors)) < 0.01
    assert np.std(errors) == pytest.approx(np.sqrt(index * (1 - index) / 128), rel=0.2)


def test_signatures_are_compared_within_their_group_only() -> None:
    one = signature_of(words_of(" ".join(text(50))).shingles(5))
    groups = near_signatures(np.stack([one] * 4), np.array([0, 1, 0, 1]), 0.9)
    assert groups.tolist() == [0, 1, 0, 1]


def test_a_query_of_many_near_runs_is_one_group() -> None:
    base = text(300)
    signatures = []
    for number in range(500):
        words = list(base)
        words[number % 300] = f"x{number}"
        signatures.append(signature_of(words_of(" ".join(words)).shingles(5)))
    within = np.zeros(500, dtype=np.int64)
    groups = near_signatures(np.stack(signatures), within, 0.9)
    assert (groups == 0).mean() > 0.95


@pytest.mark.real_data
def test_mint_queries_of_equal_prompts_are_merged_and_no_others(real_data: Path) -> None:
    table, prompts = Table(), {}
    for file in sorted((real_data / "trajectories/mint-bench/gpt-4-0613").glob("*.jsonl")):
        for line in file.read_text().splitlines():
            row = json.loads(line)
            query = f"{file.stem}-{row['task']['task_id']}"
            messages = tuple(Message(m["role"], m["content"]) for m in row["state"]["history"])
            prompts[query] = row["task"]["prompt"]
            made = Trajectory(query, query, messages, prompt=row["task"]["prompt"])
            table.add(fingerprints([parse(made, MINT)]))
    result = find_duplicates(table, ALL)
    merged = [(a, b) for a, b in zip(table.query_ids, result.query_ids, strict=True) if a != b]
    assert merged == [("reasoning_mmlu-40", "reasoning_mmlu-36")]
    assert prompts["reasoning_mmlu-40"] == prompts["reasoning_mmlu-36"]


@pytest.mark.real_data
def test_no_real_alternative_of_tau_bench_is_a_near_copy(real_data: Path) -> None:
    table = Table()
    runs = json.loads((real_data / "trajectories/tau-bench/gpt-4o-airline.json").read_text())
    for row in runs:
        messages = tuple(
            Message(
                m["role"],
                m.get("content") or "",
                tool_calls=tuple(
                    ToolCall(c["function"]["name"], c["function"]["arguments"])
                    for c in m.get("tool_calls") or ()
                ),
            )
            for m in row["traj"]
        )
        name = f"{row['task_id']}/{row['trial']}"
        made = Trajectory(name, str(row["task_id"]), messages, prompt=row["traj"][1]["content"])
        table.add(fingerprints([parse(made, TOOLS)]))
    result = find_duplicates(table, ALL)
    assert set(result.codes) == {None}
    assert result.query_ids == tuple(table.query_ids)
