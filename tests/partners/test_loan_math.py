"""Loan arithmetic against worked schedules, against well-known wrong answers, and by its invariants."""

import decimal
import json
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from compliance import canonical
from compliance.vocabulary import Language
from partners import loan_math
from partners import quote as quotes
from partners.loan_math import Formula, Schedule
from partners.terms import ORDINARY_LIMITS, Charged, Fee, Limits, Method, Terms, TermsUnacceptable

FILE: dict[str, Any] = json.loads((Path(__file__).parent / "loan_vectors.json").read_text())
VECTORS: list[dict[str, Any]] = FILE["vectors"]
RATE = Decimal("0.0005")
PRINCIPAL, INSTALMENT = Method.EQUAL_PRINCIPAL, Method.EQUAL_INSTALMENT
LONG = Limits(principal_min_minor=1, instalments_max=60)


def minor(text: str) -> int:
    return int(Decimal(text) * 100)


def terms(
    principal: str, disbursed: str, instalments: int, method: Method, rate: Decimal = RATE, *fees: Fee
) -> Terms:
    return Terms(minor(principal), date.fromisoformat(disbursed), instalments, rate, method, fees=fees)


def of_vector(vector: dict[str, Any]) -> Terms:
    return terms(
        vector["principal"],
        vector["disbursed"],
        vector["instalments"],
        Method(vector["method"]),
        Decimal(vector["daily_rate"]),
    )


def autumn(rate: Decimal = RATE, *fees: Fee) -> Schedule:
    """10,000.00 in six equal instalments from 2026-08-03."""
    return loan_math.schedule(terms("10000.00", "2026-08-03", 6, INSTALMENT, rate, *fees))


def percent(rate: Decimal, places: int = 4) -> str:
    return f"{rate * 100:.{places}f}"


# --- worked examples ---


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['principal']}-{v['disbursed']}-{v['method']}")
def test_a_quote_is_the_vector(vector: dict[str, Any]) -> None:
    quoted = quotes.quote(of_vector(vector))
    assert quoted == vector
    assert json.dumps(quoted) == json.dumps(vector)  # the order of the members too


@pytest.mark.parametrize(
    ("case", "days", "interest", "simple", "xirr"),
    [
        (("10000.00", "2026-08-03", 6, PRINCIPAL), [38, 30, 31, 30, 31, 31], "570.83", "18.2498", "19.8424"),
        (("10000.00", "2026-08-03", 6, INSTALMENT), [38, 30, 31, 30, 31, 31], "578.95", "18.2498", "19.8426"),
        (("100.00", "2026-01-31", 6, PRINCIPAL), [10, 28, 31, 30, 31, 30], "4.22", "18.2579", "19.8823"),
        (("100.00", "2026-01-31", 6, INSTALMENT), [10, 28, 31, 30, 31, 30], "4.25", "18.2770", "19.9033"),
        (("1000.00", "2028-02-29", 3, INSTALMENT), [10, 31, 30], "20.34", "18.2571", "19.8912"),
        (("1000.00", "2026-12-10", 1, PRINCIPAL), [31], "15.50", "18.2500", "19.8535"),
        (("10000.00", "2026-01-01", 1, PRINCIPAL), [40], "200.00", "18.2500", "19.8054"),
        (("10000.00", "2026-01-31", 1, PRINCIPAL), [10], "50.00", "18.2500", "19.9668"),
    ],
)
def test_golden_rows(
    case: tuple[str, str, int, Method], days: list[int], interest: str, simple: str, xirr: str
) -> None:
    plan = loan_math.schedule(terms(*case))
    assert [row.days for row in plan.instalments] == days
    assert plan.total_interest_minor == minor(interest)
    assert percent(loan_math.simple(plan)) == simple
    assert percent(loan_math.xirr_365(plan)) == xirr


@pytest.mark.parametrize(
    ("case", "level", "last"),
    [
        (("6000.00", "2015-09-15", 6), "1051.32", "1051.33"),
        (("10000.00", "2026-08-03", 6), "1763.16", "1763.15"),
        (("100.00", "2026-01-31", 6), "17.37", "17.40"),
        (("1000.00", "2028-02-29", 3), "340.11", "340.12"),
    ],
)
def test_equal_instalments_are_equal_but_the_last(case: tuple[str, str, int], level: str, last: str) -> None:
    *same, closing = loan_math.schedule(terms(*case, INSTALMENT)).instalments
    assert {row.payment_minor for row in same} == {minor(level)}
    assert closing.payment_minor == minor(last)


