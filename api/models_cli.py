"""The sub-commands about models: their register, their figures, and the outcomes that these rest on."""

import argparse
from pathlib import Path

from api.commands import Commands, group
from api.settings import from_environment
from compliance.vocabulary import StaffRole

STEPS = {
    "register": "enter a trained model as a candidate (its digest, or the folder of one made elsewhere)",
    "validate": "say that its card was checked; not the developer",
    "approve": "let it be used; a third person",
    "promote": "put an approved model in use; the one before retires",
    "shadow": "let an approved model answer beside the one in use, for monitoring alone",
    "retire": "take it out of use",
    "rollback": "put a retired model in use again",
}


def add(commands: Commands) -> None:
    """Add `models`, `monitoring`, `outcomes` and `staff`."""
    models = group(commands, "models", "the models of the score: made, tried, governed")
    add_making(models)
    add_steps(models)

    report = group(commands, "monitoring", "how the model in use does").add_parser(
        "report", help="work out the figures now and print them"
    )
    report.add_argument("--json", action="store_true")
    report.set_defaults(run=_report)

    load = group(commands, "outcomes", "what became of loans").add_parser(
        "load", help="read a lender's file of outcomes"
    )
    load.add_argument("file", type=Path, metavar="FILE", help=".csv or .ndjson, see docs/models.md")
    load.add_argument("--partner", required=True, metavar="CODE", help="the lender's code or id")
    load.set_defaults(run=_load)

    admit = group(commands, "staff", "the operator's people").add_parser("add", help="give somebody a role")
    admit.add_argument("name")
    admit.add_argument("--role", required=True, choices=[role.value for role in StaffRole])
    admit.set_defaults(run=_admit)


def add_making(models: Commands) -> None:
    """Add what developers of models do."""
    train = models.add_parser("train", help="train on a folder in the canonical shape")
    train.add_argument("--target", choices=["default", "income"], default="default", help="what it estimates")
    train.add_argument("--as", dest="by", metavar="NAME", help="register it in this risk officer's name")
    train.set_defaults(run=_train)
    evaluate = models.add_parser("evaluate", help="try a model on the people of another folder")
    evaluate.add_argument("--json", action="store_true")
    evaluate.set_defaults(run=_evaluate)
    for command in (train, evaluate):
        command.add_argument("--data", type=Path, required=True, metavar="DIR", help="a research set")
        command.add_argument("--name", required=True, help="what the model is called")


def add_steps(models: Commands) -> None:
    """Add the list and each step in the life of a model."""
    models.add_parser("list", help="every model, a line of JSON each").set_defaults(run=_list)
    for step, said in STEPS.items():
        parser = models.add_parser(step, help=said)
        parser.add_argument("model", metavar="DIGEST")
        parser.add_argument("--as", dest="name", required=True, metavar="NAME", help="who takes the step")
        parser.set_defaults(run=_step, step=step)


def _train(arguments: argparse.Namespace) -> int:
    from api import auditing, modelling  # noqa: PLC0415 - keeps `xinqiao quote` quick

    return auditing.run(
        from_environment(),
        lambda found: modelling.train(
            found, arguments.data, arguments.name, target=arguments.target, by=arguments.by
        ),
    )


def _evaluate(arguments: argparse.Namespace) -> int:
    from api import auditing, modelling  # noqa: PLC0415 - as above

    return auditing.run(
        from_environment(),
        lambda found: modelling.evaluate(found, arguments.data, arguments.name, as_json=arguments.json),
    )


def _list(_: argparse.Namespace) -> int:
    from api import auditing, governing  # noqa: PLC0415 - keeps `xinqiao quote` quick

    return auditing.run(from_environment(), governing.list_models)


def _step(arguments: argparse.Namespace) -> int:
    from api import auditing, governing  # noqa: PLC0415 - as above

    return auditing.run(
        from_environment(),
        lambda found: governing.take_step(found, arguments.step, arguments.model, arguments.name),
    )


def _report(arguments: argparse.Namespace) -> int:
    from api import auditing, governing  # noqa: PLC0415 - as above

    return auditing.run(from_environment(), lambda found: governing.report(found, as_json=arguments.json))


def _load(arguments: argparse.Namespace) -> int:
    from api import auditing, governing  # noqa: PLC0415 - as above

    return auditing.run(
        from_environment(), lambda found: governing.load_outcomes(found, arguments.file, arguments.partner)
    )


def _admit(arguments: argparse.Namespace) -> int:
    from api import auditing, governing  # noqa: PLC0415 - as above

    return auditing.run(
        from_environment(), lambda found: governing.admit(found, arguments.name, arguments.role)
    )
