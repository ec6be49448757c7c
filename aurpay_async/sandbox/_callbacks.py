"""Build, sign, tamper with and send callbacks.

Callbacks are built from Aurpay's pages alone. This module shares no code with the
verifier, so the two cannot make the same mistake and agree.

The shop is on this machine, or at a host that was allowed by name, or an ASGI
application in this process (source: the ASGI specification, "HTTP & WebSocket ASGI
Message Format" 2.4). Proxy settings of the environment are ignored: a callback goes to
the URL that was registered.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from datetime import timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, Literal, final
from urllib.parse import unquote

import aiohttp
import attrs
from yarl import URL

from .._core.urls import UrlError, parse_origin
from ._faults import BEFORE_ANSWER
from ._responses import notification

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from aiohttp import ClientHandlerType

    from .._core.clock import Clock
    from .._core.urls import Origin
    from ._faults import FaultSpec
    from ._ledger import SandboxOrder, StatusChange
    from ._settings import HostPolicy, Settings
    from ._simulator import Simulator

    #: Deliver a callback with a fault, and return each attempt.
    FaultyDelivery = Callable[
        ["CallbackSender", SandboxOrder, "CallbackKind", FaultSpec],
        Awaitable[list["SentCallback"]],
    ]


Message = MutableMapping[str, Any]

#: An application of Starlette, FastAPI, Litestar, Quart or Django.
AsgiApp = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

#: The two events of which Aurpay sends callbacks.
CallbackKind = Literal["paid", "timeout"]

#: The order's URL that is called, and the status of the order in the body.
_FIELDS: Final[Mapping[CallbackKind, str]] = {
    "paid": "callback_url",
    "timeout": "timeout_callback",
}

_STATUSES: Final[Mapping[CallbackKind, str]] = {"paid": "SUCCESS", "timeout": "OVERDUE"}

_MEBIBYTE: Final = 1024 * 1024

#: The API key of a sandbox that requires none.
ANY_KEY: Final = "sandbox-api-key"

#: The dashboard's name for a merchant's API key is "Public Key".
_PUBLIC_KEY: Final = "sandbox-public-key"


@attrs.frozen(kw_only=True)
class CallbackRequest:
    """A callback before it is sent."""

    order: SandboxOrder
    kind: CallbackKind
    method: str
    url: str
    token: str = attrs.field(repr=False)
    #: The key that the order was created with, if the callback carries it.
    api_key: str | None = attrs.field(default=None, repr=False)
    date: str
    #: One, unless a fault removed it or added another.
    signatures: tuple[str, ...] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    #: Whether token, date and signatures are left out.
    is_unsigned: bool = False

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return Aurpay's headers; the HTTP client adds HTTP's own."""
        key = () if self.api_key is None else (("Api-Key", self.api_key),)
        signatures = (("Signature", signature) for signature in self.signatures)
        content = (("Content-Type", "application/json"),) if self.body else ()
        if self.is_unsigned:
            return (*key, *content)
        return (
            *key,
            ("Callback-Token", self.token),
            ("Date", self.date),
            *signatures,
            *content,
        )


def build_callback(
    order: SandboxOrder,
    kind: CallbackKind,
    at: datetime,
    *,
    token: str,
    secret: str,
    post: bool,
) -> CallbackRequest:
    """Build the signed callback of an order that has a URL for it.

    Args:
        order: The order, in any status.
        kind: The event that the callback reports.
        at: The time of the Date header.
        token: The value of the Callback-Token header.
        secret: The secret of the signature.
        post: Whether it is a ``POST`` with the order in the body. An order can ask for
            that itself.
    """
    url = order.urls[_FIELDS[kind]]
    date = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    order = attrs.evolve(order, status=_STATUSES[kind])
    post = post or order.post_callbacks
    return CallbackRequest(
        order=order,
        kind=kind,
        method="POST" if post else "GET",
        url=url,
        token=token,
        api_key=order.api_key,
        date=date,
        signatures=(sign(secret, date, url),),
        body=_json(notification(order)) if post else b"",
    )


