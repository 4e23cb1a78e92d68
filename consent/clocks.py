"""The clocks of what staff owe people an answer to: which answers are late, each noted once."""

from datetime import datetime
from typing import TypeVar

from tortoise.models import Model
from tortoise.queryset import QuerySet

from compliance.act import Act, Upkeep

Row = TypeVar("Row", bound=Model)


async def any_late(upkeep: Upkeep, rows: type[Row]) -> bool:
    """Whether any of a table's open rows is past its `due_at` and not noted yet; the upkeep is a worker's."""
    return await _late(rows, upkeep.now).using_db(upkeep.db).exists()


async def note_late(act: Act, rows: type[Row], limit: int) -> list[Row]:
    """Mark them, the longest overdue first; who records what of them is the table's own. Another worker's are left to it."""
    late = _late(rows, act.now).using_db(act.db).order_by("due_at").limit(limit)
    found = await late.select_for_update(skip_locked=True)
    await rows.filter(pk__in=[row.pk for row in found]).using_db(act.db).update(overdue_at=act.now)
    return found


def _late(rows: type[Row], now: datetime) -> QuerySet[Row]:
    return rows.filter(state="open", due_at__lte=now, overdue_at=None)
