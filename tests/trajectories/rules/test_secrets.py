"""Stage 5: keys and personal data, anywhere in a run; what is found is never repeated."""

from __future__ import annotations

import pytest

from dataprune.trajectories import Message
from tests.trajectories.rules.reading import calls, findings, pointed, reply, talk

# Put together here, so that no scanner takes this file for a leak.
RANDOM = "aZ3kQ9xT7bL2mW8rV5nC1yF6dH4gJ0pSeUwXo"
SECRETS = [
    "sk-" + RANDOM, "sk-proj-" + RANDOM, "gh" + "p_" + RANDOM[:36],
    "AK" + "IA" + "QX7ZP2M4N6B8V3C1",
    "xo" + "xb-2094857362-" + RANDOM[:20], "AI" + "za" + RANDOM[:35], "h" + "f_" + RANDOM[:34],
    "ey" + "JhbGciOiJIUzI1NiJ9.ey" + "JzdWIiOiIxMjM0NSJ9." + RANDOM,
    "-----BEGIN RSA PRIVATE" + " KEY-----", "postgres://admin:" + "hunter2x9@db.internal.net/x",
]  # fmt: skip
CARD = "4539 5787 6362 1486"


def found(text: str) -> dict[str, str]:
    run = talk("u: q", "a: ok", f"u: {text}", "a: done")
    hits = {f.code: pointed(run, f) for f in findings(run, "tools")}
    return {code: hit for code, hit in hits.items() if code in {"X_SECRET", "X_PERSONAL"}}


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_reject_wherever_they_stand(secret: str) -> None:
    hit = found(f"key = '{secret}' # here")["X_SECRET"]
    assert hit in secret
    assert len(hit) >= len(secret) // 2
    run = talk("u: q", calls(("look", f'{{"k": "{secret}"}}', "1")), reply("x", "1"), "a: ok")
    (reason,) = (f for f in findings(run, "tools") if f.code == "X_SECRET")
    assert reason.severity == "reject"
    assert "arguments of call 0" in reason.detail
    assert secret[:12] not in reason.detail


@pytest.mark.parametrize(
    "text",
    ["sk-xxxxxxxxxxxxxxxxxxxxxxxx", "task-management-and-other-things-here", "sk-short",
     "http://example.com:8080/a@b", "https://user:password@host.com", "ghp_example",
     "AKIAIOSFODNN7EXAMPLE",
     "postgres://user:${PASSWORD}@host.com/x", "-----BEGIN PUBLIC KEY-----", "xoxo, mother"],
)  # fmt: skip
def test_stand_ins_are_no_secrets(text: str) -> None:
    assert found(text) == {}


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        ("write to jane.doe+x@mail.univ.edu.", "jane.doe+x@mail.univ.edu"),
        ("call (850) 623-7181 now", "(850) 623-7181"),
        ("call 850-623-7181", "850-623-7181"),
        ("call +49 30 1234 5678", "+49 30 1234 5678"),
        (f"card {CARD}.", CARD),
        ("card 4539578763621486", "4539578763621486"),
    ],
)
def test_personal_data_are_noted(text: str, hit: str) -> None:
    assert found(text) == {"X_PERSONAL": hit}


@pytest.mark.parametrize(
    "text",
    ["a@example.com", "x@y", "git@", "1234-567-890", "2024-05-15 15:00:00", "4539578763621487",
     "0000000000000000", "3.4539578763621486", "id 12345678901234567890", "10.1000/182"],
)  # fmt: skip
def test_numbers_and_addresses_that_belong_to_nobody(text: str) -> None:
    assert found(text) == {}


def test_reasoning_is_read_too() -> None:
    run = talk("u: q", Message("assistant", "ok", reasoning="use " + SECRETS[0]))
    (reason,) = (f for f in findings(run, "tools") if f.code == "X_SECRET")
    assert "reasoning" in reason.detail


@pytest.mark.parametrize(
    "fields",
    [
        {"meta": "K"}, {"tools": "K"}, {"answer": "K"}, {"reference": "K"}, {"prompt": "K"},
        {"termination": "K"}, {"category": "K"}, {"files": ("a", "K")},
    ],
)  # fmt: skip
def test_secrets_beside_the_messages_are_stored_too_and_reject(fields: dict[str, object]) -> None:
    key = SECRETS[0]
    held = {name: (*v[:-1], key) if isinstance(v, tuple) else key for name, v in fields.items()}
    run = talk("u: q", "a: ok", **held)
    (reason,) = (f for f in findings(run, "tools") if f.code == "X_SECRET")
    assert (reason.severity, reason.step, reason.start) == ("reject", None, None)
    assert next(iter(fields)) in reason.detail
    assert key not in reason.detail


def test_secrets_in_what_a_message_has_beside_its_text_reject() -> None:
    for message in (
        Message("assistant", "ok", extra=f'{{"k": "{SECRETS[0]}"}}'),
        calls((SECRETS[0], "{}", "1")),
    ):
        (reason,) = (f for f in findings(talk("u: q", message), "tools") if f.code == "X_SECRET")
        assert reason.step == 1
        assert reason.start is None
