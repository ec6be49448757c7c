"""The file behind a sandbox: SQLite, written before anybody hears of a change.

A process that is killed loses nothing that it has answered: with a write-ahead log,
what was committed is with the operating system. Nothing is flushed to the disk for it,
so a power failure may cost the latest changes; this is a toy bank.

One sandbox at a time: the file is locked until the process ends, however it ends.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, final

from ..errors import ConfigurationError, shown
from ._records import dump, load

if TYPE_CHECKING:
    from collections.abc import Sequence

#: "AURP": what SQLite writes into the head of our files.
_APPLICATION_ID: Final = 0x41555250
#: The version of the table and of its records. A file of another version is rejected.
_VERSION: Final = 2

#: A page of SQLite.
_SMALLEST: Final = 512

_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE record (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    UNIQUE (kind, key)
);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_VERSION};
COMMIT;
"""
_READ: Final = "SELECT key, value FROM record WHERE kind = ? ORDER BY number"
# What is changed stays in its place.
_PUT: Final = """
INSERT INTO record (kind, key, value) VALUES (?, ?, ?)
ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value
"""


@final
class Journal:
    """Values by kind and key, in a file of which it is the only user."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection: sqlite3.Connection | None = connection

    @classmethod
    def open(cls, path: str) -> Self:
        """Open a file, or make it.

        Raises:
            ConfigurationError: if it is in use, or is not one that this version reads.
        """
        # `connect` takes some names for something else than a file.
        place = Path(path).resolve()
        # It takes a small file for an empty one. (To look into it would end the lock
        # of another sandbox in this process.)
        if place.is_file() and 0 < place.stat().st_size < _SMALLEST:
            raise _refuse(path, "is not a sandbox's")
        try:
            connection = sqlite3.connect(place, timeout=0, isolation_level=None)
        except sqlite3.Error as error:
            raise _refuse(path, f"cannot be opened: {error}") from None
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    def read(self, kind: str) -> Sequence[tuple[str, object]]:
        """The keys of a kind with their values, in the order in which they came.

        Raises:
            ValueError: if one of them is not what was written here.
        """
        if self._connection is None:
            return []
        rows = self._connection.execute(_READ, (kind,))
        return [(key, load(value)) for key, value in rows]

    def put(self, kind: str, key: str, value: object) -> None:
        """Keep a value. After the end, nothing is kept."""
        if self._connection is not None:
            self._connection.execute(_PUT, (kind, key, dump(value)))

    def close(self) -> None:
        """End it. Does nothing the second time."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        _require_ours(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        # Takes the lock, and keeps it.
        connection.executescript("BEGIN IMMEDIATE; COMMIT")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise _refuse(path, "is in use, by another sandbox perhaps") from None
        raise _refuse(path, f"cannot be used: {error}") from None
    except sqlite3.DatabaseError:
        raise _refuse(path, "is not a sandbox's") from None


def _require_ours(connection: sqlite3.Connection, path: str) -> None:
    asked = ("application_id", "user_version", "schema_version")
    application_id, version, changes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in asked
    )
    if (application_id, version, changes) == (0, 0, 0):
        connection.executescript(_SCHEMA)
    elif application_id != _APPLICATION_ID:
        raise _refuse(path, "is not a sandbox's")
    elif version != _VERSION:
        raise _refuse(path, "was written by another version of this package")


def _refuse(path: str, problem: str) -> ConfigurationError:
    return ConfigurationError(f"the file {shown(path)} {problem}; name another one")
