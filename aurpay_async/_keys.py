"""The keys that sign references: hidden as they come in, judged without being shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from ._secrets import Secret, secret_from_env
from .errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    #: One, or several: the first signs, all of them verify.
    Keys = str | Secret | Iterable[str | Secret]

_VARIABLE: Final = "AURPAY_REFERENCE_KEY"

#: Characters of a key: what 96 bits of chance take in Base64.
MIN_KEY_LENGTH: Final = 16


def hide_keys(keys: Keys | None) -> tuple[Secret, ...] | None:
    """Keys as secrets, whatever they are; nothing is judged yet.

    It does not raise: a traceback that shows local names would show a mistyped key.
    """
    if keys is None:
        return None
    # A single key is an iterable as well: of letters.
    if isinstance(keys, str | Secret) or not hasattr(keys, "__iter__"):
        keys = [cast("str | Secret", keys)]
    return tuple(key if isinstance(key, Secret) else Secret(key) for key in keys)


def keys_from_env() -> tuple[Secret, ...] | None:
    """Return the key that ``AURPAY_REFERENCE_KEY`` holds, if it is set.

    Raises:
        ConfigurationError: without quoting what it holds.
    """
    keys = hide_keys(secret_from_env(_VARIABLE))
    return None if keys is None else require_keys(keys, _VARIABLE)


def require_keys(
    keys: tuple[Secret, ...], what: str = "reference_key"
) -> tuple[Secret, ...]:
    """Keys that can sign.

    Raises:
        ConfigurationError: without quoting what was given.
    """
    problems = [problem for key in keys if (problem := _problem(key)) is not None]
    if problems or not keys:
        raise ConfigurationError(f"{what} {problems[0] if problems else 'is empty'}")
    return keys


def _problem(key: Secret) -> str | None:
    if type(key.reveal()) is not str:
        return f"must be a text or several, not {type(key.reveal()).__name__}"
    if not key.reveal().isprintable():
        return "holds a line break or another invisible character"
    if len(key.reveal()) < MIN_KEY_LENGTH:
        return (
            f"must have {MIN_KEY_LENGTH} characters or more; make one with "
            '`python -c "import secrets; print(secrets.token_urlsafe(32))"`'
        )
    return None