def test_half_a_fen_is_rounded_up() -> None:
    plan = loan_math.schedule(terms("101.00", "2026-01-31", 1, PRINCIPAL))  # ten days: 50.5 fen
    assert plan.total_interest_minor == 51


def test_worked_example_in_total() -> None:
    plan = loan_math.schedule(terms("6000.00", "2015-09-15", 6, PRINCIPAL))
    level = loan_math.schedule(terms("6000.00", "2015-09-15", 6, INSTALMENT))
    assert sum(row.days for row in plan.instalments) == 177
    assert sum(row.payment_minor for row in plan.instalments) == minor("6304.50")
    assert sum(row.payment_minor for row in level.instalments) == minor("6307.93")
    assert {f: percent(r) for f, r in loan_math.rates(plan).items()} == {
        Formula.CN_SIMPLE_365: "18.2500",
        Formula.CN_SIMPLE_360: "18.0000",
        Formula.CN_IRR: "19.8632",
    }
    assert {f: percent(r) for f, r in loan_math.rates(level).items()} == {
        Formula.CN_SIMPLE_365: "18.2497",
        Formula.CN_SIMPLE_360: "17.9997",
        Formula.CN_IRR: "19.8627",
    }


@pytest.mark.parametrize("case", FILE["overdue"])
def test_overdue_vector(case: dict[str, Any]) -> None:
    agreed = Terms(
        minor("6000.00"),
        date(2015, 9, 15),
        6,
        Decimal(case["daily_rate"]),
        PRINCIPAL,
        overdue_multiplier=Decimal(case["multiplier"]),
    )
    due, paid = date.fromisoformat(case["due"]), date.fromisoformat(case["paid"])
    assert (paid - due).days == case["days"]
    assert loan_math.penalty(agreed, minor(case["amount"]), due, paid) == minor(case["penalty"])


def test_penalty_starts_the_day_after_the_due_date() -> None:
    agreed = terms("6000.00", "2015-09-15", 6, PRINCIPAL)
    due = date(2015, 10, 10)
    for paid in (due - timedelta(days=5), due):
        assert loan_math.penalty(agreed, 107_500, due, paid) == 0
    assert loan_math.penalty(agreed, 107_500, due, due + timedelta(days=1)) == 81  # 0.80625 rounded half up


def test_overdue_year_is_contingent_and_not_in_the_normal_rate() -> None:
    agreed = terms("6000.00", "2015-09-15", 6, PRINCIPAL)
    daily = agreed.daily_rate * agreed.overdue_multiplier
    assert (percent(daily * 365, 3), percent(daily * 360, 1)) == ("27.375", "27.0")
    harsher = Terms(minor("6000.00"), date(2015, 9, 15), 6, RATE, PRINCIPAL, overdue_multiplier=Decimal(3))
    assert loan_math.rates(loan_math.schedule(harsher)) == loan_math.rates(loan_math.schedule(agreed))


@pytest.mark.parametrize("case", FILE["prepay"])
def test_prepayment_vector(case: dict[str, Any]) -> None:
    plan = loan_math.schedule(of_vector(VECTORS[case["vector"]]))
    on = date.fromisoformat(case["on"])
    assert sum(row.due <= on for row in plan.instalments) == case["after_instalment"]
    assert loan_math.prepayment(plan, on) == minor(case["amount"])


def test_prepayment_at_the_edges() -> None:
    plan = loan_math.schedule(of_vector(VECTORS[0]))
    assert loan_math.prepayment(plan, date(2015, 9, 15)) == minor("6000.00")
    assert loan_math.prepayment(plan, date(2015, 10, 9)) == minor("6072.00")  # 24 days, no instalment paid
    assert loan_math.prepayment(plan, date(2015, 10, 10)) == minor(
        "5000.00"
    )  # the instalment of the day is paid
    assert loan_math.prepayment(plan, date(2016, 3, 10)) == 0
    with pytest.raises(TermsUnacceptable) as refused:
        loan_math.prepayment(plan, date(2015, 9, 14))
    assert [fault.code for fault in refused.value.faults] == ["before_disbursement"]


