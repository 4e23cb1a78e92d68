"""A consent goes on by a fresh yes alone: asked for rarely, answered once, with its history and its receipt."""

import asyncio
import json
from dataclasses import replace
from datetime import date, timedelta

import asyncpg
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from support import world
from support.world import SCORING

from compliance.act import open_act, open_view
from compliance.refusals import NotFound, Refusal, Unacceptable
from compliance.vocabulary import OFFERED, OPERATOR, GrantId, Language, PartnerKind, Purpose
from consent import extensions, grants, notices
from consent.extensions import EXTENSIONS_MAX, Standing
from consent.grants import AlreadyAsked, AskedTooSoon, NoticeChanged
from consent.life import GrantNotOpen
from consent.permits import AgeNotEstablished, PurposeNotRegistered, TokenForOtherConsent
from consent.tables import GrantRow

pytestmark = pytest.mark.usefixtures("ground")


async def asked(client, row, period_days=60) -> GrantRow:
    async with open_act(client, None) as act:
        return await extensions.ask(act, GrantId(row.id), period_days)


async def agreed(person, row, **wish) -> tuple[GrantRow, str]:
    async with open_act(person, None) as act:
        return await extensions.agree(act, GrantId(row.id), wish.pop("language", Language.EN), **wish)


async def rejected(person, row) -> GrantRow:
    async with open_act(person, None) as act:
        return await extensions.reject(act, GrantId(row.id))


async def standing_of(client, row) -> Standing:
    async with open_view(client) as view:
        newest = await extensions.newest_asked(view, GrantId(row.id))
        return extensions.standing(newest, await grants.find(view, GrantId(row.id)), view.now)


async def a_grant(**changes):
    """A bank, a person, and a live grant of 30 days between them."""
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    return bank, person, await world.granted(person, bank, **changes)


async def kept(owner, row) -> list[asyncpg.Record]:
    return await owner.fetch("select * from consent_extension where grant_id = $1 order by asked_at", row.id)


async def expires_at(owner, row):
    return await owner.fetchval("select expires_at from consent_grant where id = $1", row.id)


async def earlier(owner, **by: timedelta) -> None:
    """As if everything about extensions had happened so much earlier."""
    for column, time in by.items():
        await owner.execute("alter table consent_extension disable trigger answer_stays")
        await owner.execute(f"update consent_extension set {column} = {column} - $1::interval", time)
        await owner.execute("alter table consent_extension enable trigger answer_stays")


def claims(signed: str, ground) -> dict:
    """Verified with the published half of the key alone."""
    published = json.loads(json.dumps(ground.keyring.signing.as_dict(private=False)))
    return jwt.decode(signed, ECKey.import_key(published), algorithms=["ES256"]).claims


async def test_a_yes_to_what_was_asked_keeps_the_id_and_moves_the_end(owner):
    bank, person, row = await a_grant()
    await asked(bank, row)
    assert await standing_of(bank, row) is Standing.REQUESTED
    shown = notices.current(SCORING, Language.EN).sha256
    longer, _ = await agreed(person, row, shown=shown)
    assert (longer.id, longer.state, longer.extensions) == (row.id, "active", 1)
    assert longer.expires_at - longer.extended_at == timedelta(days=60)
    assert await expires_at(owner, row) == longer.expires_at
    assert await standing_of(bank, row) is Standing.GIVEN
    (one,) = await kept(owner, row)
    assert (one["from_expires_at"], one["to_expires_at"]) == (row.expires_at, longer.expires_at)
    assert (one["asked_by"], one["answer"], one["language"]) == ("partner", "yes", "en")
    assert (one["notice_version"], one["notice_sha256"]) == (row.notice_version, shown)
    assert json.loads(one["evidence"])["method"] == "one_time_link"
    assert await world.kinds(owner, grant_id=row.id) == [
        "grant_requested",
        "grant_given",
        "grant_extension_requested",
        "grant_extended",
    ]


async def test_a_no_changes_nothing_and_is_kept(owner):
    bank, person, row = await a_grant()
    await asked(bank, row)
    same = await rejected(person, row)
    assert (same.state, same.expires_at, same.extensions) == ("active", row.expires_at, 0)
    assert await standing_of(bank, row) is Standing.REJECTED
    assert [(one["answer"], one["to_expires_at"]) for one in await kept(owner, row)] == [("no", None)]
    assert (await world.kinds(owner, grant_id=row.id))[-1] == "grant_extension_rejected"
    with pytest.raises(GrantNotOpen):
        await rejected(person, row)


async def test_a_paused_grant_goes_on_and_stays_paused():
    _, person, row = await a_grant()
    async with open_act(person, None) as act:
        await grants.pause(act, GrantId(row.id))
    assert (await agreed(person, row, period_days=90))[0].state == "paused"


