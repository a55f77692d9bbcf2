"""Copies of runs, and queries asked twice: found before votes are counted, on hashes alone.

A pass over the trajectories makes `Fingerprints` of each, some 600 bytes and 8 a word of each
different prompt; `find_duplicates` then needs no text.

- D_NEAR_QUERY: prompts whose sets of word 5-grams have a Jaccard index of at least `near_query` are
  one query. Exact, on the sets themselves. Not for dialects whose agents talk: there the first
  message is a greeting and does not say what the task is.
- D_EXACT: runs of one query with the same actions and the same answer. What was said counts too
  where there are no actions, and for agents that talk: other thoughts to one answer, or one
  farewell after other talks, are no copies.
- D_NEAR_TRAJ: runs of one query whose agents wrote nearly the same; by MinHash signatures, whose
  estimate of an index J has a standard error of sqrt(J (1 - J) / 128), 0.027 at J = 0.9.

Words, not characters as for questions (`similarity.shingles`): a run is long enough for words to
measure it, and they are five times fewer.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dataprune.core.fingerprint import UInt64, mix64
from dataprune.core.recipe_curate import DuplicatesRecipe
from dataprune.similarity.content import content_groups
from dataprune.similarity.groups import groups_of_column, merge_groups, singletons
from dataprune.similarity.minhash import near_sets, near_signatures, signature_of
from dataprune.similarity.shingles import Shingles
from dataprune.similarity.words import shingles_of_all
from dataprune.trajectories import ToolCall, json_value
from dataprune.trajectories.dialects import Parsed
from dataprune.trajectories.keys import Rows, group_numbers, text_key
from dataprune.trajectories.rules import Code, Reason

D_EXACT, D_NEAR_TRAJ, D_NEAR_QUERY = "D_EXACT", "D_NEAR_TRAJ", "D_NEAR_QUERY"
CODES: dict[str, Code] = {
    D_EXACT: Code("duplicates", "reject", "another run of the query acts and answers the same"),
    D_NEAR_TRAJ: Code("duplicates", "reject", "another run of the query says nearly the same"),
    D_NEAR_QUERY: Code("duplicates", "flag", "nearly the same prompt as another query's"),
}
_WIDTH = 5  # words of a shingle
_LONGEST_PROMPT = 20_000  # characters of a prompt that are compared: 30 KB of shingles
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """One trajectory, hashed.

    outcome: what D_EXACT compares. actions: of actions alone. length: characters the agent wrote.
    prompt_key: of the prompt's letters. prompt: its word 5-grams, ascending; empty where there is
    no prompt that tells queries apart. signature: uint32 (128,), of what the agent wrote; None
    where that is no word.
    """

    traj_id: str
    query_id: str
    outcome: int
    actions: int
    length: int
    prompt_key: int
    prompt: UInt64
    signature: npt.NDArray[np.uint32] | None


def fingerprints(parsed: Sequence[Parsed]) -> list[Fingerprints]:
    """Hash trajectories; some at a time, as their words are found together.

    Raises:
        MissingExtraError: the extra `similarity` is not installed.
    """
    written = [_written(one) for one in parsed]
    prompts = [_prompt(one) for one in parsed]
    shingles = shingles_of_all(["\n".join(texts) for texts in written] + prompts, _WIDTH)
    return [
        _fingerprints(one, sum(map(len, texts)), said, prompt, asked)
        for one, texts, said, prompt, asked in zip(
            parsed, written, shingles[: len(parsed)], prompts, shingles[len(parsed) :], strict=True
        )
    ]


def _fingerprints(
    parsed: Parsed, length: int, said: UInt64, prompt: str, asked: UInt64
) -> Fingerprints:
    trajectory = parsed.trajectory
    actions = []
    for turn in parsed.turns:
        actions += [f"{p.kind} {turn.text(p).strip()}" for p in turn.actions]
        actions += [f"call {call.name} {_spelled(call)}" for call in turn.calls]
    answer = parsed.answer_text
    if not trajectory.messages:  # could not be read: like no other
        actions.append(f"unread {trajectory.traj_id}")
    counts = parsed.dialect.talks or not actions
    words = [turn.message.content for turn in parsed.turns] if counts else []
    return Fingerprints(
        traj_id=trajectory.traj_id,
        query_id=trajectory.query_id,
        outcome=text_key(*actions, "none" if answer is None else f"answer {answer}", *words),
        actions=text_key(*actions),
        length=length,
        prompt_key=text_key(prompt),
        prompt=asked,
        signature=signature_of(said) if len(said) else None,
    )


def _written(parsed: Parsed) -> list[str]:
    """What the agent wrote."""
    written = []
    for turn in parsed.turns:
        written.append(turn.message.content)
        written += [f"{call.name} {call.arguments}" for call in turn.calls]
    return written


def _prompt(parsed: Parsed) -> str:
    """What tells queries apart."""
    return "" if parsed.dialect.talks else parsed.trajectory.prompt[:_LONGEST_PROMPT]


def _spelled(call: ToolCall) -> str:
    """Arguments in one spelling, whatever the order of keys and the spaces."""
    value = json_value(call.arguments)
    if isinstance(value, str):
        return call.arguments.strip()
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    except (RecursionError, ValueError):
        return call.arguments.strip()


@dataclass
class Table:
    """Fingerprints of many trajectories, in columns; equal prompts are held once."""

    traj_ids: list[str] = field(default_factory=list)
    query_ids: list[str] = field(default_factory=list)
    outcomes: array[int] = field(default_factory=lambda: array("Q"))
    actions: array[int] = field(default_factory=lambda: array("Q"))
    lengths: array[int] = field(default_factory=lambda: array("q"))
    prompts: dict[int, UInt64] = field(default_factory=dict)
    prompt_keys: array[int] = field(default_factory=lambda: array("Q"))
    signatures: array[int] = field(default_factory=lambda: array("I"))
    has_signature: array[int] = field(default_factory=lambda: array("b"))

    def add(self, many: Iterable[Fingerprints]) -> None:
        """Append trajectories."""
        for prints in many:
            self._add(prints)

    def _add(self, prints: Fingerprints) -> None:
        self.traj_ids.append(prints.traj_id)
        self.query_ids.append(prints.query_id)
        self.outcomes.append(prints.outcome)
        self.actions.append(prints.actions)
        self.lengths.append(prints.length)
        self.prompt_keys.append(prints.prompt_key)
        self.prompts.setdefault(prints.prompt_key, prints.prompt)
        self.has_signature.append(prints.signature is not None)
        signature = np.zeros(128, dtype=np.uint32) if prints.signature is None else prints.signature
        self.signatures.frombytes(signature.tobytes())

    def __len__(self) -> int:
        return len(self.traj_ids)


@dataclass(frozen=True)
class Duplicates:
    """What `find_duplicates` found of n trajectories.

    query_ids: after merging near queries, each the least of the ids in it.
    codes: D_EXACT, D_NEAR_TRAJ or None. kept: int64 (n,), the row that stays in place of this one;
    itself where it is no copy. reasons: a row's reasons; rows without any are not here.
    """

    query_ids: tuple[str, ...]
    codes: tuple[str | None, ...]
    kept: Rows
    reasons: dict[int, list[Reason]]


def find_duplicates(
    table: Table, recipe: DuplicatesRecipe, is_eligible: Mask | None = None
) -> Duplicates:
    """Find copies and merge queries.

    Of copies an eligible one stays, of those the shortest, of those the one with the least id, so
    that the order of rows does not matter.

    is_eligible: bool (n,), False where a rule rejected the run already; it does not displace a good
        copy. None: all are.
    """
    num_rows = len(table)
    eligible = np.ones(num_rows, dtype=np.bool_) if is_eligible is None else is_eligible
    own = groups_of_column(table.query_ids)
    queries = own if recipe.near_query is None else _merged(table, own, recipe.near_query)
    _, ids = group_numbers(table.traj_ids)
    lengths = np.frombuffer(table.lengths, dtype=np.int64)
    outcomes = np.frombuffer(table.outcomes, dtype=np.uint64)
    exact = content_groups(mix64(outcomes + mix64(queries, "query"), "outcome"))
    kept = _best(exact, eligible, lengths, ids)
    codes: list[str | None] = [None] * num_rows
    for row in np.flatnonzero(kept != singletons(num_rows)).tolist():
        codes[row] = D_EXACT
    if recipe.near_trajectory is not None:
        near = _near(table, kept, queries, recipe.near_trajectory)
        best = _best(near, eligible & (kept == singletons(num_rows)), lengths, ids)
        for row in np.flatnonzero(best != singletons(num_rows)).tolist():
            codes[row] = codes[row] or D_NEAR_TRAJ
        kept = best[kept]
    least: dict[int, str] = {}
    for query, name in zip(queries.tolist(), table.query_ids, strict=True):
        least[query] = min(least.get(query, name), name)
    names = tuple(least[query] for query in queries.tolist())
    return Duplicates(names, tuple(codes), kept, _reasons(table, names, codes, kept))


def _merged(table: Table, own: Rows, threshold: float) -> Rows:
    """Queries with near prompts together: the smallest row of each."""
    keys = [key for key, shingles in table.prompts.items() if len(shingles)]
    if not keys:
        return own
    sets = [table.prompts[key] for key in keys]
    offsets = np.concatenate([[0], np.cumsum([len(s) for s in sets])]).astype(np.int64)
    hashes = np.array(keys, dtype=np.uint64)
    near = near_sets(Shingles(offsets, np.concatenate(sets), hashes), threshold)
    place = dict(zip(keys, near.tolist(), strict=True))
    prompts = [place.get(key) for key in table.prompt_keys]
    return merge_groups(own, groups_of_column(prompts))


def _near(table: Table, kept: Rows, queries: Rows, threshold: float) -> Rows:
    """Groups of near runs among those that are no exact copies."""
    rows = np.flatnonzero(
        (kept == singletons(len(table))) & np.frombuffer(table.has_signature, dtype=np.bool_)
    )
    _, first, counts = np.unique(queries[rows], return_inverse=True, return_counts=True)
    rows = rows[counts[first] > 1]
    groups = singletons(len(table))
    if len(rows):
        signatures = np.frombuffer(table.signatures, dtype=np.uint32).reshape(-1, 128)[rows]
        groups[rows] = rows[near_signatures(signatures, queries[rows], threshold)]
    return groups


def _best(groups: Rows, eligible: Mask, lengths: Rows, ids: Rows) -> Rows:
    """The row that stays of each row's group."""
    order = np.lexsort((ids, lengths, ~eligible, groups))
    _, first = np.unique(groups[order], return_index=True)
    best = np.empty(len(groups), dtype=np.int64)
    best[groups[order[first]]] = order[first]
    return best[groups]


def _reasons(
    table: Table, names: tuple[str, ...], codes: list[str | None], kept: Rows
) -> dict[int, list[Reason]]:
    reasons: dict[int, list[Reason]] = {}
    for row, code in enumerate(codes):
        if names[row] != table.query_ids[row]:
            reasons.setdefault(row, []).append(Reason(D_NEAR_QUERY, detail=f"query={names[row]}"))
        if code is not None:
            detail = f"copy of {table.traj_ids[int(kept[row])]}"
            reasons.setdefault(row, []).append(Reason(code, detail=detail))
    return reasons
