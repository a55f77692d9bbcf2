"""The samples of real trajectories: all are read, and what is written again is the same."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from dataprune.core.errors import UsageError
from dataprune.trajectories import Trajectory, content_sha256
from dataprune.trajectories.dialects import DIALECTS
from dataprune.trajectories.dialects._detect import detect_dialect
from dataprune.trajectories.formats import FORMATS
from dataprune.trajectories.formats._read import read_trajectories

pytestmark = pytest.mark.real_data

# By path: the format, how many trajectories there are, and the dialect.
_SAMPLES = {
    "atif": ("atif", 1, "tools"),
    "llama-factory/glaive_toolcall_en_demo.json": ("sharegpt", 300, "tools"),
    "llama-factory/reason_tool_use_demo_50.jsonl": ("llama_factory", 50, "tools"),
    "mini-swe-agent": ("mini_swe_agent", 2, "mini_swe"),
    "mint-bench/CodeActAgent-Mistral-7b-v0.1": ("mint", 452, "mint"),
    "mint-bench/Meta-Llama-3-70B-Instruct": ("mint", 452, "mint"),
    "mint-bench/gpt-3.5-turbo-0613": ("mint", 452, None),
    "mint-bench/gpt-4-0613": ("mint", 452, "mint"),
    "openhands/events_basic.json": ("openhands", 1, "tools"),
    "openhands/multi_swe_bench_output.jsonl": ("openhands", 3, "tools"),
    "openhands/resolver_output.jsonl": ("openhands", 2, "tools"),
    "swe-agent": ("swe_agent", 22, None),
    "swe-smith": ("messages", 3, "swe_agent"),
    "tau-bench/gpt-4o-airline.json": ("messages", 200, "tools"),
    "toolbench": ("toolbench", 100, "tools"),
    "webdancer": ("messages", 200, "webdancer"),
}


@pytest.mark.parametrize("path", _SAMPLES)
def test_a_sample_is_read_whole_and_its_dialect_told(path: str, real_data: Path) -> None:
    name, number, dialect = _SAMPLES[path]
    reading = read_trajectories([real_data / "trajectories" / path])
    runs = list(reading.trajectories())
    assert (reading.format, len(runs)) == (name, number)
    assert not [t.problem for t in runs if t.problem]
    assert len({t.traj_id for t in runs}) == number
    assert all(any(m.role == "assistant" for m in t.messages) for t in runs)
    if dialect is None:
        with pytest.raises(UsageError, match="cannot be told"):
            detect_dialect(reading.sample())
    else:
        assert detect_dialect(reading.sample()).name == dialect
        assert dialect in DIALECTS.names()


def test_mint_has_as_many_successes_as_expected_and_queries_shared_by_all(real_data: Path) -> None:
    folder = real_data / "trajectories"
    expected = json.loads((folder / "EXPECTED.json").read_text())["mint-bench"]
    runs = list(read_trajectories([folder / "mint-bench"]).trajectories())
    good = Counter(t.traj_id.split("/")[0] for t in runs if t.success)
    assert good == {model: counts["success"] for model, counts in expected.items()}
    assert set(Counter(t.query_id for t in runs).values()) == {4}


def test_tau_bench_has_four_trials_of_fifty_tasks(real_data: Path) -> None:
    path = real_data / "trajectories" / "tau-bench" / "gpt-4o-airline.json"
    runs = list(read_trajectories([path]).trajectories())
    assert set(Counter(t.query_id for t in runs).values()) == {4}
    solved = Counter(t.query_id for t in runs if t.reward == 1)
    shares = Counter(solved[t.query_id] for t in runs)
    assert {n: shares[n] // 4 for n in sorted(shares)} == {0: 14, 1: 12, 2: 10, 3: 4, 4: 10}


def _again(run: Trajectory, name: str) -> Trajectory:
    plugin = FORMATS.get(name)
    assert plugin.write is not None
    [read] = plugin.read(json.loads(json.dumps(plugin.write(run))), "x:1", run.where)
    return read


def _hash(run: Trajectory) -> str:
    return content_sha256(run.messages, run.tools)


@pytest.mark.parametrize("path", _SAMPLES)
@pytest.mark.parametrize("name", ["messages", "atif"])
def test_what_is_written_again_is_the_same(path: str, name: str, real_data: Path) -> None:
    for run in read_trajectories([real_data / "trajectories" / path]).trajectories():
        assert _hash(_again(run, name)) == _hash(run)
        assert _hash(_again(_again(run, "atif"), "messages")) == _hash(run)
        assert _again(run, "messages") == run


def test_sharegpt_comes_back(real_data: Path) -> None:
    path = real_data / "trajectories" / "llama-factory" / "glaive_toolcall_en_demo.json"
    for run in read_trajectories([path]).trajectories():
        assert _hash(_again(run, "sharegpt")) == _hash(run)


def test_rows_that_are_no_trajectories_stop_the_reader(real_data: Path) -> None:
    with pytest.raises(UsageError, match="cannot be told"):
        read_trajectories([real_data / "trajectories" / "infiagent-dabench"])
