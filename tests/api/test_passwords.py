"""Signing in by name and password: for fictional people alone, the same words for every mistake, five tries in a row."""

import asyncio
import hashlib
import json
import re
import sys
from dataclasses import dataclass, replace
from datetime import date
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from support import world
from support.world import STORY, World, told

from api import auditing, cli, operating, passwords
from api.passwords import SignInLocked, SignInRefused
from api.running import Standing
from api.settings import Settings, SettingUnusable
from api.web import sign_in
from compliance.act import open_act
from compliance.refusals import NotFound, Unacceptable
from compliance.vocabulary import OFFERED, StaffRole, UserId
from consent import people
from consent.people import NewPerson

NAME, PASSWORD = "li", "correct horse 电池"
CLIENT, REQUEST = "bank.a~1", "urn:ietf:params:oauth:request_uri:" + "Ab3_-" * 9
OURS = {"Origin": world.ISSUER, "Sec-Fetch-Site": "same-origin"}
ON = {"client_id": CLIENT, "request_uri": REQUEST}


@pytest.fixture(autouse=True)
def cheap(monkeypatch) -> None:
    """Hashing for real takes a tenth of a second; how it is called is tested apart."""
    monkeypatch.setattr(passwords, "COST", 2)


@pytest.fixture
async def here(database, home):
    async with world.opened(database, home) as opened:
        yield opened


async def named(name: str = NAME, password: str = PASSWORD) -> UserId:
    """Somebody with a name and a password."""
    (person,) = await world.persons(1)
    kept = await passwords.stretch(password)
    async with open_act(STORY, None) as act:
        await passwords.keep(act, name, person.user, kept)
    return person.user


async def enter(
    here: World, name: str = NAME, password: str = PASSWORD, *, cookie: str = "", **fields: str
) -> httpx2.Response:
    """Send the form."""
    headers = OURS | {"Accept-Language": "en"} | ({"Cookie": cookie} if cookie else {})
    return await here.http.post(
        "/sign-in", data={"name": name, "password": password} | fields, headers=headers
    )


def cookie_of(answer: httpx2.Response) -> str:
    return answer.headers["set-cookie"].split(";")[0]


async def test_who_knows_name_and_password_is_signed_in(here, owner):
    user = await named()
    answer = await enter(here, f" {NAME} ")
    assert (answer.status_code, answer.headers["location"]) == (303, "/me")
    session = await owner.fetchrow("select * from api_session")
    assert (session["user_id"], session["method"]) == (user, "development_password")
    assert "httponly" in answer.headers["set-cookie"].lower()
    told(await here.http.get("/v1/me/grants", headers={"Cookie": cookie_of(answer)}), 200)


async def test_signing_in_again_gets_another_token_and_ends_the_session_before_it(here, owner):
    await named()
    first = cookie_of(await enter(here))
    second = cookie_of(await enter(here, cookie=first))
    assert first != second
    told(await here.http.get("/v1/me/grants", headers={"Cookie": first}), 401)
    told(await here.http.get("/v1/me/grants", headers={"Cookie": second}), 200)
    third = await enter(here, cookie="__Host-xinqiao=chosen-by-somebody")
    assert "chosen-by-somebody" not in cookie_of(third)
    assert (await enter(here, password="wrong", cookie=second)).status_code == 401
    told(await here.http.get("/v1/me/grants", headers={"Cookie": second}), 200)  # a mistake ends nothing


async def test_a_wrong_name_and_a_wrong_password_cannot_be_told_apart(here, monkeypatch):
    await named()
    hashed: list[dict[str, Any]] = []
    scrypt = hashlib.scrypt

    def counted(password: bytes, **how: Any) -> bytes:
        hashed.append(how)
        return scrypt(password, **how)

    monkeypatch.setattr(hashlib, "scrypt", counted)
    answers = [await enter(here, name, "wrong password") for name in (NAME, "nobody", "a name", "", "x" * 65)]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert not any("set-cookie" in answer.headers for answer in answers)
    assert len(hashed) == len(answers)
    assert len({json.dumps(how | {"salt": len(how["salt"])}) for how in hashed}) == 1


async def test_a_password_is_kept_as_scrypt_with_a_salt_of_its_own(here, owner, monkeypatch):
    monkeypatch.setattr(passwords, "COST", 2**15)
    await named()
    await named("wang")
    rows = await owner.fetch("select * from api_password")
    assert len({row["salt"] for row in rows}) == len({row["hash"] for row in rows}) == 2
    for row in rows:
        right = hashlib.scrypt(PASSWORD.encode(), salt=row["salt"], n=2**15, r=8, p=1, maxmem=2**26, dklen=32)
        assert (len(row["salt"]), row["hash"]) == (16, right)
    assert (await enter(here)).status_code == 303


