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
from wsgiref.util import setup_testing_defaults

import aiohttp
import attrs
from multidict import CIMultiDict
from yarl import URL

from .._core.json import pick
from .._core.urls import UrlError, parse_origin
from ..errors import ConfigurationError, shown
from ._responses import notification

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import ClientHandlerType

    from .._core.urls import Origin
    from ._models import SandboxOrder
    from ._settings import HostPolicy, Settings

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
_KINDS: Final[Mapping[CallbackKind, tuple[str, str]]] = {
    "paid": ("callback_url", "SUCCESS"),
    "timeout": ("timeout_callback", "OVERDUE"),
}

#: The API key of a sandbox that requires none.
ANY_KEY: Final = "sandbox-api-key"


@attrs.frozen(kw_only=True)
class CallbackRequest:
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
        headers = [] if self.api_key is None else [("Api-Key", self.api_key)]
        if not self.is_unsigned:
            headers += [("Callback-Token", self.token), ("Date", self.date)]
            headers += [("Signature", signature) for signature in self.signatures]
        if self.body:
            headers.append(("Content-Type", "application/json"))
        return tuple(headers)


def build_callback(
    order: SandboxOrder,
    kind: CallbackKind,
    at: datetime,
    *,
    token: str,
    secret: str,
    post: bool,
) -> CallbackRequest:
    """Build the signed callback of an order; `post` puts the order into its body."""
    field, status = _KINDS[kind]
    url, date = order.urls[field], f"{at:%Y-%m-%dT%H:%M:%SZ}"
    order = attrs.evolve(order, status=status)
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
        body=to_json(notification(order)) if post else b"",
    )


def has_callback_url(order: SandboxOrder, kind: CallbackKind) -> bool:
    return _KINDS[kind][0] in order.urls


def sign(secret: str, date: str, url: str) -> str:
    """Sign ``{date} | {callback_url}`` with HMAC-SHA256, as Aurpay documents it."""
    # A URL that was sent as JSON can contain a lone surrogate.
    text = f"{date} | {url}".encode("utf-8", "surrogatepass")
    return b64encode(hmac.digest(secret.encode(), text, "sha256")).decode()


def to_json(fields: dict[str, object]) -> bytes:
    return json.dumps(fields).encode()


#: Aurpay's own timeout for callbacks is not known.
_TIMEOUT_S: Final = 10

#: This much of the body of a response is read.
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


@attrs.define(eq=False)
class CallbackSender:
    """Send callbacks. A failed attempt is recorded, and raises nothing."""

    settings: Settings
    _host_policy: HostPolicy
    _sent: list[SentCallback]
    _report: Callable[[SentCallback], None]
    _is_open: bool = False
    _own_port: int = 0
    _session: aiohttp.ClientSession | None = None
    _apps: dict[Origin, _RunApp] = attrs.field(factory=dict["Origin", "_RunApp"])

    def deliver_to(self, app: AsgiApp | WsgiApp, origins: Iterable[Origin]) -> None:
        """Deliver callbacks to these origins into an application of this process."""
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
            self.settings.clock.now() + timedelta(seconds=shift_s),
            token=self.settings.callback_token,
            secret=self.settings.callback_secret,
            post=self.settings.post_callbacks,
        )

    async def send(
        self, callback: CallbackRequest, *, is_lost: bool = False
    ) -> SentCallback:
        """Send a callback once unless it is lost, and record the attempt."""
        sent_at = self.settings.clock.now()
        status, error = await self._attempt(callback, is_lost=is_lost)
        shared = pick(callback, "kind method url headers body")
        shared |= {"order_id": callback.order.order_id, "sent_at": sent_at}
        sent = SentCallback(**shared, status=status, error=error)
        self._sent.append(sent)
        self._report(sent)
        return sent

    async def _attempt(
        self, callback: CallbackRequest, *, is_lost: bool
    ) -> tuple[int | None, str | None]:
        if is_lost:
            return None, "not sent: lost"
        origin = _origin(callback.url)
        if self._is_open and origin in self._apps:
            return await _call_app(self._apps[origin], origin, callback)
        try:
            session, target = self._open_session(), self._target(callback.url)
        except _NotSentError as error:
            return None, f"not sent: {error}"
        status, problem, _ = await send_request(
            session, callback.method, target, callback.headers, callback.body
        )
        return status, problem

    def _target(self, url: str) -> URL:
        """Return the URL if its host is allowed and it can be sent as it is written."""
        try:
            target = URL(url, encoded=True)
            # yarl parses host and port only when they are read.
            host, port = target.host or "", target.port
        except ValueError:
            raise _NotSentError("not a URL") from None
        policy = self._host_policy
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
            self._session = open_session(auto_decompress=False)
        return self._session


def open_session(*, auto_decompress: bool) -> aiohttp.ClientSession:
    """Return a session that sends each request once, as it is, and without a proxy."""
    return aiohttp.ClientSession(
        # No reuse: an idle connection could be closed between two callbacks.
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
        auto_decompress=auto_decompress,
        middlewares=(_send_once,),
    )


async def send_request(
    session: aiohttp.ClientSession,
    method: str,
    url: URL,
    headers: Iterable[tuple[str, str]],
    body: bytes,
) -> tuple[int | None, str | None, bytes]:
    """Send a request once, and return status, problem and body of its response."""
    status, problem, received = None, None, b""
    try:
        async with session.request(
            method,
            url,
            headers=[*headers],
            # aiohttp warns of large bodies that are bytes.
            data=BytesIO(body) if body else None,
            allow_redirects=False,
        ) as response:
            status = response.status
            received = await response.content.readexactly(_MAX_RESPONSE)
    except asyncio.IncompleteReadError as error:
        received = error.partial
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # The text of some errors contains the URL; their message does not.
        problem = f"{type(error).__name__}: {getattr(error, 'message', error)}"
    return status, problem, received


def _origin(url: str) -> Origin | None:
    with suppress(UrlError):
        return parse_origin(url)
    return None


async def _send_once(
    request: aiohttp.ClientRequest, send: ClientHandlerType
) -> aiohttp.ClientResponse:
    try:
        return await send(request)
    except aiohttp.ClientConnectionError as error:
        # aiohttp repeats a GET on the subclasses that mean a broken connection.
        raise aiohttp.ClientConnectionError(f"{error}") from error


_PATH_AND_QUERY = re.compile(r"https?://[^/?#]*([^?#]*)\??([^#]*)", re.IGNORECASE)


@final
@attrs.define(eq=False)
class _Exchange:
    """One request to an application, and the status of its response."""

    scope: Message
    body: bytes
    status: int | None = None
    _is_read: bool = False
    _is_answered: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def receive(self) -> Message:
        if not self._is_read:
            self._is_read = True
            return {"type": "http.request", "body": self.body, "more_body": False}
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
    problem = f"{shown(app)} is neither an ASGI nor a WSGI application"
    raise ConfigurationError(f"{problem}: pass the application that a server runs")


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
    headers = CIMultiDict[str]()
    for name, value in scope["headers"]:
        headers.add(name.decode().upper().replace("-", "_"), value.decode("latin-1"))
    headers.popall("CONTENT_LENGTH", None)
    environ: dict[str, Any] = {
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
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(exchange.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
    }
    setup_testing_defaults(environ)
    return environ
