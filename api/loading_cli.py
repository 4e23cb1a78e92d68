"""The sub-commands that bring people and what they did, and make features of it."""

import argparse
from datetime import datetime

from api.commands import Commands, group
from api.settings import from_environment

SOURCE = "a file, a folder, or an address that fsspec knows"


def add(commands: Commands) -> None:
    """Add `people` and `behaviour`."""
    people = group(commands, "people", "whom the operator knows").add_parser(
        "load", help="bring people from files (Parquet, CSV, JSON lines)"
    )
    people.add_argument("source", help=SOURCE)
    people.set_defaults(run=_load_people)

    behaviour = group(commands, "behaviour", "what people did")
    load = behaviour.add_parser(
        "load", help="bring profiles, edges and events from files (Parquet, CSV, JSON lines)"
    )
    load.add_argument("source", help=SOURCE)
    load.set_defaults(run=_load_behaviour)
    snapshot = behaviour.add_parser("snapshot", help="compute everybody's features up to a moment")
    snapshot.add_argument(
        "--cutoff", type=_moment, required=True, metavar="TIME", help="RFC 3339, with its zone"
    )
    snapshot.set_defaults(run=_take_snapshot)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError("a time with its zone, like 2026-11-01T00:00:00Z")
    return moment


def _load_people(arguments: argparse.Namespace) -> int:
    from api import auditing, loading  # noqa: PLC0415 - keeps `xinqiao quote` quick

    return auditing.run(from_environment(), lambda found: loading.load_people(found, arguments.source))


def _load_behaviour(arguments: argparse.Namespace) -> int:
    from api import auditing, loading  # noqa: PLC0415 - as above

    return auditing.run(from_environment(), lambda found: loading.load(found, arguments.source))


def _take_snapshot(arguments: argparse.Namespace) -> int:
    from api import auditing, loading  # noqa: PLC0415 - as above

    return auditing.run(from_environment(), lambda found: loading.take_snapshot(found, arguments.cutoff))
