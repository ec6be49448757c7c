"""Collections of records in memory that are also written to a storage, if attached.

A change is written before it is visible.

A new kind of record takes a line in `_state`. Its fields are `str`, numbers, ``None``,
`Decimal`, `datetime`, `bytes`, and mappings and tuples of these (`_records`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import attrs

from ._records import read_record

if TYPE_CHECKING:
    from collections.abc import Sequence

R = TypeVar("R", bound=attrs.AttrsInstance)


class Storage(Protocol):
    """Values by kind and key."""

    def read(self, kind: str) -> Sequence[tuple[str, object]]:
        """Return keys and values of a kind, in the order in which they were added."""
        ...

    def put(self, kind: str, key: str, value: object) -> None:
        """Store a value, replacing the one of the same key."""
        ...


class Persistent(Protocol):
    """State that can be stored."""

    def attach(self, storage: Storage) -> None:
        """Load the stored records, and store each change from now on."""
        ...


class PersistentDict(dict[str, R]):
    """Records by key, the oldest first. Only ``records[key] = record`` is stored."""

    def __init__(self, kind: str, record: type[R]) -> None:
        super().__init__()
        self._kind = kind
        self._record = record
        self._storage: Storage | None = None

    def attach(self, storage: Storage) -> None:
        """Load the stored records, and store each change from now on."""
        for key, fields in storage.read(self._kind):
            super().__setitem__(key, read_record(self._record, fields))
        self._storage = storage

    def __setitem__(self, key: str, record: R) -> None:
        if self._storage is not None:
            self._storage.put(self._kind, key, record)
        super().__setitem__(key, record)


class PersistentList(list[R]):
    """Records in a list. Only ``records.append(record)`` is stored."""

    def __init__(self, kind: str, record: type[R]) -> None:
        super().__init__()
        self._kind = kind
        self._record = record
        self._storage: Storage | None = None

    def attach(self, storage: Storage) -> None:
        """Load the stored records, and store each change from now on."""
        for _, fields in storage.read(self._kind):
            super().append(read_record(self._record, fields))
        self._storage = storage

    def append(self, record: R) -> None:
        """Add a record at the end."""
        if self._storage is not None:
            self._storage.put(self._kind, str(len(self)), record)
        super().append(record)
