"""Rhythm, variety, change and the graph: what new measures say, and that each is the same to the byte however computed."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.lived_events import CUTOFF, EVERYTHING, asked, event, measure, of, table

from compliance.vocabulary import Category
from scoring import behaviour, feature_catalogue, feature_terms, features
from scoring.behaviour_schema import ProfileColumn, Role
from scoring.measures import forbidden, general, graph

GRAPH, SHOPPING = Category.SOCIAL_GRAPH, Category.SHOPPING
NAMES = sorted(
    {
        (d.category, term.event)
        for d in feature_catalogue.DEFINITIONS
        for term in feature_terms.parse(d.expression).terms
        if term.how != "profile" and term.event != feature_terms.ANY
    }
)


def edge(a, b, *, days=1.0, kind="call", weight=1.0):
    return {"user_a": a, "user_b": b, "kind": kind, "weight": weight, "at": CUTOFF - timedelta(days=days)}


def everything(edges=(), **attributes):
    """Something of each kind, so that the whole catalogue is chosen."""
    about = {"page": "a", "place": "home", "kind": "k", "channel": "app", **attributes}
    events = [event(name, 1, category=category, **about) for category, name in NAMES]
    return replace(of(events), edges=table(behaviour.EDGES, edges or [edge("u", "v")]))


CATALOGUE = features.chosen(everything(), EVERYTHING)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("distinct(order.kind)", 2),
        ("distinct(*.name)", 2),
        ("distinct(order.nothing)", np.nan),
        ("concentration(order.kind)", 2 / 6),
        ("concentration(order.hour)", 1),
        ("mean(order.hour)", 8),
        ("max(order.weekday)", 6),
        ("share(order.weekday > 5)", 1 / 3),
        ("mean(order.gap)", 15.5),
        ("max(order.gap)", 20),
        ("count(order in 30 days) / count(order)", 5 / 6),
        ("mean(order.value in 30 days) - mean(order.value)", 5),
        ("share(order.value > 20 in 30 days)", 0.5),
        ('count("odd) - count(*)") / count(*)', 2 / 8),
    ],
)
def test_an_expression_measures_what_it_says(expression, expected):
    events = [
        event(value=30, days=9, count=4, kind="a"),  # Saturday at midnight UTC, eight in Shanghai
        event(value=10, days=40, kind="b"),
        event(value=20, days=20, kind="a"),
        event("odd) - count(*)", count=2, days=5),
    ]
    assert measure(expression, events) == pytest.approx(expected, nan_ok=True)


def test_hours_and_weekdays_are_those_of_the_business_zone():
    sunday_night = {"at": CUTOFF.replace(day=1) - timedelta(hours=7)}  # 31 May 17:00 UTC, a Sunday
    assert measure("last(order.hour)", [event() | sunday_night]) == 1
    assert measure("last(order.weekday)", [event() | sunday_night]) == 1


def test_every_category_is_measured_in_every_way():
    measured = {d.category for d in feature_catalogue.DEFINITIONS}
    assert measured == EVERYTHING - {Category.DECLARED}
    assert len({d.expression for d in feature_catalogue.DEFINITIONS}) >= 60
    assert {f.name for f in CATALOGUE} >= {
        f"{d.name}_{w}d"
        for d in feature_catalogue.DEFINITIONS
        for w in d.windows
        if "profile(" not in d.expression
    }
    for parts in (
        ("hour",),
        ("weekday",),
        ("gap",),
        ("distinct",),
        (" in ",),
        ("days_since",),
        ("deviation",),
    ):
        of_kind = {f.category for f in CATALOGUE if all(part in f.expression for part in parts)}
        assert len(of_kind) >= 4, parts


@st.composite
def some_events(draw, *, after=False):
    category, name = draw(st.sampled_from(NAMES))
    days = draw(st.floats(-300, 0) if after else st.floats(0.001, 400))
    words = st.sampled_from(["a", "b", "c"])
    about = {"page": draw(words), "place": draw(words), "kind": draw(words), "channel": draw(words)}
    value = draw(st.none() | st.floats(-1e6, 1e6))
    return event(
        name, value, days=days, user=draw(words), category=category, count=draw(st.integers(0, 9)), **about
    )


@st.composite
def some_edges(draw, *, after=False):
    users = st.sampled_from(["a", "b", "c", "d", "e"])
    days = draw(st.integers(-9, 0) if after else st.integers(1, 40)) * 10.0
    return edge(draw(users), draw(users), days=days, weight=draw(st.none() | st.floats(0, 1e6)))


def world(events, edges):
    return replace(of(events), edges=table(behaviour.EDGES, edges))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(some_events(), max_size=40),
    st.lists(some_edges(), max_size=20),
    st.lists(some_events(after=True), max_size=8),
    st.lists(some_edges(after=True), max_size=8),
    st.randoms(),
)
def test_order_company_and_what_comes_later_change_no_byte(events, edges, later, later_edges, random):
    before = features.compute(world(events, edges), asked("a", "b", "c"), CATALOGUE)
    mixed, mixed_edges = [*events, *later], [*edges, *later_edges]
    random.shuffle(mixed)
    random.shuffle(mixed_edges)
    after = features.compute(world(mixed, mixed_edges), asked("a", "b", "c"), CATALOGUE)
    assert after.values.tobytes() == before.values.tobytes()
    assert after.digest == before.digest
    for row, user in enumerate("abc"):
        own = [e for e in mixed if e["user"] == user]
        alone = features.compute(world(own, mixed_edges), asked(user), CATALOGUE)
        assert alone.values[0].tobytes() == before.values[row].tobytes()


def test_many_rows_are_computed_in_parts_with_the_same_bytes(monkeypatch):
    events = [event(value=n, days=1 + n, user=f"u{n % 7}", kind=str(n % 3)) for n in range(60)]
    users = [f"u{n % 7}" for n in range(20)]
    at_once = features.compute(of(events), asked(*users), CATALOGUE)
    monkeypatch.setattr(features, "ROWS_AT_ONCE", 3)
    in_parts = features.compute(of(events), asked(*users), CATALOGUE)
    assert in_parts.digest == at_once.digest
    for category in at_once.events:
        assert in_parts.events[category].tolist() == at_once.events[category].tolist()


def contacts(edges, user="a", **more):
    found = [f for f in CATALOGUE if f.category is GRAPH]
    values = features.compute(world([], edges) if not more else more["data"], asked(user), found).values[0]
    return {f.name: float(value) for f, value in zip(found, values, strict=True)}


def test_an_edge_is_something_both_its_ends_did():
    edges = [edge("a", "b", days=10, weight=2), edge("c", "a", days=50, weight=4), edge("b", "c", days=60)]
    for user, degree in (("a", 2), ("b", 2), ("c", 2), ("d", np.nan)):
        assert contacts(edges, user)["contacts_365d"] == pytest.approx(degree, nan_ok=True)
    of_a = contacts(edges)
    assert (of_a["contacts_30d"], of_a["contact_weight_365d"], of_a["contact_days_since_365d"]) == (1, 6, 10)
    assert of_a["contact_concentration_365d"] == 0


def test_reach_is_what_the_other_end_had_before_that_moment():
    edges = [
        edge("b", "c", days=60),
        edge("b", "d", days=50),
        edge("a", "b", days=40),
        edge("b", "e", days=30),
    ]
    assert contacts(edges)["contact_reach_mean_365d"] == 2


def test_nobody_is_in_touch_with_themselves():
    assert np.isnan(contacts([edge("a", "a")])["contacts_365d"])


@settings(max_examples=40, deadline=None)
@given(st.lists(some_edges(), max_size=20), st.sets(st.sampled_from(["a", "b", "c", "d", "e"])))
def test_an_edge_counts_only_when_both_ends_granted(edges, sharers):
    """Removing one end's grant is the same as the edge not being there, and nothing else."""
    data = graph.both_granted(world([], edges), sharers)
    kept = [e for e in edges if e["user_a"] in sharers and e["user_b"] in sharers]
    for user in "abcde":
        reduced = contacts(None, user, data=data)
        np.testing.assert_equal(reduced, contacts(kept, user))
        if user not in sharers:
            assert all(np.isnan(value) for value in reduced.values())


