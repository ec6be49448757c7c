"""Fault injection: grammar, registry and queues of faults, and the faults of callbacks.

A registry contains one kind of fault: each has a name, a meaning, options, and the
function that performs it, which is registered with them. `_fault_responses` has the
faults of requests. A fault is ``name; option=value``.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, final

import attrs

from ..errors import InvalidRequestError, shown
from ._callbacks import (
    ANY_KEY,
    SentCallback,
    has_callback_url,
    sign,
    to_json,
)
from ._responses import notification

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._callbacks import CallbackKind, CallbackRequest, CallbackSender
    from ._models import SandboxOrder
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

#: The function that performs a fault.
P = TypeVar("P")


@attrs.frozen
class FaultType(Generic[P]):
    meaning: str
    perform: P
    #: The defaults by name.
    options: Mapping[str, str]
    #: Whether the request is served; only the transport of its response is faulty.
    serves: bool


@attrs.frozen
class FaultSpec(Generic[P]):
    """A fault with its options."""

    name: str
    perform: P
    options: Mapping[str, str]
    #: Whether the request is served, because of ``+created`` or by the type of fault.
    serves: bool
    #: The options that are numbers; 0 for a fault without them.
    seconds: float
    times: int


class FaultRegistry(dict[str, FaultType[P]]):
    """The faults of one kind, by name."""

    def __init__(self, noun: str, hint: str) -> None:
        """Begin without faults; ``{names}`` in `hint` stands for their names."""
        super().__init__()
        self.noun = noun
        self._hint = hint
        self._patterns: dict[re.Pattern[str], FaultType[P]] = {}

    def register(
        self,
        name: str | re.Pattern[str],
        meaning: str,
        options: Mapping[str, str] | None = None,
        *,
        serves: bool = False,
    ) -> Callable[[P], P]:
        """Register the decorated function for a name, or for all names of a pattern."""

        def add(perform: P) -> P:
            fault_type = FaultType(meaning, perform, options or {}, serves)
            if isinstance(name, str):
                self[name] = fault_type
            else:
                self._patterns[name] = fault_type
            return perform

        return add

    def require_str(self, text: object) -> str:
        if not isinstance(text, str):
            raise self.error(f"a {self.noun} is a str; got {shown(text)}")
        return text

    def parse(self, text: str) -> FaultSpec[P]:
        match = _TEXT.fullmatch(self.require_str(text).strip())
        if match is None:
            raise self.error(f"not a {self.noun}: {shown(text)}")
        name, listed = match.groups()
        matching = (t for p, t in self._patterns.items() if p.fullmatch(name))
        fault_type = self.get(name) or next(matching, None)
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
        for option in _CHOICES.keys() & options.keys():
            if options[option] not in _CHOICES[option]:
                raise self._option_error(option, " or ".join(_CHOICES[option]), options)
        return FaultSpec(
            name,
            fault_type.perform,
            options,
            fault_type.serves,
            seconds=self._number("seconds", options),
            times=int(self._number("times", options)),
        )

    def error(self, problem: str) -> InvalidRequestError:
        """Return the error for a problem, with the valid names."""
        hint = self._hint.format(names=", ".join(self))
        return InvalidRequestError(
            problem, field=self.noun.replace(" ", "_"), hint=hint
        )

    def _option_error(
        self, option: str, valid: str, options: Mapping[str, str]
    ) -> InvalidRequestError:
        return self.error(f"{option} must be {valid}, got {shown(options[option])}")

    def _number(self, option: str, options: Mapping[str, str]) -> float:
        if option not in options:
            return 0
        convert, least, most = _NUMBERS[option]
        try:
            number = convert(options[option])
        except ValueError:
            number = -1
        if not least <= number <= most:
            raise self._option_error(option, f"{least} to {most}", options)
        return number


class FaultQueue(Generic[P]):
    """Faults that are still to be injected, first in, first out."""

    def __init__(self, noun: str, parse: Callable[[str], FaultSpec[P]]) -> None:
        self._noun = noun
        self._parse = parse
        self._queue: deque[tuple[str, FaultSpec[P]]] = deque()
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

    def take(self) -> FaultSpec[P] | None:
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


#: The dashboard's name for a merchant's API key is "Public Key".
_PUBLIC_KEY: Final = "sandbox-public-key"

_MEBIBYTE: Final = 1024 * 1024

_OK: Final = 200


#: Deliver a callback, and return each attempt.
Deliver = Callable[["Delivery"], Awaitable[list[SentCallback]]]

CallbackFault = FaultSpec[Deliver]

#: All faults of callbacks.
CALLBACK_FAULTS: Final[FaultRegistry[Deliver]] = FaultRegistry(
    "callback fault", "use one of {names}"
)

_fault = CALLBACK_FAULTS.register

#: The fault that applies to the next created order instead of the next callback.
BEFORE_ANSWER: Final = "before-answer"


@final
class CallbackFaults(FaultQueue[Deliver]):
    """Queued callback faults. Each callback consumes the first one.

    With an empty queue, callbacks are sent normally.

    Example:
        >>> sandbox.callback_faults.push("twice; times=3", "wrong-signature")
    """

    def __init__(self) -> None:
        super().__init__(CALLBACK_FAULTS.noun, CALLBACK_FAULTS.parse)

    def take(self, *, before_answer: bool = False) -> CallbackFault | None:
        """Remove and return the next fault, if it applies at this moment.

        Args:
            before_answer: Whether an order was created and is not answered yet.
        """
        if not self._queue:
            return None
        _, fault = self._queue[0]
        applies = (fault.name == BEFORE_ANSWER) is before_answer
        return super().take() if applies else None


@attrs.frozen
class Delivery:
    """A callback that is delivered with a fault."""

    sender: CallbackSender
    order: SandboxOrder
    kind: CallbackKind
    fault: CallbackFault

    def build(self, shift_s: float = 0) -> CallbackRequest:
        """Build the callback, dated now or `shift_s` seconds later."""
        return self.sender.build(self.order, self.kind, shift_s=shift_s)

    async def send(self, callback: CallbackRequest | None = None) -> SentCallback:
        """Send the callback once; ``None`` builds it now."""
        return await self.sender.send(callback or self.build())

    async def pause(self) -> None:
        """Wait as long as the fault says, by the sandbox's clock."""
        await self.sender.clock.sleep(self.fault.seconds)

    def build_pair(self) -> list[CallbackRequest]:
        """Build the order's other callback, if it has a URL for it, and this one."""
        other: CallbackKind = "timeout" if self.kind == "paid" else "paid"
        has_other = has_callback_url(self.order, other)
        first = [self.sender.build(self.order, other)] if has_other else []
        return [*first, self.build()]


