"""Parse the three headers of a callback.

Their values are never raised from here: a traceback that shows locals would show a
token and a signature that are still valid.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

import attrs

from .._auth import HEADER_VALUE

#: Headers: a mapping, or pairs, of `str` or `bytes`.
Headers = Mapping[str, str] | Iterable[tuple[str, str] | tuple[bytes, bytes]]

#: Characters of one header; the longest documented one has 44.
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
    """The headers that authenticate a callback."""

    token: str | None = attrs.field(default=None, repr=False)
    date: str | None = None
    signature: str | None = attrs.field(default=None, repr=False)
    #: Its value is neither read nor stored.
    has_api_key: bool = False

    @property
    def is_unsigned(self) -> bool:
        """True if the request has none of the three headers."""
        return self.token is None and self.date is None and self.signature is None

    def decode_signature(self) -> bytes | None:
        """Return the signature; ``None`` if it is not the Base64 of a digest."""
        try:
            digest = a2b_base64(self.signature or "", strict_mode=True)
        except Base64Error:
            return None
        return digest if len(digest) == _DIGEST_SIZE else None

    def parse_date(self) -> datetime | None:
        """Return the date in UTC; ``None`` if it is not ISO 8601 with a time zone."""
        if self.date is None or not _ISO_8601.fullmatch(self.date):
            return None
        try:
            return datetime.fromisoformat(self.date).astimezone(UTC)
        except (ValueError, OverflowError):
            return None


def parse_headers(headers: Headers) -> tuple[CallbackHeaders, str | None]:
    """Return the headers of a callback, and the problem with one of them, if any."""
    found: dict[str, str] = {}
    has_api_key = False
    try:
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        decoded = [(_to_str(name).lower(), _to_str(value)) for name, value in pairs]
    except Exception:  # noqa: BLE001 - a framework's mapping may raise anything
        return CallbackHeaders(), "headers are neither a mapping nor pairs of str"
    for name, value in decoded:
        field = _FIELDS.get(name)
        if field is None:
            has_api_key = has_api_key or name == "api-key"
            continue
        if field in found:
            return CallbackHeaders(), f"the request has two {name} headers"
        if len(value) > _MAX_HEADER or not HEADER_VALUE.fullmatch(value):
            problem = f"is empty, over {_MAX_HEADER} characters, or not plain ASCII"
            return CallbackHeaders(), f"{name} {problem}"
        found[field] = value
    return CallbackHeaders(has_api_key=has_api_key, **found), None


def _to_str(value: object) -> str:
    # Latin-1 is the encoding of HTTP; values that are not ASCII are rejected later.
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    raise TypeError