def test_what_was_counted_beforehand_does_not_count_outside_a_research_set():
    degree = ProfileColumn("degree", "float", GRAPH, frozenset({Role.FEATURE}))
    data = of([event("call", category=GRAPH), event()], [{"user": "u", "degree": 7.0}], [degree])
    assert {f.name for f in features.chosen(data, EVERYTHING)} >= {"degree"}
    reduced = graph.both_granted(data, {"u"})
    assert all(f.category is not GRAPH for f in features.chosen(reduced, EVERYTHING))
    found = [f for f in features.chosen(data, EVERYTHING) if f.category is GRAPH]
    assert np.isnan(features.compute(reduced, asked("u"), found).values).all()


def crowd(*names, category=Category.FITNESS, people=30, **attributes):
    return [
        event(name, 2.0, user=f"u{n}", category=category, **attributes)
        for name in names
        for n in range(people)
    ]


def test_events_of_unknown_name_are_measured_by_their_name():
    found = features.chosen(of(crowd("x 1", "x2", speed=3, id=7)), EVERYTHING)
    expressions = {f.expression for f in found}
    assert {"mean(x2.value)", 'count("x 1")', "last(x2.speed)", "count(*)"} <= expressions
    assert {f.reason for f in found} == {"FI-900"}
    computed = features.compute(of(crowd("x 1", "x2", speed=3)), asked("u1"), found)
    named = dict(zip((f.name for f in found), computed.values[0].tolist(), strict=True))
    assert named["fitness.x 1.count_30d"] == 1
    assert named["fitness.x2.speed_mean_365d"] == 3


