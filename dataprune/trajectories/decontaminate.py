"""Overlap of what an agent was asked with evaluation data that its user wants to keep out.

Thirteen words in a row, as GPT-3's authors took (arXiv 2005.14165, appendix C), the header of a
table, or the id of the question itself. What the agent did is not looked at: an answer that
resembles an evaluation's is what it should be.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dataprune.core.fingerprint import UInt64
from dataprune.similarity.words import words_of
from dataprune.trajectories.dialects import Parsed
from dataprune.trajectories.evaluation import Evaluation
from dataprune.trajectories.headers import headers_in
from dataprune.trajectories.rules import Code, Reason

C_NGRAM, C_HEADER, C_ANSWERED = "C_NGRAM", "C_HEADER", "C_ANSWERED"
CODES: dict[str, Code] = {
    C_NGRAM: Code("contamination", "reject", "the prompt shares a run of words with a question"),
    C_HEADER: Code("contamination", "reject", "the prompt's table has an evaluation's header"),
    C_ANSWERED: Code("contamination", "reject", "the query is one of an evaluation, by its id"),
}
_SHORTEST_PART = 8  # words of a question that is one inside of a longer prompt too
_MOST = 5  # reasons of one code and message


def overlaps(parsed: Parsed, evaluation: Evaluation) -> list[Reason]:
    """What a trajectory's prompts share with evaluation data.

    C_NGRAM spans the shared words, score is their number, threshold the number that makes an
    overlap. A question shorter than that must be there whole; below eight words, it must be all
    that the prompt says. C_HEADER spans the header. At most five of each a message.
    """
    trajectory = parsed.trajectory
    reasons = []
    if {trajectory.query_id, trajectory.traj_id} & evaluation.ids:
        reasons.append(Reason(C_ANSWERED, detail="id of an evaluation's question"))
    for step, start, text in _prompts(parsed):
        reasons += list(_shared_words(step, start, text, evaluation))[:_MOST]
        if evaluation.headers:
            same = [
                Reason(C_HEADER, step, start + first, start + last, f"{len(header)} cells")
                for header, (first, last) in headers_in(text).items()
                if header in evaluation.headers
            ]
            reasons += same[:_MOST]
    return reasons


def _prompts(parsed: Parsed) -> Iterator[tuple[int, int, str]]:
    """Step, place and text of what users said; the first without instructions before the task.

    Examples that a dialect's instructions hold are the same in every run, and no task.
    """
    observed = {observation.step for observation in parsed.observations}
    is_first = True
    for step, message in enumerate(parsed.trajectory.messages):
        if message.role != "user" or step in observed:
            continue
        place = message.content.rfind(parsed.trajectory.prompt) if is_first else 0
        is_first = False
        place = max(place, 0)
        if place == len(message.content):  # an empty prompt is found at the end
            place = 0
        yield step, place, message.content[place:]


def _shared_words(step: int, start: int, text: str, evaluation: Evaluation) -> Iterator[Reason]:
    words = words_of(text)
    looked_for = {evaluation.words: evaluation.sequences, **evaluation.wholes}
    for width, hashes in looked_for.items():
        if width < _SHORTEST_PART and width != len(words):
            continue
        hits = np.flatnonzero(_is_among(words.sequences(width), hashes))
        if not len(hits):
            continue
        is_whole = width < evaluation.words
        # Sequences that overlap, or touch, are one stretch.
        for stretch in np.split(hits, np.flatnonzero(np.diff(hits) > width) + 1):
            first, last = int(stretch[0]), int(stretch[-1]) + width - 1
            yield Reason(
                C_NGRAM,
                step,
                start + int(words.starts[first]),
                start + int(words.ends[last]),
                "a whole question" if is_whole else "words in a row of a question",
                score=last - first + 1,
                threshold=width,
            )


def _is_among(values: UInt64, known: UInt64) -> npt.NDArray[np.bool_]:
    """Whether each value is one of the known, which ascend; no work that grows with them."""
    if not len(known):
        return np.zeros(len(values), dtype=np.bool_)
    place = np.minimum(np.searchsorted(known, values), len(known) - 1)
    found: npt.NDArray[np.bool_] = known[place] == values
    return found
