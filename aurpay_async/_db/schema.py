"""Compare the schema of a database with the one that this version needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import attrs
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from .engine import step
from .migrations import TABLE, VERSIONS, require_no_old_tables
from .tables import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from .engine import Database


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
        ConfigurationError: an unreleased version created the tables.
    """
    async with database.connect() as connection:
        return await step(
            database.dialect, connection.run_sync(_read_schema), connection
        )


def _read_schema(connection: Connection) -> Schema:
    require_no_old_tables(connection)
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
