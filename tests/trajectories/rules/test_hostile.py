"""Runs made to hurt: long, deep, unclosed, unreadable. All end in seconds, with reasons."""

from __future__ import annotations

import time

import pytest

from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories.dialects import DIALECTS, Dialect
from dataprune.trajectories.rules._run import run_rules
from dataprune.trajectories.rules.repairs import RULE as REPAIRS
from dataprune.trajectories.rules.repairs import repair
from tests.trajectories.rules.reading import TAGGED, calls, read, reply, talk

MB = 400_000  # characters of most texts: enough for what is not linear to take minutes
LIMIT_S = 8.0
HAN = "\u6df7\u6dc6"

BAIT = {
    "tags never closed": "<code>" * (MB // 6),
    "thoughts never closed": "<think>\n" * (MB // 8),
    "closing tags": "</answer>" * (MB // 9),
    "answers": "<answer></answer>" * (MB // 17),
    "lines of the environment in thoughts": "<think>\n<interpreter></think>" * (MB // 29),
    "letters": "a" * MB,
    "spaces": " " * MB,
    "ends of lines": "\n" * MB,
    "digits": "1" * MB,
    "digits and spaces": "1 " * (MB // 2),
    "cards": "4539-5787-6362-1487 " * (MB // 20),
    "telephones": "+1 (1) 11 11 1 " * (MB // 15),
    "e-mail": "a.b-c+d@" * (MB // 8),
    "dots": "a@" + "a." * (MB // 2),
    "tokens": "eyJ-eyJaaaaaaaaaaa." * (MB // 19),
    "dashed tokens": "-eyJ" * (MB // 4),
    "keys": "sk-" * (MB // 3),
    "addresses": "://a:b" * (MB // 6),
    "brackets": "[insert " * (MB // 8),
    "braces": "<answer>" + "<your " * (MB // 6) + "</answer>",
    "quotes": "\"'`(" * (MB // 4),
    "foreign words": f"abc {HAN} " * (MB // 7),
    "foreign words set off": f'ab "{HAN}" ' * (MB // 9),
    "other foreign words": " ".join(
        chr(0x4E00 + i % 20_000) + chr(0x4E00 + i // 97 % 20_000) for i in range(MB // 3)
    ),
    "mojibake": "\u00c3\u00a9" * (MB // 2),
    "surrogates": "\ud800" * MB,
    "numbers": "<answer>1</answer>" + "1e9," * (MB // 4),
    "parentheses in code": "<code>" + "(" * 90_000 + "</code>",
    "minus in code": "<code>" + "-" * 90_000 + "1</code>",
    "brackets as a tool": "<tool_call>" + "[" * MB + "</tool_call>",
}  # fmt: skip


def judge(text: str, dialect: Dialect) -> float:
    """Seconds of reading, repairing and all rules, on an assistant's text and on others'."""
    rules = RulesRecipe(repair=tuple(REPAIRS.codes))
    run = talk(
        "u: q " + text[:1000], "a: " + text, "u: " + text, "a: " + text[: MB // 4], prompt=text
    )
    begun = time.perf_counter()
    fixed, _ = repair(run, dialect, rules)
    for found in run_rules(read(fixed, dialect), rules):
        assert found.start is None or found.step is not None
    return time.perf_counter() - begun


@pytest.mark.slow
@pytest.mark.parametrize("name", BAIT)
def test_bait_takes_seconds(name: str) -> None:
    assert judge(BAIT[name], TAGGED) < LIMIT_S
    assert judge(BAIT[name].replace("code>", "execute>"), DIALECTS.get("mint")) < LIMIT_S


def test_arguments_that_are_deep_and_many_calls() -> None:
    asked = calls(*[("look", "[" * 100_000, str(i)) for i in range(50)])
    run = talk("u: q", asked, reply("x", "1"), "a: ok", tools="[" * 1_000_000)
    found = run_rules(read(run, "tools"), RulesRecipe())
    assert sum(f.code == "S_ARGS_JSON" for f in found) == 50


@pytest.mark.slow
def test_a_run_of_very_many_turns() -> None:
    run = talk("u: q", *["a: <code>1</code>", "u: <interpreter>1</interpreter>"] * 20_000)
    begun = time.perf_counter()
    found = {f.code for f in run_rules(read(run), RulesRecipe())}
    assert time.perf_counter() - begun < LIMIT_S
    assert {"F_MAX_TURNS", "F_NO_ANSWER", "X_REPEAT_ACTION"} <= found


@pytest.mark.slow
def test_a_message_of_50_mb() -> None:
    text = "<code>x = 1</code> the quick brown fox jumps over a lazy dog 12345 " * 750_000
    begun = time.perf_counter()
    run_rules(read(talk("u: q", "a: " + text[:50_000_000])), RulesRecipe())
    assert time.perf_counter() - begun < 60
