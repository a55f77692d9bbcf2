"""Agreement: runs of one query whose answers are one answer, and what that makes of each run.

Agreement is not correctness; it is what several runs say that were made apart. Exact copies must
be gone before. The policies, of a query with n runs whose largest class has the share s:

    unanimous   s = 1: gold
    majority    s = 1: gold, s >= share: silver, s > 1/2: bronze
    share       s = 1: gold, s >= share: silver

`keep_frontier` keeps a class of more than half in every policy, as silver. All members of the
winning class are kept; a tie has no winner. A run without an answer is a class of its own. Where
more than half of a query's runs did the same, independence is low, and what were gold is silver.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataprune.core.errors import TableError
from dataprune.core.recipe_curate import GroupsRecipe
from dataprune.trajectories._linkage import Relations, clusters, most_compared, relate
from dataprune.trajectories.equivalence import Answer, read_answer

_JUDGED = 3.0  # farther than numbers can be: what a judge called equal merges last
_BLANK, _UNCOMPARED = -1, -2  # in place of a distinct answer
_SLACK = 1e-12  # of a share, for 2/3 of 3


class Pair(NamedTuple):
    """Two answers to one query, for a judge."""

    query_id: str
    first: str
    second: str


Judge = Callable[[list[Pair]], Sequence[bool | None]]


@dataclass(frozen=True)
class Agreement:
    """Per trajectory, arrays (n,).

    num_runs: of its query. num_classes: of its query. vote_share: of its class. entropy: of its
    query's classes, in nats. class_id: place of its class, largest first. spread: largest relative
    difference of numbers within its class. independence: ok or low. consensus_answer: a text of the
    one largest class, None where classes tie or none has two members. is_majority: whether its
    class has more than half. tier: gold, silver, bronze or none. reason: None where kept, else
    G_SINGLETON, G_NO_CONSENSUS, G_MINORITY or J_UNDECIDED. num_judged: pairs that were asked of the
    judge.
    """

    num_runs: NDArray[np.int32]
    num_classes: NDArray[np.int32]
    vote_share: NDArray[np.float64]
    entropy: NDArray[np.float64]
    class_id: NDArray[np.int32]
    spread: NDArray[np.float64]
    independence: NDArray[Any]
    consensus_answer: NDArray[Any]
    is_majority: NDArray[np.bool_]
    tier: NDArray[Any]
    reason: NDArray[Any]
    warnings: tuple[str, ...] = ()
    num_judged: int = 0


@dataclass
class _Group:
    """One query. members: places of its runs. which: the distinct answer of each, or below 0."""

    query_id: str
    members: list[int]
    distinct: list[Answer]
    which: list[int]
    relations: Relations
    is_low: bool
    cluster: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def weights(self) -> NDArray[np.int64]:
        """Votes for each distinct answer."""
        given = [at for at in self.which if at >= 0]
        return np.bincount(given, minlength=len(self.distinct)).astype(np.int64)


def agree(
    query_ids: Sequence[str],
    answers: Sequence[str | None],
    actions: Sequence[str],
    settings: GroupsRecipe,
    *,
    judge: Judge | None = None,
) -> Agreement:
    """Group runs by query, their answers by equivalence, and rank each run by the votes.

    actions: a hash of what each run did. judge: asked once, for all pairs that code cannot decide
    in queries where they matter; None leaves a pair undecided.

    A run is J_UNDECIDED, and not rejected, where undecided pairs could change that: outside of a
    winning class, if no member of that class is known to differ from it; without a winner, if the
    answers not known to differ from its own would have the votes to win. Runs without an answer
    are never undecided. At most 1,000 distinct answers of a query are compared, fewer if they are
    large: the most frequent ones. Runs with other answers are undecided, each a class of its own.

    Raises:
        TableError: the three are not of one length.
    """
    if not len(query_ids) == len(answers) == len(actions):
        raise TableError("query_ids, answers and actions must have one length each.")
    groups = _groups(query_ids, answers, actions, settings.tolerance)
    num_judged = _ask(groups, settings, judge) if judge and settings.policy != "off" else 0
    out = _empty(len(answers), _warnings(groups), num_judged)
    for group in groups:
        _cluster(group)
        _fill(out, group, actions, settings)
    return out


def _groups(
    query_ids: Sequence[str],
    answers: Sequence[str | None],
    actions: Sequence[str],
    tolerance: float,
) -> list[_Group]:
    by_query: dict[str, list[int]] = {}
    for at, query_id in enumerate(query_ids):
        by_query.setdefault(query_id, []).append(at)
    groups = []
    for query_id, members in by_query.items():
        given = [a if (a := answers[at]) and a.strip() else None for at in members]
        once = {text: read_answer(text) for text in set(given) if text is not None}
        read = [once[text] if text is not None else None for text in given]
        # Equal values are one answer; its text is the one that sorts first.
        votes = Counter(answer.value for answer in read if answer)
        texts = sorted((answer.text, i) for i, answer in enumerate(read) if answer)
        first: dict[Any, Answer] = {}
        for _, i in texts:
            if (answer := read[i]) is not None:
                first.setdefault(answer.value, answer)
        distinct = sorted(first.values(), key=lambda a: (-votes[a.value], a.text))
        distinct = distinct[: most_compared(distinct)]
        place = {answer.value: at for at, answer in enumerate(distinct)}
        which = [place.get(a.value, _UNCOMPARED) if a else _BLANK for a in read]
        most = Counter(actions[at] for at in members).most_common(1)[0][1]
        is_low = len(members) > 1 and 2 * most > len(members)
        relations = relate(distinct, tolerance)
        groups.append(_Group(query_id, members, distinct, which, relations, is_low))
    return groups


def _ask(groups: list[_Group], settings: GroupsRecipe, judge: Judge) -> int:
    """Ask the judge about undecided pairs of queries that they matter to; how many those were."""
    asked: list[tuple[_Group, int, int]] = []
    for group in groups:
        _cluster(group)
        reasons = _outcome(group, settings)[1]
        if "J_UNDECIDED" in reasons:
            rows, columns = np.nonzero(np.triu(group.relations.open))
            asked += [(group, int(i), int(j)) for i, j in zip(rows, columns, strict=True)]
    if not asked:
        return 0
    pairs = [Pair(g.query_id, g.distinct[i].text, g.distinct[j].text) for g, i, j in asked]
    for (group, i, j), verdict in zip(asked, judge(pairs), strict=True):
        if verdict is None:
            continue
        relations = group.relations
        relations.open[i, j] = relations.open[j, i] = False
        relations.same[i, j] = relations.same[j, i] = verdict
        relations.far[i, j] = relations.far[j, i] = _JUDGED if verdict else 0.0
    return len(asked)


def _cluster(group: _Group) -> None:
    group.cluster = clusters(group.relations.same, group.relations.far)


def _outcome(group: _Group, settings: GroupsRecipe) -> tuple[list[str], list[str | None]]:
    """Tier and reason of each member."""
    n = len(group.members)
    if settings.policy == "off":
        return ["none"] * n, [None] * n
    if n < settings.min_n:
        return ["none"] * n, ["G_SINGLETON"] * n
    weights = group.weights()
    votes = np.bincount(group.cluster, weights, minlength=1) if len(weights) else np.zeros(1)
    top = int(votes.argmax())
    tier = _tier(votes[top] / n, settings) if (votes == votes[top]).sum() == 1 else "none"
    if tier == "none":
        return ["none"] * n, _without_winner(group, weights, settings)
    if tier == "gold" and group.is_low:
        tier = "silver"
    winners = np.flatnonzero(group.cluster == top)
    allowed = group.relations.same | group.relations.open
    tiers, reasons = [], list[str | None]()
    for at in group.which:
        is_kept = at in winners
        tiers.append(tier if is_kept else "none")
        may = at >= 0 and bool(allowed[at, winners].all())
        is_open = may and bool(group.relations.open[at, winners].any())
        is_open = is_open or at == _UNCOMPARED
        reasons.append(None if is_kept else "J_UNDECIDED" if is_open else "G_MINORITY")
    return tiers, reasons


def _without_winner(
    group: _Group, weights: NDArray[np.int64], settings: GroupsRecipe
) -> list[str | None]:
    """Why a query's runs are not kept: whether an answer could win yet if open pairs were equal."""
    n = len(group.members)
    relations = group.relations
    could: NDArray[np.int64] = np.zeros(0, np.int64)
    if len(weights):
        could = np.where(relations.same | relations.open, weights, 0).sum(axis=1)
    num_uncompared = group.which.count(_UNCOMPARED)
    num_open: NDArray[np.int64] = relations.open.sum(axis=1) + num_uncompared
    wins = [
        bool(num_open[at]) and _tier((could[at] + num_uncompared) / n, settings) != "none"
        for at in range(len(weights))
    ]
    return [
        "J_UNDECIDED" if at == _UNCOMPARED or (at >= 0 and wins[at]) else "G_NO_CONSENSUS"
        for at in group.which
    ]


