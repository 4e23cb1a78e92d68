"""What is kept with a model beside its trees: an invented person, and how the people it learnt from are spread."""

from functools import lru_cache

from scoring import deciles, example, manifest, registry
from scoring.deciles import Deciles
from scoring.example import Example
from scoring.manifest import DECILES, EXAMPLE


def invented_person(digest_of_model: str) -> Example | None:
    """The invented person kept with a model, if it has one."""
    model, path = registry.scorer(digest_of_model), registry.folder(digest_of_model)
    if EXAMPLE not in model.manifest.files:
        return None
    return example.read(model, manifest.file(path, model.manifest, EXAMPLE))


@lru_cache(maxsize=registry.LOADED_MAX)
def spread(digest_of_model: str) -> Deciles:
    """How the people a model was trained on are spread; nothing of a model that was trained without it."""
    model = registry.scorer(digest_of_model)
    if DECILES not in model.manifest.files:
        return {}
    return deciles.read(manifest.file(registry.folder(digest_of_model), model.manifest, DECILES))
