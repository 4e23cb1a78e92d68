"""What ends with a grant: handlers that other packages declare beside their tables, run inside the ending act."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from compliance.act import Act
from compliance.vocabulary import GrantId, PartnerId, Purpose, UserId


@dataclass(frozen=True, slots=True)
class Ended:
    """A grant that has just ended."""

    grant: GrantId
    user: UserId
    recipient: PartnerId
    purpose: Purpose
    code: str


Handler = Callable[[Act, Ended], Awaitable[None]]
_handlers: dict[str, Handler] = {}
_kept: dict[str, str] = {}


def on_grant_ended(*tables: str) -> Callable[[Handler], Handler]:
    """Declare what must stop when a grant ends, and the tables with a `grant_id` that this takes care of."""

    def declare(handler: Handler) -> Handler:
        for table in tables:
            if table in _handlers or table in _kept:
                raise RuntimeError(f"{table} already has a handler")
            _handlers[table] = handler
        return handler

    return declare


def keep(table: str, reason: str) -> None:
    """Declare that rows of a table stay when their grant ends, and why the law or the contract wants that."""
    if table in _handlers or table in _kept:
        raise RuntimeError(f"{table} already has a handler")
    _kept[table] = reason


def kept() -> dict[str, str]:
    """Table by table, why its rows stay."""
    return dict(_kept)


def declared() -> dict[str, Handler]:
    """Table by table, which handler takes care of it."""
    return dict(_handlers)


async def run(act: Act, ended: Ended) -> None:
    """Run each handler once, in the order of their declaration."""
    for handler in dict.fromkeys(_handlers.values()):
        await handler(act, ended)
