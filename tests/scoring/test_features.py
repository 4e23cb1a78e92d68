"""Features: nothing after the cut-off, no data looks like not shared, the same bytes alone and in a batch."""

import json
import math
import tomllib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.lived_events import CUTOFF, EVERYTHING, SHOPPING, asked, event, measure, of

from compliance.vocabulary import Category
from scoring import explanation, feature_catalogue, feature_terms, features
from scoring.behaviour_schema import ProfileColumn, Role
from scoring.measures import forbidden

CREDIT, DECLARED = Category.CREDIT_HISTORY, Category.DECLARED
LIMIT = ProfileColumn("credit_limit", "float", CREDIT, frozenset({Role.FEATURE}))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("count(order)", 6),
        ("count(order.value >= 30)", 4),
        ("sum(order.value)", 60),
        ("mean(order.value)", 20),
        ("max(order.value)", 30),
        ("min(order.value)", 10),
        ("first(order.value)", 10),
        ("last(order.value)", 30),
        ("previous(order.value)", 20),
        ("share(order.value > 10)", 2 / 3),
        ("deviation(order.value)", 10),
        ("active_days(order)", 3),
        ("days_since_last(order)", 10),
        ("days_since_first(order)", 40),
        ("mean_gap(order)", 15),
        ("last(order.value) - mean(order.value)", 10),
        ("last(order.value) / mean(order.value)", 1.5),
        ("count(*)", 7),
        ("sum(order.night) / sum(order.count)", 0.5),
        ("mean(order.value / night)", 20),
    ],
)
def test_an_expression_measures_what_it_says(expression, expected):
    events = [
        event(value=30, days=10, count=4, night=1),
        event(value=10, days=40, night=1),
        event(value=20, days=20, night=1),
        event("refund", value=99, days=5),
    ]
    assert measure(expression, events) == pytest.approx(expected, rel=1e-6)


def test_events_of_one_name_in_two_categories_stay_apart():
    events = [
        event("login", 1),
        event("login", 2, category=Category.DEVICE_USAGE),
        event("other", 4, category=CREDIT),
    ]
    found = [
        features.Feature(expression + category, category, "unit", 365, 1, "", "SH-001", expression)
        for category in (SHOPPING, Category.DEVICE_USAGE)
        for expression in ("sum(login.value)", "sum(*.value)")
    ]
    assert features.compute(of(events), asked("u"), found).values[0].tolist() == [1, 1, 2, 2]


def test_zero_has_no_sign():
    assert not np.signbit(measure("mean(order.value)", [event(value=-0.0)]))


def test_a_cutoff_without_a_time_zone_is_an_error():
    with pytest.raises(ValueError, match="time zone"):
        features.compute(of(), asked("u", cutoff=CUTOFF.replace(tzinfo=None)), [])


def test_a_cutoff_in_another_zone_is_the_same_moment():
    shanghai = pl.DataFrame({"user": ["u"], "cutoff": [CUTOFF]}).with_columns(
        pl.col("cutoff").dt.convert_time_zone("Asia/Shanghai")
    )
    data = of([event(value=3)])
    assert features.compute(data, shanghai, ALL).digest == features.compute(data, asked("u"), ALL).digest


def test_an_event_finds_the_opening_of_its_loan():
    events = [
        event("loan_opened", 100, days=90, category=CREDIT, loan=1, term_days=30),
        event("loan_opened", 100, days=80, category=CREDIT, loan=2, term_days=10),
        event("loan_closed_after_days", 45, days=45, category=CREDIT, loan=1),
        event("loan_closed_after_days", 5, days=40, category=CREDIT, loan=3),
    ]
    assert measure("mean(loan_closed_after_days.value - loan.term_days)", events, category=CREDIT) == 15


def test_a_window_is_open_at_both_ends():
    events = [event(days=30), event(days=29.999), event(days=0), event(days=-1)]
    assert measure("count(order)", events, window=30) == 1
    assert measure("count(order)", events, window=90) == 2


