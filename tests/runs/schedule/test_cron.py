"""Cron expressions: what every scheduler reads alike passes, and the rest is told in a sentence."""

from __future__ import annotations

import pytest

from dataprune.core.errors import UsageError
from dataprune.runs.schedule._cron import parse_cron


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0 2 * * *", "0 2 * * *"),
        ("  */15   0-6/2 1,15 * MON-FRI ", "*/15 0-6/2 1,15 * 1-5"),
        ("0 0 1 jan,Jul *", "0 0 1 1,7 *"),
        ("05 2 * * sun", "5 2 * * 0"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("0 0 31 2 0", "0 0 31 2 0"),  # the 31st or a Sunday: Sundays come
        ("@daily", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
    ],
)
def test_an_expression_becomes_five_fields_of_numbers(text: str, numbers: str) -> None:
    assert parse_cron(text) == numbers


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0 2 * *", "has 4 fields"),
        ("0 0 2 * * *", "has 6 fields"),
        ("", "has 0 fields"),
        ("60 * * * *", "in the minute, 60 is not within 0 to 59"),
        ("0 24 * * *", "in the hour, 24 is not within 0 to 23"),
        ("0 0 0 * *", "in the day of the month, 0 is not within 1 to 31"),
        ("0 0 * 13 *", "in the month, 13"),
        ("0 0 * * 7", "Sunday is 0"),
        ("0 0 * * fry", "one of sun, mon"),
        ("0 0 * * fri-sun", "goes backwards"),
        ("5/15 * * * *", "write 5-59/15"),
        ("*/0 * * * *", "the step of"),
        ("*/90 * * * *", "the step of"),
        ("0,,5 * * * *", "in the minute, ''"),
        ("*-5 * * * *", "no range"),
        ("0 0 ? * *", "'?' is no number"),
        ("0 0 L * *", "'L' is no number"),
        ("\u0663 * * * *", "is no number"),
        ("0 0 31 2 *", "never comes"),
        ("0 0 31 4,6 *", "never comes"),
        ("@reboot", "@reboot is not known everywhere"),
        ("@every 1h", "is not known everywhere"),
    ],
)
def test_what_schedulers_do_not_read_alike_is_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_cron(text)
    assert told in caught.value.message
    assert caught.value.hint


def test_a_mistyped_nickname_is_answered_with_the_right_one() -> None:
    with pytest.raises(UsageError) as caught:
        parse_cron("@dayly")
    assert "did you mean @daily" in (caught.value.hint or "")
