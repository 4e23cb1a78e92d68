"""Run benchmarks: `python -m benchmarks --size small|full [--only name]`.

Each prints what it does and, as its last line, one JSON object whose ratio is ours / peer.
"""

import argparse
import importlib
import json
from pathlib import Path

NAMES = (
    "online_score",
    "population_score",
    "score_call",
    "protected_call",
    "oauth_token",
    "permit",
    "withdrawal",
    "withdrawal_to_denial",
    "own_pages",
    "person_map",
    "behaviour_store",
)
LATEST = Path(__file__).with_name("latest.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument("--only", choices=NAMES)
    arguments = parser.parse_args()
    results = []
    for name in [arguments.only] if arguments.only else NAMES:
        result = importlib.import_module(f"benchmarks.{name}").run(arguments.size)
        results.append(json.dumps(result))
        print(results[-1], flush=True)
    if not arguments.only:
        LATEST.write_text("\n".join(results) + "\n")


if __name__ == "__main__":
    main()