async def test_of_their_own_accord_nobody_has_to_ask(owner):
    bank, person, row = await a_grant()
    async with open_view(person) as view:
        offered = await extensions.offered(view, row)
    assert (offered.period_days, offered.asked_at) == (90, None)
    with pytest.raises(GrantNotOpen):
        await agreed(person, row)
    await agreed(person, row, period_days=90)
    assert [one["asked_by"] for one in await kept(owner, row)] == ["person"]
    with pytest.raises(Unacceptable) as again:
        await agreed(person, row, period_days=90)
    assert [fault.code for fault in again.value.faults] == ["not_longer"]
    async with open_view(bank) as view:
        assert await extensions.newest_asked(view, GrantId(row.id)) is None
    async with open_view(person) as view:
        assert await extensions.offered(view, await grants.find(view, GrantId(row.id))) is None


async def test_what_is_offered_is_never_more_than_the_template_allows(owner, monkeypatch):
    _, person, row = await a_grant()
    narrow = replace(grants.TEMPLATES[SCORING], period_days_max=40)
    monkeypatch.setitem(grants.TEMPLATES, SCORING, narrow)
    async with open_view(person) as view:
        assert (await extensions.offered(view, row)).period_days == 40
    for step in (agreed(person, row, period_days=41), asked(*(await a_grant())[::2], 41)):
        with pytest.raises(Unacceptable) as refused:
            await step
        assert [(f.pointer, f.code) for f in refused.value.faults] == [("/period_days", "out_of_range")]


@pytest.mark.parametrize(("days", "code"), [(0, "out_of_range"), (366, "out_of_range"), (30, "not_longer")])
async def test_a_period_that_does_not_fit_is_refused(days, code):
    bank, _, row = await a_grant()
    with pytest.raises(Unacceptable) as refused:
        await asked(bank, row, days)
    assert [fault.code for fault in refused.value.faults] == [code]


async def test_other_days_than_those_asked_for_are_no_answer(owner):
    bank, person, row = await a_grant()
    await asked(bank, row, 60)
    with pytest.raises(Unacceptable):
        await agreed(person, row, period_days=90)
    assert await expires_at(owner, row) == row.expires_at
    await agreed(person, row, period_days=60)


async def test_one_request_waits_at_a_time_and_lapses_after_seven_days(owner):
    bank, person, row = await a_grant()
    await asked(bank, row)
    with pytest.raises(AlreadyAsked):
        await asked(bank, row, 90)
    await earlier(owner, asked_at=timedelta(days=6, hours=23))
    with pytest.raises(AlreadyAsked):
        await asked(bank, row)
    async with open_view(person) as view:
        assert set(await extensions.waiting(view, person.user)) == {row.id}
    await earlier(owner, asked_at=timedelta(hours=2))
    assert await standing_of(bank, row) is Standing.LAPSED
    async with open_view(person) as view:
        assert await extensions.waiting(view, person.user) == {}
    for late in (agreed(person, row), rejected(person, row)):
        with pytest.raises(GrantNotOpen):
            await late
    await asked(bank, row)


async def test_a_no_is_respected_for_90_days_but_not_against_the_person(owner):
    bank, person, row = await a_grant(period_days=365)
    await owner.execute("update consent_grant set expires_at = now() + interval '9 days'")
    await asked(bank, row)
    await rejected(person, row)
    with pytest.raises(AskedTooSoon):
        await asked(bank, row)
    await earlier(owner, asked_at=timedelta(days=89), answered_at=timedelta(days=89))
    with pytest.raises(AskedTooSoon):
        await asked(bank, row)
    await agreed(person, row, period_days=30)
    await earlier(owner, asked_at=timedelta(days=2), answered_at=timedelta(days=2))
    await asked(bank, row)


async def test_only_a_live_grant_goes_on(owner):
    bank, person, row = await a_grant()
    open_request = await world.asked(bank, Purpose.PORTRAIT, user=person.user)
    await asked(bank, row)
    await world.withdrawn(person, row.id)
    assert await standing_of(bank, row) is Standing.LAPSED
    for gone in (row, open_request):
        for step in (asked(bank, gone), agreed(person, gone, period_days=90), rejected(person, gone)):
            with pytest.raises(GrantNotOpen):
                await step


async def test_a_grant_that_expired_in_between_does_not_go_on(owner):
    bank, person, row = await a_grant()
    await asked(bank, row)
    await owner.execute("update consent_grant set expires_at = now() where id = $1", row.id)
    for step in (agreed(person, row), rejected(person, row), asked(bank, row)):
        with pytest.raises(GrantNotOpen):
            await step
    assert await standing_of(bank, row) is Standing.LAPSED
    assert [one["answer"] for one in await kept(owner, row)] == [None]