# --- ceilings ---


@pytest.mark.parametrize(
    ("cap", "simple_365", "simple_360", "xirr"),
    [
        ("0.24", "0.065753", "0.066667", "0.059512"),
        ("0.20", "0.054795", "0.055556", "0.050364"),
        ("0.36", "0.098630", "0.100000", "0.085425"),
    ],
)
def test_highest_daily_rates_by_cap(cap: str, simple_365: str, simple_360: str, xirr: str) -> None:
    def at(daily_percent: str) -> dict[Formula, Decimal]:
        big = Terms(
            10**12, date(2026, 8, 3), 6, Decimal(daily_percent) / 100, INSTALMENT
        )  # rounding vanishes
        return dict(loan_math.rates(loan_math.schedule(big)))

    close = Decimal("0.00001")
    assert abs(at(simple_365)[Formula.CN_SIMPLE_365] - Decimal(cap)) < close
    assert abs(at(simple_360)[Formula.CN_SIMPLE_360] - Decimal(cap)) < close
    assert abs(at(xirr)[Formula.CN_IRR] - Decimal(cap)) < close


def test_simple_passes_where_compound_fails() -> None:
    for nominal in ("0.2173", "0.2300", "0.2399"):
        rate = (Decimal(nominal) / 365).quantize(Decimal("1e-9"), decimal.ROUND_DOWN)
        plan = autumn(rate)
        assert loan_math.simple(plan) <= Decimal("0.24") < loan_math.xirr_365(plan)
    assert loan_math.xirr_365(autumn(Decimal("0.000595"))) < Decimal("0.24")


def test_twelve_percent_needs_a_lower_rate() -> None:
    assert loan_math.simple(autumn()) > Decimal("0.12")
    assert loan_math.simple(autumn(Decimal("0.00032877"))) == pytest.approx(
        Decimal("0.12"), abs=Decimal("1e-5")
    )


@pytest.mark.parametrize(
    ("charged", "fee", "formula", "cap"),
    [
        (Charged.UPFRONT, "182.41", Formula.CN_SIMPLE_365, "0.24"),
        (Charged.UPFRONT, "104.73", Formula.CN_IRR, "0.24"),
        (Charged.EACH_INSTALMENT, "30.40", Formula.CN_SIMPLE_365, "0.24"),
        (Charged.EACH_INSTALMENT, "18.66", Formula.CN_IRR, "0.24"),
        (Charged.UPFRONT, "563.10", Formula.CN_SIMPLE_365, "0.36"),
        (Charged.UPFRONT, "381.79", Formula.CN_IRR, "0.36"),
    ],
)
def test_fees_that_reach_a_cap(charged: Charged, fee: str, formula: Formula, cap: str) -> None:
    def cost(amount_minor: int) -> Decimal:
        return loan_math.rates(autumn(RATE, Fee(amount_minor, "guarantor", charged)))[formula]

    # Within one fen of the figure the cost crosses the cap.
    assert cost(minor(fee) - 1) < Decimal(cap) < cost(minor(fee) + 1)


@pytest.mark.parametrize(
    ("charged", "fee", "simple", "xirr"),
    [(Charged.EACH_INSTALMENT, "25.00", "22.98", "25.44"), (Charged.UPFRONT, "300.00", "27.71", "32.30")],
)
def test_cost_with_fees(charged: Charged, fee: str, simple: str, xirr: str) -> None:
    plan = autumn(RATE, Fee(minor(fee), "guarantor", charged))
    assert (percent(loan_math.simple(plan), 2), percent(loan_math.xirr_365(plan), 2)) == (simple, xirr)


def test_a_quote_with_fees_shows_them() -> None:
    fees = (Fee(30_000, "guarantor", Charged.UPFRONT), Fee(2_500, "servicer", Charged.EACH_INSTALMENT))
    quoted: Any = quotes.quote(terms("10000.00", "2026-08-03", 6, INSTALMENT, RATE, *fees))
    assert quoted["fees"] == [
        {"amount": "300.00", "collector": "guarantor", "charged": "upfront"},
        {"amount": "25.00", "collector": "servicer", "charged": "each_instalment"},
    ]
    assert quoted["total_interest"] == "578.95"
    assert quoted["total_cost"] == "1028.95"
    assert quoted["schedule"][0]["fee"] == "25.00"
    assert quoted["schedule"][0]["payment"] == "1788.16"


