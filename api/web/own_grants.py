"""/me/grants: one consent: what it allows, each use with its proof, its receipt, and the button that stops it."""

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from api.access import AnyRequest, person, person_of, request_act, request_view
from api.settings import Settings
from api.web import forms, me, page, receipt_paper
from compliance import ids
from compliance.refusals import NotFound
from compliance.vocabulary import GrantId
from consent import access_log, effects, extensions, grants, life, receipts
from partners import directory


@get("/me/grants/{grant_id:str}", opt=person(light=True), include_in_schema=False)
async def own_grant(request: AnyRequest, grant_id: FromPath[str]) -> Response[str]:
    """One consent and its history."""
    grant, user = GrantId(ids.private("gnt", grant_id)), person_of(request).user
    async with request_view(request) as view:
        row = await grants.find(view, grant)
        entries = await access_log.mine(view, user, grant=grant)
        return page.show(
            request,
            "grant.html",
            card=me.card(view, row),
            use=(await access_log.uses(view, user)).get(grant),
            receipt=await receipts.newest(view, grant),
            can_go_on=await extensions.offered(view, row),
            extensions=[
                (one, extensions.standing(one, row, view.now))
                for one in await extensions.history(view, grant)
            ],
            log=await me.checked(view, entries),
            names=await me.names(view, [row], entries),
        )


@get("/me/grants/{grant_id:str}/receipt", opt=person(light=True), include_in_schema=False)
async def receipt(request: AnyRequest, grant_id: FromPath[str]) -> Response[str]:
    """The newest signed receipt as a file (compact JWS)."""
    async with request_view(request) as view:
        row = await receipts.newest(view, GrantId(ids.private("gnt", grant_id)))
    if row is None:
        raise NotFound
    return page.file(request, f"{grant_id}.receipt.jws", row.signed, "application/jose")


@get("/me/grants/{grant_id:str}/receipt.pdf", opt=person(), include_in_schema=False)
async def receipt_on_paper(request: AnyRequest, grant_id: FromPath[str]) -> Response[bytes]:
    """The newest receipt as a PDF that carries the signed one."""
    async with request_view(request) as view:
        row = await receipts.newest(view, GrantId(ids.private("gnt", grant_id)))
        if row is None:
            raise NotFound
        names = await directory.names(view, receipts.read(row.signed).parties.partners)
    settings: Settings = request.app.state.settings
    printed = await receipt_paper.printed(row.signed, page.words(request), names, settings.issuer)
    return page.file(request, f"{grant_id}.receipt.pdf", printed, "application/pdf")


@post("/me/grants/{grant_id:str}/pause", opt=person(light=True), include_in_schema=False, status_code=303)
async def pause(request: AnyRequest, grant_id: FromPath[str]) -> Redirect:
    """Stop every use until the person resumes it, or let it be used again."""
    form = await forms.read(request)
    switch = grants.resume if form.text("answer") == "resume" else grants.pause
    async with request_act(request) as act:
        await switch(act, GrantId(ids.private("gnt", grant_id)))
    return page.go(request, f"/me/grants/{grant_id}")


@post("/me/grants/{grant_id:str}/withdraw", opt=person(light=True), include_in_schema=False, status_code=303)
async def withdraw(request: AnyRequest, grant_id: FromPath[str]) -> Redirect:
    """End the consent; every use of it stops in this same act."""
    await forms.read(request)
    async with request_act(request) as act:
        await grants.withdraw(act, GrantId(ids.private("gnt", grant_id)))
    return page.go(request, f"/me/grants/{grant_id}/withdrawn")


@get("/me/grants/{grant_id:str}/withdrawn", opt=person(light=True), include_in_schema=False)
async def withdrawn(request: AnyRequest, grant_id: FromPath[str]) -> Response[str]:
    """When it stopped, and what each recipient did then."""
    async with request_view(request) as view:
        row = await grants.find(view, GrantId(ids.private("gnt", grant_id)))
        if row.ended_at is None:
            raise life.GrantNotOpen("this consent has not ended")
        return page.show(
            request,
            "withdrawn.html",
            card=me.card(view, row),
            effects=await effects.of_grant(view, GrantId(row.id)),
            names=await me.names(view, [row], []),
            now=view.now,
        )


routes = [own_grant, receipt, receipt_on_paper, pause, withdraw, withdrawn]
