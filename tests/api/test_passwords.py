"""Names and passwords at the development provider: for fictional people alone, the same words for every mistake."""

import asyncio
import hashlib
import json
import re
import sys
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, replace
from datetime import date
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import httpx2
import pytest
from support import world
from support.provider import NAME, PASSWORD, hidden, named
from support.world import STORY, told

from api import auditing, cli, operating, passwords
from api.demo import provider as development
from api.passwords import SignInLocked, SignInRefused
from api.running import Standing
from api.settings import Provider, Settings, SettingUnusable
from api.web import texts
from compliance.act import open_act
from compliance.database import ground
from compliance.refusals import NotFound, Unacceptable
from compliance.vocabulary import OFFERED, Language
from consent import people
from consent.people import NewPerson

CODE = re.compile(
    r"https://xinqiao\.example/sign-in/return\?code=[A-Za-z0-9_-]{43}&state=s&iss=http%3A%2F%2F127\.0\.0\.1%3A\d+"
)
ASKED = {
    "response_type": "code",
    "client_id": "xinqiao",
    "redirect_uri": f"{world.ISSUER}/sign-in/return",
    "scope": "openid",
    "state": "s",
    "nonce": "n",
    "code_challenge": "c" * 43,
    "code_challenge_method": "S256",
}


@pytest.fixture(autouse=True)
def cheap(monkeypatch) -> None:
    """Hashing for real takes a tenth of a second; how it is called is tested apart."""
    monkeypatch.setattr(passwords, "COST", 2)


@dataclass
class There:
    """The provider, and a browser at it."""

    http: httpx2.AsyncClient
    issuer: str

    async def enter(self, name: str = NAME, password: str = PASSWORD, **fields: str) -> httpx2.Response:
        """Send the form."""
        headers = self.own | {"Accept-Language": "en"}
        data = ASKED | {"name": name, "password": password} | fields
        return await self.http.post("/authorize", data=data, headers=headers)

    @property
    def own(self) -> dict[str, str]:
        """What a browser says with a form of this site."""
        return {"Origin": self.issuer, "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def there(database, home):
    issuer = "http://127.0.0.1:8085"
    async with world.opened(database, home, provider=Provider(issuer)) as here:
        app = development.create_provider(here.settings)
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=issuer) as http:
            yield There(http, issuer)


def let_in(answer: httpx2.Response) -> bool:
    """Whether somebody is sent back with a code."""
    return answer.status_code == 303 and bool(CODE.fullmatch(answer.headers["location"]))


async def test_who_knows_name_and_password_gets_a_code(there):
    await named()
    assert let_in(await there.enter(f" {NAME} "))
    page = await there.http.get("/authorize", params=ASKED)
    assert (page.status_code, hidden(page.text)) == (200, ASKED)
    wrong = await there.enter(password="wrong")
    assert (wrong.status_code, hidden(wrong.text)) == (401, ASKED)
    other = re.search(r'href="(\?[^"]*lang=[^"]*)"', wrong.text)
    assert other
    chinese = await there.http.get(f"/authorize{unescape(other[1])}")
    assert ('<html lang="zh-CN">' in chinese.text, hidden(chinese.text)) == (True, ASKED)
    # To our own site and to nobody else's does the form lead.
    assert "form-action 'self' https://xinqiao.example;" in page.headers["content-security-policy"]


async def test_a_wrong_name_and_a_wrong_password_cannot_be_told_apart(there, monkeypatch):
    await named()
    hashed: list[dict[str, Any]] = []
    scrypt = hashlib.scrypt

    def counted(password: bytes, **how: Any) -> bytes:
        hashed.append(how)
        return scrypt(password, **how)

    monkeypatch.setattr(hashlib, "scrypt", counted)
    answers = [await there.enter(name, "wrong password") for name in (NAME, "nobody", "a name", "", "x" * 65)]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert len(hashed) == len(answers)
    assert len({json.dumps(how | {"salt": len(how["salt"])}) for how in hashed}) == 1


async def test_a_password_is_kept_as_scrypt_with_a_salt_of_its_own(there, owner, monkeypatch):
    monkeypatch.setattr(passwords, "COST", 2**15)
    await named()
    await named("wang")
    rows = await owner.fetch("select * from api_password")
    assert len({row["salt"] for row in rows}) == len({row["hash"] for row in rows}) == 2
    for row in rows:
        right = hashlib.scrypt(PASSWORD.encode(), salt=row["salt"], n=2**15, r=8, p=1, maxmem=2**26, dklen=32)
        assert (len(row["salt"]), row["hash"]) == (16, right)
    assert let_in(await there.enter())


