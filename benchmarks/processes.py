"""CPU of other processes, as the kernel counts it: in ticks, usually of 10 ms, so measure many calls at once."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PARENT, OWN, WAITED_FOR = 1, slice(11, 13), slice(13, 15)
"""Places in `/proc/<pid>/stat` after the name: ppid; utime and stime; cutime and cstime (proc_pid_stat(5))."""


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all its threads."""
    return _seconds(_stat(pid)[OWN])


def family_cpu_seconds(pid: int) -> float:
    """The same of a process and its children, those included that have ended."""
    stat = _stat(pid)
    living = sum(_seconds(child[OWN]) for child in _children(pid).values())
    return _seconds(stat[OWN]) + _seconds(stat[WAITED_FOR]) + living


def serving_worker(server: int) -> int:
    """The child of `xinqiao serve` that answers calls: forked, not started, so it has the same command line."""
    forked = [pid for pid in _children(server) if _command(pid) == _command(server)]
    if len(forked) != 1:
        raise RuntimeError(f"the server has {len(forked)} workers that answer calls, not 1")
    return forked[0]


def _children(pid: int) -> dict[int, list[str]]:
    """What the kernel tells of each child that runs now."""
    found = {}
    for place in PROC.glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it may end while we look
            stat = _stat(int(place.name))
            if int(stat[PARENT]) == pid:
                found[int(place.name)] = stat
    return found


def _command(pid: int) -> bytes:
    return (PROC / str(pid) / "cmdline").read_bytes()


def _seconds(ticks: list[str]) -> float:
    return sum(map(int, ticks)) / TICKS_PER_SECOND


def _stat(pid: int) -> list[str]:
    return (PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()


@dataclass(slots=True)
class Watched:
    """What a process and all below it used while they were watched: processor time, and the most memory at once."""

    cpu_seconds: float = 0.0
    peak_bytes: int = 0


@contextmanager
def watched(every_seconds: float = 0.1) -> Iterator[Watched]:
    """Watch this process and all below it; what somebody used between the last look and its end is missed."""
    found, over = Watched(), threading.Event()
    spent: dict[int, float] = {}
    before = {pid: cpu_seconds(pid) for pid in _below(os.getpid())}

    def look() -> None:
        resident = 0
        for pid in _below(os.getpid()):
            with suppress(FileNotFoundError, ProcessLookupError):
                spent[pid] = cpu_seconds(pid) - before.get(pid, 0.0)
                resident += int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE_BYTES
        found.peak_bytes = max(found.peak_bytes, resident)

    def watch() -> None:
        while not over.wait(every_seconds):
            look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()
        look()
        found.cpu_seconds = sum(spent.values())


def _below(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for place in found:
        with suppress(FileNotFoundError, ProcessLookupError):
            for thread in (PROC / str(place) / "task").iterdir():
                with suppress(FileNotFoundError, ProcessLookupError):
                    found += map(int, (thread / "children").read_text().split())
    return found
