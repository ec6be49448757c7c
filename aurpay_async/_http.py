"""What goes down to the wire and what comes back: plain records of bytes."""

from __future__ import annotations

from datetime import UTC
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from .errors import ConfigurationError, RequestOutcome, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


#: Longer texts are no date.
_MAX_DATE_LENGTH: Final = 64


def parse_http_date(text: str) -> datetime | None:
    """Return the date of a header, aware; ``None`` for text that is no date.

    RFC 9110, 5.6.7: a date in any of three forms.
    """
    if not 0 < len(text) <= _MAX_DATE_LENGTH or not text.isascii():
        return None
    # Here and not above: it loads sockets and URL parsing, which few programs need.
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # Two of the three forms name no zone that this parser knows; all mean UTC.
    return date if date.tzinfo else date.replace(tzinfo=UTC)


class Effect(Enum):
    """What a repeated request would do. A property of the request, not of HTTP.

    .. versionadded:: 0.1.0
    """

    #: Changes nothing: may be sent again.
    READ = "read"
    #: Makes something new each time: sent again only if it provably never arrived.
    CREATE = "create"
    #: Moves money each time: as `CREATE`.
    TRANSFER = "transfer"


#: Thirty years; longer ones overflow clocks.
_MAX_SECONDS: Final = 10**9


def validate_seconds(
    record: object,
    attribute: attrs.Attribute[Any],
    value: Any,  # noqa: ANN401
) -> None:
    """Refuse what is no number of seconds above 0; an attrs validator."""
    if type(value) not in {int, float} or not 0 < value <= _MAX_SECONDS:
        raise ConfigurationError(
            f"{type(record).__name__}({attribute.name}=...) must be a number of "
            f"seconds above 0, for example {attribute.name}={attribute.default}; "
            f"got {shown(value)}"
        )


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long to wait, in seconds.

    .. versionadded:: 0.1.0
    """

    #: For a connection: a free place in the pool, name, TCP and TLS.
    connect: float = attrs.field(default=5, validator=validate_seconds)
    #: For one attempt, from the connection to the last byte of the answer.
    attempt: float = attrs.field(default=15, validator=validate_seconds)
    #: For the whole call: all attempts and the pauses between them.
    call: float = attrs.field(default=30, validator=validate_seconds)


_T = TypeVar("_T")


def _replace(record: _T, **changes: object) -> _T:
    """What attrs.evolve() does, for records with a dict and without validators."""
    twin = object.__new__(type(record))
    twin.__dict__.update(record.__dict__, **changes)
    return twin


class Progress:
    """State of the current attempt of one call, set by the transports."""

    __slots__ = ("outcome", "signed")

    def __init__(self) -> None:
        #: How far it has got. Used when the call is cancelled, because then no error
        #: of ours carries it.
        self.outcome = RequestOutcome.UNKNOWN
        #: Whether it has a signature, which covers the local time.
        self.signed = False


# These two have a dict and not slots: each call makes several, and this is faster.
@attrs.frozen(kw_only=True, slots=False)
class Request:
    """One request, complete but for the host.

    .. versionadded:: 0.1.0
    """

    #: The method of the client that sends it, such as ``create_order``.
    operation: str
    method: str
    #: Path and query, exactly as they go over the wire.
    path: str = attrs.field(repr=lambda path: repr(path.partition("?")[0]))
    effect: Effect
    body: bytes = attrs.field(default=b"", repr=lambda body: f"<{len(body)} bytes>")
    #: Names alone are shown: values may be secret.
    headers: Mapping[str, str] = attrs.field(
        factory=dict[str, str], repr=lambda h: repr([*h])
    )
    #: Seconds that this attempt may take, and its wait for a connection.
    timeout: float = 15
    connect_timeout: float = 5
    #: What the call is about, for logs, events and spans. Not sent.
    reference: str | None = None
    order_id: str | None = None
    #: The attempt_id of the order that is to be created.
    attempt_id: str | None = None
    #: State of the one call that this request was built for; all copies share it.
    progress: Progress = attrs.field(factory=Progress, init=False, eq=False, repr=False)

    def with_timeouts(self, timeout: float, connect_timeout: float) -> Request:
        """The same with other limits."""
        return _replace(self, timeout=timeout, connect_timeout=connect_timeout)

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        """The same with more headers."""
        return _replace(self, headers={**self.headers, **headers})


@attrs.frozen(kw_only=True, slots=False)
class Response:
    """One complete answer.

    .. versionadded:: 0.1.0
    """

    status: int
    #: Asked for by lower-case names.
    headers: Mapping[str, str] = attrs.field(
        factory=dict[str, str], repr=lambda h: repr([*h])
    )
    body: bytes = attrs.field(default=b"", repr=lambda body: f"<{len(body)} bytes>")
    #: What is wrong with the body as it came: too long, or packed in no known way.
    body_error: str | None = None
    #: How many attempts it took.
    attempts: int = 1
    #: When the last of them began, if there were several: aware, UTC.
    sent_at: datetime | None = None

    def with_attempts(self, attempts: int, sent_at: datetime) -> Response:
        """The same, as the answer to a later attempt."""
        return _replace(self, attempts=attempts, sent_at=sent_at)

    def with_body(self, body: bytes) -> Response:
        """The same with another body."""
        return _replace(self, body=body)

    @property
    def is_success(self) -> bool:
        """Whether the status says that the body is worth reading."""
        return 200 <= self.status < 300
