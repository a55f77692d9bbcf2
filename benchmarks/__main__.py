"""Run benchmarks by name (default: all) and print their Markdown tables."""

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
    "streaming",
    "similarity",
    "hub",
    "flags",
    "label_issues",
    "agreement",
    "trajectories",
)
OUT = Path(__file__).parent / "results" / "cpu"


def main(names: list[str]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name in names or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"\n## {name}: {module.__doc__}\n", flush=True)
        result = module.run()
        print_table(result["rows"])
        for more in result.get("more", {}).values():
            print_table(more)
        (OUT / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")


def print_table(rows: list[dict[str, Any]]) -> None:
    header = list(rows[0])
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(str(row[key]) for key in header) + " |")
    print()


if __name__ == "__main__":
    main(sys.argv[1:])
