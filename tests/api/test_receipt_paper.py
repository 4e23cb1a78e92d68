"""A receipt on paper says what was signed, in both languages, and carries its own proof."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from pypdf import PdfReader
from support import lending, web_site, world
from support.web_site import Site

from api.web import receipt_paper, texts
from api.web.texts import Words
from compliance import ids
from compliance.act import open_act
from compliance.vocabulary import OFFERED, Category, GrantId, Language, PartnerId, PartnerKind
from consent import extensions, receipts

every_language = pytest.mark.parametrize("language", Language)
ISSUER = "https://xinqiao.example"
OPERATOR = {Language.ZH_CN: "演示运营方", Language.EN: "Demo operator"}
NASTY = '#import "@preview/x:1.0.0": * \\ "q" ’$x^2$ *b* _i_ <l> @r `raw` #sys.inputs // {time}'


def said_in(language: Language) -> Words:
    return Words(language, OPERATOR[language], "privacy@xinqiao.example")


def called(claims: dict, name: str | None = None) -> dict[PartnerId, dict[Language, str]]:
    """Names of everybody whom a receipt names."""
    parties = {text for text in (claims["parties"]["recipient"], claims["parties"]["bureau"]) if text}
    named = {receipts.party_named(party): party[-4:] for party in parties}
    return {
        partner: {Language.ZH_CN: name or f"银行{end}", Language.EN: name or f"Bank {end}"}
        for partner, end in named.items()
    }


def claims_of(signed: str, ground) -> dict:
    """Verified with the published half of the key alone."""
    published = json.loads(json.dumps(ground.keyring.signing.as_dict(private=False)))
    return jwt.decode(signed, ECKey.import_key(published), algorithms=["ES256"]).claims


def squeezed(text: str) -> str:
    """Without what a line's end puts in or takes away."""
    return re.sub(r"[\s\u200b]", "", text)


def text_of(pdf: bytes) -> str:
    return squeezed("".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages))


@pytest.fixture
async def signed(ground, owner) -> str:
    """Of a relayed consent to every kind of data on offer that was extended twice, then stopped."""
    bureau, bank = await world.a_bank("bureau", PartnerKind.CREDIT_BUREAU), await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.asked(bureau, recipient=bank.partner, bureau=bureau.partner, categories=OFFERED)
    await world.said_yes(person, row)
    for language in Language:
        await owner.execute("update consent_grant set expires_at = now() + interval '10 days'")
        async with open_act(person, None) as act:
            await extensions.agree(act, GrantId(row.id), language, period_days=30)
    await world.withdrawn(person, row.id)
    return await owner.fetchval("select signed from consent_receipt order by issued_at desc limit 1")


def again(signed: str, ground, *, within: dict | None = None, **changes) -> str:
    """Another receipt of ours, with some claims changed."""
    claims = claims_of(signed, ground)
    claims["pii_processing"] |= within or {}
    return ground.keyring.sign(receipts.TYPE, claims | changes)


@every_language
async def test_the_paper_says_all_that_was_signed(signed: str, ground, language: Language) -> None:
    claims, said = claims_of(signed, ground), said_in(language)
    names = called(claims)
    text = text_of(await receipt_paper.printed(signed, said, names, ISSUER))
    processing, parties = claims["pii_processing"], claims["parties"]
    bank, bureau = (names[receipts.party_named(parties[who])][language] for who in ("recipient", "bureau"))
    expected = [
        said.t("paper.title"),
        said.operator,
        claims["iss"],
        claims["pii_principal_id"],
        *(said.t("paper.named", name=n, id=parties[w]) for n, w in ((bank, "recipient"), (bureau, "bureau"))),
        said.purpose_name(processing["purpose"]),
        *(said.category_name(category) for category in OFFERED),
        said.t("ask.told_full"),
        said.t("ask.calls_per_month", count=processing["calls_per_month"]),
        said.when(datetime.fromisoformat(processing["expires_at"])),
        said.t("ask.data_life_days", days=processing["storage_days_at_recipient"]),
        said.t(f"channel.{processing['collection_method']}"),
        said.t("paper.notice_in_zh_cn", id=claims["notice"]["id"]),
        claims["notice"]["sha256"],
        said.t("paper.event.consent_requested", recipient=bank),
        said.t("paper.event.consent_given"),
        said.t("paper.event.consent_ended", what=said.t("state.ended.withdrawn"), code="withdrawn"),
        said.t("paper.event.signed", state=said.t("state.grant.ended")),
        said.t("paper.fictional") if claims["fictional"] else "",
        said.t("paper.zone"),
        said.when(datetime.fromtimestamp(claims["iat"], UTC)),
        *(said.when(datetime.fromisoformat(event["time"])) for event in claims["events"]),
        said.t("paper.copy", file="receipt.jws"),
        claims["record_id"],
        claims["jti"],
        hashlib.sha256(signed.encode()).hexdigest(),
        ground.keyring.signing.kid,
        f"{ISSUER}/.well-known/jwks.json",
        receipts.TYPE,
    ]
    longer = [event for event in claims["events"] if event["type"] == "consent_extended"]
    assert len(longer) == 2
    for event in longer:
        time = said.when(datetime.fromisoformat(event["expires_at"]))
        expected += [
            said.t("paper.event.consent_extended_data_subject", time=time, recipient=bank),
            event["notice_sha256"],
        ]
    assert [wanted for wanted in expected if squeezed(wanted) not in text] == []
    assert squeezed(said.t("paper.stop_heading")) not in text


