"""Which door each lender has: read from one file of the installation, by the partner's code."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from partners.connectors.contract import Connector
from partners.connectors.signed_http import SignedHttp

KINDS: Mapping[str, Callable[..., Connector]] = {"signed_http": SignedHttp}
"""A lender with a door of its own adds its file and one line here."""
FILE = "connectors.json"


class ConnectorsUnusable(Exception):
    """The file of connectors cannot be used; the message says which entry."""


def read(home: Path) -> Mapping[str, Connector]:
    """Read `connectors.json` of an installation: `{"<partner code>": {"kind": "signed_http", "address": ..., ...}}`.

    No file means no lender can be reached. Raises `ConnectorsUnusable`.
    """
    file = home / FILE
    if not file.exists():
        return {}
    try:
        entries = msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, Any]])
    except msgspec.MsgspecError as error:
        raise ConnectorsUnusable(f"{FILE} is not an object of objects") from error
    return {code: _made(code, dict(entry)) for code, entry in entries.items()}


def _made(code: str, entry: dict[str, Any]) -> Connector:
    kind = KINDS.get(entry.pop("kind", ""))
    if kind is None:
        raise ConnectorsUnusable(f"{code}: kind is one of {', '.join(KINDS)}")
    try:
        return kind(**entry)
    except TypeError as error:
        raise ConnectorsUnusable(f"{code}: {error}") from error
