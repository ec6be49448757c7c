"""Authentication of requests by API key or signature, as Aurpay documents it.

Written from Aurpay's pages and not from the client's code, over the received bytes.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from datetime import datetime, timedelta
from hashlib import md5
from typing import TYPE_CHECKING, Final

import attrs

from ._refusal import ApiRejection

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How far the Date of a signed request may deviate. Aurpay's own limit is not known.
TOLERANCE: Final = timedelta(minutes=5)

#: The format of Aurpay's examples.
_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"

#: Extended format, with any fraction and any zone.
_ISO_8601: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)", re.ASCII
)

_DIGESTS: Final = {"HMAC-SHA256": "sha256", "HMAC-SHA3_256": "sha3_256"}


@attrs.frozen(kw_only=True)
class ReceivedRequest:
    """A request as it was received."""

    method: str
    #: Path and query, undecoded.
    path: str
    #: ApiRequest for in any case.
    headers: Mapping[str, str] = attrs.field(repr=lambda headers: repr([*headers]))
    body: bytes
    #: Whether the sandbox has an endpoint for its method and path.
    is_served: bool = True


@attrs.frozen(kw_only=True)
class Authenticator:
    """Checks the credentials that were set; without any, accepts each request."""

    api_key: str | None = attrs.field(default=None, repr=False)
    api_token: str | None = attrs.field(default=None, repr=False)
    api_secret: str | None = attrs.field(default=None, repr=False)

    def check(self, request: ReceivedRequest, now: datetime) -> None:
        """Check the credentials of `request`.

        Raises:
            ApiRejection: with code 401, if they are missing or wrong.
        """
        if self.api_token is not None and "API-Token" in request.headers:
            self._check_signature(request, now)
        elif self.api_key is not None:
            if not _same(request.headers.get("API-Key", ""), self.api_key):
                raise ApiRejection(401, "API key is missing or wrong")
        elif self.api_token is not None:
            raise ApiRejection(401, "API token is missing")

    def _check_signature(self, request: ReceivedRequest, now: datetime) -> None:
        headers = request.headers
        if not _same(headers["API-Token"], self.api_token or ""):
            raise ApiRejection(401, "API token is wrong")
        digest = _DIGESTS.get(headers.get("Algorithm", ""))
        if digest is None:
            raise ApiRejection(401, "Algorithm is missing or unknown")
        date = headers.get("Date", "")
        _require_recent(date, now)
        origin = f"{headers['Algorithm']} | {date} | {request.method} {request.path}"
        if request.body:
            body_md5 = md5(request.body, usedforsecurity=False).hexdigest()
            if not _same(headers.get("Body-MD5", ""), body_md5):
                raise ApiRejection(401, "Body-MD5 is not the body's")
            origin += f" | {body_md5}"
        key = (self.api_secret or "").encode()
        text = origin.encode("utf-8", "surrogateescape")
        expected = b64encode(hmac.digest(key, text, digest)).decode()
        if not _same(headers.get("Signature", ""), expected):
            raise ApiRejection(401, "Signature is wrong")


def _same(given: str, expected: str) -> bool:
    # aiohttp decodes headers that are not UTF-8 with surrogates.
    return hmac.compare_digest(
        given.encode("utf-8", "surrogateescape"), expected.encode()
    )


def _require_recent(date: str, now: datetime) -> None:
    """Reject a Date header that is not ISO 8601, or too far from `now`."""
    at = _parse_time(date)
    if at is None:
        raise ApiRejection(
            401, f"Date must be ISO 8601 with a zone, such as {now:{_FORMAT}}"
        )
    if abs(at - now) > TOLERANCE:
        raise ApiRejection(
            401,
            f"Date is too far off: {date}, and the sandbox's time is {now:{_FORMAT}}",
        )


def _parse_time(text: str) -> datetime | None:
    """Parse a Date header, truncated to microseconds.

    Aurpay documents ISO 8601 and shows whole seconds with ``Z``. Clients in other
    languages sign the format that their library writes.
    """
    if _ISO_8601.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