def test_beside_known_events_the_unknown_are_measured_too_and_the_known_only_once():
    found = features.chosen(of(crowd("order", "x1", category=SHOPPING)), EVERYTHING)
    assert any(f.expression == "mean(x1.value)" for f in found)
    assert not any(f.name.startswith("shopping.order.") for f in found)
    assert not any(f.expression == "count(*)" for f in found)


def test_names_are_bounded_and_rare_ones_never_named():
    events = crowd(*(f"x{n}" for n in range(general.NAMES_MAX + 5))) + crowd(
        "rare", people=general.PEOPLE_MIN - 1
    )
    names = {f.name.split(".")[1] for f in features.chosen(of(events), EVERYTHING) if "." in f.name}
    assert len(names) == general.NAMES_MAX
    assert "rare" not in names


def test_identifiers_are_no_numbers_of_anybody():
    fitness = Category.FITNESS
    events = [
        event("x1", user=f"u{n}", category=fitness, loan=n, key=f"k{n}", term=n % 3, way="ab"[n % 2])
        for n in range(40)
    ]
    expressions = {f.expression for f in features.chosen(of(events), EVERYTHING)}
    assert {"mean(x1.term)", "distinct(x1.way)", "concentration(x1.way)"} <= expressions
    assert not any("loan" in expression or "key" in expression for expression in expressions)


@pytest.mark.spec("征信业管理条例", "Art 14")
def test_forbidden_events_are_measured_neither_by_name_nor_with_the_rest():
    allowed = features.chosen(of(crowd("x1")), EVERYTHING)
    found = features.chosen(of(crowd("x1", "blood_test") + crowd("x1", religion=3)), EVERYTHING)
    assert {f.name for f in found} == {f.name for f in allowed if "." in f.name}


@pytest.mark.spec("征信业管理条例", "Art 14")
def test_a_forbidden_event_does_not_count_among_known_ones_either():
    app = Category.APP_ACTIVITY
    found = features.chosen(of(crowd("page_view", "bill_check", category=app)), EVERYTHING)
    assert any("*" in f.expression for f in found)
    spoilt = features.chosen(of(crowd("page_view", "bill_check", "medical_app", category=app)), EVERYTHING)
    assert {f.name for f in spoilt} == {f.name for f in found if "*" not in f.expression}


@pytest.mark.parametrize(
    ("name", "jurisdiction"),
    [
        ("user_religion", "CN"),
        ("voicePrint", "CN"),
        ("健康状况", "CN"),
        ("marital status", "US"),
        ("national-origin", "US"),
        ("trade_union_member", "EU"),
        ("social_network_friends", "EU"),
        ("call_log_size", "IN"),
    ],
)
def test_what_a_law_forbids_is_found_with_its_source(name, jurisdiction):
    ban = forbidden.ban_of(name)
    assert ban is not None
    assert ban.jurisdiction == jurisdiction
    assert all(ban.source.values())
    assert all(ban.what.values())


def test_nothing_in_the_catalogue_is_forbidden():
    assert not [f.name for f in CATALOGUE if forbidden.ban_of(f.name) or forbidden.ban_of(f.expression)]


@given(st.text(min_size=1, max_size=30).filter(lambda name: name != "*"))
def test_any_name_of_an_event_survives_its_expression(name):
    written = feature_terms.written(name)
    parsed = feature_terms.parse(f"count({written} in 90 days) / mean({written}.value)")
    assert [term.event for term in parsed.terms] == [name, name]
    assert parsed.terms[0].within == 90
