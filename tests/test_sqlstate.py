"""Why a database rejected a transaction, whichever driver says so."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError

from aurpay_async.errors._sqlstate import causes_of, is_conflict, sqlstate_of


def driver_error(name: str, code: object) -> Exception:
    error = Exception("the driver's")
    setattr(error, name, code)
    return error


def wrapped(error: Exception) -> list[Exception]:
    """The same error as SQLAlchemy, Django and a handler of a shop raise it."""
    caused = ValueError("raised from it")
    caused.__cause__ = error
    handling = ValueError("raised while it was handled")
    handling.__context__ = error
    group = ExceptionGroup("of a task group", [ValueError("another"), error])
    return [error, DBAPIError("SELECT 1", None, error), caused, handling, group]


@pytest.mark.parametrize("name", ["sqlstate", "pgcode"])
@pytest.mark.parametrize(
    ("code", "conflict"),
    [("40001", True), ("40P01", True), ("23505", False), ("40002", False)],
)
def test_a_conflict_is_recognised_by_its_sqlstate(
    name: str, code: str, conflict: bool
) -> None:
    """Through each wrapper."""
    for error in wrapped(driver_error(name, code)):
        assert sqlstate_of(error) == code
        assert is_conflict(error) is conflict


@pytest.mark.parametrize(
    ("code", "conflict"),
    [
        (sqlite3.SQLITE_BUSY, True),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, True),
        (sqlite3.SQLITE_LOCKED, True),
        (sqlite3.SQLITE_CONSTRAINT, False),
        (None, False),
    ],
)
def test_a_conflict_is_recognised_by_sqlites_code(
    code: int | None, conflict: bool
) -> None:
    """The bits that say more do not matter."""
    for error in wrapped(driver_error("sqlite_errorcode", code)):
        assert sqlstate_of(error) is None
        assert is_conflict(error) is conflict


def test_an_error_without_a_code_is_no_conflict() -> None:
    """Nor is one whose code is something else than text."""
    for error in (ValueError(), driver_error("pgcode", 40001)):
        assert not is_conflict(error)


def test_causes_end_where_they_repeat_and_where_an_error_was_being_handled() -> None:
    """Each one once."""
    first, second, handled = ValueError("1"), ValueError("2"), ValueError("3")
    first.__cause__, second.__cause__ = second, first
    second.__context__ = handled
    handled.__cause__ = ValueError("4")
    assert list(causes_of(first, handled)) == [first, second]
    assert len(list(causes_of(first))) == 4