async def test_the_clock_is_read_after_the_lock(owner):
    """Whoever waited for the lock while the time ran out comes too late."""
    _, person, row = await a_grant()
    async with owner.transaction():
        await owner.execute("select 1 from consent_grant for update")
        late = asyncio.create_task(agreed(person, row, period_days=90))
        while not await owner.fetchval("select count(*) from pg_locks where not granted"):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)
        await owner.execute("update consent_grant set expires_at = clock_timestamp()")
    with pytest.raises(GrantNotOpen):
        await late


async def test_the_new_end_is_counted_from_the_day_of_the_yes(owner):
    bank, person, row = await a_grant()
    await asked(bank, row, 40)
    await earlier(owner, asked_at=timedelta(days=5))
    longer, _ = await agreed(person, row)
    assert longer.expires_at - longer.extended_at == timedelta(days=40)
    assert longer.extended_at - row.given_at < timedelta(minutes=5)


async def test_another_notice_in_force_needs_a_new_consent(owner, monkeypatch):
    bank, person, row = await a_grant()
    await asked(bank, row)
    with pytest.raises(NoticeChanged):
        await agreed(person, row, shown="0" * 64)
    real = notices.current
    monkeypatch.setattr(
        notices, "current", lambda *which: replace(real(*which), version=row.notice_version + 1)
    )
    with pytest.raises(NoticeChanged, match="a new consent is needed"):
        await agreed(person, row)
    await rejected(person, row)
    assert await expires_at(owner, row) == row.expires_at


async def test_a_bank_does_not_ask_on_a_notice_that_changed(monkeypatch):
    bank, _, row = await a_grant()
    real = notices.current
    monkeypatch.setattr(
        notices, "current", lambda *which: replace(real(*which), version=row.notice_version + 1)
    )
    with pytest.raises(NoticeChanged):
        await asked(bank, row)


@pytest.mark.parametrize("born_on", [None, date(2015, 1, 1)])
async def test_a_minor_or_a_person_of_unknown_age_lets_nothing_go_on(owner, born_on):
    bank, person, row = await a_grant()
    await asked(bank, row)
    await owner.execute("update consent_person set born_on = $1", born_on)
    for wish in ({}, {"period_days": 60}):
        with pytest.raises(AgeNotEstablished):
            await agreed(person, row, **wish)
    assert await expires_at(owner, row) == row.expires_at
    await rejected(person, row)


async def test_nobody_else_asks_or_answers():
    bank, _, row = await a_grant()
    other, (stranger,) = await world.a_bank("beta"), await world.persons(1)
    await asked(bank, row)
    foreign = (asked(other, row, 90), agreed(stranger, row), rejected(stranger, row), agreed(bank, row))
    for step in foreign:
        with pytest.raises(NotFound):
            await step
    async with open_view(other) as view:
        assert await extensions.newest_asked(view, GrantId(row.id)) is None
    async with open_view(stranger) as view:
        assert await extensions.history(view, GrantId(row.id)) == []


async def test_a_client_asks_for_its_own_purposes_and_a_token_for_its_own_consent():
    bank, person, row = await a_grant()
    other = await world.granted(person, bank, Purpose.PORTRAIT)
    with pytest.raises(PurposeNotRegistered):
        await asked(replace(bank, purposes=frozenset({Purpose.PRESCREEN})), row)
    with pytest.raises(TokenForOtherConsent):
        await asked(replace(bank, grant=GrantId(other.id)), row)
    await asked(replace(bank, grant=GrantId(row.id)), row)


async def test_a_bureau_asks_for_what_it_relays(owner):
    bureau, bank = await world.a_bank("bureau", PartnerKind.CREDIT_BUREAU), await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.asked(bureau, recipient=bank.partner, bureau=bureau.partner)
    row, _ = await world.said_yes(person, row)
    await asked(bureau, row)
    await agreed(person, row)
    assert await standing_of(bureau, row) is await standing_of(bank, row) is Standing.GIVEN


async def test_of_two_answers_at_once_one_wins(owner):
    bank, person, row = await a_grant()
    for answers in ([agreed, agreed], [agreed, rejected], [rejected, agreed]):
        await owner.execute("delete from consent_extension")
        await owner.execute("update consent_grant set expires_at = $1, extensions = 0", row.expires_at)
        await asked(bank, row)
        told = await asyncio.gather(*(a(person, row) for a in answers), return_exceptions=True)
        assert [isinstance(one, GrantNotOpen) for one in told].count(True) == 1, told
        assert [isinstance(one, Refusal) for one in told].count(False) == 1
        (one,) = await kept(owner, row)
        moved = await expires_at(owner, row) > row.expires_at
        assert moved is (one["answer"] == "yes")


