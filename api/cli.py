"""The command `xinqiao`: run the service, play the demo, verify the log, quote a loan."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from api import models_cli
from api.settings import Settings, SettingUnusable, from_environment
from compliance import postgres
from compliance.custodians import CustodiansUnusable
from compliance.database import AddressUnusable
from compliance.keys import RotationRefused
from compliance.migrate import MigrationRefused
from compliance.postgres import PostgresFailed
from compliance.refusals import Refusal
from scoring.runs.faults import RunUnusable

EXPECTED = (
    SettingUnusable,
    AddressUnusable,
    PostgresFailed,
    MigrationRefused,
    RotationRefused,
    CustodiansUnusable,
    RunUnusable,
    Refusal,
    FileNotFoundError,
)
USAGE_ERROR, FAILED = 2, 1
PORT, LIGHT_PORT = 8080, 8090


def main() -> None:
    """Run one command; exits 0 when it succeeded, 1 when it did not, 2 when it was called wrongly."""
    if parent := os.environ.pop("XINQIAO_PARENT", None):
        postgres.die_with_parent(int(parent))
    arguments = _parser().parse_args()
    command: Callable[[argparse.Namespace], int] = arguments.run
    try:
        sys.exit(command(arguments))
    except EXPECTED as error:
        print(f"xinqiao: {_told(error)}", file=sys.stderr)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


def _told(error: Exception) -> str:
    if isinstance(error, Refusal):
        return "; ".join([error.detail, *(f"{f.pointer}: {f.detail}" for f in error.faults)])
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xinqiao", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    demo = commands.add_parser("demo", help="play the story as real calls against a running server")
    demo.add_argument("--once", action="store_true", help="stop after the story; exit 0 if every step held")
    demo.add_argument(
        "--data", type=Path, help="a folder in the canonical shape, instead of the synthetic set"
    )
    demo.add_argument("--port", type=_port, default=PORT)
    demo.add_argument(
        "--write-credentials", type=Path, metavar="DIR", help="write an outside client's files there"
    )
    demo.set_defaults(run=_demo)

    serve = commands.add_parser("serve", help="run the API, the pages and the worker")
    serve.add_argument("--port", type=_port, help=f"default {PORT}, with --light {LIGHT_PORT}")
    serve.add_argument("--workers", type=int, choices=range(1, 65), default=1, metavar="N")
    serve.add_argument(
        "--light", action="store_true", help="only what people need to stop a use: no worker, no model"
    )
    serve.set_defaults(run=_serve)

    commands.add_parser("worker", help="run the worker alone").set_defaults(run=_work)
    provider = commands.add_parser(
        "provider", help="sign fictional people in by name and password (OpenID Connect), for development"
    )
    provider.add_argument("--port", type=_port, default=8085)
    provider.set_defaults(run=_provide)

    log = commands.add_parser("log", help="the tamper-evident log").add_subparsers(
        required=True, metavar="command"
    )
    verify = log.add_parser("verify", help="check every fact, leaf, tile and checkpoint")
    verify.add_argument("--against", type=Path, metavar="FILE", help="a checkpoint that was kept outside")
    verify.set_defaults(run=_verify)
    person = log.add_parser("verify-person", help="check the proof files of a person, without a connection")
    person.add_argument("files", type=Path, nargs="+", metavar="FILE", help="the oldest first")
    person.add_argument(
        "--key", type=Path, required=True, metavar="FILE", help="the log's public key, got another way"
    )
    person.set_defaults(run=_verify_person)
    checkpoint = log.add_parser("checkpoint", help="print the newest signed checkpoint, to be kept outside")
    checkpoint.set_defaults(run=_checkpoint)

    _add_operating(commands)

    _add_keys(commands)
    _add_deletions(commands)
    _add_replay(commands)

    quote = commands.add_parser("quote", help="a loan's schedule and its annual rates")
    quote.add_argument("--principal", required=True, help="e.g. 6000.00")
    quote.add_argument("--disbursed", required=True, help="YYYY-MM-DD, Asia/Shanghai")
    quote.add_argument("--instalments", type=int, required=True)
    quote.add_argument("--daily-rate", required=True, help="e.g. 0.0005")
    quote.add_argument("--method", required=True, choices=["equal_principal", "equal_instalment"])
    quote.add_argument("--json", action="store_true")
    quote.set_defaults(run=_quote)

    openapi = commands.add_parser("openapi", help="write openapi/v1.yaml from the code")
    openapi.add_argument(
        "--check", action="store_true", help="say whether the file is up to date, change nothing"
    )
    openapi.set_defaults(run=_openapi)
    return parser


def _add_replay(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    replay = commands.add_parser("replay", help="compute an old score or income again from what was recorded")
    replay.add_argument("answer", help="scr_... or, of an income, ans_...")
    replay.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="the behaviour a score came from: its features are computed again too",
    )
    replay.set_defaults(run=_replay)


def _add_operating(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """What the operator does: models, behaviour, clients, sign-ins, scores of everybody at once."""
    models_cli.add(commands)
    _add_behaviour(commands)
    clients = commands.add_parser("clients", help="the software of partners").add_subparsers(
        required=True, metavar="command"
    )
    client = clients.add_parser("add", help="register a client; in production, propose it")
    client.add_argument("--partner", required=True, metavar="CODE", help="the partner's code or id")
    client.add_argument("--client-id", required=True, metavar="ID")
    client.add_argument("--scope", required=True, help='e.g. "scores grants"')
    client.add_argument("--redirect-uri", action="append", default=[], metavar="URI", help="may be repeated")
    client.add_argument("--jwks", type=Path, metavar="FILE", help="its set of public keys")
    client.add_argument("--jwks-uri", metavar="URL", help="where it publishes them")
    client.add_argument("--tls-subject", metavar="DN", help="the name in its certificate (RFC 4514)")
    client.add_argument("--method", help="by default private_key_jwt; with --tls-subject, tls_client_auth")
    client.add_argument("--certificate-bound", action="store_true", help="bind its tokens to its certificate")
    client.set_defaults(run=_add_client)

    users = commands.add_parser("users", help="people who sign in").add_subparsers(
        required=True, metavar="command"
    )
    add = users.add_parser("add-development", help="a name and a password for a fictional person")
    add.add_argument("name")
    add.add_argument(
        "--password-file", type=Path, required=True, metavar="FILE", help="its first line counts"
    )
    add.add_argument("--born", type=date.fromisoformat, default=date(1990, 1, 1), metavar="YYYY-MM-DD")
    add.add_argument("--reference", help="the operator's reference of somebody who exists already")
    add.set_defaults(run=_add_development_sign_in)
    _add_population(commands)


def _add_keys(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """What keeps the keys of the installation."""
    keys = commands.add_parser("keys", help="the keys of the installation").add_subparsers(
        required=True, metavar="command"
    )
    rotate = keys.add_parser("rotate", help="let the next signing key sign, and retire the current one")
    rotate.add_argument("--now", action="store_true", help="also within ten minutes of the last rotation")
    rotate.set_defaults(run=_rotate_keys)

    custodians = keys.add_parser("custodians", help="appoint the two custodians of evidence capsules")
    custodians.add_argument("jwks", type=Path, metavar="FILE", help="their two public keys, as a JWK set")
    custodians.set_defaults(run=_appoint_custodians)


def _add_deletions(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """What deletions of people leave to be done by hand."""
    deletions = commands.add_parser("deletions", help="what deletions of people leave").add_subparsers(
        required=True, metavar="command"
    )
    rewrite = deletions.add_parser("rewrite", help="rewrite the database's files without what was deleted")
    rewrite.set_defaults(run=_rewrite)
    capsule = deletions.add_parser("capsule", help="hand an evidence capsule over to its two custodians")
    capsule.add_argument("capsule")
    capsule.add_argument("--reason", required=True, help="who demands it, by which law")
    capsule.set_defaults(run=_hand_over_capsule)


def _add_population(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """What is scored for everybody at once."""
    population = commands.add_parser("population", help="scores of everybody at once").add_subparsers(
        required=True, metavar="command"
    )
    score = population.add_parser(
        "score", help="score everybody whom a bank may have lists of; goes on where it was cut off"
    )
    score.add_argument("bank", metavar="CODE", help="the bank's code")
    score.add_argument(
        "--workers", type=int, choices=range(1, 257), metavar="N", help="by default one for each processor"
    )
    score.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="on a Ray cluster that shares XINQIAO_HOME; without its address on one of this machine's own",
    )
    score.set_defaults(run=_score_population)


def _add_behaviour(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """What people did: brought in, and made into features."""
    behaviour = commands.add_parser("behaviour", help="what people did").add_subparsers(
        required=True, metavar="command"
    )
    load = behaviour.add_parser("load", help="bring events from files (Parquet, CSV, JSON lines)")
    load.add_argument("source", help="a file, a folder, or an address that fsspec knows")
    load.set_defaults(run=_load_behaviour)
    snapshot = behaviour.add_parser("snapshot", help="compute everybody's features up to a moment")
    snapshot.add_argument(
        "--cutoff", type=_moment, required=True, metavar="TIME", help="RFC 3339, with its zone"
    )
    snapshot.set_defaults(run=_take_snapshot)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError("a time with its zone, like 2026-11-01T00:00:00Z")
    return moment


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65_000:
        raise argparse.ArgumentTypeError("a port from 1 to 65000")
    return int(text)


def _settings(port: int) -> Settings:
    """The installation's settings; on loopback the issuer follows the port that was asked for."""
    os.environ.setdefault("XINQIAO_ISSUER", f"http://127.0.0.1:{port}")
    return from_environment()


