"""Which dialect it is: by the share of turns that act or answer; unsure stops, with the scores."""

from __future__ import annotations

import pytest

from dataprune.core.errors import UsageError
from dataprune.trajectories import Message, ToolCall, Trajectory
from dataprune.trajectories.dialects._detect import detect_dialect

_TURNS = {
    "datamind": ("<think>a</think><code>\n```python\nx\n```\n</code>", "<answer>4</answer>"),
    "dsgym": ("<reasoning>a</reasoning><python>x</python>", "<answer>4</answer>"),
    "mini_swe": (
        "```mswea_bash_command\nls\n```",
        "```mswea_bash_command\necho COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\n```",
    ),
    "mint": ("<thought>a</thought><execute>x</execute>", "<solution>4</solution>"),
    "react": ("## Thought: a\n```python\nx\n```", "## Thought: b\n## Final Answer: 4"),
    "searchr1": ("<think>a</think><search>x</search>", "<answer>4</answer>"),
    "simpletir": ("a\n```python\nx\n```", "so \\boxed{4}"),
    "swe_agent": ("a\n<function=bash>\n</function>", "b\n```\nsubmit\n```"),
    "webdancer": ("<think>a</think><tool_call>{}</tool_call>", "<answer>4</answer>"),
}


def _run(*turns: str) -> Trajectory:
    said = [Message("user", "q")]
    for turn in turns:
        said += [Message("assistant", turn, train=True), Message("user", "seen")]
    return Trajectory("t", "q", tuple(said[:-1]))


@pytest.mark.parametrize("name", _TURNS)
def test_a_dialect_is_told_by_its_own_marks(name: str) -> None:
    act, answer = _TURNS[name]
    found = detect_dialect([_run(act, answer), _run(act, act, answer)])
    assert found.name == name
    assert found.scores[name] == pytest.approx(1)
    assert name in found.evidence


def test_tool_calls_and_talk_are_tools() -> None:
    call = Message("assistant", "", tool_calls=(ToolCall("f", "{}", "c1"),))
    said = (
        Message("user", "q"),
        call,
        Message("tool", "x", call_id="c1"),
        Message("assistant", "a"),
    )
    with_code = _run("It is\n```python\nx\n```")
    assert detect_dialect([Trajectory("t", "q", said), _run("hello"), with_code]).name == "tools"


def test_answers_alone_are_of_many_dialects() -> None:
    with pytest.raises(UsageError, match="cannot be told"):
        detect_dialect([_run("<answer>4</answer>")])


def test_too_many_void_turns_stop_with_the_scores_and_the_next_command() -> None:
    act, answer = _TURNS["mint"]
    good, void = _run(*[act] * 8, answer), _run("I do not know.", answer)
    assert detect_dialect([good] * 10 + [void]).name == "mint"
    with pytest.raises(UsageError, match=r"mint 9\d\.\d%|mint 8\d\.\d%") as told:
        detect_dialect([good] * 2 + [void] * 2)
    assert "--dialect mint" in (told.value.hint or "")


def test_two_dialects_in_one_input_stop() -> None:
    with pytest.raises(UsageError, match=r"datamind 50\.0%.*webdancer 50\.0%"):
        detect_dialect([_run(_TURNS["datamind"][0]), _run(_TURNS["webdancer"][0])])


def test_rows_that_could_not_be_read_do_not_count() -> None:
    broken = Trajectory("t", "q", (), problem="broken")
    act, answer = _TURNS["mint"]
    assert detect_dialect([broken] * 200 + [_run(act, answer)]).name == "mint"
    with pytest.raises(UsageError, match="no agent says anything"):
        detect_dialect([broken])
