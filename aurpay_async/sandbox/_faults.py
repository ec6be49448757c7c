"""Fault injection: the grammar, the registry and the queues of faults.

A registry knows the names and options of one kind of fault, and rejects others with a
list of the names. A request fault is ``name; option=value; ...+created``.
`_fault_responses` sends the faulty responses, `_callbacks` the faulty callbacks.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast, final

import attrs

from ..errors import InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ._storage import Storage


_TEXT = re.compile(r"([a-z0-9-]+)\s*((?:;\s*[a-z-]+=[ -:<-~]*)*)", re.ASCII)

#: Options that are numbers: the type, and the smallest and largest value.
_NUMBERS: Final[Mapping[str, tuple[Callable[[str], float], int, int]]] = {
    "seconds": (float, 0, 3600),
    "times": (int, 1, 100),
}

#: Options with a fixed set of values.
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("aurpay_order_id", "public_key"),
    "signed": ("called", "registered"),
}


@attrs.frozen
class FaultType:
    """A fault of a registry: its meaning and options."""

    meaning: str
    #: The defaults by name.
    options: Mapping[str, str] = attrs.field(factory=dict[str, str])


@attrs.frozen
class FaultSpec:
    """A fault with its options."""

    name: str
    options: Mapping[str, str]

    @property
    def seconds(self) -> float:
        """Return the option `seconds`."""
        return float(self.options["seconds"])

    @property
    def times(self) -> int:
        """Return the option `times`."""
        return int(self.options["times"])


@attrs.frozen(kw_only=True)
class FaultRegistry:
    """The names and options of one kind of fault."""

    #: The kind, for messages and storage.
    noun: str
    #: Return the fault of a name, if there is one.
    find: Callable[[str], FaultType | None]
    #: The valid names, for messages.
    hint: str

    def require_str(self, text: object) -> str:
        """Return `text` if it is a `str`.

        Raises:
            InvalidRequestError: with the valid names.
        """
        if not isinstance(text, str):
            raise self.error(f"a {self.noun} is a str; got {shown(text)}")
        return text

    def parse(self, text: str) -> FaultSpec:
        """Parse a fault.

        Raises:
            InvalidRequestError: with the valid names.
        """
        match = _TEXT.fullmatch(self.require_str(text).strip())
        if match is None:
            raise self.error(f"not a {self.noun}: {shown(text)}")
        name, listed = match.groups()
        fault_type = self.find(name)
        if fault_type is None:
            raise self.error(f"there is no {self.noun} {shown(name)}")
        options = dict(fault_type.options)
        for item in listed.split(";")[1:]:
            option, _, value = (part.strip() for part in item.partition("="))
            if option not in options:
                known = ", ".join(options) or "none"
                raise self.error(
                    f"{name} has no option {shown(option)}; it has: {known}"
                )
            options[option] = value
        self._require_numbers(options)
        self._require_choices(options)
        return FaultSpec(name, options)

    def error(self, problem: str) -> InvalidRequestError:
        """Return the error for a problem, with the valid names."""
        return InvalidRequestError(
            problem, field=self.noun.replace(" ", "_"), hint=self.hint
        )

    def _require_numbers(self, options: Mapping[str, str]) -> None:
        for name in _NUMBERS.keys() & options.keys():
            convert, least, most = _NUMBERS[name]
            try:
                is_valid = least <= convert(options[name]) <= most
            except ValueError:
                is_valid = False
            if not is_valid:
                raise self.error(
                    f"{name} must be {least} to {most}, got {shown(options[name])}"
                )

    def _require_choices(self, options: Mapping[str, str]) -> None:
        for name in _CHOICES.keys() & options.keys():
            if options[name] not in _CHOICES[name]:
                known = " or ".join(_CHOICES[name])
                raise self.error(f"{name} must be {known}, got {shown(options[name])}")


M = TypeVar("M", bound=FaultSpec)


class FaultQueue(Generic[M]):
    """Faults that are still to be injected, first in, first out."""

    def __init__(self, noun: str, parse: Callable[[str], M]) -> None:
        self._noun = noun
        self._parse = parse
        self._queue: deque[tuple[str, M]] = deque()
        self._storage: Storage | None = None

    def push(self, *faults: str) -> None:
        """Add faults. If one is invalid, none is added.

        Args:
            faults: Faults as ``name; option=value``; the documentation lists them.

        Raises:
            InvalidRequestError: if a fault is invalid, with the valid names.
        """
        self._queue.extend([(text, self._parse(text)) for text in faults])
        self._write()

    def clear(self) -> None:
        """Remove all faults."""
        self._queue.clear()
        self._write()

    def take(self) -> M | None:
        """Remove and return the next fault, if there is one."""
        if not self._queue:
            return None
        _, fault = self._queue.popleft()
        self._write()
        return fault

    def attach(self, storage: Storage) -> None:
        """Put the stored faults first, and store each change from now on."""
        added = list(self)
        self._queue.clear()
        for _, stored in storage.read(self._noun):
            self.push(*cast("list[str]", stored))
        self._storage = storage
        self.push(*added)

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[str]:
        return iter([text for text, _ in self._queue])

    def _write(self) -> None:
        if self._storage is not None:
            self._storage.put(self._noun, "queue", list(self))


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


#: The fault that applies to the next created order instead of the next callback.
BEFORE_ANSWER: Final = "before-answer"

_TEN_MINUTES: Final = {"seconds": "600"}

CALLBACK_FAULTS: Final[Mapping[str, FaultType]] = {
    "twice": FaultType("sent several times, byte for byte the same", {"times": "2"}),
    "retry": FaultType(
        "signed and sent again after a pause, until the shop answers with HTTP 200",
        {"times": "5", "seconds": "1"},
    ),
    "lost": FaultType("not sent"),
    "late": FaultType("sent some time after it was signed", {"seconds": "1"}),
    "stale": FaultType("signed with a Date in the past", _TEN_MINUTES),
    "future": FaultType("signed with a Date in the future", _TEN_MINUTES),
    "wrong-signature": FaultType("signed with another secret"),
    "wrong-token": FaultType("with another Callback-Token, and a valid signature"),
    "no-signature": FaultType("without the Signature header"),
    "duplicate-headers": FaultType(
        "with two Signature headers, of which the first is valid"
    ),
    "wrong-url": FaultType("sent to the signed URL with `x=1` added to its query"),
    "added-parameter": FaultType(
        "sent with a parameter added to the query; the signature covers the called "
        "URL, or the registered one",
        {"name": "aurpay_order_id", "signed": "called"},
    ),
    "api-key-only": FaultType(
        "with an Api-Key instead of Callback-Token, Date and Signature"
    ),
    "unsigned-body": FaultType("a POST with another order and amount in its body"),
    "broken-body": FaultType("a POST with a body that is not JSON"),
    "huge-body": FaultType("a POST of 2 MiB"),
    "wrong-method": FaultType("a PUT"),
    "both": FaultType(
        "right after the order's other callback, both with valid signatures"
    ),
    "at-once": FaultType("at the same time as the order's other callback"),
    BEFORE_ANSWER: FaultType(
        "the next order is paid before its create call is answered"
    ),
}

_CALLBACK_FAULT_REGISTRY: Final = FaultRegistry(
    noun="callback fault",
    find=CALLBACK_FAULTS.get,
    hint=f"use one of {', '.join(CALLBACK_FAULTS)}",
)


@final
class CallbackFaults(FaultQueue[FaultSpec]):
    """Queued callback faults. Each callback consumes the first one.

    With an empty queue, callbacks are sent normally.

    Example:
        >>> sandbox.callback_faults.push("twice; times=3", "wrong-signature")
    """

    def __init__(self) -> None:
        super().__init__(_CALLBACK_FAULT_REGISTRY.noun, _CALLBACK_FAULT_REGISTRY.parse)

    def take(self, *, before_answer: bool = False) -> FaultSpec | None:
        """Remove and return the next fault, if it applies at this moment.

        Args:
            before_answer: Whether an order was created and is not answered yet.
        """
        if not self._queue:
            return None
        _, fault = self._queue[0]
        applies = (fault.name == BEFORE_ANSWER) is before_answer
        return super().take() if applies else None
