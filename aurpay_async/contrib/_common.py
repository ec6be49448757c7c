"""The parts that the adapters share: the callback route, and server-sent events.

Aurpay signs the URL as it was registered, byte for byte. A server behind a proxy
receives another scheme and host, and frameworks decode paths. So the URL is built from
the shop's `public_base_url` and the undecoded request target.

HTML Standard, 9.2 "Server-sent events": after the end of a stream a browser connects
again, so the last event tells the page to close it. "Legacy proxy servers are known to,
in certain cases, drop HTTP connections after a short timeout": for them, "authors can
include a comment line (one starting with a ':' character) every 15 seconds or so". A
write that fails also shows that the browser has disconnected.
"""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial
from http import HTTPMethod
from typing import TYPE_CHECKING, Final, cast, final
from urllib.parse import quote

import attrs

from .._client.options import require_allow_http, require_network
from .._core.urls import UrlError, parse_origin, require_secure
from ..callbacks import MAX_BODY
from ..errors import CallbackError, ConfigurationError, shown

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        Awaitable,
        Callable,
        Iterable,
        Mapping,
    )

    from .._api.models import Order
    from .._core.money import Network
    from ..callbacks import CallbackProcessor, Kind, Reply

    #: As received, repeated ones included.
    AsgiHeaders = Iterable[tuple[bytes, bytes]]
    Headers = AsgiHeaders | Mapping[str, str]
    #: An ASGI scope; each framework has another type for it.
    Scope = Mapping[str, object]


#: For routers that need a list of methods; the processor rejects most of them.
METHODS: Final = [method.value for method in HTTPMethod]
#: The default path of a callback route.
PATH: Final = "/aurpay/callback"
_ORIGIN = re.compile(r"\Ahttps?://[^/?#]*", re.IGNORECASE)

#: RFC 3986, 3.3: the characters that a path does not percent-encode.
_PATH_CHARACTERS: Final = "/~!$&'()*+,;=:@"


@final
class PublicAddress:
    """The part of the registered callback URLs before the request target."""

    def __init__(
        self,
        public_base_url: str,
        *,
        allow_http: bool = False,
        network: Network = "mainnet",
    ) -> None:
        require_allow_http(allow_http, require_network(network))
        problem = _find_problem(public_base_url, allow_http=allow_http)
        if problem is not None:
            raise ConfigurationError(f"public_base_url: {problem}")
        scheme, _, rest = public_base_url.removesuffix("/").partition("://")
        host, slash, path = rest.partition("/")
        self._origin = f"{scheme}://{host}"
        self._prefix = slash + path

    def url(self, target: str, mounted_at: str = "") -> str:
        """Return the URL as it was registered.

        Args:
            target: The request target, undecoded.
            mounted_at: The prefix that the server prepends to each path, if any, in
                place of the prefix that a proxy has removed.
        """
        # RFC 9112, 3.2.2: "a server MUST accept the absolute-form in requests".
        path = _ORIGIN.sub("", target, count=1)
        path = path if path.startswith("/") else f"/{path}"
        if mounted_at == self._prefix and path.startswith(f"{mounted_at}/"):
            return self._origin + path
        return self._origin + self._prefix + path

    def asgi_url(self, scope: Scope) -> str:
        """Return the URL as it was registered, from an ASGI scope."""
        raw = scope.get("raw_path")
        if isinstance(raw, bytes) and raw:
            # By the specification it has no query; some servers add it.
            path = raw.partition(b"?")[0].decode("latin-1")
        else:
            path = quote(cast("str", scope["path"]), safe=_PATH_CHARACTERS)
        query = scope["query_string"]
        if isinstance(query, bytes):  # a `str` with Django's AsyncClient
            query = query.decode("latin-1")
        # Mounts within Starlette extend `root_path`; this has the server's value.
        root = scope.get("app_root_path", scope.get("root_path"))
        return self.url(f"{path}?{query}" if query else path, cast("str", root or ""))


@final
@attrs.define
class RequestBody:
    """The body of a request, read when it is called."""

    #: The body, as the framework reads it.
    _chunks: AsyncIterable[bytes]
    #: The Content-Length of the request, or 0.
    _length: int
    #: The header that closes the connection if the body stays unread.
    closing: Mapping[str, str] = attrs.field(factory=dict[str, str])
    is_read: bool = attrs.field(default=False, init=False)

    async def __call__(self) -> bytes:
        """Read the body."""
        require_size(self._length)
        body = bytearray()
        async for chunk in self._chunks:
            body += chunk
            require_size(len(body))
        self.is_read = True
        return bytes(body)


