"""A text that does not show."""

from __future__ import annotations

import os
from typing import NoReturn, Self, final

_STARS = "**********"


@final
class Secret:
    """Holds a secret text; only :meth:`reveal` gives it back.

    It is no ``str`` on purpose: a ``str`` leaks through every join, slice and
    serializer. It prints as stars, compares by identity and refuses to be pickled.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Never bind it to a name: tracebacks show local names."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret('{_STARS}')"

    def __str__(self) -> str:
        return _STARS

    def __format__(self, spec: str) -> str:
        return _STARS

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        message = "a secret is not pickled; build the client where it is used"
        raise TypeError(message)


def secret_from_env(name: str) -> Secret | None:
    """Return what an environment variable holds; an empty one counts as not set."""
    # Hidden before anything can raise.
    return Secret(os.environ[name]) if os.environ.get(name) else None