def test_days_are_those_of_the_business_zone():
    evening, night = CUTOFF - timedelta(hours=25), CUTOFF - timedelta(hours=7)  # 07:00 and 01:00 in Shanghai
    events = [
        event() | {"at": evening},
        event() | {"at": night},
        event() | {"at": night + timedelta(hours=5)},
    ]
    assert measure("active_days(order)", events) == 2


def test_nothing_of_a_category_is_no_value_and_something_makes_zeros():
    names = {f.name: i for i, f in enumerate(features.chosen(of([event(value=5)]), EVERYTHING))}
    found = features.chosen(of([event(value=5)]), EVERYTHING)
    data = of(
        [
            event(value=5, days=400, user="old"),
            event("page_view", user="other", category=Category.APP_ACTIVITY),
        ]
    )
    matrix = features.compute(data, asked("old", "other", "unknown"), found)
    assert matrix.values[0, names["orders_30d"]] == 0
    assert math.isnan(matrix.values[0, names["order_amount_mean_365d"]])
    assert np.isnan(matrix.values[1:]).all()
    assert matrix.events[SHOPPING].tolist() == [1, 0, 0]


def test_a_profile_counts_from_when_it_was_known():
    columns = [LIMIT, ProfileColumn("job", "category", DECLARED, frozenset({Role.FEATURE}))]
    profiles = [
        {"user": "early", "known_at": CUTOFF, "credit_limit": 7.0, "job": "baker"},
        {"user": "late", "known_at": CUTOFF + timedelta(microseconds=1), "credit_limit": 7.0, "job": "baker"},
        {"user": "always", "known_at": None, "credit_limit": None, "job": "cook"},
    ] + [{"user": f"u{n}", "job": "baker"} for n in range(30)]
    data = of(profiles=profiles, columns=columns)
    found = features.chosen(data, EVERYTHING)
    assert [f.name for f in found] == ["credit_limit", "job=baker"]
    matrix = features.compute(data, asked("early", "late", "always"), found)
    assert matrix.values.tolist()[0] == [7.0, 1.0]
    assert np.isnan(matrix.values[1]).all()
    assert math.isnan(matrix.values[2, 0])
    assert matrix.values[2, 1] == 0.0
    assert matrix.events[DECLARED].tolist() == [1, 0, 1]
    assert matrix.active_days[DECLARED].tolist() == [0, 0, 0]


def test_frequent_values_are_bounded_and_rare_ones_never_named():
    column = ProfileColumn("job", "category", DECLARED, frozenset({Role.FEATURE}))
    profiles = [{"user": f"{job}{n}", "job": f"job{job}"} for job in range(30) for n in range(20 + job)]
    profiles.append({"user": "only one", "job": "astronaut"})
    names = [
        f.name
        for f in features.declared(of(columns=[column]).schema, of(profiles=profiles, columns=[column]))
    ]
    assert len(names) == features.FREQUENT_VALUES_MAX
    assert names[0] == "job=job29"
    assert "job=astronaut" not in names


def test_a_column_that_is_no_longer_a_feature_is_not_read():
    profiles = [{"user": "u", "credit_limit": 5.0}]
    found = features.chosen(of(profiles=profiles, columns=[LIMIT]), EVERYTHING)
    for columns in ([], [replace(LIMIT, roles=frozenset({Role.FAIRNESS}))]):
        data = of(profiles=profiles if columns else [{"user": "u"}], columns=columns)
        matrix = features.compute(data, asked("u"), found)
        assert np.isnan(matrix.values).all()
        assert matrix.events[CREDIT].tolist() == [0]


def test_roles_other_than_feature_never_reach_a_model():
    columns = [
        ProfileColumn("sex", "category", DECLARED, frozenset({Role.FAIRNESS})),
        ProfileColumn("region", "category", DECLARED, frozenset({Role.ELIGIBILITY})),
    ]
    profiles = [{"user": f"u{n}", "sex": "f", "region": "east"} for n in range(50)]
    assert features.chosen(of(profiles=profiles, columns=columns), EVERYTHING) == ()


