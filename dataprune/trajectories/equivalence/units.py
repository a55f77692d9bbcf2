"""Units: what may be converted into what, exactly. Words that are no known unit are kept as words.

Currencies, Celsius and Fahrenheit have no conversion here. A percentage is a number over 100.
"""

from __future__ import annotations

from fractions import Fraction

from dataprune.trajectories.equivalence.values import Unit

_KNOWN: dict[str, dict[str, str]] = {
    "length": {
        "m meter meters metre metres": "1",
        "km kilometer kilometers kilometre kilometres": "1000",
        "cm centimeter centimeters centimetre centimetres": "0.01",
        "mm millimeter millimeters millimetre millimetres": "0.001",
        "um micrometer micrometers micron microns": "0.000001",
        "nm nanometer nanometers": "0.000000001",
        "mi mile miles": "1609.344",
        "in inch inches": "0.0254",
        "ft foot feet": "0.3048",
        "yd yard yards": "0.9144",
    },
    "mass": {
        "g gram grams": "1",
        "kg kgs kilogram kilograms": "1000",
        "mg milligram milligrams": "0.001",
        "lb lbs pound pounds": "453.59237",
        "oz ounce ounces": "28.349523125",
        "tonne tonnes": "1000000",
    },
    "time": {
        "s sec secs second seconds": "1",
        "ms millisecond milliseconds": "0.001",
        "min mins minute minutes": "60",
        "h hr hrs hour hours": "3600",
        "day days": "86400",
        "week weeks": "604800",
    },
    "months": {"month months": "1", "year years yr yrs": "12"},
    "volume": {"l L liter liters litre litres": "1", "ml mL milliliter milliliters": "0.001"},
    "percent": {"% percent pct": "0.01"},
    "USD": {"$ US$ usd USD dollar dollars": "1", "cent cents": "0.01"},
    "EUR": {"\u20ac eur EUR euro euros": "1"},
    "GBP": {"\u00a3 gbp GBP": "1"},
    "JPY": {"\u00a5 jpy JPY yen": "1"},
    "INR": {"\u20b9 inr INR rupee rupees": "1"},
    "angle": {"degree degrees deg": "1"},
    "Celsius": {"C degreesC celsius": "1"},
    "Fahrenheit": {"F degreesF fahrenheit": "1"},
    "force": {"N newton newtons": "1", "kN": "1000"},
    "energy": {"J joule joules": "1", "kJ": "1000"},
    "energy in eV": {"eV": "1", "keV": "1000", "MeV": "1000000"},
    "power": {"W watt watts": "1", "kW kilowatt kilowatts": "1000"},
    "frequency": {"Hz hertz": "1", "kHz": "1000", "MHz": "1000000", "GHz": "1000000000"},
    "V": {"V volt volts": "1"},
    "pressure": {"Pa": "1", "kPa": "1000"},
    "K": {"K kelvin": "1"},
    "mol": {"mol moles": "1"},
    "M": {"M": "1"},
}
_UNITS = {
    name: Unit(dimension, Fraction(factor))
    for dimension, names in _KNOWN.items()
    for spellings, factor in names.items()
    for name in spellings.split()
}
PERCENT = _UNITS["%"]
CURRENCIES = frozenset("$\u20ac\u00a3\u00a5\u20b9")
# A word that joins, negates or computes makes "12 and more", "2 pi" and "3 or 4" no quantities.
_JOINING = (
    "and or to than but not plus minus times if is are was were no nor versus vs sqrt log sin cos "
    "tan exp alpha beta gamma theta lambda sigma infinity inf nan mod choose factorial"
)
_NO_UNIT = frozenset(_JOINING.split())
_POWERS = {"square": 2, "sq": 2, "cubic": 3}


def read_unit(text: str, *, is_apart: bool) -> Unit | None:
    """The unit that a whole text is; None where it is none.

    is_apart: whether a space is between number and unit; only then may it be an unknown word.
    """
    text = text.strip().rstrip(".")
    if not text or len(text) > 40:
        return None
    over = text.replace(" per ", "/").split("/")
    top, bottom = _known(over[0].strip()), _known(over[-1].strip())
    if len(over) == 1 and top:
        return top
    if len(over) == 2 and top and bottom:
        return Unit(f"{top.dimension}/{bottom.dimension}", top.factor / bottom.factor)
    return _words(text) if is_apart else None


def _known(text: str) -> Unit | None:
    words = text.split()
    power = 1
    if len(words) == 2 and words[0].lower() in _POWERS:
        power, text = _POWERS[words[0].lower()], words[1]
    elif text[-2:] in {"^2", "^3"}:
        power, text = int(text[-1]), text[:-2]
    elif len(words) == 2 and words[0] == "degrees":
        text = "".join(words)
    # "M" is not "m", but "Hours" are hours: short names are told apart by their case.
    unit = _UNITS.get(text) or (_UNITS.get(text.lower()) if len(text) > 2 else None)
    if unit is None or power == 1:
        return unit
    return Unit(f"{unit.dimension}^{power}", unit.factor**power)


def _words(text: str) -> Unit | None:
    words = text.lower().split()
    plain = all(word.replace("-", "").isalpha() for word in words)
    if len(words) > 3 or not plain or len(words[0]) < 3 or not _NO_UNIT.isdisjoint(words):
        return None
    return Unit(" ".join(sorted(_singular(word) for word in words)), is_known=False)


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