@pytest.mark.parametrize("name", [NAME, "nobody"])
async def test_after_five_mistakes_a_name_is_locked_for_a_quarter_of_an_hour(here, owner, name):
    await named()
    await named("wang")
    assert [(await enter(here, name, "wrong")).status_code for _ in range(5)] == [401] * 5
    for password in ("wrong", PASSWORD):
        locked = await enter(here, name, password)
        assert told(locked, 429)["code"] == "sign_in_locked"
        assert 890 < int(locked.headers["retry-after"]) <= 900
    page = await here.http.post(
        "/sign-in", data={"name": name, "password": PASSWORD}, headers=OURS | {"Accept": "text/html"}
    )
    assert (page.status_code, "连续尝试次数太多" in page.text, "retry-after" in page.headers) == (
        429,
        True,
        True,
    )
    assert (await enter(here, "wang")).status_code == 303
    await owner.execute("update api_sign_in_try set until = until - interval '14 minutes 50 seconds'")
    assert (await enter(here, name)).status_code == 429
    await owner.execute("update api_sign_in_try set until = until - interval '15 minutes'")
    assert (await enter(here, name, PASSWORD)).status_code == (303 if name == NAME else 401)
    assert [(await enter(here, name, "wrong")).status_code for _ in range(4)] == [401] * 4


async def test_success_forgets_the_mistakes_before_it(here, owner):
    await named()
    for _ in range(3):
        assert [(await enter(here, password="wrong")).status_code for _ in range(4)] == [401] * 4
        assert (await enter(here)).status_code == 303
    assert await owner.fetchval("select count(*) from api_sign_in_try") == 0


async def test_many_at_once_are_not_more_tries_than_one_after_the_other(here):
    await named()

    async def guess(_: int) -> type[Exception]:
        try:
            await passwords.verify(NAME, "wrong password")
        except (SignInRefused, SignInLocked) as refusal:
            return type(refusal)
        raise AssertionError

    found = await asyncio.gather(*(guess(n) for n in range(20)))
    assert (found.count(SignInRefused), found.count(SignInLocked)) == (5, 15)


async def test_tries_are_forgotten_when_they_are_over(here, owner):
    for n in range(20):
        await enter(here, f"guess{n}")
    await owner.execute("update api_sign_in_try set until = now()")
    await asyncio.gather(*(enter(here, f"guess{n}") for n in range(3)))
    assert await owner.fetchval("select count(*) from api_sign_in_try") == 3
    assert await owner.fetchval("select max(tries) from api_sign_in_try") == 1


async def test_in_production_there_is_no_such_page(database, home):
    async with world.opened(database, home, installation="production") as here:
        await named()
        for answer in (await here.http.get(sign_in.address(CLIENT, REQUEST)), await enter(here)):
            assert (told(answer, 404)["code"], "set-cookie" in answer.headers) == ("not_found", False)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
async def test_another_site_signs_nobody_in(here, owner, headers):
    await named()
    answer = await here.http.post("/sign-in", data={"name": NAME, "password": PASSWORD}, headers=headers)
    assert (told(answer, 403)["code"], "set-cookie" in answer.headers) == ("origin_refused", False)
    assert await owner.fetchval("select count(*) from api_session") == 0


def hidden(page: str) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', unescape(page)))


async def test_the_request_that_waits_goes_along(here):
    await named()
    page = await here.http.get(sign_in.address(CLIENT, REQUEST), headers={"Accept-Language": "en"})
    assert (page.status_code, hidden(page.text)) == (200, ON)
    wrong = await enter(here, password="wrong", **hidden(page.text))
    assert (wrong.status_code, hidden(wrong.text)) == (401, ON)
    other = re.search(r'href="(\?[^"]*lang=[^"]*)"', wrong.text)
    assert other
    chinese = await here.http.get(f"/sign-in{unescape(other[1])}")
    assert ('<html lang="zh-CN">' in chinese.text, hidden(chinese.text)) == (True, ON)
    went = urlsplit((await enter(here, **hidden(wrong.text))).headers["location"])
    assert (went.scheme, went.netloc, went.path) == ("", "", "/oauth/authorize")
    assert parse_qs(went.query, strict_parsing=True) == {name: [value] for name, value in ON.items()}