@every_language
async def test_who_asked_for_longer_and_how_to_stop_are_said_where_they_apply(
    signed: str, ground, language: Language
) -> None:
    claims, said = claims_of(signed, ground), said_in(language)
    events = [event | {"asked_by": "recipient"} for event in claims["events"][:3] if "asked_by" in event]
    open_still = again(
        signed,
        ground,
        events=events,
        state="active",
        fictional=True,
        within={"pii_categories": list(Category)},
    )
    names = called(claims)
    text = text_of(await receipt_paper.printed(open_still, said, names, ISSUER))
    bank = names[receipts.party_named(claims["parties"]["recipient"])][language]
    time = said.when(datetime.fromisoformat(events[0]["expires_at"]))
    for wanted in (
        said.t("paper.event.consent_extended_recipient", recipient=bank, time=time),
        said.t("paper.stop", address=f"{ISSUER}/me"),
        said.t("paper.fictional"),
        *(said.category_name(category) for category in Category),
    ):
        assert squeezed(wanted) in text


async def test_the_paper_says_nothing_that_was_not_signed(signed: str, ground) -> None:
    claims, said = claims_of(signed, ground), said_in(Language.EN)
    fewer = again(
        signed,
        ground,
        within={"pii_categories": ["shopping"], "calls_per_month": None, "answer": "band"},
        parties=claims["parties"] | {"bureau": None},
        fictional=False,
        events=claims["events"][:1],
    )
    text = text_of(await receipt_paper.printed(fewer, said, called(claims), ISSUER))
    for label in ("ask.relay", "ask.how_often", "paper.from", "paper.fictional", "category.fitness.name"):
        assert squeezed(said.t(label)) not in text, label
    for label in ("ask.told_band", "category.shopping.name"):
        assert squeezed(said.t(label)) in text, label
    older = claims["pii_processing"]
    del older["calls_per_month"]
    old = ground.keyring.sign(receipts.TYPE, claims | {"pii_processing": older})
    text = text_of(await receipt_paper.printed(old, said, called(claims), ISSUER))
    assert squeezed(said.t("ask.how_often")) not in text


@every_language
async def test_the_signed_receipt_is_inside_and_verifies(signed: str, ground, language: Language) -> None:
    claims = claims_of(signed, ground)
    pdf = await receipt_paper.printed(signed, said_in(language), called(claims), ISSUER)
    assert {
        name: [bytes(one) for one in kept] for name, kept in PdfReader(BytesIO(pdf)).attachments.items()
    } == {"receipt.jws": [signed.encode()]}
    (inside,) = PdfReader(BytesIO(pdf)).attachments["receipt.jws"]
    assert claims_of(bytes(inside).decode(), ground) == claims


IN_ANOTHER_PROCESS = """
import asyncio, json, sys
from api.web import receipt_paper
from api.web.texts import Words
from compliance.vocabulary import Language
from consent import receipts
given = json.load(sys.stdin)
said = Words(Language(given["language"]), *given["said"])
names = {receipts.party_named(party): called for party, called in given["names"].items()}
sys.stdout.buffer.write(asyncio.run(receipt_paper.printed(given["signed"], said, names, given["issuer"])))
"""


@every_language
async def test_the_same_receipt_makes_the_same_bytes(signed: str, ground, language: Language) -> None:
    said, names = said_in(language), called(claims_of(signed, ground))
    first, second = [await receipt_paper.printed(signed, said, names, ISSUER) for _ in range(2)]
    assert first == second
    given = {
        "language": language,
        "said": [said.operator, said.contact],
        "names": {ids.public("ptn", partner): words for partner, words in names.items()},
        "signed": signed,
        "issuer": ISSUER,
    }
    other = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        input=json.dumps(given).encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert other.stdout == first


@every_language
async def test_the_file_is_for_the_archive_and_for_screen_readers(signed: str, ground, language) -> None:
    claims, said = claims_of(signed, ground), said_in(language)
    pdf = PdfReader(BytesIO(await receipt_paper.printed(signed, said, called(claims), ISSUER)))
    root = pdf.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"].lower() == language.lower()
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]
    assert pdf.metadata.title == said.t("paper.title")
    assert pdf.metadata.creation_date == datetime.fromtimestamp(claims["iat"], UTC)
    about = root["/Metadata"].get_data().decode()
    for stated in ("pdfaid:part>3<", "pdfaid:conformance>A<", "pdfuaid:part>1<"):
        assert stated in about
    used = list(tags(root["/StructTreeRoot"]))
    assert used.count("/H1") == 3
    assert used.count("/L") == 4
    assert {round(float(side)) for side in pdf.pages[0].mediabox[2:]} == {595, 842}


