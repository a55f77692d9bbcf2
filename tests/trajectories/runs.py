"""Tiny runs of an agent, good and bad, and curations of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dataprune
from dataprune.publishing.curated import CurateResult
from dataprune.tables.scores import read_scores


def run(query: int, answer: str, *, code: str = "print(1)", reward: float = 1.0) -> dict[str, Any]:
    """An agent that executes and then answers, in the dialect of MINT."""
    return {
        "task_id": f"q{query}",
        "reward": reward,
        "messages": [
            {"role": "user", "content": f"Task:\nWhat is number {query} in the book of numbers?"},
            {"role": "assistant", "content": f"<thought>go</thought><execute>{code}</execute>"},
            {"role": "user", "content": "Observation:\n1"},
            {"role": "assistant", "content": f"<solution>{answer}</solution>"},
        ],
    }


def bad(query: int, **changed: str) -> dict[str, Any]:
    """The same with other texts of the agent: first or last."""
    row = run(query, "1")
    for place, text in changed.items():
        row["messages"][{"first": 1, "last": 3}[place]]["content"] = text
    return row


def write(path: Path, rows: list[Any]) -> Path:
    """JSON Lines; a text stands as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogatepass")
    return path


ROWS = [
    run(0, "7"),
    bad(1, last="I do not know where to look."),  # no answer, void
    run(2, "8", code="print(2)"),
    "{not json",
    bad(3, first="<execute>print(3)</execute>\nObservation:\n3\n", last="<solution>3</solution>"),
    run(0, "7"),  # a copy of the first
    bad(4, last="<solution>4</solution>", first="<execute>KEY='AKIA" + "Q7" * 8 + "'</execute>"),
]


def curate(files: Path | str, tmp_path: Path, *, tag: str = "v1", **changes: Any) -> CurateResult:
    settled = {name.replace("__", "."): value for name, value in changes.items()}
    return dataprune.curate(
        files, name="runs", tag=tag, store=tmp_path / "store", work=tmp_path / "work",
        changes={"dialect": "mint", **settled},
    )  # fmt: skip


def ledger_of(made: CurateResult) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_scores(made.curation.ledger).table.to_pylist()
    return rows
