"""Request faults as data: their names, options and meanings.

A request fault is ``name; option=value; ...+created``. `_wire` sends the faulty
responses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

import attrs

from ._mishaps import FaultQueue, FaultRegistry, FaultSpec, FaultType

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS: Final = {"seconds": "1"}
_STATUS: Final = FaultType(
    "this HTTP status, with a proxy's page",
    {"retry-after": "", "location": "", "html": "yes"},
)

#: Responses that are shifted by one request, as after a proxy that answers twice.
STALE: Final = "stale"
#: The response to another request, as from a proxy's cache.
REPLAYED: Final = "replayed"

#: The request is served; only the transport of the response is faulty.
_SERVED: Final[Mapping[str, FaultType]] = {
    "delay": FaultType("the valid response, delayed", _SECONDS),
    "slow": FaultType("the valid response, one byte at a time", _SECONDS),
    "gzip": FaultType("the valid response, compressed with gzip unasked"),
    "close-kept": FaultType("the valid response; then the connection is closed"),
    STALE: FaultType(
        "the valid response; from then on, each request on the connection gets the "
        "response to the request before it"
    ),
}

REQUEST_FAULTS: Final[Mapping[str, FaultType]] = {
    "reset": FaultType("a reset before the request is read"),
    "reset-after-request": FaultType("a reset after it was read"),
    "close-before-headers": FaultType("closed after it was read, without a response"),
    "silence": FaultType("no response; the connection stays open"),
    "cut-headers": FaultType("closed in the middle of the headers"),
    "endless-headers": FaultType("headers that never end"),
    "cut-body": FaultType("closed in the middle of the body"),
    "long-body": FaultType(
        "a Content-Length greater than the body; the connection stays open"
    ),
    "short-body": FaultType("a Content-Length less than the body"),
    "endless-body": FaultType("a body that never ends"),
    "huge-body": FaultType("a response of 2 MiB"),
    "broken-chunk": FaultType("chunks with an invalid length"),
    "gzip-bomb": FaultType("16 MiB, compressed to 16 KiB"),
    "gzip-broken": FaultType("compressed with gzip, and truncated"),
    "empty": FaultType("no body"),
    "not-json": FaultType("single quotes instead of double quotes"),
    "cut-json": FaultType("half of the JSON, with a correct Content-Length"),
    "nan": FaultType("NaN as a number"),
    "duplicate-keys": FaultType("a duplicate key"),
    "deep": FaultType("2,000 nested lists"),
    "latin-1": FaultType("another charset than UTF-8"),
    "html": FaultType("HTTP 200 and a web page"),
    "redirect": FaultType(
        "to another origin", {"status": "307", "location": "http://127.0.0.1:9/stolen"}
    ),
    REPLAYED: FaultType("the response to the previous request to the same endpoint"),
    **_SERVED,
}

_CREATED: Final = "+created"
#: Without 101, which would switch the protocol of the connection.
_STATUS_NAME = re.compile(r"10[023]|[2-5][0-9]{2}", re.ASCII)


def _find(name: str) -> FaultType | None:
    return _STATUS if _STATUS_NAME.fullmatch(name) else REQUEST_FAULTS.get(name)


_REQUEST_FAULT_REGISTRY: Final = FaultRegistry(
    noun="fault",
    find=_find,
    hint=f"use an HTTP status or one of {', '.join(REQUEST_FAULTS)}, "
    f"each with or without {_CREATED}",
)


@attrs.frozen
class Fault(FaultSpec):
    """A fault of one request."""

    #: Whether the request is served, because of ``+created`` or by the type of fault.
    serves: bool


def parse_fault(text: str) -> Fault:
    """Parse a request fault.

    Raises:
        InvalidRequestError: with the valid names.
    """
    created = _CREATED in _REQUEST_FAULT_REGISTRY.require_str(text)
    named = _REQUEST_FAULT_REGISTRY.parse(text.replace(_CREATED, "", 1))
    if named.name == "reset" and created:
        raise _REQUEST_FAULT_REGISTRY.error(
            "a request that is reset unread creates nothing"
        )
    return Fault(named.name, named.options, created or named.name in _SERVED)


@final
class Faults(FaultQueue[Fault]):
    """Queued request faults. Each request consumes the first one.

    With an empty queue, requests are served normally. ``+created`` at the end of a
    fault creates the order even though the request fails.

    Example:
        >>> sandbox.faults.push("503; retry-after=1", "reset-after-request+created")
    """

    def __init__(self) -> None:
        super().__init__(_REQUEST_FAULT_REGISTRY.noun, parse_fault)
