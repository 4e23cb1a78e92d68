"""Where shards are scored: in processes of this machine, or as tasks of a Ray cluster that shares its files."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import islice
from typing import Any

from compliance import postgres
from scoring.runs.batch import Work, score_shard
from scoring.runs.faults import RayMissing
from scoring.runs.plans import Scored

Runner = Callable[[Iterable[Work]], Iterator[Scored]]
"""Score each shard, in any order; stops at the first that cannot be."""

AHEAD = 2
"""Shards that wait for each worker: it never idles, and a run of any length needs no more memory."""
ONE_THREAD = {"POLARS_MAX_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""There are as many workers as there is room for; read by the libraries when a worker starts."""


def locally(workers: int) -> Runner:
    """In so many processes, which die with this one."""

    def run(works: Iterable[Work]) -> Iterator[Scored]:
        waiting = iter(works)
        os.environ.update(ONE_THREAD)
        pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), postgres.die_with_parent, (os.getpid(),)
        )
        try:
            running = {pool.submit(score_shard, work) for work in islice(waiting, workers * AHEAD)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(score_shard, work) for work in islice(waiting, len(done))}
                yield from (each.result() for each in done)
        finally:
            pool.shutdown(cancel_futures=True)

    return run


def on_ray(address: str, workers: int) -> Runner:
    """As tasks of the Ray cluster at an address; `local`: of one on this machine with so many workers, for this run."""

    def run(works: Iterable[Work]) -> Iterator[Scored]:
        ray = _ray()
        waiting = iter(works)
        try:
            ray.init(
                address,
                num_cpus=workers if address == "local" else None,
                runtime_env={"env_vars": ONE_THREAD},
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
            )
            task = ray.remote(num_cpus=1, max_retries=3)(score_shard)
            at_once = int(ray.cluster_resources()["CPU"]) * AHEAD
            running = [task.remote(work) for work in islice(waiting, at_once)]
            while running:
                done, running = ray.wait(running)
                running += [task.remote(work) for work in islice(waiting, len(done))]
                yield from ray.get(done)
        finally:
            ray.shutdown()

    return run


def _ray() -> Any:
    try:
        import ray  # noqa: PLC0415 - an extra: not everybody has a cluster
    except ModuleNotFoundError as missing:
        raise RayMissing("install xinqiao[ray] first") from missing
    return ray
