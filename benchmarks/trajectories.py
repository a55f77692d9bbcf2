"""What `dataprune curate` finds in agents' real runs, what its filters buy, and what it costs.

Counts: EXPECTED.json beside the data (DATAPRUNE_DATA), through the whole command.

Lift: how often kept runs succeed, less how often random runs of the same lengths do. No filter sees
who succeeded, but codes marked "sees the end" know how a run ended, and that says who failed. The
random sets have the kept set's size and as many runs of each tenth of the lengths (tokens): their
mean in closed form. Intervals: 1,000 bootstrap draws of queries, 95 %.

Cost: benchmarks/trajectories_scale.py.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.machine import describe
from benchmarks.trajectories_scale import curate, measure
from dataprune.trajectories.table import stored_rows

DATA = Path(os.environ.get("DATAPRUNE_DATA", "../shared/data")) / "trajectories"
MINT, TAU = DATA / "mint-bench", DATA / "tau-bench" / "gpt-4o-airline.json"
WEBDANCER = DATA / "webdancer" / "sample_traj.jsonl"
DRAWS = 1000
MARKED = ("--dialect", "mint")  # one turn in ten of gpt-3.5 is void: too many to tell by
# The last: MINT answers a wrong solution, so a run that saw nothing ended on a right one.
SEE_THE_END = {
    "F_MAX_TURNS", "F_NO_ANSWER", "F_ENV_ERROR", "F_TIMEOUT", "F_TRUNCATED", "X_NO_OBSERVATION",
}  # fmt: skip
STRUGGLE = {"X_ERRORS", "X_REPEAT_ACTION_2"}  # flags
OUTSIDE = 'rules.flag=["F_TEXT_OUTSIDE_TAGS"]'
PRESETS = {
    "preset simpletir": ("--preset", "simpletir"),
    "preset datamind": ("--preset", "datamind"),
    "preset datamind, text outside tags noted": ("--preset", "datamind", "--set", OUTSIDE),
    "preset sft": ("--preset", "sft"),
}


@dataclass
class Run:
    """One curation: the ledger's rows, the trajectories, and for lift the model of each."""

    ledger: list[dict[str, Any]]
    rows: list[Any]
    models: np.ndarray

    @property
    def success(self) -> np.ndarray:
        """1 or 0 for each run."""
        return np.array([bool(r.success) if r.reward is None else r.reward >= 1 for r in self.rows])

    def codes(self, row: int) -> dict[str, str]:
        """{code: severity} of a row."""
        return {r["code"]: r["severity"] for r in self.ledger[row]["reasons"]}


def run() -> dict[str, Any]:
    models = sorted(path.name for path in MINT.iterdir())
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        runs = {model: curated(MINT / model, work / model, *MARKED) for model in models}
        runs["mint, all four"] = curated(MINT, work / "all", *MARKED)
        runs["tau-bench"] = curated(TAU, work / "tau")
        listed = json.loads((DATA / "EXPECTED.json").read_text())
        counts = [row for model in models for row in mint_counts(model, runs[model], listed)]
        counts += tau_counts(runs["tau-bench"], listed["tau-bench"])
        counts += webdancer_counts(curated(WEBDANCER, work / "w"), listed["webdancer"])
        lifts = [row for name, found in runs.items() for row in code_lifts(name, found)]
        for what, settings in PRESETS.items():
            for data, path, read in (("mint, all four", MINT, MARKED), ("tau-bench", TAU, ())):
                found = curated(path, work / what / data, *read, *settings)
                keep = np.array([row["decision"] == "keep" for row in found.ledger])
                lifts += set_lifts(data, what, found, keep)
    more = {"lift": lifts, "cost": measure(MINT)}
    return {"rows": counts, "tables": more, **describe(draws=DRAWS)}


def curated(path: Path, folder: Path, *settings: str) -> Run:
    """The whole command on files."""
    told = curate(path, folder, *settings)["told"]
    rows = list(stored_rows(Path(told["rows"])))
    models = np.array([r.traj_id.partition("/")[0] if "/" in r.traj_id else "" for r in rows])
    return Run(pq.read_table(told["ledger"]).to_pylist(), rows, models)


def mint_counts(model: str, found: Run, listed: dict[str, Any]) -> list[dict[str, Any]]:
    codes = [Counter(r["code"] for r in row["reasons"]) for row in found.ledger]
    ends = Counter(row.termination for row in found.rows)
    counters = [json.loads(row.meta)["state"]["agent_action_count"] for row in found.rows]
    invalid = [counter["invalid_action"] for counter in counters]
    void = [counts["F_VOID_TURN"] > 0 for counts in codes]
    counted = {
        "n": len(found.rows),
        "success": int(found.success.sum()),
        "void_traj": sum(void),
        "void_turns": sum(counts["F_VOID_TURN"] for counts in codes),
        "env_invalid_traj": sum(count > 0 for count in invalid),
        "fabricated_observation_traj": sum(counts["F_FABRICATED_OBS"] > 0 for counts in codes),
        "fabricated_observation_turns": sum(counts["F_FABRICATED_OBS"] for counts in codes),
        "no_final_answer": sum(counts["F_NO_ANSWER"] > 0 for counts in codes),
        **{f"term_{word}": ends[word] for word in ends},
    }
    agree = sum(v == (count > 0) for v, count in zip(void, invalid, strict=True))
    rows = compared(model, counted, listed["mint-bench"][model])
    return [*rows, told(model, "F_VOID_TURN as env_invalid says", agree, "")]


