"""The default rules on real runs: the counts of EXPECTED.json, and nothing right is rejected."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories import Trajectory
from dataprune.trajectories.dialects import DIALECTS, Parsed
from dataprune.trajectories.rules._prose import prose
from dataprune.trajectories.rules._run import Finding, run_rules
from dataprune.trajectories.rules._scripts import mixed_scripts
from tests.trajectories.rules.reading import MODELS, glaive, mint, read, tau, webdancer

pytestmark = pytest.mark.real_data
DEFAULT = RulesRecipe()


def expected(data: Path, name: str) -> dict[str, Any]:
    listed: dict[str, Any] = json.loads((data / "trajectories" / "EXPECTED.json").read_text())
    return dict(listed[name])


def judged(trajectory: Trajectory, dialect: str) -> list[Finding]:
    found = run_rules(read(trajectory, dialect), DEFAULT)
    for finding in found:
        assert_points_at_text(trajectory, finding)
    places = [
        (-1 if f.step is None else f.step, -1 if f.start is None else f.start, f.code)
        for f in found
    ]
    assert places == sorted(places)
    return found


def assert_points_at_text(trajectory: Trajectory, finding: Finding) -> None:
    if finding.start is None:
        assert finding.end is None
        # Only what is about a message without any text may go without a place in it.
        assert finding.step is None or not trajectory.messages[finding.step].content
        return
    assert finding.step is not None
    assert finding.end is not None
    message = trajectory.messages[finding.step]
    texts = [message.content]
    if "arguments of call" in finding.detail:
        number = int(finding.detail.partition("arguments of call ")[2].split(":")[0])
        texts = [message.tool_calls[number].arguments]
    empty_void = finding.detail == "kind=empty" and not message.content
    assert any(0 <= finding.start < finding.end <= len(text) for text in texts) or empty_void


@pytest.mark.parametrize("model", MODELS)
def test_mint_is_counted_as_its_environment_and_the_expected_counts_have_it(
    real_data: Path, model: str
) -> None:
    counts: Counter[str] = Counter()
    agree = 0
    for trajectory, state in mint(real_data, model):
        found = judged(trajectory, "mint")
        turns = Counter(finding.code for finding in found)
        invalid = state["agent_action_count"]["invalid_action"] > 0
        agree += invalid == ("F_VOID_TURN" in turns)
        counts["n"] += 1
        counts["void_traj"] += "F_VOID_TURN" in turns
        counts["void_turns"] += turns["F_VOID_TURN"]
        counts["fabricated_observation_traj"] += "F_FABRICATED_OBS" in turns
        counts["fabricated_observation_turns"] += turns["F_FABRICATED_OBS"]
        counts["no_final_answer"] += "F_NO_ANSWER" in turns
        counts["term_error"] += "F_ENV_ERROR" in turns
        assert turns["L_MIXED_SCRIPT"] == 0
        assert not any(code.startswith("S_") for code in turns)
    listed = expected(real_data, "mint-bench")[model]
    assert {name: num for name, num in counts.items() if num} == {
        name: listed[name] for name in counts if listed.get(name)
    }
    # Of all nine models' runs 4,059 of 4,068 agree.
    assert agree >= 0.985 * counts["n"]


def test_void_turns_are_what_the_environment_counts_as_invalid(real_data: Path) -> None:
    agree = [
        (state["agent_action_count"]["invalid_action"] > 0)
        == any(f.code == "F_VOID_TURN" for f in run_rules(read(run, "mint"), DEFAULT))
        for model in MODELS
        for run, state in mint(real_data, model)
    ]
    assert sum(agree) / len(agree) >= 0.997


def test_runs_of_tau_bench_may_end_on_a_tool(real_data: Path) -> None:
    runs = list(tau(real_data))
    last = [run for run in runs if run.messages[-1].role == "tool"]
    assert len(last) == expected(real_data, "tau-bench")["ends_with_tool"]
    for run in runs:
        rejects = [f for f in judged(run, "tools") if f.severity == "reject"]
        assert {f.code for f in rejects} <= {"X_REPEAT_ACTION"}


def test_of_webdancer_only_runs_with_foreign_words_are_rejected(real_data: Path) -> None:
    listed = expected(real_data, "webdancer")
    strict, mixed = 0, []
    for number, run in enumerate(webdancer(real_data)):
        found = judged(run, "webdancer")
        rejects = {(f.code, f.stage) for f in found if f.severity == "reject"}
        strict += not any(
            stage in {"schema", "format", "void", "termination", "fabrication"}
            for _, stage in rejects
        )
        assert not any(f.code == "F_TEXT_OUTSIDE_TAGS" for f in found)
        if rejects:
            assert rejects == {("L_MIXED_SCRIPT", "linguistic")}
            mixed.append(number)
    assert strict == listed["strict_react_ok"]
    assert mixed == listed["mixed_script_rows_unquoted"]


def test_without_the_exemption_of_quotes_one_row_of_webdancer_more_is_mixed(
    real_data: Path,
) -> None:
    def is_mixed(parsed: Parsed) -> bool:
        stretches = [(turn, prose(turn)) for turn in parsed.turns]
        return any(mixed_scripts(parsed, stretches, quoted_too=True))

    rows = [
        number
        for number, run in enumerate(webdancer(real_data))
        if is_mixed(read(run, "webdancer"))
    ]
    assert rows == expected(real_data, "webdancer")["mixed_script_rows_any"]


def test_glaive_is_in_one_script_and_its_calls_are_whole(real_data: Path) -> None:
    rejects = Counter(
        f.code for run in glaive(real_data) for f in judged(run, "tools") if f.severity == "reject"
    )
    assert rejects == {"N_ANSWER_LONG": 1}


def test_every_registered_dialect_is_one_that_the_rules_can_read(real_data: Path) -> None:
    run = next(iter(webdancer(real_data)))
    for name in DIALECTS.names():
        for finding in run_rules(read(run, name), DEFAULT):
            assert_points_at_text(run, finding)