# --- well-known wrong answers: the wrong formula gives its number, ours does not ---


def balances(plan: Schedule) -> list[int]:
    return [plan.terms.principal_minor, *(row.balance_minor for row in plan.instalments)]


def per_period_irr(plan: Schedule) -> float:
    """The rate per instalment, as if all periods were alike."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        worth = sum(row.payment_minor / (1 + middle) ** row.k for row in plan.instalments)
        low, high = (middle, high) if worth > plan.terms.principal_minor else (low, middle)
    return low


def test_counting_both_end_days_is_wrong() -> None:
    plan = loan_math.schedule(of_vector(VECTORS[0]))
    wrong = sum(b * RATE * (row.days + 1) for b, row in zip(balances(plan), plan.instalments, strict=False))
    assert wrong == minor("315.00") != plan.total_interest_minor


def test_thirty_day_months_are_wrong() -> None:
    plan = loan_math.schedule(of_vector(VECTORS[0]))
    days = [plan.instalments[0].days, *[30] * 5]
    wrong = sum(b * RATE * d for b, d in zip(balances(plan), days, strict=False))
    assert wrong == minor("300.00") != plan.total_interest_minor


def test_interest_over_the_whole_principal_is_wrong() -> None:
    plan = loan_math.schedule(of_vector(VECTORS[0]))
    wrong = Decimal(plan.total_interest_minor) / plan.terms.principal_minor / (Decimal(177) / 365)
    assert percent(wrong, 2) == "10.47"
    assert all(percent(rate, 2) != "10.47" for rate in loan_math.rates(plan).values())


def test_twelve_times_a_monthly_rate_is_wrong() -> None:
    plan = loan_math.schedule(of_vector(VECTORS[0]))
    assert f"{per_period_irr(plan) * 12:.2%}" == "17.38%"
    assert all(percent(rate, 2) != "17.38" for rate in loan_math.rates(plan).values())


SCANNED = st.builds(
    Terms,
    principal_minor=st.sampled_from([10_000, 50_000, 100_000, 1_000_000]),
    disbursed=st.integers(0, 243).map(lambda n: date(2027, 1, 1) + timedelta(days=3 * n)),
    instalments=st.integers(1, 6),
    daily_rate=st.just(RATE),
    method=st.sampled_from(Method),
)
"""Every third day of two years, as the published scan took them; on days between, fen may round a little further."""


@given(SCANNED)
def test_annual_rates_stay_in_the_scanned_band(agreed: Terms) -> None:
    plan = loan_math.schedule(agreed)
    assert Decimal("0.1979") <= loan_math.xirr_365(plan).quantize(Decimal("1e-4")) <= Decimal("0.1999")
    assert Decimal("0.1818") <= loan_math.simple(plan).quantize(Decimal("1e-4")) <= Decimal("0.1835")


def test_the_naive_rate_runs_from_six_to_twenty_four_percent() -> None:
    shortest = loan_math.schedule(terms("10000.00", "2027-01-31", 1, PRINCIPAL))
    longest = loan_math.schedule(terms("10000.00", "2027-01-01", 1, PRINCIPAL))
    assert [f"{per_period_irr(plan) * 12:.2%}" for plan in (shortest, longest)] == ["6.00%", "24.00%"]


# --- invariants ---

ANY = st.builds(
    Terms,
    principal_minor=st.integers(10_000, 10**9),
    disbursed=st.dates(date(2000, 1, 1), date(2100, 12, 31)),
    instalments=st.integers(1, 60),
    daily_rate=st.decimals("0.000001", "0.001", places=6),
    method=st.sampled_from(Method),
    repayment_day=st.integers(1, 28),
    fees=st.lists(
        st.builds(
            Fee,
            amount_minor=st.integers(0, 900),
            collector=st.just("servicer"),
            charged=st.sampled_from(Charged),
        ),
        max_size=3,
    ).map(tuple),
)


def planned(agreed: Terms) -> Schedule:
    """The schedule; equal instalments may be refused where the first months' interest alone exceeds them."""
    if agreed.method is INSTALMENT and agreed.daily_rate * agreed.instalments * 60 >= 1:
        reject()
    return loan_math.schedule(agreed, LONG)


