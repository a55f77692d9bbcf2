"""What a dataset card says of configurations, splits and files, and what else a folder means."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import blobs
from tests.sources.hub_desk import (
    DATA,
    Desk,
    card,
)

# --- cards


def test_a_cards_configurations_are_found_by_name(desk: Desk) -> None:
    en = {
        "config_name": "en",
        "data_files": [
            {"split": "train", "path": ["en/b.parquet", "en/a.parquet"]},
            {"split": "test", "path": "en/t.parquet"},
        ],
    }
    de = {"config_name": "de", "data_files": "de/*.parquet"}
    fr = {
        "config_name": "fr",
        "data_dir": "fr",
        "data_files": [{"split": "train", "path": "*.parquet"}],
    }
    it = {"config_name": "it", "data_dir": "it"}
    year = {"config_name": 2024, "data_files": "./fr/x.parquet"}
    files = {
        name: blobs(3 * n)
        for n, name in enumerate(
            [
                "en/a.parquet",
                "en/b.parquet",
                "en/t.parquet",
                "en/left.parquet",
                "de/1.parquet",
                "de/2.parquet",
                "fr/x.parquet",
                "it/train.parquet",
                "it/test.parquet",
            ],
            start=1,
        )
    }
    desk.publish("acme/words", {**files, "README.md": card(en, de, fr, it, year)})
    told = desk.opened(f"{DATA}acme/words/en")
    assert [file["path"] for file in told["files"]] == ["en/b.parquet", "en/a.parquet"]
    assert [file["path"] for file in told["test"]["files"]] == ["en/t.parquet"]
    assert desk.names(f"{DATA}acme/words/de") == ["de/1.parquet", "de/2.parquet"]
    assert desk.names(f"{DATA}acme/words/fr") == ["fr/x.parquet"]
    assert desk.names(f"{DATA}acme/words/it") == ["it/train.parquet"]
    assert desk.opened(f"{DATA}acme/words/it")["test"]["num_rows"] == 27
    assert desk.names(f"{DATA}acme/words/2024") == ["fr/x.parquet"]
    assert desk.names(f"{DATA}acme/words/en/left.parquet") == ["en/left.parquet"]
    assert desk.names(f"{DATA}acme/words/de/*.parquet") == ["de/1.parquet", "de/2.parquet"]
    message = desk.refused(f"{DATA}acme/words")
    assert "several configurations: 2024, de, en, fr, it" in message
    assert f"name one: {DATA}acme/words/2024" in message
    message = desk.refused(f"{DATA}acme/words@main/eng")
    assert "acme/words has no eng" in message
    assert "did you mean en?" in message


@pytest.mark.parametrize(
    ("configs", "wanted"),
    [
        ([{"config_name": "only", "data_files": "a.parquet"}], "a.parquet"),
        (
            [
                {"config_name": "x", "data_files": "a.parquet"},
                {"config_name": "default", "data_files": "b.parquet"},
            ],
            "b.parquet",
        ),
        (
            [
                {"config_name": "x", "data_files": "a.parquet"},
                {"config_name": "y", "data_files": "b.parquet", "default": True},
            ],
            "b.parquet",
        ),
        ([{"data_files": {"split": "train", "path": "b.parquet"}}], "b.parquet"),
        ([{"config_name": "all", "data_files": [{"split": "train", "path": "**"}]}], "a.parquet"),
        ([{"config_name": "none"}], "a.parquet"),
    ],
)
def test_a_default_configuration_is_read(
    desk: Desk, configs: list[dict[str, Any]], wanted: str
) -> None:
    files = {"a.parquet": blobs(6), "b.parquet": blobs(9), ".x/c.parquet": blobs(3)}
    desk.publish("acme/default", {**files, "README.md": card(*configs)})
    told = desk.opened(f"{DATA}acme/default")
    assert told["files"][0]["path"] == wanted
    assert desk.opened(told["uri"]) == told


@pytest.mark.parametrize(
    ("data_files", "message"),
    [
        ("not/there.parquet", "not/there.parquet, which the card of acme/bad names, is not there"),
        (
            [{"split": "train", "path": "no/*.parquet"}, {"split": "test", "path": "a.parquet"}],
            "no file of acme/bad matches no/*.parquet, which its card names for split train",
        ),
        ([{"split": "dev", "path": "a.parquet"}], "has no split train"),
        ({"train": "a.parquet"}, "in a way that is not read: {'train': 'a.parquet'}"),
        ([{"split": "train", "path": [1]}], "name the files yourself: hf://datasets/acme/bad/**/"),
        (7, "in a way that is not read: 7"),
        ([{"split": "train", "path": "**"}], "format that is not read from the Hub: a.bin"),
    ],
)
def test_a_card_that_names_what_is_not_there_is_refused(
    desk: Desk, data_files: Any, message: str
) -> None:
    config = {"config_name": "c", "data_files": data_files}
    desk.publish("acme/bad", {"a.parquet": blobs(3), "a.bin": "x", "README.md": card(config)})
    assert message in desk.refused(f"{DATA}acme/bad")


def test_a_card_of_another_shape_is_refused_and_a_named_file_is_read(desk: Desk) -> None:
    odd = "---\nconfigs: everything\n---\n"
    desk.publish("acme/odd", {"a.parquet": blobs(3), "README.md": odd})
    assert "does not declare its configurations as a list" in desk.refused(f"{DATA}acme/odd")
    assert desk.names(f"{DATA}acme/odd/**/*.parquet") == ["a.parquet"]
