"""One thing of each kind, and a right body for each call: what bad input is made from."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from support import events, lending, oauth_app, world
from support.oauth_client import OAuthClient
from support.world import ALL, CRITERIA, LISTING, Browser, Software, World

from api.access import Access
from api.oauth.scopes import OPERATORS
from compliance import ids, sequencer
from compliance.act import open_act, open_view
from compliance.vocabulary import Category, Person, Purpose, StaffRole
from consent import disputes, people, permits
from partners.connectors.signed_http import SignedHttp
from scoring import reviews
from scoring.answers import incomes, limits, thresholds
from scoring.answers.limits import Frame


@dataclass(frozen=True)
class Seeds:
    """Two banks, two people and a colleague over HTTP; `named` are the ids of what the first ones own, by parameter."""

    here: World
    bank: Software
    other_bank: Software
    operator: Software
    """The operator's own software."""
    person: Person
    browser: Browser
    other_browser: Browser
    console: Browser
    named: dict[str, str]
    waiting: str
    """A request that nobody has answered."""

    def at(self, here: World) -> "Seeds":
        """The same, called in an application that stands on a copy of the database and of the folder."""
        callers = ("bank", "other_bank", "operator", "browser", "other_browser", "console")
        moved = {name: replace(getattr(self, name), http=here.http) for name in callers}
        return replace(self, here=here, **moved)

    def caller(self, access: Access) -> Software | Browser | None:
        """Who may call a route with this access."""
        if access.scope in OPERATORS:
            return self.operator
        return {"client": self.bank, "person": self.browser, "staff": self.console}.get(access.kind)

    def stranger(self, kind: str) -> Software | Browser | None:
        """Another one of the same kind."""
        return {"client": self.other_bank, "person": self.other_browser}.get(kind)

    def bodies(self) -> dict[str, dict[str, Any]]:
        """A right body for each route that reads one."""
        until = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
        today = datetime.now(UTC).date().isoformat()
        money = {"amount_minor": 600_000, "currency": "CNY"}
        categories = sorted(ALL)
        return {
            "POST /v1/grants": {
                "purpose": "portrait",
                "categories": categories,
                "user": self.named["user"],
                "recipient": ids.public("ptn", self.bank.client.partner),
                "period_days": 30,
            },
            "POST /v1/me/grants/{grant_id:str}/reject": {"reason": "not_now"},
            "POST /v1/me/grants/{grant_id:str}/approve": {
                "categories": categories,
                "language": "en",
                "notice_sha256": "0" * 64,
            },
            "POST /v1/grants/{grant_id:str}/extension": {"period_days": 60},
            "POST /v1/me/grants/{grant_id:str}/extension": {
                "answer": "yes",
                "language": "en",
                "period_days": 60,
                "notice_sha256": "0" * 64,
            },
            "POST /v1/me/deletion": {"confirmation": "delete_everything_about_me"},
            "POST /v1/me/objections": {"lists": False, "automated_decisions": False},
            "POST /v1/me/disputes": {"text": "Not mine.\nPlease check.", "category": "shopping"},
            "POST /v1/me/reviews": {"score": self.named["score_id"], "text": "Please look."},
            "POST /v1/operator/clients": {
                "client_id": "another-client",
                "partner": ids.public("ptn", self.bank.client.partner),
                "scopes": ["scores"],
                "purposes": ["credit_assessment"],
                "redirect_uris": ["https://alpha.example/back"],
                "jwks": OAuthClient("another-client", world.ISSUER).jwks(),
            },
            "POST /v1/clients": {
                "client_id": "one-more-client",
                "scopes": ["scores"],
                "purposes": ["credit_assessment"],
                "redirect_uris": ["https://alpha.example/back"],
                "jwks": OAuthClient("one-more-client", world.ISSUER).jwks(),
            },
            "PUT /v1/clients/{client_id:str}/jwks": {"jwks": OAuthClient("x", world.ISSUER).jwks()},
            "POST /v1/scores": {
                "user": self.named["user"],
                "purpose": "credit_assessment",
                "categories": categories,
                "answer": "full",
                "recipient": ids.public("ptn", self.bank.client.partner),
            },
            "POST /v1/incomes": {
                "user": self.named["user"],
                "purpose": "income_estimate",
                "categories": categories,
                "recipient": ids.public("ptn", self.bank.client.partner),
            },
            "POST /v1/limits": {
                "user": self.named["user"],
                "purpose": "credit_assessment",
                "categories": categories,
                "product": self.named["product_id"],
                "income": self.named["income_id"],
                "owed": money,
                "recipient": ids.public("ptn", self.bank.client.partner),
            },
            "POST /v1/portraits": {
                "user": self.named["user"],
                "purpose": "portrait",
                "categories": categories,
                "recipient": ids.public("ptn", self.bank.client.partner),
            },
            "POST /v1/operator/cutoffs": {"product": self.named["product_id"], "points": 600},
            "POST /v1/withdrawals/{ended_grant_id:str}/attestation": {
                "outcome": "retained_by_law",
                "basis": "反洗钱法第三十四条",
                "until": until[:10],
                "attestation": self.bank.attestation(
                    self.named["ended_grant_id"],
                    outcome="retained_by_law",
                    basis="反洗钱法第三十四条",
                    until=until[:10],
                ),
            },
            "POST /v1/prescreens": {
                "criteria": CRITERIA,
                "offer": {
                    "product": self.named["product_id"],
                    "limit_minor": 500_000,
                    "currency": "CNY",
                    "daily_rate": "0.0004",
                },
                "cap": 100,
                "valid_until": until,
            },
            "POST /v1/applications": {
                "amount": money,
                "instalments": 6,
                "region": "CN-BJ",
                "is_student": False,
                "use_of_funds": "education",
                "language": "en",
                "agree_to_matching": True,
            },
            "POST /v1/applications/{application_id:str}/pick": {
                "offer": self.named["offer_id"],
                "agree_to_hand_over": True,
                "language": "en",
            },
            "POST /v1/referrals/{referral_id:str}/status": {"state": "in_review", "reason": "a_code"},
            "POST /v1/operator/behaviour": {
                "events": [
                    {
                        "user": "nobody we know",
                        "at": "2026-01-01T08:00:00+08:00",
                        "category": "shopping",
                        "name": "order_paid",
                        "value": 12.5,
                        "count": 2,
                        "attributes": {"shop": "s-1"},
                    }
                ]
            },
            "POST /v1/outcomes": {
                "decision": "approved",
                "decided_on": today,
                "referral": self.named["referral_id"],
                "disbursed": money,
                "observed_until": today,
                "days_past_due_max": 0,
                "defaulted": False,
            },
        }


