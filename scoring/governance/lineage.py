"""What stands against a model of whatever kind because of what it reads."""

from collections.abc import Mapping, Sequence

from scoring.manifest import Input
from scoring.measures import definition, forbidden


def obstacles(inputs: Sequence[Input]) -> Mapping[str, bool]:
    """By code, whether it stands against a model of these inputs."""
    return {
        "feature_forbidden": any(
            forbidden.is_in(said) for each in inputs for said in (each.name, each.expression)
        ),
        "looks_back_too_far": any(
            definition.looks_back_too_far(each.window_days, each.expression) for each in inputs
        ),
    }
