"""Routing is blind, in the person's interest, complete and replayable."""

import json
from dataclasses import fields, replace
from datetime import date
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compliance import canonical, criteria_json
from compliance.criteria import Compare, IsNull, Not
from compliance.vocabulary import PartnerId, PartnerKind
from partners import loan_math, ranking_receipt, routing
from partners.loan_math import Formula
from partners.routing import LeftOutCode, Licence, Period, Product, ProductKind, Route, Wish
from partners.terms import Charged, Fee, Limits, Method, Terms

APPLICATION = UUID(int=7)
WISH = Wish(
    amount_minor=1_000_000,
    currency="CNY",
    instalments=6,
    region="CN-BJ",
    age=30,
    is_student=False,
    use_of_funds="education",
    jurisdiction="CN",
    as_of=date(2026, 8, 3),
)
YEAR = Period(date(2026, 1, 1), date(2027, 1, 1))
PRODUCT = Product(
    id=UUID(int=1),
    partner=PartnerId(UUID(int=100)),
    lender_class=PartnerKind.BANK,
    kind=ProductKind.INSTALMENT,
    currency="CNY",
    limits=Limits(
        principal_min_minor=100_000, principal_max_minor=5_000_000, instalments_min=3, instalments_max=12
    ),
    daily_rate=Decimal("0.0005"),
    method=Method.EQUAL_INSTALMENT,
    repayment_day=10,
    overdue_multiplier=Decimal("1.5"),
    fees=(),
    regions=frozenset({"CN-BJ", "CN-SH"}),
    age_min=18,
    age_max=60,
    serves_students=False,
    criteria=None,
    licence=Licence("B0001", "CN", YEAR),
    offered=YEAR,
    partner_suspended=False,
    operator_stake=False,
)


def product(number: int, **changes: Any) -> Product:
    return replace(PRODUCT, id=UUID(int=number), partner=PartnerId(UUID(int=100 + number)), **changes)


def ranked(answer: Route) -> list[int]:
    return [offer.product.id.int for offer in answer.ranked]


def code(wish: Wish, **changes: Any) -> LeftOutCode | None:
    answer = routing.route(APPLICATION, wish, [replace(PRODUCT, **changes)])
    assert len(answer.ranked) + len(answer.left_out) == 1
    return answer.left_out[0].code if answer.left_out else None


