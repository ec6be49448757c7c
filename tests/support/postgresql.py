"""A PostgreSQL server for the tests, started on demand and stopped at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import make_url

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Starting servers and killing processes takes longer than all other tests of a store.
WANTED = bool(os.environ.get("AURPAY_TEST_POSTGRESQL"))

#: The data is needed for one test run only: it need not survive a power cut.
OPTIONS = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=16MB",
)


#: Three connections for all clients, so that transactions change connections.
POOLER = """
[databases]
* = host=127.0.0.1 port={server} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 1000
"""


class Server:
    """A running server; its superuser is ``postgres``, and needs no password."""

    def __init__(self, programs: Path, folder: Path, name: str = "data") -> None:
        self._programs = programs
        self.folder = folder
        self._data = name
        self._is_running = False
        self._numbers = count()
        self.port = free_port()

    def new_database(self) -> str:
        """Create an empty database, and return its URL."""
        name = f"test{next(self._numbers)}"
        where = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres")
        self._run("createdb", *where, name)
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/{name}"

    @contextmanager
    def pooled(self) -> Iterator[int]:
        """Run a PgBouncer in transaction mode, and yield its port."""
        port = free_port()
        (self.folder / "pgbouncer.ini").write_text(
            POOLER.format(server=self.port, port=port), encoding="utf-8"
        )
        with (self.folder / "pooler").open("w") as log:
            pooler = subprocess.Popen(
                [find_pooler() or "", "pgbouncer.ini"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **unprivileged_user(),
            )
        try:
            wait_for(port, pooler)
            yield port
        finally:
            pooler.kill()
            pooler.wait()

    def start(self) -> None:
        """Start the server, and return when it accepts connections."""
        trusting = ("-U", "postgres", "-A", "trust")
        self._run("initdb", "-D", self._data, "-E", "UTF8", "--no-sync", *trusting)
        self._launch()

    def start_standby(self, primary: Server) -> None:
        """Start the server as a standby that replicates `primary`."""
        where = ("-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres")
        self._run("pg_basebackup", *where, "-D", self._data, "-R", "--no-sync")
        self._launch()

    def promote(self) -> None:
        """Make a standby the primary, and return when it accepts writes."""
        if not self._is_running:
            self._launch()
        self._run("pg_ctl", "promote", "-w", "-D", self._data)

    def configure(self, name: str, value: str) -> None:
        """Change an option of the running server."""
        where = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres")
        self._run("psql", *where, "-c", f"ALTER SYSTEM SET {name} = '{value}'")
        self._run("pg_ctl", "reload", "-D", self._data)

    def restart(self) -> None:
        """Stop the server, which closes its connections, and start it again."""
        self._run("pg_ctl", "restart", "-w", "-D", "data", "-m", "fast")

    def stop(self) -> None:
        """Stop the server at once, open connections or not."""
        if self._is_running:
            self._is_running = False
            self._run("pg_ctl", "stop", "-w", "-D", self._data, "-m", "immediate")

    def start_again(self) -> None:
        """Start a server that was stopped, with its data."""
        self._launch()

    def _launch(self) -> None:
        options = " ".join(f"-c {option}" for option in OPTIONS)
        options += f" -p {self.port}"
        log = ("-l", f"{self._data}.log")
        self._run("pg_ctl", "start", "-w", "-D", self._data, *log, "-o", options)
        self._is_running = True

    def _run(self, program: str, *arguments: str) -> None:
        # A file, not a pipe: the server inherits it and keeps it open, so reading a
        # pipe would not end.
        with (self.folder / "output").open("a+") as output:
            done = subprocess.run(
                [self._programs / program, *arguments],
                cwd=self.folder,
                env={"LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=300,
                **unprivileged_user(),
            )
            output.seek(0)
            assert done.returncode == 0, f"{program}: {output.read()}"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def unprivileged_user() -> dict[str, Any]:
    """Return `subprocess` options for a user that is not root: PostgreSQL needs one."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def find_programs() -> Path | None:
    """Return the newest of Debian's PostgreSQL programs, or those on the path."""
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    for initdb in sorted(found, key=lambda path: int(path.parts[4]), reverse=True):
        return initdb.parent
    initdb_on_path = shutil.which("initdb")
    return Path(initdb_on_path).resolve().parent if initdb_on_path else None


def find_pooler() -> str | None:
    """Return the path of PgBouncer; Debian installs it in /usr/sbin."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when a program accepts connections."""
    while True:
        assert process.poll() is None, "it has ended"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            sleep(0.01)
        else:
            return


@contextmanager
def running(programs: Path) -> Iterator[Server]:
    """Run a server in a new folder."""
    # Not below pytest's folder, which the server's user cannot enter.
    with tempfile.TemporaryDirectory(prefix="aurpay-postgresql-") as name:
        folder = Path(name)
        who = unprivileged_user()
        if who:
            os.chown(folder, who["user"], who["group"])
        server = Server(programs, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


class Pair:
    """A primary and its synchronous standby, on loopback."""

    def __init__(self, primary: Server, standby: Server) -> None:
        self._primary = primary
        self._standby = standby

    def start_replication(self) -> None:
        """Start the standby; from now on each commit waits for it."""
        self._standby.start_standby(self._primary)
        self._primary.configure("synchronous_standby_names", "*")

    def stop_replication(self) -> None:
        """Let the primary commit alone, as if replication was asynchronous and late."""
        self._primary.configure("synchronous_standby_names", "")
        self._standby.stop()

    def fail_over(self) -> None:
        """Kill the primary, and promote the standby."""
        self._primary.stop()
        self._standby.promote()

    def stop(self) -> None:
        """Stop the standby."""
        self._standby.stop()

    def new_database(self, driver: str) -> str:
        """Create an empty database, and return a URL with both servers."""
        name = make_url(self._primary.new_database()).database
        ports = (self._primary.port, self._standby.port)
        hosts = "&".join(f"host=127.0.0.1:{port}" for port in ports)
        writable = "primary" if driver == "asyncpg" else "read-write"
        query = f"{hosts}&target_session_attrs={writable}"
        return f"postgresql+{driver}://postgres@/{name}?{query}"


@contextmanager
def running_pair() -> Iterator[Pair]:
    """Run a primary and a synchronous standby."""
    programs = require_programs()
    with running(programs) as primary:
        pair = Pair(primary, Server(programs, primary.folder, "standby"))
        try:
            pair.start_replication()
            yield pair
        finally:
            pair.stop()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """The server of this test process."""
    with running(require_programs()) as server:
        yield server


def require_programs() -> Path:
    """Return the folder of PostgreSQL's programs; skip the test without them."""
    if not WANTED:
        pytest.skip("takes long: nox -s postgresql, or set AURPAY_TEST_POSTGRESQL=1")
    programs = find_programs()
    if programs is None:
        pytest.skip("there is no PostgreSQL: apt-get install postgresql")
    return programs


@pytest.fixture
def postgresql_url(postgresql: Server) -> str:
    """The URL of an empty database for one test."""
    return postgresql.new_database()


@pytest.fixture
def pooler_url(postgresql: Server) -> Iterator[str]:
    """The URL of an empty database behind PgBouncer in transaction mode."""
    if find_pooler() is None:
        pytest.skip("there is no PgBouncer: apt-get install pgbouncer")
    url = make_url(postgresql.new_database())
    with postgresql.pooled() as port:
        yield url.set(port=port).render_as_string(hide_password=False)
