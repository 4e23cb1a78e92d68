"""The sub-commands of the operator: clients, sign-ins, keys, deletions, scores of everybody at once."""

import argparse
import os
from datetime import date
from pathlib import Path

from api.commands import Commands, group
from api.settings import from_environment


def add(commands: Commands) -> None:
    """Add `clients`, `users`, `population`, `keys` and `deletions`."""
    _add_clients(commands)
    _add_users(commands)
    _add_population(commands)
    _add_keys(commands)
    _add_deletions(commands)


def _add_clients(commands: Commands) -> None:
    clients = group(commands, "clients", "the software of partners")
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


def _add_users(commands: Commands) -> None:
    users = group(commands, "users", "people who sign in")
    add = users.add_parser("add-development", help="a name and a password for a fictional person")
    add.add_argument("name")
    add.add_argument(
        "--password-file", type=Path, required=True, metavar="FILE", help="its first line counts"
    )
    add.add_argument("--born", type=date.fromisoformat, default=date(1990, 1, 1), metavar="YYYY-MM-DD")
    add.add_argument("--reference", help="the operator's reference of somebody who exists already")
    add.set_defaults(run=_add_development_sign_in)


def _add_population(commands: Commands) -> None:
    """What is scored for everybody at once."""
    population = group(commands, "population", "scores of everybody at once")
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


def _add_keys(commands: Commands) -> None:
    """What keeps the keys of the installation."""
    keys = group(commands, "keys", "the keys of the installation")
    rotate = keys.add_parser("rotate", help="let the next signing key sign, and retire the current one")
    rotate.add_argument("--now", action="store_true", help="also within ten minutes of the last rotation")
    rotate.set_defaults(run=_rotate_keys)

    custodians = keys.add_parser("custodians", help="appoint the two custodians of evidence capsules")
    custodians.add_argument("jwks", type=Path, metavar="FILE", help="their two public keys, as a JWK set")
    custodians.set_defaults(run=_appoint_custodians)


def _add_deletions(commands: Commands) -> None:
    """What deletions of people leave to be done by hand."""
    deletions = group(commands, "deletions", "what deletions of people leave")
    rewrite = deletions.add_parser("rewrite", help="rewrite the database's files without what was deleted")
    rewrite.set_defaults(run=_rewrite)
    capsule = deletions.add_parser("capsule", help="hand an evidence capsule over to its two custodians")
    capsule.add_argument("capsule")
    capsule.add_argument("--reason", required=True, help="who demands it, by which law")
    capsule.set_defaults(run=_hand_over_capsule)


def _add_client(arguments: argparse.Namespace) -> int:
    from api import auditing, operating  # noqa: PLC0415 - keeps `xinqiao quote` quick

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


def _score_population(arguments: argparse.Namespace) -> int:
    from api import auditing, population  # noqa: PLC0415 - as above
    from scoring.runs import runners  # noqa: PLC0415

    workers = arguments.workers or os.cpu_count() or 1
    runner = runners.on_ray(arguments.ray, workers) if arguments.ray else runners.locally(workers)
    return auditing.run(from_environment(), lambda found: population.run(found, arguments.bank, runner))


def _rotate_keys(arguments: argparse.Namespace) -> int:
    from api import auditing, operating  # noqa: PLC0415 - as above

    return auditing.run(from_environment(), lambda found: operating.rotate_keys(found, at_once=arguments.now))


def _appoint_custodians(arguments: argparse.Namespace) -> int:
    from api import auditing, operating  # noqa: PLC0415 - as above

    return auditing.run(from_environment(), lambda found: operating.appoint_custodians(found, arguments.jwks))


def _rewrite(_: argparse.Namespace) -> int:
    from api import auditing, operating  # noqa: PLC0415 - as above

    return auditing.run(from_environment(), operating.rewrite)


def _hand_over_capsule(arguments: argparse.Namespace) -> int:
    from api import auditing, operating  # noqa: PLC0415 - as above

    return auditing.run(
        from_environment(),
        lambda found: operating.hand_over_capsule(found, arguments.capsule, arguments.reason),
    )