def add_parameter(
    callback: CallbackRequest, fault: FaultSpec, secret: str
) -> CallbackRequest:
    """Append a parameter to the URL as Aurpay does; sign the new URL or the old one."""
    name = fault.options["name"]
    value = callback.order.order_id if name == "aurpay_order_id" else _PUBLIC_KEY
    url = _with_parameter(callback.url, f"{name}={value}")
    if fault.options["signed"] == "registered":
        return attrs.evolve(callback, url=url)
    signatures = (sign(secret, callback.date, url),)
    return attrs.evolve(callback, url=url, signatures=signatures)


def has_callback_url(order: SandboxOrder, kind: CallbackKind) -> bool:
    """Return whether the order has a URL for this kind of callback."""
    return _FIELDS[kind] in order.urls


def sign(secret: str, date: str, url: str) -> str:
    """Sign ``{date} | {callback_url}`` with HMAC-SHA256, as Aurpay documents it."""
    # A URL that was sent as JSON can contain a lone surrogate.
    text = f"{date} | {url}".encode("utf-8", "surrogatepass")
    return b64encode(hmac.digest(secret.encode(), text, "sha256")).decode()


def _json(fields: dict[str, object]) -> bytes:
    return json.dumps(fields).encode()


def _forged(callback: CallbackRequest) -> str:
    """Return a well-formed signature that was created with another secret."""
    return sign("not the secret", callback.date, callback.url)


def _wrong_signature(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, signatures=(_forged(callback),))


def _wrong_token(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, token="not-the-token")  # noqa: S106 - made up


def _no_signature(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, signatures=())


def _duplicate_headers(callback: CallbackRequest) -> CallbackRequest:
    signatures = (*callback.signatures, _forged(callback))
    return attrs.evolve(callback, signatures=signatures)


def _wrong_url(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, url=_with_parameter(callback.url, "x=1"))


def _with_parameter(url: str, parameter: str) -> str:
    page, separator, fragment = url.partition("#")
    mark = "&" if "?" in page else "?"
    return f"{page}{mark}{parameter}{separator}{fragment}"


def _api_key_only(callback: CallbackRequest) -> CallbackRequest:
    key = callback.api_key or ANY_KEY
    return attrs.evolve(callback, api_key=key, is_unsigned=True)


def _unsigned_body(callback: CallbackRequest) -> CallbackRequest:
    fields = notification(callback.order)
    fields["order_id"] = f"{callback.order.order_id[:-6]}999999"
    fields["amount"] = f"1{fields['amount']}"
    return attrs.evolve(callback, method="POST", body=_json(fields))


def _broken_body(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, method="POST", body=b"order_id=1&status=SUCCESS")


def _huge_body(callback: CallbackRequest) -> CallbackRequest:
    body = _json(notification(callback.order)) + b" " * 2 * _MEBIBYTE
    return attrs.evolve(callback, method="POST", body=body)


def _wrong_method(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, method="PUT")


#: The faults that change the request itself. Each changes one thing; the signature of
#: the others stays valid.
TAMPERED: Final[Mapping[str, Callable[[CallbackRequest], CallbackRequest]]] = {
    "wrong-signature": _wrong_signature,
    "wrong-token": _wrong_token,
    "no-signature": _no_signature,
    "duplicate-headers": _duplicate_headers,
    "wrong-url": _wrong_url,
    "api-key-only": _api_key_only,
    "unsigned-body": _unsigned_body,
    "broken-body": _broken_body,
    "huge-body": _huge_body,
    "wrong-method": _wrong_method,
}

_OTHER: Final[Mapping[CallbackKind, CallbackKind]] = {
    "paid": "timeout",
    "timeout": "paid",
}

_OK: Final = 200