@given(ANY)
def test_schedule_invariants(agreed: Terms) -> None:
    rows = planned(agreed).instalments
    assert len(rows) == agreed.instalments
    assert sum(row.principal_minor for row in rows) == agreed.principal_minor
    assert rows[-1].balance_minor == 0
    assert all(row.principal_minor > 0 for row in rows)
    assert [row.k for row in rows] == list(range(1, agreed.instalments + 1))
    owed = agreed.principal_minor
    for row in rows:
        exact = owed * agreed.daily_rate * row.days
        assert abs(row.interest_minor - exact) <= Decimal("0.5")
        owed -= row.principal_minor
        assert row.balance_minor == owed


@given(ANY)
def test_due_dates(agreed: Terms) -> None:
    rows = planned(agreed).instalments
    days = [agreed.disbursed, *(row.due for row in rows)]
    months = [day.year * 12 + day.month for day in days]
    assert all(later - earlier == 1 for earlier, later in pairwise(months))
    assert {row.due.day for row in rows} == {agreed.repayment_day}
    assert [(later - earlier).days for earlier, later in pairwise(days)] == [row.days for row in rows]


@given(SCANNED)
def test_first_period_and_rounding_residue(agreed: Terms) -> None:
    rows = loan_math.schedule(agreed).instalments
    assert 10 <= rows[0].days <= 40
    if agreed.method is PRINCIPAL:
        assert 0 <= rows[-1].principal_minor - rows[0].principal_minor <= 5
    else:
        assert abs(rows[-1].payment_minor - rows[0].payment_minor) <= 5


@given(ANY)
def test_xirr_is_the_root(agreed: Terms) -> None:
    plan = planned(agreed)
    rate = loan_math.xirr_365(plan)
    received = agreed.principal_minor - agreed.fees_minor(Charged.UPFRONT)
    worth = sum(
        row.payment_minor / float(1 + rate) ** ((row.due - agreed.disbursed).days / 365)
        for row in plan.instalments
    )
    assert worth == pytest.approx(received, rel=1e-9)


@settings(max_examples=50)
@given(ANY, st.integers(0, 500))
def test_a_fee_never_makes_a_loan_cheaper(agreed: Terms, amount_minor: int) -> None:
    dearer = Terms(
        agreed.principal_minor,
        agreed.disbursed,
        agreed.instalments,
        agreed.daily_rate,
        agreed.method,
        agreed.repayment_day,
        fees=(*agreed.fees, Fee(amount_minor, "guarantor", Charged.UPFRONT)),
    )
    plain, costly = planned(agreed), planned(dearer)
    assert costly.total_cost_minor - plain.total_cost_minor == amount_minor
    assert loan_math.xirr_365(costly) >= loan_math.xirr_365(plain)
    assert loan_math.simple(costly) >= loan_math.simple(plain)


def test_the_callers_decimal_context_changes_nothing() -> None:
    vector, agreed = VECTORS[3], of_vector(VECTORS[3])
    with decimal.localcontext(decimal.Context(prec=3, rounding=decimal.ROUND_UP)):
        assert quotes.quote(agreed) == vector
        assert loan_math.decimal_text(Decimal("0.00050250")) == "0.0005025"


def test_the_root_is_found_at_the_extremes() -> None:
    for rate, method in (("0.000000000001", INSTALMENT), ("0.001", INSTALMENT), ("0.03", PRINCIPAL)):
        plan = loan_math.schedule(Terms(10**12, date(2026, 8, 31), 60, Decimal(rate), method), LONG)
        assert loan_math.xirr_365(plan) > 0
    robbery = Terms(
        10_000, date(2026, 8, 31), 60, RATE, PRINCIPAL, 1, fees=(Fee(9_999, "guarantor", Charged.UPFRONT),)
    )
    with pytest.raises(TermsUnacceptable) as refused:
        loan_math.xirr_365(loan_math.schedule(robbery, LONG))
    assert [fault.code for fault in refused.value.faults] == ["cost_beyond_measure"]


