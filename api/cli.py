"""The command `xinqiao`: run the service, play the demo, verify the log, quote a loan."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation

from api import auditing_cli, loading_cli, models_cli, operating_cli, running_cli
from api.commands import Commands
from api.settings import SettingUnusable
from compliance import postgres
from compliance.custodians import CustodiansUnusable
from compliance.database import AddressUnusable
from compliance.keys import RotationRefused
from compliance.migrate import MigrationRefused
from compliance.postgres import PostgresFailed
from compliance.refusals import Refusal
from scoring.runs.faults import RunUnusable

EXPECTED = (
    SettingUnusable,
    AddressUnusable,
    PostgresFailed,
    MigrationRefused,
    RotationRefused,
    CustodiansUnusable,
    RunUnusable,
    Refusal,
    OSError,
)
USAGE_ERROR, FAILED = 2, 1


def main() -> None:
    """Run one command; exits 0 when it succeeded, 1 when it did not, 2 when it was called wrongly."""
    if parent := os.environ.pop("XINQIAO_PARENT", None):
        postgres.die_with_parent(int(parent))
    arguments = _parser().parse_args()
    command: Callable[[argparse.Namespace], int] = arguments.run
    try:
        sys.exit(command(arguments))
    except EXPECTED as error:
        print(f"xinqiao: {_told(error)}", file=sys.stderr)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


def _told(error: Exception) -> str:
    if isinstance(error, Refusal):
        return "; ".join([error.detail, *(f"{f.pointer}: {f.detail}" for f in error.faults)])
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xinqiao", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    running_cli.add(commands)
    auditing_cli.add_log(commands)
    models_cli.add(commands)
    loading_cli.add(commands)
    operating_cli.add(commands)
    auditing_cli.add_replay(commands)
    _add_quote(commands)
    openapi = commands.add_parser("openapi", help="write openapi/v1.yaml from the code")
    openapi.add_argument(
        "--check", action="store_true", help="say whether the file is up to date, change nothing"
    )
    openapi.set_defaults(run=_openapi)
    return parser


def _add_quote(commands: Commands) -> None:
    quote = commands.add_parser("quote", help="a loan's schedule and its annual rates")
    quote.add_argument("--principal", required=True, help="e.g. 6000.00")
    quote.add_argument("--disbursed", required=True, help="YYYY-MM-DD, Asia/Shanghai")
    quote.add_argument("--instalments", type=int, required=True)
    quote.add_argument("--daily-rate", required=True, help="e.g. 0.0005")
    quote.add_argument("--method", required=True, choices=["equal_principal", "equal_instalment"])
    quote.add_argument("--json", action="store_true")
    quote.set_defaults(run=_quote)


def _quote(arguments: argparse.Namespace) -> int:
    from partners import quote  # noqa: PLC0415 - a command imports what it needs when it runs
    from partners.terms import Method, Terms  # noqa: PLC0415

    try:
        amount = Decimal(arguments.principal).scaleb(2)
        terms = Terms(
            principal_minor=int(amount.to_integral_exact()),
            disbursed=date.fromisoformat(arguments.disbursed),
            instalments=arguments.instalments,
            daily_rate=Decimal(arguments.daily_rate),
            method=Method(arguments.method),
        )
    except (InvalidOperation, ValueError, OverflowError) as error:
        print(f"xinqiao quote: {error}", file=sys.stderr)
        return USAGE_ERROR
    if amount != terms.principal_minor:
        print("xinqiao quote: --principal has at most two decimals", file=sys.stderr)
        return USAGE_ERROR
    quoted = quote.quote(terms)
    if arguments.json:
        print(json.dumps(quoted, indent=1))
        return 0
    for row in quoted["schedule"]:  # type: ignore[attr-defined]
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    print(f"simple/365 {quoted['simple_365']}  simple/360 {quoted['simple_360']}  XIRR {quoted['xirr_365']}")
    return 0


def _openapi(arguments: argparse.Namespace) -> int:
    from api import contract  # noqa: PLC0415 - as above

    return contract.check() if arguments.check else contract.write()


if __name__ == "__main__":
    main()