async def deliver(
    sender: CallbackSender,
    order: SandboxOrder,
    kind: CallbackKind,
    fault: FaultSpec | None,
) -> list[SentCallback]:
    """Deliver a callback with this fault, or normally, and return each attempt."""
    if fault is None:
        return [await sender.send(sender.build(order, kind))]
    if fault.name in TAMPERED:
        tamper = TAMPERED[fault.name]
        return [await sender.send(tamper(sender.build(order, kind)))]
    return await _FAULTY_DELIVERIES[fault.name](sender, order, kind, fault)


async def _twice(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, fault: FaultSpec
) -> list[SentCallback]:
    callback = sender.build(order, kind)
    return [await sender.send(callback) for _ in range(fault.times)]


async def _retry(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, fault: FaultSpec
) -> list[SentCallback]:
    sent = [await sender.send(sender.build(order, kind))]
    while sent[-1].status != _OK and len(sent) < fault.times:
        await sender.clock.sleep(fault.seconds)
        sent.append(await sender.send(sender.build(order, kind)))
    return sent


async def _lost(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, _: FaultSpec
) -> list[SentCallback]:
    return [sender.record_lost(sender.build(order, kind))]


async def _late(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, fault: FaultSpec
) -> list[SentCallback]:
    callback = sender.build(order, kind)
    await sender.clock.sleep(fault.seconds)
    return [await sender.send(callback)]


async def _stale(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, fault: FaultSpec
) -> list[SentCallback]:
    return [await sender.send(sender.build(order, kind, shift_s=-fault.seconds))]


async def _future(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, fault: FaultSpec
) -> list[SentCallback]:
    return [await sender.send(sender.build(order, kind, shift_s=fault.seconds))]


async def _added_parameter(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, fault: FaultSpec
) -> list[SentCallback]:
    callback = add_parameter(sender.build(order, kind), fault, sender.secret)
    return [await sender.send(callback)]


async def _both(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, _: FaultSpec
) -> list[SentCallback]:
    return [await sender.send(callback) for callback in _pair(sender, order, kind)]


async def _at_once(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, _: FaultSpec
) -> list[SentCallback]:
    return await asyncio.gather(*map(sender.send, _pair(sender, order, kind)))


async def _before_answer(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, _: FaultSpec
) -> list[SentCallback]:
    # Only the moment is unusual: `pay_before_response` has chosen it.
    return await deliver(sender, order, kind, None)


def _pair(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind
) -> list[CallbackRequest]:
    """Build the order's other callback, if it has a URL for it, and this one."""
    other = _OTHER[kind]
    kinds: list[CallbackKind] = (
        [other, kind] if has_callback_url(order, other) else [kind]
    )
    return [sender.build(order, each) for each in kinds]


_FAULTY_DELIVERIES: Final[Mapping[str, FaultyDelivery]] = {
    "twice": _twice,
    "retry": _retry,
    "lost": _lost,
    "late": _late,
    "stale": _stale,
    "future": _future,
    "added-parameter": _added_parameter,
    "both": _both,
    "at-once": _at_once,
    BEFORE_ANSWER: _before_answer,
}

#: Aurpay's own timeout for callbacks is not known.
_TIMEOUT_S: Final = 10

#: Only the status of a response is used; this much of its body is read.
_MAX_RESPONSE: Final = 64 * 1024

#: Path and query as a request line can carry them, byte for byte as they were signed.
_TARGET = re.compile(r"https?://[^/?#]*([^\x00-\x20\x7f\ud800-\udfff#]*)(?:#.*)?")


@attrs.frozen(kw_only=True)
class SentCallback:
    """One attempt to deliver a callback."""

    order_id: str
    #: ``paid`` or ``timeout``.
    kind: CallbackKind
    method: str
    url: str
    #: Names and values as sent, without HTTP's own; a name may occur twice.
    headers: tuple[tuple[str, str], ...] = attrs.field(
        repr=lambda headers: repr([name for name, _ in headers])
    )
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")
    #: The HTTP status of the shop's response, if one was received.
    status: int | None
    #: Why the callback was not sent, or how the attempt failed.
    error: str | None
    #: Aware, UTC.
    sent_at: datetime


