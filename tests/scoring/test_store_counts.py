"""What of the store may count: nothing forbidden, no contact whose other end nobody asked, nothing found wrong, nothing older."""

import asyncio
import contextvars
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from support import events, small_models, world
from support.events import event

from compliance.act import open_act
from compliance.vocabulary import Category
from consent import disputes, grants, permits
from scoring import buckets
from scoring.measures import forbidden
from scoring.store import incoming, intake, shelf, snapshot

CUTOFF = datetime(2026, 6, 1, tzinfo=UTC)
SHOPPING = sorted(small_models.REASONS).index(Category.SHOPPING)


def before(cutoff, days, reference, **changes):
    return event(reference, at=(cutoff - timedelta(days=days)).isoformat(), **changes)


@pytest.fixture
async def bank(ground):
    await world.put_model_in_use()
    return await world.a_bank()


async def sharing(bank, categories=world.ALL):
    """Somebody who shares these data, by their reference and their id."""
    [(reference, user)] = (await events.known()).items()
    async with open_act(bank, world.SCORING) as act:
        wanted = world.an_ask(bank.partner, categories=categories)
        asked = await grants.ask(act, wanted, offered=frozenset(Category))
    await world.said_yes(events.in_session(user), asked)
    return reference, user


async def row(owner, user):
    return await owner.fetchrow("select * from scoring_feature where user_id = $1", user)


async def test_what_was_forbidden_only_later_is_not_even_counted(bank, owner, monkeypatch):
    reference, user = await sharing(bank)
    with monkeypatch.context() as earlier:
        earlier.setattr(forbidden, "ban_of", lambda name: None)
        told = [before(CUTOFF, n, reference, name=name) for n in (1, 2) for name in ("order", "religion_gift")]
        assert (await events.received(told)).accepted == 4
    await events.taken(CUTOFF)
    assert (await row(owner, user))["events"][SHOPPING] == 4


async def test_a_contact_of_which_the_other_end_is_not_known_never_counts(bank, monkeypatch):
    """Kept by whoever took it before it was refused, shared by one end: the features are those of no contact at all."""
    counted = []
    real = snapshot.features.compute

    def seen(behaviour, asked, wanted):
        counted.append(behaviour.events["category"].unique().to_list())
        return real(behaviour, asked, wanted)

    monkeypatch.setattr(snapshot.features, "compute", seen)
    reference, _ = await sharing(bank, world.ALL | {Category.SOCIAL_GRAPH})
    with monkeypatch.context() as earlier:
        earlier.setattr(incoming, "NOT_TAKEN", frozenset())
        told = [before(CUTOFF, 1, reference, category=c) for c in ("social_graph", "shopping")]
        assert (await events.received(told)).accepted == 2
    await events.taken(CUTOFF)
    assert counted == [["shopping"]]