PRODUCTS = st.lists(
    st.builds(
        replace,
        st.just(PRODUCT),
        id=st.uuids(),
        daily_rate=st.sampled_from([Decimal("0.0003"), Decimal("0.0005")]),
        method=st.sampled_from(Method),
        fees=st.sampled_from([(), (Fee(10_000, "guarantor", Charged.UPFRONT),)]),
        regions=st.sampled_from([frozenset({"CN-BJ"}), frozenset({"CN-GD"})]),
        age_min=st.sampled_from([18, 31]),
        partner_suspended=st.booleans(),
        operator_stake=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda p: p.id,
)
WISHES = st.builds(
    replace,
    st.just(WISH),
    amount_minor=st.integers(50_000, 6_000_000),
    instalments=st.integers(1, 14),
    region=st.sampled_from(["CN-BJ", "CN-GD", "CN-XZ"]),
    age=st.none() | st.integers(10, 70),
    is_student=st.none() | st.booleans(),
)


# --- ranking ---


def test_the_cheapest_in_money_comes_first() -> None:
    products = [
        product(1, daily_rate=Decimal("0.0004"), fees=(Fee(20_000, "guarantor", Charged.UPFRONT),)),
        product(2, daily_rate=Decimal("0.0005")),
        product(3, daily_rate=Decimal("0.00045"), fees=(Fee(500, "servicer", Charged.EACH_INSTALMENT),)),
        product(4, daily_rate=Decimal("0.0003")),
        product(5, daily_rate=Decimal("0.000505"), method=Method.EQUAL_PRINCIPAL),
    ]
    answer = routing.route(APPLICATION, WISH, products)
    # Neither the lowest rate helps where fees take more (1), nor does a higher one harm where less is owed (5).
    assert ranked(answer) == [4, 3, 5, 2, 1]
    assert answer.ranked[2].rates[Formula.CN_IRR] > answer.ranked[3].rates[Formula.CN_IRR]
    costs = [offer.total_cost_minor for offer in answer.ranked]
    assert costs == sorted(costs)
    assert answer.metric == "total_cost_to_person@1"


@given(WISHES, PRODUCTS)
def test_everybody_is_ranked_or_named(wish: Wish, products: list[Product]) -> None:
    answer = routing.route(APPLICATION, wish, products)
    told = [offer.product.id for offer in answer.ranked] + [out.product for out in answer.left_out]
    assert sorted(told) == sorted(p.id for p in products)
    costs = [offer.total_cost_minor for offer in answer.ranked]
    assert costs == sorted(costs)


@given(WISHES, PRODUCTS, st.randoms(use_true_random=False))
def test_the_order_of_reading_means_nothing(wish: Wish, products: list[Product], random: Random) -> None:
    again = random.sample(products, len(products))
    first, second = (routing.route(APPLICATION, wish, listed) for listed in (products, again))
    assert first == second
    assert ranking_receipt.write(first, wish, products) == ranking_receipt.write(second, wish, again)


@given(WISHES, PRODUCTS, st.lists(st.booleans(), min_size=8, max_size=8))
def test_a_stake_changes_nothing_but_what_is_shown(
    wish: Wish, products: list[Product], stakes: list[bool]
) -> None:
    staked = [replace(p, operator_stake=stake) for p, stake in zip(products, stakes, strict=False)]
    plain, swapped = (routing.route(APPLICATION, wish, listed) for listed in (products, staked))
    assert ranked(plain) == ranked(swapped)
    assert plain.left_out == swapped.left_out
    shown = {offer.product.id: offer.product.operator_stake for offer in swapped.ranked}
    assert all(shown[p.id] == p.operator_stake for p in staked if p.id in shown)


def test_no_stake_breaks_a_tie() -> None:
    orders = {
        tuple(
            ranked(
                routing.route(
                    APPLICATION, WISH, [product(n, operator_stake=n in staked) for n in range(1, 5)]
                )
            )
        )
        for staked in [(), (1,), (2,), (3,), (4,), (1, 2), (3, 4)]
    }
    assert len(orders) == 1


def test_no_type_carries_a_commission_or_a_score() -> None:
    names = {field.name for kind in (Wish, Product, Terms, Fee, Limits, Licence) for field in fields(kind)}
    assert not [
        n for n in names if any(w in n for w in ("commission", "payout", "score", "band", "probability"))
    ]


def test_ties_are_drawn_per_application() -> None:
    products = [product(number) for number in range(1, 6)]
    orders = {tuple(ranked(routing.route(UUID(int=n), WISH, products))) for n in range(300)}
    firsts = {order[0] for order in orders}
    assert firsts == {1, 2, 3, 4, 5}  # no lender is first by habit
    assert ranked(routing.route(APPLICATION, WISH, products)) == ranked(
        routing.route(APPLICATION, WISH, products)
    )


def test_an_unpublished_metric_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        routing.route(APPLICATION, WISH, [PRODUCT], metric="approval_chance@1")


def test_a_product_comes_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        routing.route(APPLICATION, WISH, [PRODUCT, PRODUCT])


# --- who is left out, and why ---


@pytest.mark.parametrize(
    ("wish", "offered", "why"),
    [
        ({}, {}, None),
        ({"age": None}, {}, LeftOutCode.AGE_NOT_ESTABLISHED),
        ({}, {"partner_suspended": True}, LeftOutCode.PARTNER_SUSPENDED),
        ({"jurisdiction": "ID"}, {}, LeftOutCode.LICENCE_NOT_VALID),
        ({}, {"licence": Licence("B1", "CN", Period(date(2026, 8, 4)))}, LeftOutCode.LICENCE_NOT_VALID),
        (
            {},
            {"licence": Licence("B1", "CN", Period(date(2020, 1, 1), WISH.as_of))},
            LeftOutCode.LICENCE_NOT_VALID,
        ),
        ({}, {"licence": Licence("B1", "CN", Period(WISH.as_of))}, None),
        ({}, {"offered": Period(date(2026, 8, 4))}, LeftOutCode.PRODUCT_NOT_OPEN),
        ({"currency": "USD"}, {}, LeftOutCode.CURRENCY_NOT_OFFERED),
        ({"amount_minor": 99_999}, {}, LeftOutCode.AMOUNT_OUT_OF_RANGE),
        ({"amount_minor": 100_000}, {}, None),
        ({"amount_minor": 5_000_000}, {}, None),
        ({"amount_minor": 5_000_001}, {}, LeftOutCode.AMOUNT_OUT_OF_RANGE),
        ({"instalments": 2}, {}, LeftOutCode.TENOR_NOT_OFFERED),
        ({"instalments": 3}, {}, None),
        ({"instalments": 13}, {}, LeftOutCode.TENOR_NOT_OFFERED),
        ({"region": "CN-GD"}, {}, LeftOutCode.REGION_NOT_SERVED),
        ({"age": 17}, {}, LeftOutCode.AGE_NOT_ACCEPTED),
        ({"age": 18}, {}, None),
        ({"age": 60}, {}, None),
        ({"age": 61}, {}, LeftOutCode.AGE_NOT_ACCEPTED),
        ({"is_student": True}, {}, LeftOutCode.STUDENT_NOT_SERVED),
        ({"is_student": None}, {}, LeftOutCode.STUDENT_NOT_ESTABLISHED),
        ({"is_student": True}, {"serves_students": True}, None),
        ({"is_student": None}, {"serves_students": True}, None),
        ({}, {"criteria": Compare("age", ">=", 30)}, None),
        ({}, {"criteria": Compare("age", ">", 30)}, LeftOutCode.CRITERIA_NOT_MET),
        ({}, {"fees": (Fee(1_000_000, "x", Charged.UPFRONT),)}, LeftOutCode.TERMS_UNACCEPTABLE),
        ({}, {"fees": (Fee(999_999, "x", Charged.UPFRONT),)}, LeftOutCode.TERMS_UNACCEPTABLE),
    ],
)
def test_why_a_product_is_left_out(
    wish: dict[str, Any], offered: dict[str, Any], why: LeftOutCode | None
) -> None:
    assert code(replace(WISH, **wish), **offered) is why


def test_every_code_is_reached_by_the_table() -> None:
    table = test_why_a_product_is_left_out.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {row[2] for row in table} == {*LeftOutCode, None}


@given(PRODUCTS)
def test_an_unknown_age_is_offered_nothing(products: list[Product]) -> None:
    answer = routing.route(APPLICATION, replace(WISH, age=None), products)
    assert not answer.ranked
    assert {out.code for out in answer.left_out} <= {LeftOutCode.AGE_NOT_ESTABLISHED}


@pytest.mark.parametrize(
    "tree",
    [Compare("score", ">", 1), Not(Compare("score", ">", 1)), IsNull("score"), Not(IsNull("score"))],
)
def test_criteria_about_more_than_hard_facts_are_never_met(tree: Any) -> None:
    assert code(WISH, criteria=tree) is LeftOutCode.CRITERIA_NOT_MET


def test_a_products_criteria_can_only_name_hard_facts() -> None:
    catalogue = routing.hard_facts(frozenset({"CN-BJ"}))
    assert set(catalogue) == {"amount_minor", "instalments", "region", "age"}
    tree = criteria_json.parse({"op": "=", "args": [{"property": "region"}, "CN-BJ"]}, catalogue)
    assert code(WISH, criteria=tree) is None
    with pytest.raises(criteria_json.CriteriaUnacceptable):
        criteria_json.parse({"op": ">", "args": [{"property": "score"}, 600]}, catalogue)


# --- what an offer says ---


def test_an_offer_in_money_and_in_named_rates() -> None:
    (offer,) = routing.route(APPLICATION, WISH, [PRODUCT]).ranked
    assert offer.total_cost_minor == 57_895
    assert offer.monthly_minor == 176_316
    # 1,763.16 paid 30 days late at 0.075 % a day
    assert offer.late_minor == 3_967
    assert {f: round(r, 6) for f, r in offer.rates.items()} == {
        Formula.CN_SIMPLE_365: Decimal("0.182498"),
        Formula.CN_SIMPLE_360: Decimal("0.179998"),
        Formula.CN_IRR: Decimal("0.198426"),
    }
    assert offer.schedule_digest == canonical.digest(loan_math.record(offer.plan))


def test_no_penalty_is_asked_on_a_fee() -> None:
    fee = Fee(5_000, "servicer", Charged.EACH_INSTALMENT)
    (plain,) = routing.route(APPLICATION, WISH, [PRODUCT]).ranked
    (costly,) = routing.route(APPLICATION, WISH, [replace(PRODUCT, fees=(fee,))]).ranked
    assert costly.monthly_minor == plain.monthly_minor + 5_000
    assert costly.late_minor == plain.late_minor


# --- receipt ---


def receipt(wish: Wish, products: list[Product]) -> dict[str, Any]:
    written = ranking_receipt.write(routing.route(APPLICATION, wish, products), wish, products)
    read: dict[str, Any] = json.loads(written)
    assert canonical.canonical(read) == written
    return read


def test_a_receipt_holds_inputs_order_and_the_left_out() -> None:
    products = [
        product(1, operator_stake=True, criteria=Compare("age", ">=", 18)),
        product(2, daily_rate=Decimal("0.0003"), fees=(Fee(100, "servicer", Charged.UPFRONT),)),
        product(3, regions=frozenset({"CN-GD"})),
    ]
    read = receipt(WISH, products)
    one, two, three = (given["id"] for given in read["products"])
    assert read["metric"] == "total_cost_to_person@1"
    assert read["application"].startswith("app_")
    assert read["wish"]["as_of"] == "2026-08-03"
    assert [offer["product"] for offer in read["offers"]] == [two, one]
    assert [offer["operator_stake"] for offer in read["offers"]] == [False, True]
    assert read["offers"][1]["rates"]["cn_irr"] == "0.198426"
    assert read["offers"][1]["late_30_days_minor"] == 3_967
    assert read["left_out"] == [{"product": three, "code": "region_not_served"}]
    assert read["products"][0]["criteria"] == {"op": ">=", "args": [{"property": "age"}, 18]}
    assert read["products"][1]["fees"] == [
        {"amount_minor": 100, "collector": "servicer", "charged": "upfront"}
    ]


def test_every_input_is_in_the_receipt() -> None:
    """Whatever may change the order or the gates changes the receipt; the stake is shown on the offer alone."""
    changes: dict[str, Any] = {
        "partner": PartnerId(UUID(int=5)),
        "lender_class": PartnerKind.MICROLENDER,
        "kind": ProductKind.REVOLVING_DRAW,
        "currency": "USD",
        "limits": Limits(),
        "daily_rate": Decimal("0.0004"),
        "method": Method.EQUAL_PRINCIPAL,
        "repayment_day": 11,
        "overdue_multiplier": Decimal("1.3"),
        "fees": (Fee(1, "x", Charged.UPFRONT),),
        "regions": frozenset({"CN-BJ"}),
        "age_min": 19,
        "age_max": 59,
        "serves_students": True,
        "criteria": Compare("age", ">", 1),
        "licence": Licence("B0002", "CN", YEAR),
        "offered": Period(date(2026, 1, 1)),
        "partner_suspended": True,
        "id": UUID(int=2),
        "operator_stake": True,
    }
    assert set(changes) == {field.name for field in fields(Product)}
    plain = receipt(WISH, [PRODUCT])
    for name, value in changes.items():
        changed = receipt(WISH, [replace(PRODUCT, **{name: value})])
        where = "offers" if name == "operator_stake" else "products"
        assert changed[where] != plain[where], name
    assert set(plain["wish"]) == {field.name for field in fields(Wish)}


@settings(max_examples=25)
@given(st.uuids(), WISHES, PRODUCTS)
def test_a_route_is_replayed_to_the_same_bytes(
    application: UUID, wish: Wish, products: list[Product]
) -> None:
    first, second = (
        ranking_receipt.write(routing.route(application, wish, products), wish, products) for _ in range(2)
    )
    assert first == second
