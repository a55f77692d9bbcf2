"""Numbers: sign, currency, thousands, decimals, exponent, fraction, scale word, percent, unit.

Sign, exponent and percent are part of a number: -5 is not 5, 1e-5 not 1, 5 % not 5.
"""

from __future__ import annotations

import re
from fractions import Fraction

from dataprune.trajectories.equivalence.units import CURRENCIES, PERCENT, read_unit
from dataprune.trajectories.equivalence.values import Number, Unit

_LONGEST = 400  # characters of an answer that may be a number
_MOST_DIGITS = 300  # and the largest exponent: float64 ends at 308
_SMALLEST = Fraction(1, 10**280)  # and one over the largest: room for a unit's factor
_NUMERAL = re.compile(r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+", re.ASCII)
_EXPONENT = re.compile(r"[eE]([-+]?\d{1,9})(?!\d)", re.ASCII)
_POWER = re.compile(r" ?[*xX] ?10 ?(?:\^|\*\*) ?[({]?([-+]?\d{1,9})[)}]?", re.ASCII)
_TEN = re.compile(r"10 ?(?:\^|\*\*) ?[({]?([-+]?\d{1,9})[)}]?", re.ASCII)
_OVER = re.compile(r" ?/ ?(\d+(?:\.\d+)?)(?![\w.])", re.ASCII)
_MIXED = re.compile(r" (\d+)/(\d+)(?![\w.])", re.ASCII)
_ABOUT = re.compile(
    r"(?:~|approximately |approx\.? |about |around |roughly |exactly )", re.IGNORECASE
)
_CODE = re.compile(r"(US\$|USD|EUR|GBP|JPY|INR|Rs\.?)(?=[\d .-])")
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SCALE = re.compile(r" ?(thousand|million|billion|trillion)(?![a-z])", re.IGNORECASE)
_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
)
_SMALL = _WORDS.split()
_DENIAL = re.compile(
    r"(?:\b(?:not|no|none|never|cannot|unable|unknown|unclear|insufficient|least|most|than|neither"
    r"|either|between|undefined)\b|n't\b)",
    re.IGNORECASE,
)
_FORMULA = frozenset("*^/\\_+<>{}[]|")
_FEWEST_WORDS = 4
_DIGITS = re.compile(r"\d(?:[\d,.]*\d)?", re.ASCII)


def read_number(text: str) -> Number | None:
    """The number that a whole text is, or that its equation ends with; None where it is none."""
    if len(text) > _LONGEST:
        return None
    left, equals, right = text.rpartition("=")
    if equals and not _is_one_equation(left):
        return None
    rest = right.strip()
    if rest.lower() in _SMALL:
        return Number(Fraction(_SMALL.index(rest.lower())), is_whole=True)
    about = _ABOUT.match(rest)
    sign, unit, rest = _before(rest[about.end() :] if about else rest)
    found = _magnitude(rest)
    if found is None:
        return None
    value, is_whole, end = found
    scale = _SCALE.match(rest, end)
    if scale:
        value *= 10 ** _SCALES[scale[1].lower()]
        end = scale.end()
    tail = rest[end:].rstrip(" .")
    if tail:
        after = read_unit(tail, is_apart=tail[0].isspace())
        if after is None or (unit and after.is_known and after != unit):
            return None
        unit = unit or after
    if value and not _SMALLEST < value < 1 / _SMALLEST:
        return None
    return Number(value * sign, is_whole and not scale, unit)


def number_in(text: str) -> Number | None:
    """The only number of a sentence that says neither "not" nor "at least"; None otherwise.

    A sentence has four words or more and nothing of a formula.
    """
    if len(text) > _LONGEST or not _FORMULA.isdisjoint(text) or _DENIAL.search(text):
        return None
    if sum(word.strip(".,;:!?'\"()").isalpha() for word in text.split()) < _FEWEST_WORDS:
        return None
    found = list(_DIGITS.finditer(text))
    if len(found) != 1:
        return None
    start = found[0].start()
    while start and text[start - 1] in "-+.$\u20ac\u00a3\u00a5\u20b9":
        start -= 1
    if start and not (text[start - 1].isspace() or text[start - 1] in "(:=~"):
        return None
    head, *words = text[start:].rstrip(" .").split(" ")[:5]
    for count in range(len(words), -1, -1):
        number = read_number(" ".join([head, *words[:count]]).rstrip(",;:).!?"))
        if number and (number.unit is None or number.unit.is_known):
            return number
    return None


