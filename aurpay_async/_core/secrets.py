"""A string wrapper that never prints its value."""

from __future__ import annotations

import os
from typing import NoReturn, Self, final

_MASK = "**********"


@final
class Secret:
    """A secret string; only :meth:`reveal` returns it.

    It is not a ``str`` subclass, because a ``str`` leaks through every join, slice and
    serializer. It prints as asterisks, compares by identity and cannot be pickled.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value. Never bind it to a variable: tracebacks can show locals."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret('{_MASK}')"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, spec: str) -> str:
        return _MASK

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        message = "a secret cannot be pickled; create the client in the other process"
        raise TypeError(message)


def secret_from_env(name: str) -> Secret | None:
    """Return an environment variable as a secret; an empty one counts as not set."""
    # The value is not bound to a variable, because tracebacks can show locals.
    return Secret(os.environ[name]) if os.environ.get(name) else None
