"""Whether the service answers: nothing about anybody."""

from typing import Literal

import msgspec
from litestar import get

from api.access import public
from compliance.act import open_view


class Health(msgspec.Struct, frozen=True):
    """The service and its database answer."""

    status: Literal["ok"]
    checkpoint_size: int
    """How many facts the newest signed checkpoint covers."""


@get("/healthz", opt=public(light=True), summary="Is the service up")
async def health() -> Health:
    """Answers once the database does; for load balancers and people in a hurry."""
    async with open_view(None, reserved=True) as view:
        rows = await view.db.execute_query_dict(
            "select coalesce(max(size), 0) as size from compliance_checkpoint"
        )
    return Health("ok", rows[0]["size"])


routes = [health]
