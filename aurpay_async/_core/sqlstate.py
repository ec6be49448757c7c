"""Find out from an exception why a database rejected a transaction.

Drivers and their wrappers are recognised by common attributes, so that no driver has
to be installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: PostgreSQL, appendix A: serialization_failure and deadlock_detected. For both, its
#: documentation says to run the whole transaction again.
_CONFLICTS: Final = frozenset({"40001", "40P01"})

#: SQLite's SQLITE_BUSY and SQLITE_LOCKED, without the bits of the extended code.
_SQLITE_CONFLICTS: Final = frozenset({5, 6})
_SQLITE_PRIMARY: Final = 0xFF


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of an exception or of one of its causes.

    asyncpg and psycopg call it ``sqlstate``, psycopg2 and SQLAlchemy ``pgcode``.
    """
    for one in causes_of(error):
        for name in ("sqlstate", "pgcode"):
            code = getattr(one, name, None)
            if isinstance(code, str):
                return code
    return None


def is_conflict(error: BaseException) -> bool:
    """Return true if a database aborted a transaction because of a concurrent one.

    Nothing of it was committed, and the same transaction may succeed when it is
    repeated: on PostgreSQL after a serialization failure or a deadlock, on SQLite where
    another connection was writing.
    """
    if sqlstate_of(error) in _CONFLICTS:
        return True
    codes = (getattr(one, "sqlite_errorcode", None) for one in causes_of(error))
    return any(
        isinstance(code, int) and code & _SQLITE_PRIMARY in _SQLITE_CONFLICTS
        for code in codes
    )


def causes_of(
    error: BaseException, handled: BaseException | None = None
) -> Iterator[BaseException]:
    """Yield an exception, the one that it wraps, and those that it was raised from.

    Args:
        error: The first one.
        handled: An exception that was being handled when it was raised. Python makes
            it a context of `error`; it and its own causes are left out.
    """
    seen = {id(handled)}
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__context__, one.__cause__, getattr(one, "orig", None)]
        waiting += getattr(one, "exceptions", ())
