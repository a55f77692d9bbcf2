"""A judge beside people: the rates, the file of verdicts, the command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprune.core.errors import SourceError, UsageError
from dataprune.trajectories.judge.calibrate import calibrate, compare, rate_of, read_human
from dataprune.trajectories.judge.judge import Judge
from tests.cli.conftest import Cli, cli
from tests.trajectories.judge.conftest import KEY, Serve
from tests.trajectories.judge.honest import honest, settings, texts_of
from tests.trajectories.judge.server import Act, JudgeServer, says

__all__ = ["cli"]


def write(path: Path, lines: list[Any]) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n")
    return path


def judged(n: int, *, wrong: int = 0) -> list[dict[str, Any]]:
    """Half of the answers are right; of the others, people accept the first few."""
    rows = []
    for i in range(n):
        good = i % 2 == 0
        human = good or i // 2 < wrong
        rows.append({"question": f"q{i}", "answer": "yes" if good else "no", "reference": "yes",
                     "human": human, "id": i})  # fmt: skip
    return rows


# --- rates


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_bounds_of_wilson_solve_its_equation(case: tuple[int, int]) -> None:
    """At a bound p, the share is exactly 1.96 standard errors away (Wilson 1927)."""
    hits, n = case
    rate = rate_of(hits, n)
    assert rate.low is not None
    assert rate.high is not None
    assert 0 <= rate.low <= hits / n <= rate.high <= 1
    for bound in {rate.low, rate.high} - {0.0, 1.0}:
        far = abs(hits / n - bound) / math.sqrt(bound * (1 - bound) / n)
        assert far == pytest.approx(1.959964, rel=1e-3)


def test_wilson_of_known_counts() -> None:
    rate = rate_of(81, 263)  # Newcombe 1998, table I
    assert (rate.low, rate.high) == (
        pytest.approx(0.2553, abs=1e-4),
        pytest.approx(0.3662, abs=1e-4),
    )
    assert rate_of(0, 0).share is None
    assert (rate_of(0, 9).low, rate_of(9, 9).high) == (0.0, 1.0)


@given(st.lists(st.tuples(st.sampled_from([True, False, None]), st.booleans())))
def test_rates_are_those_of_counting_by_hand(pairs: list[tuple[bool | None, bool]]) -> None:
    found = compare("correctness", [j for j, _ in pairs], [h for _, h in pairs])
    tp, fp = pairs.count((True, True)), pairs.count((True, False))
    fn, tn = pairs.count((False, True)), pairs.count((False, False))
    rates = (found.agreement, found.false_accept, found.false_reject, found.label_noise)
    assert [(rate.hits, rate.trials) for rate in rates] == [
        (tp + tn, tp + tn + fp + fn), (fp, fp + tn), (fn, fn + tp), (fp, fp + tp)
    ]  # fmt: skip
    assert found.undecided.hits == len(pairs) - (tp + tn + fp + fn)


# --- the file


def test_each_task_is_known_by_its_fields(serve: Serve, tmp_path: Path) -> None:
    judge = Judge(settings(serve(honest)), tmp_path, 0)

    def agreement(lines: list[Any]) -> tuple[str, int, int]:
        found = calibrate(judge, read_human(write(tmp_path / "h.jsonl", lines)))
        return found.task, found.agreement.hits, found.agreement.trials

    same = {"question": "q", "answers": ["a", "A", "a"], "human": True}
    other = {"question": "q", "answers": ["a", "b"], "human": True}
    assert agreement([same, other]) == ("equivalence", 1, 2)
    assert agreement(judged(4)) == ("correctness", 4, 4)
    assert agreement([{"question": "q", "transcript": "print", "human": True}]) == ("quality", 1, 1)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2 .* is no verdict"),
        ("[" * 10_000, "line 2"),
        ({"question": "q", "answer": "a", "reference": "a"}, "line 2 .*human"),
        ({"question": "q", "answer": "a", "reference": "a", "human": 1}, "human"),
        ({"question": "q", "answer": "a", "human": True}, "does not say what was judged"),
        ({"question": "q", "answers": ["a"], "human": True}, "does not say what was judged"),
        ({"question": "q", "answers": ["a", "b"], "human": True}, "about equivalence"),
    ],
)
def test_a_line_that_is_no_verdict_is_named(tmp_path: Path, line: Any, told: str) -> None:
    with pytest.raises(SourceError, match=told):
        read_human(write(tmp_path / "h.jsonl", [judged(1)[0], line]))


def test_a_file_without_verdicts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no verdicts"):
        read_human(write(tmp_path / "h.jsonl", ["", " "]))


def test_a_judge_set_to_another_task_is_refused(serve: Serve, tmp_path: Path) -> None:
    human = read_human(write(tmp_path / "h.jsonl", judged(2)))
    judge = Judge(settings(serve(honest), task="quality"), tmp_path, 0)
    with pytest.raises(UsageError, match="task is quality"):
        calibrate(judge, human)


# --- the command


def line(server: JudgeServer, path: Path, *more: object) -> list[object]:
    where = ["--base-url", server.base_url, "--model", "m", "--key-env", "TEST_JUDGE_KEY"]
    return ["judge", "calibrate", path, *where, "--work", path.parent / "work", *more]


def test_the_command_prints_rates_and_what_was_spent(
    cli: Cli, serve: Serve, tmp_path: Path
) -> None:
    server = serve(honest)
    path = write(tmp_path / "h.jsonl", judged(20, wrong=2))
    done = cli(*line(server, path))
    assert done.code == 0, done.err
    assert "20 calls, 0 replies cached" in done.err
    assert "2000 tokens in" in done.err
    rows = {r.split("│")[1].strip(): r for r in done.out.splitlines() if r.startswith("│")}
    assert "0.9000" in rows["agreement"]
    assert "0.1667" in rows["false rejects, of what people accept"]
    assert KEY not in done.out + done.err


def test_json_is_all_there_is_on_stdout(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    path = write(tmp_path / "h.jsonl", judged(4))
    told = cli(*line(serve(honest), path, "--json")).json
    assert told["agreement"]["share"] == 1.0
    assert told["spent"]["calls"] == 4
    again = cli(*line(serve(honest), path, "--json")).json
    assert again["spent"]["calls"] == 0
    assert again["agreement"] == told["agreement"]


def test_too_many_undecided_is_partial(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    def handle(server: JudgeServer, request: dict[str, Any]) -> Act:
        return says("junk") if texts_of(request)["QUESTION"] == "q1" else honest(server, request)

    path = write(tmp_path / "h.jsonl", judged(10))
    done = cli(*line(serve(handle), path, "--json"))
    assert done.code == 3
    assert done.json["undecided"]["hits"] == 1
    assert "10.0% of verdicts are undecided" in done.err
    recipe = tmp_path / "r.yaml"
    recipe.write_text("judge: {max_undecided: 0.5}\n")
    assert cli(*line(serve(handle), path, "--recipe", recipe)).code == 0


def test_a_recipe_gives_the_settings_and_the_line_changes_them(
    cli: Cli, serve: Serve, tmp_path: Path
) -> None:
    server = serve(honest)
    path = write(tmp_path / "h.jsonl", judged(2))
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"judge: {{base_url: '{server.base_url}', model: x, votes: 3}}\n")
    base = ["judge", "calibrate", path, "--recipe", recipe, "--work", tmp_path / "w"]
    told = cli(*base, "--model", "y", "--json").json
    assert (told["model"], told["votes"], len(server.requests)) == ("y", 3, 6)
    assert {request["model"] for request in server.requests} == {"y"}
    recipe.write_text("judge: {voets: 3}\n")
    done = cli(*base)
    assert done.code == 2
    assert "votes" in done.err


def test_a_judge_that_cannot_work_is_one_sentence(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    path = write(tmp_path / "h.jsonl", judged(30))
    done = cli("judge", "calibrate", path, "--model", "m", "--work", tmp_path / "w")
    assert (done.code, done.out) == (2, "")
    assert "no base_url" in done.err
    server = serve(lambda _server, _request: Act(401, f"no key {KEY}".encode()))
    done = cli(*line(server, path))
    assert (done.code, len(server.requests)) == (1, 1)
    assert "HTTP 401" in done.err
    assert KEY not in done.err


def test_above_the_cap_the_command_refuses_to_begin(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    server = serve(honest)
    recipe = tmp_path / "r.yaml"
    recipe.write_text("judge: {price_in: 5, price_out: 5}\n")
    path = write(tmp_path / "h.jsonl", judged(30))
    done = cli(*line(server, path, "--recipe", recipe, "--max-cost", "0.01"))
    assert (done.code, server.requests) == (2, [])
    assert "above max_cost 0.01" in done.err
