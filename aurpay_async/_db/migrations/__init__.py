"""The migrations of the schema, and its state in a database.

A migration is one file, which never changes after its release.

Alembic's ``env.py`` and ``from alembic import op`` use global state of the process, so
two concurrent upgrades on one event loop would interfere. Here each upgrade passes its
own `Operations` to the migrations, and a lock in the database admits one at a time.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
from sqlalchemy import inspect
from sqlalchemy import text as sql
from sqlalchemy.exc import NoSuchTableError

from ...errors import ConfigurationError
from ..engine import execute, step
from ..tables import metadata
from . import v0001_orders

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from alembic.migration import MigrationContext
    from alembic.runtime.migration import MigrationStep
    from sqlalchemy import Connection, Inspector

    from ..engine import Database


#: The table of the schema's version, beside the merchant's own ``alembic_version``.
TABLE: Final = "aurpay_version"

#: All migrations, oldest first; each names the one before it.
VERSIONS: Final = (v0001_orders,)

_ALEMBIC: Final = (
    "alembic.autogenerate",
    "alembic.migration",
    "alembic.operations",
    "alembic.script",
)

#: The time limit of a migration in seconds: an index on a large table takes minutes,
#: and other machines wait for the one that migrates.
MIGRATION_LIMIT_S: Final = 600.0

#: Statements that are committed first, because the lock of `_WAIT` needs them.
_FIRST: Final[Mapping[str, Sequence[str]]] = {
    "postgresql": [],
    "sqlite": [
        f"CREATE TABLE IF NOT EXISTS {TABLE} (version_num VARCHAR(32) PRIMARY KEY)"
    ],
}

#: The statement that takes the lock, before any read. PostgreSQL's advisory locks have
#: numbers as names. SQLite takes its lock at the first write, and rejects a transaction
#: that has read before another process wrote.
_WAIT: Final[Mapping[str, str]] = {
    "postgresql": f"SELECT pg_advisory_xact_lock({int.from_bytes(b'aurpay')})",
    "sqlite": f"UPDATE {TABLE} SET version_num = '' WHERE false",  # noqa: S608 - a constant
}


async def fits(database: Database) -> bool:
    """Return true if the tables have every column that this version needs."""
    async with database.connect() as connection:
        return await step(database.dialect, connection.run_sync(_fits), connection)


def _fits(connection: Connection) -> bool:
    inspector = inspect(connection)
    return all(
        _columns(inspector, table.name).issuperset(table.columns.keys())
        for table in metadata.sorted_tables
    )


def _columns(inspector: Inspector, table: str) -> set[str]:
    try:
        return {column["name"] for column in inspector.get_columns(table)}
    except NoSuchTableError:
        return set()


async def upgrade(database: Database) -> None:
    """Migrate to the newest schema; safe on several machines at once.

    Raises:
        ConfigurationError: Alembic is not installed; or a newer version of this
            package has migrated the database.
    """
    await _load_alembic()
    for statement in _FIRST[database.dialect]:
        async with database.begin() as connection:
            await execute(connection, sql(statement))
    async with database.begin() as connection:
        for waiting in (
            connection.execute(sql(_WAIT[database.dialect])),
            connection.run_sync(_upgrade),
        ):
            await step(database.dialect, waiting, connection, MIGRATION_LIMIT_S)


async def _load_alembic() -> None:
    """Import Alembic in a thread, because the import is slow."""
    try:
        for name in _ALEMBIC:
            await asyncio.to_thread(import_module, name)
    except ImportError:
        raise ConfigurationError(
            "migrations need Alembic: pip install 'aurpay-async[sql]'"
        ) from None


def _upgrade(connection: Connection) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    # Configured after the first statement, so that Alembic uses the open transaction.
    options = {"version_table": TABLE, "fn": _pending}
    context = MigrationContext.configure(connection, opts=options)
    context.run_migrations(op=Operations(context))


def _pending(current: tuple[str, ...], _: MigrationContext) -> list[MigrationStep]:
    """Return the migrations that a database lacks, oldest first."""
    from alembic.runtime.migration import MigrationStep
    from alembic.script import Script
    from alembic.script.revision import RevisionMap

    scripts = [Script(v, v.revision, v.__file__ or "") for v in VERSIONS]
    known = RevisionMap(lambda: scripts)
    names = {script.revision for script in known.iterate_revisions("heads", "base")}
    if not names.issuperset(current):
        raise ConfigurationError(
            "a newer version of aurpay-async has upgraded this database: install that "
            "version"
        )
    done = next((n for n, s in enumerate(scripts, 1) if s.revision in current), 0)
    return [MigrationStep.upgrade_from_script(known, new) for new in scripts[done:]]


_REVISIONS: Final[Sequence[str]] = [version.revision for version in VERSIONS]


@attrs.frozen(kw_only=True)
class Schema:
    """The schema of a database."""

    #: The newest migration that has run; ``None`` if the merchant's own migrations
    #: create the tables, or if there are none.
    version: str | None
    #: What the tables lack, or have in another form.
    differences: Sequence[str]

    @property
    def newest(self) -> str:
        """The newest migration of this version of the package."""
        return _REVISIONS[-1]

    @property
    def is_newer(self) -> bool:
        """True if a newer version of the package has migrated the database."""
        return self.version is not None and self.version not in _REVISIONS

    @property
    def pending(self) -> Sequence[str]:
        """The migrations that have not run, oldest first."""
        if self.is_newer:
            return []
        done = 0 if self.version is None else _REVISIONS.index(self.version) + 1
        return _REVISIONS[done:]

    @property
    def fits(self) -> bool:
        """True if this version of the package can use the tables.

        A merchant who migrates with an Alembic of their own has no version, and the
        tables alone decide.
        """
        ready = self.version is None or not self.pending
        return ready and not self.is_newer and not self.differences


async def read_schema(database: Database) -> Schema:
    """Return the schema of a database.

    Raises:
        ConfigurationError: Alembic is not installed.
    """
    await _load_alembic()
    async with database.connect() as connection:
        return await step(
            database.dialect, connection.run_sync(_read_schema), connection
        )


def _read_schema(connection: Connection) -> Schema:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    options: dict[str, Any] = {
        "version_table": TABLE,
        "compare_type": True,
        "include_name": _is_ours,
    }
    context = MigrationContext.configure(connection, opts=options)
    changes = compare_metadata(context, metadata)
    return Schema(
        version=context.get_current_revision(),
        differences=[*_describe(changes)],
    )


def _is_ours(name: str | None, kind: str, _: object) -> bool:
    """Return false for the merchant's own tables in the same database."""
    return kind != "table" or name in metadata.tables


def _describe(changes: Sequence[Any]) -> Iterator[str]:
    """Describe the changes that Alembic proposes.

    An additional column or index of the database is no difference: the administrator
    may have created it.
    """
    missing = {change[1].name for change in changes if change[0] == "add_table"}
    for change in changes:
        if isinstance(change, list):  # of one column
            for part in cast("list[tuple[str, ...]]", change):
                what = part[0].removeprefix("modify_")
                yield f"{part[2]}.{part[3]} has another {what}"
        elif change[0] == "add_column":
            yield f"column {change[2]}.{change[3].name} is missing"
        elif change[0].startswith("add_"):
            table = getattr(change[1], "table", None)
            if table is None or table.name not in missing:
                yield f"{change[0].removeprefix('add_')} {change[1].name} is missing"
