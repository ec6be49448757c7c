"""A string wrapper that never prints its value, and the validation of secrets."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NoReturn, Self, cast, final

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable


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


def raise_problem(name: str, problem: str | None) -> None:
    """Raise a ConfigurationError about a secret argument, if it has a problem."""
    if problem is not None:
        raise ConfigurationError(f"{name} {problem}")


def secret_from_env(name: str) -> Secret | None:
    """Return an environment variable as a secret; an empty one counts as not set."""
    # The value is not bound to a variable, because tracebacks can show locals.
    return Secret(os.environ[name]) if os.environ.get(name) else None


def secrets_from_env(name: str) -> tuple[Secret, ...]:
    """Return the values in an environment variable: several during key rotation.

    Blanks separate them. A value that contains one has to be passed as an argument.
    """
    return tuple(map(Secret, os.environ.get(name, "").split()))


#: The variable with the URL of the order store's database, which has a password.
DATABASE: Final = "AURPAY_DATABASE"


def database_from_env() -> Secret:
    """Return the URL in ``AURPAY_DATABASE``.

    Raises:
        ConfigurationError: if it is not set.
    """
    url = secret_from_env(DATABASE)
    if url is None:
        raise ConfigurationError(
            f"{DATABASE} is not set: set it to the URL of your order store, such as "
            "sqlite+aiosqlite:///orders.db"
        )
    return url


_KEY_VARIABLE: Final = "AURPAY_REFERENCE_KEY"
#: Characters of a key: 96 random bits in Base64.
MIN_KEY_LENGTH: Final = 16


def hide_keys(keys: Keys | None) -> tuple[Secret, ...] | None:
    """Wrap keys as secrets, without validating them.

    It does not raise: a traceback that shows locals would show a mistyped key.
    """
    if keys is None:
        return None
    # A string is an iterable as well: of characters.
    if isinstance(keys, str | Secret) or not hasattr(keys, "__iter__"):
        keys = [cast("str | Secret", keys)]
    return tuple(key if isinstance(key, Secret) else Secret(key) for key in keys)


def keys_from_env() -> tuple[Secret, ...] | None:
    """Return the keys in ``AURPAY_REFERENCE_KEY``, if it is set; the first one signs.

    Raises:
        ConfigurationError: without showing the key.
    """
    keys, name = secrets_from_env(_KEY_VARIABLE), _KEY_VARIABLE
    if len(keys) > 1:
        name += f" has {len(keys)} values, separated by blanks; one of them"
    return require_keys(keys, name) if keys else None


def require_keys(
    keys: tuple[Secret, ...], name: str = "reference_key"
) -> tuple[Secret, ...]:
    """Return the keys if all of them can sign.

    Raises:
        ConfigurationError: without showing a key.
    """
    problems = [problem for key in keys if (problem := _key_problem(key)) is not None]
    if problems or not keys:
        raise ConfigurationError(f"{name} {problems[0] if problems else 'is empty'}")
    return keys


def _key_problem(key: Secret) -> str | None:
    if type(key.reveal()) is not str:
        return f"must be a str or several, not {type(key.reveal()).__name__}"
    if not key.reveal().isprintable():
        return "contains a line break or another invisible character"
    if len(key.reveal()) < MIN_KEY_LENGTH:
        return (
            f"must have {MIN_KEY_LENGTH} characters or more; generate one with "
            '`python -c "import secrets; print(secrets.token_urlsafe(32))"`'
        )
    return None


#: RFC 9110, 5.5: visible ASCII, with spaces inside.
HEADER_VALUE: Final = re.compile(r"[!-~](?:[ !-~]*[!-~])?")


if TYPE_CHECKING:
    Keys = str | Secret | Iterable[str | Secret]
