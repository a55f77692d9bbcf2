r"""Wrappers taken off an answer: LaTeX, Markdown, "The answer is", characters that look alike.

Every step is one pass over the text, and the number of passes is fixed, so no input takes long.
"""

from __future__ import annotations

import re
import unicodedata

_ALIKE = str.maketrans(
    {
        "\u2212": "-",  # minus
        "\u2010": "-",
        "\u2011": "-",
        "\u2013": "-",
        "\u00d7": "*",
        "\u22c5": "*",
        "\u00b7": "*",
        "\u2248": "~",
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u00b0": " degrees ",
        "\u00a0": " ",
        "\u202f": " ",
    }
)
_SUPER = dict(
    zip("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "0123456789", strict=True)
)
_SUPER["\u207b"] = "-"
_COMMANDS = {
    "\\left": "",
    "\\right": "",
    "\\displaystyle": "",
    "\\times": "*",
    "\\cdot": "*",
    "\\approx": "~",
    "\\circ": "degrees ",
    "\\%": "%",
    "\\$": "$",
    "\\,": "",
    "\\!": "",
    "\\;": " ",
    "\\ ": " ",
    "\\{": "{",
    "\\}": "}",
    "\\(": "",
    "\\)": "",
    "\\[": "",
    "\\]": "",
}
_COMMAND = re.compile(r"\\(?:[A-Za-z]+|[^A-Za-z])")
_STYLE = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|operatorname)\s?\{([^{}]*)\}")
_FRACTION = re.compile(r"\\[dt]?frac\s?\{([^{}]*)\}\s?\{([^{}]*)\}|\\[dt]?frac(\d)(\d)")
_EXPONENT = re.compile(r"\^\{([^{}]*)\}")
_LEAD = re.compile(
    r"(?:so |therefore |thus |hence )?,? ?(?:the )?(?:final |correct )?"
    r"(?:answer|result|option|choice)(?: is| are|:| =)+:? ",
    re.IGNORECASE,
)
_PAIRS_OF_MARKS = (("**", "**"), ("$$", "$$"), ("$", "$"), ("```", "```"), ("`", "`"))


def clean(text: str) -> str:
    r"""The answer inside its wrappers; of several \boxed{...}, the last."""
    text = _spelled(text).strip()
    if "\\" in text:
        text = _latex(_boxed(text)).strip()
    for _ in range(3):
        before = text
        for opening, closing in _PAIRS_OF_MARKS:
            inner = text[len(opening) : -len(closing)]
            if (
                len(text) > len(opening) + len(closing)
                and text.startswith(opening)
                and text.endswith(closing)
                and opening not in inner
            ):
                text = inner.strip()
        lead = _LEAD.match(text[:60])
        if lead:
            text = text[lead.end() :].strip()
        if text == before:
            break
    return text


def _spelled(text: str) -> str:
    """One spelling of characters that mean the same; a superscript is a power, not a digit."""
    if text.isascii():
        return text
    out: list[str] = []
    was_super = False
    for char in text.translate(_ALIKE):
        power = _SUPER.get(char)
        if power is not None:
            out.append(power if was_super else "^" + power)
        elif unicodedata.category(char) == "No" and "\u2044" in unicodedata.normalize("NFKC", char):
            out.append(" " + unicodedata.normalize("NFKC", char).replace("\u2044", "/"))
        else:
            out.append(char)
        was_super = power is not None
    return unicodedata.normalize("NFKC", "".join(out))


def _boxed(text: str) -> str:
    r"""What the last \boxed{ holds, up to its own brace; the text itself where there is none."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return text
    inner = start + len("\\boxed{")
    depth = 1
    for at in range(inner, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if not depth:
            return text[inner:at]
    return text


def _latex(text: str) -> str:
    text = _STYLE.sub(r"\1", text)
    text = _FRACTION.sub(_over, text)
    text = _COMMAND.sub(lambda found: _COMMANDS.get(found[0], found[0]), text)
    text = _EXPONENT.sub(r"^\1", text)
    return text.replace("^degrees", " degrees")


def _over(found: re.Match[str]) -> str:
    top, bottom = (found[1], found[2]) if found[1] is not None else (found[3], found[4])
    top, bottom = top.strip(), bottom.strip()
    if not bottom.isdigit():
        return f"({top})/({bottom})"
    return f"{top}/{bottom}" if top.lstrip("-").isdigit() else f"({top})/{bottom}"