@pytest.mark.spec("征信业管理条例", "Art 14")
@pytest.mark.parametrize(
    "name",
    [
        "sex",
        "SEX",
        "user_sex",
        "userSex",
        "marital_status",
        "religion",
        "bloodType",
        "gene_score",
        "race",
        "性别",
        "病史",
    ],
)
def test_what_is_forbidden_cannot_become_a_feature(name):
    column = ProfileColumn(name, "float", DECLARED, frozenset({Role.FEATURE}))
    with pytest.raises(forbidden.FeatureForbidden) as caught:
        features.chosen(of(profiles=[{"user": "u"}], columns=[column]), EVERYTHING)
    assert (caught.value.status, caught.value.code) == (422, "feature_forbidden")
    assert [f.pointer for f in caught.value.faults] == [f"/{name}"]


@pytest.mark.parametrize("name", ["general_score", "trace_count", "essex_branch", "orders_7d"])
def test_a_harmless_name_is_not_forbidden(name):
    column = ProfileColumn(name, "float", DECLARED, frozenset({Role.FEATURE}))
    assert len(features.chosen(of(profiles=[{"user": "u"}], columns=[column]), EVERYTHING)) == 1


def test_a_profile_column_cannot_take_the_name_of_another_feature():
    column = ProfileColumn("orders_30d", "float", DECLARED, frozenset({Role.FEATURE}))
    with pytest.raises(forbidden.FeatureForbidden) as caught:
        features.chosen(of([event()], [{"user": "u"}], [column]), EVERYTHING)
    assert {f.code for f in caught.value.faults} == {"name_taken"}


def test_only_what_the_folder_holds_of_the_categories_asked_for_is_chosen():
    data = of([event(), event("loan_opened", 5, category=CREDIT, loan=1)])
    assert {f.category for f in features.chosen(data, EVERYTHING)} == {SHOPPING, CREDIT}
    assert {f.category for f in features.chosen(data, frozenset({SHOPPING}))} == {SHOPPING}
    assert not any("refund" in f.expression for f in features.chosen(data, EVERYTHING))


def test_events_that_the_catalogue_does_not_know_are_measured_in_general():
    data = of([event("unheard of", 5000, category=Category.FITNESS)])
    found = features.chosen(data, EVERYTHING)
    assert {f.reason for f in found} == {"FI-900"}
    assert not np.isnan(features.compute(data, asked("u"), found).values[0, 0])


def test_utilisation_needs_the_limit_in_its_own_category():
    events = [event("statement_balance", 50, days=5, category=CREDIT)]
    profiles = [{"user": "u", "credit_limit": 200}]
    elsewhere = replace(LIMIT, category=DECLARED)
    assert "utilisation_last_90d" in {
        f.name for f in features.chosen(of(events, profiles, [LIMIT]), EVERYTHING)
    }
    assert "utilisation_last_90d" not in {
        f.name for f in features.chosen(of(events, profiles, [elsewhere]), EVERYTHING)
    }
    expression = "last(statement_balance.value) / profile(credit_limit)"
    assert measure(expression, events, category=CREDIT, profiles=profiles, columns=[LIMIT]) == 0.25


def test_asked_terms_are_features_when_they_are_known():
    outcomes = [{"user": "u", "amount": 5.0}]
    found = features.chosen(of(outcomes=outcomes), EVERYTHING)
    assert [f.name for f in found] == ["asked_amount"]
    assert features.compute(of(), asked("u", amount=[9.0]), found).values[0, 0] == 9
    assert np.isnan(features.compute(of(), asked("u"), found).values[0, 0])


KINDS = [
    ("order", SHOPPING),
    ("refund", SHOPPING),
    ("loan_opened", CREDIT),
    ("loan_first_repaid_days_late", CREDIT),
    ("loan_closed_after_days", CREDIT),
    ("payment", CREDIT),
    ("session", Category.DEVICE_USAGE),
]
ALL = features.chosen(of([event(name, 1, category=category) for name, category in KINDS]), EVERYTHING)