@_fault("twice", "sent several times, byte for byte the same", {"times": "2"})
async def _twice(delivery: Delivery) -> list[SentCallback]:
    callback = delivery.build()
    return [await delivery.send(callback) for _ in range(delivery.fault.times)]


@_fault(
    "retry",
    "signed and sent again after a pause, until the shop answers with HTTP 200",
    {"times": "5", "seconds": "1"},
)
async def _retry(delivery: Delivery) -> list[SentCallback]:
    sent = [await delivery.send()]
    while sent[-1].status != _OK and len(sent) < delivery.fault.times:
        await delivery.pause()
        sent.append(await delivery.send())
    return sent


@_fault("lost", "not sent")
async def _lost(delivery: Delivery) -> list[SentCallback]:
    return [await delivery.sender.send(delivery.build(), is_lost=True)]


@_fault("late", "sent some time after it was signed", {"seconds": "1"})
async def _late(delivery: Delivery) -> list[SentCallback]:
    callback = delivery.build()
    await delivery.pause()
    return [await delivery.send(callback)]


@_fault("stale", "signed with a Date in the past", {"seconds": "600"})
async def _stale(delivery: Delivery) -> list[SentCallback]:
    return [await delivery.send(delivery.build(-delivery.fault.seconds))]


@_fault("future", "signed with a Date in the future", {"seconds": "600"})
async def _future(delivery: Delivery) -> list[SentCallback]:
    return [await delivery.send(delivery.build(delivery.fault.seconds))]


