"""Requests, responses and timeouts, and the interface of a transport."""

from __future__ import annotations

from datetime import UTC
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import attrs

from ..errors import ConfigurationError, RequestOutcome, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


#: Longer strings are not parsed as a date.
_MAX_DATE_LENGTH: Final = 64


@lru_cache(maxsize=4)  # the responses of one second have the same date
def parse_http_date(text: str) -> datetime | None:
    """Return the date of a header, aware; ``None`` if it is not a date.

    RFC 9110, 5.6.7: a date in any of three forms.
    """
    if not 0 < len(text) <= _MAX_DATE_LENGTH or not text.isascii():
        return None
    # Imported on use: it loads sockets and URL parsing, which few programs need.
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # The parser knows the zone of only one of the three forms; all mean UTC.
    return date if date.tzinfo else date.replace(tzinfo=UTC)


class Effect(Enum):
    """The effect of a request at Aurpay: it decides when a retry is safe."""

    #: A query that changes nothing: may be repeated.
    READ = "read"
    #: Creates something each time: repeated only if it was not received, or rejected.
    CREATE = "create"
    #: Transfers money each time: repeated only if it was not sent.
    TRANSFER = "transfer"


#: Thirty years; longer timeouts overflow clocks.
MAX_SECONDS: Final = 10**9


def validate_seconds(
    record: object,
    attribute: attrs.Attribute[Any],
    value: Any,  # noqa: ANN401
) -> None:
    """Require a number of seconds above 0; an attrs validator."""
    if type(value) not in {int, float} or not 0 < value <= MAX_SECONDS:
        raise ConfigurationError(
            f"{type(record).__name__}({attribute.name}=...) must be a number of "
            f"seconds above 0, for example {attribute.name}={attribute.default}; "
            f"got {shown(value)}"
        )


@attrs.frozen(kw_only=True)
class Timeouts:
    """Timeouts of a call, in seconds."""

    #: For a connection: waiting for the pool, DNS, TCP and TLS.
    connect: float = attrs.field(default=5, validator=validate_seconds)
    #: For one attempt, from the connection to the last byte of the response.
    attempt: float = attrs.field(default=15, validator=validate_seconds)
    #: For the whole call: all attempts and the backoff between them.
    call: float = attrs.field(default=30, validator=validate_seconds)


_T = TypeVar("_T")


def _replace(record: _T, **changes: object) -> _T:
    """Return a copy of a record with a dict; the changes are not validated."""
    copy = object.__new__(type(record))
    copy.__dict__.update(record.__dict__, **changes)
    return copy


class Progress:
    """State of the current attempt of one call, set by the transports."""

    #: Outcome of the attempt so far. Used when the call is cancelled, because then no
    #: `AurpayError` carries it.
    outcome: RequestOutcome = RequestOutcome.UNKNOWN
    #: Whether the request is signed: the signature covers the local time.
    signed: bool = False


# Request and Response have a dict, not slots: copies are faster, and each call makes
# several.
@attrs.frozen(kw_only=True, slots=False)
class Request:
    """A request, complete except for the host."""

    #: The client method that sends the request, such as ``create_order``.
    operation: str
    method: str
    #: Path and query, exactly as they are sent.
    path: str = attrs.field(repr=lambda path: repr(path.partition("?")[0]))
    effect: Effect
    body: bytes = attrs.field(default=b"", repr=lambda body: f"<{len(body)} bytes>")
    #: The repr shows names only: values may be secret.
    headers: Mapping[str, str] = attrs.field(
        factory=dict[str, str], repr=lambda h: repr([*h])
    )
    #: Timeout of this attempt and of its connection, in seconds.
    timeout: float = 15
    connect_timeout: float = 5
    #: Identifiers for logs, events and spans. Not sent.
    reference: str | None = None
    order_id: str | None = None
    #: The attempt id of the order to be created.
    attempt_id: str | None = None
    #: State of the call that this request was built for; all copies share it.
    progress: Progress = attrs.field(factory=Progress, init=False, eq=False, repr=False)

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        """Return a copy with additional headers."""
        return _replace(self, headers={**self.headers, **headers})


@attrs.frozen(kw_only=True, slots=False)
class Response:
    """A complete response."""

    status: int
    #: The names are in lower case.
    headers: Mapping[str, str] = attrs.field(
        factory=dict[str, str], repr=lambda h: repr([*h])
    )
    body: bytes = attrs.field(default=b"", repr=lambda body: f"<{len(body)} bytes>")
    #: Why the body cannot be used: too long, or its encoding is not supported.
    body_error: str | None = None
    #: Number of attempts.
    attempts: int = 1
    #: Start of the last attempt, if there were several: aware, UTC.
    sent_at: datetime | None = None

    def with_attempts(self, attempts: int, sent_at: datetime) -> Response:
        """Return a copy, as the response to a later attempt."""
        return _replace(self, attempts=attempts, sent_at=sent_at)

    def with_body(self, body: bytes) -> Response:
        """Return a copy with another body."""
        return _replace(self, body=body)

    @property
    def is_success(self) -> bool:
        """Return whether the status is 2xx."""
        return 200 <= self.status < 300


class Transport(Protocol):
    """Sends one request and returns the response, with any status.

    Pass one to ``AurpayClient(transport=...)`` to replace aiohttp; the client adds
    authentication, deadlines and retries around it.
    """

    async def send(self, request: Request) -> Response:
        """Send `request` once, within its `timeout`.

        Raises:
            TransportError: if no complete response was received. Its `outcome` must be
                ``NOT_SENT`` only if nothing of the request left this process.
        """
        ...
