"""What to keep: strategies in order, a budget, and the recipe's defaults for what is not asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dataprune.core.errors import UsageError, nearest
from dataprune.core.params import check_params
from dataprune.core.recipe_prune import PruneRecipe
from dataprune.selection import STRATEGIES, Strategy
from dataprune.tables.join import LABEL_ISSUE

AUTO = "auto"
_LAST = "hardest"  # orders what is left where filters alone are asked for; it drops nothing then


@dataclass(frozen=True)
class Step:
    """One strategy of several, with its parameters."""

    strategy: str
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def plugin(self) -> Strategy:
        """The strategy that is meant."""
        return _strategy(self.strategy)

    @property
    def reads_score(self) -> bool:
        """Whether it reads the score decided by, and not only one that its parameters name."""
        plugin = self.plugin
        named = plugin.drop is not None and any(self.params.get(name) for name in plugin.reads)
        return plugin.needs_score and not named

    @property
    def drops_label_issues(self) -> bool:
        """Whether it drops rows by flags of their labels."""
        return self.strategy == "flagged" and self.params.get("flag", LABEL_ISSUE) == LABEL_ISSUE


@dataclass(frozen=True)
class Choice:
    """What to keep.

    strategy, params: of the ranker, which comes last.
    keep: a float is a fraction in (0, 1], an int a count; None for every row that may be kept.
    balance: "none" (one global pool), "proportional" or "equal" (a quota per class), or "matched"
        (the quotas given, as a control copies them from its version).
    min_per_class: floor for every class that has rows.
    max_per_group: rows of one group of near-duplicates that may be kept; None for all.
    drop_likely: drop rows that are flagged likely before the rest competes.
    relabel: give the rows that are flagged likely a suggested label beside their own.
    before: filters, in order, that drop rows before the ranker; after `drop_likely`.
    """

    strategy: str
    keep: float | int | None
    params: dict[str, Any]
    balance: str = "none"
    min_per_class: int = 0
    seed: int = 0
    quotas: tuple[int, ...] | None = None
    max_per_group: int | None = None
    drop_likely: bool = False
    relabel: bool = False
    before: tuple[Step, ...] = ()

    @property
    def last(self) -> Step:
        """The ranker."""
        return Step(self.strategy, self.params)

    @property
    def reads_score(self) -> bool:
        """Whether some step reads the score decided by."""
        return any(step.reads_score for step in (*self.before, self.last))

    @property
    def drops_label_issues(self) -> bool:
        """Whether rows are dropped by flags of their labels."""
        return self.drop_likely or any(step.drops_label_issues for step in self.before)


def labels_of(names: Sequence[str]) -> list[str]:
    """What each step is called: its strategy, and the second of one strategy `NAME-2`."""
    seen: Counter[str] = Counter()
    labels = []
    for name in names:
        seen[name] += 1
        labels.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return labels


def make_choice(
    defaults: PruneRecipe,
    *,
    keep: float | int | None,
    strategy: str | Sequence[str] | None,
    params: Mapping[str, Any] | None,
    balance: str | None,
    min_per_class: int | None,
    seed: int | None,
    max_per_group: int | None = None,
    drop_likely: bool | None = None,
    relabel: bool | None = None,
) -> Choice:
    """What was asked for, and the recipe's defaults for what was not.

    Who asks for `drop_likely`, `relabel` or filters alone and names no `keep` keeps all the others:
    the recipe's `keep` was made for something else then, unless the recipe asks for that itself.

    strategy: one or several in order. params: NAME is of the last one, STEP.NAME of the one named.

    Raises:
        UsageError: neither says how much to keep, steps in an order or with parameters that they
            cannot have, or an option that another one leaves without effect.
    """
    drops = defaults.drop_likely if drop_likely is None else drop_likely
    relabels = defaults.relabel if relabel is None else relabel
    steps = _with_params(_asked(defaults, strategy), params or {})
    *before, last = steps
    filters_alone = last.plugin.order is None
    if filters_alone:
        before, last = steps, Step(_LAST)
    _check_order(before, last)
    removes = drops or any(step.drops_label_issues for step in before)
    if removes and relabels:
        raise UsageError(
            f"relabel has no effect with {'drop_likely' if drops else 'flagged'}: no row with a "
            "suggested label would be kept",
            hint="leave one out; what the recipe asks for goes by --no-relabel or --no-drop-likely",
        )
    anew = (drops and not defaults.drop_likely) or (relabels and not defaults.relabel)
    anew |= filters_alone and not defaults.steps
    wanted = defaults.keep if keep is None and not anew else keep
    if wanted is None and not (drops or relabels or filters_alone):
        raise UsageError("nothing says how much to keep", hint="give --keep 0.5 or --keep 25000")
    if wanted is not None and filters_alone:
        raise UsageError(
            f"{wanted} is to be kept, and {before[-1].strategy} chooses none: it only drops rows",
            hint="name after it what fills the budget, such as --strategy hardest, or leave --keep "
            "out to keep all the others",
        )
    return Choice(
        strategy=last.strategy,
        keep=wanted,
        params=last.params,
        balance=balance or defaults.class_balance,
        min_per_class=defaults.min_per_class if min_per_class is None else min_per_class,
        max_per_group=defaults.max_per_group if max_per_group is None else max_per_group,
        seed=defaults.seed if seed is None else seed,
        drop_likely=drops,
        relabel=relabels,
        before=tuple(before),
    )


def recipe_steps(recipe: PruneRecipe) -> list[Step]:
    """The steps that a recipe names; one of them in its short form."""
    return [Step(s.strategy, s.params) for s in recipe.steps] or [
        Step(recipe.strategy, recipe.params)
    ]


def _asked(defaults: PruneRecipe, strategy: str | Sequence[str] | None) -> list[Step]:
    """The steps asked for; those of the recipe if they are the same, with its parameters."""
    usual = recipe_steps(defaults)
    names = [strategy] if isinstance(strategy, str) else list(strategy or ())
    if not names or names == [step.strategy for step in usual]:
        return usual
    return [Step(name) for name in names]


def _with_params(steps: list[Step], params: Mapping[str, Any]) -> list[Step]:
    """Steps with the parameters asked for; one that is given any takes none of the recipe's."""
    labels = labels_of([step.strategy for step in steps])
    given: dict[str, dict[str, Any]] = {}
    for key, value in params.items():
        label, _, name = key.rpartition(".")
        label = label or labels[-1]
        if label not in labels:
            raise UsageError(f"{key} is of no step here", hint=nearest(label, labels))
        given.setdefault(label, {})[name] = value
    return [
        replace(step, params=given.get(label, step.params))
        for step, label in zip(steps, labels, strict=True)
    ]