class _NotSentError(Exception):
    """Raised with the reason why a callback must not be sent."""


class CallbackSender:
    """Send callbacks. A failed attempt is recorded, and raises nothing."""

    def __init__(
        self,
        settings: Settings,
        sent: list[SentCallback],
        report: Callable[[SentCallback], None],
    ) -> None:
        self.clock: Clock = settings.clock
        self.secret = settings.callback_secret
        self._token = settings.callback_token
        self._post = settings.post_callbacks
        self._host_policy: HostPolicy = settings.host_policy
        self._sent = sent
        self._report = report
        self._is_open = False
        self._own_port = 0
        self._session: aiohttp.ClientSession | None = None
        self._apps: dict[Origin, AsgiApp] = {}

    def deliver_to(self, app: AsgiApp, origin: Origin) -> None:
        """Deliver callbacks to `origin` into an application of this process."""
        self._apps[origin] = app

    def open(self, own_port: int) -> None:
        """Send from now on, but never to the sandbox itself, which uses this port."""
        self._own_port = own_port
        self._is_open = True

    async def close(self) -> None:
        """Send nothing more; requests in flight are aborted."""
        self._is_open = False
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def build(
        self, order: SandboxOrder, kind: CallbackKind, *, shift_s: float = 0
    ) -> CallbackRequest:
        """Build the callback of an order, dated now or `shift_s` seconds later."""
        return build_callback(
            order,
            kind,
            self.clock.now() + timedelta(seconds=shift_s),
            token=self._token,
            secret=self.secret,
            post=self._post,
        )

    async def send(self, callback: CallbackRequest) -> SentCallback:
        """Send a callback once, and record the attempt."""
        sent_at = self.clock.now()
        status, error = await self._attempt(callback)
        return self._record(callback, status, error, sent_at)

    def record_lost(self, callback: CallbackRequest) -> SentCallback:
        """Record a callback without sending it."""
        return self._record(callback, None, "not sent: lost", self.clock.now())

    def _record(
        self,
        callback: CallbackRequest,
        status: int | None,
        error: str | None,
        sent_at: datetime,
    ) -> SentCallback:
        sent = SentCallback(
            order_id=callback.order.order_id,
            kind=callback.kind,
            method=callback.method,
            url=callback.url,
            headers=callback.headers,
            body=callback.body,
            status=status,
            error=error,
            sent_at=sent_at,
        )
        self._sent.append(sent)
        self._report(sent)
        return sent

    async def _attempt(
        self, callback: CallbackRequest
    ) -> tuple[int | None, str | None]:
        origin = _origin(callback.url)
        if self._is_open and origin in self._apps:
            return await call_app(self._apps[origin], origin, callback)
        status = None
        try:
            async with self._open_session().request(
                callback.method,
                self._target(callback.url),
                headers=callback.headers,
                # aiohttp warns of large bodies that are bytes.
                data=BytesIO(callback.body) if callback.body else None,
                allow_redirects=False,
            ) as response:
                status = response.status
                with suppress(asyncio.IncompleteReadError):
                    await response.content.readexactly(_MAX_RESPONSE)
        except _NotSentError as error:
            return None, f"not sent: {error}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return status, f"{type(error).__name__}: {error}"
        return status, None

    def _target(self, url: str) -> URL:
        """Return the URL if its host is allowed and it can be sent as it is written."""
        try:
            target = URL(url, encoded=True)
            # yarl parses host and port only when they are read.
            host, port = target.host or "", target.port
        except ValueError:
            raise _NotSentError("not a URL") from None
        if not self._host_policy.allows_callback_to(host):
            raise _NotSentError("not on this machine")
        if self._host_policy.is_own_address(host, port, self._own_port):
            raise _NotSentError("the sandbox sends no callback to itself")
        match = _TARGET.fullmatch(url)
        if match is None or target.raw_path_qs not in {match[1], f"/{match[1]}"}:
            raise _NotSentError("cannot be sent as it is written")
        return target

    def _open_session(self) -> aiohttp.ClientSession:
        if not self._is_open:
            raise _NotSentError("the sandbox is closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # No reuse: an idle connection could be closed between two callbacks.
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
                trust_env=False,
                auto_decompress=False,
                middlewares=(send_once,),
            )
        return self._session


