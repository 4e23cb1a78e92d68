"""CPU of other processes, as the kernel counts it: in ticks, usually of 10 ms, so measure many calls at once."""

import os
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
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
