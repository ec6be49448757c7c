"""Text from outside, made harmless: no escape sequence, no bidi, no line break."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: A shorter one is no secret, and its letters are in too many words.
_MIN_SECRET: Final = 8

_STARS: Final = "**********"


def plain(text: str) -> str:
    r"""`text` with every invisible character as its escape, such as ``\x1b``.

    Not printable, to Python, are controls, format characters (bidi among them),
    surrogates, and separators other than the blank.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def redacted(text: str, secrets: Iterable[str]) -> str:
    """`text` with stars for each of `secrets` that it repeats."""
    for secret in secrets:
        if len(secret) >= _MIN_SECRET:
            text = text.replace(secret, _STARS)
    return text


def to_json(members: Mapping[str, object]) -> str:
    """A line of JSON in visible ASCII."""
    # ASCII, but for DEL: the json module writes that one as it is.
    return json.dumps(members, default=str).replace("\x7f", "\\u007f")
