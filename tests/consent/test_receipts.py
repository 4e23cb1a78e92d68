"""A receipt proves, to anybody and offline, what was agreed to, in which words, and how it ended."""

import json

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey
from support import world
from support.world import SCORING

from compliance import ids
from compliance.act import open_act
from compliance.vocabulary import Category, Language, PartnerKind
from consent import notices, receipts

pytestmark = pytest.mark.usefixtures("ground")
SHOPPING = frozenset({Category.SHOPPING})


def offline(signed: str, ground) -> tuple[dict, dict]:
    """Verified with the published half of the key alone."""
    published = json.loads(json.dumps(ground.keyring.signing.as_dict(private=False)))
    token = jwt.decode(signed, ECKey.import_key(published), algorithms=["ES256"])
    return token.header, token.claims


async def test_a_receipt_verifies_offline_and_names_the_exact_notice(ground):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row, signed = await world.said_yes(person, await world.asked(bank), SHOPPING, Language.ZH_CN)
    header, claims = offline(signed, ground)
    assert (header["typ"], header["kid"]) == (receipts.TYPE, ground.keyring.signing.kid)
    notice = notices.current(SCORING, Language.ZH_CN)
    assert claims["notice"] == {
        "id": f"{notice.id}@{notice.version}",
        "sha256": notice.sha256,
        "language": "zh-CN",
    }
    assert claims["record_id"] == ids.public("gnt", row.id)
    assert claims["pii_principal_id"] == await world.pseudonym_of(person, bank)
    assert claims["pii_processing"]["pii_categories"] == ["shopping"]
    assert claims["parties"]["recipient"] == ids.public("ptn", bank.partner)
    assert claims["parties"]["bureau"] is None
    assert [event["type"] for event in claims["events"]] == ["consent_requested", "consent_given"]


async def test_nobody_outside_learns_the_inner_id(ground):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    _, signed = await world.said_yes(person, await world.asked(bank))
    _, claims = offline(signed, ground)
    text = json.dumps(claims)
    assert str(person.user) not in text
    assert ids.public("usr", person.user) not in text


async def test_withdrawing_issues_a_second_receipt_that_says_so(ground, owner):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.granted(person, bank)
    await world.withdrawn(person, row.id)
    kept = await owner.fetch(
        "select signed from consent_receipt where grant_id = $1 order by issued_at", row.id
    )
    first, second = [offline(r["signed"], ground)[1] for r in kept]
    assert (first["state"], second["state"]) == ("active", "ended")
    assert second["events"][:2] == first["events"]
    assert (second["events"][2]["type"], second["events"][2]["by"]) == ("consent_withdrawn", "person")


async def test_a_relayed_receipt_names_both(ground):
    bureau, bank = await world.a_bank("bureau", PartnerKind.CREDIT_BUREAU), await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.asked(bureau, recipient=bank.partner, bureau=bureau.partner)
    _, signed = await world.said_yes(person, row)
    _, claims = offline(signed, ground)
    assert claims["parties"]["recipient"] == ids.public("ptn", bank.partner)
    assert claims["parties"]["bureau"] == ids.public("ptn", bureau.partner)


async def test_a_changed_receipt_does_not_verify(ground):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    _, signed = await world.said_yes(person, await world.asked(bank))
    head, body, signature = signed.split(".")
    other = ("A" if body[10] != "A" else "B").join((body[:10], body[11:]))
    with pytest.raises(BadSignatureError):
        offline(f"{head}.{other}.{signature}", ground)


@pytest.mark.parametrize("language", Language)
async def test_every_version_shown_is_archived_word_for_word(owner, language):
    async with open_act(world.STORY, None) as act:
        await notices.publish(act)
    body = await owner.fetchval(
        "select body from consent_notice where sha256 = $1", notices.current(SCORING, language).sha256
    )
    assert body == notices.current(SCORING, language).raw
