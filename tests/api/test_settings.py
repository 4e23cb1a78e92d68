"""Settings: read once, refused by name, and safe when nothing is said."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.identities import certify

from api.settings import Provider, SettingUnusable, from_environment
from compliance.database import AddressUnusable
from compliance.vocabulary import OFFERED, SENSITIVE, Category, Language

HOME = {"XINQIAO_HOME": "/tmp/somewhere"}
URLS = {
    "XINQIAO_DATABASE_URL": "postgresql://app:pw@db.example:5433/xinqiao",
    "XINQIAO_DATABASE_OWNER_URL": "postgresql://owner:pw@db.example:5433/xinqiao",
}


def test_nothing_said_is_a_demo_on_loopback():
    settings = from_environment(HOME)
    assert (settings.installation, settings.issuer, settings.database) == (
        "demo",
        "http://127.0.0.1:8080",
        None,
    )
    assert (settings.offered, settings.prescreen_entries_min, settings.https) == (OFFERED, 1_000, False)
    assert settings.home == Path("/tmp/somewhere")


def test_the_log_is_named_after_the_issuer():
    settings = from_environment(HOME | {"XINQIAO_ISSUER": "https://credit.example:8443/"})
    assert (settings.issuer, settings.origin) == ("https://credit.example:8443", "credit.example:8443/log")
    assert settings.https


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.2.1-1", "5.4.2-1")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("XINQIAO_INSTALLATION", "prod"),
        ("XINQIAO_ISSUER", "http://credit.example"),
        ("XINQIAO_ISSUER", "https://credit.example?x=1"),
        ("XINQIAO_ISSUER", "https://credit.example#x"),
        ("XINQIAO_ISSUER", "https://"),
        ("XINQIAO_ISSUER", "ftp://credit.example"),
        ("XINQIAO_ISSUER", "http://127.0.0.1.evil.example"),
        ("XINQIAO_OFFERED", "shopping,shoe_size"),
        ("XINQIAO_OFFERED", ""),
        ("XINQIAO_PRESCREEN_ENTRIES_MIN", "0"),
        ("XINQIAO_PRESCREEN_ENTRIES_MIN", "-5"),
        ("XINQIAO_PRESCREEN_ENTRIES_MIN", "many"),
        ("XINQIAO_PRESCREEN_ENTRIES_MIN", "²"),
        ("XINQIAO_OPERATOR_ZH", " "),
        ("XINQIAO_OPERATOR_EN", ""),
        ("XINQIAO_CONTACT", "a\nb"),
        ("XINQIAO_CONTACT", "x" * 101),
        ("XINQIAO_TRUSTED_PROXIES", "proxy.example"),
        ("XINQIAO_TRUSTED_PROXIES", "10.0.0.0/8"),
        ("XINQIAO_TRUSTED_PROXIES", "10.0.0.7,"),
        ("XINQIAO_CLIENT_CA", "/nowhere/ca.pem"),
        ("XINQIAO_CLIENT_CA", __file__),
        ("XINQIAO_MTLS_ORIGIN", "http://127.0.0.1:8443"),
        ("XINQIAO_MTLS_ORIGIN", "https://mtls.credit.example/oauth"),
        ("XINQIAO_MTLS_ORIGIN", "https://somebody@mtls.credit.example"),
        ("XINQIAO_MTLS_ORIGIN", "https://"),
        ("XINQIAO_PROVIDER_ISSUER", "id.example"),
        ("XINQIAO_PROVIDER_ISSUER", "http://id.example"),
        ("XINQIAO_PROVIDER_ISSUER", "https://id.example/?a=b"),
        ("XINQIAO_PROVIDER_ISSUER", "https://id.example/#a"),
        ("XINQIAO_PROVIDER_ISSUER", "https:///a"),
        ("XINQIAO_DATABASE_URL", URLS["XINQIAO_DATABASE_URL"]),
        ("XINQIAO_DATABASE_OWNER_URL", URLS["XINQIAO_DATABASE_OWNER_URL"]),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(name, value):
    with pytest.raises(SettingUnusable, match=name):
        from_environment(HOME | {name: value})


def test_an_external_database_has_two_logins():
    database = from_environment(HOME | URLS).database
    assert (database.user, database.owner, database.port) == ("app", "owner", 5433)
    with pytest.raises(AddressUnusable, match="same server"):
        from_environment(HOME | URLS | {"XINQIAO_DATABASE_URL": "postgresql://app@other.example/xinqiao"})


def test_the_operator_says_who_it_is_in_both_languages():
    usual = from_environment(HOME)
    assert usual.operator == {Language.ZH_CN: "信桥", Language.EN: "Xinqiao"}
    named = {"XINQIAO_OPERATOR_ZH": "示例征信", "XINQIAO_OPERATOR_EN": "Example Credit"}
    settings = from_environment(HOME | named | {"XINQIAO_CONTACT": " ask@example.org "})
    assert settings.operator == {Language.ZH_CN: "示例征信", Language.EN: "Example Credit"}
    assert (usual.contact, settings.contact) == ("privacy@xinqiao.example", "ask@example.org")


def test_nobodys_word_on_certificates_counts_unless_named():
    usual = from_environment(HOME)
    assert (usual.trusted_proxies, usual.client_ca, usual.mtls_origin) == (frozenset(), None, None)
    unset = dict.fromkeys(("XINQIAO_TRUSTED_PROXIES", "XINQIAO_CLIENT_CA", "XINQIAO_MTLS_ORIGIN"), "")
    assert from_environment(HOME | unset) == usual


def test_a_proxy_is_named_by_address_and_authorities_by_file(tmp_path):
    file = tmp_path / "ca.pem"
    file.write_bytes(certify("CN=Clients", authority=True).certificate_pem)
    told = {
        "XINQIAO_TRUSTED_PROXIES": "10.0.0.7, 0:0:0:0:0:0:0:1",
        "XINQIAO_CLIENT_CA": str(file),
        "XINQIAO_MTLS_ORIGIN": "https://mtls.credit.example:8443/",
    }
    settings = from_environment(HOME | told)
    assert settings.trusted_proxies == {"10.0.0.7", "::1"}
    assert (settings.client_ca, settings.mtls_origin) == (file, "https://mtls.credit.example:8443")


def test_offered_can_be_widened_only_by_name():
    assert from_environment(HOME | {"XINQIAO_OFFERED": "shopping, fitness"}).offered == {
        Category.SHOPPING,
        Category.FITNESS,
    }
    assert not OFFERED & (SENSITIVE - {Category.CREDIT_HISTORY})


@given(
    st.dictionaries(
        st.sampled_from(["XINQIAO_ISSUER", "XINQIAO_OFFERED", "XINQIAO_INSTALLATION"]), st.text(max_size=30)
    )
)
def test_any_text_is_taken_or_refused(environment):
    try:
        settings = from_environment(HOME | environment)
    except SettingUnusable:
        return
    assert settings.issuer.startswith(("https://", "http://127.0.0.1", "http://localhost", "http://[::1]"))


def test_the_provider_that_people_sign_in_at_is_named(tmp_path):
    assert from_environment(HOME).provider is None
    assert from_environment(HOME | {"XINQIAO_PROVIDER_ISSUER": ""}).provider is None
    told = {"XINQIAO_PROVIDER_ISSUER": "https://id.example/realms/people/"}
    assert from_environment(HOME | told).provider == Provider("https://id.example/realms/people/", "xinqiao")
    (tmp_path / "secret").write_text("x")
    more = told | {
        "XINQIAO_PROVIDER_CLIENT_ID": "bridge",
        "XINQIAO_PROVIDER_SECRET_FILE": str(tmp_path / "secret"),
        "XINQIAO_PROVIDER_ACR": "high  higher",
    }
    wanted = Provider(told["XINQIAO_PROVIDER_ISSUER"], "bridge", tmp_path / "secret", ("high", "higher"))
    assert from_environment(HOME | more).provider == wanted
    for wrong in (
        {"XINQIAO_PROVIDER_SECRET_FILE": str(tmp_path / "none")},
        {"XINQIAO_PROVIDER_CLIENT_ID": "a\nb"},
    ):
        with pytest.raises(SettingUnusable, match=next(iter(wrong))):
            from_environment(HOME | more | wrong)


def test_without_tls_it_is_on_this_machine_and_serves_nobody_real():
    told = {"XINQIAO_PROVIDER_ISSUER": "http://127.0.0.1:8085"}
    assert from_environment(HOME | told).provider
    real = {"XINQIAO_INSTALLATION": "production", "XINQIAO_ISSUER": "https://xinqiao.example"}
    with pytest.raises(SettingUnusable, match="XINQIAO_PROVIDER_ISSUER"):
        from_environment(HOME | real | told)
