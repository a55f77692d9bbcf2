"""Versions that rest on flags, published: their card says so, and what is loaded is the same."""

from __future__ import annotations

import html
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest

from dataprune import flow
from dataprune.publishing.card import render_card
from dataprune.publishing.publisher import _said_at_building
from dataprune.tables.examples import first_columns
from dataprune.tables.parquet import write_table
from dataprune.tables.scores import read_scores
from tests.hub.server import LoopbackHub
from tests.hub.warm_client import WarmClient
from tests.publishing.cards import card_of, header, put
from tests.publishing.conftest import REPO, Built, act
from tests.tables.flagged import put_flags

LIKELY = np.arange(60) % 7 == 1
OPTIONS: dict[str, dict[str, Any]] = {"v1": {"relabel": True}, "v2": {"drop_likely": True}}


@pytest.fixture(scope="module")
def store(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """animals@v1 has suggested labels; animals@v2 has no row whose label is likely wrong."""
    folder = tmp_path_factory.mktemp("flagged")
    table = read_scores(built.scores)
    flags = put_flags(
        folder / "FLAGS.parquet",
        table.table.column("label").to_numpy(),
        LIKELY,
        class_names=table.meta["source"]["class_names"],
        warnings=["votes agree with each other on 80% only"],
    )
    for tag, how in OPTIONS.items():
        flow.prune(
            built.scores, name="animals", tag=tag, extra=[flags], store=folder / "store", **how
        )
    return folder / "store"


@pytest.mark.parametrize("tag", OPTIONS)
def test_a_version_is_loaded_as_it_was_published(
    hub: LoopbackHub, client: WarmClient, store: Path, tag: str
) -> None:
    local = flow.load("animals", tag, store=store)
    act(client, "publish", store=str(store), name="animals", tag=tag, repo=REPO)
    act(client, "promote", repo=REPO, tag=tag, alias="prod")
    for name in (tag, "prod"):
        loaded = act(client, "load", repo=REPO, tag=name, fresh=True)
        assert loaded["kept"] == local.rows.tolist()
        assert loaded["num_rows"] == {"v1": 60, "v2": 60 - int(LIKELY.sum())}[tag]
    rows = local.arrow().to_table()
    assert ("suggested_label" in rows.schema.names) == (tag == "v1")
    here = act(client, "load", repo="animals", tag=tag, store=str(store))
    assert loaded["rows"] == here["rows"]


@pytest.mark.parametrize("tag", OPTIONS)
def test_a_row_is_retracted_from_a_published_version(
    hub: LoopbackHub, client: WarmClient, store: Path, tag: str
) -> None:
    act(client, "publish", store=str(store), name="animals", tag=tag, repo=REPO)
    done = act(client, "retract", repo=REPO, tag=tag, rows=[1, 2])
    loaded = act(client, "load", repo=REPO, tag=done["published"]["tag"], fresh=True)
    kept = flow.load("animals", tag, store=store).rows
    assert loaded["kept"] == [r for r in kept.tolist() if r not in {1, 2}]


def test_cards_tell_what_was_done_and_how_far_to_trust_it(store: Path) -> None:
    for tag in OPTIONS:
        card = html.unescape(render_card(_card(store, tag)))
        assert "No budget was set." in card
        assert "the flags are weak: votes agree with each other on 80% only" in card
        assert "these flags were not audited" in card
        assert "--keep" not in card.split("## Reproduce")[1].split("```")[1]
        assert "--with FLAGS.parquet" in card
    assert "--relabel" in render_card(_card(store, "v1"))
    card = render_card(_card(store, "v2"))
    assert "--drop-likely" in card
    assert "Its label is likely wrong" in card
    assert "dropped before the others competed" in card


AUDIT: dict[str, Any] = {
    "tier": "flagged", "population": 400, "drawn": 60, "alpha": 0.2, "delta": 0.05,
    "verdicts": {"wrong": 50, "right": 8, "unsure": 2, "skipped": 0},
    "passed_share": 0.25, "passed_rows": 100,
}  # fmt: skip


@pytest.mark.parametrize("tag", OPTIONS)
def test_a_card_says_what_was_audited_and_what_passed(store: Path, tag: str) -> None:
    card = _card(store, tag)

    def said(audit: dict[str, Any]) -> str:
        about = {**card.scores_meta["flags"]["label_issue"], "audit": audit}
        meta = {**card.scores_meta, "flags": {"label_issue": about}}
        return html.unescape(render_card(replace(card, scores_meta=meta)))

    text = said(AUDIT)
    judged = "judged the labels of 60 of 400 rows that were flagged likely or suspect."
    assert judged in text
    assert "Of the 100 most suspicious ones (25%) at most 20% were flagged wrongly" in text
    assert "(confidence 95%)" in text
    text = said({**AUDIT, "tier": "likely", "passed_share": None, "passed_rows": 0})
    assert "60 of 400 rows that were flagged likely." in text
    assert "No part of these flags was shown to have at most 20% wrong ones." in text
    assert "has audited them" not in text


def command_of(card: Any, **prune: Any) -> str:
    """The command that a card gives, if the recipe asks for something."""
    recipe = {**card.manifest.recipe, "prune": {**card.manifest.recipe["prune"], **prune}}
    text = render_card(replace(card, manifest=card.manifest.model_copy(update={"recipe": recipe})))
    return text.split("## Reproduce")[1].split("```")[1]


def test_a_command_undoes_what_the_recipe_asks_for(store: Path) -> None:
    relabelled, dropped = (_card(store, tag) for tag in OPTIONS)
    assert "--no-" not in command_of(relabelled)
    assert "--relabel" in command_of(relabelled, drop_likely=True)
    assert "--no-drop-likely" in command_of(relabelled, drop_likely=True)
    assert "--no-relabel" in command_of(dropped, relabel=True)
    assert "--order source" in command_of(dropped, order="score")
    assert "--min-per-class 0" in command_of(dropped, min_per_class=5)


def test_a_command_names_every_table_that_was_joined(built: Built, tmp_path: Path) -> None:
    table = read_scores(built.scores)
    given = table.table.column("label").to_numpy()
    flags = put_flags(tmp_path / "FLAGS.parquet", given, LIKELY)
    mine = tmp_path / "mine.parquet"
    meta = {**table.meta, "scores": {"mine": {"score": "mine"}}, "unit_ids": ["another"]}
    first = table.table.select(table.table.schema.names[: first_columns(table.table)])
    write_table(mine, first.append_column("mine", pa.array(np.arange(60, dtype=np.float32))), meta)
    with_flags, with_mine = "--with FLAGS.parquet", "--with OTHER-SCORES.parquet"
    cases: dict[str, tuple[list[Path], dict[str, Any], tuple[bool, bool]]] = {
        "v1": ([], {}, (False, False)),
        "v2": ([flags], {}, (True, False)),
        "v3": ([flags], {"by": "label_issue"}, (True, False)),
        "v4": ([mine], {}, (False, True)),
        "v5": ([mine], {"by": "mine"}, (False, True)),
        "v6": ([mine, flags], {"by": "label_issue"}, (True, True)),
        "v7": ([flags, mine], {"by": "mine"}, (True, True)),
    }
    for tag, (extra, how, wanted) in cases.items():
        where: dict[str, Any] = {"keep": 30, "store": tmp_path / "store"}
        flow.prune(built.scores, name="animals", tag=tag, extra=extra, **where, **how)
        command = command_of(_card(tmp_path / "store", tag))
        assert (with_flags in command, with_mine in command) == wanted


def test_datasets_read_the_suggested_label_as_a_class(
    store: Path, tmp_path: Path, cache: dict[str, str]
) -> None:
    card = _card(store, "v1")
    features = {f["name"]: f for f in header(render_card(card))["dataset_info"][0]["features"]}
    assert features["suggested_label"]["dtype"] == features["label"]["dtype"]
    repository = put(store / "animals" / "v1", render_card(card), tmp_path / "repo")
    rows = datasets.load_dataset(repository, split="train", **cache)
    assert rows.features["suggested_label"] == datasets.ClassLabel(names=["cat", "dog", "owl"])
    changed = np.flatnonzero(np.asarray(rows["suggested_label"]) != np.asarray(rows["label"]))
    assert changed.tolist() == np.flatnonzero(LIKELY).tolist()
    scores = datasets.load_dataset(repository, "scores", split="train", **cache)
    assert scores["tier"][:3] == ["ok", "likely", "ok"]
    assert scores.features["suggested"] == scores.features["label"]


def _card(store: Path, tag: str) -> Any:
    version = flow.load("animals", tag, store=store)
    return card_of(
        version.folder, warnings=_said_at_building(version), scores_meta=version.scores.meta
    )
