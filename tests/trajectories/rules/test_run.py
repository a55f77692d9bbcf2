"""All rules together: order, severities of a recipe, what is unknown, and stopping early."""

from __future__ import annotations

from typing import Any

import pytest

from dataprune.core.errors import UsageError
from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories.decide import LATER_CODES
from dataprune.trajectories.funnel import STAGES
from dataprune.trajectories.rules import RULES
from dataprune.trajectories.rules._run import all_codes, check_codes, run_rules, severity_of
from tests.trajectories.rules.reading import codes, findings, read, talk

BAD = talk(
    "u: count the rows",
    "a: Here\u4f60\u597d I go",
    "u: hm",
    "a: <code>print(1)</code> sk-abcdefghij0123ABCDEFG9876",
    "u: <interpreter>1</interpreter>",
    "a: <answer>[insert number]</answer>",
)


def test_every_code_belongs_to_one_family_and_says_what_it_means() -> None:
    listed = [code for name in RULES.names() for code in RULES.get(name).codes]
    assert sorted(listed) == list(all_codes())
    assert all(code.means and code.stage for code in all_codes().values())


def test_all_rules_run_and_findings_are_in_order() -> None:
    found = findings(BAD)
    assert [(f.step, f.start) for f in found] == sorted((f.step, f.start) for f in found)
    assert {f.code for f in found} == {
        "F_VOID_TURN", "F_TEXT_OUTSIDE_TAGS", "L_MIXED_SCRIPT", "X_SECRET", "X_PLACEHOLDER_ANSWER",
    }  # fmt: skip


def test_a_recipe_says_what_rejects_what_is_noted_and_what_is_not_looked_for() -> None:
    found = findings(
        BAD,
        reject=("F_TEXT_OUTSIDE_TAGS",),
        flag=("X_PLACEHOLDER_ANSWER",),
        off=("L_MIXED_SCRIPT",),
    )
    severities = {f.code: f.severity for f in found}
    assert severities["F_TEXT_OUTSIDE_TAGS"] == "reject"
    assert severities["X_PLACEHOLDER_ANSWER"] == "flag"
    assert severities["F_VOID_TURN"] == "reject"
    assert "L_MIXED_SCRIPT" not in severities


def test_fail_fast_stops_at_the_first_reject_and_agrees_on_whether_there_is_one() -> None:
    found = findings(BAD, fail_fast=True)
    assert [f.code for f in found if f.severity == "reject"] == ["F_VOID_TURN", "X_SECRET"]
    assert [f.code for f in findings(BAD, fail_fast=True, off=("X_SECRET",))].count("X_SECRET") == 0
    assert len(found) < len(findings(BAD))
    fine = talk("u: 1+1", "a: <answer>2</answer>")
    assert codes(fine, fail_fast=True) == codes(fine)


def test_a_row_that_cannot_be_read_has_that_one_reason() -> None:
    broken = talk(problem="no messages")
    assert codes(broken) == ["S_PARSE"]


@pytest.mark.parametrize("field", ["reject", "flag", "off"])
def test_an_unknown_code_is_an_error_that_names_the_nearest(field: str) -> None:
    with pytest.raises(UsageError, match="F_VOID_TURNS") as error:
        check_codes(RulesRecipe(**{field: ("F_VOID_TURNS",)}), {})
    assert "did you mean F_VOID_TURN?" in str(error.value)


def test_repairs_and_findings_are_not_each_others_codes() -> None:
    with pytest.raises(UsageError, match="P_STRIP_NAG"):
        check_codes(RulesRecipe(reject=("P_STRIP_NAG",)), {})
    with pytest.raises(UsageError, match="F_VOID_TURN"):
        check_codes(RulesRecipe(repair=("F_VOID_TURN",)), {})
    check_codes(RulesRecipe(repair=("P_STRIP_NAG",), off=("F_VOID_TURN",)), {})


def test_a_code_in_two_lists_is_an_error() -> None:
    with pytest.raises(UsageError, match="X_SECRET"):
        check_codes(RulesRecipe(reject=("X_SECRET",), off=("X_SECRET",)), {})


def test_the_same_trajectory_gives_the_same_findings() -> None:
    assert run_rules(read(BAD), RulesRecipe()) == run_rules(read(BAD), RulesRecipe())


def test_no_detail_quotes_what_was_found() -> None:
    assert not any("abcdefghij" in f.detail or "insert" in f.detail for f in findings(BAD))


def test_only_is_about_looking_at_runs_and_never_keeps_secrets_or_what_cannot_be_read() -> None:
    only = RulesRecipe(only=("F_VOID_TURN", "X_PERSONAL"))
    severities = {f.code: f.severity for f in findings(BAD, only=only.only)}
    assert severities["F_VOID_TURN"] == severities["X_SECRET"] == "reject"
    assert severities["L_MIXED_SCRIPT"] == severities["X_PLACEHOLDER_ANSWER"] == "flag"
    assert codes(talk(problem="cut short"), only=only.only) == ["S_PARSE"]
    codes_of_all = {**all_codes(), **LATER_CODES}
    meant = {code: severity_of(code, what, only) for code, what in codes_of_all.items()}
    assert meant["S_PARSE"] == meant["S_EMPTY"] == meant["X_PERSONAL"] == "reject"
    assert meant["Q_NOT_SELECTED"] == meant["G_MINORITY"] == meant["C_NGRAM"] == "reject"
    assert meant["D_EXACT"] == "flag"
    assert meant["J_UNDECIDED"] == "undecided"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"off": ("S_PARSE",)}, "cannot be kept"),
        ({"flag": ("S_EMPTY",)}, "cannot be kept"),
        ({"reject": ("J_UNDECIDED",)}, "never rejected"),
        ({"only": ("J_UNDECIDED",)}, "never rejected"),
        ({"only": ("F_VOID_TURN",), "off": ("F_VOID_TURN",)}, "both have F_VOID_TURN"),
    ],
)
def test_codes_that_contradict_themselves_are_refused(rules: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_codes(RulesRecipe(**rules), LATER_CODES)


def test_every_stage_of_a_code_has_a_place_in_the_funnel() -> None:
    found = {**all_codes(), **LATER_CODES}.values()
    assert {what.stage for what in found if what.severity != "repair"} <= set(STAGES)
