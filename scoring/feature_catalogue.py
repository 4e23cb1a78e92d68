"""The public catalogue of what may be measured of events; what a folder does not hold is not chosen."""

from compliance.vocabulary import Category
from scoring.measures import elsewhere, rhythm
from scoring.measures.definition import BILL, EARLY, HABIT, LENT, PACE, Definition

APP, CREDIT = Category.APP_ACTIVITY, Category.CREDIT_HISTORY
DEVICE, SHOPPING = Category.DEVICE_USAGE, Category.SHOPPING

PREFIX = {
    Category.DEVICE_USAGE: "DU",
    Category.APP_ACTIVITY: "AA",
    Category.SHOPPING: "SH",
    Category.LOCATION_RHYTHM: "LR",
    Category.FITNESS: "FI",
    Category.SMART_HOME: "SM",
    Category.SOCIAL_GRAPH: "SG",
    Category.CREDIT_HISTORY: "CH",
    Category.DECLARED: "DE",
}
"""How reason codes of a category begin; <prefix>-900 is for what an outside set brings without a name of ours."""

STATED = {
    "employment": "DE-001",
    "employment_status": "DE-001",
    "education": "DE-002",
    "income_band": "DE-003",
    "bank_account_type": "DE-004",
    "bank_name": "DE-004",
}
"""Reason codes of declared profile columns that we know by name."""


LATE, CLOSED = "loan_first_repaid_days_late", "loan_closed_after_days"

LOANS = (
    Definition("days_late_mean", CREDIT, "days", (90, 365), 1, "CH-001", f"mean({LATE}.value)"),
    Definition("days_late_max", CREDIT, "days", (90, 365), 1, "CH-001", f"max({LATE}.value)"),
    Definition("days_late_min", CREDIT, "days", (365,), 1, "CH-001", f"min({LATE}.value)"),
    Definition("days_late_last", CREDIT, "days", (365,), 1, "CH-001", f"last({LATE}.value)"),
    Definition("late_share", CREDIT, "share", (90, 365), 1, "CH-001", f"share({LATE}.value > 0)"),
    Definition("late_week_share", CREDIT, "share", (365,), 1, "CH-001", f"share({LATE}.value > 7)"),
    Definition("late_count", CREDIT, "count", (365,), 1, "CH-001", f"count({LATE}.value > 0)"),
    Definition("days_late_deviation", CREDIT, "days", (365,), 1, "CH-002", f"deviation({LATE}.value)"),
    Definition(
        "days_late_trend", CREDIT, "days", (365,), 1, "CH-002", f"last({LATE}.value) - mean({LATE}.value)"
    ),
    Definition("loans_repaid", CREDIT, "count", (365,), -1, "CH-003", f"count({LATE})"),
    Definition("loans_opened", CREDIT, "count", (30, 90, 365), 0, "CH-003", "count(loan_opened)", PACE),
    Definition("loan_number_max", CREDIT, "count", (365,), -1, "CH-003", "max(loan_opened.loan_number)"),
    Definition("loan_days_first", CREDIT, "days", (365,), -1, "CH-003", "days_since_first(loan_opened)"),
    Definition("loan_days_since", CREDIT, "days", (365,), 0, "CH-004", "days_since_last(loan_opened)", PACE),
    Definition("loan_gap_mean", CREDIT, "days", (365,), 0, "CH-004", "mean_gap(loan_opened)", PACE),
    Definition("repaid_days_since", CREDIT, "days", (365,), 0, "CH-004", f"days_since_last({LATE})", PACE),
    Definition("closed_days_since", CREDIT, "days", (365,), 0, "CH-004", f"days_since_last({CLOSED})", PACE),
    Definition("loan_amount_mean", CREDIT, "currency", (365,), 0, "CH-005", "mean(loan_opened.value)", LENT),
    Definition("loan_amount_max", CREDIT, "currency", (365,), 0, "CH-005", "max(loan_opened.value)", LENT),
    Definition("loan_amount_last", CREDIT, "currency", (365,), 0, "CH-005", "last(loan_opened.value)", LENT),
    Definition(
        "loan_amount_growth",
        CREDIT,
        "ratio",
        (365,),
        0,
        "CH-005",
        "last(loan_opened.value) / mean(loan_opened.value)",
        LENT,
    ),
    Definition("loan_term_mean", CREDIT, "days", (365,), 0, "CH-006", "mean(loan_opened.term_days)", LENT),
    Definition("loan_term_last", CREDIT, "days", (365,), 0, "CH-006", "last(loan_opened.term_days)", LENT),
    Definition("loan_cost_mean", CREDIT, "ratio", (365,), 1, "CH-006", "mean(loan_opened.total_due / value)"),
    Definition("loan_cost_last", CREDIT, "ratio", (365,), 1, "CH-006", "last(loan_opened.total_due / value)"),
    Definition(
        "closed_over_term_mean", CREDIT, "days", (365,), 1, "CH-007", f"mean({CLOSED}.value - loan.term_days)"
    ),
    Definition(
        "closed_over_term_max", CREDIT, "days", (365,), 1, "CH-007", f"max({CLOSED}.value - loan.term_days)"
    ),
    Definition(
        "closed_over_term_last", CREDIT, "days", (365,), 1, "CH-007", f"last({CLOSED}.value - loan.term_days)"
    ),
    Definition(
        "closed_term_share_mean",
        CREDIT,
        "ratio",
        (365,),
        1,
        "CH-007",
        f"mean({CLOSED}.value / loan.term_days)",
    ),
    Definition(
        "closed_term_share_last",
        CREDIT,
        "ratio",
        (365,),
        1,
        "CH-007",
        f"last({CLOSED}.value / loan.term_days)",
    ),
    Definition("closed_after_mean", CREDIT, "days", (365,), 0, "CH-006", f"mean({CLOSED}.value)", EARLY),
    Definition("closed_after_min", CREDIT, "days", (365,), 0, "CH-006", f"min({CLOSED}.value)", EARLY),
    Definition("closed_after_last", CREDIT, "days", (365,), 0, "CH-006", f"last({CLOSED}.value)", EARLY),
)

