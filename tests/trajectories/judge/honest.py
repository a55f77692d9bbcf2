"""Settings that lose no time, and a judge that answers honestly."""

from __future__ import annotations

import re
from typing import Any

from dataprune.core.recipe_curate import JudgeRecipe
from tests.trajectories.judge.server import Act, JudgeServer, says


def settings(server: JudgeServer | None, **wanted: Any) -> JudgeRecipe:
    """Settings for a server: short waits between retries."""
    values: dict[str, Any] = {
        "model": "m",
        "key_env": "TEST_JUDGE_KEY",
        "timeout_s": 5,
        "deadline_s": 15,
        "retry_s": 0.02,
        "concurrency": 4,
    }
    if server is not None:
        values["base_url"] = server.base_url
    return JudgeRecipe(**values | wanted)


def texts_of(request: dict[str, Any]) -> dict[str, str]:
    """The texts of a request by their title, as a judge that respects the fence reads them."""
    system, user = (message["content"] for message in request["messages"])
    fence = re.search(r"with the mark (==\w+==)", system)
    assert fence is not None
    parts = user.split(f"\n{fence[1]}\n")
    titles = [part.rsplit("\n", 1)[-1].strip() for part in parts[0:-1:2]]
    return dict(zip(titles, parts[1::2], strict=True))


def honest(server: JudgeServer, request: dict[str, Any]) -> Act:
    """A good judge: answers are the same if their words are, in any case."""
    texts = texts_of(request)
    fields = request["response_format"]["json_schema"]["schema"]["properties"]
    answers = [text.strip().lower() for title, text in texts.items() if title[:6] == "ANSWER"]
    said: dict[str, Any] = {"reasoning": "because"}
    if "equivalent" in fields:
        said["equivalent"] = answers[0] == answers[1]
    elif "classes" in fields:
        said["classes"] = [answers.index(answer) + 1 for answer in answers]
    elif "correct" in fields:
        said["correct"] = answers[0] == texts["REFERENCE"].strip().lower()
    elif "category" in fields:
        said["category"] = "Counting" if "how many" in texts["QUESTION"] else "Ranking"
    else:
        grade = 0.9 if "print" in texts["RUN"] else 0.2
        said |= dict.fromkeys(("executability", "answer", "alignment", "technique"), grade)
    return says(said)
