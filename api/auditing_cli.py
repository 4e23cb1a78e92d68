"""The sub-commands of an auditor: the log verified, an old answer computed again."""

import argparse
from pathlib import Path

from api.commands import Commands, group
from api.settings import from_environment


def add_log(commands: Commands) -> None:
    """Add `log`."""
    log = group(commands, "log", "the tamper-evident log")
    verify = log.add_parser("verify", help="check every fact, leaf, tile and checkpoint")
    verify.add_argument("--against", type=Path, metavar="FILE", help="a checkpoint that was kept outside")
    verify.set_defaults(run=_verify)
    person = log.add_parser("verify-person", help="check the proof files of a person, without a connection")
    person.add_argument("files", type=Path, nargs="+", metavar="FILE", help="the oldest first")
    person.add_argument(
        "--key", type=Path, required=True, metavar="FILE", help="the log's public key, got another way"
    )
    person.set_defaults(run=_verify_person)
    checkpoint = log.add_parser("checkpoint", help="print the newest signed checkpoint, to be kept outside")
    checkpoint.set_defaults(run=_checkpoint)


def add_replay(commands: Commands) -> None:
    """Add `replay`."""
    replay = commands.add_parser("replay", help="compute an old score or income again from what was recorded")
    replay.add_argument("answer", help="scr_... or, of an income, ans_...")
    replay.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="the behaviour a score came from: its features are computed again too",
    )
    replay.set_defaults(run=_replay)


def _verify(arguments: argparse.Namespace) -> int:
    from api import auditing  # noqa: PLC0415 - keeps `xinqiao quote` quick

    against = arguments.against.read_text() if arguments.against else None
    return auditing.run(from_environment(), lambda found: auditing.verify(found, against))


def _verify_person(arguments: argparse.Namespace) -> int:
    from api import auditing  # noqa: PLC0415 - as above

    return auditing.verify_person(arguments.files, arguments.key)


def _checkpoint(_: argparse.Namespace) -> int:
    from api import auditing  # noqa: PLC0415 - as above

    return auditing.run(from_environment(), auditing.print_checkpoint)


def _replay(arguments: argparse.Namespace) -> int:
    from api import auditing  # noqa: PLC0415 - as above

    return auditing.run(
        from_environment(), lambda found: auditing.replay(found, arguments.answer, arguments.data)
    )
