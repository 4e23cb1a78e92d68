"""The embedded PostgreSQL through its life: owned by one process, shared by others, killed, and started again."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from support import live

from compliance import postgres
from compliance.postgres import PostgresFailed

HOLD = """
import pathlib, sys
from compliance import postgres
with postgres.running(pathlib.Path(sys.argv[1])) as sockets:
    print(sockets, flush=True)
    sys.stdin.read()
"""

KNOCK = """
import os, pwd, socket, sys
stranger = pwd.getpwnam("daemon")
os.setgroups([]); os.setgid(stranger.pw_gid); os.setuid(stranger.pw_uid)
door = socket.socket(socket.AF_UNIX)
door.connect(sys.argv[1])
wish = (196608).to_bytes(4, "big") + b"user\\0postgres\\0database\\0postgres\\0\\0"
door.sendall((len(wish) + 4).to_bytes(4, "big") + wish)
print(door.recv(200))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A home that the database's own user can enter, which a folder of pytest's is not; made once, 1.5 s."""
    home = Path(tempfile.mkdtemp(prefix="xinqiao-"))
    yield home
    shutil.rmtree(home)


@contextmanager
def holding(home: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that has the server, as its owner or as a guest, until its input ends."""
    environment = live.environment(home) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == f"{home / 'run'}\n"
            yield process
        finally:
            if process.poll() is None:
                process.stdin.close()
                assert process.wait(live.STOP_SECONDS) == 0


@contextmanager
def sleeping() -> Iterator["subprocess.Popen[bytes]"]:
    """A stranger, of the user that the server runs as."""
    user = {"user": pwd.getpwnam(postgres.SERVER_USER).pw_uid} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "60"], cwd="/", **user) as process:
        yield process
        process.kill()


async def run(home: Path, statement: str) -> object:
    connection = await asyncpg.connect(host=str(home / "run"), user="postgres", database="postgres")
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def server_pid(home: Path) -> int:
    return int((home / "data" / "postmaster.pid").read_text().split("\n", 1)[0])


async def test_a_killed_owner_leaves_what_the_next_start_clears(cluster):
    with holding(cluster) as owner:
        await run(cluster, "create table kept (n int)")
        await run(cluster, "insert into kept values (1)")
        first = server_pid(cluster)
        owner.kill()
        owner.wait()
    with holding(cluster):  # at once: the killed owner's server may still be on its way out
        assert server_pid(cluster) != first
        assert not live.alive(first)
        assert await run(cluster, "select count(*) from kept") == 1
    assert not (cluster / "data" / "postmaster.pid").exists()


async def test_a_second_process_joins_the_owners_server(cluster):
    with holding(cluster) as owner:
        pid = server_pid(cluster)
        with holding(cluster) as guest:
            assert server_pid(cluster) == pid
            assert await run(cluster, "select 1") == 1
            guest.kill()
            guest.wait()
        assert await run(cluster, "select 1") == 1
        with holding(cluster) as guest:
            owner.stdin.close()
            owner.wait()
            assert not live.alive(pid)
            with holding(cluster):  # whoever comes next owns it; the guest holds no lock
                assert server_pid(cluster) != pid
                assert await run(cluster, "select 1") == 1


async def test_a_stale_pid_file_that_names_a_stranger(cluster):
    """In containers numbers come back: after a crash the recorded one is often that of somebody else."""
    with holding(cluster):
        pass
    with sleeping() as stranger:
        for file in (cluster / "data" / "postmaster.pid", cluster / "run" / ".s.PGSQL.5432.lock"):
            file.write_text(f"{stranger.pid}\n{cluster / 'data'}\n1\n5432\n{cluster / 'run'}\n\n\nready\n")
        with holding(cluster):
            assert server_pid(cluster) != stranger.pid
            assert await run(cluster, "select 1") == 1
        assert stranger.poll() is None


async def test_a_server_that_nobody_owns_is_ended_before_another_is_started(cluster):
    """Where the kernel does not tie it to its owner, a killed owner leaves a living server."""
    with holding(cluster) as owner:
        orphan = server_pid(cluster)
        os.kill(orphan, signal.SIGSTOP)  # it cannot follow its owner yet
        owner.kill()
        owner.wait()
    os.kill(orphan, signal.SIGCONT)
    with holding(cluster):
        assert not live.alive(orphan)
        assert await run(cluster, "select 1") == 1


def test_a_home_whose_socket_would_not_fit_is_refused(tmp_path):
    home = tmp_path / ("x" * 90)
    with pytest.raises(PostgresFailed, match="XINQIAO_HOME is too long"), postgres.running(home):
        pass
    assert not (home / "data").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another user")
def test_root_runs_it_as_nobody_who_can_pass_but_not_look(cluster):
    with holding(cluster):
        nobody = pwd.getpwnam("nobody").pw_uid
        assert Path(f"/proc/{server_pid(cluster)}").stat().st_uid == nobody
        assert (cluster / "data").stat().st_uid == nobody
        assert cluster.stat().st_uid == 0
        assert cluster.stat().st_mode & 0o077 == 0o011


async def test_it_is_durable_and_on_no_network(cluster):
    wanted = "name in ('fsync', 'listen_addresses')"
    with holding(cluster):
        said = await run(
            cluster, f"select string_agg(setting, ' ' order by name) from pg_settings where {wanted}"
        )
    assert str(said).split() == ["on"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can knock as somebody else")
def test_nobody_else_gets_in(cluster):
    """The socket is open to the system's users, the server only to its own (peer)."""
    with holding(cluster):
        knock = [sys.executable, "-I", "-c", KNOCK, str(cluster / "run" / ".s.PGSQL.5432")]
        done = subprocess.run(knock, capture_output=True, text=True, check=False)
    assert "Peer authentication failed" in done.stdout, done