def _tampering(
    name: str, meaning: str, changes: Callable[[CallbackRequest], dict[str, Any]]
) -> None:
    """Register a fault that changes the request alone; the rest stays valid."""

    @_fault(name, meaning)
    async def send(delivery: Delivery) -> list[SentCallback]:
        callback = delivery.build()
        return [await delivery.send(attrs.evolve(callback, **changes(callback)))]


def _forged(callback: CallbackRequest) -> str:
    """Return a well-formed signature that was created with another secret."""
    return sign("not the secret", callback.date, callback.url)


def _with_parameter(url: str, parameter: str) -> str:
    page, separator, fragment = url.partition("#")
    mark = "&" if "?" in page else "?"
    return f"{page}{mark}{parameter}{separator}{fragment}"


_tampering(
    "wrong-signature",
    "signed with another secret",
    lambda callback: {"signatures": (_forged(callback),)},
)
_tampering(
    "wrong-token",
    "with another Callback-Token, and a valid signature",
    lambda _: {"token": "not-the-token"},
)
_tampering("no-signature", "without the Signature header", lambda _: {"signatures": ()})
_tampering(
    "duplicate-headers",
    "with two Signature headers, of which the first is valid",
    lambda callback: {"signatures": (*callback.signatures, _forged(callback))},
)
_tampering(
    "wrong-url",
    "sent to the signed URL with `x=1` added to its query",
    lambda callback: {"url": _with_parameter(callback.url, "x=1")},
)


@_fault(
    "added-parameter",
    "sent with a parameter added to the query; the signature covers the called "
    "URL, or the registered one",
    {"name": "aurpay_order_id", "signed": "called"},
)
async def _added_parameter(delivery: Delivery) -> list[SentCallback]:
    callback, options = delivery.build(), delivery.fault.options
    name = options["name"]
    value = callback.order.order_id if name == "aurpay_order_id" else _PUBLIC_KEY
    url = _with_parameter(callback.url, f"{name}={value}")
    called = attrs.evolve(callback, url=url)
    if options["signed"] == "called":
        signature = sign(delivery.sender.secret, callback.date, url)
        called = attrs.evolve(called, signatures=(signature,))
    return [await delivery.send(called)]


def _other_order(callback: CallbackRequest) -> bytes:
    fields = notification(callback.order)
    fields["order_id"] = f"{callback.order.order_id[:-6]}999999"
    fields["amount"] = f"1{fields['amount']}"
    return to_json(fields)


def _huge(callback: CallbackRequest) -> bytes:
    return to_json(notification(callback.order)) + b" " * 2 * _MEBIBYTE


_tampering(
    "api-key-only",
    "with an Api-Key instead of Callback-Token, Date and Signature",
    lambda callback: {"api_key": callback.api_key or ANY_KEY, "is_unsigned": True},
)
_tampering(
    "unsigned-body",
    "a POST with another order and amount in its body",
    lambda callback: {"method": "POST", "body": _other_order(callback)},
)
_tampering(
    "broken-body",
    "a POST with a body that is not JSON",
    lambda _: {"method": "POST", "body": b"order_id=1&status=SUCCESS"},
)
_tampering(
    "huge-body",
    "a POST of 2 MiB",
    lambda callback: {"method": "POST", "body": _huge(callback)},
)
_tampering("wrong-method", "a PUT", lambda _: {"method": "PUT"})


@_fault("both", "right after the order's other callback, both with valid signatures")
async def _both(delivery: Delivery) -> list[SentCallback]:
    return [await delivery.send(callback) for callback in delivery.build_pair()]


@_fault("at-once", "at the same time as the order's other callback")
async def _at_once(delivery: Delivery) -> list[SentCallback]:
    return await asyncio.gather(*map(delivery.send, delivery.build_pair()))


@_fault(BEFORE_ANSWER, "the next order is paid before its create call is answered")
async def _before_answer(delivery: Delivery) -> list[SentCallback]:
    # Only the moment is unusual: `pay_before_response` has chosen it.
    return [await delivery.send()]
