"""/v1/log: the tamper-evident log, as anybody's verifier reads it (C2SP tlog-tiles, tlog-checkpoint, tlog-proof)."""

from litestar import Response, get
from litestar.params import FromPath

from api.access import AnyRequest, client, public, request_view, staff
from api.oauth.scopes import Scope
from compliance import ids, log, proofs
from compliance.act import open_view
from compliance.database import ground
from compliance.log import LogKey
from compliance.vocabulary import StaffRole

TEXT = "text/plain"
NEVER_CHANGES = {"Cache-Control": "public, max-age=31536000, immutable"}
ALWAYS_ASK = {"Cache-Control": "no-cache"}


@get("/v1/log/checkpoint", opt=public(), media_type=TEXT, summary="The signed head of the log")
async def checkpoint() -> Response[str]:
    """Keep it outside our reach: whatever is rewritten later cannot be made to fit it."""
    async with open_view(None) as view:
        note = await proofs.newest_checkpoint(view)
    return Response(note, media_type=TEXT, headers=ALWAYS_ASK)


@get("/v1/log/key", opt=public(), media_type=TEXT, summary="The log's public key")
async def public_key() -> Response[str]:
    """The verifier key of the log (C2SP signed-note); compare it with one you got another way."""
    key = LogKey(ground().origin, ground().keyring.log_public_bytes())
    return Response(f"{key}\n", media_type=TEXT, headers=ALWAYS_ASK)


@get(
    "/v1/log/tile/entries/{path:path}",
    opt=staff(StaffRole.AUDITOR, StaffRole.COMPLIANCE_OFFICER),
    media_type="application/octet-stream",
    summary="Leaves",
)
async def entry_bundle(request: AnyRequest, path: FromPath[str]) -> Response[bytes]:
    """Up to 256 leaves: commitments and times, nothing readable; for auditors, since kinds and times say something."""
    wanted = log.parse_path(f"tile/entries/{path.lstrip('/')}")
    async with request_view(request) as view:
        bundle = await proofs.entry_bundle(view, wanted)
    return Response(bundle, media_type="application/octet-stream")


@get(
    "/v1/log/tile/{path:path}",
    opt=public(),
    media_type="application/octet-stream",
    summary="A tile of hashes",
)
async def tile(path: FromPath[str]) -> Response[bytes]:
    """Up to 256 hashes of one level of the tree."""
    wanted = log.parse_path(f"tile/{path.lstrip('/')}")
    async with open_view(None) as view:
        hashes = await proofs.tile(view, wanted)
    return Response(hashes, media_type="application/octet-stream", headers=NEVER_CHANGES)


@get("/v1/log/facts/{fact_id:str}/proof", opt=client(Scope.LOG), media_type=TEXT, summary="A fact's proof")
async def fact_proof(request: AnyRequest, fact_id: FromPath[str]) -> Response[str]:
    """The proof that a fact of yours stands in the log; `extra` is its leaf, with the commitment you were promised."""
    async with request_view(request) as view:
        proof = await proofs.of_fact(view, ids.private("fct", fact_id))
    return Response(str(proof), media_type=TEXT, headers={"Cache-Control": "no-store"})


routes = [checkpoint, public_key, entry_bundle, tile, fact_proof]
