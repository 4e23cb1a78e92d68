"""What the chapters of the story share: who is in it, and the steps that more than one chapter takes."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from api import sessions
from api.demo import credentials
from api.demo.callers import BankSoftware, Browser, CallFailed, expect
from api.demo.telling import Telling
from api.demo.world import World
from api.settings import Settings
from compliance import ids
from compliance.vocabulary import UserId

WAIT_SECONDS = 30.0


@dataclass
class Story:
    """Everything the chapters share."""

    settings: Settings
    world: World
    http: httpx2.AsyncClient
    tell: Telling
    credentials: Path | None
    links: dict[str, str] = field(default_factory=dict)

    @property
    def categories(self) -> list[str]:
        """What is asked for: everything offered that the model can use."""
        return sorted(self.world.categories)

    def bank(self, code: str) -> BankSoftware:
        """A partner's software."""
        return self.software(code, self.world.keys[code])

    def software(self, code: str, key: ECKey) -> BankSoftware:
        """The client of that code, with its key."""
        hosts = self.world.hosts
        named, back = credentials.client_id(code, hosts), credentials.redirect_uri(code, hosts)
        return BankSoftware(self.http, self.settings.issuer, named, key, back)

    def partner(self, code: str) -> str:
        """A partner's public id."""
        return ids.public("ptn", self.world.partners[code])

    async def browser(self, user: UserId) -> Browser:
        """A person's browser, signed in by a one-time link."""
        browser = Browser(self.http, self.settings.issuer)
        await browser.sign_in(await self.link(user))
        return browser

    async def link(self, user: UserId) -> str:
        """A fresh one-time sign-in link of a person."""
        token = await sessions.make_link(credentials.DEMO, self.settings, user=user)
        return f"{self.settings.issuer}/sign-in/{token}"


async def ask(story: Story, bank: BankSoftware, purpose: str, **more: str) -> dict[str, Any]:
    """A partner asks for consent."""
    body = {"purpose": purpose, "categories": story.categories, **more}
    return expect(await bank.call("POST", "/v1/grants", body), 201)


async def approve(story: Story, browser: Browser, grant: str) -> dict[str, Any]:
    """A person says yes to everything asked."""
    body = {"categories": story.categories, "language": "zh-CN"}
    return expect(await browser.call("POST", f"/v1/me/grants/{grant}/approve", body), 200)


def score_request(story: Story, pseudonym: str) -> dict[str, Any]:
    """A valid body of POST /v1/scores."""
    return {"user": pseudonym, "purpose": "credit_assessment", "categories": story.categories}


def tell_score(story: Story, score: dict[str, Any]) -> None:
    """A score and its reasons, as the bank sees them."""
    what = (
        f"{score['points']} points, band {score['band']} ({score['scale']} scale), p = {score['probability']}"
    )
    story.tell.step("the bank gets a score", what)
    used = ", ".join(score["coverage"]["used"])
    story.tell.step("resting on", f"{used}; confidence {score['confidence']}; channel {score['channel']}")
    for reason in score["reasons"]:
        story.tell.reason(reason)


async def verify_receipt(story: Story, receipt: str) -> None:
    """Verify with the published key alone."""
    published = expect(await story.http.get(f"{story.settings.issuer}/.well-known/jwks.json"), 200)
    jwt.decode(receipt, KeySet.import_key_set({"keys": published["keys"]}), algorithms=["ES256"])


async def wait_for(look: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Look again until something is there, for a bounded time."""
    for _ in range(int(WAIT_SECONDS / 0.1)):
        found = await look()
        if found is not None:
            return found
        await asyncio.sleep(0.1)
    raise CallFailed(f"it took longer than {WAIT_SECONDS:.0f} s until {what}")
