"""The story: chapters of a few real calls, whose answers must be as told; the first that is not ends it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from api import auditing, sessions
from api.demo import catalogue, credentials, world
from api.demo.callers import BankSoftware, Browser, CallFailed, expect
from api.demo.steps import Story, approve, ask, score_request, tell_score, verify_receipt, wait_for
from api.oauth.authorization_request import DETAIL_TYPE
from api.running import Standing
from compliance import ids
from compliance.act import open_act
from compliance.vocabulary import Language, UserId
from scoring import release

LIST_SHARE_OF_BANDS = ["A", "B", "C"]


async def tell_all(story: Story) -> None:
    """Every chapter, in order."""
    first, second, third = story.world.people[:3]
    harbour = story.bank(catalogue.HARBOUR)
    consented = await _consent(story, harbour, first)
    pseudonym = consented["authorization_details"][0]["user"]
    await _score(story, harbour, consented)
    await _licence(story, harbour, pseudonym, first)
    await _list(story, harbour, first)
    await _route(story, third)
    await _withdraw(story, harbour, consented, first)
    await _outside_client(story, harbour, second)


async def _consent(story: Story, bank: BankSoftware, user: UserId) -> dict[str, Any]:
    """The code flow; what the bank gets for the code."""
    story.tell.chapter("Consent", "授权：先问本人，再用数据")
    wanted = {"type": DETAIL_TYPE, "purpose": "credit_assessment", "categories": story.categories}
    pushed = await bank.push(wanted)
    story.tell.step(
        "the bank pushes its request; nothing may be used yet", f"request_uri, {pushed.expires_in} s"
    )
    early = await bank.call("POST", "/v1/scores", score_request(story, "usr_" + "0" * 26))
    expect(early, 404, "not_found")
    story.tell.step("a person the bank does not know is not hinted at", "404 not_found")
    known = await credentials.sign_in(story.settings, "demo-person", user)
    browser = Browser(story.http, story.settings.issuer)
    page = await browser.send(await browser.open(pushed.address), name=known.name, password=known.password)
    story.tell.step(
        "the person follows the bank's link and signs in at the operator's provider",
        urlsplit(page.address).path,
    )
    story.tell.step("reads the ask page", f"{len(page.text)} characters of HTML, nothing pre-ticked")
    back = await browser.send(page, answer="yes", categories=story.categories)
    story.tell.step("says yes and is back at the bank", f"{bank.redirect_uri} with code, state and iss")
    consented = await bank.redeem(pushed, back.address)
    held = f"{consented['token_type']}, {consented['expires_in']} s, for {consented['scope']}"
    story.tell.step("the bank redeems the code: a token of its key, for this consent alone", held)
    receipt = await browser.open(f"{story.settings.issuer}/me/grants/{consented['grant_id']}/receipt")
    await verify_receipt(story, receipt.text)
    story.tell.step("the receipt verifies offline with the published key", "ES256, typ consent-receipt+jwt")
    (given,) = consented["authorization_details"]
    story.tell.step("the bank now knows the person by a pseudonym of its own", given["user"])
    return consented


async def _score(story: Story, bank: BankSoftware, consented: dict[str, Any]) -> None:
    story.tell.chapter("Score", "评分：只用本人同意的数据，并说明原因")
    once, token = str(uuid4()), consented["access_token"]
    body = score_request(story, consented["authorization_details"][0]["user"])
    score = expect(await bank.call("POST", "/v1/scores", body, once=once, token=token), 201)
    tell_score(story, score)
    again = await bank.call("POST", "/v1/scores", body, once=once, token=token)
    if again.json() != score or again.headers.get("idempotency-replayed") != "true":
        raise CallFailed("the repeated call was not answered the same")
    story.tell.step("the same call again is answered the same, and counts once", "Idempotency-Replayed: true")
    less = {**body, "categories": [min(body["categories"])], "answer": "band"}
    narrow = await bank.call("POST", "/v1/scores", less, token=token)
    told = narrow.json().get("band") or narrow.json().get("code")
    story.tell.step(f"asked for {less['categories'][0]} alone, as a band", str(told))
    proof = await wait_for(lambda: _proof(bank, score["fact_id"]), "the fact stands in the log")
    story.tell.step(
        "the disclosure's proof of inclusion", f"{len(proof.splitlines())} lines, C2SP tlog-proof"
    )


async def _proof(bank: BankSoftware, fact: str) -> str | None:
    answer = await bank.call("GET", f"/v1/log/facts/{fact}/proof")
    return answer.text if answer.status_code == 200 else None


async def _licence(story: Story, bank: BankSoftware, pseudonym: str, user: UserId) -> None:
    story.tell.chapter("Licence", "许可：没有许可，评分不出门")
    officer = story.world.team.officer
    async with open_act(officer, None) as act:
        await release.remove_licence(act, "operator")
    expect(await bank.call("POST", "/v1/scores", score_request(story, pseudonym)), 403, "no_lawful_channel")
    story.tell.step("the fictional licence is removed: the direct call is refused", "403 no_lawful_channel")
    bureau = story.bank(catalogue.BEACON)
    lender, relay = story.world.partners[catalogue.HARBOUR], story.world.partners[catalogue.BEACON]
    await world.record_licence(story.world.team, lender, relay)
    grant = await ask(story, bureau, "credit_assessment", recipient=story.partner(catalogue.HARBOUR))
    await approve(story, await story.browser(user), grant["id"])
    known = expect(await bureau.call("GET", f"/v1/grants/{grant['id']}"), 200)["user"]
    body = {**score_request(story, known), "recipient": story.partner(catalogue.HARBOUR)}
    score = expect(await bureau.call("POST", "/v1/scores", body), 201)
    story.tell.step(
        "the same score through a licensed bureau that relays",
        f"{score['points']} points, {score['channel']}",
    )
    await world.record_licence(story.world.team, lender)
    expect(await bank.call("POST", "/v1/scores", score_request(story, pseudonym)), 201)
    story.tell.step("two people record the fictional licence again: the direct call works", "201")


async def _list(story: Story, bank: BankSoftware, user: UserId) -> None:
    story.tell.chapter("List", "预授信名单：冻结、可撤下")
    own = expect(await bank.call("GET", "/v1/products"), 200)["items"]
    product = next(p for p in own if p["currency"] == story.world.currency)
    story.tell.step("the bank looks up its own product", f"{product['name']['en']}, {product['id']}")
    request = {
        "criteria": {"op": "in", "args": [{"property": "band"}, LIST_SHARE_OF_BANDS]},
        "offer": {
            "product": product["id"],
            "limit_minor": 2_000_000,
            "currency": product["currency"],
            "daily_rate": product["daily_rate"],
        },
        "cap": 1_000,
        "valid_until": (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    sex = {**request, "criteria": {"op": "=", "args": [{"property": "sex"}, "f"]}}
    expect(await bank.call("POST", "/v1/prescreens", sex), 422, "criteria_unacceptable")
    story.tell.step("a list by sex cannot even be asked for", "422 criteria_unacceptable")
    asked = expect(await bank.call("POST", "/v1/prescreens", request), 202)
    path = f"/v1/prescreens/{asked['id']}"

    async def ready() -> dict[str, Any] | None:
        seen = expect(await bank.call("GET", path), 200)
        if seen["state"] == "failed":
            raise CallFailed(f"the list failed: {seen.get('why_failed')}")
        return seen if seen["state"] == "ready" else None

    made = await wait_for(ready, "the list is made")
    story.tell.step(
        "the worker makes and freezes the list", f"{made['entries']} entries, {made['snapshot'][:16]}…"
    )
    page = expect(await bank.call("GET", f"{path}/entries?limit=3"), 200)
    story.tell.step("its lines hold an entry id, a limit and a price, no score", page["items"][0]["id"])
    before = expect(await bank.call("GET", f"{path}/recalls"), 200)
    listed = await someone_listed(story, asked["id"], besides=user)
    browser = await story.browser(listed)
    mine = expect(await browser.call("GET", "/v1/me/grants"), 200)["items"]
    grant = next(g["id"] for g in mine if g["purpose"] == "prescreen" and g["state"] == "active")
    expect(await browser.call("POST", f"/v1/me/grants/{grant}/withdraw"), 200)
    recalls = expect(await bank.call("GET", f"{path}/recalls?cursor={before['next']}"), 200)["items"]
    if [r["reason"] for r in recalls] != ["withdrawn"]:
        raise CallFailed(f"the withdrawal shows no recall: {recalls}")
    story.tell.step(
        "a listed person withdraws: the list takes the line back", f"recall of {recalls[0]['entry']}"
    )


async def someone_listed(story: Story, prescreen: str, *, besides: UserId) -> UserId:
    """Somebody on the list, as only the platform can know."""
    async with open_act(story.world.team.auditor, None) as act:
        rows = await act.db.execute_query_dict(
            """select user_id from partners_entry where prescreen = $1 and user_id <> all($2::uuid[])
               and recalled_at is null limit 1""",
            [ids.private("pre", prescreen), [besides, *story.world.people[:3]]],
        )
        act.record("demo_looked_up", {"prescreen": prescreen})
    return UserId(rows[0]["user_id"])


async def _route(story: Story, user: UserId) -> None:
    story.tell.chapter("Route", "找贷款：先比后选，选谁谁才知道")
    browser = await story.browser(user)
    wish = {
        "amount": {"amount_minor": 600_000, "currency": story.world.currency},
        "instalments": 6,
        "region": "east",
        "is_student": False,
        "use_of_funds": "daily_consumption",
        "agree_to_matching": True,
        "language": "zh-CN",
    }
    applied = expect(await browser.call("POST", "/v1/applications", wish), 201)
    for offer in applied["offers"]:
        cost = offer["total_cost"]
        total = f"{cost['amount_minor'] / 100:.2f} {cost['currency']}"
        story.tell.step(f"offer {offer['rank']}: {offer['lender']['en']}", f"costs {total} in all")
    for left in applied["left_out"]:
        story.tell.step(f"left out: {left['lender']['en']}", left["code"])
    harbour, meadow = story.bank(catalogue.HARBOUR), story.bank(catalogue.MEADOW)
    if expect(await harbour.call("GET", "/v1/referrals"), 200)["items"]:
        story.tell.step(
            "earlier referrals of other people are there; this one is not", "no lender knows who asked"
        )
    picked = await pick(browser, applied, catalogue.HARBOUR)
    story.tell.step("the person picks one: only that lender learns of it", picked["referral"])
    landing = await story.http.get(picked["redirect_to"])
    if landing.status_code != 200:
        raise CallFailed(f"the lender's landing page answered {landing.status_code}")
    story.tell.step("one signed hop to the lender's own page", picked["redirect_to"].split("?")[0])
    await wait_for(
        lambda: _referral(harbour, picked["referral"], "acknowledged"), "the lender has the referral"
    )
    for state in ("in_review", "approved", "accepted", "disbursed"):
        path = f"/v1/referrals/{picked['referral']}/status"
        expect(await harbour.call("POST", path, {"state": state}), 200)
    story.tell.step("the lender reports back", "in_review, approved, accepted, disbursed")
    outcome = {
        "referral": picked["referral"],
        "decision": "approved",
        "decided_on": datetime.now(UTC).date().isoformat(),
        "disbursed": {"amount_minor": 600_000, "currency": story.world.currency},
    }
    expect(await harbour.call("POST", "/v1/outcomes", outcome), 201)
    story.tell.step("and the outcome", "approved and disbursed")
    again = expect(await browser.call("POST", "/v1/applications", wish), 201)
    silent = await pick(browser, again, catalogue.MEADOW)
    expect(await browser.call("POST", f"/v1/me/grants/{silent['grant']}/withdraw"), 200)
    stopped = await wait_for(lambda: _referral(meadow, silent["referral"], "withdrawn"), "the referral stops")
    story.tell.step(
        "a second pick is withdrawn while its referral waits", f"{stopped['id']} is {stopped['state']}"
    )


async def pick(browser: Browser, applied: dict[str, Any], code: str) -> dict[str, Any]:
    """Pick a lender's offer."""
    name = catalogue.names(code)[Language.EN]
    offer = next(o for o in applied["offers"] if o["lender"]["en"] == name)
    body = {"offer": offer["id"], "agree_to_hand_over": True, "language": "zh-CN"}
    return expect(await browser.call("POST", f"/v1/applications/{applied['id']}/pick", body), 201)


