"""The life of one consent as a child could keep it: what the random lives are compared with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from support import world

from compliance.act import Act
from compliance.vocabulary import Categories, GrantId, Language
from consent import extensions, grants

CALLS, DAYS = 2, 30
LIVE, ENDED = ("active", "paused"), ("withdrawn", "relinquished", "expired", "superseded")
Do = Callable[[Act], Awaitable[object]]


@dataclass
class Consent:
    """What the model knows of one; a state that is in `ENDED` is the code of the end."""

    id: UUID
    person: int
    bank: int
    state: str = "requested"
    over: bool = False
    """Its time is over, and nobody has noted that."""
    chosen: Categories = frozenset()
    uses: int = 0
    given: int = 0
    days: int = DAYS
    end_told: bool = False
    """Whether the person withdrew, for whom a receipt of the end is made (of whichever end they found)."""
    asked: str = ""
    """How the newest request to extend stands: waiting, yes or no."""

    @property
    def lives(self) -> bool:
        return self.state in LIVE and not self.over

    def may(self, step: str) -> str:
        """The refusal of a step, or nothing."""
        if step in ("withdraw", "relinquish"):
            return "" if self.state in (*LIVE, *ENDED) else "grant_not_open"
        if not self.lives:
            return "grant_not_open"
        if step == "ask":
            return {"waiting": "already_asked", "no": "asked_too_soon"}.get(self.asked, "")
        return "grant_not_open" if step in ("agree", "decline") and self.asked != "waiting" else ""

    def take(self, step: str) -> None:
        if step in ("withdraw", "relinquish") and self.state in LIVE:
            self.end("withdrawn" if step == "withdraw" else "relinquished")
            self.end_told = step == "withdraw"
        elif step in ("pause", "resume"):
            self.state = "paused" if step == "pause" else "active"
        elif step in ("agree", "wish"):
            self.days, self.given = self.days + 2, self.given + 1
            self.asked = "yes" if self.asked == "waiting" else self.asked
        elif step in ("ask", "decline"):
            self.asked = "waiting" if step == "ask" else "no"

    def end(self, code: str) -> None:
        self.state, self.over = "expired" if self.over else code, False

    def events(self) -> list[str]:
        """What its newest receipt tells; a receipt is issued for each yes and for a withdrawal."""
        if self.state in ("requested", "rejected"):
            return []
        told = ["consent_requested", "consent_given", *["consent_extended"] * self.given]
        return [*told, f"consent_{self.state}"] if self.end_told else told

    def step(self, step: str) -> Do:
        grant, days = GrantId(self.id), self.days + 2
        return {
            "withdraw": lambda act: grants.withdraw(act, grant),
            "relinquish": lambda act: grants.relinquish(act, grant),
            "pause": lambda act: grants.pause(act, grant),
            "resume": lambda act: grants.resume(act, grant),
            "ask": lambda act: extensions.ask(act, grant, days),
            "agree": lambda act: extensions.agree(act, grant, Language.EN),
            "wish": lambda act: extensions.agree(act, grant, Language.EN, period_days=days),
            "decline": lambda act: extensions.reject(act, grant),
        }[step]


def use_refused(one: Consent | None, wanted: Categories) -> str:
    """The refusal of a score for which this consent is looked at, or nothing."""
    if one is None:
        return "consent_missing"
    if one.state in ENDED or one.over:
        code = "expired" if one.over else one.state
        return f"consent_{'withdrawn' if code == 'superseded' else code}"
    if one.state == "paused":
        return "consent_paused"
    if one.uses >= CALLS:
        return "consent_frequency_exceeded"
    if not one.chosen & wanted:
        return "category_not_granted"
    return "" if world.answerable(one.person, one.chosen & wanted) else "insufficient_evidence"
