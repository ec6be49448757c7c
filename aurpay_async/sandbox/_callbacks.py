"""Build, sign, tamper with and send callbacks.

Callbacks are built from Aurpay's pages alone. This module shares no code with the
verifier, so the two cannot make the same mistake and agree.

The shop is on this machine, or at a host that was allowed by name, or an ASGI or WSGI
application in this process (sources: the ASGI specification, "HTTP & WebSocket ASGI
Message Format" 2.4, and PEP 3333). Proxy settings of the environment are ignored: a
callback goes to the URL that was registered.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import sys
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta  # noqa: TC003 - read by cattrs
from inspect import iscoroutinefunction, signature
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, Literal, cast, final
from urllib.parse import unquote

import aiohttp
import attrs
from multidict import CIMultiDict
from yarl import URL

from .._core.urls import UrlError, parse_origin
from ..errors import ConfigurationError, shown
from ._faults import FaultQueue, FaultRegistry, FaultSpec
from ._responses import notification

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import ClientHandlerType

    from .._core.clock import Clock
    from .._core.urls import Origin
    from ._ledger import SandboxOrder, StatusChange
    from ._settings import Settings
    from ._simulator import Simulator


Message = MutableMapping[str, Any]

#: An application of Starlette, FastAPI, Litestar, Quart or Django.
AsgiApp = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

#: An application of Django or Flask.
WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

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


#: Aurpay's own timeout for callbacks is not known.
_TIMEOUT_S: Final = 10

_OK: Final = 200

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
        self._settings = settings
        self._sent = sent
        self._report = report
        self._is_open = False
        self._own_port = 0
        self._session: aiohttp.ClientSession | None = None
        self._apps: dict[Origin, _RunApp] = {}

    def deliver_to(self, app: AsgiApp | WsgiApp, origins: Iterable[Origin]) -> None:
        """Deliver callbacks to these origins into an application of this process.

        Raises:
            ConfigurationError: if it is neither an ASGI nor a WSGI application.
        """
        run = _runner_of(app)
        self._apps.update(dict.fromkeys(origins, run))

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
            token=self._settings.callback_token,
            secret=self.secret,
            post=self._settings.post_callbacks,
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
            return await _call_app(self._apps[origin], origin, callback)
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
        policy = self._settings.host_policy
        if not policy.allows_callback_to(host):
            raise _NotSentError("not on this machine")
        if policy.is_own_address(host, port, self._own_port):
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

    def __init__(self, scope: Message, body: bytes) -> None:
        self.scope = scope
        self.body = body
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


#: Pass a request to an application, and its response back.
_RunApp = Callable[[_Exchange], Awaitable[None]]


def _runner_of(app: AsgiApp | WsgiApp) -> _RunApp:
    """Return the function that calls an application, which its signature tells."""

    def takes(*arguments: object) -> bool:
        try:
            signature(app).bind(*arguments)
        except (TypeError, ValueError):
            return False
        return True

    async def run_asgi(exchange: _Exchange) -> None:
        called = cast("AsgiApp", app)
        await called(exchange.scope, exchange.receive, exchange.send)

    async def run_wsgi(exchange: _Exchange) -> None:
        await asyncio.to_thread(_call_wsgi, cast("WsgiApp", app), exchange)

    is_async = iscoroutinefunction(app) or iscoroutinefunction(type(app).__call__)
    if takes("environ", "start_response") and not is_async:
        return run_wsgi
    if takes("scope", "receive", "send"):
        return run_asgi
    raise ConfigurationError(
        f"{shown(app)} is neither an ASGI nor a WSGI application: pass the application "
        "object that a server runs"
    )


async def _call_app(
    run: _RunApp, origin: Origin, callback: CallbackRequest
) -> tuple[int | None, str | None]:
    """Return the status of the response, and the exception of the application."""
    exchange = _Exchange(_scope(origin, callback), callback.body)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await run(exchange)
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


def _call_wsgi(app: WsgiApp, exchange: _Exchange) -> None:
    """Call a WSGI application, and read its response to the end."""

    def start_response(status: str, *_: object) -> Callable[[bytes], None]:
        exchange.status = int(status[:3])
        return lambda _: None

    with ExitStack() as stack:
        body = app(_environ(exchange), start_response)
        stack.callback(getattr(body, "close", lambda: None))
        for _ in body:
            pass


def _environ(exchange: _Exchange) -> dict[str, Any]:
    scope = exchange.scope
    host, port = scope["server"]
    path, query = (scope[name].decode() for name in ("raw_path", "query_string"))
    headers = CIMultiDict(
        (name.decode().upper().replace("-", "_"), value.decode("latin-1"))
        for name, value in scope["headers"]
    )
    headers.popall("CONTENT_LENGTH", None)
    return {
        "CONTENT_LENGTH": f"{len(exchange.body)}",
        "CONTENT_TYPE": headers.pop("CONTENT_TYPE", ""),
        # Repeated headers are joined, as servers do.
        **{f"HTTP_{name}": ",".join(headers.getall(name)) for name in headers},
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path, "latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": f"{path}?{query}" if query else path,
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": host,
        "SERVER_PORT": f"{port}",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(exchange.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


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
    return [delivery.sender.record_lost(delivery.build())]


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


#: Change one thing of a callback; the signature of the others stays valid.
Tamper = Callable[[CallbackRequest], CallbackRequest]


def _tampering(name: str, meaning: str) -> Callable[[Tamper], Tamper]:
    """Register the decorated function as a fault that changes the request itself."""

    def add(tamper: Tamper) -> Tamper:
        @_fault(name, meaning)
        async def send(delivery: Delivery) -> list[SentCallback]:
            return [await delivery.send(tamper(delivery.build()))]

        return tamper

    return add


def _forged(callback: CallbackRequest) -> str:
    """Return a well-formed signature that was created with another secret."""
    return sign("not the secret", callback.date, callback.url)


@_tampering("wrong-signature", "signed with another secret")
def _wrong_signature(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, signatures=(_forged(callback),))


@_tampering("wrong-token", "with another Callback-Token, and a valid signature")
def _wrong_token(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, token="not-the-token")  # noqa: S106 - made up


@_tampering("no-signature", "without the Signature header")
def _no_signature(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, signatures=())


@_tampering(
    "duplicate-headers", "with two Signature headers, of which the first is valid"
)
def _duplicate_headers(callback: CallbackRequest) -> CallbackRequest:
    signatures = (*callback.signatures, _forged(callback))
    return attrs.evolve(callback, signatures=signatures)


@_tampering("wrong-url", "sent to the signed URL with `x=1` added to its query")
def _wrong_url(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, url=_with_parameter(callback.url, "x=1"))


def _with_parameter(url: str, parameter: str) -> str:
    page, separator, fragment = url.partition("#")
    mark = "&" if "?" in page else "?"
    return f"{page}{mark}{parameter}{separator}{fragment}"


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


@_tampering(
    "api-key-only", "with an Api-Key instead of Callback-Token, Date and Signature"
)
def _api_key_only(callback: CallbackRequest) -> CallbackRequest:
    key = callback.api_key or ANY_KEY
    return attrs.evolve(callback, api_key=key, is_unsigned=True)


@_tampering("unsigned-body", "a POST with another order and amount in its body")
def _unsigned_body(callback: CallbackRequest) -> CallbackRequest:
    fields = notification(callback.order)
    fields["order_id"] = f"{callback.order.order_id[:-6]}999999"
    fields["amount"] = f"1{fields['amount']}"
    return attrs.evolve(callback, method="POST", body=_json(fields))


@_tampering("broken-body", "a POST with a body that is not JSON")
def _broken_body(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, method="POST", body=b"order_id=1&status=SUCCESS")


@_tampering("huge-body", "a POST of 2 MiB")
def _huge_body(callback: CallbackRequest) -> CallbackRequest:
    body = _json(notification(callback.order)) + b" " * 2 * _MEBIBYTE
    return attrs.evolve(callback, method="POST", body=body)


@_tampering("wrong-method", "a PUT")
def _wrong_method(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, method="PUT")


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


#: Aurpay documents no callback for an underpayment or a refund.
_CALLBACKS: Final[Mapping[StatusChange, CallbackKind]] = {
    "pay": "paid",
    "expire": "timeout",
}


async def change_status(
    simulator: Simulator,
    order_id: str,
    change: StatusChange,
    fault: CallbackFault | None = None,
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
    simulator.account.add(order)
    kind = _CALLBACKS.get(change)
    if kind is None or not has_callback_url(order, kind):
        return []
    fault = fault or simulator.state.callback_faults.take()
    sender = simulator.callback_sender
    if fault is None:
        return [await sender.send(sender.build(order, kind))]
    return await fault.perform(Delivery(sender, order, kind, fault))


async def pay_before_response(simulator: Simulator, order_id: str) -> None:
    """Pay a new order before its create call is answered, if a fault requests it."""
    fault = simulator.state.callback_faults.take(before_answer=True)
    if fault is not None:
        await change_status(simulator, order_id, "pay", fault)
