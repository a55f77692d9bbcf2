"""Words in a script that is not the text's own, by ranges of code points of the Unicode blocks.

Scripts that are written together count as one: Chinese characters and kana. Symbols, digits and
signs that all scripts share belong to none, and so do letters of scripts that are not listed.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import re
from collections import Counter
from collections.abc import Iterator

from dataprune.trajectories.dialects import Parsed, Turn

# {script: inside of a regular expression's character class}
_RANGES = {
    "latin": "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a",
    "greek": "\u0370-\u0373\u0376-\u0377\u037b-\u037d\u037f\u0386\u0388-\u03ff\u1f00-\u1fff",
    "cyrillic": "\u0400-\u0481\u048a-\u052f\u1c80-\u1c8f\u2de0-\u2dff\ua640-\ua69f",
    "armenian": "\u0531-\u0556\u0561-\u0587",
    "hebrew": "\u05d0-\u05ea\u05ef-\u05f2",
    "arabic": "\u0620-\u064a\u066e-\u06d3\u06d5\u06fa-\u06ff\u0750-\u077f\u08a0-\u08ff"
    "\ufb50-\ufdff\ufe70-\ufefc",
    "devanagari": "\u0904-\u0963\u0970-\u097f",
    "bengali": "\u0980-\u09e3\u09f0-\u09f1",
    "gurmukhi": "\u0a01-\u0a5e\u0a70-\u0a75",
    "gujarati": "\u0a81-\u0ae3",
    "tamil": "\u0b82-\u0bd7",
    "telugu": "\u0c00-\u0c63",
    "kannada": "\u0c80-\u0ce3",
    "malayalam": "\u0d00-\u0d63",
    "sinhala": "\u0d81-\u0ddf",
    "thai": "\u0e01-\u0e3a\u0e40-\u0e4e",
    "lao": "\u0e81-\u0ec6",
    "tibetan": "\u0f40-\u0fbc",
    "burmese": "\u1000-\u103f\u1050-\u109d",
    "georgian": "\u10a0-\u10ff\u1c90-\u1cbf",
    "ethiopic": "\u1200-\u137f",
    "khmer": "\u1780-\u17d3",
    "hangul": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3",
    "han": "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003134f",
}
# Latin words and Greek letters stand in texts of all languages: names, formulas, etymologies.
_FREE = {"latin", "greek"}
_FOREIGN = {name: inside for name, inside in _RANGES.items() if name not in _FREE}
_LETTER = {name: re.compile(f"[{inside}]") for name, inside in _RANGES.items()}
_ANY_FOREIGN = re.compile(f"[{''.join(_FOREIGN.values())}]{{2,}}")
_WEIGHT = {"han": 3, "hangul": 3}  # letters that a sign is worth: it is half a word or all of it

_WINDOW = 300  # characters of a line around a run that are looked at
_MOST_RUNS, _MOST_SEARCHES = 20_000, 100  # of a trajectory: what cannot be told is let pass
_PROMPT = 20_000  # characters of a prompt that tell its language
_TOGGLES = ('"', "`", "**")
_PAIRS: tuple[str, ...] = (
    "()",
    "\uff08\uff09",
    "\u201c\u201d",
    "\u201e\u201c",
    "\u2018\u2019",
    "\u00ab\u00bb",
)
_PAIRS += ("\u300c\u300d", "\u300e\u300f", "\u300a\u300b", "\u3008\u3009", "[]", "\u3010\u3011")

# A turn and the stretches of its prose: (place in the content, text).
_Stretches = list[tuple[Turn, list[tuple[int, str]]]]


def mixed_scripts(
    parsed: Parsed, stretches: _Stretches, *, quoted_too: bool = False
) -> Iterator[tuple[int, int, int, str]]:
    """The first foreign run of each turn: (step, start, end, its script).

    A run is two letters or more in a row of a script that is neither the one most letters of the
    agent's prose are of, nor the prompt's, Latin or Greek. It is free where it is set off by
    quotes, parentheses, bold or code, and where the prompt or an observation has it.

    quoted_too: runs that are set off count as well.
    """
    texts = [text for _, parts in stretches for _, text in parts if not text.isascii()]
    if not any(_ANY_FOREIGN.search(text) for text in texts):
        return
    usual = {_dominant([text for _, parts in stretches for _, text in parts])}
    usual.add(_dominant([parsed.trajectory.prompt[:_PROMPT]]))
    given = _Given(parsed)
    for turn, parts in stretches:
        for at, text in parts:
            run = next(_foreign(text, usual, given, quoted_too=quoted_too), None)
            if run is not None:
                start, end, script = run
                yield turn.step, at + start, at + end, script
                break


def _foreign(
    text: str, usual: set[str | None], given: _Given, *, quoted_too: bool
) -> Iterator[tuple[int, int, str]]:
    if text.isascii():
        return
    fences = [found.start() for found in re.finditer("```", text)]
    for start, end, script in _runs(text):
        if given.num_runs > _MOST_RUNS:
            return
        given.num_runs += 1
        if script in usual or text[start:end] in given:
            continue
        in_fence = bisect.bisect(fences, start) % 2 == 1
        if quoted_too or not (in_fence or _is_set_off(text, start, end)):
            yield start, end, script


def _runs(text: str) -> Iterator[tuple[int, int, str]]:
    """Two foreign letters or more of one script in a row."""
    for found in _ANY_FOREIGN.finditer(text):
        at = found.start()
        for script, letters in itertools.groupby(found[0], _script):
            end = at + sum(1 for _ in letters)
            if end - at >= 2 and script is not None:
                yield at, end, script
            at = end


@functools.lru_cache(maxsize=65_536)
def _script(letter: str) -> str | None:
    return next((name for name, form in _LETTER.items() if form.match(letter)), None)


def _is_set_off(text: str, start: int, end: int) -> bool:
    """Whether a run stands between quotes, parentheses or marks of bold or code, in its line."""
    before = text[max(0, start - _WINDOW) : start].rpartition("\n")[2]
    behind = text[end : end + _WINDOW].partition("\n")[0]
    for toggle in _TOGGLES:
        if before.count(toggle) % 2 and toggle in behind:
            return True
    for pair in _PAIRS:
        opening, closing = pair[0], pair[1]
        if before.rfind(opening) > before.rfind(closing) and closing in behind:
            return True
    # An apostrophe inside of a word quotes nothing.
    at = before.rfind("'")
    return at >= 0 and not before[at - 1 : at].isalnum() and "'" in behind


class _Given:
    """What the prompt and observations have: runs by name, parts of runs by a few searches."""

    def __init__(self, parsed: Parsed) -> None:
        contents = [
            message.content
            for message in parsed.trajectory.messages
            if message.role != "assistant" and not message.content.isascii()
        ]
        prompt = parsed.trajectory.prompt
        runs = {text[start:end] for text in (prompt, *contents) for start, end, _ in _runs(text)}
        self._runs, self._joined = runs, "\n".join(sorted(runs))
        self._num_searches = 0
        self.num_runs = 0

    def __contains__(self, run: str) -> bool:
        if run in self._runs:
            return True
        self._num_searches += 1
        return self._num_searches > _MOST_SEARCHES or run in self._joined


def _dominant(texts: list[str]) -> str | None:
    """The script that most letters belong to; None without letters. Ties go by name."""
    weights: Counter[str] = Counter()
    for letter, num in Counter(itertools.chain.from_iterable(texts)).items():
        script = _script(letter)
        if script is not None:
            weights[script] += num * _WEIGHT.get(script, 1)
    return min(weights, key=lambda script: (-weights[script], script)) if weights else None
