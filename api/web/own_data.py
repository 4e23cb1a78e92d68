"""/me/data: what is held about a person, in numbers, and a copy of all of it to take away."""

import asyncio

from litestar import Response, get, post
from litestar.params import FromPath

from api.access import AnyRequest, person, request_act
from api.web import forms, page
from compliance.refusals import NotFound
from consent import copies, permits
from consent.copies import Copy
from scoring import own_data
from scoring.store import retention

FORMS = {"json": (Copy.as_json, "application/json"), "zip": (Copy.as_tables, "application/zip")}


@get("/me/data", opt=person(fresh=True), include_in_schema=False)
async def held(request: AnyRequest) -> Response[str]:
    """How much is held of each category, up to when; and what a copy has in it."""
    async with request_act(request) as act:
        kinds = await own_data.by_category(act, permits.own_permit(act))
    return page.show(request, "own_data.html", kinds=kinds, parts=copies.parts(), kept=retention.PERIODS)


@post("/me/data/copy/{form:str}", opt=person(fresh=True), include_in_schema=False, status_code=200)
async def copy(request: AnyRequest, form: FromPath[str]) -> Response[bytes]:
    """The copy as a file. Making one is recorded, so it is asked for by a form."""
    await forms.read(request)
    if form not in FORMS:
        raise NotFound
    async with request_act(request) as act:
        made = await copies.make(act, permits.own_permit(act))
    write, media_type = FORMS[form]
    written = await asyncio.to_thread(write, made)
    return page.file(request, f"xinqiao-{made.made_at:%Y-%m-%d}.{form}", written, media_type)


routes = [held, copy]