@st.composite
def some_events(draw, after=False):
    name, category = draw(st.sampled_from(KINDS))
    days = draw(st.floats(-300, 0) if after else st.floats(0.001, 500))
    value = draw(st.none() | st.floats(-1e6, 1e6))
    attributes = {
        "loan": draw(st.integers(1, 3)),
        "term_days": draw(st.sampled_from([0, 15, 30])),
        "night": 1,
    }
    user = draw(st.sampled_from(["a", "b", "c"]))
    return event(
        name, value, days=days, user=user, category=category, count=draw(st.integers(0, 9)), **attributes
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(some_events(), max_size=25),
    st.lists(some_events(after=True), min_size=1, max_size=10),
    st.randoms(),
)
def test_no_later_event_and_no_order_of_rows_changes_a_byte(events, later, random):
    before = features.compute(of(events), asked("a", "b", "c"), ALL)
    mixed = [*events, *later]
    random.shuffle(mixed)
    after = features.compute(of(mixed), asked("a", "b", "c"), ALL)
    assert after.digest == before.digest
    assert after.values.tobytes() == before.values.tobytes()
    for category in before.events:
        assert after.events[category].tolist() == before.events[category].tolist()
        assert after.active_days[category].tolist() == before.active_days[category].tolist()


@settings(max_examples=40, deadline=None)
@given(st.lists(some_events(), max_size=40))
def test_a_person_alone_has_the_bytes_of_the_batch(events):
    batch = features.compute(of(events), asked("a", "b", "c"), ALL)
    for row, user in enumerate("abc"):
        own = [e for e in events if e["user"] == user]
        alone = features.compute(of(own), asked(user), ALL)
        assert alone.values[0].tobytes() == batch.values[row].tobytes()


@pytest.mark.parametrize("others", range(6))
def test_events_of_one_moment_have_one_age_wherever_they_stand(others):
    """A division that a column's middle and its end do differently would tell how many others are beside them."""
    moment = {"at": CUTOFF - timedelta(microseconds=11_084_062_335_682)}
    twice = [event("loan_opened", category=CREDIT) | moment] * 2
    beside = [event(days=1.0, user="v")] * others
    gap = features.Feature("x", CREDIT, "days", 365, 1, "", "CH-004", "mean_gap(loan_opened)")
    orders = features.Feature("y", SHOPPING, "orders", 365, 1, "", "SH-001", "count(order)")
    computed = features.compute(of([*beside, event(), *twice]), asked("v", "u"), [gap, orders])
    assert computed.values[1, 0] == 0.0


@settings(max_examples=30, deadline=None)
@given(st.lists(some_events(), max_size=25), st.sampled_from([SHOPPING, CREDIT]))
def test_a_category_reads_nothing_of_another(events, category):
    own = [i for i, f in enumerate(ALL) if f.category is category]
    everything = features.compute(of(events), asked("a"), ALL).values[:, own]
    without = [e for e in events if e["category"] == category]
    assert features.compute(of(without), asked("a"), ALL).values[:, own].tobytes() == everything.tobytes()


def test_a_user_may_be_asked_about_at_several_moments():
    data = of([event(days=10), event(days=50)])
    moments = pl.DataFrame({"user": ["u", "u"], "cutoff": [CUTOFF - timedelta(days=20), CUTOFF]})
    found = [f for f in ALL if f.name == "orders_90d"]
    assert features.compute(data, moments, found).values[:, 0].tolist() == [1, 2]


def test_a_matrix_is_what_the_scorer_expects():
    matrix = features.compute(of([event(value=3)]), asked("u", "v"), ALL)
    assert matrix.values.dtype == np.float32
    assert matrix.values.flags.f_contiguous
    assert (matrix.users, matrix.cutoffs) == (("u", "v"), (CUTOFF, CUTOFF))
    assert all(c.dtype == np.int32 for c in (*matrix.events.values(), *matrix.active_days.values()))


