"""What goes down to the wire and what comes back: plain records of bytes."""

from __future__ import annotations

from enum import Enum
from math import isfinite
from typing import TYPE_CHECKING, Any

import attrs

from .errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class Safety(Enum):
    """What a repeated request would do. A property of the request, not of HTTP.

    .. versionadded:: 0.1.0
    """

    #: Changes nothing: may be sent again.
    READ = "read"
    #: Makes something new each time: sent again only if it provably never arrived.
    CREATE = "create"
    #: Moves money each time: as `CREATE`.
    MONEY = "money"


def _seconds(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:  # noqa: ANN401
    if type(value) not in {int, float} or not isfinite(value) or value <= 0:
        message = (
            f"Timeouts({attribute.name}=...) must be a number of seconds above 0, "
            f"for example {attribute.name}={attribute.default}; got {value!r}"
        )
        raise ConfigurationError(message)


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long to wait, in seconds.

    .. versionadded:: 0.1.0
    """

    #: For a connection: a free place in the pool, name, TCP and TLS.
    connect: float = attrs.field(default=5, validator=_seconds)
    #: For one attempt, from the connection to the last byte of the answer.
    attempt: float = attrs.field(default=15, validator=_seconds)
    #: For the whole call: all attempts and the pauses between them.
    call: float = attrs.field(default=30, validator=_seconds)


@attrs.frozen(kw_only=True)
class Request:
    """One request, complete but for the host.

    .. versionadded:: 0.1.0
    """

    #: The method of the client that sends it, such as ``create_order``.
    operation: str
    method: str
    #: Path and query, exactly as they go over the wire.
    path: str = attrs.field(repr=lambda path: repr(path.partition("?")[0]))
    safety: Safety
    body: bytes = attrs.field(default=b"", repr=lambda body: f"<{len(body)} bytes>")
    #: Names alone are shown: values may be secret.
    headers: Mapping[str, str] = attrs.field(
        factory=dict[str, str], repr=lambda h: repr([*h])
    )
    #: Seconds that this attempt may take, and its wait for a connection.
    timeout: float = 15
    connect_timeout: float = 5


@attrs.frozen(kw_only=True)
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
    #: How many attempts it took.
    attempts: int = 1
    #: When the last of them began, if there were several: aware, UTC.
    sent_at: datetime | None = None

    @property
    def is_success(self) -> bool:
        """Whether the status says that the body is worth reading."""
        return 200 <= self.status < 300
