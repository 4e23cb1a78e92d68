"""What is broken gives no score: each kind is refused with its reason, as a problem, and nothing is kept or recorded."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from support import small_models, world
from support.world import ALL, told

from compliance.database import ground
from scoring import manifest, own_data, registry
from scoring.governance import approval
from scoring.manifest import CARD, CATBOOST, MANIFEST, TREES, ModelAltered
from scoring.scorer import Scorer

SPOILT = {
    "a manifest that is no JSON": {MANIFEST: b"{"},
    "a manifest without inputs": {MANIFEST: b'{"files": {}}'},
    "trees that are no JSON": {TREES: b"\x00"},
    "trees of another shape": {TREES: b"[]"},
    "trees without a tree": {TREES: b'{"scale_and_bias": [1, [0]], "oblivious_trees": []}'},
}


@pytest.fixture
async def asking(database, home):
    """The application, a bank, and how it asks for the score of a consenting person."""
    async with world.opened(database, home) as here:
        model = await world.put_model_in_use()
        await world.open_channel()
        bank = await here.software()
        (person,) = await world.persons(1)
        await world.granted(person, bank.client)
        body = {
            "user": await world.pseudonym_of(person, bank.client),
            "purpose": "credit_assessment",
            "categories": sorted(ALL),
        }
        told(await bank.call("POST", "/v1/scores", body), 201)
        registry._loaded.cache_clear()

        async def ask(status: int) -> str:
            answer = await bank.call("POST", "/v1/scores", body)
            assert answer.headers["content-type"].startswith("application/problem+json")
            return str(told(answer, status)["code"])

        yield model, ask
        registry._loaded.cache_clear()


async def kept(owner) -> tuple[int, int]:
    facts = await owner.fetchval("select count(*) from compliance_fact where kind = 'score_issued'")
    return await owner.fetchval("select count(*) from scoring_score"), facts


async def test_a_model_with_one_other_byte_answers_nobody(asking, owner):
    model, ask = asking
    for name in (MANIFEST, TREES, CATBOOST, CARD):
        file = registry.folder(model.digest) / name
        intact = file.read_bytes()
        middle = len(intact) // 2
        file.write_bytes(intact[:middle] + bytes([intact[middle] ^ 1]) + intact[middle + 1 :])
        assert await ask(503) == "model_altered", name
        file.write_bytes(intact)
    assert await kept(owner) == (1, 1)


def bound(files: dict[str, bytes]) -> tuple[str, dict[str, bytes]]:
    """A model whose digest and hashes are all right."""
    if MANIFEST not in files:
        whole = small_models.trained().files | files
        stated = json.loads(whole[MANIFEST])
        stated["files"] = {n: manifest.sha256(data) for n, data in whole.items() if n != MANIFEST}
        files = whole | {MANIFEST: json.dumps(stated).encode()}
    return manifest.sha256(files[MANIFEST]), files


def of_other_inputs() -> dict[str, bytes]:
    stated = manifest.decode(small_models.trained().files[MANIFEST])
    short = manifest.encode(replace(stated, inputs=stated.inputs[:-1]))
    return small_models.trained().files | {MANIFEST: short}


async def test_what_is_no_model_answers_nobody_though_its_digest_is_right(asking, owner):
    _, ask = asking
    for what, files in (SPOILT | {"a list of other inputs": of_other_inputs()}).items():
        digest, whole = bound(files)
        folder = ground().home / "models" / digest
        folder.mkdir()
        for name, data in whole.items():
            (folder / name).write_bytes(data)
        with pytest.raises(ModelAltered):
            Scorer.load(folder)
        hands = await owner.fetchrow("select registered_by, validated_by, approved_by from scoring_model")
        sealed = approval.seal(digest, *hands.values())
        await owner.execute("update scoring_model set digest = $1, approval = $2", digest, sealed)
        assert await ask(503) == "model_altered", what
    assert await kept(owner) == (1, 1)


BROKEN: dict[str, Callable[[np.ndarray], bytes]] = {
    "one value too few": lambda values: values[:-1].tobytes(),
    "one value too many": lambda values: np.append(values, np.float32(1)).tobytes(),
    "a part of a value": lambda values: values.tobytes()[:-1],
    "nothing": lambda _: b"",
    "infinite": lambda values: np.where(np.arange(len(values)) == 0, np.inf, values).astype("<f4").tobytes(),
    "infinitely small": lambda values: np.full(len(values), -np.inf, "<f4").tobytes(),
}


async def test_features_that_fit_no_model_answer_nobody(asking, owner):
    model, ask = asking
    vector = np.frombuffer(await owner.fetchval("select vector from scoring_feature"), "<f4")
    for what, spoil in BROKEN.items():
        await owner.execute("update scoring_feature set vector = $1", spoil(vector))
        assert await ask(503) == "features_unreadable", what
        named = own_data._named(
            "\\x" + spoil(vector).hex(), model.digest
        )  # a right to one's data waits for nothing
        assert json.loads(json.dumps(named, allow_nan=False)) == named
    assert await kept(owner) == (1, 1)


async def test_without_any_value_there_is_no_answer_and_it_is_not_adverse(asking, owner):
    model, ask = asking
    nothing = np.full(len(model.manifest.inputs), np.nan, "<f4").tobytes()
    await owner.execute("update scoring_feature set vector = $1", nothing)
    assert await ask(422) == "insufficient_evidence"
    await owner.execute("update scoring_feature set model = $1", "0" * 64)  # of a model that is not there
    assert await ask(422) == "insufficient_evidence"
    assert await kept(owner) == (1, 1)


def test_infinite_values_never_reach_the_trees():
    matrix, _ = small_models.people()
    values = np.where(np.arange(matrix.values.shape[1]) == 0, np.inf, matrix.values[0]).astype(np.float32)
    with pytest.raises(ValueError, match="neither a number nor missing"):
        small_models.loaded().evaluate(values, small_models.evidence(matrix, 0), ALL)
