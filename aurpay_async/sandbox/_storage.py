"""State of the sandbox, in memory or in SQLite.

A change is written before it is visible. A killed process loses no change that it has
answered: with a write-ahead log, committed data is with the operating system. It is not
flushed to the disk, so a power failure can lose the latest changes. The file is locked
until its process ends, so one sandbox at a time uses it.

A record is a JSON object of its fields, converted by their types. A new field needs a
default for older files, and a removed one is ignored. A new kind of record takes a line
in `_simulator`.
"""

from __future__ import annotations

import json
import sqlite3
from base64 import b64decode, b64encode
from datetime import datetime
from decimal import Decimal
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, final

import attrs
from multidict import CIMultiDict, CIMultiDictProxy

from ..errors import ConfigurationError, shown
from ._settings import ReceivedRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import cattrs


@cache
def _converter() -> cattrs.Converter:
    """Return the codec of records: exact numbers, times and bytes are strings."""
    # A sandbox without a file starts faster without it.
    import cattrs
    from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

    converter = cattrs.Converter(detailed_validation=False)

    def register(
        kind: type, encode: Callable[[Any], str], decode: Callable[[str], object]
    ) -> None:
        converter.register_unstructure_hook(kind, encode)
        converter.register_structure_hook(kind, lambda value, _: decode(value))

    register(Decimal, str, Decimal)
    register(datetime, datetime.isoformat, datetime.fromisoformat)
    register(bytes, lambda body: b64encode(body).decode(), b64decode)
    # Names of headers are case-insensitive, and may occur twice.
    headers = override(
        unstruct_hook=lambda headers: [*headers.items()],
        struct_hook=lambda pairs, _: CIMultiDictProxy(CIMultiDict(pairs)),
    )
    unstructure = make_dict_unstructure_fn(ReceivedRequest, converter, headers=headers)
    structure = make_dict_structure_fn(ReceivedRequest, converter, headers=headers)
    converter.register_unstructure_hook(ReceivedRequest, unstructure)
    converter.register_structure_hook(ReceivedRequest, structure)
    return converter


def dump(value: object) -> str:
    return json.dumps(_converter().unstructure(value))


def read_record(record: type[R], fields: object) -> R:
    try:
        return _converter().structure(fields, record)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"not a {record.__name__}: {error}") from None


R = TypeVar("R", bound=attrs.AttrsInstance)


class Persistent(Protocol):
    def attach(self, storage: Storage) -> None:
        """Load the stored records, and store each change from now on."""
        ...


class PersistentDict(dict[str, R]):
    """Records by key, the oldest first. Only ``records[key] = record`` is stored."""

    def __init__(self, kind: str, record: type[R]) -> None:
        super().__init__()
        self._by_age: list[str] = []
        self._kind = kind
        self._record = record
        self._storage: Storage | None = None

    def attach(self, storage: Storage) -> None:
        for key, fields in storage.read(self._kind):
            super().__setitem__(key, read_record(self._record, fields))
        self._storage = storage

    def __setitem__(self, key: str, record: R) -> None:
        if self._storage is not None:
            self._storage.put(self._kind, key, record)
        super().__setitem__(key, record)

    def by_age(self) -> Sequence[str]:
        """Return the keys, the oldest first, as a list that can be sliced."""
        new = islice(reversed(self), len(self) - len(self._by_age))
        self._by_age += reversed([*new])
        return self._by_age


class PersistentList(list[R]):
    """Records in a list. Only ``records.append(record)`` is stored."""

    def __init__(self, kind: str, record: type[R]) -> None:
        super().__init__()
        self._kind = kind
        self._record = record
        self._storage: Storage | None = None

    def attach(self, storage: Storage) -> None:
        for _, fields in storage.read(self._kind):
            super().append(read_record(self._record, fields))
        self._storage = storage

    def append(self, record: R) -> None:
        if self._storage is not None:
            self._storage.put(self._kind, str(len(self)), record)
        super().append(record)


#: "AURP", in the header of the file.
_APPLICATION_ID: Final = 0x41555250

#: The version of the table and of its records. A file of another version is rejected.
_VERSION: Final = 3

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
class Storage:
    """Values by kind and key, in a file that is locked exclusively."""

    def __init__(self, path: str) -> None:
        """Open a file, or create it."""
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
        self._connection: sqlite3.Connection | None = connection

    def read(self, kind: str) -> Sequence[tuple[str, object]]:
        """Return keys and values of a kind, in the order in which they were added."""
        if self._connection is None:
            return []
        rows = self._connection.execute(_READ, (kind,))
        return [(key, json.loads(value)) for key, value in rows]

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