# --- refusals ---

GOOD: dict[str, Any] = {
    "principal_minor": 600_000,
    "disbursed": date(2015, 9, 15),
    "instalments": 6,
    "daily_rate": RATE,
    "method": PRINCIPAL,
}


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("principal_minor", 9_999, "amount_out_of_range"),
        ("principal_minor", 10**12 + 1, "amount_out_of_range"),
        ("instalments", 0, "tenor_not_offered"),
        ("instalments", 7, "tenor_not_offered"),
        ("daily_rate", Decimal(0), "rate_out_of_range"),
        ("daily_rate", Decimal(1), "rate_out_of_range"),
        ("daily_rate", Decimal("-0.0005"), "rate_out_of_range"),
        ("daily_rate", Decimal("NaN"), "rate_out_of_range"),
        ("daily_rate", Decimal("Infinity"), "rate_out_of_range"),
        ("daily_rate", Decimal("1E-13"), "rate_out_of_range"),
        ("repayment_day", 0, "day_out_of_range"),
        ("repayment_day", 29, "day_out_of_range"),
        ("overdue_multiplier", Decimal(-1), "multiplier_out_of_range"),
        ("overdue_multiplier", Decimal("NaN"), "multiplier_out_of_range"),
        ("overdue_multiplier", Decimal(11), "multiplier_out_of_range"),
        ("disbursed", date(1999, 12, 31), "date_out_of_range"),
        ("disbursed", date(9999, 12, 31), "date_out_of_range"),
        ("fees", (Fee(-1, "x", Charged.UPFRONT),), "fee_out_of_range"),
        ("fees", (Fee(1, "x", Charged.UPFRONT),) * 11, "fee_out_of_range"),
        ("fees", (Fee(600_000, "x", Charged.UPFRONT),), "nothing_disbursed"),
    ],
)
def test_bad_terms_are_refused(field: str, value: object, code: str) -> None:
    with pytest.raises(TermsUnacceptable) as refused:
        loan_math.schedule(Terms(**{**GOOD, field: value}))
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [(f"/{field}", code)]
    assert (refused.value.status, refused.value.code) == (422, "terms_unacceptable")


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(TermsUnacceptable) as refused:
        loan_math.schedule(Terms(1, date(2015, 9, 15), 60, Decimal(2), PRINCIPAL))
    assert [f.pointer for f in refused.value.faults] == ["/principal_minor", "/instalments", "/daily_rate"]


def test_a_payment_that_repays_nothing_is_refused() -> None:
    with pytest.raises(TermsUnacceptable) as refused:
        loan_math.schedule(terms("10000.00", "2026-08-01", 6, INSTALMENT, Decimal("0.9")))
    assert [fault.code for fault in refused.value.faults] == ["principal_not_repaid"]


def test_a_product_sets_its_own_limits() -> None:
    agreed = terms("10000.00", "2026-08-03", 12, INSTALMENT)
    with pytest.raises(TermsUnacceptable):
        loan_math.schedule(agreed, ORDINARY_LIMITS)
    assert len(loan_math.schedule(agreed, Limits(instalments_max=12)).instalments) == 12


@pytest.mark.parametrize(
    "limits",
    [
        {"principal_min_minor": 0},
        {"principal_min_minor": 2, "principal_max_minor": 1},
        {"instalments_min": 0},
        {"instalments_min": 7},
        {"instalments_max": 61},
    ],
)
def test_empty_limits_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(TermsUnacceptable):
        Limits(**limits)


# --- words and records ---


def test_a_simple_rate_is_called_simple() -> None:
    for formula, label in loan_math.LABELS.items():
        is_simple = formula in (Formula.CN_SIMPLE_365, Formula.CN_SIMPLE_360)
        assert ("单利" in label[Language.ZH_CN]) is is_simple
        assert ("simple" in label[Language.EN]) is is_simple
    assert set(loan_math.LABELS) == set(Formula)


def test_the_record_of_a_schedule_has_a_digest() -> None:
    record = loan_math.record(autumn())
    assert canonical.digest(record) == canonical.digest(loan_math.record(autumn()))
    assert canonical.digest(record) != canonical.digest(loan_math.record(autumn(Decimal("0.000501"))))
