"""What the sandbox can do wrong, as data: names, and what they mean.

A fault is a text, ``name; option=value; ...+created``. The table below is the whole
vocabulary; `_wire` carries it out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

import attrs

from ._mishaps import Kind, Mishap, Queue, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS: Final = {"seconds": "1"}
_STATUS: Final = Kind(
    "this HTTP status, with a proxy's page",
    {"retry-after": "", "location": "", "html": "yes"},
)

#: A response queue that is shifted by one, as after a proxy that answers twice.
STALE: Final = "stale"
#: A response that belongs to another request, as from a proxy's cache.
REPLAYED: Final = "replayed"

#: The request is served as always, and only the answer travels oddly.
_SERVED: Final[Mapping[str, Kind]] = {
    "delay": Kind("the right answer, late", _SECONDS),
    "slow": Kind("the right answer, a byte at a time", _SECONDS),
    "gzip": Kind("the right answer, packed unasked"),
    "close-kept": Kind("the right answer; then the kept connection ends"),
    STALE: Kind(
        "the right answer; from then on, each request on the connection gets the "
        "answer to the one before it"
    ),
}

KINDS: Final[Mapping[str, Kind]] = {
    "reset": Kind("a reset before the request is read"),
    "reset-after-request": Kind("a reset after it was read"),
    "close-before-headers": Kind("closed after it was read, without a word"),
    "silence": Kind("no answer at all; the connection stays open"),
    "cut-headers": Kind("closed in the middle of the headers"),
    "endless-headers": Kind("headers without an end"),
    "cut-body": Kind("closed in the middle of the body"),
    "long-body": Kind("a Content-Length of more than comes; stays open"),
    "short-body": Kind("a Content-Length of less than comes"),
    "endless-body": Kind("a body without an end"),
    "huge-body": Kind("an answer of two mebibytes"),
    "broken-chunk": Kind("chunks whose length is no number"),
    "gzip-bomb": Kind("16 mebibytes, packed into 16 kibibytes"),
    "gzip-broken": Kind("packed, and cut"),
    "empty": Kind("no body"),
    "not-json": Kind("quotes that are none to JSON"),
    "cut-json": Kind("half of the JSON, whole to HTTP"),
    "nan": Kind("NaN for a number"),
    "duplicate-keys": Kind("a key twice"),
    "deep": Kind("2,000 lists inside each other"),
    "latin-1": Kind("another charset than UTF-8"),
    "html": Kind("HTTP 200 and a web page"),
    "redirect": Kind(
        "to another origin", {"status": "307", "location": "http://127.0.0.1:9/stolen"}
    ),
    REPLAYED: Kind("the answer to the previous request to the same endpoint"),
    **_SERVED,
}

_CREATED: Final = "+created"
#: 101 would make another protocol of the connection.
_STATUS_NAME = re.compile(r"10[023]|[2-5][0-9]{2}", re.ASCII)


def _find(name: str) -> Kind | None:
    return _STATUS if _STATUS_NAME.fullmatch(name) else KINDS.get(name)


_FAULTS: Final = Vocabulary(
    noun="fault",
    find=_find,
    hint=f"write an HTTP status or one of {', '.join(KINDS)}, each with or without "
    f"{_CREATED}",
)


@attrs.frozen
class Fault(Mishap):
    """One thing to do wrong with one request."""

    #: Whether the request is served: with its ``+created``, or of a kind that is.
    serves: bool


def parse(text: str) -> Fault:
    """The fault that a text names.

    Raises:
        InvalidRequestError: with the names that there are.
    """
    created = _CREATED in _FAULTS.require_text(text)
    named = _FAULTS.read(text.replace(_CREATED, "", 1))
    if named.name == "reset" and created:
        raise _FAULTS.refuse("what is reset before it is read creates nothing")
    return Fault(named.name, named.options, created or named.name in _SERVED)


@final
class Faults(Queue[Fault]):
    """Faults to come: each request takes the first one, and works if there is none.

    With ``+created`` at a fault's end, the order is made all the same.

    Example:
        >>> sandbox.faults.push("503; retry-after=1", "reset-after-request+created")

    .. versionadded:: 0.1.0
    """

    def __init__(self) -> None:
        super().__init__(_FAULTS.noun, parse)
