"""Fault injection: grammar, registry and queues of faults, and the faults of callbacks.

A registry contains one kind of fault: each has a name, options, and the function that
performs it, which is registered with them. A fault is ``name; option=value``.
`_fault_responses` has the faults of requests, and `docs/sandbox.md` the meanings.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, final

import attrs

from ..errors import InvalidRequestError, shown
from ._callbacks import ANY_KEY, SentCallback, has_callback_url, sign, to_json
from ._responses import notification

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._callbacks import CallbackKind, CallbackRequest, CallbackSender
    from ._models import SandboxOrder
    from ._storage import Storage

MEBIBYTE: Final = 1024 * 1024
_OK: Final = 200
_TEXT = re.compile(r"([a-z0-9-]+)\s*((?:;\s*[a-z-]+=[ -:<-~]*)*)", re.ASCII)
_NAMES: Final = ("aurpay_order_id", "public_key")
_SIGNED: Final = ("called", "registered")

#: The valid values of options, in words and as a function; the others take any string.
_VALID: Final[Mapping[str, tuple[str, Callable[[str], bool]]]] = {
    "seconds": ("0 to 3600", lambda value: 0 <= float(value) <= 3600),  # noqa: PLR2004
    "times": ("1 to 100", lambda value: 1 <= int(value) <= 100),  # noqa: PLR2004
    "name": (" or ".join(_NAMES), _NAMES.__contains__),
    "signed": (" or ".join(_SIGNED), _SIGNED.__contains__),
}

#: The function that performs a fault.
P = TypeVar("P")


@attrs.frozen
class FaultSpec(Generic[P]):
    """A fault with its options; in a registry, with their defaults."""

    name: str
    perform: P
    options: Mapping[str, str]
    #: Whether the request is served, because of ``+created`` or by the type of fault.
    serves: bool

    @property
    def seconds(self) -> float:
        return float(self.options["seconds"])

    @property
    def times(self) -> int:
        return int(self.options["times"])


class FaultRegistry(dict[str, FaultSpec[P]]):
    def __init__(self, noun: str, hint: str) -> None:
        """Begin without faults; ``{names}`` in `hint` stands for their names."""
        super().__init__()
        self.noun = noun
        self._hint = hint
        self._patterns: dict[re.Pattern[str], FaultSpec[P]] = {}

    def register(
        self,
        name: str | re.Pattern[str],
        options: Mapping[str, str] | None = None,
        *,
        serves: bool = False,
    ) -> Callable[[P], P]:
        """Register the decorated function for a name, or for all names of a pattern."""

        def add(perform: P) -> P:
            if isinstance(name, str):
                self[name] = FaultSpec(name, perform, options or {}, serves)
            else:
                self._patterns[name] = FaultSpec("", perform, options or {}, serves)
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
        matching = (spec for p, spec in self._patterns.items() if p.fullmatch(name))
        spec = self.get(name) or next(matching, None)
        if spec is None:
            raise self.error(f"there is no {self.noun} {shown(name)}")
        options = dict(spec.options)
        for item in listed.split(";")[1:]:
            option, _, value = (part.strip() for part in item.partition("="))
            if option not in options:
                known = f"it has: {', '.join(options) or 'none'}"
                raise self.error(f"{name} has no option {shown(option)}; {known}")
            if not _is_valid(option, value):
                valid = _VALID[option][0]
                raise self.error(f"{option} must be {valid}, got {shown(value)}")
            options[option] = value
        return attrs.evolve(spec, name=name, options=options)

    def error(self, problem: str) -> InvalidRequestError:
        hint = self._hint.format(names=", ".join(self))
        field = self.noun.replace(" ", "_")
        return InvalidRequestError(problem, field=field, hint=hint)


def _is_valid(option: str, value: str) -> bool:
    try:
        return option not in _VALID or _VALID[option][1](value)
    except ValueError:
        return False


class FaultQueue(Generic[P]):
    """Faults that are still to be injected, first in, first out."""

    def __init__(self, noun: str, parse: Callable[[str], FaultSpec[P]]) -> None:
        self._noun, self._parse = noun, parse
        self._queue: deque[tuple[str, FaultSpec[P]]] = deque()
        self._storage: Storage | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self))})"

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
        applies = self._queue and (
            (self._queue[0][1].name == BEFORE_ANSWER) is before_answer
        )
        return super().take() if applies else None


@attrs.frozen
class Delivery:
    sender: CallbackSender
    order: SandboxOrder
    kind: CallbackKind
    fault: CallbackFault

    def build(self, shift_s: float = 0) -> CallbackRequest:
        """Build the callback, dated now or `shift_s` seconds later."""
        return self.sender.build(self.order, self.kind, shift_s=shift_s)

    async def send(self, *callbacks: CallbackRequest) -> list[SentCallback]:
        return [await self.sender.send(callback) for callback in callbacks]

    async def pause(self) -> None:
        """Wait as long as the fault says, by the sandbox's clock."""
        await self.sender.settings.clock.sleep(self.fault.seconds)

    def build_pair(self) -> list[CallbackRequest]:
        """Build the order's other callback, if it has a URL for it, and this one."""
        other: CallbackKind = "timeout" if self.kind == "paid" else "paid"
        has_other = has_callback_url(self.order, other)
        first = [self.sender.build(self.order, other)] if has_other else []
        return [*first, self.build()]


