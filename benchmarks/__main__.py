"""Run benchmarks by name (default: all) and print Markdown tables."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

NAMES = (
    "training",
    "recording",
    "grand",
    "ray_runner",
    "stacked",
    "build",
    "plan",
    "streaming",
    "similarity",
    "geometry",
    "hub",
    "flags",
    "label_issues",
    "agreement",
    "memorized",
    "trajectories",
    "selection",
)
OUT = Path(__file__).parent / "results" / "cpu"


def main(names: list[str]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name in names or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"\n## {name}: {module.__doc__}\n", flush=True)
        result = module.run()
        show(result["rows"])
        for title, rows in result.get("tables", {}).items():
            print(f"\n{title}:\n")
            show(rows)
        (OUT / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")


def show(rows: list[dict[str, Any]]) -> None:
    header = list(rows[0])
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(str(row[key]) for key in header) + " |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
