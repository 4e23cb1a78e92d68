"""What a check of the log can find, each thing with where it was found."""

from dataclasses import dataclass
from enum import StrEnum


class Damage(StrEnum):
    """What can be wrong; each is found with the index of the leaf, or the size of the checkpoint."""

    FACT_MISSING = "fact_missing"
    FACT_CHANGED = "fact_changed"
    LEAF_MISSING = "leaf_missing"
    LEAF_CHANGED = "leaf_changed"
    ORDER_BROKEN = "order_broken"
    TILE_CHANGED = "tile_changed"
    CHECKPOINT_CHANGED = "checkpoint_changed"
    CHECKPOINT_MISSING = "checkpoint_missing"
    FORKED = "forked"
    MAP_CHANGED = "map_changed"
    PERSON_INCOMPLETE = "person_incomplete"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was logged.

    `index` is the first leaf concerned, or a checkpoint's size; of a map, the leaf that names its root.
    """

    damage: Damage
    index: int
    detail: str
