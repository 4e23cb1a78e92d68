"""A developer trains a model on a folder from the command line and tries it on people it never saw."""

import json

import pytest
from support import live
from support.research_sets import write


@pytest.mark.check
async def test_a_model_is_trained_and_tried_from_the_command_line(database, tmp_path):
    async with live.installation(database, tmp_path / "home") as place:
        known, unseen = write(tmp_path / "known", 1_500, seed=1), write(tmp_path / "unseen", 800, seed=2)
        made = await place.run("models", "train", "--data", str(known), "--name", "mine", seconds=300)
        assert made.returncode == 0, made.stderr
        told = json.loads(made.stdout)
        assert (told["name"], told["state"], told["quarantined"]) == ("mine", "candidate", 0)
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