def _tier(share: float, settings: GroupsRecipe) -> str:
    """Of a class that has this share of the votes and no rival."""
    if share >= 1 - _SLACK:
        return "gold"
    is_enough = share >= settings.share - _SLACK
    is_majority = share > 0.5 + _SLACK
    if settings.policy == "share" and is_enough:
        return "silver"
    if is_majority and settings.keep_frontier:
        return "silver"
    if is_majority and settings.policy == "majority":
        return "silver" if is_enough else "bronze"
    return "none"


def _fill(out: Agreement, group: _Group, actions: Sequence[str], settings: GroupsRecipe) -> None:
    n = len(group.members)
    members = np.array(group.members)
    # Runs without an answer, or with one that was not compared, come last, each a class of its own,
    # in an order of their own.
    keys: list[tuple[int, str, int]] = [
        (int(group.cluster[at]), "", -1) if at >= 0 else (n, actions[member], member)
        for at, member in zip(group.which, group.members, strict=True)
    ]
    sizes = Counter(keys)
    ranked = sorted(sizes, key=lambda key: (key[0] == n, -sizes[key], key))
    share = np.array([sizes[key] for key in keys]) / n
    shares = np.array([sizes[key] for key in ranked]) / n
    out.num_runs[members] = n
    out.num_classes[members] = len(ranked)
    out.vote_share[members] = share
    out.entropy[members] = -float((shares * np.log(shares)).sum()) + 0.0
    place = {key: at for at, key in enumerate(ranked)}
    out.class_id[members] = [place[key] for key in keys]
    out.is_majority[members] = share > 0.5 + _SLACK
    out.independence[members] = "low" if group.is_low else "ok"
    out.consensus_answer[members] = _consensus(group, [(key, sizes[key]) for key in ranked])
    far = np.where(group.relations.far < _JUDGED, group.relations.far, 0)
    within = {int(c): group.cluster == c for c in np.unique(group.cluster)}
    spreads = {c: float(far[np.ix_(places, places)].max()) for c, places in within.items()}
    out.spread[members] = [spreads[int(group.cluster[at])] if at >= 0 else 0 for at in group.which]
    tiers, reasons = _outcome(group, settings)
    out.tier[members] = tiers
    out.reason[members] = np.array(reasons, dtype=object)