def same_number(a: Number, b: Number, tolerance: float) -> bool | None:
    """Whether two numbers are one: integers exactly, others within a relative tolerance.

    Units must agree where both have one. None: equal, but of units known by their words alone.
    """
    x, y = in_one_unit(a, b)
    if x is None or y is None:
        words = [u for u in (a.unit, b.unit) if u and not u.is_known]
        return None if words and _close(a.value, b.value, a, b, tolerance) else False
    return _close(x, y, a, b, tolerance)


def difference(a: Number, b: Number) -> float:
    """Relative difference, 0 to 2: |x - y| / max(|x|, |y|), in a unit that both have."""
    x, y = in_one_unit(a, b)
    if x is None or y is None or x == y:
        return 0.0
    return abs(float(x) - float(y)) / max(abs(float(x)), abs(float(y)))


def in_one_unit(a: Number, b: Number) -> tuple[Fraction, Fraction] | tuple[None, None]:
    """Both values in one unit; (None, None) where their units do not agree.

    A number without a unit has the other's, but not a percentage's: 5 % is .05 and not 5.
    """
    if a.unit == b.unit:
        return a.value, b.value
    if a.unit and b.unit and a.unit.dimension != b.unit.dimension:
        if a.unit.is_known or b.unit.is_known:
            return None, None
        words = set(a.unit.dimension.split()), set(b.unit.dimension.split())
        return (a.value, b.value) if words[0] <= words[1] or words[1] <= words[0] else (None, None)
    if (a.unit and b.unit) or PERCENT in {a.unit, b.unit}:
        factors = [n.unit.factor if n.unit else Fraction(1) for n in (a, b)]
        return a.value * factors[0], b.value * factors[1]
    return a.value, b.value


def _close(x: Fraction, y: Fraction, a: Number, b: Number, tolerance: float) -> bool:
    if x == y:
        return True
    if a.is_whole and b.is_whole:
        return False
    left, right = float(x), float(y)
    return abs(left - right) <= tolerance * max(abs(left), abs(right))


def _is_one_equation(left: str) -> bool:
    """Whether what stands before "=" is one side: no comma but between digits, no new line."""
    return "\n" not in left and ";" not in left and not re.search(r",(?!\d)", left)


def _before(text: str) -> tuple[int, Unit | None, str]:
    """Sign and currency before a number, in either order, and what follows them."""
    sign, unit = 1, None
    for _ in range(3):
        text = text.lstrip()
        code = _CODE.match(text)
        if text[:1] in {"-", "+"}:
            sign *= -1 if text[0] == "-" else 1
            text = text[1:]
        elif text[:1] in CURRENCIES and text and unit is None:
            unit, text = read_unit(text[0], is_apart=False), text[1:]
        elif code and unit is None:
            unit = read_unit("INR" if code[1].startswith("Rs") else code[1], is_apart=False)
            text = text[code.end() :]
    return sign, unit, text.lstrip()


def _magnitude(text: str) -> tuple[Fraction, bool, int] | None:
    """The value that a text begins with, whether it is whole, and where it ends."""
    ten = _TEN.match(text)
    if ten:
        return _raised(Fraction(1), ten[1], ten.end())
    numeral = _NUMERAL.match(text)
    if numeral is None or numeral.end() > _MOST_DIGITS:
        return None
    value = Fraction(numeral[0].replace(",", "").rstrip("."))
    end = numeral.end()
    raised = _EXPONENT.match(text, end) or _POWER.match(text, end)
    if raised:
        return _raised(value, raised[1], raised.end())
    mixed = _MIXED.match(text, end)
    over = _OVER.match(text, end)
    if mixed and int(mixed[2]):
        value += Fraction(int(mixed[1]), int(mixed[2]))
        end = mixed.end()
    elif over and Fraction(over[1]):
        value /= Fraction(over[1])
        end = over.end()
    return value, value.denominator == 1, end


def _raised(value: Fraction, exponent: str, end: int) -> tuple[Fraction, bool, int] | None:
    power = int(exponent)
    if abs(power) + len(str(value)) > _MOST_DIGITS:
        return None
    return value * Fraction(10) ** power, False, end
