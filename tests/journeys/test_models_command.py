"""A developer trains a model on a folder from the command line and tries it on people it never saw."""

import json

import pytest
from support import live, small_incomes, world
from support.research_sets import write

from api import staff
from compliance.act import open_act
from compliance.vocabulary import StaffRole
from scoring import training


@pytest.mark.check
async def test_a_model_is_trained_and_tried_from_the_command_line(database, tmp_path):
    async with live.installation(database, tmp_path / "home") as place:
        known, unseen = write(tmp_path / "known", 1_500, seed=1), write(tmp_path / "unseen", 800, seed=2)
        made = await place.run("models", "train", "--data", str(known), "--name", "mine", seconds=300)
        assert made.returncode == 0, made.stderr
        told = json.loads(made.stdout)
        assert (told["name"], told["state"], told["quarantined"]) == ("mine", "made", 0)
        assert f"xinqiao models register {told['model']} --as NAME" in made.stderr
        assert (await place.run("models", "list")).stdout == ""
        assert told["card"]["about"]["measured_on"] == "first_70_30"

        tried = await place.run("models", "evaluate", "--data", str(unseen), "--name", "mine", "--json")
        found = json.loads(tried.stdout)
        assert found["model"] == told["model"]
        assert found["n"] == round(found["answered"] * 800)
        for figure in ("auc", "ks", "brier", "ece", "slope", "intercept"):
            low, high = found["intervals"][figure]
            assert low <= found[figure] <= high
        assert found["ece_envelope"] > 0

        plain = await place.run("models", "evaluate", "--data", str(unseen), "--name", "mine")
        assert "auc" in plain.stdout

        for wrong in (
            ["--data", str(tmp_path / "nowhere"), "--name", "mine"],
            ["--data", str(unseen), "--name", "x"],
        ):
            refused = await place.run("models", "evaluate", *wrong)
            assert refused.returncode == 1
            assert "Traceback" not in refused.stderr

        for name, role in (("li", "risk_officer"), ("zhao", "compliance_officer")):
            assert (await place.run("staff", "add", name, "--role", role)).returncode == 0
        again = ("models", "train", "--data", str(known), "--name", "mine", "--as")
        for wrong in ("zhao", "nobody"):
            refused = await place.run(*again, wrong)
            assert refused.returncode == 1
            assert "Traceback" not in refused.stderr
        registered = await place.run(*again, "li", seconds=300)
        told = json.loads(registered.stdout)
        assert told["state"] == "candidate"
        (line,) = map(json.loads, (await place.run("models", "list")).stdout.splitlines())
        assert (line["digest"], line["name"], line["product"]) == (told["model"], "mine", "behaviour_score")
        assert line["registered_by"].startswith("risk_officer:")
        own = await place.run("models", "validate", told["model"], "--as", "li")
        assert (own.returncode, "Traceback" in own.stderr) == (1, False)


async def test_a_fresh_process_knows_models_of_incomes_too(database, tmp_path):
    async with live.installation(database, tmp_path / "home") as place:
        folder, digest = training.save(small_incomes.trained(), tmp_path), small_incomes.trained().digest
        for name, role in (("li", "risk_officer"), ("zhao", "compliance_officer")):
            async with open_act(world.STORY, None) as act:
                await staff.admit(act, name, StaffRole(role))
        made = await place.run("models", "register", str(folder), "--as", "li")
        assert (made.returncode, json.loads(made.stdout)["product"]) == (0, "income"), made.stderr
        passed = await place.run("models", "validate", digest, "--as", "zhao")
        assert (passed.returncode, json.loads(passed.stdout)["state"]) == (0, "validated"), passed.stderr
        listed = await place.run("models", "list")
        line = json.loads(listed.stdout)
        assert (line["product"], line["state"], line["obstacles"]) == ("income", "validated", [])
