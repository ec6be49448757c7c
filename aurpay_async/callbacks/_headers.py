"""The three headers of a callback, as a server got them.

What they hold is never raised from here: a traceback that shows local names would show
a token and a signature that are still good.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, cast

import attrs

from .._auth import HEADER_VALUE

#: Headers: a mapping, or pairs, of text or bytes.
Headers = Mapping[str, str] | Iterable[tuple[str, str] | tuple[bytes, bytes]]

#: Characters of one of them; the longest documented one has 44.
_MAX_HEADER: Final = 512

_DIGEST_SIZE: Final = 32

_FIELDS: Final = {
    "callback-token": "token",
    "date": "date",
    "signature": "signature",
}

_ISO_8601 = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII
)


@attrs.frozen(kw_only=True)
class CallbackHeaders:
    """What a request shows of itself."""

    token: str | None = attrs.field(default=None, repr=False)
    date: str | None = None
    signature: str | None = attrs.field(default=None, repr=False)
    #: Its value is not looked at, and held nowhere.
    has_api_key: bool = False

    @property
    def is_unsigned(self) -> bool:
        """Whether none of the three headers of a callback was received."""
        return self.token is None and self.date is None and self.signature is None

    def digest(self) -> bytes | None:
        """What is in the signature; ``None`` if it is not the Base64 of a digest."""
        try:
            digest = a2b_base64(self.signature or "", strict_mode=True)
        except Base64Error:
            return None
        return digest if len(digest) == _DIGEST_SIZE else None

    def time(self) -> datetime | None:
        """What is in the date, in UTC; ``None`` if it is not ISO 8601 with a zone."""
        if self.date is None or not _ISO_8601.fullmatch(self.date):
            return None
        try:
            return datetime.fromisoformat(self.date).astimezone(UTC)
        except (ValueError, OverflowError):
            return None


def parse_headers(headers: Headers) -> tuple[CallbackHeaders, str | None]:
    """The headers that count, and what is wrong with one of them."""
    found: dict[str, str] = {}
    try:
        texts = [(_text(name).lower(), _text(value)) for name, value in _pairs(headers)]
    except Exception:  # noqa: BLE001 - whatever a framework's own mapping raises
        return CallbackHeaders(), "headers are neither a mapping nor pairs of texts"
    for name, text in texts:
        field = _FIELDS.get(name)
        if field is None:
            continue
        if field in found:
            return CallbackHeaders(), f"{name} came twice"
        if len(text) > _MAX_HEADER or not HEADER_VALUE.fullmatch(text):
            problem = f"is empty, over {_MAX_HEADER} characters, or not plain ASCII"
            return CallbackHeaders(), f"{name} {problem}"
        found[field] = text
    has_api_key = any(name == "api-key" for name, _ in texts)
    return CallbackHeaders(has_api_key=has_api_key, **found), None


def _pairs(headers: Headers) -> Iterable[tuple[object, object]]:
    if isinstance(headers, Mapping):
        return cast("Mapping[object, object]", headers).items()
    return headers


def _text(value: object) -> str:
    # As HTTP has it; what is not ASCII is refused later.
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    raise TypeError
