"""Escape text from outside: no escape sequence, no bidi control, no line break."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: A shorter value is not a secret, and replacing it would damage ordinary words.
_MIN_SECRET: Final = 8

_STARS: Final = "**********"


def escape_control(text: str) -> str:
    r"""Return `text` with each unprintable character as its escape, such as ``\x1b``.

    Python counts as unprintable: controls, format characters (bidi among them),
    surrogates, and separators other than the space.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with stars in place of each of `secrets`."""
    for secret in secrets:
        if len(secret) >= _MIN_SECRET:
            text = text.replace(secret, _STARS)
    return text


def to_json(members: Mapping[str, object]) -> str:
    """Return one line of JSON in printable ASCII."""
    # The json module escapes everything that is not ASCII, but leaves DEL as it is.
    return json.dumps(members, default=str).replace("\x7f", "\\u007f")
