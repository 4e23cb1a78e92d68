"""/me: a person's home: who may use what, who used what, with its proof; and one button that stops everything."""

from typing import Annotated, Any

from litestar import Response, get, post
from litestar.params import FromPath, QueryParameter
from litestar.response import Redirect

from api import counting
from api.access import AnyRequest, person, person_of, request_act, request_view
from api.web import forms, page
from api.web.texts import Names
from compliance import completeness, evidence, ids, own_count
from compliance.act import Act, View
from compliance.vocabulary import FactId, PartnerId
from consent import access_log, effects, extensions, grants, life, objections, permits
from consent.access_log import Entry
from consent.life import ASK_LAPSES_AFTER
from consent.tables import GrantRow
from partners import directory

RECENT = 5
ENDED_SHOWN = 10
Before = Annotated[str | None, QueryParameter(max_length=40)]


@get("/me", opt=person(light=True), include_in_schema=False)
async def home(request: AnyRequest) -> Response[str]:
    """Everything at a glance."""
    user = person_of(request).user
    async with request_view(request) as view:
        rows = await grants.mine(view, user)
        used = await access_log.mine(view, user, by_others=True, limit=RECENT)
        return page.show(
            request,
            "me.html",
            cards=[card(view, row) for row in rows],
            ended_shown=ENDED_SHOWN,
            effects=await effects.unsettled(view, user),
            now=view.now,
            public=ids.public,
            uses=await access_log.uses(view, user),
            extend_until=await extensions.waiting(view, user),
            names=await names(view, rows, used),
            log=await checked(view, used),
            objects=await objections.held(view),
        )


@post("/me/objections", opt=person(light=True), include_in_schema=False, status_code=303)
async def answer_objections(request: AnyRequest) -> Redirect:
    """Object to lists or to decisions by automated means alone, or take that objection back."""
    form = await forms.read(request)
    objects = form.text("answer") == "object"
    kinds = {"lists": objections.object_to_lists, "automation": objections.object_to_automation}
    chosen = kinds.get(form.text("to"))
    if chosen is None:
        raise forms.Form.fault("to", "invalid", "lists or automation")
    async with request_act(request) as act:
        await chosen(act, objects=objects)
    return page.go(request, "/me")


@get("/me/grants", opt=person(light=True), include_in_schema=False)
async def every_consent(request: AnyRequest) -> Response[str]:
    """Every consent, a line each: those that stand, then the newest of the others."""
    async with request_view(request) as view:
        rows = await grants.mine(view, person_of(request).user)
        return page.show(
            request,
            "own_grants.html",
            cards=[card(view, row) for row in rows],
            names=await names(view, rows, []),
        )


@get("/me/log", opt=person(), include_in_schema=False)
async def own_log(request: AnyRequest, before: Before = None) -> Response[str]:
    """Everything recorded about the person, newest first."""
    start = FactId(ids.private("fct", before)) if before else None
    count = await counting.counted(request)
    async with request_view(request) as view:
        entries = await access_log.mine(view, person_of(request).user, before=start)
        return page.show(
            request,
            "own_log.html",
            count=count,
            log=await checked(view, entries),
            names=await names(view, [], entries),
            older=entries[-1].fact if len(entries) == access_log.PAGE_MAX else None,
            public=ids.public,
        )


@get("/me/log/proof", opt=person(), include_in_schema=False)
async def own_log_proof(request: AnyRequest) -> Response[str]:
    """The proof that nothing is missing up to the newest map, as a file, for any verifier."""
    async with request_view(request) as view:
        proof = await own_count.proof(view, person_of(request).user)
    name = f"xinqiao-log-{view.now:%Y%m%d}.json"
    return page.file(request, name, completeness.write(proof).decode(), "application/json")