def tau_counts(found: Run, listed: dict[str, Any]) -> list[dict[str, Any]]:
    rates = {row["query_id"]: row["pass_rate"] for row in found.ledger}
    counted = {
        "n": len(found.rows),
        "tasks": len(rates),
        "trials": len(found.rows) // len(rates),
        "mean_reward": float(np.mean([row.reward for row in found.rows])),
        "pass_rate_hist": {str(r): n for r, n in sorted(Counter(rates.values()).items())},
        "ends_with_tool": sum(row.messages[-1].role == "tool" for row in found.rows),
        "solve_none": sum(rate == 0 for rate in rates.values()),
        "solve_all": sum(rate == 1 for rate in rates.values()),
    }
    return compared("tau-bench", counted, listed)


def webdancer_counts(found: Run, listed: dict[str, Any]) -> list[dict[str, Any]]:
    form = {"schema", "format", "void", "termination", "fabrication"}
    codes = [{r["code"] for r in row["reasons"]} for row in found.ledger]
    rejects = [
        {r["stage"] for r in row["reasons"] if r["severity"] == "reject"} for row in found.ledger
    ]
    counted = {
        "n": len(codes),
        "strict_react_ok": sum(
            not stages & form and "F_TEXT_OUTSIDE_TAGS" not in have
            for stages, have in zip(rejects, codes, strict=True)
        ),
        "void_traj": sum("F_VOID_TURN" in have for have in codes),
        "mixed_script_rows_unquoted": [
            row for row, have in enumerate(codes) if "L_MIXED_SCRIPT" in have
        ],
    }
    kept = {key: value for key, value in listed.items() if key != "mixed_script_rows_any"}
    return compared("webdancer", counted, kept)


def compared(name: str, counted: dict[str, Any], listed: dict[str, Any]) -> list[dict[str, Any]]:
    """Every listed count, found or not."""
    return [told(name, what, counted.get(what, 0), listed[what]) for what in listed]


def told(name: str, what: str, found: Any, listed: Any) -> dict[str, Any]:
    equal = "" if listed == "" else "yes" if found == listed else "NO"
    return {"data": name, "count": what, "found": found, "expected": listed, "equal": equal}


def code_lifts(name: str, found: Run) -> list[dict[str, Any]]:
    """Each code's rows removed alone; all that rules reject; and but for codes that see the end."""
    have = [found.codes(row) for row in range(len(found.rows))]
    severities = {code: severity for codes in have for code, severity in codes.items()}
    rows = []
    for code, severity in sorted(severities.items(), key=lambda pair: (pair[1] == "flag", pair[0])):
        keep = np.array([code not in codes for codes in have])
        rows += set_lifts(name, code, found, keep, severity=severity)
    rejecting = [{c for c, severity in codes.items() if severity == "reject"} for codes in have]
    keep = np.array([not codes for codes in rejecting])
    rows += set_lifts(name, "rules-only, all", found, keep)
    blind = np.array([not codes - SEE_THE_END for codes in rejecting])
    rows += set_lifts(name, "rules-only, codes that see the end off", found, blind)
    smooth = np.array([not codes.keys() & STRUGGLE for codes in have])
    rows += set_lifts(name, "the same, X_ERRORS and X_REPEAT_ACTION_2 too", found, blind & smooth)
    return rows


def set_lifts(
    name: str, what: str, found: Run, keep: np.ndarray, severity: str = ""
) -> list[dict[str, Any]]:
    """Success of the kept runs, and its lift over three kinds of random runs."""
    success = found.success.astype(np.float64)
    queries = np.unique([row["query_id"] for row in found.ledger], return_inverse=True)[1]
    tokens = np.array([row["n_tokens"] for row in found.ledger])
    tenth = np.searchsorted(np.quantile(tokens, np.linspace(0.1, 0.9, 9)), tokens)
    per_model = tenth + 10 * np.unique(found.models, return_inverse=True)[1]
    repeats = 2 * len(np.unique(queries)) <= len(queries)
    several = len(set(found.models)) > 1
    return [
        {
            "data": name,
            "what": what,
            "does": severity,
            "sees the end": "yes" if what in SEE_THE_END or what == "rules-only, all" else "",
            "removed": int((~keep).sum()),
            "of these succeed": share(success[~keep]),
            "kept succeed": share(success[keep]),
            "all succeed": share(success),
            "lift, same lengths": lift(success, keep, tenth, queries),
            "and same models": lift(success, keep, per_model, queries) if several else "",
            "lift, same queries": lift(success, keep, queries, queries) if repeats else "",
        }
    ]


def share(success: np.ndarray) -> str:
    return f"{success.mean():.1%}" if len(success) else "-"


def lift(success: np.ndarray, keep: np.ndarray, strata: np.ndarray, queries: np.ndarray) -> str:
    """Points of success over random runs of the same strata, with the interval."""
    rng = np.random.default_rng(0)
    num = int(queries.max()) + 1
    drawn = rng.multinomial(num, np.full(num, 1 / num), size=DRAWS)
    weights = np.concatenate([np.ones((1, len(queries))), drawn[:, queries]]).T  # runs by draws
    in_stratum = (strata == np.unique(strata)[:, None]).astype(np.float64)
    runs, good = in_stratum @ weights, in_stratum @ (weights * success[:, None])
    kept = in_stratum @ (weights * keep[:, None])
    rate = np.divide(good, runs, out=np.zeros_like(good), where=runs > 0)
    with np.errstate(invalid="ignore"):
        found = ((success * keep) @ weights - (kept * rate).sum(axis=0)) / (keep @ weights)
    if not np.isfinite(found[0]):
        return "-"
    low, high = np.nanquantile(found[1:], [0.025, 0.975])
    return f"{100 * found[0]:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


if __name__ == "__main__":
    for row in run()["tables"]["lift"]:
        print(row)