def _demo(arguments: argparse.Namespace) -> int:
    from api.demo.play import play  # noqa: PLC0415 - training imports CatBoost, which takes two seconds

    os.environ.setdefault("XINQIAO_PRESCREEN_ENTRIES_MIN", "20")
    # Its people are fictional: no other provider knows them.
    os.environ.pop("XINQIAO_PROVIDER_ISSUER", None)
    settings = _settings(arguments.port)
    if settings.in_production:
        raise SettingUnusable(
            "the demo makes fictional people and licences: not in a production installation"
        )
    return play(
        settings,
        port=arguments.port,
        data=arguments.data,
        once=arguments.once,
        credentials=arguments.write_credentials,
    )


def _serve(arguments: argparse.Namespace) -> int:
    from api import running  # noqa: PLC0415 - keeps `xinqiao quote` quick

    run = running.serve_light if arguments.light else running.serve
    port = arguments.port or (LIGHT_PORT if arguments.light else PORT)
    # The light server stands in for the other one: it has the other's address, whatever port it listens at.
    return run(_settings(PORT if arguments.light else port), port=port, workers=arguments.workers)


def _work(_: argparse.Namespace) -> int:
    from api import running  # noqa: PLC0415 - as above

    return running.work(from_environment())


def _provide(arguments: argparse.Namespace) -> int:
    from api import running  # noqa: PLC0415 - as above

    os.environ.setdefault(running.PROVIDER, f"http://127.0.0.1:{arguments.port}")
    settings = from_environment()
    if settings.in_production:
        raise SettingUnusable(
            "the development provider knows fictional people: not in a production installation"
        )
    with running.standing(settings):
        running.listen("api.demo.provider:from_worker", port=arguments.port, workers=1)
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from api import auditing  # noqa: PLC0415 - as above

    against = arguments.against.read_text() if arguments.against else None
    return auditing.run(from_environment(), lambda found: auditing.verify(found, against))