@get("/me/facts/{fact_id:str}", opt=person(), include_in_schema=False)
async def own_fact(request: AnyRequest, fact_id: FromPath[str]) -> Response[str]:
    """One entry with its content, its proof verified now."""
    fact = FactId(ids.private("fct", fact_id))
    async with request_act(request) as act:
        opened = await access_log.open_own(act, permits.own_permit(act), fact)
        return page.show(
            request,
            "fact.html",
            home="/me",
            fact=opened.entry,
            fact_id=fact_id,
            what=opened.what["what"],
            names=await names(act, [], [opened.entry]),
            **await proven(act, opened),
        )


@get("/me/facts/{fact_id:str}/proof", opt=person(), include_in_schema=False)
async def own_proof(request: AnyRequest, fact_id: FromPath[str]) -> Response[str]:
    """The proof as a file (C2SP tlog-proof), for any verifier."""
    async with request_view(request) as view:
        entry = await access_log.find(view, FactId(ids.private("fct", fact_id)))
        found = await evidence.of_fact(view, entry.fact)
    return page.file(request, f"{fact_id}.tlog-proof", str(found.proof or ""), "text/plain")


@post("/me/stop", opt=person(light=True), include_in_schema=False, status_code=303)
async def stop_everything(request: AnyRequest) -> Redirect:
    """Withdraw every consent in one act."""
    await forms.read(request)
    async with request_act(request) as act:
        await grants.withdraw_all(act)
    return page.go(request, "/me/stopped")


@post("/me/pause", opt=person(light=True), include_in_schema=False, status_code=303)
async def pause_everything(request: AnyRequest) -> Redirect:
    """Pause every consent in one act, or let everything that is paused be used again."""
    form = await forms.read(request)
    switch = grants.resume_all if form.text("answer") == "resume" else grants.pause_all
    async with request_act(request) as act:
        await switch(act)
    return page.go(request, "/me")


@get("/me/stopped", opt=person(light=True), include_in_schema=False)
async def stopped(request: AnyRequest) -> Response[str]:
    """When everything stopped, and how far each recipient is."""
    user = person_of(request).user
    async with request_view(request) as view:
        rows = await grants.mine(view, user)
        ends = [row.ended_at for row in rows if row.ended_at and row.ended_code == "withdrawn"]
        return page.show(
            request,
            "stopped.html",
            at=max(ends, default=None),
            effects=await effects.unsettled(view, user),
            names=await names(view, rows, []),
            now=view.now,
        )


def card(at: Act | View, row: GrantRow) -> dict[str, object]:
    """A consent as a card shows it."""
    state, code = life.state_now(row, at.now)
    return {
        "id": ids.public("gnt", row.id),
        "state": state,
        "code": code,
        "row": row,
        "answer_until": row.requested_at + ASK_LAPSES_AFTER,
    }


async def names(at: Act | View, rows: list[GrantRow], entries: list[Entry]) -> Names:
    """What the partners on a page are called."""
    partners = {PartnerId(row.recipient) for row in rows} | {entry.partner for entry in entries}
    partners |= {PartnerId(row.bureau) for row in rows if row.bureau}
    return await directory.names(at, partners)


async def checked(at: Act | View, entries: list[Entry]) -> list[dict[str, object]]:
    """Entries with the state of their proofs, verified now."""
    found = await evidence.of_facts(at, [entry.fact for entry in entries])
    return [
        {"entry": entry, "id": ids.public("fct", entry.fact), "proof": found[entry.fact].state}
        for entry in entries
    ]


async def proven(act: Act, opened: access_log.Opened) -> dict[str, Any]:
    """What the page of one fact says about its proof."""
    found = await evidence.of_fact(act, opened.entry.fact)
    return {
        "evidence": found,
        "matches": evidence.commits_to(found, opened.payload, opened.salt),
    }


routes = [
    home,
    every_consent,
    answer_objections,
    own_log,
    own_log_proof,
    own_fact,
    own_proof,
    pause_everything,
    stop_everything,
    stopped,
]
