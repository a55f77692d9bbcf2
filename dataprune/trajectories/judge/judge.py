"""The judge: questions -> keys -> cache -> calls -> votes -> verdicts.

What an item gets hangs on the replies alone, not on which came first: calls run side by side and
are put together in the order of the items. Each reply is stored as it comes, so whatever stops a
run, the same run asks for the rest only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dataprune.core.errors import UsageError
from dataprune.core.fingerprint import fingerprint
from dataprune.core.protocols import OnProgress
from dataprune.core.recipe_curate import JudgeRecipe
from dataprune.trajectories.judge.cache import Add, Cache
from dataprune.trajectories.judge.client import Client, Failure, Usage, request_body
from dataprune.trajectories.judge.prompts import PROMPT_VERSION, Prompt, write_prompt
from dataprune.trajectories.judge.replies import Reply, read_reply
from dataprune.trajectories.judge.verdicts import (
    CategoryItem,
    CorrectnessItem,
    EquivalenceItem,
    Item,
    QualityItem,
    Verdict,
    Vote,
    count,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")

MOST_FAILURES = 10
"""Questions in a row without a reply after which no more are asked."""

_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Estimate:
    """What asking would take.

    cached: votes that need no call: their reply is there, or another vote asks the same.
    tokens_in: characters / 4. tokens_out: max_tokens for each call. cost: of these.
    """

    calls: int
    cached: int
    tokens_in: int
    tokens_out: int
    cost: float


@dataclass(frozen=True, slots=True)
class Spent:
    """What was used so far, as the server counted; replies from the cache are free.

    uncounted: replies for which the server gave no count. Requests whose reply was lost are in no
    figure.
    """

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    uncounted: int = 0


@dataclass(frozen=True, slots=True)
class _Question:
    """One vote on one item, as the cache knows it."""

    place: int
    vote: int
    key: str
    order: tuple[int, ...]
    is_cut: bool
    characters: int


class Judge:
    """Asks a model behind an OpenAI-compatible endpoint.

    work: folder of the cache. seed: of the orders in which answers are shown, and of the requests.
    on_progress: told of each reply, from another thread.
    spent: what was used so far. stopped: why no more questions are asked; None while they are.

    Raises:
        UsageError: settings that cannot work: no base_url, no model, a cap without prices; and
            from the four methods that judge, when it may cost more than max_cost.
        HopelessError: from these, before any reply: the server refuses whatever is asked, or
            cannot be reached. All other failures are undecided verdicts.
        DatapruneError: the cache cannot be used.
    """

    def __init__(
        self,
        settings: JudgeRecipe,
        work: Path,
        seed: int,
        *,
        on_progress: OnProgress | None = None,
    ) -> None:
        if settings.model is None:
            raise UsageError("the judge has no model", hint="name one that the server serves")
        if settings.max_cost is not None and not settings.price_in + settings.price_out:
            raise UsageError(
                "max_cost has no effect without prices",
                hint="set price_in and price_out, per million tokens",
            )
        self.settings, self.model, self.seed = settings, settings.model, seed
        self.spent = Spent()
        self.stopped: str | None = None
        self._client = Client(settings, seed=seed)
        self._cache = Cache(work)
        self._on_progress = on_progress
        self._failures = 0  # in a row

    def equivalent(self, items: Sequence[EquivalenceItem]) -> list[Verdict[tuple[int, ...]]]:
        """Classes of equivalent answers, see `Verdict`; the answers' order does not matter."""
        return self._verdicts(items)

    def correct(self, items: Sequence[CorrectnessItem]) -> list[Verdict[bool]]:
        """Whether each answer agrees with its reference."""
        return self._verdicts(items)

    def quality(self, items: Sequence[QualityItem]) -> list[Verdict[bool]]:
        """Whether each run is good enough, `settings.quality`; its grade is the verdict's score."""
        return self._verdicts(items)

    def category(self, items: Sequence[CategoryItem]) -> list[Verdict[str]]:
        """The kind of task of each question, one of `CATEGORIES`."""
        return self._verdicts(items)

    def preview(self, items: Sequence[Item]) -> Estimate:
        """What judging these items would take; makes no call."""
        questions = self._questions(items)
        return self._estimate(questions, self._cache.known(q.key for q in questions))

    def _verdicts(self, items: Sequence[Item]) -> list[Verdict[Any]]:
        """Verdicts in the order of the items."""
        questions = self._questions(items)
        known = self._cache.known(q.key for q in questions)
        self._check_cost(self._estimate(questions, known))
        outcomes: dict[str, Reply | Failure] = {**known}
        wanted = list({q.key: q for q in questions if q.key not in known}.values())
        if wanted:
            _run_apart(self._ask_all(wanted, items, outcomes))
        votes: list[list[Vote[Any]]] = [[] for _ in items]
        for q in questions:
            vote = self._vote(items[q.place], q, outcomes[q.key], cached=q.key in known)
            votes[q.place].append(vote)
        cut = {q.place for q in questions if q.is_cut}
        return [count(given, is_cut=place in cut) for place, given in enumerate(votes)]

    def _questions(self, items: Sequence[Item]) -> list[_Question]:
        made = []
        for place, item in enumerate(items):
            for vote in range(self.settings.votes):
                prompt = self._prompt(item, vote)
                body = request_body(prompt, self.settings, vote=vote, seed=self.seed)
                key = fingerprint({"version": PROMPT_VERSION, "vote": vote, "request": body})
                size = sum(len(message["content"]) for message in prompt.messages)
                made.append(_Question(place, vote, key, prompt.order, prompt.is_cut, size))
        return made

    def _prompt(self, item: Item, vote: int) -> Prompt:
        return write_prompt(
            item,
            vote=vote,
            seed=self.seed,
            characters=self.settings.characters,
            tolerance=self.settings.tolerance,
        )

    def _estimate(self, questions: Sequence[_Question], known: dict[str, Reply]) -> Estimate:
        new = {q.key: q.characters for q in questions if q.key not in known}
        tokens_in = sum(-(-size // _CHARACTERS_PER_TOKEN) for size in new.values())
        tokens_out = len(new) * self.settings.max_tokens
        cost = self._cost(tokens_in, tokens_out)
        return Estimate(len(new), len(questions) - len(new), tokens_in, tokens_out, cost)

    def _cost(self, tokens_in: int, tokens_out: int) -> float:
        settings = self.settings
        return (tokens_in * settings.price_in + tokens_out * settings.price_out) / 1e6

    def _check_cost(self, estimate: Estimate) -> None:
        limit = self.settings.max_cost
        if limit is None or not estimate.calls or self.spent.cost + estimate.cost <= limit:
            return
        before = f" after {self.spent.cost:.4g} spent" if self.spent.calls else ""
        raise UsageError(
            f"{estimate.calls} calls to the judge may cost up to {estimate.cost:.4g}{before}, "
            f"above max_cost {limit:g}",
            hint="raise max_cost, lower votes or max_tokens, or judge fewer",
        )

    async def _ask_all(
        self, wanted: list[_Question], items: Sequence[Item], outcomes: dict[str, Reply | Failure]
    ) -> None:
        """Fill in outcomes: the first question alone, as it may show that none will work."""
        waiting = iter(wanted)
        num_known = len(outcomes)

        async def work(add: Add, *, most: int | None = None) -> None:
            for taken, question in enumerate(waiting, 1):
                outcomes[question.key] = await self._ask(question, items, add)
                if self._on_progress is not None:
                    done = len(outcomes) - num_known
                    told = {"label": "judge", "epoch": done, "epochs": len(wanted)}
                    self._on_progress("judge", told)
                if taken == most:
                    return

        with self._cache.adding() as add:
            async with self._client:
                await work(add, most=1)
                try:
                    async with asyncio.TaskGroup() as group:
                        for _ in range(min(self.settings.concurrency, len(wanted) - 1)):
                            group.create_task(work(add))
                except ExceptionGroup as failed:
                    raise failed.exceptions[0] from None

    async def _ask(self, question: _Question, items: Sequence[Item], add: Add) -> Reply | Failure:
        if self.stopped is not None:
            return Failure(f"not asked: {self.stopped}")
        prompt = self._prompt(items[question.place], question.vote)
        answered = await self._client.ask(prompt, vote=question.vote)
        if isinstance(answered, Failure):
            self._failures += 1
            if self._failures >= MOST_FAILURES and self.stopped is None:
                self.stopped = f"{MOST_FAILURES} questions in a row failed"
                logger.warning(
                    "%s (%s): the judge is asked no more, and what is left is undecided",
                    self.stopped,
                    f"{answered.reason}: {answered.said}" if answered.said else answered.reason,
                )
            return answered
        self._failures = 0
        reply, usage = answered
        self._count(usage)
        return add(question.key, self.model, reply)

    def _count(self, usage: Usage) -> None:
        spent = self.spent
        tokens_in = spent.tokens_in + (usage.tokens_in or 0)
        tokens_out = spent.tokens_out + (usage.tokens_out or 0)
        self.spent = Spent(
            calls=spent.calls + 1,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            cost=self._cost(tokens_in, tokens_out),
            uncounted=spent.uncounted + (usage.tokens_in is None or usage.tokens_out is None),
        )

    def _vote(
        self, item: Item, question: _Question, outcome: Reply | Failure, *, cached: bool
    ) -> Vote[Any]:
        key, order = question.key, question.order
        if isinstance(outcome, Failure):
            return Vote(None, order, "", key, cached=False, problem=outcome.reason)
        read = read_reply(outcome, item, order, quality=self.settings.quality)
        return Vote(
            value=read.value,
            order=order,
            raw=outcome.refusal or outcome.content,
            key=key,
            cached=cached,
            problem=read.problem,
            reasoning=read.reasoning,
            score=read.score,
        )


def pairs_judge(
    judge: Judge,
) -> Callable[[Sequence[tuple[str, str, str]]], list[bool | None]]:
    """For grouping: (question, answer a, answer b) -> the same, not the same, or None: undecided.

    (q, a, b) and (q, b, a) are one question and have one answer. All pairs of a run are best asked
    in one call, so that its cost is known before it begins.
    """

    def same(pairs: Sequence[tuple[str, str, str]]) -> list[bool | None]:
        items = [EquivalenceItem(question, (a, b)) for question, a, b in pairs]
        values = [verdict.value for verdict in judge.equivalent(items)]
        return [None if value is None else value == (0, 0) for value in values]

    return same


def undecided_share(verdicts: Sequence[Verdict[Any]]) -> float:
    """Share of verdicts without a value; 0 of none. Above `max_undecided` a run exits with 3."""
    return sum(v.value is None for v in verdicts) / len(verdicts) if verdicts else 0.0


def _run_apart(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread of its own: the caller may have an event loop, as notebooks do.

    Ctrl-C in the caller cancels it and waits until it has ended.
    """
    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(main)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(loop.run_until_complete, task)
            try:
                return running.result()
            except KeyboardInterrupt:
                loop.call_soon_threadsafe(task.cancel)
                raise
    finally:
        loop.close()
