"""Who was in touch with whom: kept once for both ends, counted only where both agreed to the same use, gone with either."""

import asyncio
import contextvars
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from support import altered_models, brought, events, small_models, world
from support.brought import faults, ground_of, loaded

from api import worker
from api.running import Standing
from compliance.act import open_act
from compliance.vocabulary import Category
from consent import agreeing, copies, disputes, grants, objections, permits
from scoring import behaviour, buckets, features, population, registry
from scoring.answers import corrections
from scoring.runs import people as runs
from scoring.scorer import unpack
from scoring.store import locks, relations, snapshot

NOW = datetime.now(UTC)
CUTOFF = NOW - timedelta(days=1)
GRAPH = Category.SOCIAL_GRAPH
SHARED = world.ALL - {Category.DEVICE_USAGE} | {GRAPH}
READ = {"device_usage_0": "distinct(*.other)", "device_usage_1": "mean(*.reach)"}


def of(category):
    return GRAPH if category is Category.DEVICE_USAGE else category


def model():
    """The small model, which reads of contacts what it read of a device."""

    def stated(whole):
        inputs = [
            replace(each, category=of(each.category), window_days=365, expression=READ[each.name])
            if each.name in READ
            else each
            for each in whole.inputs
        ]
        by_set = {
            name: {frozenset(map(of, used)): told for used, told in getattr(whole, name).items()}
            for name in ("calibration", "half_widths")
        }
        minimum = {of(category): least for category, least in whole.minimum.items()}
        return replace(whole, inputs=tuple(inputs), minimum=minimum, **by_set)

    return altered_models.with_manifest(small_models.trained(), stated)


@pytest.fixture
async def found(database, home):
    async with world.opened(database, home) as here:
        return Standing(here.settings, database)


@pytest.fixture
async def bank(found):
    async with ground_of(found):
        await world.put_model_in_use(model())
        return await world.a_bank()


@pytest.fixture
async def other_bank(found, bank):
    async with ground_of(found):
        return await world.a_bank("beta")


async def share(found, user, *banks, categories=SHARED):
    """Somebody lets these banks use this; the consents."""
    given = []
    async with ground_of(found):
        for bank in banks:
            async with open_act(bank, world.SCORING) as act:
                wanted = world.an_ask(bank.partner, categories=categories)
                asked = await grants.ask(act, wanted, offered=frozenset(Category))
            given.append((await world.said_yes(events.in_session(user), asked))[0].id)
    return given


async def known(found, count, *banks, categories=SHARED):
    """People by their references, in the order of these, who each share this with the banks."""
    async with ground_of(found):
        brought = dict(sorted((await events.known(count)).items()))
    for user in brought.values():
        await share(found, user, *banks, categories=categories)
    return brought


def edge(user_a, user_b, days=10.0, **said):
    at = (CUTOFF - timedelta(days=days)).isoformat()
    return {"user_a": user_a, "user_b": user_b, "kind": "call", "weight": "2.5", "at": at, **said}


def write(folder, rows, form="csv"):
    folder.mkdir(parents=True, exist_ok=True)
    table = pl.DataFrame(rows, schema=dict.fromkeys(edge("a", "b"), pl.String))
    getattr(table, f"write_{form}")(folder / f"edges.{form}")
    return folder


def counted(said):
    return tuple(said[name] for name in ("accepted", "duplicate", "late", "quarantined"))


async def taken(found):
    return await brought.taken(found, CUTOFF)


async def contacts(owner, user):
    """With how many people the features say that somebody was in touch, and how many these knew."""
    row = await owner.fetchrow("select vector from scoring_feature where user_id = $1", user)
    names = [each.name for each in small_models.loaded().manifest.inputs]
    values = dict(zip(names, unpack(row["vector"]).tolist(), strict=True))
    return tuple(None if np.isnan(values[name]) else values[name] for name in READ)


def bad_edges(a, b):
    return [
        (edge("nobody", b), "user_a", "unknown_user"),
        (edge(a, "nobody"), "user_b", "unknown_user"),
        (edge("", b), "user_a", "missing"),
        (edge(a, "x" * 201), "user_b", "too_long"),
        (edge(a, a), "user_b", "with_oneself"),
        (edge(a, b, days=-9), "at", "in_future"),
        (edge(a, b, at="2026-01-01T00:00:00"), "at", "time_without_zone"),
        (edge(a, b, weight="NaN"), "weight", "not_finite"),
        (edge(a, b, kind="religion_group"), "kind", "forbidden_name"),
        (edge(a, b, weight="3"), "weight", "other_value"),
        (edge(b, a, weight=None), "weight", "other_value"),
    ]


