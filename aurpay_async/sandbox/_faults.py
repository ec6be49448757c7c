"""What the sandbox can do wrong, as data: names, their meaning, and a queue of them.

A fault is a text, ``name; option=value; ...+created``. The table below is the whole
vocabulary; `_wire` carries it out.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, final

import attrs

from ..errors import InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kind(NamedTuple):
    """A row of the vocabulary."""

    meaning: str
    #: What may be set, with its default.
    options: dict[str, str] = {}  # noqa: RUF012 - a table; nobody writes into it
    #: Whether the request is served as always, and only the answer travels oddly.
    serves: bool = False


_SECONDS: Final = {"seconds": "1"}
_STATUS: Final = Kind(
    "this HTTP status, with a proxy's page",
    {"retry-after": "", "location": "", "html": "yes"},
)

KINDS: Final[dict[str, Kind]] = {
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
    "delay": Kind("the right answer, late", _SECONDS, serves=True),
    "slow": Kind("the right answer, a byte at a time", _SECONDS, serves=True),
    "gzip": Kind("the right answer, packed unasked", serves=True),
    "close-kept": Kind("the right answer; then the kept connection ends", serves=True),
    "stale": Kind("the right answer, and another one unasked", serves=True),
}

_CREATED: Final = "+created"
_HOUR_S: Final = 3600
_FAULT = re.compile(r"([a-z0-9-]+)\s*((?:;\s*[a-z-]+=[ -:<-~]*)*)", re.ASCII)
#: 101 would make another protocol of the connection.
_STATUS_NAME = re.compile(r"10[023]|[2-5][0-9]{2}", re.ASCII)


@attrs.frozen
class Fault:
    """One thing to do wrong."""

    name: str
    options: dict[str, str]
    #: Whether the request is served: with its ``+created``, or of a kind that is.
    serves: bool

    @property
    def seconds(self) -> float:
        """The option of this name."""
        return float(self.options["seconds"])


def parse(text: str) -> Fault:
    """The fault that a text names.

    Raises:
        InvalidRequestError: with the names that there are.
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _refuse(f"a fault is a text, not {shown(text)}")
    serves = _CREATED in text
    match = _FAULT.fullmatch(text.replace(_CREATED, "", 1).strip())
    if match is None:
        raise _refuse(f"not a fault: {shown(text)}")
    name, listed = match.groups()
    kind = _STATUS if _STATUS_NAME.fullmatch(name) else KINDS.get(name)
    if kind is None:
        raise _refuse(f"there is no fault {shown(name)}")
    if name == "reset" and serves:
        raise _refuse("what is reset before it is read creates nothing")
    options = dict(kind.options)
    for item in listed.split(";")[1:]:
        option, _, value = item.partition("=")
        if option.strip() not in options:
            known = ", ".join(options) or "none"
            raise _refuse(f"{name} has no option {shown(option.strip())}, but {known}")
        options[option.strip()] = value.strip()
    _require_seconds(options)
    return Fault(name, options, serves or kind.serves)


def _require_seconds(options: dict[str, str]) -> None:
    try:
        right = 0 <= float(options.get("seconds", "0")) <= _HOUR_S
    except ValueError:
        right = False
    if not right:
        raise _refuse(f"seconds must be 0 to 3600, got {shown(options['seconds'])}")


def _refuse(problem: str) -> InvalidRequestError:
    names = ", ".join(KINDS)
    return InvalidRequestError(
        problem,
        field="fault",
        hint=f"write an HTTP status or one of {names}, each also with {_CREATED}",
    )


@final
class Faults:
    """Faults to come: each request takes the first one, and works if there is none.

    Example:
        >>> sandbox.faults.push("503; retry-after=1", "reset-after-request+created")

    .. versionadded:: 0.1.0
    """

    def __init__(self) -> None:
        self._queue: deque[tuple[str, Fault]] = deque()

    def push(self, *faults: str) -> None:
        """Add faults, all or none.

        Args:
            faults: ``name; option=value+created``; see the documentation's table.
                With ``+created`` the order is made all the same.

        Raises:
            InvalidRequestError: if there is no such fault, with those that there are.
        """
        self._queue.extend([(text, parse(text)) for text in faults])

    def clear(self) -> None:
        """Drop what is left."""
        self._queue.clear()

    def take(self) -> Fault | None:
        """The next one, which is used up."""
        return self._queue.popleft()[1] if self._queue else None

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[str]:
        return iter([text for text, _ in self._queue])