@_fault("twice", {"times": "2"})
async def _twice(delivery: Delivery) -> list[SentCallback]:
    return await delivery.send(*[delivery.build()] * delivery.fault.times)


@_fault("retry", {"times": "5", "seconds": "1"})
async def _retry(delivery: Delivery) -> list[SentCallback]:
    sent = await delivery.send(delivery.build())
    while sent[-1].status != _OK and len(sent) < delivery.fault.times:
        await delivery.pause()
        sent += await delivery.send(delivery.build())
    return sent


@_fault("lost")
async def _lost(delivery: Delivery) -> list[SentCallback]:
    return [await delivery.sender.send(delivery.build(), is_lost=True)]


@_fault("late", {"seconds": "1"})
async def _late(delivery: Delivery) -> list[SentCallback]:
    callback = delivery.build()
    await delivery.pause()
    return await delivery.send(callback)


@_fault("stale", {"seconds": "600"})
async def _stale(delivery: Delivery) -> list[SentCallback]:
    return await delivery.send(delivery.build(-delivery.fault.seconds))


@_fault("future", {"seconds": "600"})
async def _future(delivery: Delivery) -> list[SentCallback]:
    return await delivery.send(delivery.build(delivery.fault.seconds))


def _tampering(name: str, changes: Callable[[CallbackRequest], dict[str, Any]]) -> None:
    """Register a fault that changes the request alone; the rest stays valid."""

    @_fault(name)
    async def send(delivery: Delivery) -> list[SentCallback]:
        callback = delivery.build()
        return await delivery.send(attrs.evolve(callback, **changes(callback)))


def _forged(callback: CallbackRequest) -> str:
    """Return a well-formed signature that was created with another secret."""
    return sign("not the secret", callback.date, callback.url)


def _with_parameter(url: str, parameter: str) -> str:
    page, separator, fragment = url.partition("#")
    mark = "&" if "?" in page else "?"
    return f"{page}{mark}{parameter}{separator}{fragment}"


_tampering("wrong-signature", lambda callback: {"signatures": (_forged(callback),)})
_tampering("wrong-token", lambda _: {"token": "not-the-token"})
_tampering("no-signature", lambda _: {"signatures": ()})
_tampering("duplicate-headers", lambda c: {"signatures": (*c.signatures, _forged(c))})
_tampering("wrong-url", lambda callback: {"url": _with_parameter(callback.url, "x=1")})


@_fault("added-parameter", {"name": "aurpay_order_id", "signed": "called"})
async def _added_parameter(delivery: Delivery) -> list[SentCallback]:
    callback, name = delivery.build(), delivery.fault.options["name"]
    # The dashboard's name for a merchant's API key is "Public Key".
    values = {"aurpay_order_id": callback.order.order_id}
    value = values.get(name, "sandbox-public-key")
    url = _with_parameter(callback.url, f"{name}={value}")
    called = attrs.evolve(callback, url=url)
    if delivery.fault.options["signed"] == "called":
        signature = sign(delivery.sender.settings.callback_secret, callback.date, url)
        called = attrs.evolve(called, signatures=(signature,))
    return await delivery.send(called)


def _other_order(callback: CallbackRequest) -> bytes:
    fields = notification(callback.order)
    fields["order_id"] = f"{callback.order.order_id[:-6]}999999"
    fields["amount"] = f"1{fields['amount']}"
    return to_json(fields)


def _post(
    body: Callable[[CallbackRequest], bytes],
) -> Callable[[CallbackRequest], dict[str, Any]]:
    return lambda callback: {"method": "POST", "body": body(callback)}


_tampering(
    "api-key-only", lambda c: {"api_key": c.api_key or ANY_KEY, "is_unsigned": True}
)
_tampering("unsigned-body", _post(_other_order))
_tampering("broken-body", _post(lambda _: b"order_id=1&status=SUCCESS"))
_tampering(
    "huge-body", _post(lambda c: to_json(notification(c.order)) + b" " * 2 * MEBIBYTE)
)
_tampering("wrong-method", lambda _: {"method": "PUT"})


@_fault("both")
async def _both(delivery: Delivery) -> list[SentCallback]:
    return await delivery.send(*delivery.build_pair())


@_fault("at-once")
async def _at_once(delivery: Delivery) -> list[SentCallback]:
    return await asyncio.gather(*map(delivery.sender.send, delivery.build_pair()))


@_fault(BEFORE_ANSWER)
async def _before_answer(delivery: Delivery) -> list[SentCallback]:
    # Only the moment is unusual: `pay_before_response` has chosen it.
    return await delivery.send(delivery.build())