def tags(node) -> Iterator[str]:
    node = node.get_object()
    if isinstance(node, list):
        for one in node:
            yield from tags(one)
    elif isinstance(node, dict):
        if "/S" in node:
            yield node["/S"]
        if "/K" in node:
            yield from tags(node["/K"])


@every_language
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (NASTY, NASTY),
        ("W" * 300, "W" * 300),
        ("名" * 300, "名" * 300),
        ("长" * 5_000, "长" * receipt_paper.TEXT_LENGTH_MAX),
        ("😀\x00\x07\u202e\ue000ع\ud800", "[U+1F600][U+0000][U+0007][U+202E][U+E000][U+0639][U+D800]"),
    ],
    ids=["markup", "long word", "long Chinese", "too long", "not in the font"],
)
async def test_a_name_is_shown_as_it_is(
    signed: str, ground, language: Language, name: str, shown: str
) -> None:
    names = called(claims_of(signed, ground), name)
    pdf = await receipt_paper.printed(signed, said_in(language), names, ISSUER)
    assert squeezed(shown) in text_of(pdf)
    assert squeezed(shown + shown[-1]) not in text_of(pdf)


async def test_every_character_that_is_not_spelt_out_is_in_the_font(signed: str, ground) -> None:
    """Otherwise there would be no paper at all: PDF/A allows no character without a picture."""
    claims = claims_of(signed, ground)
    plain = [one for one in map(chr, range(0x110000)) if receipt_paper.is_in_font(one)]
    assert len(plain) > 28_000
    step = receipt_paper.TEXT_LENGTH_MAX
    for start in range(0, len(plain), step):
        said = Words(Language.EN, "".join(plain[start : start + step]), "nobody")
        assert await receipt_paper.printed(signed, said, called(claims), ISSUER)


async def test_the_longest_receipt_has_its_paper(signed: str, ground) -> None:
    claims = claims_of(signed, ground)
    one = next(event for event in claims["events"] if event["type"] == "consent_extended")
    long = again(signed, ground, events=[one] * extensions.EXTENSIONS_MAX)
    pdf = await receipt_paper.printed(long, said_in(Language.ZH_CN), called(claims), ISSUER)
    assert text_of(pdf).count(one["notice_sha256"]) == extensions.EXTENSIONS_MAX + (
        one["notice_sha256"] == claims["notice"]["sha256"]
    )
    assert len(PdfReader(BytesIO(pdf)).pages) > 3


@pytest.fixture
async def site(home, database):
    async with web_site.site(home, database) as made:
        yield made


@every_language
async def test_the_page_offers_it_and_serves_it(site: Site, language: Language, owner) -> None:
    lender = await lending.a_lender("alpha")
    me = await site.person(await lending.a_person())
    grant = await site.ask(lender)
    path = f"/me/grants/{grant}/receipt.pdf"
    link = f'href="{path}">{texts.messages(language)["button.download_paper"]}</a>'
    await me.look(f"/ask/{grant}")
    assert (await me.look(path)).status_code == 404
    await me.look(f"/ask/{grant}")
    await me.send(f"/ask/{grant}", answer="yes", categories=["shopping"])
    for page in (f"/ask/{grant}", f"/me/grants/{grant}"):
        assert link in (await me.look(page, language)).text
    answer = await me.look(path, language)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    assert answer.headers["content-disposition"] == f'attachment; filename="{grant}.receipt.pdf"'
    assert answer.headers["cache-control"] == "no-store"
    assert squeezed({"en": "Bank alpha", "zh-CN": "alpha银行"}[language]) in text_of(answer.content)
    (inside,) = PdfReader(BytesIO(answer.content)).attachments["receipt.jws"]
    assert bytes(inside).decode() == await owner.fetchval("select signed from consent_receipt")
    stranger = await site.person(await lending.a_person())
    assert (await stranger.look(path)).status_code == 404
    assert (await web_site.Browser(site).look(path)).status_code == 401


async def test_what_was_not_given_has_no_paper(site: Site) -> None:
    me = await site.person(await lending.a_person())
    grant = await site.ask(await lending.a_lender("alpha"))
    await me.look(f"/ask/{grant}")
    await me.send(f"/ask/{grant}", answer="no")
    for unknown in (grant, web_site.unknown("gnt"), "gnt_1"):
        assert (await me.look(f"/me/grants/{unknown}/receipt.pdf")).status_code == 404
        assert (await me.look(f"/me/grants/{unknown}/receipt")).status_code == 404
    for page in (f"/ask/{grant}", f"/me/grants/{grant}"):
        assert "receipt.pdf" not in (await me.look(page)).text