MONTHS, BALANCE, PAID = "repayment_status", "statement_balance", "payment"

CARDS = (
    Definition("months_late_last", CREDIT, "months", (90,), 1, "CH-011", f"last({MONTHS}.value)"),
    Definition("months_late_previous", CREDIT, "months", (90,), 1, "CH-011", f"previous({MONTHS}.value)"),
    Definition("months_late_max", CREDIT, "months", (90, 365), 1, "CH-011", f"max({MONTHS}.value)"),
    Definition("months_late_mean", CREDIT, "months", (90, 365), 1, "CH-011", f"mean({MONTHS}.value)"),
    Definition("months_late_min", CREDIT, "months", (365,), 1, "CH-011", f"min({MONTHS}.value)"),
    Definition("two_months_late_count", CREDIT, "count", (365,), 1, "CH-011", f"count({MONTHS}.value >= 2)"),
    Definition("month_late_count", CREDIT, "count", (365,), 1, "CH-011", f"count({MONTHS}.value >= 1)"),
    Definition("unused_months", CREDIT, "count", (365,), 0, "CH-012", f"count({MONTHS}.value < -1)", HABIT),
    Definition(
        "months_late_trend",
        CREDIT,
        "months",
        (365,),
        1,
        "CH-011",
        f"last({MONTHS}.value) - mean({MONTHS}.value)",
    ),
    Definition("balance_last", CREDIT, "currency", (90,), 0, "CH-012", f"last({BALANCE}.value)", BILL),
    Definition("balance_mean", CREDIT, "currency", (365,), 0, "CH-012", f"mean({BALANCE}.value)", BILL),
    Definition("balance_max", CREDIT, "currency", (365,), 0, "CH-012", f"max({BALANCE}.value)", BILL),
    Definition(
        "balance_trend",
        CREDIT,
        "ratio",
        (365,),
        0,
        "CH-012",
        f"last({BALANCE}.value) / mean({BALANCE}.value)",
        BILL,
    ),
    Definition(
        "utilisation_last",
        CREDIT,
        "ratio",
        (90,),
        1,
        "CH-013",
        f"last({BALANCE}.value) / profile(credit_limit)",
    ),
    Definition(
        "utilisation_mean",
        CREDIT,
        "ratio",
        (365,),
        1,
        "CH-013",
        f"mean({BALANCE}.value) / profile(credit_limit)",
    ),
    Definition("payment_last", CREDIT, "currency", (90,), -1, "CH-014", f"last({PAID}.value)"),
    Definition("payment_previous", CREDIT, "currency", (90,), -1, "CH-014", f"previous({PAID}.value)"),
    Definition("payment_mean", CREDIT, "currency", (365,), -1, "CH-014", f"mean({PAID}.value)"),
    Definition("payment_min", CREDIT, "currency", (365,), -1, "CH-014", f"min({PAID}.value)"),
    Definition("payment_max", CREDIT, "currency", (365,), -1, "CH-014", f"max({PAID}.value)"),
    Definition("payments_none", CREDIT, "share", (365,), 1, "CH-014", f"share({PAID}.value < 1)"),
    Definition(
        "paid_share",
        CREDIT,
        "ratio",
        (90, 365),
        -1,
        "CH-014",
        f"sum({PAID}.value) / sum({BALANCE}.value)",
    ),
    Definition(
        "paid_limit_share",
        CREDIT,
        "ratio",
        (365,),
        -1,
        "CH-014",
        f"mean({PAID}.value) / profile(credit_limit)",
    ),
)

