"""Reference keys: wrapped as secrets, and validated without showing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from ._secrets import Secret, secret_from_env
from .errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    #: One key, or several for key rotation: the first one signs, all of them verify.
    Keys = str | Secret | Iterable[str | Secret]

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
    """Return the key in ``AURPAY_REFERENCE_KEY``, if it is set.

    Raises:
        ConfigurationError: without showing the key.
    """
    keys = hide_keys(secret_from_env(_KEY_VARIABLE))
    return None if keys is None else require_keys(keys, _KEY_VARIABLE)


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