def test_the_digest_covers_definitions_values_users_and_cutoffs():
    data, found = of([event(value=3)]), ALL[-5:]
    base = features.compute(data, asked("u"), found).digest
    assert features.compute(data, asked("u"), found).digest == base
    others = [
        features.compute(data, asked("v"), found),
        features.compute(data, asked("u", cutoff=CUTOFF + timedelta(seconds=1)), found),
        features.compute(of([event(days=2)]), asked("u"), ALL[:5]),
        features.compute(data, asked("u"), [replace(found[0], why="otherwise"), *found[1:]]),
    ]
    assert len({base, *(m.digest for m in others)}) == 5


def every_feature():
    names = {
        (d.category, term.event)
        for d in feature_catalogue.DEFINITIONS
        for term in feature_terms.parse(d.expression).terms
        if term.how != "profile"
    }
    events = [event(name, 1, category=category) for category, name in names]
    known = [event("unheard_of", 1, category=c) for c in Category if c not in {c for c, _ in names}]
    columns = [
        LIMIT,
        *(ProfileColumn(f"some_{c.value}", "float", c, frozenset({Role.FEATURE})) for c in Category),
        *(ProfileColumn(n, "float", DECLARED, frozenset({Role.FEATURE})) for n in feature_catalogue.STATED),
    ]
    outcomes = [{"user": "u", "amount": 1.0, "tenor_days": 1}]
    return features.chosen(of(events + known, [{"user": "u"}], columns, outcomes), EVERYTHING)


def test_the_whole_catalogue_can_be_computed():
    found = every_feature()
    assert len({f.name for f in found}) == len(found)
    assert sum(len(d.windows) for d in feature_catalogue.DEFINITIONS) <= len(found)
    assert features.compute(of([event()]), asked("u"), found).values.shape == (1, len(found))


def test_every_feature_has_a_reason_in_both_languages_and_directions():
    catalogue = tomllib.loads(explanation.CATALOGUE.read_text("utf-8"))
    for feature in every_feature():
        reason = catalogue[feature.reason]
        assert reason["category"] == feature.category, feature.name
        for language in ("zh-CN", "en"):
            for direction in ("raises", "lowers"):
                assert reason[language][direction], feature.name


def test_the_reason_catalogue_is_sound():
    catalogue = tomllib.loads((Path(features.__file__).with_name("reasons.toml")).read_text("utf-8"))
    texts = [t for r in catalogue.values() for language in ("zh-CN", "en") for t in r[language].values()]
    assert len(texts) == len(set(texts))
    for code, reason in catalogue.items():
        assert code[:2] == feature_catalogue.PREFIX[Category(reason["category"])]
        assert reason["version"] >= 1
        assert isinstance(reason["actionable"], bool)
        assert all(
            t.endswith("。") and not any("a" <= ch <= "z" for ch in t) for t in reason["zh-CN"].values()
        )
        assert all(t.endswith(".") and "score" not in t for t in reason["en"].values())


def test_a_direction_is_declared_or_its_absence_explained():
    for feature in every_feature():
        assert feature.monotone in {-1, 0, 1}
        assert bool(feature.why) == (feature.monotone == 0), feature.name
        assert feature.window_days in {None, 7, 30, 90, 365}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "median(order.value)",
        "mean(order.value",
        "mean(order) + mean(order)",
        "os.system(ls)",
        "count(order) / ",
    ],
)
def test_a_mistake_in_an_expression_is_found(text):
    with pytest.raises(ValueError, match="not a term"):
        feature_terms.parse(text)


@given(st.text(max_size=30))
def test_any_value_of_a_column_survives_its_expression(value):
    parsed = feature_terms.parse(f"profile(job) = {json.dumps(value, ensure_ascii=False)}")
    assert parsed.equals == value
