"""Why a population run cannot go on."""


class RunUnusable(Exception):
    """A run, or what it needs, cannot be used."""


class ShardUnusable(RunUnusable):
    """A shard is damaged, or belongs to another model, permit or moment."""


class RunBusy(RunUnusable):
    """Another process works on this run."""


class RayMissing(RunUnusable):
    """The extra that runs shards on a cluster is not installed."""
