"""What a recipe says of trajectories: how to read them, what to reject, what to choose."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from dataprune.core.recipe_training import Strict

# One code may stand without brackets.
Codes = Annotated[
    tuple[str, ...], BeforeValidator(lambda v: tuple(v.split(",")) if isinstance(v, str) else v)
]
Preset = Literal["rules-only", "datamind", "simpletir", "sft", "rl"]


class VoidRules(Strict):
    """Turns without a complete action or answer."""

    max: int = Field(0, ge=0, description="how many a trajectory may have")
    scope: Literal["any", "last_only"] = "any"
    kinds: tuple[
        Literal["empty", "text_only", "partial_action", "unparsable", "truncated"], ...
    ] = Field((), description="which kinds count; default: the dialect's")


class LengthRules(Strict):
    """Limits in tokens: of the tokenizer if one is named, else characters / 4."""

    answer: int = Field(1024, ge=1)
    total: int = Field(8192, ge=1)
    observation: int = Field(2048, ge=1)
    tokenizer: str | None = Field(None, description="a tokenizer.json file")


class RulesRecipe(Strict):
    """Rules by code alone."""

    reject: Codes = Field((), description="codes that reject, whatever they do by default")
    flag: Codes = Field((), description="codes that are noted only")
    only: Codes = Field(
        (),
        description="of what is found by looking at a run, the only codes that reject, beside "
        "S_PARSE, S_EMPTY and X_SECRET; none: no such limit",
    )
    off: Codes = Field((), description="codes that are not looked for")
    repair: Codes = Field(
        (), description="repairs to make, such as P_TRIM_AFTER_ACTION; none by default"
    )
    max_turns: int = Field(10, ge=1, description="turns without an answer that are too many")
    void: VoidRules = VoidRules()
    length: LengthRules = LengthRules()
    fail_fast: bool = Field(
        False, description="stop at the first reason to reject, but look for secrets"
    )


class DuplicatesRecipe(Strict):
    """Copies, before votes are counted, and overlap with evaluation data."""

    near_query: float | None = Field(
        0.8, ge=0.5, le=1, description="Jaccard index at which two prompts are one query; null: off"
    )
    near_trajectory: float | None = Field(
        0.9, ge=0.5, le=1, description="at which two runs of a query are copies; null: off"
    )
    against: tuple[str, ...] = Field((), description="files of evaluation data to keep out")
    words: int = Field(13, ge=3, description="words in a row that make an overlap")


class GroupsRecipe(Strict):
    """Agreement of several runs of one query."""

    policy: Literal["off", "unanimous", "majority", "share"] = "off"
    share: float = Field(2 / 3, gt=0, le=1, description="of votes, for silver and policy share")
    min_n: int = Field(3, ge=2, description="runs that a query must have")
    tolerance: float = Field(1e-4, ge=0, description="relative, between numbers")
    keep_frontier: bool = Field(False, description="a majority below unanimity is silver, not lost")


class JudgeRecipe(Strict):
    """A model behind an OpenAI-compatible endpoint."""

    task: Literal["equivalence", "correctness", "quality", "category"] = Field(
        "equivalence",
        description="of answers in votes, of answers and references, of whole runs, or the "
        "category of each query without one",
    )
    base_url: str | None = Field(
        None, description="such as http://127.0.0.1:8000/v1; null: no judge"
    )
    model: str | None = None
    key_env: str = Field("OPENAI_API_KEY", description="environment variable with the key")
    votes: int = Field(1, ge=1)
    max_tokens: int = Field(1024, ge=1)
    timeout_s: float = Field(60, gt=0, description="of one request, from first to last byte")
    deadline_s: float = Field(180, gt=0, description="of one question with all its retries")
    retry_s: float = Field(1, gt=0, description="wait before the first retry; doubled each time")
    characters: int = Field(
        24_000, ge=400, description="of all texts in a question; longer ones lose their middle"
    )
    tolerance: float = Field(0.03, ge=0, lt=1, description="relative, between numbers in answers")
    concurrency: int = Field(8, ge=1)
    price_in: float = Field(0, ge=0, description="per million tokens")
    price_out: float = Field(0, ge=0, description="per million tokens")
    max_cost: float | None = Field(None, ge=0, description="refuse to begin above it")
    max_undecided: float = Field(0.02, ge=0, le=1, description="share above which the exit is 3")
    quality: float = Field(0.6, ge=0, le=1, description="least score to keep")


class SelectRecipe(Strict):
    """Which of a query's runs to keep, and how queries and categories are balanced."""

    policy: Literal["all", "shortest", "random", "best", "top_m", "judge_best", "bt"] = "all"
    max_per_query: int | None = Field(None, ge=1)
    k: int = Field(4, ge=2, description="bt: candidates drawn per query")
    beta: float = Field(0.3, gt=0, description="bt: temperature of the reward")
    mix: float = Field(0, ge=0, description="bt: curated rows per real one, lambda of the bound")
    min_reward: float | None = None
    bands: tuple[Literal["unsolved", "hard", "medium", "easy", "trivial"], ...] = Field(
        (), description="bands of pass rate to keep; default: all"
    )
    is_learned: bool = Field(False, description="bt: the reward is a model's, no measured one")
    keywords: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="{category: words of prompts} for rows without a category of their own",
    )
    max_share: float | None = Field(None, gt=0, le=1, description="of a category, at most")
    balance: float | None = Field(
        None, ge=0, le=1, description="keep n^balance of a category's n runs, to scale; 0: equal"
    )
    pairs_margin: float | None = Field(
        None, ge=0, description="write best-versus-worst pairs that differ by this reward"
    )


class CurateRecipe(Strict):
    """One curation of trajectories."""

    format: str | None = Field(None, description="of the files; found by looking where unset")
    dialect: str | None = Field(None, description="a name or a YAML file; found where unset")
    preset: Preset = "rules-only"
    group_by: str | None = Field(None, description="field of the rows that names the query")
    rules: RulesRecipe = RulesRecipe()
    duplicates: DuplicatesRecipe = DuplicatesRecipe()
    groups: GroupsRecipe = GroupsRecipe()
    judge: JudgeRecipe = JudgeRecipe()
    select: SelectRecipe = SelectRecipe()
