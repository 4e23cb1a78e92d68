"""/problems: what each problem means and what to do about it, in both languages."""

import re
from pathlib import Path

from litestar import Response, get
from litestar.params import FromPath

from api.access import AnyRequest, public
from api.web import page, prose
from api.web.prose import Block
from compliance.refusals import NotFound
from compliance.vocabulary import Language

FOLDER = Path(__file__).parent.parent.parent / "openapi" / "problems"
CODE = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
BREAK = "\n---\n"


@get("/problems/{code:str}", opt=public(light=True), include_in_schema=False)
async def problem(request: AnyRequest, code: FromPath[str]) -> Response[str]:
    """The page that the `type` of a problem document (RFC 9457) leads to."""
    return page.show(request, "problem_page.html", code=code, text=text(code, page.language(request)))


def text(code: str, language: Language) -> list[Block]:
    """A problem's page: its file holds Chinese first, English after the break."""
    file = FOLDER / f"{code}.md"
    if not CODE.fullmatch(code) or not file.exists():
        raise NotFound("no problem has this code")
    chinese, english = file.read_text(encoding="utf-8").split(BREAK)
    return prose.blocks(english if language is Language.EN else chinese)


routes = [problem]
