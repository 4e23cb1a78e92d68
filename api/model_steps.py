"""The steps in the life of a model, and which roles may take them; that no two are one person's is the register's to see to."""

from collections.abc import Awaitable, Callable, Mapping

from api.access import RoleMissing
from compliance.act import Act
from compliance.refusals import NotFound
from compliance.vocabulary import Principal, Staff, StaffRole
from scoring import registry
from scoring.answers import incomes  # noqa: F401 - declares that there are models of incomes too
from scoring.registry import State
from scoring.tables import ModelRow

RISK, COMPLIANCE = StaffRole.RISK_OFFICER, StaffRole.COMPLIANCE_OFFICER
Step = Callable[[Act, str], Awaitable[ModelRow]]


def _on(step: Callable[..., Awaitable[ModelRow]]) -> Step:
    async def take(act: Act, digest: str) -> ModelRow:
        return await step(act, (await registry.find(act, digest)).id)

    return take


STEPS: Mapping[str, tuple[frozenset[StaffRole], Step]] = {
    "register": (frozenset({RISK}), registry.register),
    "validate": (frozenset({RISK, COMPLIANCE}), _on(registry.validate)),
    "approve": (frozenset({COMPLIANCE}), _on(registry.approve)),
    "promote": (frozenset({RISK, COMPLIANCE}), _on(registry.promote)),
    "shadow": (frozenset({RISK, COMPLIANCE}), _on(registry.shadow)),
    "retire": (frozenset({RISK, COMPLIANCE}), _on(registry.retire)),
    "rollback": (frozenset({RISK, COMPLIANCE}), _on(registry.roll_back)),
}
NEXT: Mapping[str, tuple[str, ...]] = {
    State.CANDIDATE: ("validate", "retire"),
    State.VALIDATED: ("approve", "retire"),
    State.APPROVED: ("shadow", "promote", "retire"),
    State.CHAMPION: ("retire",),
    State.CHALLENGER: ("promote", "retire"),
    State.RETIRED: ("rollback",),
}
"""What may come after a state."""


def open_to(state: str, role: StaffRole) -> list[str]:
    """The steps that somebody of a role may take from a state."""
    return [step for step in NEXT[state] if role in STEPS[step][0]]


async def take(act: Act, step: str, digest: str) -> ModelRow:
    """Take a step in the name of the member of staff who acts."""
    if step not in STEPS:
        raise NotFound
    refuse_other_roles(act.principal, step)
    return await STEPS[step][1](act, digest)


def refuse_other_roles(who: Principal | None, step: str) -> None:
    """Refuse whoever may not take the step."""
    roles, _ = STEPS[step]
    if not isinstance(who, Staff) or who.role not in roles:
        raise RoleMissing(f"to {step} a model takes the role {' or '.join(sorted(roles))}")
