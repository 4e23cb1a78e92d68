"""The sub-commands that run: the demo, the server, the worker, the development provider."""

import argparse
import os
from pathlib import Path

from api.commands import Commands
from api.settings import Settings, SettingUnusable, from_environment

PORT, LIGHT_PORT = 8080, 8090


def add(commands: Commands) -> None:
    """Add `demo`, `serve`, `worker` and `provider`."""
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