@final
class CallbackRoute:
    """A callback route, independent of the framework."""

    def __init__(
        self,
        processor: CallbackProcessor,
        public_base_url: str,
        kind: Kind | None,
        *,
        allow_http: bool,
        network: Network,
    ) -> None:
        require_kind(kind)
        self.name = f"aurpay_{kind or 'callback'}"
        self.address = PublicAddress(
            public_base_url, allow_http=allow_http, network=network
        )
        #: `CallbackProcessor.process` for the kind of the route.
        self.answer = partial(processor.process, kind=kind)

    async def answer_asgi(self, scope: Scope, chunks: AsyncIterable[bytes]) -> Reply:
        """Return the reply to an ASGI request with its body in `chunks`."""
        body = asgi_body(scope, chunks)
        reply = await self.answer(
            method=cast("str", scope["method"]),
            url=self.address.asgi_url(scope),
            headers=cast("Headers", scope["headers"]),
            body=body,
        )
        if body.is_read or not body.closing:
            return reply
        return attrs.evolve(reply, headers={**reply.headers, **body.closing})


def require_kind(kind: object) -> None:
    """Raise `ConfigurationError` unless `kind` is valid."""
    if kind not in {None, "paid", "timeout"}:
        raise ConfigurationError(
            f'kind must be "paid", "timeout" or None, not {shown(kind)}'
        )


def require_size(length: int) -> None:
    """Reject a body that is too large with a rule that is answered with 413."""
    if length > MAX_BODY:
        problem = f"the body has over {MAX_BODY} bytes"
        raise CallbackError(problem, rule="too_large")


def asgi_body(scope: Scope, chunks: AsyncIterable[bytes]) -> RequestBody:
    """Return the body of an ASGI request, which `chunks` reads.

    RFC 9110, 15.5.14, of a body that is too large: "The server MAY terminate the
    request, if the protocol version in use allows it; otherwise, the server MAY close
    the connection." HTTP/2 has no header for it.
    """
    headers = dict(cast("AsgiHeaders", scope["headers"]))
    digits = headers.get(b"content-length", b"")
    # A bound for `int`; the result exceeds any limit.
    length = int(digits[:20]) if digits.isdigit() else 0
    has_body = length > 0 or b"transfer-encoding" in headers
    closes = has_body and scope["http_version"] in {"1.0", "1.1"}
    return RequestBody(chunks, length, {"Connection": "close"} if closes else {})


def _find_problem(public_base_url: object, *, allow_http: bool) -> str | None:
    if not isinstance(public_base_url, str):
        return (
            "must be the address that Aurpay calls, like https://shop.example, "
            f"not {shown(public_base_url)}"
        )
    try:
        require_secure(parse_origin(public_base_url), allow_http=allow_http)
    except UrlError as error:
        return str(error)
    if "?" in public_base_url or "#" in public_base_url:
        return (
            "must have no query and no fragment: it ends before the path of the route"
        )
    if not public_base_url.isascii():
        return "has non-ASCII characters in its path, percent-encode them"
    return None


CONTENT_TYPE: Final = "text/event-stream"
#: Neither caches nor nginx (its proxy_buffering) keep events back.
HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}

#: Seconds without an event after which a comment is sent.
HEARTBEAT_S: Final = 15.0
#: Seconds between two calls of `until`.
UNTIL_EVERY_S: Final = 5.0
_COMMENT: Final = b":\n\n"


async def stream_events(
    orders: AsyncGenerator[Order, None],
    until: Callable[[], Awaitable[bool]] | None = None,
) -> AsyncGenerator[bytes, None]:
    """Yield an event with the public form of each order, and ``end`` with the last one.

    It also ends when `until`, called before each event and while waiting for one,
    returns true. `orders` is closed at the end, and when this generator is closed.
    """
    data = "{}"
    step: asyncio.Future[Order | None] | None = None
    pause_s = HEARTBEAT_S if until is None else UNTIL_EVERY_S
    try:
        yield _COMMENT  # proxies pass a response on with its first bytes
        while until is None or not await until():
            # A task, because a timeout of the generator itself would end it.
            step = step or asyncio.ensure_future(anext(orders, None))
            await asyncio.wait({step}, timeout=pause_s)
            if not step.done():
                yield _COMMENT
                continue
            order, step = step.result(), None
            if order is None:
                break
            data = json.dumps(order.to_public_dict())
            yield f"data: {data}\n\n".encode()
        yield f"event: end\ndata: {data}\n\n".encode()
    finally:
        if step is not None:
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)
        await orders.aclose()
