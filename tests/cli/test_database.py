"""``aurpay db``: the schema of the merchant's database, and the URL of it."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from aurpay_async import _cli
from aurpay_async._db import migrations

from ..support.loopback import closed_port
from ..support.postgresql import postgresql, postgresql_url

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Run

pytestmark = pytest.mark.slow

__all__ = ["postgresql", "postgresql_url"]

PASSWORD = "a-made-up-password"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a database that AURPAY_DATABASE names; it does not exist yet."""
    path = tmp_path / "orders.db"
    monkeypatch.setenv("AURPAY_DATABASE", f"sqlite+aiosqlite:///{path}")
    return path


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_db_upgrade_creates_the_tables_and_can_be_repeated(
    aurpay: Run, path: Path
) -> None:
    first = aurpay("db", "upgrade")
    newest = migrations.VERSIONS[-1].revision
    assert (first.code, first.err) == (0, "Migration 0001 was applied.\n")
    assert f"version  {newest}" in first.out
    assert aurpay("db", "upgrade") == first._replace(err="")
    assert aurpay("db", "check").code == 0
    done = aurpay("db", "current", "-o", "json")
    assert done.record == {
        "type": "schema",
        "ok": True,
        "version": newest,
        "newest": newest,
        "pending": [],
        "differences": [],
    }


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_db_check_fails_until_the_database_is_upgraded(
    aurpay: Run, request: pytest.FixtureRequest, path: Path, database: str
) -> None:
    option: tuple[str, ...] = ()
    if database == "sqlite":
        sqlite3.connect(path).close()
        path.touch()
    else:
        option = ("--database", request.getfixturevalue("postgresql_url"))
    done = aurpay("db", "check", *option)
    assert (done.code, done.err) == (1, "")
    assert "table aurpay_attempts is missing" in done.out
    ending = " --database" if option else "`"
    assert f"pending: 0001; run `aurpay db upgrade{ending}" in done.out
    assert aurpay("db", "current", *option) == done._replace(code=0)
    assert aurpay("db", "upgrade", *option).code == 0
    done = aurpay("db", "check", *option, "--output", "json")
    assert (done.code, done.record["differences"]) == (0, [])


def test_db_check_names_missing_and_changed_columns(aurpay: Run, path: Path) -> None:
    aurpay("db", "upgrade")
    # The merchant's own table is not read: SQLAlchemy would warn of such an index.
    execute(path, "CREATE TABLE carts (name TEXT)")
    execute(path, "CREATE INDEX carts_by_name ON carts (lower(name))")
    execute(path, "ALTER TABLE aurpay_attempts ADD COLUMN note TEXT")
    execute(path, "CREATE INDEX mine ON aurpay_attempts (note)")
    assert aurpay("db", "check").code == 0
    execute(path, "ALTER TABLE aurpay_attempts DROP COLUMN sent_at")
    execute(path, "DROP INDEX aurpay_attempts_order_id")
    execute(path, "ALTER TABLE aurpay_callbacks DROP COLUMN token")
    execute(path, "ALTER TABLE aurpay_callbacks ADD COLUMN token INTEGER")
    done = aurpay("db", "check")
    assert done.code == 1
    for difference in (
        "column aurpay_attempts.sent_at is missing",
        "index aurpay_attempts_order_id is missing",
        "aurpay_callbacks.token has another type",
        "undo each difference, or restore the tables",
    ):
        assert difference in done.out
    assert len(aurpay("db", "check", "-o", "json").record["differences"]) == 3
    assert aurpay("db", "upgrade").code == 1


def test_db_check_accepts_tables_of_the_merchants_own_migrations(
    aurpay: Run, path: Path
) -> None:
    aurpay("db", "upgrade")
    execute(path, "DROP TABLE aurpay_version")
    done = aurpay("db", "check")
    assert (done.code, done.err) == (0, "")
    assert "none: no migration of this package ran" in done.out


