"""Detect why a database rejected a transaction, with any driver."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError

from aurpay_async._core.sqlstate import causes_of, is_conflict, sqlstate_of


def make_driver_error(name: str, code: object) -> Exception:
    error = Exception("the driver's")
    setattr(error, name, code)
    return error


def wrap_error(error: Exception) -> list[Exception]:
    """Return the error as SQLAlchemy, Django and an exception handler raise it."""
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
def test_a_conflict_is_detected_by_its_sqlstate(
    name: str, code: str, conflict: bool
) -> None:
    for error in wrap_error(make_driver_error(name, code)):
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
def test_a_conflict_is_detected_by_the_primary_code_of_sqlite(
    code: int | None, conflict: bool
) -> None:
    for error in wrap_error(make_driver_error("sqlite_errorcode", code)):
        assert sqlstate_of(error) is None
        assert is_conflict(error) is conflict


def test_an_error_without_a_string_code_is_not_a_conflict() -> None:
    for error in (ValueError(), make_driver_error("pgcode", 40001)):
        assert not is_conflict(error)


def test_causes_end_at_a_cycle_and_at_the_handled_error() -> None:
    first, second, handled = ValueError("1"), ValueError("2"), ValueError("3")
    first.__cause__, second.__cause__ = second, first
    second.__context__ = handled
    handled.__cause__ = ValueError("4")
    assert list(causes_of(first, handled)) == [first, second]
    assert len(list(causes_of(first))) == 4
