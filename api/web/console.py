"""/compliance: officers and auditors search the audit log and look into one fact, for a stated reason."""

from typing import Annotated
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.params import FromPath, QueryParameter
from litestar.response import Redirect

from api.access import AnyRequest, principal_of, request_act, staff
from api.v1.wire import PLAIN
from api.web import forms, me, page
from compliance import ids
from compliance.vocabulary import FactId, PartnerId, Staff, StaffRole
from consent import access_log, effects, fact_search, permits
from consent.fact_search import Query
from partners import directory

LOOKING = (StaffRole.COMPLIANCE_OFFICER, StaffRole.AUDITOR)
Text = Annotated[str, QueryParameter(max_length=80, pattern=PLAIN)]


@get("/compliance/start", opt=staff(*StaffRole), include_in_schema=False, status_code=303)
async def begin(request: AnyRequest) -> Redirect:
    """Where the work of each role begins."""
    caller = principal_of(request)
    reviews = isinstance(caller, Staff) and caller.role is StaffRole.RISK_OFFICER
    return page.go(request, "/compliance/reviews" if reviews else "/compliance")


@get("/compliance", opt=staff(*LOOKING), include_in_schema=False)
async def search(
    request: AnyRequest,
    kind: Text = "",
    partner: Text = "",
    since: Text = "",
    until: Text = "",
    fact: Text = "",
    before: Text = "",
) -> Response[str]:
    """Search by kind, partner, days and id; the search itself is recorded."""
    query = Query(
        kind=kind or None,
        partner=_partner(partner),
        since=forms.day_start(since),
        until=forms.day_start(until, after_days=1),
        fact=FactId(ids.private("fct", fact)) if fact else None,
    )
    async with request_act(request) as act:
        found = await fact_search.search(act, query, FactId(ids.private("fct", before)) if before else None)
        asked = {"kind": kind, "partner": partner, "since": since, "until": until, "fact": fact}
        older = asked | {"before": ids.public("fct", found.entries[-1].fact)} if found.more else None
        return page.show(
            request,
            "console.html",
            asked=asked,
            found=found,
            count_max=fact_search.COUNT_MAX,
            log=await me.checked(act, found.entries),
            label=fact_search.label,
            kinds=await fact_search.kinds(act),
            partners=[(ids.public("ptn", p), p) for p in await directory.everybody(act)],
            names=await directory.everybody(act),
            older=f"/compliance?{urlencode(older)}" if older else None,
        )


def _partner(text: str) -> PartnerId | None:
    return PartnerId(ids.private("ptn", text)) if text else None


@get("/compliance/facts/{fact_id:str}", opt=staff(*LOOKING), include_in_schema=False)
async def ask_reason(request: AnyRequest, fact_id: FromPath[str]) -> Response[str]:
    """Without a stated reason nothing is opened."""
    ids.private("fct", fact_id)
    return page.show(request, "look_reason.html", action=f"/compliance/facts/{fact_id}", back="/compliance")


@post("/compliance/facts/{fact_id:str}", opt=staff(*LOOKING), include_in_schema=False, status_code=200)
async def look(request: AnyRequest, fact_id: FromPath[str]) -> Response[str]:
    """One fact opened, its proof verified now; the look and its reason are recorded and shown to the person."""
    form = await forms.read(request)
    fact = FactId(ids.private("fct", fact_id))
    async with request_act(request) as act:
        about = (await access_log.find(act, fact)).person
        permit = permits.staff_permit(act, form.text("reason"), about=about)
        opened = await access_log.open_as_staff(act, permit, fact)
        return page.show(
            request,
            "fact.html",
            home="/compliance",
            fact=opened.entry,
            fact_id=fact_id,
            what=opened.what["what"],
            whose=fact_search.label(about),
            names=await directory.names(act, [opened.entry.partner]),
            **await me.proven(act, opened),
        )


@get("/compliance/withdrawals", opt=staff(*LOOKING), include_in_schema=False)
async def late_withdrawals(request: AnyRequest) -> Response[str]:
    """Which recipients have not confirmed or deleted in time; who the person is does not stand there."""
    async with request_act(request) as act:
        late = await effects.late(act)
        return page.show(
            request,
            "late_withdrawals.html",
            late=late,
            names=await directory.names(act, {effect.recipient for effect in late}),
            public=ids.public,
        )


routes = [begin, search, late_withdrawals, ask_reason, look]
