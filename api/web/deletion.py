"""/me/delete: the person deletes everything about themselves; and the page that goes on telling what became of it."""

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from api import erasing
from api.access import AnyRequest, person, public, request_view
from api.web import forms, page
from compliance import ids
from consent import capsules, deletion, effects
from partners import directory


@get("/me/delete", opt=person(fresh=True), include_in_schema=False)
async def before(request: AnyRequest) -> Response[str]:
    """What goes, what stays, and for how long."""
    return page.show(request, "delete.html", years=capsules.KEPT_YEARS)


@post("/me/delete", opt=person(fresh=True), include_in_schema=False, status_code=303)
async def delete(request: AnyRequest) -> Redirect:
    """Delete the person; every session of theirs ends with it."""
    form = await forms.read(request)
    if not form.ticked("understood"):
        raise form.fault("understood", "not_ticked", "say that you know that this cannot be undone")
    made = await erasing.delete(request)
    return page.go(request, f"/deleted/{ids.public('del', made.id)}")


@get("/deleted/{deletion_id:str}", opt=public(), include_in_schema=False)
async def after(request: AnyRequest, deletion_id: FromPath[str]) -> Response[str]:
    """How far a deletion is, for whoever holds its number."""
    wanted = ids.private("del", deletion_id)
    async with request_view(request) as view:
        made = await deletion.look(view, wanted)
        asked = await effects.of_deletion(view, wanted)
        return page.show(
            request,
            "deleted.html",
            made=made,
            number=deletion_id,
            public=ids.public,
            effects=asked,
            names=await directory.names(view, {effect.recipient for effect in asked}),
            now=view.now,
        )


@get("/deleted/{deletion_id:str}/certificate", opt=public(), include_in_schema=False)
async def certificate(request: AnyRequest, deletion_id: FromPath[str]) -> Response[str]:
    """The signed certificate as a file (compact JWS)."""
    async with request_view(request) as view:
        made = await deletion.look(view, ids.private("del", deletion_id))
    return page.file(request, f"{deletion_id}.certificate.jws", made.certificate, "application/jose")


routes = [before, delete, after, certificate]