def _check_order(before: Sequence[Step], last: Step) -> None:
    """Refuse steps that cannot follow each other, and parameters that a step does not take."""
    for step in before:
        if step.plugin.drop is None:
            raise UsageError(
                f"{step.strategy} fills the budget, so nothing can come after it",
                hint="let it be the last --strategy",
            )
        check_strategy(step.strategy, step.params)
    if last.plugin.order is None:
        raise UsageError(f"{last.strategy} only drops rows, so it cannot fill a budget")


def check_strategy(name: str, params: Mapping[str, Any]) -> Strategy:
    """The strategy of that name, if it takes these parameters.

    Raises:
        UsageError: no such strategy, or an unknown or missing parameter.
    """
    strategy = _strategy(name)
    check_params(strategy.function, params, what=f"strategy {name}")
    given = [each for each in strategy.one_of if params.get(each) is not None]
    if strategy.one_of and len(given) != 1:
        ways = " or ".join(strategy.one_of)
        told = f"takes one of {ways}, not both" if given else f"needs the parameter {ways}"
        raise UsageError(f"strategy {name} {told}", hint=f"give it as {strategy.one_of[0]}=VALUE")
    return strategy


def _strategy(name: str) -> Strategy:
    if name == AUTO:
        raise UsageError(
            "auto chooses a strategy by training on a share of the rows, and this trains nothing",
            hint="dataprune evaluate SCORES.parquet --choose --keep 0.3 tells what to give here",
        )
    return STRATEGIES.get(name)


def check_steps(recipe: PruneRecipe) -> None:
    """Check what a recipe says of strategies, before hours are spent on scores.

    Raises:
        UsageError: no such strategy or parameter, or steps that cannot follow each other.
    """
    steps = recipe_steps(recipe)
    filters = steps if steps[-1].plugin.order is None else steps[:-1]
    _check_order(filters, Step(_LAST))
    check_strategy(steps[-1].strategy, steps[-1].params)
