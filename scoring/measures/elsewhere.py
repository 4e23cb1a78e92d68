"""Where somebody stays, how they move, what runs in their home, and whom they are in touch with.

No installation offers these four categories until it turns them on; what is measured of them is public all the same.
"""

from compliance.vocabulary import Category
from scoring.measures.definition import CHANGE, HABIT, Definition

LOCATION, FITNESS = Category.LOCATION_RHYTHM, Category.FITNESS
HOME, GRAPH = Category.SMART_HOME, Category.SOCIAL_GRAPH

PLACES = (
    Definition("places", LOCATION, "count", (30, 90), 0, "LR-001", "distinct(stay.place)", HABIT),
    Definition("place_concentration", LOCATION, "share", (90,), -1, "LR-001", "concentration(stay.place)"),
    Definition("stay_hours_mean", LOCATION, "hours", (90,), 0, "LR-001", "mean(stay.value)", HABIT),
    Definition(
        "places_month_share",
        LOCATION,
        "share",
        (90,),
        0,
        "LR-001",
        "distinct(stay.place in 30 days) / distinct(stay.place)",
        CHANGE,
    ),
    Definition("stay_days", LOCATION, "days", (30, 90), 0, "LR-002", "active_days(stay)", HABIT),
    Definition("stay_gap_deviation", LOCATION, "days", (90,), 1, "LR-002", "deviation(stay.gap)"),
    Definition("stay_night_share", LOCATION, "share", (90,), 0, "LR-002", "share(stay.hour < 6)", HABIT),
    Definition("stay_weekend_share", LOCATION, "share", (90,), 0, "LR-002", "share(stay.weekday > 5)", HABIT),
    Definition("stay_hour_concentration", LOCATION, "share", (90,), -1, "LR-002", "concentration(stay.hour)"),
    Definition("trips", LOCATION, "count", (30, 90, 365), 0, "LR-003", "count(trip)", HABIT),
    Definition("trip_km_mean", LOCATION, "km", (90, 365), 0, "LR-003", "mean(trip.value)", HABIT),
    Definition("trip_km_max", LOCATION, "km", (365,), 0, "LR-003", "max(trip.value)", HABIT),
    Definition("trip_days_since", LOCATION, "days", (365,), 0, "LR-003", "days_since_last(trip)", HABIT),
)

EXERCISE = (
    Definition("steps_mean", FITNESS, "steps", (7, 30, 90), 0, "FI-001", "mean(steps.value)", HABIT),
    Definition("steps_days", FITNESS, "days", (30, 90), 0, "FI-001", "active_days(steps)", HABIT),
    Definition(
        "steps_change",
        FITNESS,
        "ratio",
        (90,),
        0,
        "FI-001",
        "mean(steps.value in 30 days) / mean(steps.value)",
        CHANGE,
    ),
    Definition(
        "steps_unevenness", FITNESS, "ratio", (90,), 1, "FI-002", "deviation(steps.value) / mean(steps.value)"
    ),
    Definition("workouts", FITNESS, "count", (30, 90), 0, "FI-001", "count(workout)", HABIT),
    Definition("workout_minutes_mean", FITNESS, "minutes", (90,), 0, "FI-001", "mean(workout.value)", HABIT),
    Definition("workout_gap_deviation", FITNESS, "days", (90,), 1, "FI-002", "deviation(workout.gap)"),
    Definition("workout_days_since", FITNESS, "days", (90,), 0, "FI-002", "days_since_last(workout)", HABIT),
    Definition(
        "workout_hour_concentration", FITNESS, "share", (90,), -1, "FI-002", "concentration(workout.hour)"
    ),
    Definition(
        "workout_weekend_share", FITNESS, "share", (90,), 0, "FI-002", "share(workout.weekday > 5)", HABIT
    ),
)

APPLIANCES = (
    Definition("appliance_uses", HOME, "count", (7, 30, 90), 0, "SM-001", "count(appliance)", HABIT),
    Definition("appliance_days", HOME, "days", (30, 90), 0, "SM-001", "active_days(appliance)", HABIT),
    Definition("appliance_kinds", HOME, "count", (90,), 0, "SM-001", "distinct(appliance.kind)", HABIT),
    Definition(
        "appliance_kind_concentration",
        HOME,
        "share",
        (90,),
        0,
        "SM-001",
        "concentration(appliance.kind)",
        HABIT,
    ),
    Definition(
        "appliance_month_share",
        HOME,
        "share",
        (90,),
        0,
        "SM-001",
        "count(appliance in 30 days) / count(appliance)",
        CHANGE,
    ),
    Definition("appliance_gap_deviation", HOME, "days", (90,), 1, "SM-002", "deviation(appliance.gap)"),
    Definition("appliance_night_share", HOME, "share", (90,), 1, "SM-002", "share(appliance.hour < 6)"),
    Definition(
        "appliance_weekend_share", HOME, "share", (90,), 0, "SM-002", "share(appliance.weekday > 5)", HABIT
    ),
    Definition(
        "appliance_hour_concentration", HOME, "share", (90,), -1, "SM-002", "concentration(appliance.hour)"
    ),
    Definition("energy_mean", HOME, "kWh", (30, 90), 0, "SM-003", "mean(energy.value)", HABIT),
    Definition(
        "energy_unevenness", HOME, "ratio", (90,), 1, "SM-003", "deviation(energy.value) / mean(energy.value)"
    ),
    Definition(
        "energy_change",
        HOME,
        "ratio",
        (90,),
        0,
        "SM-003",
        "mean(energy.value in 30 days) / mean(energy.value)",
        CHANGE,
    ),
)

CONTACTS = (
    Definition("contacts", GRAPH, "count", (30, 90, 365), 0, "SG-001", "distinct(*.other)", HABIT),
    Definition("contact_concentration", GRAPH, "share", (365,), 0, "SG-001", "concentration(*.other)", HABIT),
    Definition("contact_weight", GRAPH, "as stated", (90, 365), 0, "SG-001", "sum(*.value)", HABIT),
    Definition("contact_weight_mean", GRAPH, "as stated", (365,), 0, "SG-001", "mean(*.value)", HABIT),
    Definition(
        "contacts_quarter_share",
        GRAPH,
        "share",
        (365,),
        0,
        "SG-001",
        "distinct(*.other in 90 days) / distinct(*.other)",
        CHANGE,
    ),
    Definition("contact_times", GRAPH, "count", (30, 90, 365), 0, "SG-002", "count(*)", HABIT),
    Definition("contact_days", GRAPH, "days", (90,), 0, "SG-002", "active_days(*)", HABIT),
    Definition("contact_days_since", GRAPH, "days", (365,), 0, "SG-002", "days_since_last(*)", HABIT),
    Definition("contact_gap_deviation", GRAPH, "days", (365,), 1, "SG-002", "deviation(*.gap)"),
    Definition("contact_reach_mean", GRAPH, "count", (365,), 0, "SG-003", "mean(*.reach)", HABIT),
    Definition("contact_reach_max", GRAPH, "count", (365,), 0, "SG-003", "max(*.reach)", HABIT),
)
"""Of edges of which both ends granted the category; see `graph`. Nobody's score counts against another's."""

DEFINITIONS = (*PLACES, *EXERCISE, *APPLIANCES, *CONTACTS)