async def _referral(bank: BankSoftware, referral: str, state: str) -> dict[str, Any] | None:
    items = expect(await bank.call("GET", "/v1/referrals?limit=500"), 200)["items"]
    return next((r for r in items if r["id"] == referral and r["state"] == state), None)


async def _withdraw(story: Story, bank: BankSoftware, consented: dict[str, Any], user: UserId) -> None:
    story.tell.chapter("Withdraw", "撤回：一步停止，处处停止")
    fresh = expect(await bank.refresh(consented["refresh_token"]), 200)
    story.tell.step("the bank refreshes its token", f"{fresh['expires_in']} s from now")
    browser = await story.browser(user)
    mine = expect(await browser.call("GET", "/v1/me/grants"), 200)["items"]
    live = [g for g in mine if g["purpose"] == "credit_assessment" and g["state"] == "active"]
    for grant in live:
        done = expect(await browser.call("POST", f"/v1/me/grants/{grant['id']}/withdraw"), 200)
        story.tell.step("the person withdraws", f"stopped at {done['ended_at']}")
    body = score_request(story, fresh["authorization_details"][0]["user"])
    expect(await bank.call("POST", "/v1/scores", body), 403, "consent_withdrawn")
    story.tell.step("the very next call is refused", "403 consent_withdrawn")
    expect(await bank.call("POST", "/v1/scores", body, token=fresh["access_token"]), 401, "invalid_token")
    story.tell.step("the token of that consent has not expired, and counts no more", "401 invalid_token")
    expect(await bank.refresh(consented["refresh_token"]), 400, "invalid_grant")
    story.tell.step("nor does the refresh token", "400 invalid_grant")


