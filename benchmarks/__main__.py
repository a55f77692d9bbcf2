"""Run benchmarks by name (default: all) and print one Markdown table each."""

import importlib
import json
import sys
from pathlib import Path

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
)
OUT = Path(__file__).parent / "results" / "cpu"


def main(names: list[str]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name in names or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"\n## {name}: {module.__doc__}\n", flush=True)
        result = module.run()
        header = list(result["rows"][0])
        print("| " + " | ".join(header) + " |")
        print("|" + "---|" * len(header))
        for row in result["rows"]:
            print("| " + " | ".join(str(row[key]) for key in header) + " |")
        (OUT / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