ELSEWHERE = [
    {"client_id": CLIENT},
    {"request_uri": REQUEST},
    ON | {"client_id": ""},
    ON | {"client_id": "a" * 129},
    ON | {"client_id": "a&redirect_uri=https://evil.example"},
    ON | {"client_id": "bank\n"},
    ON | {"client_id": "银行"},
    ON | {"request_uri": "https://evil.example"},
    ON | {"request_uri": "//evil.example"},
    ON | {"request_uri": REQUEST + "\r\nSet-Cookie: a=b"},
    ON | {"request_uri": REQUEST + "\n"},
    ON | {"request_uri": "urn:ietf:params:oauth:request_uri:" + "a" * 19},
    ON | {"request_uri": "urn:ietf:params:oauth:request_uri:" + "a" * 129},
    {"next": "https://evil.example", "redirect_uri": "https://evil.example", "return_to": "//evil.example"},
]


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.1-7")
@pytest.mark.parametrize("carried", ELSEWHERE, ids=str)
async def test_nothing_else_leads_anywhere(here, carried):
    await named()
    page = await here.http.get("/sign-in", params=carried)
    assert (page.status_code, hidden(page.text), 'action="/sign-in"' in page.text) == (200, {}, True)
    answer = await enter(here, **carried)
    assert (answer.status_code, answer.headers["location"]) == (303, "/me")
    again = await here.http.get("/sign-in", params=carried, headers={"Cookie": cookie_of(answer)})
    assert again.status_code == 200


async def test_who_is_signed_in_goes_on_at_once(here):
    await named()
    cookie = cookie_of(await enter(here))
    path = sign_in.address(CLIENT, REQUEST)
    answer = await here.http.get(path, headers={"Cookie": cookie})
    assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/oauth/authorize")
    assert "set-cookie" not in answer.headers
    assert (await here.http.get("/sign-in", headers={"Cookie": cookie})).status_code == 200
    console = await here.console(StaffRole.AUDITOR)
    assert (await here.http.get(path, headers={"Cookie": console.cookie})).status_code == 200
    ended = {"Cookie": "__Host-xinqiao=nothing"}
    assert (await here.http.get(path, headers=ended)).status_code == 200


FORM = "application/x-www-form-urlencoded"
ODD = [
    (FORM, b""),
    (FORM, b"name=li%00&password=%00"),
    (FORM, b"name=%ff%fe&password=%ed%a0%80"),
    (FORM, b"name=li&name=wang&password=a&password=b"),
    ("application/json", b'{"name": "li", "password": "\\ud800"}'),
    ("application/json", b"[1]"),
    ("text/plain", b"name=li"),
    (
        "multipart/form-data; boundary=x",
        b"--x\r\nContent-Disposition: form-data; name=name; filename=a\r\n\r\nli",
    ),
    ("", b"name=li"),
]


@pytest.mark.parametrize(("media_type", "content"), ODD, ids=lambda value: str(value)[:40])
async def test_odd_forms_sign_nobody_in(here, media_type, content):
    await named()
    headers = OURS | ({"Content-Type": media_type} if media_type else {})
    answer = await here.http.post("/sign-in", content=content, headers=headers)
    assert answer.status_code in (400, 401, 413)
    assert "set-cookie" not in answer.headers
    answer = await here.http.post("/sign-in", content=content, headers=OURS | {"Content-Type": "x"})
    assert answer.status_code in (400, 401, 413)


@pytest.mark.parametrize(("length", "status"), [(8_000, 401), (9_000, 413)])
async def test_a_form_has_a_largest_size(here, length, status):
    answer = await enter(here, password="x" * length)
    assert answer.status_code == status


@pytest.mark.parametrize("password", ["x\ud800" * 4, "\ud800" * 300, "\x00" * 9])
async def test_text_that_is_none_is_a_wrong_password(here, password):
    await named()
    for name in (NAME, "\ud800", "\x00"):
        with pytest.raises(SignInRefused):
            await passwords.verify(name, password)


@pytest.mark.parametrize("name", ["", " ", "a b", "x" * 65, "a\n", "a\x00", "\u200b", "\ud800", "a\u3000b"])
def test_a_name_that_nobody_can_type_is_refused(name):
    with pytest.raises(Unacceptable) as refused:
        passwords.refuse_unusable(name, PASSWORD)
    assert [fault.pointer for fault in refused.value.faults] == ["/name"]


@pytest.mark.parametrize("password", ["", "1234567", "x" * 257, "12345678\t", "12345678\udcff"])
def test_a_password_that_is_too_short_or_not_text_is_refused(password):
    with pytest.raises(Unacceptable) as refused:
        passwords.refuse_unusable(NAME, password)
    assert [fault.pointer for fault in refused.value.faults] == ["/password"]


