"""Stage 5: keys, tokens and personal data anywhere in a trajectory, observations too.

Forms with a prefix of their own are taken for secrets; what only looks random is not. What is found
is never repeated, neither in the ledger nor in a report.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator

from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories import Trajectory
from dataprune.trajectories.dialects import Parsed
from dataprune.trajectories.rules import Code, Reason, Rule

SECRET, PERSONAL = "X_SECRET", "X_PERSONAL"

# Each form is looked for only where its literal is, and those of the second list only where 16
# letters and digits stand in a row: most texts are done after a few searches for literals.
_FORMS: tuple[tuple[str, str, str], ...] = (
    ("sk-", "a key of an API", r"(?<![\w-])sk-(?:ant-|proj-|or-)?[A-Za-z0-9_-]{20,200}"),
    ("glpat-", "a token of GitLab", r"(?<![\w-])glpat-[A-Za-z0-9_-]{20,100}"),
    ("xox", "a token of Slack", r"(?<![\w-])xox[abprs]-[A-Za-z0-9-]{10,200}"),
    ("AIza", "a key of Google", r"(?<![\w-])AIza[A-Za-z0-9_-]{35}(?![\w-])"),
    ("SG.", "a key of SendGrid", r"(?<![\w-])SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    (
        "PRIVATE KEY",
        "a private key",
        r"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----",
    ),
    (
        "://",
        "a password in a URL",
        r"://[A-Za-z0-9._-]{1,60}:[^\s:/@<>\[\]{}$*'\"]{3,80}@[A-Za-z0-9.-]{3,100}",
    ),
)
_LONG_FORMS: tuple[tuple[str, str, str], ...] = (
    ("_live_", "a key of Stripe", r"(?<![\w-])[sr]k_live_[A-Za-z0-9]{16,200}"),
    ("gh", "a token of GitHub", r"(?<![\w-])gh[posur]_[A-Za-z0-9]{30,255}"),
    (
        "github_pat_",
        "a token of GitHub",
        r"(?<![\w-])github_pat_[A-Za-z0-9]{20,30}_[A-Za-z0-9]{20,99}",
    ),
    ("hf_", "a token of Hugging Face", r"(?<![\w-])hf_[A-Za-z0-9]{30,100}"),
    ("AKIA", "a key of AWS", r"(?<!\w)AKIA[A-Z0-9]{16}(?!\w)"),
    ("ASIA", "a key of AWS", r"(?<!\w)ASIA[A-Z0-9]{16}(?!\w)"),
    ("npm_", "a token of npm", r"(?<![\w-])npm_[A-Za-z0-9]{36}(?!\w)"),
    ("pypi-AgE", "a token of PyPI", r"(?<![\w-])pypi-AgE[A-Za-z0-9_-]{40,300}"),
    ("eyJ", "a JSON web token", r"(?<![\w-])eyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{16,1000}"),
)
_COMPILED, _LONG_COMPILED = (
    tuple((literal, what, re.compile(form)) for literal, what, form in forms)
    for forms in (_FORMS, _LONG_FORMS)
)
# Values that stand for one: "sk-xxxx", "password", a variable of a shell or a template.
_FAKE = re.compile(r"(.)\1{7}|example|placeholder|password@|passwd@|:pass@|your[-_]?|1234567890")

_EMAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,4}[A-Za-z]{2,12}\b"
)
_RESERVED = re.compile(r"@(?:[\w-]{1,63}\.){0,3}(?:example|test|invalid|localhost)(?:\.\w{2,4})?\Z")
_PHONE = re.compile(
    r"(?<![\w.+/-])(?:\+\d{1,3}[ .-]\(?\d{1,4}\)?(?:[ .-]\d{2,4}){2,4}"
    r"|\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4})(?![\w/-])"
)
_CARD = re.compile(r"(?<![\w.,/-])[3-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{3,4}(?![\w/-]|\.\d)")


# Every digit as 0 and every letter as x: forms of numbers are literals then, found at once.
_MASK = bytes(48 if 48 <= c < 58 else c if c in b" -.()+" else 120 for c in range(256))
_PHONE_FORMS = (b"000-0000", b"+0")
_CARD_FORMS = (b"0000 0000 0000", b"0000-0000-0000", b"000000000000")
_ALIKE = bytes(120 if chr(c).isalnum() and c < 128 else 46 for c in range(256))
_LONG = b"x" * 16
_MOST_CARDS = 1_000  # numbers of a text that are tried: where there are more they are others

_Find = Callable[[str], Iterator[tuple[int, int, str]]]


def _check(parsed: Parsed, rules: RulesRecipe) -> Iterator[Reason]:  # noqa: ARG001
    texts = list(_texts(parsed))
    fields = list(_fields(parsed.trajectory))
    whole = "\n".join([*(text for _, _, text in texts), *(text for _, _, text in fields)])
    for code, find in _finders(whole):
        for step, where, text in texts:
            for start, end, what in find(text):
                yield Reason(code, step, start, end, what + where)
        for place, name, text in fields:
            for _, _, what in find(text):
                yield Reason(code, place, detail=f"{what} in the field {name}")


def holds_secret(text: str) -> bool:
    """Whether a text, such as an id, holds what X_SECRET looks for."""
    found = (next(find(text), None) for code, find in _finders(text) if code == SECRET)
    return any(place is not None for place in found)


def _fields(trajectory: Trajectory) -> Iterator[tuple[int | None, str, str]]:
    """What is stored beside the texts: (step, name of the field, its text)."""
    t = trajectory
    beside = {
        "traj_id": t.traj_id, "query_id": t.query_id, "tools": t.tools, "answer": t.answer,
        "reference": t.reference, "termination": t.termination, "category": t.category,
        "files": "\n".join(t.files), "meta": t.meta,
    }  # fmt: skip
    if not any(t.prompt in message.content for message in t.messages if message.role == "user"):
        beside["prompt"] = t.prompt
    yield from ((None, name, text) for name, text in beside.items() if text)
    for step, message in enumerate(t.messages):
        names = [message.name, message.call_id]
        names += [part for call in message.tool_calls for part in (call.name, call.call_id)]
        for name, text in (("extra", message.extra), ("name", "\n".join(filter(None, names)))):
            if text:
                yield step, name, text


def _texts(parsed: Parsed) -> Iterator[tuple[int, str, str]]:
    """What was said and done: (step, where in the message, text)."""
    for step, message in enumerate(parsed.trajectory.messages):
        if message.content:
            yield step, "", message.content
        if message.reasoning:
            yield step, " in the reasoning", message.reasoning
        for number, call in enumerate(message.tool_calls):
            yield step, f" in the arguments of call {number}", call.arguments


def _finders(whole: str) -> Iterator[tuple[str, _Find]]:
    """What is worth looking for, text by text: its literals are in the whole."""
    plain = whole.encode("latin-1", "replace")
    has_long = _LONG in plain.translate(_ALIKE)
    for literal, what, form in (*_COMPILED, *(_LONG_COMPILED if has_long else ())):
        if literal in whole:
            yield SECRET, functools.partial(_secret, literal=literal, what=what, form=form)
    if "@" in whole:
        yield PERSONAL, _email
    mask = plain.translate(_MASK)
    if _has_form(mask, _PHONE_FORMS):
        yield PERSONAL, _phone
    if _has_form(mask, _CARD_FORMS):
        yield PERSONAL, _card


def _mask(text: str) -> bytes:
    return text.encode("latin-1", "replace").translate(_MASK)


def _has_form(mask: bytes, forms: tuple[bytes, ...]) -> bool:
    return any(form in mask for form in forms)


def _secret(
    text: str, *, literal: str, what: str, form: re.Pattern[str]
) -> Iterator[tuple[int, int, str]]:
    """The first of a kind."""
    if literal in text:
        for found in form.finditer(text):
            if not _FAKE.search(found[0].lower()):
                yield found.start(), found.end(), what
                return


def _email(text: str) -> Iterator[tuple[int, int, str]]:
    if "@" in text:
        for found in _EMAIL.finditer(text):
            is_login = text.startswith(":", found.start() - 1)  # user:password@host
            if not is_login and not _RESERVED.search(found[0].lower()):
                yield found.start(), found.end(), "an address of e-mail"
                return


def _phone(text: str) -> Iterator[tuple[int, int, str]]:
    found = _PHONE.search(text) if _has_form(_mask(text), _PHONE_FORMS) else None
    if found is not None:
        yield found.start(), found.end(), "a telephone number"


def _card(text: str) -> Iterator[tuple[int, int, str]]:
    if not _has_form(_mask(text), _CARD_FORMS):
        return
    for found in itertools.islice(_CARD.finditer(text), _MOST_CARDS):
        if _luhn(found[0]):
            yield found.start(), found.end(), "a card number"
            return


def _luhn(text: str) -> bool:
    """Whether the check digit of a card number is right (ISO/IEC 7812-1)."""
    digits = [int(c) for c in text if c.isdigit()][::-1]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


RULE = Rule(
    name="secrets",
    codes={
        SECRET: Code("substance", "reject", "a key, a token or a password"),
        PERSONAL: Code("substance", "flag", "an e-mail address, telephone or card number"),
    },
    check=_check,
    cost=8,
)