async def planted(here: World) -> Seeds:
    """Plant one of everything."""
    await world.put_model_in_use()
    await world.put_income_model_in_use()
    await world.open_channel()
    bank, other = await here.software(), await here.software("beta")
    person, stranger = await world.persons(2)
    grant = await world.granted(person, bank.client)
    listing = await world.granted(person, bank.client, LISTING)
    waiting = await world.asked(bank.client, Purpose.PORTRAIT)
    ended = await world.granted(person, bank.client, Purpose.INCOME_ESTIMATE)
    await world.withdrawn(person, ended.id)
    await world.granted(person, bank.client, Purpose.INCOME_ESTIMATE)
    async with open_act(bank.client, Purpose.INCOME_ESTIMATE) as act:
        income = (await incomes.issue(act, person.user, ALL)).value.row
    score, looked_at = [await world.scored(bank.client, person) for _ in range(2)]
    async with open_act(person, None) as act:
        own = permits.own_permit(act)
        review = await reviews.ask(act, own, looked_at.id, "Please look.")
        dispute = await disputes.raise_category(act, own, Category.DECLARED, "Not what I said.")
    await behaved(person)
    prescreen = await world.list_wanted(bank.client)
    await world.list_made()
    made = await lending.apply(person)
    door = SignedHttp("https://alpha.example", "https://alpha.example/apply")
    picked = await lending.pick(person, made, {"alpha": door})
    open_application = await lending.apply(person)
    product = await world.product_of(bank.client)
    async with open_act(bank.client, Purpose.CREDIT_ASSESSMENT) as act:
        frame = Frame(ids.private("prd", product), "CNY", 1, 10**9)
        suggested = await limits.issue(
            act, person.user, ALL, income=income.id, owed_minor=0, frame=frame, recipient=None
        )
        limit = suggested.value.row
    async with open_act(world.MANAGER, None) as act:
        cutoff = await thresholds.record_cutoff(act, bank.client.partner, ids.private("prd", product), 600)
    await sequencer.sequence()
    await sequencer.publish()
    named = {
        "grant_id": ids.public("gnt", grant.id),
        "listing": ids.public("gnt", listing.id),
        "ended_grant_id": ids.public("gnt", ended.id),
        "score_id": ids.public("scr", score.id),
        "income_id": ids.public("ans", income.id),
        "limit_id": ids.public("ans", limit.id),
        "portrait_id": ids.public("ans", ids.ordered_id()),
        "cutoff_id": ids.public("cut", cutoff.id),
        "dispute_id": ids.public("dsp", dispute.id),
        "review_id": ids.public("rvw", review.id),
        "prescreen_id": ids.public("pre", prescreen),
        "product_id": product,
        "application_id": ids.public("app", open_application.row.id),
        "offer_id": ids.public("off", open_application.offers[0].id),
        "referral_id": ids.public("ref", picked.referral.id),
        "fact_id": ids.public("fct", score.fact),
        "user": await world.pseudonym_of(person, bank.client),
        "deletion_id": ids.public("del", await world.deleted((await world.persons(1))[0])),
        "client_id": (await oauth_app.a_client(bank.client.partner)).client_id,
    }
    return Seeds(
        here=here,
        bank=bank,
        other_bank=other,
        operator=await here.operators_software(),
        person=person,
        browser=await here.browser(person),
        other_browser=await here.browser(stranger),
        console=await here.console(StaffRole.COMPLIANCE_OFFICER),
        named=named,
        waiting=ids.public("gnt", waiting.id),
    )


async def behaved(person: Person, word: str = "s-1") -> None:
    """The operator brought what the person did: one event lies in a file, one waits; what they stated; with whom they were in touch. All with a word of ours."""
    async with open_view(world.STORY) as view:
        reference = await people.reference_of(view, person.user)
    await events.received([events.event(reference, name="filed", attributes={"shop": word})])
    await events.filed()
    await events.received([events.event(reference, name="waits", attributes={"shop": word})])
    await events.stated(reference, "job", word)
    await events.related(reference, *await events.known(), word)


async def rest_of(planted: Seeds) -> None:
    """What the seeds leave out: an outcome that the bank reported, an extension that the person gave."""
    world.told(await planted.bank.call("POST", "/v1/outcomes", planted.bodies()["POST /v1/outcomes"]), 201)
    path = f"/v1/me/grants/{planted.named['grant_id']}/extension"
    body = {"answer": "yes", "language": "en", "period_days": 90}
    world.told(await planted.browser.call("POST", path, body), 200)
