"""Commands `db ...`, and the connection to the merchant's database."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Literal

from .._core.json import pick
from .._core.secrets import database_from_env
from .._db.engine import Database
from .._db.migrations import read_schema, upgrade
from ..errors import ConfigurationError
from . import FAILED
from ._options import DatabaseOption
from ._output import TEXT, Output, Row, without_passwords

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .._core.secrets import Secret
    from .._db.migrations import Schema


@asynccontextmanager
async def open_database(
    option: Secret | None, *, create: bool = False
) -> AsyncGenerator[Database, None]:
    """Open the database of ``--database`` or ``AURPAY_DATABASE``.

    A missing file is not created unless `create` is true: its name may be mistyped.

    Raises:
        ConfigurationError: there is no URL, it is not usable, or its file is missing.
    """
    url = option or database_from_env()
    database = Database(url.reveal(), "command")
    try:
        name = database.engine.url.database if database.is_sqlite else None
        if not (create or name is None or name.startswith("file:")):
            _require_file(name, option)
        yield database
    finally:
        await database.aclose()


def _require_file(name: str, option: Secret | None) -> None:
    if not Path(name).is_file():
        error = upgrade_needed(f"there is no file {name}", option)
        error.advice = (
            "Check the path, and that its disk is mounted and its backup restored. For "
            f"a new database: {error.advice}"
        )
        raise error


def upgrade_needed(problem: str, option: Secret | None) -> ConfigurationError:
    """Return an error with the command that creates what the database lacks."""
    error = ConfigurationError(problem)
    command = _upgrade_command(option)
    error.advice = f"If this is the right database, run `{command}`."
    return error


def _upgrade_command(option: Secret | None) -> str:
    command = "aurpay db upgrade"
    if option is None:
        return command
    return f"{command} --database {quote(without_passwords(option.reveal()))}"


async def show_schema(*, database: DatabaseOption = None, output: Output = TEXT) -> int:
    await check_schema(database=database, output=output)
    return 0


async def check_schema(
    *, database: DatabaseOption = None, output: Output = TEXT
) -> int:
    async with open_database(database) as opened:
        schema = await read_schema(opened)
    _show(output, schema, database)
    return 0 if schema.fits else FAILED


async def upgrade_schema(
    *, database: DatabaseOption = None, output: Output = TEXT
) -> int:
    async with open_database(database, create=True) as opened:
        before = await read_schema(opened)
        with output.waiting("Migrating the database"):
            await upgrade(opened)
        for revision in before.pending:
            output.info(f"Migration {revision} was applied.")
        schema = await read_schema(opened)
    _show(output, schema, database)
    return 0 if schema.fits else FAILED


def _show(output: Output, schema: Schema, option: Secret | None) -> None:
    members = pick(schema, "version newest pending differences")
    output.json("schema", ok=schema.fits, **members)
    version = schema.version or "none: no migration of this package ran"
    rows = [Row("version", version), Row("newest", schema.newest)]
    rows += [Row("differs", each, "problem") for each in schema.differences]
    output.rows(rows, "Schema of the database")
    output.status(*describe_schema(schema, option))


def describe_schema(
    schema: Schema, option: Secret | None = None
) -> tuple[str, Literal["ok", "problem"]]:
    """Return whether this package can use the tables, and what to do if it cannot."""
    if schema.fits:
        return "this version of aurpay-async can use the tables", "ok"
    problem = "undo each difference, or restore the tables from a backup"
    if schema.is_newer:
        newer = "a newer version of aurpay-async has migrated it"
        problem = f"{newer}: install that version"
    elif schema.pending:
        problem = (
            f"pending: {', '.join(schema.pending)}; run `{_upgrade_command(option)}`"
        )
    return problem, "problem"
