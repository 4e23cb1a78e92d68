"""Requests that are almost right: what a client or a browser would send, with up to three things wrong."""

import json
from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

import httpx2
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from support.oauth_client import OAuthClient
from support.world import ALL, ISSUER

CANARY = "canaryK7q2"
"""Stands in much of what is sent, and in no answer."""
LONGEST_ADDRESS = 65_000
"""The sending library makes no longer ones."""


@dataclass
class Draft:
    """A request before it is sent. `fields` are encoded as they go over the wire, in the address where `in_address`."""

    method: str
    path: str
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    in_address: bool = False
    signer: OAuthClient | None = None
    token: str | None = None
    address_tail: bytes = b""
    body: bytes | None = None

    def put(self, **fields: str) -> "Draft":
        """Add parameters that are right."""
        self.fields += [(name.encode(), quote_plus(value).encode()) for name, value in fields.items()]
        return self

    def head(self, **headers: str) -> "Draft":
        """Add headers that are right."""
        self.headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return self

    async def send(self, http: httpx2.AsyncClient) -> httpx2.Response:
        """Send it as it stands."""
        form = b"&".join(b"%s=%s" % pair for pair in self.fields)
        path = quote(self.path, safe="/%:~")
        query = quote((form if self.in_address else b"") + self.address_tail, safe="%&=+/:?;,~!*'()@$[]")
        body = self.body if self.body is not None or self.in_address else form
        address = f"http://inner.invalid{path}" + (f"?{query}" if query else "")
        address = address[:LONGEST_ADDRESS]
        return await http.request(self.method, address, content=body or None, headers=self.headers)


@dataclass(frozen=True)
class Field:
    """A parameter that is left out, replaced, repeated, or bent: its right value with something done to it."""

    how: str
    name: str | int
    """A number stands for the parameter in that place."""
    value: bytes

    def apply(self, draft: Draft) -> None:
        if isinstance(self.name, int) and not draft.fields:
            return
        name = (
            encode(self.name)
            if isinstance(self.name, str)
            else draft.fields[self.name % len(draft.fields)][0]
        )
        right = next((value for known, value in draft.fields if known == name), b"")
        if self.how != "repeated":
            draft.fields = [pair for pair in draft.fields if pair[0] != name]
        if self.how != "left out":
            draft.fields.append((quote_plus(name).encode(), changed(self.how, right, self.value)))


@dataclass(frozen=True)
class Header:
    """A header that is left out, replaced, repeated, or bent."""

    how: str
    name: str
    value: bytes

    def apply(self, draft: Draft) -> None:
        name = self.name.encode()
        right = next((value for known, value in draft.headers if known.lower() == name.lower()), b"")
        if self.how != "repeated":
            draft.headers = [pair for pair in draft.headers if pair[0].lower() != name.lower()]
        if self.how != "left out":
            draft.headers.append((name, changed(self.how, right, self.value)))


@dataclass(frozen=True)
class Statement:
    """An assertion or a proof that says something else, and is signed as it should be."""

    which: str
    header: dict[str, Any]
    claims: dict[str, Any]

    def apply(self, draft: Draft) -> None:
        signer = draft.signer
        if signer is None:
            return
        if self.which == "assertion":
            text = signer.assertion(without_alg(self.header), **self.claims)
            Field("replaced", "client_assertion", text.encode()).apply(draft)
        else:
            address = f"{ISSUER}{draft.path}"
            text = signer.proof(draft.method, address, draft.token, without_alg(self.header), **self.claims)
            Header("replaced", "DPoP", text.encode()).apply(draft)


@dataclass(frozen=True)
class Raw:
    """Something of the request itself: another method, more path, more address, another body, more body."""

    what: str
    value: bytes

    def apply(self, draft: Draft) -> None:
        match self.what:
            case "method":
                draft.method = self.value.decode()
            case "path":
                draft.path += self.value.decode("latin-1")
            case "address":
                draft.address_tail = self.value
            case "body":
                draft.body = self.value
            case "body and type":
                kind, _, draft.body = self.value.partition(b"\n")
                Header("replaced", "Content-Type", kind).apply(draft)
            case "tail":
                draft.fields.append((b"x", self.value))


