"""Numbers of version tags: v<N> counts the versions of one name, so that order needs no clock."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from dataprune.core.errors import UsageError
from dataprune.tables.manifest import check_tag, is_tag

AUTO = "auto"
NUMBER = "{n}"


def tag_order(tag: str) -> tuple[list[int], str]:
    """Sort key: by number, then by name."""
    number = re.match(r"v([0-9.]+)", tag)
    parts = [int(p) for p in number[1].split(".") if p] if number else []
    return parts, tag


def next_number(tags: Iterable[str]) -> int:
    """One more than the largest number taken; 1 if none is."""
    return max((tag_order(tag)[0][0] for tag in tags if is_tag(tag)), default=0) + 1


def is_template(tag: str) -> bool:
    """Whether a tag asks for the next number: `auto`, or a tag with `{n}` in it."""
    return tag == AUTO or NUMBER in tag


def settle_tag(template: str, taken: Iterable[str], is_same: Callable[[str], bool]) -> str:
    """The tag that a template stands for: that of the same version, if there is one, else the next.

    A tag that is no template stands for itself.

    is_same: whether a taken tag's version is the one that is wanted, so that doing it again finds
        it.

    Raises:
        UsageError: the template makes no legal tag.
    """
    if not is_template(template):
        return check_tag(template)
    template = f"v{NUMBER}" if template == AUTO else template
    if template.count(NUMBER) != 1 or not template.startswith(f"v{NUMBER}"):
        raise UsageError(
            f"{template!r} does not begin with v{{n}}, the one place of the number",
            hint="as in v{n} or v{n}-el2n-keep0.5",
        )
    if template.removeprefix(f"v{NUMBER}")[:1].isdigit():
        raise UsageError(
            f"{template!r} has a digit after {{n}}, which would be read as part of the number",
            hint="as in v{n} or v{n}-el2n-keep0.5",
        )
    taken = sorted((t for t in taken if is_tag(t)), key=tag_order)
    made = check_tag(template.replace(NUMBER, str(next_number(taken))))
    before, after = template.split(NUMBER)
    alike = re.compile(rf"{re.escape(before)}[0-9]+{re.escape(after)}")
    newest_first = (tag for tag in reversed(taken) if alike.fullmatch(tag))
    return next((tag for tag in newest_first if is_same(tag)), made)