def _consensus(group: _Group, ranked: list[tuple[tuple[int, str, int], int]]) -> str | None:
    (first, votes), *others = ranked
    is_tie = bool(others) and others[0][1] == votes
    if is_tie or votes < 2:
        return None
    # A cluster is named by its lowest place, and the most frequent answers come first.
    return group.distinct[first[0]].text


def _warnings(groups: list[_Group]) -> tuple[str, ...]:
    low = sum(group.is_low for group in groups)
    cut = sum(_UNCOMPARED in group.which for group in groups)
    found = []
    if low:
        found.append(
            f"{low} of {len(groups)} queries have runs of which more than half did the same; "
            "their agreement says little, and none of them is gold"
        )
    if cut:
        found.append(f"{cut} queries have too many distinct answers to compare all of them")
    return tuple(found)


def _empty(n: int, warnings: tuple[str, ...], num_judged: int) -> Agreement:
    return Agreement(
        num_runs=np.zeros(n, np.int32),
        num_classes=np.zeros(n, np.int32),
        vote_share=np.zeros(n),
        entropy=np.zeros(n),
        class_id=np.zeros(n, np.int32),
        spread=np.zeros(n),
        independence=np.full(n, "ok", dtype=object),
        consensus_answer=np.full(n, None, dtype=object),
        is_majority=np.zeros(n, bool),
        tier=np.full(n, "none", dtype=object),
        reason=np.full(n, None, dtype=object),
        warnings=warnings,
        num_judged=num_judged,
    )