def _verify_person(arguments: argparse.Namespace) -> int:
    from api import auditing  # noqa: PLC0415 - as above

    return auditing.verify_person(arguments.files, arguments.key)


def _checkpoint(_: argparse.Namespace) -> int:
    from api import auditing  # noqa: PLC0415 - as above

    return auditing.run(from_environment(), auditing.print_checkpoint)


def _replay(arguments: argparse.Namespace) -> int:
    from api import auditing  # noqa: PLC0415 - as above

    return auditing.run(
        from_environment(), lambda found: auditing.replay(found, arguments.answer, arguments.data)
    )


def _add_client(arguments: argparse.Namespace) -> int:
    from api import auditing, operating  # noqa: PLC0415 - as above

    by_default = "tls_client_auth" if arguments.tls_subject else "private_key_jwt"
    return auditing.run(
        from_environment(),
        lambda found: operating.add_client(
            found,
            arguments.partner,
            arguments.jwks,
            client_id=arguments.client_id,
            scopes=arguments.scope.split(),
            redirect_uris=arguments.redirect_uri,
            method=arguments.method or by_default,
            jwks_uri=arguments.jwks_uri,
            tls_subject=arguments.tls_subject,
            certificate_bound=arguments.certificate_bound,
        ),
    )


def _add_development_sign_in(arguments: argparse.Namespace) -> int:
    from api import auditing, operating  # noqa: PLC0415 - as above

    return auditing.run(
        from_environment(),
        lambda found: operating.add_development_sign_in(
            found,
            arguments.name,
            arguments.password_file,
            born_on=arguments.born,
            reference=arguments.reference,
        ),
    )


