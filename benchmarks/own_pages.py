"""The pages of a person with 500 consents, in CPU of the application, beside those of a person with one.

Every page is asked for over HTTP, in this process, by a signed-in browser; the two people take turns.
"""

import asyncio
import os
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from api import running, sessions, telemetry
from api.app import create_app
from api.demo import catalogue, world
from api.running import Standing
from api.settings import from_environment
from compliance.act import open_act
from compliance.vocabulary import OFFERED, Purpose, UserId, Worker
from consent import grants, people
from consent.people import NewPerson

ROUNDS = {"small": 20, "full": 200}
CONSENTS, LIVE = 500, 60
STORY = Worker("benchmark")
MORE = """
insert into consent_grant
select (jsonb_populate_record(g, jsonb_build_object(
    'id', gen_random_uuid(), 'recipient', gen_random_uuid(), 'state', case when n <= $2 then 'active' else 'ended' end,
    'ended_at', case when n > $2 then now() end, 'ended_by', case when n > $2 then 'person' end,
    'ended_code', case when n > $2 then 'withdrawn' end))).*
from consent_grant g, generate_series(1, $3) n where g.user_id = $1
"""


def run(size: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="xq-bench-") as folder:
        Path(folder).chmod(0o755)
        os.environ |= {"XINQIAO_HOME": folder, "XINQIAO_ISSUER": "http://127.0.0.1:8080"}
        telemetry.set_up(level=40)
        with running.standing(from_environment()) as found:
            many, one, waited = asyncio.run(_measure(found, ROUNDS[size]))
    median, floor = statistics.median(many["/me"]), statistics.median(one["/me"])
    return {
        "benchmark": "own_pages",
        "ours": round(median, 2),
        "peer": round(floor, 2),
        "ratio": round(median / floor, 2),
        "unit": "ms CPU in process per GET /me, median",
        "better": "lower",
        "pages": {path: round(statistics.median(spent), 2) for path, spent in many.items()},
        "waited_p50": {path: round(statistics.median(spent), 1) for path, spent in waited.items()},
        "peer_is": "the same page of a person with one consent",
        "shape": f"{CONSENTS} consents, {LIVE} of them live; {ROUNDS[size]} rounds, taking turns",
    }


async def _measure(found: Standing, rounds: int) -> tuple[dict[str, list[float]], ...]:
    app = create_app(found.settings, found.database)
    many: dict[str, list[float]] = {}
    one: dict[str, list[float]] = {}
    waited: dict[str, list[float]] = {}
    async with (
        app.lifespan(),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app), base_url=found.settings.issuer, follow_redirects=True
        ) as http,
    ):
        few, rich = await _planted(found)
        cookies = [await _cookie(found, user) for user in (few, rich)]
        for round_ in range(rounds + 2):  # the first two warm
            for path in ("/me", "/me/grants", "/me/log"):
                for cookie, into in zip(cookies, (one, many), strict=True):
                    cpu, began = time.process_time(), time.perf_counter()
                    answer = await http.get(path, headers={"Cookie": cookie, "Accept": "text/html"})
                    if answer.status_code != 200:
                        raise RuntimeError(f"{path}: {answer.status_code}")
                    if round_ > 1:
                        into.setdefault(path, []).append((time.process_time() - cpu) * 1000)
                        if into is many:
                            waited.setdefault(path, []).append((time.perf_counter() - began) * 1000)
    return many, one, waited


async def _planted(found: Standing) -> tuple[UserId, UserId]:
    partners, _ = await world._partners(found.settings, await world._team(), {}, "CNY")
    bank = partners[catalogue.HARBOUR]
    async with open_act(STORY, None) as act:
        brought = [NewPerson(f"person {n}", date(1990, 5, 1), fictional=True) for n in range(2)]
        few, rich = (await people.bring(act, brought)).values()
        await grants.give_fictional(act, [few, rich], bank, Purpose.PRESCREEN, OFFERED)
    owner = await asyncpg.connect(**found.database.as_owner())
    await owner.execute(MORE, rich, LIVE, CONSENTS - 1)
    await owner.close()
    return few, rich


async def _cookie(found: Standing, user: UserId) -> str:
    link = await sessions.make_link(STORY, found.settings, user=user)
    signed_in = await sessions.sign_in(found.settings, link)
    return f"{sessions.cookie_name(found.settings)}={signed_in.token}"
