"""Storage of a sandbox in a SQLite file: each change is committed before it is visible.

A killed process loses no change that it has answered: with a write-ahead log, committed
data is with the operating system. It is not flushed to the disk, so a power failure can
lose the latest changes.

One sandbox at a time: the file is locked until its process ends.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, final

from ..errors import ConfigurationError, shown
from ._records import dump, load

if TYPE_CHECKING:
    from collections.abc import Sequence

#: "AURP", in the header of the file.
_APPLICATION_ID: Final = 0x41555250
#: The version of the table and of its records. A file of another version is rejected.
_VERSION: Final = 2

#: The smallest page of SQLite, in bytes.
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
# A changed value keeps its number, and with it the order.
_PUT: Final = """
INSERT INTO record (kind, key, value) VALUES (?, ?, ?)
ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value
"""


@final
class SqliteStorage:
    """Values by kind and key, in a file that is locked exclusively."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection: sqlite3.Connection | None = connection

    @classmethod
    def open(cls, path: str) -> Self:
        """Open a file, or create it.

        Raises:
            ConfigurationError: if it is in use, or not of this version's format.
        """
        # SQLite treats names such as ":memory:" specially, but no absolute path.
        place = Path(path).resolve()
        # SQLite treats a small file as an empty one. Reading it instead would release
        # the lock of another sandbox in this process.
        if place.is_file() and 0 < place.stat().st_size < _SMALLEST:
            raise _error(path, "is not a sandbox file")
        try:
            connection = sqlite3.connect(place, timeout=0, isolation_level=None)
        except sqlite3.Error as error:
            raise _error(path, f"cannot be opened: {error}") from None
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    def read(self, kind: str) -> Sequence[tuple[str, object]]:
        """Return keys and values of a kind, in the order in which they were added.

        Raises:
            ValueError: if a value cannot be decoded.
        """
        if self._connection is None:
            return []
        rows = self._connection.execute(_READ, (kind,))
        return [(key, load(value)) for key, value in rows]

    def put(self, kind: str, key: str, value: object) -> None:
        """Store a value. A closed file stores nothing."""
        if self._connection is not None:
            self._connection.execute(_PUT, (kind, key, dump(value)))

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        _require_ours(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        # In this locking mode, the first transaction takes the lock until closing.
        connection.executescript("BEGIN IMMEDIATE; COMMIT")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise _error(path, "is in use, perhaps by another sandbox") from None
        raise _error(path, f"cannot be used: {error}") from None
    except sqlite3.DatabaseError:
        raise _error(path, "is not a sandbox file") from None


def _require_ours(connection: sqlite3.Connection, path: str) -> None:
    pragmas = ("application_id", "user_version", "schema_version")
    application_id, version, changes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas
    )
    if (application_id, version, changes) == (0, 0, 0):
        connection.executescript(_SCHEMA)
    elif application_id != _APPLICATION_ID:
        raise _error(path, "is not a sandbox file")
    elif version != _VERSION:
        raise _error(path, "was written by another version of this package")


def _error(path: str, problem: str) -> ConfigurationError:
    return ConfigurationError(f"the file {shown(path)} {problem}; use another file")