def _rotate_keys(arguments: argparse.Namespace) -> int:
    from api import auditing, operating  # noqa: PLC0415 - as above

    return auditing.run(from_environment(), lambda found: operating.rotate_keys(found, at_once=arguments.now))


def _appoint_custodians(arguments: argparse.Namespace) -> int:
    from api import auditing, operating  # noqa: PLC0415 - as above

    return auditing.run(from_environment(), lambda found: operating.appoint_custodians(found, arguments.jwks))


def _rewrite(_: argparse.Namespace) -> int:
    from api import auditing, operating  # noqa: PLC0415 - as above

    return auditing.run(from_environment(), operating.rewrite)


def _load_behaviour(arguments: argparse.Namespace) -> int:
    from api import auditing, loading  # noqa: PLC0415 - as above

    return auditing.run(from_environment(), lambda found: loading.load(found, arguments.source))


def _take_snapshot(arguments: argparse.Namespace) -> int:
    from api import auditing, loading  # noqa: PLC0415 - as above

    return auditing.run(from_environment(), lambda found: loading.take_snapshot(found, arguments.cutoff))


def _hand_over_capsule(arguments: argparse.Namespace) -> int:
    from api import auditing, operating  # noqa: PLC0415 - as above

    return auditing.run(
        from_environment(),
        lambda found: operating.hand_over_capsule(found, arguments.capsule, arguments.reason),
    )


def _score_population(arguments: argparse.Namespace) -> int:
    from api import auditing, population  # noqa: PLC0415 - as above
    from scoring.runs import runners  # noqa: PLC0415

    workers = arguments.workers or os.cpu_count() or 1
    runner = runners.on_ray(arguments.ray, workers) if arguments.ray else runners.locally(workers)
    return auditing.run(from_environment(), lambda found: population.run(found, arguments.bank, runner))


def _quote(arguments: argparse.Namespace) -> int:
    from partners import quote  # noqa: PLC0415 - as above
    from partners.terms import Method, Terms  # noqa: PLC0415

    try:
        amount = Decimal(arguments.principal).scaleb(2)
        terms = Terms(
            principal_minor=int(amount.to_integral_exact()),
            disbursed=date.fromisoformat(arguments.disbursed),
            instalments=arguments.instalments,
            daily_rate=Decimal(arguments.daily_rate),
            method=Method(arguments.method),
        )
    except (InvalidOperation, ValueError, OverflowError) as error:
        print(f"xinqiao quote: {error}", file=sys.stderr)
        return USAGE_ERROR
    if amount != terms.principal_minor:
        print("xinqiao quote: --principal has at most two decimals", file=sys.stderr)
        return USAGE_ERROR
    quoted = quote.quote(terms)
    if arguments.json:
        print(json.dumps(quoted, indent=1))
        return 0
    for row in quoted["schedule"]:  # type: ignore[attr-defined]
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    print(f"simple/365 {quoted['simple_365']}  simple/360 {quoted['simple_360']}  XIRR {quoted['xirr_365']}")
    return 0


def _openapi(arguments: argparse.Namespace) -> int:
    from api import contract  # noqa: PLC0415 - as above

    return contract.check() if arguments.check else contract.write()


if __name__ == "__main__":
    main()