async def _outside_client(story: Story, bank: BankSoftware, user: UserId) -> None:
    """Leave somebody with a live consent, and somebody who can be asked, for the reader's own client."""
    story.tell.chapter("Your turn", "轮到您")
    grant = await ask(story, bank, "credit_assessment")
    await approve(story, await story.browser(user), grant["id"])
    known = expect(await bank.call("GET", f"/v1/grants/{grant['id']}"), 200)["user"]
    score = expect(await bank.call("POST", "/v1/scores", score_request(story, known)), 201)
    story.tell.step("another person has consented and stays", f"{known}, {score['points']} points")
    reader = await credentials.sign_in(story.settings, "demo-reader", story.world.people[-1])
    story.tell.step(
        "one more has a name and a password for the development provider", f"{reader.name}, {reader.file}"
    )
    if story.credentials:
        hosts, partner = story.world.hosts, story.world.partners[catalogue.HARBOUR]
        key = await credentials.client(story.settings, catalogue.OUTSIDE, partner, hosts)
        outside = story.software(catalogue.OUTSIDE, key)
        credentials.write(story.credentials, outside, pseudonym=known, categories=story.categories)
        story.tell.step("an outside client's files are written", f"{story.credentials}/client.json")
    at = f"{story.settings.issuer}/sign-in"
    story.links[f"{reader.name}, with the password {reader.password}"] = at
    story.links["the person who consented (/me)"] = await story.link(user)
    story.links["the person who withdrew (/me)"] = await story.link(story.world.people[0])
    for role, staff in (
        ("compliance officer", story.world.team.officer),
        ("auditor", story.world.team.auditor),
    ):
        token = await sessions.make_link(credentials.DEMO, story.settings, staff=staff.staff)
        story.links[f"the {role} (/compliance)"] = f"{story.settings.issuer}/sign-in/{token}"


async def audit(story: Story, found: Standing) -> None:
    """The log, verified whole, also against a checkpoint that was taken away before."""
    story.tell.chapter("Log", "日志：不用信任我们也能验证")
    outside = (await story.http.get(f"{story.settings.issuer}/v1/log/checkpoint")).text
    report = await auditing.checked(found, outside)
    if not report.whole:
        raise CallFailed(f"the log is damaged: {report.findings[0]}")
    story.tell.step(
        "every fact, leaf, tile and checkpoint verified",
        f"{report.size} facts, {report.checkpoints} checkpoints",
    )