Change = Field | Header | Statement | Raw


def changed(how: str, right: bytes, value: bytes) -> bytes:
    """What takes the place of a right value."""
    half = len(right) // 2
    return {
        "cut": right[:half],
        "longer": right + value,
        "broken": right[:half] + value + right[half:],
        "twice": right + right,
        "upper": right.upper(),
        "lower": right.lower(),
    }.get(how, value)


def encode(text: str) -> bytes:
    """UTF-8, and what is no text likewise."""
    return text.encode("utf-8", "surrogatepass")


def without_alg(header: dict[str, Any]) -> dict[str, Any]:
    """A signer needs an algorithm that it knows; others are in the statements that are made up whole."""
    return {name: value for name, value in header.items() if name != "alg"}


HOWS = ("left out", "replaced", "replaced", "repeated", "cut", "longer", "broken", "twice", "upper", "lower")
NAMES = [
    "response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge",
    "code_challenge_method", "dpop_jkt", "authorization_details", "grant_management_action", "grant_id",
    "grant_type", "code", "code_verifier", "refresh_token", "token", "token_type_hint", "client_assertion",
    "client_assertion_type", "request_uri", "name", "password", "answer", "categories", "notice_sha256",
    "_csrf_token", "lang", "client_secret", "request", "resource", "response_mode", "nonce", "claims",
    "audience", "id_token_hint", "prompt", "x",
]  # fmt: skip
HEADERS = [
    "Authorization", "DPoP", "Client-Cert", "Client-Cert-Chain", "Accept", "Accept-Language",
    "Content-Type", "Idempotency-Key", "Content-Length", "Transfer-Encoding", "Content-Encoding", "Cookie",
    "Origin", "Sec-Fetch-Site", "Sec-Purpose", "Host", "Forwarded", "X-Forwarded-Host",
    "X-HTTP-Method-Override", "traceparent", "If-None-Match", "Range", "Expect",
]  # fmt: skip
WORDS = [
    *("", " ", "\x00", "\x7f", "\r\nSet-Cookie: x=1", "é", "信桥", "\u202e\ufeff", "𝟙", "\ud800", "\udfff\ud800", "\\"),
    *("//evil.example", "/\\evil.example", "https://evil.example/back", "javascript:alert(1)", "../../etc/passwd"),
    *("' or 1=1 --", "{{7*7}}", "<script>", "1e999", "-1", "9" * 400, "null", "[]", "{}", "true", "%", "%00"),
    *("authorization_code", "client_credentials", "refresh_token", "password", "access_token", "code", "token"),
    *("S256", "plain", "merge", "replace", "create", "scores", "scores grants", "openid", "query", "fragment", "yes"),
    *(ISSUER, "https://bank.example/back", "https://bank.example/back/", "https://bank.example/back@evil.example"),
    *("urn:ietf:params:oauth:request_uri:" + "A" * 43, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
    *("gnt_" + "0" * 26, "gnt_" + "8" + "0" * 25, CANARY, CANARY * 50),
]  # fmt: skip
texts = (
    st.sampled_from(WORDS)
    | st.text(st.characters(exclude_categories=()), max_size=40)
    | st.builds(lambda c, n: c * n, st.characters(exclude_categories=()), st.integers(1, 20_000))
)
numbers = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 2**63, 2**64, 0, 1e308, 1e-400])
short = st.sampled_from(WORDS) | st.text(st.characters(exclude_categories=()), max_size=20)
names = st.text(st.characters(exclude_categories=()), max_size=12)
values: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | short,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
bombs = st.sampled_from([b"[", b'{"a":', b"[{},", b'"\\u0000', b"1", b"[1,", b"\xef\xbb\xbf["]).flatmap(
    lambda unit: st.integers(1, 20_000 // len(unit)).map(lambda times: unit * times)
)
CONSENT = {"type": "xinqiao_consent", "purpose": "credit_assessment", "categories": sorted(ALL)}
MEMBERS = [*CONSENT, "user", "recipient", "period_days", "data_life_days", "calls_per_month", "answer"]
MEMBERS += ["template", "locations", "actions", "privileges"]
consents = st.dictionaries(st.sampled_from(MEMBERS), values, max_size=3).map(
    lambda odd: quote_plus(json.dumps([CONSENT | odd])).encode()
)


def made_up(header: Any, claims: Any, signature: bytes) -> bytes:
    """A compact JWS of any JSON; nobody signed it."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in parts)


UNFIT = [b"%", b"%zz", b"%00", b"%ed%a0%80", b"%ff", b"\xff\xfe", b"%c0%af", b"%u0041", b"a b", b"+", b"=", b"&", b"&&=;"]  # fmt: skip
raw = st.binary(max_size=60) | st.sampled_from(UNFIT)
claims = st.dictionaries(
    st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "htm", "htu", "ath", "typ"]),
    values,
    max_size=3,
)
joined = st.dictionaries(
    st.sampled_from(["typ", "kid", "jwk", "crit", "b64", "jku", "x5u", "x5c", "cty", "zip"]),
    values,
    max_size=2,
)
heads = st.fixed_dictionaries({}, optional={"alg": st.sampled_from(["none", "ES256", "HS256", "RS256"])})
statements = st.builds(made_up, heads | values, claims | values, st.binary(max_size=80))
encoded = texts.map(lambda text: quote_plus(text, errors="surrogatepass").encode())
contents = encoded | raw | statements
fields = st.builds(
    Field, st.sampled_from(HOWS), st.integers(0, 9) | st.sampled_from(NAMES) | names, contents
) | st.builds(
    Field,
    st.just("replaced"),
    st.just("authorization_details"),
    consents | bombs | values.map(json.dumps).map(encode),
)
# No server passes on a header with a line break or a NUL in it.
visible = st.binary(max_size=200).map(lambda some: some.translate(None, b"\r\n\x00"))
long_header = st.builds(
    lambda char, times: bytes([char]) * times, st.integers(0x20, 0xFF), st.integers(1, 20_000)
)
plausible = st.sampled_from(
    [
        *(b"", b"DPoP", b"DPoP x", b"Bearer x", b"Basic " + b64encode(b"client:" + CANARY.encode()), b"DPoP x, DPoP y", b"::"),
        *(b":AAAA:", b"text/html", b"application/json", b"application/token-introspection+jwt", b"*/*;q=0", b"en"),
        *(b"application/x-www-form-urlencoded; charset=utf-16", b"multipart/form-data", b"multipart/form-data; boundary=x"),
        *(b"0", b"-1", b"1", b"999999999999", b"1e3", b"chunked", b"gzip", b"null", b"https://evil.example", b"cross-site"),
        *(b"prefetch", b"evil.example", b"__Host-xinqiao=" + CANARY.encode(), b"__Host-xinqiao=%ed%a0%80; language=en", b"DELETE"),
        *(f"00-{'a' * 32}-{'b' * 16}-01".encode(), b"bytes=9-1", b"100-continue", CANARY.encode(), b"\xe4\xbf\xa1"),
    ]
)  # fmt: skip
headers = st.builds(
    Header, st.sampled_from(HOWS), st.sampled_from(HEADERS), plausible | visible | long_header | statements
)
signed = st.builds(Statement, st.sampled_from(["assertion", "proof"]), joined, claims)
multipart = st.tuples(
    st.sampled_from(NAMES), contents, st.sampled_from([b"", b'; filename="x"', b"; filename*=%ff"])
).map(
    lambda part: (
        b'multipart/form-data; boundary=x\n--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n--x--'
        % (part[0].encode(), part[2], part[1])
    )
)
raws = (
    st.builds(
        Raw,
        st.just("method"),
        st.sampled_from(b"GET POST PUT PATCH DELETE HEAD TRACE OPTIONS CANARY".split()),
    )
    | st.builds(Raw, st.sampled_from(["path", "address", "body", "tail"]), contents | bombs)
    | st.builds(
        Raw,
        st.just("body and type"),
        multipart | values.map(lambda v: b"application/json\n" + encode(json.dumps(v))),
    )
)
changes: SearchStrategy[list[Change]] = st.lists(
    st.one_of(fields, fields, fields, headers, headers, signed, raws), max_size=3
)