DEVICES = (
    Definition("sessions", DEVICE, "count", (30, 90), 0, "DU-001", "count(session)", HABIT),
    Definition("session_days", DEVICE, "days", (30, 90), 0, "DU-001", "active_days(session)", HABIT),
    Definition("session_minutes_mean", DEVICE, "minutes", (90,), 0, "DU-001", "mean(session.value)", HABIT),
    Definition(
        "session_minutes_deviation", DEVICE, "minutes", (90,), 1, "DU-002", "deviation(session.value)"
    ),
    Definition("session_gap_mean", DEVICE, "days", (90,), 1, "DU-002", "mean_gap(session)"),
    Definition("session_days_since", DEVICE, "days", (90,), 1, "DU-002", "days_since_last(session)"),
    Definition(
        "night_share", DEVICE, "share", (30, 90), 1, "DU-003", "sum(session.night) / sum(session.count)"
    ),
)

APPS = (
    Definition("page_views", APP, "count", (30, 90), 0, "AA-001", "count(page_view)", HABIT),
    Definition("page_view_days", APP, "days", (30, 90), -1, "AA-001", "active_days(page_view)"),
    Definition("page_view_days_since", APP, "days", (90,), 1, "AA-001", "days_since_last(page_view)"),
    Definition("page_view_gap_mean", APP, "days", (90,), 1, "AA-001", "mean_gap(page_view)"),
    Definition("bill_checks", APP, "count", (30, 90), -1, "AA-002", "count(bill_check)"),
    Definition("bill_check_days", APP, "days", (90,), -1, "AA-002", "active_days(bill_check)"),
)

ORDERS = (
    Definition("orders", SHOPPING, "count", (30, 90, 365), 0, "SH-001", "count(order)", HABIT),
    Definition("order_amount_mean", SHOPPING, "currency", (90, 365), 0, "SH-002", "mean(order.value)", HABIT),
    Definition("order_amount_max", SHOPPING, "currency", (365,), 0, "SH-002", "max(order.value)", HABIT),
    Definition("spent", SHOPPING, "currency", (90, 365), 0, "SH-002", "sum(order.value)", HABIT),
    Definition("order_days_since", SHOPPING, "days", (365,), 0, "SH-001", "days_since_last(order)", HABIT),
    Definition("order_gap_mean", SHOPPING, "days", (365,), 0, "SH-001", "mean_gap(order)", HABIT),
    Definition("refund_share", SHOPPING, "ratio", (365,), 1, "SH-003", "count(refund) / count(order)"),
    Definition(
        "refund_amount_share", SHOPPING, "ratio", (365,), 1, "SH-003", "sum(refund.value) / sum(order.value)"
    ),
    Definition(
        "order_amount_unevenness",
        SHOPPING,
        "ratio",
        (365,),
        1,
        "SH-002",
        "deviation(order.value) / mean(order.value)",
    ),
)

DEFINITIONS = (*LOANS, *CARDS, *DEVICES, *APPS, *ORDERS, *rhythm.DEFINITIONS, *elsewhere.DEFINITIONS)

ASKED = (
    Definition("asked_amount", Category.DECLARED, "currency", (), 0, "DE-010", "asked(amount)", LENT),
    Definition("asked_tenor_days", Category.DECLARED, "days", (), 0, "DE-011", "asked(tenor_days)", LENT),
)
"""Terms of the loan that somebody asks for; they have no window."""
