"""Commands `callback send` and `callback listen`.

The signature of a callback covers the URL that was registered. So the shop registers
URLs of the listener and verifies against them, and the listener forwards path, query,
headers and body unchanged.
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple, final

import attrs
from aiohttp import web
from cyclopts import Group, Parameter
from cyclopts.validators import mutually_exclusive
from yarl import URL

from .._client.options import require_origin
from .._core.clock import SystemClock
from .._core.json import pick
from .._core.secrets import secret_from_env
from .._core.urls import (
    UrlError,
    format_origin,
    is_loopback,
    parse_origin,
    require_secure,
    without_query,
)
from ..errors import InvalidRequestError
from ..sandbox._callbacks import ANY_KEY, open_session, send_request
from ..sandbox._pages import is_of_browser
from ..sandbox._settings import HostPolicy
from ..testing import sign_callback
from . import FAILED
from ._options import Flag, Port, ask_for_callback_keys, doc
from ._output import TEXT, Output, Row, redacted
from .sandbox import (
    AskOption,
    PostCallbacksOption,
    SandboxOptions,
    SeedOption,
    SpeedOption,
    make_sandbox,
    sandbox_members,
    serve,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from ..sandbox import Sandbox
    from ._options import CallbackKeys

#: Twice the age that `CallbackVerifier` accepts.
_STALE_AGE: Final = timedelta(minutes=10)

#: Characters of a response that are shown.
_MAX_SHOWN: Final = 2000
_ACCEPTED: Final = range(200, 300)
_BAD_GATEWAY: Final = 502

#: Headers of one connection (RFC 9110, 7.6.1), and those that the client itself sets.
_CONNECTION_HEADERS: Final = frozenset(
    {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}
)

_KIND_BY_FIELD: Final = {"callback_url": "paid", "timeout_callback": "timeout"}
_Kind = Annotated[
    Flag, Parameter(group=Group("Which callback", validator=mutually_exclusive))
]


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class CallbackOptions:
    # An assignment: `python -OO` would remove a docstring.
    __doc__ = """The kind of a callback, and its faults.

    Attributes:
        registered: URL to sign, if the shop was registered under another one.
        paid: Callback of a payment, the default. A GET shows it by its URL alone.
        timeout: Callback of a timeout.
        post: Send a POST with the status in its unsigned body.
        order_id: Order id in this body.
        duplicate: Send it twice, byte for byte.
        stale: Sign it with a date ten minutes in the past.
        bad_signature: Sign it with another secret.
        unsigned: Leave out Callback-Token, Date and Signature.
        api_key: Add an Api-Key header, which proves nothing: AURPAY_API_KEY, or a
            made-up key.
    """
    registered: str | None = None
    paid: _Kind = False
    timeout: _Kind = False
    post: Flag = False
    order_id: str | None = None
    duplicate: Flag = False
    stale: Flag = False
    bad_signature: Flag = False
    unsigned: Flag = False
    api_key: Flag = False

    @property
    def kind(self) -> Literal["paid", "timeout"]:
        return "timeout" if self.timeout else "paid"

    @property
    def method(self) -> str:
        return "POST" if self.post else "GET"

    def headers(self, url: str, keys: CallbackKeys) -> dict[str, str]:
        secret = keys.secret.reveal()
        headers = sign_callback(
            self.registered or url,
            secret=f"not {secret}" if self.bad_signature else secret,
            token=keys.token.reveal(),
            now=SystemClock().now() - _STALE_AGE * self.stale,
        )
        if self.unsigned:
            headers.clear()
        if self.api_key:
            key = secret_from_env("AURPAY_API_KEY")
            headers["Api-Key"] = ANY_KEY if key is None else key.reveal()
        if self.post:
            headers["Content-Type"] = "application/json"
        return headers

    def body(self) -> bytes:
        """Return the documented fields of a POST that no other source contradicts."""
        if not self.post:
            return b""
        named = {} if self.order_id is None else {"order_id": self.order_id}
        fields = {"order_type": "ORDER", "platform": "AURPAY", **named}
        status = "OVERDUE" if self.timeout else "SUCCESS"
        return json.dumps({**fields, "status": status}).encode()


#: Defaults of the command: a frozen object can be shared by all calls.
_CALLBACK_DEFAULTS: Final = CallbackOptions()


def send_callback(
    url: Annotated[str, doc("The URL registered with the order, including its query.")],
    /,
    *,
    options: CallbackOptions = _CALLBACK_DEFAULTS,
    anywhere: Annotated[
        Flag, doc("Allow a shop on another machine; by https only.")
    ] = False,
    output: Output = TEXT,
) -> int:
    try:
        require_sendable(url, anywhere=anywhere)
    except UrlError as error:
        raise InvalidRequestError(str(error), field="url") from None
    keys = ask_for_callback_keys()
    return asyncio.run(_send(output, url, options, keys))


async def _send(
    output: Output, url: str, options: CallbackOptions, keys: CallbackKeys
) -> int:
    # Signed once, so that a duplicate is the same byte for byte.
    headers = options.headers(url, keys)
    codes: list[int] = []
    for _ in range(2 if options.duplicate else 1):
        with output.waiting(f"Calling {without_query(url)}"):
            answer = await send(options.method, url, headers.items(), options.body())
        # A shop that is being debugged may return the request that it received.
        private = [headers.get(name, "") for name in ("Signature", "Api-Key")]
        private += [keys.token.reveal(), keys.secret.reveal()]
        text = redacted(answer.body.decode("utf-8", "replace"), private)
        codes.append(_show_answer(output, url, options, answer, text[:_MAX_SHOWN]))
    return max(codes)


def _show_answer(
    output: Output, url: str, options: CallbackOptions, answer: Answer, text: str
) -> int:
    accepted = answer.status in _ACCEPTED
    sent = {"method": options.method, "url": without_query(url), "kind": options.kind}
    received = {"accepted": accepted, **pick(answer, "status error"), "body": text}
    output.json("callback", **sent, **received, seconds=round(answer.seconds, 3))
    rows = [Row("body", line) for line in text.splitlines()]
    if answer.error is not None:
        rows.insert(0, Row("error", answer.error, "problem"))
    if answer.status is not None:
        status = f"{answer.status} after {answer.seconds:.2f} s"
        rows.insert(0, Row("status", status, "ok" if accepted else "problem"))
    output.rows(rows, f"{options.method} {without_query(url)}")
    return 0 if accepted else FAILED


class Answer(NamedTuple):
    status: int | None
    body: bytes
    error: str | None
    seconds: float


async def send(
    method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes = b""
) -> Answer:
    began = perf_counter()
    async with open_session(auto_decompress=True) as session:
        target = URL(url, encoded=True)
        status, problem, received = await send_request(
            session, method, target, headers, body
        )
    return Answer(status, received, problem, perf_counter() - began)


def require_sendable(url: str, *, anywhere: bool) -> None:
    """Reject a URL that would be changed when sent, or is not on this machine."""
    scheme, host, port = parse_origin(url)
    require_secure((scheme, host, port))
    if not anywhere and not is_loopback(host):
        raise UrlError("is not on this machine; --anywhere allows it")
    if "#" in url or not url.isascii():
        raise UrlError("has a #fragment, or a character that is not percent-encoded")
    _, slash, path = url.partition("://")[2].partition("/")
    if slash + path != URL(url, encoded=True).raw_path_qs:
        raise UrlError("needs a path, and no character that is changed when sent")


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class ListenOptions:
    __doc__ = """Options of a listener, and of its sandbox.

    Attributes:
        forward_to: Origin of the shop on this machine: scheme, host and port.
        port: Port that receives callbacks; 0 takes a free one.
        sandbox_port: Port of the sandbox; 0 takes a free one.
        db: Store the sandbox in this file.
        auth_from_env: Reject requests without the credentials of the environment.
    """
    forward_to: str
    port: Port = 0
    sandbox_port: Port = 0
    db: str | None = None
    seed: SeedOption = None
    speed: SpeedOption = 1
    post_callbacks: PostCallbacksOption = False
    auth_from_env: Flag = False
    ask: AskOption = False


class _Forwarded(NamedTuple):
    at: datetime
    method: str
    #: Without the query.
    path: str
    #: Kind and order, if the sandbox knows the URL.
    kind: str | None
    order_id: str | None
    answer: Answer


def listen_and_forward(*, options: ListenOptions, output: Output = TEXT) -> int:
    shop = _require_shop(options.forward_to)
    names = attrs.fields_dict(SandboxOptions).keys() & attrs.fields_dict(ListenOptions)
    shared = pick(options, " ".join(names - {"port"}))
    of_sandbox = SandboxOptions(port=options.sandbox_port, **shared)
    sandbox = make_sandbox(of_sandbox)
    return asyncio.run(listen(output, sandbox, of_sandbox, shop, options.port))


async def listen(
    output: Output, sandbox: Sandbox, options: SandboxOptions, shop: str, port: int
) -> int:
    """Open the sandbox and the listener, and show what is forwarded until Ctrl-C."""
    forwarded: asyncio.Queue[_Forwarded] = asyncio.Queue()
    forwarder = _Forwarder(sandbox, shop, forwarded)
    async with sandbox, serve(lambda _: forwarder.forward, port) as base_url:
        _show_addresses(output, sandbox, options, base_url, shop)
        while True:
            _show_forwarded(output, await forwarded.get())


@final
@attrs.frozen
class _Forwarder:
    """Forward requests to the shop, and return its answers."""

    _sandbox: Sandbox
    _shop: str
    _forwarded: asyncio.Queue[_Forwarded]

    async def forward(self, request: web.Request) -> web.Response:
        """Forward a request unless it is rejected, and queue the answer for display."""
        at, target = SystemClock().now(), request.raw_path
        registered = self._find_registered(target)
        answer = _rejection(request, registered)
        if answer is None:
            headers, body = _forwarded_headers(request), await request.read()
            answer = await send(request.method, self._shop + target, headers, body)
        path, named = target.partition("?")[0], registered or (None, None)
        forwarded = _Forwarded(at, request.method, path, *named, answer)
        self._forwarded.put_nowait(forwarded)
        return web.Response(status=answer.status or _BAD_GATEWAY, body=answer.body)

    def _find_registered(self, target: str) -> tuple[str | None, str | None] | None:
        """Return kind and order id of a registered URL, or None.

        Aurpay may have added parameters. If only the path is registered, both are None.
        """
        found = None
        for order in self._sandbox.orders.values():
            for field, kind in _KIND_BY_FIELD.items():
                registered = _path_and_query(order.urls.get(field, ""))
                if f"{target}&".startswith((f"{registered}?", f"{registered}&")):
                    return kind, order.order_id
                if target.partition("?")[0] == registered.partition("?")[0]:
                    found = None, None
        return found


def _path_and_query(url: str) -> str:
    _, slash, target = url.partition("://")[2].partition("/")
    return slash + target


def _rejection(request: web.Request, registered: object) -> Answer | None:
    """Return the answer to a request that is not forwarded, or None.

    Without this check, a page in the developer's browser could read the shop through
    the listener, because the shop trusts programs on this machine.
    """
    status = 403
    if is_of_browser(request):
        problem = "for programs, not for web pages"
    elif not HostPolicy().accepts_host(request.headers.get("Host", "")):
        problem = "ask 127.0.0.1 or localhost"
    elif registered is None:
        status, problem = 404, "no order has a callback URL of this path"
    else:
        return None
    return Answer(status, f"{problem}\n".encode(), f"not forwarded: {problem}", 0)


def _forwarded_headers(request: web.Request) -> Iterator[tuple[str, str]]:
    for name, value in request.raw_headers:
        text = name.decode("latin-1")
        if text.lower() not in _CONNECTION_HEADERS:
            yield text, value.decode("utf-8", "surrogateescape")


def _require_shop(forward_to: str) -> str:
    """Return the origin of a shop on this machine; no signature would cover a path."""
    shop = format_origin(require_origin(forward_to, "--forward-to"))
    try:
        require_sendable(f"{shop}/", anywhere=False)
    except UrlError:
        problem = "is not on this machine"
        raise InvalidRequestError(problem, field="--forward-to") from None
    return shop


def _show_addresses(
    output: Output, sandbox: Sandbox, options: SandboxOptions, base_url: str, shop: str
) -> None:
    members = {"callback_base_url": base_url, "forward_to": shop}
    output.json("listening", **sandbox_members(sandbox, options), **members)
    output.line(f"Forwarding callbacks from {base_url} to {shop}; Ctrl-C stops it.")
    output.line()
    output.rows(
        [
            Row("sandbox", f"{sandbox.base_url}, AURPAY_BASE_URL of the shop"),
            Row("page", f"{sandbox.base_url}/ shows and pays orders"),
            Row("callbacks", f"{base_url}, public_base_url of the shop"),
        ]
    )


def _show_forwarded(output: Output, forwarded: _Forwarded) -> None:
    answer = forwarded.answer
    members = pick(forwarded, "at method path kind order_id")
    members |= pick(answer, "status error")
    output.json("forwarded", **members, seconds=round(answer.seconds, 3))
    callback = f"{forwarded.kind or 'unknown'} {forwarded.order_id or ''}".rstrip()
    result = f"{answer.status}" if answer.error is None else answer.error
    called = f"{forwarded.at:%H:%M:%S} {callback}: {forwarded.method} {forwarded.path}"
    accepted = answer.status in _ACCEPTED
    output.status(f"{called} -> {result}", "ok" if accepted else "problem")
