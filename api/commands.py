"""The command line's groups: a command that has commands of its own."""

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def group(commands: Commands, name: str, said: str) -> Commands:
    """Add a command that has commands of its own, which are added to what comes back."""
    return commands.add_parser(name, help=said).add_subparsers(required=True, metavar="command")