def _origin(url: str) -> Origin | None:
    with suppress(UrlError):
        return parse_origin(url)
    return None


async def send_once(
    request: aiohttp.ClientRequest, send: ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request once; aiohttp would repeat a GET when its connection breaks."""
    try:
        return await send(request)
    except aiohttp.ClientConnectionError as error:
        # aiohttp repeats on subclasses that mean a broken connection, not on the class.
        raise aiohttp.ClientConnectionError(f"{error}") from error


_PATH_AND_QUERY = re.compile(r"https?://[^/?#]*([^?#]*)\??([^#]*)", re.IGNORECASE)


@final
class _Exchange:
    """One request to an application, and the status of its response."""

    def __init__(self, body: bytes) -> None:
        self._requests: list[Message] = [
            {"type": "http.request", "body": body, "more_body": False}
        ]
        self._is_answered = asyncio.Event()
        self.status: int | None = None

    async def receive(self) -> Message:
        if self._requests:
            return self._requests.pop()
        await self._is_answered.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not message.get("more_body", False):
            self._is_answered.set()


async def call_app(
    app: AsgiApp, origin: Origin, callback: CallbackRequest
) -> tuple[int | None, str | None]:
    """Return the status of the response, and the exception of the application."""
    exchange = _Exchange(callback.body)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await app(_scope(origin, callback), exchange.receive, exchange.send)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # the sandbox's caller is cancelled
            raise
        return exchange.status, "CancelledError: "
    except Exception as error:  # noqa: BLE001 - recorded
        return exchange.status, f"{type(error).__name__}: {error}"
    return exchange.status, None


def _scope(origin: Origin, callback: CallbackRequest) -> Message:
    scheme, host, port = origin
    match = _PATH_AND_QUERY.match(callback.url)
    path, query = match.groups() if match else ("", "")
    headers = [("Host", host), *callback.headers]
    if callback.body:
        headers.append(("Content-Length", str(len(callback.body))))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": callback.method,
        "scheme": scheme,
        "path": unquote(path) or "/",
        "raw_path": path.encode() or b"/",
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(n.lower().encode(), v.encode()) for n, v in headers],
        "client": ("127.0.0.1", 0),
        "server": (host, port),
    }


#: Aurpay documents no callback for an underpayment or a refund.
_CALLBACKS: Final[Mapping[StatusChange, CallbackKind]] = {
    "pay": "paid",
    "expire": "timeout",
}


async def change_status(
    simulator: Simulator,
    order_id: str,
    change: StatusChange,
    fault: FaultSpec | None = None,
) -> list[SentCallback]:
    """Change the status of an order, and return the attempts to deliver its callback.

    Args:
        simulator: The sandbox.
        order_id: The order.
        change: The change.
        fault: The fault of the callback. ``None`` takes the next one of the queue.

    Raises:
        InvalidRequestError: if there is no such order, or its status forbids the
            change.
    """
    order = simulator.ledger.change_status(order_id, change, simulator.clock.now())
    kind = _CALLBACKS.get(change)
    if kind is None or not has_callback_url(order, kind):
        return []
    fault = fault or simulator.state.callback_faults.take()
    return await deliver(simulator.callback_sender, order, kind, fault)


async def pay_before_response(simulator: Simulator, order_id: str) -> None:
    """Pay a new order before its create call is answered, if a fault requests it."""
    fault = simulator.state.callback_faults.take(before_answer=True)
    if fault is not None:
        await change_status(simulator, order_id, "pay", fault)
