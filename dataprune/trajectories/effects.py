"""Settings of a curation that would change nothing are refused: one that is ignored misleads."""

from __future__ import annotations

from typing import Any

from dataprune.core.errors import UsageError
from dataprune.core.recipe_curate import CurateRecipe, JudgeRecipe
from dataprune.core.recipe_training import Strict

_REMEDY = "set that too, or leave this out"


def check_effects(asked: CurateRecipe, settled: CurateRecipe) -> None:
    """See to it that whatever is asked for, and is not the default, changes something.

    asked: before the preset, settled: with it.

    Raises:
        UsageError: the first setting that has no effect, and what it needs.
    """
    for section, needs in _needs(settled).items():
        own = getattr(asked, section)
        for name, need in needs.items():
            given = name in own.model_fields_set and getattr(own, name) != _default(own, name)
            if given and need is not None:
                raise UsageError(f"{section}.{name} has no effect without {need}", hint=_REMEDY)
    judge, groups = settled.judge, settled.groups
    if judge.base_url is not None and judge.task == "equivalence" and groups.policy == "off":
        raise UsageError(
            "a judge of equivalence has nothing to judge where runs do not vote",
            hint="set groups.policy, or judge.task to correctness or quality",
        )


def _default(section: Strict, name: str) -> Any:
    field = type(section).model_fields[name]
    return field.get_default(call_default_factory=True)


def _needs(settled: CurateRecipe) -> dict[str, dict[str, str | None]]:
    """{section: {setting: what it needs and lacks, None where it has it}}."""
    groups, judge = settled.groups, settled.judge
    votes = "groups.policy" if groups.policy == "off" else None
    has_share = groups.policy in {"share", "majority"}
    server = "judge.base_url" if judge.base_url is None else None
    bt = None if settled.select.policy == "bt" else "select.policy: bt"
    grades = None if judge.task == "quality" else "judge.task: quality"
    asks_server = {name: server for name in JudgeRecipe.model_fields if name != "base_url"}
    return {
        "duplicates": {"words": None if settled.duplicates.against else "duplicates.against"},
        "groups": {
            "share": None if has_share else "groups.policy: share or majority",
            **dict.fromkeys(("min_n", "tolerance", "keep_frontier"), votes),
        },
        "judge": {
            **asks_server,
            "quality": server or grades,
            "max_undecided": server and votes and f"{votes} or {server}",
        },
        "select": dict.fromkeys(("k", "beta", "mix", "is_learned"), bt),
    }