@pytest.mark.parametrize("name", [NAME, "nobody"])
async def test_after_five_mistakes_a_name_is_locked_for_a_quarter_of_an_hour(there, owner, name):
    await named()
    await named("wang")
    assert [(await there.enter(name, "wrong")).status_code for _ in range(5)] == [401] * 5
    for password in ("wrong", PASSWORD):
        locked = await there.enter(name, password)
        assert told(locked, 429)["code"] == "sign_in_locked"
        assert 890 < int(locked.headers["retry-after"]) <= 900
    data = ASKED | {"name": name, "password": PASSWORD}
    page = await there.http.post("/authorize", data=data, headers=there.own | {"Accept": "text/html"})
    assert (page.status_code, "连续尝试次数太多" in page.text, "retry-after" in page.headers) == (
        429,
        True,
        True,
    )
    assert let_in(await there.enter("wang"))
    await owner.execute("update api_sign_in_try set until = until - interval '14 minutes 50 seconds'")
    assert (await there.enter(name)).status_code == 429
    await owner.execute("update api_sign_in_try set until = until - interval '15 minutes'")
    assert (await there.enter(name, PASSWORD)).status_code == (303 if name == NAME else 401)
    assert [(await there.enter(name, "wrong")).status_code for _ in range(4)] == [401] * 4


async def test_success_forgets_the_mistakes_before_it(there, owner):
    await named()
    for _ in range(3):
        assert [(await there.enter(password="wrong")).status_code for _ in range(4)] == [401] * 4
        assert let_in(await there.enter())
    assert await owner.fetchval("select count(*) from api_sign_in_try") == 0


async def test_many_at_once_are_not_more_tries_than_one_after_the_other(there):
    await named()

    async def guess(_: int) -> type[Exception]:
        try:
            await passwords.verify(NAME, "wrong password")
        except (SignInRefused, SignInLocked) as refusal:
            return type(refusal)
        raise AssertionError

    found = await asyncio.gather(*(guess(n) for n in range(20)))
    assert (found.count(SignInRefused), found.count(SignInLocked)) == (5, 15)


async def test_tries_are_forgotten_when_they_are_over(there, owner):
    for n in range(20):
        await there.enter(f"guess{n}")
    await owner.execute("update api_sign_in_try set until = now()")
    await asyncio.gather(*(there.enter(f"guess{n}") for n in range(3)))
    assert await owner.fetchval("select count(*) from api_sign_in_try") == 3
    assert await owner.fetchval("select max(tries) from api_sign_in_try") == 1


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
async def test_another_site_signs_nobody_in(there, headers):
    await named()
    data = ASKED | {"name": NAME, "password": PASSWORD}
    answer = await there.http.post("/authorize", data=data, headers=headers)
    assert (told(answer, 403)["code"], "location" in answer.headers) == ("origin_refused", False)


@pytest.mark.parametrize("language", Language)
@pytest.mark.spec("WCAG 2.2", "3.3.1")
@pytest.mark.spec("WCAG 2.2", "3.3.2")
@pytest.mark.spec("WCAG 2.2", "1.3.5")
async def test_a_name_and_a_password_are_asked_for_in_words(there, language):
    said, headers = texts.messages(language), {"Accept-Language": language}
    page = await there.http.get("/authorize", params=ASKED, headers=headers)
    assert (said["sign_in.development"] in page.text, said["sign_in.wrong"] in page.text) == (True, False)
    fields = {"name": "username", "password": "current-password"}
    for name, purpose in fields.items():
        assert f'<label for="{name}">{said["sign_in." + name]}</label>' in page.text
        assert re.search(rf'<input id="{name}" name="{name}"[^>]* autocomplete="{purpose}"', page.text)
    assert "aria-invalid" not in page.text
    wrong = {"name": "nobody", "password": "wrong password"}
    page = await there.http.post("/authorize", data=ASKED | wrong, headers=there.own | headers)
    assert page.status_code == 401
    assert f'<p id="wrong" role="alert">{said["sign_in.wrong"]}</p>' in page.text
    assert page.text.count('aria-invalid="true" aria-describedby="wrong"') == len(fields)
    assert "wrong password" not in page.text