def test_db_commands_report_a_database_of_a_newer_version(
    aurpay: Run, path: Path
) -> None:
    aurpay("db", "upgrade")
    execute(path, "UPDATE aurpay_version SET version_num = '9999'")
    done = aurpay("db", "check")
    assert done.code == 1
    assert "a newer version of aurpay-async has migrated it" in done.out
    assert aurpay("db", "upgrade").code == 2


def test_mistyped_name_of_a_sqlite_file_creates_no_file(
    aurpay: Run, path: Path
) -> None:
    done = aurpay("db", "current")
    assert (done.code, done.out) == (2, "")
    assert f"there is no file {path}" in done.err
    assert "its disk is mounted" in done.err
    assert "run `aurpay db upgrade`." in done.err
    assert not path.exists()
    aurpay("db", "upgrade")
    uri = f"sqlite+aiosqlite:///file:{path}?mode=ro&uri=true"
    assert aurpay("db", "check", "--database", uri).code == 0


def test_missing_database_url_is_wrong_usage(aurpay: Run) -> None:
    done = aurpay("db", "current")
    assert (done.code, done.out) == (2, "")
    assert "AURPAY_DATABASE is not set" in done.err


@pytest.mark.parametrize("scheme", ["postgres", "postgresql+psycopg2", "sqlite"])
def test_url_without_asyncio_driver_says_what_to_write(
    aurpay: Run, scheme: str
) -> None:
    done = aurpay("db", "check", "--database", f"{scheme}://me:{PASSWORD}@host/shop")
    assert (done.code, done.out) == (2, "")
    assert "write sqlite+aiosqlite:///orders.db" in done.err
    assert "postgresql+asyncpg://user:password@host/name" in done.err
    assert PASSWORD not in done.err


async def test_no_message_of_a_database_command_shows_the_password(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    async with closed_port() as base_url:
        host = base_url.removeprefix("http://")
        url = f"postgresql+asyncpg://me:{PASSWORD}@{host}/shop"
        monkeypatch.setenv("AURPAY_DATABASE", url)
        for arguments, code in (
            (["check"], 1),
            (["upgrade"], 1),
            (["current", "--database", url], 1),
            (["check", url], 2),
            (["check", f"--databse={url}"], 2),
            (["check", "--databse", url], 2),
            (["check", f"postgresql+asyncpg://h/n?password={PASSWORD}&x=1"], 2),
            (["check", f"--database=mysql+aiomysql://me:{PASSWORD}@{host}/shop"], 2),
            (["check", f"--database=me:{PASSWORD}@{host}/shop"], 2),
        ):
            for output in ("text", "json"):
                words = ["db", *arguments, "--output", output]
                done = await asyncio.to_thread(aurpay, *words)
                assert done.code == code
                assert PASSWORD not in done.out + done.err
        done = await asyncio.to_thread(aurpay, "db", "check")
        assert "Check that the database runs" in done.err
        done = await asyncio.to_thread(aurpay, "doctor", "-o", "json")
        assert PASSWORD not in done.out + caplog.text


def test_options_with_a_database_url_hide_it_in_their_repr() -> None:
    words = ["db", "check", "--database", f"sqlite+aiosqlite:///{PASSWORD}"]
    _, bound, _ = _cli.build_app().parse_args(words)
    assert "database" in repr(bound)
    assert PASSWORD not in repr(bound)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missing", "extras"), [("sqlalchemy", "cli,sql"), ("alembic", "sql")]
)
def test_missing_extra_of_a_database_command_is_reported(
    missing: str, extras: str, tmp_path: Path
) -> None:
    (file := tmp_path / "orders.db").touch()
    url = f"sqlite+aiosqlite:///{file}"
    code = (
        "import sys, importlib.util as util; find = util.find_spec\n"
        f"util.find_spec = lambda name: None if name == {missing!r} else find(name)\n"
        f"sys.modules[{missing!r}] = None\n"
        "from aurpay_async import _cli; "
        f"sys.exit(_cli.run(['db', 'check', '--database', {url!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"aurpay-async[{extras}]" in done.stderr
    assert "Traceback" not in done.stderr
