"""When, how regularly and how variously somebody uses devices and apps, buys and borrows, and what changed."""

from compliance.vocabulary import Category
from scoring.measures.definition import BILL, CHANGE, HABIT, LENT, PACE, Definition

APP, CREDIT = Category.APP_ACTIVITY, Category.CREDIT_HISTORY
DEVICE, SHOPPING = Category.DEVICE_USAGE, Category.SHOPPING
LATE, BALANCE, PAID = "loan_first_repaid_days_late", "statement_balance", "payment"

DEVICES = (
    Definition(
        "session_minutes_unevenness",
        DEVICE,
        "ratio",
        (90,),
        1,
        "DU-002",
        "deviation(session.value) / mean(session.value)",
    ),
    Definition("session_gap_deviation", DEVICE, "days", (90,), 1, "DU-002", "deviation(session.gap)"),
    Definition("session_gap_max", DEVICE, "days", (90,), 1, "DU-002", "max(session.gap)"),
    Definition(
        "session_weekend_share", DEVICE, "share", (90,), 0, "DU-004", "share(session.weekday > 5)", HABIT
    ),
    Definition(
        "session_hour_concentration",
        DEVICE,
        "share",
        (90,),
        0,
        "DU-004",
        "concentration(session.hour)",
        HABIT,
    ),
    Definition(
        "sessions_week_share",
        DEVICE,
        "share",
        (30,),
        0,
        "DU-005",
        "count(session in 7 days) / count(session)",
        CHANGE,
    ),
    Definition(
        "sessions_month_share",
        DEVICE,
        "share",
        (90,),
        0,
        "DU-005",
        "count(session in 30 days) / count(session)",
        CHANGE,
    ),
    Definition(
        "session_minutes_change",
        DEVICE,
        "ratio",
        (90,),
        0,
        "DU-005",
        "mean(session.value in 30 days) / mean(session.value)",
        CHANGE,
    ),
)

APPS = (
    Definition("page_view_gap_deviation", APP, "days", (90,), 1, "AA-001", "deviation(page_view.gap)"),
    Definition("page_view_night_share", APP, "share", (30, 90), 1, "AA-003", "share(page_view.hour < 6)"),
    Definition(
        "page_view_weekend_share", APP, "share", (90,), 0, "AA-003", "share(page_view.weekday > 5)", HABIT
    ),
    Definition(
        "page_view_hour_concentration",
        APP,
        "share",
        (90,),
        0,
        "AA-003",
        "concentration(page_view.hour)",
        HABIT,
    ),
    Definition("pages", APP, "count", (30, 90), 0, "AA-004", "distinct(page_view.page)", HABIT),
    Definition(
        "page_concentration", APP, "share", (90,), 0, "AA-004", "concentration(page_view.page)", HABIT
    ),
    Definition("app_activities", APP, "count", (90,), 0, "AA-004", "distinct(*.name)", HABIT),
    Definition(
        "page_views_week_share",
        APP,
        "share",
        (30,),
        0,
        "AA-005",
        "count(page_view in 7 days) / count(page_view)",
        CHANGE,
    ),
    Definition(
        "page_views_month_share",
        APP,
        "share",
        (90,),
        0,
        "AA-005",
        "count(page_view in 30 days) / count(page_view)",
        CHANGE,
    ),
    Definition("bill_check_days_since", APP, "days", (90,), 1, "AA-002", "days_since_last(bill_check)"),
    Definition(
        "bill_checks_per_view", APP, "ratio", (90,), -1, "AA-002", "count(bill_check) / count(page_view)"
    ),
)

ORDERS = (
    Definition("order_gap_deviation", SHOPPING, "days", (365,), 1, "SH-006", "deviation(order.gap)"),
    Definition("order_gap_max", SHOPPING, "days", (365,), 1, "SH-006", "max(order.gap)"),
    Definition("order_night_share", SHOPPING, "share", (90, 365), 1, "SH-004", "share(order.hour < 6)"),
    Definition(
        "order_weekend_share", SHOPPING, "share", (365,), 0, "SH-004", "share(order.weekday > 5)", HABIT
    ),
    Definition(
        "order_hour_concentration", SHOPPING, "share", (365,), 0, "SH-004", "concentration(order.hour)", HABIT
    ),
    Definition("order_channels", SHOPPING, "count", (90, 365), 0, "SH-007", "distinct(order.channel)", HABIT),
    Definition(
        "order_channel_concentration",
        SHOPPING,
        "share",
        (365,),
        0,
        "SH-007",
        "concentration(order.channel)",
        HABIT,
    ),
    Definition(
        "orders_quarter_share",
        SHOPPING,
        "share",
        (365,),
        0,
        "SH-005",
        "count(order in 90 days) / count(order)",
        CHANGE,
    ),
    Definition(
        "order_amount_change",
        SHOPPING,
        "ratio",
        (365,),
        0,
        "SH-005",
        "mean(order.value in 90 days) / mean(order.value)",
        CHANGE,
    ),
)

LOANS = (
    Definition(
        "days_late_change",
        CREDIT,
        "days",
        (365,),
        1,
        "CH-002",
        f"mean({LATE}.value in 90 days) - mean({LATE}.value)",
    ),
    Definition(
        "late_share_change",
        CREDIT,
        "share",
        (365,),
        1,
        "CH-002",
        f"share({LATE}.value > 0 in 90 days) - share({LATE}.value > 0)",
    ),
    Definition("loan_gap_deviation", CREDIT, "days", (365,), 0, "CH-004", "deviation(loan_opened.gap)", PACE),
    Definition(
        "loans_quarter_share",
        CREDIT,
        "share",
        (365,),
        0,
        "CH-004",
        "count(loan_opened in 90 days) / count(loan_opened)",
        PACE,
    ),
    Definition(
        "loan_amount_unevenness",
        CREDIT,
        "ratio",
        (365,),
        0,
        "CH-005",
        "deviation(loan_opened.value) / mean(loan_opened.value)",
        LENT,
    ),
)

CARDS = (
    Definition(
        "balance_unevenness",
        CREDIT,
        "ratio",
        (365,),
        0,
        "CH-012",
        f"deviation({BALANCE}.value) / mean({BALANCE}.value)",
        BILL,
    ),
    Definition(
        "balance_change",
        CREDIT,
        "ratio",
        (365,),
        0,
        "CH-012",
        f"mean({BALANCE}.value in 90 days) / mean({BALANCE}.value)",
        BILL,
    ),
    Definition(
        "payment_unevenness",
        CREDIT,
        "ratio",
        (365,),
        1,
        "CH-014",
        f"deviation({PAID}.value) / mean({PAID}.value)",
    ),
    Definition(
        "payment_change",
        CREDIT,
        "ratio",
        (365,),
        -1,
        "CH-014",
        f"mean({PAID}.value in 90 days) / mean({PAID}.value)",
    ),
)

DEFINITIONS = (*DEVICES, *APPS, *ORDERS, *LOANS, *CARDS)
