"""A permit, in CPU of the application, beside the bare look-up of the same row by its index through the same connection.

Blocks of both alternate in one act; PostgreSQL's own CPU counts on neither side.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Any

from api import running, telemetry
from api.demo import catalogue, world
from api.running import Standing
from api.settings import from_environment
from compliance import database as databases
from compliance.act import open_act
from compliance.vocabulary import OFFERED, PartnerClient, Purpose, Worker
from consent import grants, people, permits
from consent.people import NewPerson

BLOCKS = {"small": 20, "full": 100}
CALLS_A_BLOCK = 200
TARGET = 0.5
STORY, PURPOSE = Worker("benchmark"), Purpose.CREDIT_ASSESSMENT
BARE = """
select id, categories, state, expires_at from consent_grant
where user_id = $1 and recipient = $2 and purpose = $3 and state = 'active' for no key update
"""


def run(size: str) -> dict[str, Any]:
    """CPU milliseconds of this process for each permit, of ours and of the bare look-up."""
    with tempfile.TemporaryDirectory(prefix="xq-bench-") as folder:
        Path(folder).chmod(0o755)
        os.environ |= {"XINQIAO_HOME": folder, "XINQIAO_ISSUER": "http://127.0.0.1:8080"}
        telemetry.set_up(level=40)
        with running.standing(from_environment()) as found:
            ours, bare = asyncio.run(_measure(found, BLOCKS[size]))
    return {
        "benchmark": "permit",
        "ours": round(ours, 3),
        "peer": round(bare, 3),
        "ratio": round(ours / bare, 2),
        "unit": "ms CPU in process per permit",
        "better": "lower",
        "target_ours": TARGET,
        "peer_is": "the bare indexed look-up of the grant, locked, through the same connection",
        "shape": f"{BLOCKS[size]} blocks of {CALLS_A_BLOCK}, alternating in one act",
    }


async def _measure(found: Standing, blocks: int) -> tuple[float, float]:
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        partners, _ = await world._partners(found.settings, await world._team(), {}, "CNY")
        bank = PartnerClient(partners[catalogue.HARBOUR], "benchmark", frozenset())
        async with open_act(STORY, None) as act:
            known = await people.bring(act, [NewPerson("somebody", date(1990, 5, 1), fictional=True)])
            user = known["somebody"]
            await grants.give_fictional(act, [user], bank.partner, PURPOSE, OFFERED)
            await people.pseudonym(act, user, bank.partner)
        async with open_act(bank, PURPOSE) as act:

            async def ours() -> None:
                await permits.permit(act, user, PURPOSE, OFFERED, count=False)

            async def bare() -> None:
                await act.db.execute_query_dict(BARE, [user, bank.partner, PURPOSE])

            await _cpu_of(ours)
            await _cpu_of(bare)
            spent = [(await _cpu_of(ours), await _cpu_of(bare)) for _ in range(blocks)]
            act.record("measured", {}, person=user)
    return statistics.median(o for o, _ in spent), statistics.median(b for _, b in spent)


async def _cpu_of(call: Callable[[], Awaitable[None]]) -> float:
    before = time.process_time()
    for _ in range(CALLS_A_BLOCK):
        await call()
    return (time.process_time() - before) * 1000 / CALLS_A_BLOCK
