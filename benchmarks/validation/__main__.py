"""Validate: `python -m benchmarks.validation --size small|full [--only name]`; the exit code says whether all passed.

Each prints a line for every gate with its figure, 95 % interval and number of rows. Invented people are stamped as
such everywhere, and nothing measured on them is quoted as an accuracy; `accuracy`, `income` and half of `stream` need
real sets, in the folder that `XINQIAO_SETS` names.
"""

import argparse
import importlib
import sys

from benchmarks.validation.gates import FAIL

NAMES = ("accuracy", "income", "stream", "masking", "fidelity", "refusing", "attack", "planted_null", "leak")


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.validation", description=__doc__)
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument("--only", choices=NAMES)
    arguments = parser.parse_args()
    failed = 0
    for name in [arguments.only] if arguments.only else NAMES:
        print(f"# {name} ({arguments.size})", flush=True)
        for gate in importlib.import_module(f"benchmarks.validation.{name}").run(arguments.size):
            print(gate.line(), flush=True)
            failed += gate.verdict == FAIL
    print(f"{failed} gates failed" if failed else "no gate failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
