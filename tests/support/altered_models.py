"""Models whose card or inputs were made otherwise, bound anew: what an outside developer may hand in."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from compliance import canonical
from scoring import manifest
from scoring.manifest import CARD, MANIFEST, Manifest
from scoring.training import Artifact


def with_card(artifact: Artifact, change: Callable[[dict[str, Any]], None]) -> Artifact:
    """The same model with another card."""
    card = json.loads(artifact.files[CARD])
    change(card)
    return _bound(artifact, lambda stated: stated, {CARD: json.dumps(card).encode()})


def with_manifest(artifact: Artifact, change: Callable[[Manifest], Manifest]) -> Artifact:
    """The same trees under another manifest."""
    return _bound(artifact, change, {})


def with_input(artifact: Artifact, **changed: Any) -> Artifact:
    """The same trees, whose first input says something else of itself."""

    def renamed(stated: Manifest) -> Manifest:
        return replace(stated, inputs=(replace(stated.inputs[0], **changed), *stated.inputs[1:]))

    return with_manifest(artifact, renamed)


def as_told(
    artifact: Artifact, *, card: Callable[[dict[str, Any]], None] | None = None, **files: str
) -> Artifact:
    """A model of either kind with another card, or with more files named in its manifest (their hashes by name)."""
    told, whole = json.loads(artifact.files[MANIFEST]), dict(artifact.files)
    if card is not None:
        changed = json.loads(whole[CARD])
        card(changed)
        whole[CARD] = json.dumps(changed).encode()
        told["files"][CARD] = manifest.sha256(whole[CARD])
    told["files"] |= files
    encoded = canonical.canonical(told)
    return Artifact(manifest.sha256(encoded), whole | {MANIFEST: encoded})


def _bound(artifact: Artifact, change: Callable[[Manifest], Manifest], files: dict[str, bytes]) -> Artifact:
    whole = {**artifact.files, **files}
    stated = change(manifest.decode(whole[MANIFEST]))
    hashes = {name: manifest.sha256(data) for name, data in whole.items() if name != MANIFEST}
    encoded = manifest.encode(replace(stated, files=hashes))
    return Artifact(manifest.sha256(encoded), {**whole, MANIFEST: encoded})