@pytest.mark.parametrize(
    ("name", "password"), [("a", "12345678"), ("x" * 64, "x" * 256), ("李雷", " 空 格 空 格 空 格 ")]
)
def test_what_can_be_typed_is_not(name, password):
    passwords.refuse_unusable(name, password)


@dataclass
class Desk:
    """The operator at the command line."""

    found: Standing
    file: Path
    said: Any

    async def add(self, name: str = NAME, content: bytes = b"12345678\nmore\n", **changes: Any) -> Any:
        """Add a sign-in; what was printed."""
        self.file.write_bytes(content)
        how = {"born_on": date(1990, 1, 1), "reference": None} | changes
        assert await operating.add_development_sign_in(self.found, name, self.file, **how) == 0
        return json.loads(self.said.readouterr().out)


@pytest.fixture
def desk(database, home, tmp_path, capsys) -> Desk:
    settings = Settings(home, "development", world.ISSUER, None, OFFERED)
    return Desk(Standing(settings, database), tmp_path / "password", capsys)


async def test_the_operator_makes_a_fictional_adult_who_can_sign_in(desk, database, home, owner):
    assert await desk.add() == {"name": NAME, "sign_in": f"{world.ISSUER}/sign-in"}
    person = await owner.fetchrow("select * from consent_person")
    assert (person["fictional"], person["born_on"]) == (True, date(1990, 1, 1))
    fact = await owner.fetchrow("select * from compliance_fact where kind = 'development_sign_in_added'")
    assert (fact["person"], fact["principal"]) == (person["id"], "worker:operator")
    async with world.opened(database, home) as here:
        assert (await enter(here, password="12345678")).status_code == 303


async def test_a_name_that_exists_gets_the_new_password(desk, database, home, owner):
    await desk.add()
    await desk.add(content="另一个密码另一个密码\r\n".encode(), born_on=date(2000, 1, 1))
    assert await owner.fetchval("select count(*) from consent_person") == 1
    async with world.opened(database, home) as here:
        assert (await enter(here, password="12345678")).status_code == 401
        assert (await enter(here, password="另一个密码另一个密码")).status_code == 303


async def test_somebody_who_exists_gets_a_sign_in_by_the_operators_reference(desk, database, home, owner):
    async with world.opened(database, home), open_act(STORY, None) as act:
        new = [NewPerson(name, None, fictional=name == "made up") for name in ("made up", "real")]
        known = await people.bring(act, new)
    await desk.add(reference="made up")
    assert await owner.fetchval("select user_id from api_password") == known["made up"]
    await owner.execute("update api_password set user_id = $1", known["real"])
    await desk.add(reference="made up")  # the name gets this person, whoever had it
    assert await owner.fetchval("select user_id from api_password") == known["made up"]
    for reference in ("real", "nobody"):
        with pytest.raises(NotFound):
            await desk.add("wang", reference=reference)
    assert await owner.fetchval("select count(*) from api_password") == 1
    assert await owner.fetchval("select count(*) from consent_person") == 2


async def test_what_cannot_be_used_is_refused_before_anything_is_done(desk, owner):
    for content in (b"", b"\n12345678", b"1234567\n", b"\xff" * 9, b"x" * 300):
        with pytest.raises(Unacceptable):
            await desk.add(content=content)
    desk.found = replace(desk.found, settings=replace(desk.found.settings, installation="production"))
    with pytest.raises(SettingUnusable):
        await desk.add()
    assert await owner.fetchval("select count(*) from consent_person") == 0


async def test_the_command_line_says_who_and_from_where(desk, owner, monkeypatch):
    runs: list[Any] = []
    monkeypatch.setattr(auditing, "run", lambda _, command: runs.append(command) or 0)
    desk.file.write_text("12345678", encoding="utf-8")
    for more in ([], ["--born", "2001-02-03"]):
        words = ["xinqiao", "users", "add-development", f"li{len(more)}", "--password-file", str(desk.file)]
        monkeypatch.setattr(sys, "argv", words + more)
        with pytest.raises(SystemExit) as over:
            cli.main()
        assert over.value.code == 0
    for run in runs:
        assert await run(desk.found) == 0
    born = await owner.fetch(
        "select p.born_on from api_password a join consent_person p on p.id = user_id order by 1"
    )
    assert [row["born_on"] for row in born] == [date(1990, 1, 1), date(2001, 2, 3)]