async def test_of_two_requests_at_once_one_waits(owner):
    bank, _, row = await a_grant()
    told = await asyncio.gather(*(asked(bank, row) for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(one, AlreadyAsked) for one in told) == 2, told
    assert len(await kept(owner, row)) == 1


async def test_a_yes_and_a_withdrawal_at_once_leave_it_ended(owner):
    bank, person, row = await a_grant()
    await asked(bank, row)
    both = await asyncio.gather(agreed(person, row), world.withdrawn(person, row.id), return_exceptions=True)
    assert not isinstance(both[1], BaseException)
    assert await owner.fetchval("select ended_code from consent_grant") == "withdrawn"


async def test_each_receipt_lists_every_extension(owner, ground):
    bank, person, row = await a_grant()
    await asked(bank, row)
    _, first = await agreed(person, row)
    _, second = await agreed(person, row, period_days=120, language=Language.ZH_CN)
    await asked(bank, row, 200)
    await rejected(person, row)
    await world.withdrawn(person, row.id)
    last = await owner.fetchval("select signed from consent_receipt order by issued_at desc limit 1")
    read = [claims(signed, ground) for signed in (first, second, last)]
    assert [len([e for e in r["events"] if e["type"] == "consent_extended"]) for r in read] == [1, 2, 2]
    assert [e["type"] for e in read[2]["events"]] == [
        "consent_requested",
        "consent_given",
        "consent_extended",
        "consent_extended",
        "consent_withdrawn",
    ]
    one, two = read[1]["events"][2:]
    assert (one["asked_by"], two["asked_by"]) == ("recipient", "data_subject")
    assert two["expires_at"] == read[1]["pii_processing"]["expires_at"]
    assert two["notice_sha256"] == notices.current(SCORING, Language.ZH_CN).sha256
    assert read[1]["record_id"] == read[0]["record_id"]
    assert read[1]["notice"] == read[0]["notice"]


async def test_uses_read_the_new_end_at_once(owner):
    await world.put_model_in_use()
    await world.open_channel()
    bank, person, row = await a_grant()
    await owner.execute("update consent_grant set expires_at = now() + interval '1 second'")
    await agreed(person, row, period_days=90)
    await asyncio.sleep(1)
    await world.scored(bank, person)


async def test_a_consent_goes_on_only_so_often(owner):
    bank, person, row = await a_grant()
    await owner.execute("update consent_grant set extensions = $1", EXTENSIONS_MAX)
    for step in (asked(bank, row), agreed(person, row, period_days=90)):
        with pytest.raises(GrantNotOpen, match="a new one is needed"):
            await step
    await owner.execute("update consent_grant set extensions = $1", EXTENSIONS_MAX - 1)
    await agreed(person, row, period_days=90)


async def test_what_was_answered_stays_so_whatever_the_code_does(owner):
    bank, person, row = await a_grant()
    await asked(bank, row)
    await rejected(person, row)
    with pytest.raises(asyncpg.PostgresError, match="stays so"):
        await owner.execute("update consent_extension set answer = 'yes'")
    for wrong in ("answer = 'yes'", "answered_at = now()", "asked_by = 'person'"):
        await owner.execute("delete from consent_extension")
        await asked(bank, row)
        with pytest.raises(asyncpg.PostgresError, match="check constraint"):
            await owner.execute(f"update consent_extension set {wrong}")


async def test_a_partner_can_write_no_answer():
    """The walls of the table itself: a partner's own connection asks, and does nothing else."""
    bank, person, row = await a_grant()
    insert = """insert into consent_extension (id, grant_id, user_id, recipient, asked_at, asked_by, period_days, answer,
                    answered_at) values (gen_random_uuid(), $1, $2, $3, now(), 'partner', 60, $4, $5)"""
    (stranger,) = await world.persons(1)
    for whom, answer in ((person, "no"), (stranger, None)):
        with pytest.raises(Exception, match="row-level security"):
            async with open_act(bank, None) as act:
                values = [row.id, whom.user, row.recipient, answer, act.now if answer else None]
                await act.db.execute_query(insert, values)
    with pytest.raises(Exception, match="permission denied"):
        async with open_act(bank, None) as act:
            await act.db.execute_query("update consent_extension set period_days = 300")


async def test_the_operators_own_consents_go_on_too(owner):
    (person,) = await world.persons(1)
    wanted = world.an_ask(OPERATOR, Purpose.SELF_VIEW, user=person.user)
    async with open_act(person, None) as act:
        row, _ = await grants.give(act, wanted, Language.EN, offered=OFFERED)
    longer, _ = await agreed(person, row, period_days=90)
    assert longer.extensions == 1