@pytest.mark.parametrize("installation", ["production"])
async def test_in_production_there_is_no_such_provider(there, home, installation, monkeypatch, capsys):
    settings = Settings(
        home, installation, world.ISSUER, None, OFFERED, provider=Provider("https://id.example")
    )
    with pytest.raises(SettingUnusable):
        development.create_provider(settings)
    monkeypatch.setenv("XINQIAO_INSTALLATION", installation)
    monkeypatch.setenv("XINQIAO_PROVIDER_ISSUER", "https://id.example")
    monkeypatch.setattr(sys, "argv", ["xinqiao", "provider"])
    with pytest.raises(SystemExit) as over:
        cli.main()
    assert (over.value.code, "not in a production" in capsys.readouterr().err) == (1, True)


WRONG_REQUESTS = [
    {"response_type": "token"},
    {"client_id": "somebody"},
    {"redirect_uri": "https://evil.example"},
    {"redirect_uri": f"{world.ISSUER}/sign-in/return/"},
    {"scope": "profile"},
    {"state": ""},
    {"nonce": ""},
    {"nonce": "n" * 513},
    {"code_challenge": ""},
    {"code_challenge_method": "plain"},
]


async def test_a_wrong_request_leads_nowhere(there):
    for changes in WRONG_REQUESTS:
        for answer in (
            await there.http.get("/authorize", params=ASKED | changes),
            await there.enter(**changes),
        ):
            assert (answer.status_code, "location" in answer.headers) == (400, False), changes


async def test_who_may_not_be_asked_or_does_not_want_to_is_sent_back_with_a_no(there):
    for answer, error in (
        (await there.http.get("/authorize", params=ASKED | {"prompt": "none"}), "login_required"),
        (await there.enter(cancel="yes"), "access_denied"),
    ):
        back = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
        assert back == {"error": error, "state": "s", "iss": there.issuer}


async def test_a_code_counts_once_and_for_its_verifier(there):
    await named()
    verifier = "v" * 43
    challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    now = int(time.time())

    def form(code: str, **changes: object) -> dict[str, str]:
        said = {"iss": "xinqiao", "sub": "xinqiao", "aud": there.issuer, "iat": now, "exp": now + 60}
        said |= {"jti": str(uuid4())} | {n: v for n, v in changes.items() if n in said}
        return {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": ASKED["redirect_uri"],
            "code_verifier": str(changes.get("code_verifier", verifier)),
            "client_assertion": ground().keyring.sign("client-authentication+jwt", said),
        }

    async def code() -> str:
        location = (await there.enter(code_challenge=challenge)).headers["location"]
        return dict(parse_qsl(urlsplit(location).query))["code"]

    one = await code()
    for changes in ({"aud": "x"}, {"iss": "x"}, {"sub": "x"}, {"exp": now - 1}, {"exp": now + 900}):
        assert (await there.http.post("/token", data=form(one, **changes))).status_code == 401
    right = form(one)
    assert (await there.http.post("/token", data=right)).status_code == 200
    assert (await there.http.post("/token", data=right)).status_code == 401  # nor does the assertion
    assert (await there.http.post("/token", data=form(one))).status_code == 400
    wrong = form(await code(), code_verifier="w" * 43)
    assert (await there.http.post("/token", data=wrong)).status_code == 400


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
async def test_odd_forms_sign_nobody_in(there, media_type, content):
    await named()
    for kind in (media_type, "x"):
        headers = there.own | ({"Content-Type": kind} if kind else {})
        for path in ("/authorize", "/token"):
            answer = await there.http.post(path, content=content, headers=headers)
            assert answer.status_code in (400, 401, 413), answer.text
            assert "location" not in answer.headers


@pytest.mark.parametrize(("length", "status"), [(7_000, 401), (9_000, 413)])
async def test_a_form_has_a_largest_size(there, length, status):
    answer = await there.enter(password="x" * length)
    assert answer.status_code == status


@pytest.mark.parametrize("password", ["x\ud800" * 4, "\ud800" * 300, "\x00" * 9])
async def test_text_that_is_none_is_a_wrong_password(there, password):
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
    async with world.opened(database, home):
        assert await passwords.verify(NAME, "12345678") == person["id"]


async def test_a_name_that_exists_gets_the_new_password(desk, database, home, owner):
    await desk.add()
    await desk.add(content="另一个密码另一个密码\r\n".encode(), born_on=date(2000, 1, 1))
    assert await owner.fetchval("select count(*) from consent_person") == 1
    async with world.opened(database, home):
        with pytest.raises(SignInRefused):
            await passwords.verify(NAME, "12345678")
        await passwords.verify(NAME, "另一个密码另一个密码")


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
