"""Collections of records that can outlive the process.

They are in memory, and with a journal in a file as well: what is changed is written
before the change counts. Without one, they are a dict and a list.

A new kind of record takes a line in `_state`. Its fields are texts, numbers, ``None``,
`Decimal`, `datetime`, bytes, and mappings and tuples of these (`_records`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import attrs

from ._records import read_record

if TYPE_CHECKING:
    from collections.abc import Sequence

R = TypeVar("R", bound=attrs.AttrsInstance)


class Journal(Protocol):
    """Where values are kept: each under its kind and its key."""

    def read(self, kind: str) -> Sequence[tuple[str, object]]:
        """The keys of a kind with their values, in the order in which they came."""
        ...

    def put(self, kind: str, key: str, value: object) -> None:
        """Keep a value, in the place of the one before if there is one."""
        ...


class Kept(Protocol):
    """Something that a journal can keep."""

    def keep(self, journal: Journal) -> None:
        """Take over what is in the journal, and keep everything there from now on."""
        ...


class Table(dict[str, R]):
    """Records by their key, the oldest first. ``table[key] = record`` changes it."""

    def __init__(self, kind: str, record: type[R]) -> None:
        super().__init__()
        self._kind = kind
        self._record = record
        self._journal: Journal | None = None

    def keep(self, journal: Journal) -> None:
        """Take over what is in the journal, and keep everything there from now on."""
        for key, fields in journal.read(self._kind):
            super().__setitem__(key, read_record(self._record, fields))
        self._journal = journal

    def __setitem__(self, key: str, record: R) -> None:
        if self._journal is not None:
            self._journal.put(self._kind, key, record)
        super().__setitem__(key, record)


class Log(list[R]):
    """Records as they come. ``log.append(record)`` changes it."""

    def __init__(self, kind: str, record: type[R]) -> None:
        super().__init__()
        self._kind = kind
        self._record = record
        self._journal: Journal | None = None

    def keep(self, journal: Journal) -> None:
        """Take over what is in the journal, and keep everything there from now on."""
        for _, fields in journal.read(self._kind):
            super().append(read_record(self._record, fields))
        self._journal = journal

    def append(self, record: R) -> None:
        """Add one to the end."""
        if self._journal is not None:
            self._journal.put(self._kind, str(len(self)), record)
        super().append(record)