@pytest.mark.parametrize("form", ["parquet", "ndjson", "csv"])
async def test_a_relation_is_kept_once_whichever_end_comes_first_and_what_is_wrong_is_told_apart(
    found, owner, form, tmp_path, capsys
):
    a, b = await known(found, 2)
    bad = bad_edges(a, b)
    good = [edge(a, b), edge(b, a), edge(a, b, kind="chat"), edge(a, b, days=11, weight=None)]
    folder = write(tmp_path, [*good, *(each for each, _, _ in bad)], form)
    said = await loaded(found, folder, capsys)
    assert (said["files"], *counted(said)) == (1, 3, 1, 0, len(bad))
    first = 6 if form == "csv" else 5
    assert faults(said) == [(first + n, column, reason) for n, (_, column, reason) in enumerate(bad)]
    assert await owner.fetchval("select count(*) from scoring_relation where user_id < other") == 3
    assert counted(await loaded(found, folder, capsys)) == (0, 4, 0, len(bad))


async def test_whoever_has_more_than_anybody_has_is_set_aside_and_what_is_there_stays_a_duplicate(
    found, owner, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(relations, "RELATIONS_MAX", 2)
    a, b, c, d = await known(found, 4)
    assert counted(await loaded(found, write(tmp_path, [edge(a, b), edge(a, c)]), capsys))[0] == 2
    said = await loaded(found, write(tmp_path, [edge(a, b), edge(d, a), edge(b, c)]), capsys)
    assert (counted(said), faults(said)) == ((1, 1, 0, 1), [(3, "user_a", "too_many_relations")])


async def test_what_comes_in_during_a_snapshot_is_late_for_every_bucket_alike(
    found, bank, owner, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(snapshot, "ROWS_AT_ONCE", 1)
    people = await known(found, 6, bank)
    first, *others = people
    ring = [edge(a, b) for a, b in pairwise([*people, first])]
    await loaded(found, write(tmp_path, ring), capsys)
    async with ground_of(found):
        done = await events.advanced(await events.begun(CUTOFF))
    assert not done.is_finished
    said = await loaded(found, write(tmp_path, [edge(first, each) for each in others]), capsys)
    assert counted(said) == (3, 2, 3, 0)
    async with ground_of(found):
        while not done.is_finished:
            done = await events.advanced(done)
    assert {(await contacts(owner, user))[0] for user in people.values()} == {2}
    await taken(found)
    assert (await contacts(owner, people[first]))[0] == 5


async def test_the_features_are_those_of_the_same_edges_as_a_research_set(
    found, bank, owner, tmp_path, capsys
):
    """To the bit, where everybody agreed to the same; who agreed to nothing is nobody's contact and nobody's reach."""
    people = await known(found, 4, bank)
    a, b, c, d = people
    [silent] = await known(found, 1)
    among = [edge(a, b, 10), edge(a, c, 20), edge(b, c, 30), edge(b, d, 40), edge(c, d, 5), edge(b, a, 50)]
    silently = [edge(a, silent, 3), edge(silent, b, 60)]
    await loaded(found, write(tmp_path / "in", [*among, *silently]), capsys)
    assert (await taken(found)).people == 4
    folder = write(tmp_path / "research", among)
    (folder / "schema.json").write_text("{}")
    (folder / "events.csv").write_text("user,at,category,name\n")
    read = behaviour.read(folder, tmp_path / "quarantine")
    asked = pl.DataFrame({"user": list(people), "cutoff": [CUTOFF] * 4})
    inputs = [
        replace(each, category=GRAPH, window_days=365, expression=READ[each.name])
        for each in features.as_features(small_models.loaded().manifest.inputs)
        if each.name in READ
    ]
    research = features.compute(read, asked, inputs)
    assert [await contacts(owner, user) for user in people.values()] == [
        tuple(row) for row in research.values.tolist()
    ]
    assert (await contacts(owner, people[a]))[0] == 2


async def test_an_end_counts_only_where_it_agreed_to_every_use_that_the_other_agreed_to(
    found, bank, other_bank, owner, tmp_path, capsys
):
    (a, user), (b, both) = (await known(found, 2, bank)).items()
    (c, elsewhere), (d, without) = (await known(found, 2)).items()
    await share(found, both, other_bank)
    await share(found, elsewhere, other_bank)
    await share(found, without, bank, categories=SHARED - {GRAPH})
    rows = [edge(a, b), edge(a, c), edge(a, d), edge(b, c)]
    await loaded(found, write(tmp_path, rows), capsys)
    await taken(found)
    assert (await contacts(owner, user))[0] == 1  # b, who agreed to this bank and to another
    assert (await contacts(owner, both))[0] is None  # a agreed to one of b's banks, c to the other
    assert (await contacts(owner, elsewhere))[0] == 1  # b again
    assert (await contacts(owner, without))[0] is None


async def test_who_withdraws_is_nobodys_contact_at_the_next_snapshot(found, bank, owner, tmp_path, capsys):
    (a, user), (b, gone), (c, _) = (await known(found, 3, bank)).items()
    await loaded(found, write(tmp_path, [edge(a, b), edge(a, c)]), capsys)
    await taken(found)
    assert (await contacts(owner, user))[0] == 2
    [grant] = await owner.fetch("select id from consent_grant where user_id = $1", gone)
    async with ground_of(found):
        await world.withdrawn(events.in_session(gone), grant["id"])
    await taken(found)
    assert (await contacts(owner, user))[0] == 1


@pytest.mark.parametrize("leaves", ["withdraws", "is deleted"])
async def test_who_leaves_counts_for_nobody_from_the_next_turn_of_the_worker(
    found, bank, other_bank, owner, tmp_path, capsys, leaves
):
    (a, user), (b, gone), (c, stays) = (await known(found, 3, bank)).items()
    await loaded(found, write(tmp_path, [edge(a, b), edge(a, c)]), capsys)
    await taken(found)
    [grant] = await owner.fetch("select id from consent_grant where user_id = $1", gone)
    [elsewhere] = await share(found, stays, other_bank)
    async with ground_of(found):
        await world.withdrawn(events.in_session(stays), elsewhere)
        assert await worker.hide_contacts()
        assert (await evidence_of(bank, user))[0] == 2  # another use than the one they were counted for
        if leaves == "withdraws":
            await world.withdrawn(events.in_session(gone), grant["id"])
        else:
            await world.deleted(events.in_session(gone))
        assert await worker.hide_contacts()
        assert await evidence_of(bank, user) == (None, 0)
        assert not await worker.hide_contacts()
        assert (await evidence_of(bank, stays))[0] == 1
    await taken(found)
    async with ground_of(found):
        assert (await evidence_of(bank, user))[0] == 1


async def test_contacts_are_not_hidden_while_they_are_computed(found, bank, tmp_path, capsys):
    (a, user), (b, gone) = (await known(found, 2, bank)).items()
    await loaded(found, write(tmp_path, [edge(a, b)]), capsys)
    await taken(found)
    async with ground_of(found):
        await world.deleted(events.in_session(gone))
        read, may_end = asyncio.Event(), asyncio.Event()

        async def reads():
            async with open_act(world.STORY, None) as act:
                await locks.share(act, [buckets.bucket_of(user)])
                act.record("disputes_listed", {"count": 0})
                read.set()
                await may_end.wait()

        reading = asyncio.create_task(reads(), context=contextvars.Context())
        await read.wait()
        assert not await worker.hide_contacts()
        may_end.set()
        await reading
        assert await worker.hide_contacts()
        assert await evidence_of(bank, user) == (None, 0)


@pytest.mark.parametrize("objects_to", [objections.object_to_lists, objections.object_to_automation])
async def test_who_objects_to_lists_is_nobodys_contact_for_them(found, bank, objects_to):
    async with ground_of(found):
        (person,) = await world.persons(1)
        for purpose in (world.SCORING, world.LISTING):
            await world.granted(person, bank, purpose)
        agreed = []
        for objects in (False, True, False):
            async with open_act(person, None) as act:
                await objects_to(act, objects=objects)
            async with open_act(world.STORY, None) as act:
                uses = (await agreeing.agreed(act, [person.user], Category.SHOPPING))[person.user]
                act.record("score_replayed", {})
            agreed.append({use.rpartition(" ")[2] for use in uses})
    assert agreed == [{world.SCORING, world.LISTING}, {world.SCORING}, {world.SCORING, world.LISTING}]


@pytest.mark.parametrize("which", [0, 1])
async def test_with_either_end_the_relation_goes_at_once(found, bank, owner, tmp_path, capsys, which):
    people = await known(found, 2, bank)
    a, b = people
    await loaded(found, write(tmp_path, [edge(a, b)]), capsys)
    await taken(found)
    gone, stays = sorted(people.values(), reverse=bool(which))
    async with ground_of(found):
        async with open_act(events.in_session(stays), None) as act:
            copy = await copies.make(act, permits.own_permit(act))
        [told] = copy.parts["relations"]
        assert (told["kind"], told["weight"]) == ("call", 2.5)
        assert str(gone) not in copy.as_json().decode()
        await world.deleted(events.in_session(gone))
        assert await owner.fetchval("select count(*) from scoring_relation") == 0
        async with open_act(events.in_session(stays), None) as act:
            copy = await copies.make(act, permits.own_permit(act))
        assert copy.parts["relations"] == []
    said = await loaded(found, tmp_path, capsys)
    assert [reason for _, _, reason in faults(said)] == ["unknown_user"]
    await taken(found)
    assert (await contacts(owner, stays))[0] is None


async def evidence_of(bank, user):
    async with open_act(bank, world.SCORING) as act:
        permit = await permits.permit(act, user, world.SCORING, SHARED)
        held = await population.read(act, permit, registry.scorer((await registry.champion(act)).digest))
        act.record("disputes_listed", {"count": 0})
    return held.evidence.events.get(GRAPH), int(np.isfinite(held.values).sum())


async def test_a_new_use_has_no_contacts_until_they_are_counted_for_it(
    found, bank, other_bank, owner, tmp_path, capsys
):
    (a, user), (b, _) = (await known(found, 2, bank)).items()
    await loaded(found, write(tmp_path, [edge(a, b)]), capsys)
    await taken(found)
    await share(found, user, other_bank)
    async with ground_of(found):
        assert (await evidence_of(bank, user))[0] == 1
        assert await evidence_of(other_bank, user) == (None, 0)
        assert await worker.prepare_features()
        # The other end agreed to the first bank only: now the contact counts for neither.
        assert await evidence_of(bank, user) == (0, 0)
        assert await evidence_of(other_bank, user) == (0, 0)


async def test_contacts_that_were_counted_for_another_use_are_in_no_run(
    found, bank, other_bank, owner, tmp_path, capsys
):
    (a, user), (b, _) = (await known(found, 2, bank)).items()
    await loaded(found, write(tmp_path, [edge(a, b)]), capsys)
    await taken(found)
    await share(found, user, other_bank)
    scored = []
    async with ground_of(found):
        for each in (bank, other_bank):
            async with open_act(world.STORY, world.SCORING) as act:
                model_in_use = registry.scorer((await registry.champion(act)).digest)
                permit = await permits.population_permit(act, world.SCORING, each.partner, act.now)
                people = await runs.shared_by(act, permit, model_in_use, [user])
            place = model_in_use.categories.index(GRAPH)
            scored.append((int(people.events[0, place]), bool(np.isfinite(people.values).any())))
            assert people.masks[0] >> place & 1
    assert scored == [(1, True), (0, False)]


@pytest.mark.parametrize("whose", [0, 1])
async def test_what_either_end_had_found_wrong_is_out_and_what_comes_after_counts(
    found, bank, owner, tmp_path, capsys, whose
):
    people = await known(found, 2, bank)
    a, b = people
    users = list(people.values())
    await loaded(found, write(tmp_path, [edge(a, b)]), capsys)
    await taken(found)
    async with ground_of(found):
        async with open_act(events.in_session(users[whose]), None) as act:
            raised = await disputes.raise_category(act, permits.own_permit(act), GRAPH, "Not mine.")
        async with open_act(world.OFFICER, None) as act:
            looks = permits.staff_permit(act, "the person disputes it")
            await corrections.answer_dispute(act, looks, raised.id, upheld=True, text="You are right.")
    await taken(found)
    assert [(await contacts(owner, user))[0] for user in users] == [None, None]
    assert counted(await loaded(found, write(tmp_path, [edge(a, b), edge(a, b, 9)]), capsys))[:2] == (1, 1)
    await taken(found)
    assert [(await contacts(owner, user))[0] for user in users] == [1, 1]
    assert (await world.kinds(owner, person=users[whose])).count("correction_applied") == 1


async def test_what_happened_before_a_snapshot_and_comes_later_is_late(found, bank, tmp_path, capsys):
    a, b = await known(found, 2, bank)
    await taken(found)
    rows = [edge(a, b), edge(a, b, days=-0.5)]
    assert counted(await loaded(found, write(tmp_path, rows), capsys)) == (2, 0, 1, 0)
