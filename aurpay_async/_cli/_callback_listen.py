"""``aurpay callback listen``: run a sandbox and forward its callbacks to a shop.

The signature of a callback covers the URL that was registered. So the shop registers
URLs of the listener and verifies against them, and the listener forwards path, query,
headers and body unchanged.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, final

from aiohttp import web
from cyclopts import Parameter

from .._clock import SystemClock
from .._settings import require_origin
from .._urls import UrlError, format_origin
from ..errors import InvalidRequestError
from ..sandbox._page_guard import is_of_browser
from ..sandbox._reach import HostPolicy
from ._arguments import Flag, OutputOption, Port  # noqa: TC001 - read by cyclopts
from ._sandbox import SandboxOptions, make_sandbox, sandbox_members
from ._screen import Output, Row
from ._times import iso
from ._web import Answer, require_sendable, send, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ..sandbox import Sandbox
    from ._web import Handler

#: Headers of one connection (RFC 9110, 7.6.1), and those that the client itself sets.
_CONNECTION_HEADERS: Final = frozenset(
    {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}
)

_KIND_BY_FIELD: Final = {"callback_url": "paid", "timeout_callback": "timeout"}

_BAD_GATEWAY: Final = 502


class _Forwarded(NamedTuple):
    """A request to the listener, and its answer."""

    at: datetime
    method: str
    #: Without the query.
    path: str
    #: Kind and order, if the sandbox knows the URL.
    kind: str | None
    order_id: str | None
    answer: Answer


def listen_and_forward(
    *,
    forward_to: Annotated[
        str,
        Parameter(help="Origin of the shop on this machine: scheme, host and port."),
    ],
    port: Annotated[
        Port, Parameter(help="Port that receives callbacks; 0 takes a free one.")
    ] = 0,
    sandbox_port: Annotated[
        Port, Parameter(help="Port of the sandbox; 0 takes a free one.")
    ] = 0,
    db: Annotated[str | None, Parameter(help="Store the sandbox in this file.")] = None,
    seed: Annotated[
        int | None,
        Parameter(
            help="Make ids, secrets and invoices the same in every run that starts at "
            "the same time."
        ),
    ] = None,
    speed: Annotated[
        float,
        Parameter(
            help="How much faster than at Aurpay orders time out: 1 is after 30 "
            "minutes, 60 after 30 seconds, 0 never."
        ),
    ] = 1,
    post_callbacks: Annotated[
        Flag, Parameter(help="Send callbacks as POST with the order in the body.")
    ] = False,
    auth_from_env: Annotated[
        Flag,
        Parameter(help="Reject requests without the credentials of the environment."),
    ] = False,
    ask: Annotated[
        Flag,
        Parameter(
            help="Ask for the callback token and secret that the environment lacks."
        ),
    ] = False,
    output_format: OutputOption = "text",
) -> int:
    """Forward callbacks until Ctrl-C, and show them."""
    shop = _require_shop(forward_to)
    options = SandboxOptions(
        port=sandbox_port,
        db=db,
        seed=seed,
        speed=speed,
        post_callbacks=post_callbacks,
        auth_from_env=auth_from_env,
        ask=ask,
    )
    sandbox = make_sandbox(options)
    return asyncio.run(listen(Output(output_format), sandbox, options, shop, port))


async def listen(
    output: Output, sandbox: Sandbox, options: SandboxOptions, shop: str, port: int
) -> int:
    """Open the sandbox and the listener, and show what is forwarded until Ctrl-C."""
    forwarded: asyncio.Queue[_Forwarded] = asyncio.Queue()
    async with sandbox:

        def make_handler(base_url: str) -> Handler:
            return _Forwarder(sandbox, shop, base_url, forwarded).forward

        async with serve(make_handler, port) as base_url:
            _show_addresses(output, sandbox, options, base_url, shop)
            while True:
                _show_forwarded(output, await forwarded.get())


@final
class _Forwarder:
    """Forward requests to the shop, and return its answers."""

    def __init__(
        self,
        sandbox: Sandbox,
        shop: str,
        base_url: str,
        forwarded: asyncio.Queue[_Forwarded],
    ) -> None:
        self._sandbox = sandbox
        self._shop = shop
        self._base_url = base_url
        self._forwarded = forwarded

    async def forward(self, request: web.Request) -> web.Response:
        """Forward a request unless it is rejected, and queue the answer for display."""
        at = SystemClock().now()
        registered = self._find_registered(request.raw_path)
        answer = _rejection(request, registered) or await send(
            request.method,
            self._shop + request.raw_path,
            _forwarded_headers(request),
            await request.read(),
        )
        kind, order_id = (None, None) if registered is None else registered
        path = request.raw_path.partition("?")[0]
        self._forwarded.put_nowait(
            _Forwarded(at, request.method, path, kind, order_id, answer)
        )
        status = _BAD_GATEWAY if answer.status is None else answer.status
        return web.Response(status=status, body=answer.body)

    def _find_registered(self, target: str) -> tuple[str | None, str | None] | None:
        """Return kind and order id of a registered URL, or None.

        The platform may have added parameters to the URL. If only the path is
        registered, both are None.
        """
        found = None
        for order in self._sandbox.orders.values():
            for field, kind in _KIND_BY_FIELD.items():
                registered = _path_and_query(order.urls.get(field, ""))
                if target == registered or target.startswith(
                    (f"{registered}?", f"{registered}&")
                ):
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
    if is_of_browser(request):
        return _rejected(
            web.HTTPForbidden.status_code, "for programs, not for web pages"
        )
    if not HostPolicy().accepts_host(request.headers.get("Host", "")):
        return _rejected(web.HTTPForbidden.status_code, "ask 127.0.0.1 or localhost")
    if registered is None:
        return _rejected(
            web.HTTPNotFound.status_code, "no order has a callback URL of this path"
        )
    return None


def _rejected(status: int, problem: str) -> Answer:
    return Answer(status, f"{problem}\n".encode(), f"not forwarded: {problem}", 0)


def _forwarded_headers(request: web.Request) -> Iterator[tuple[str, str]]:
    for name, value in request.raw_headers:
        text = name.decode("latin-1")
        if text.lower() not in _CONNECTION_HEADERS:
            yield text, value.decode("utf-8", "surrogateescape")


def _require_shop(forward_to: str) -> str:
    """Return the origin of a shop on this machine.

    Raises:
        ConfigurationError: if it has a path, which no signature would cover.
        InvalidRequestError: if it is on another machine.
    """
    shop = format_origin(require_origin(forward_to, "--forward-to"))
    try:
        require_sendable(f"{shop}/", anywhere=False)
    except UrlError:
        raise InvalidRequestError(
            "is not on this machine", field="--forward-to"
        ) from None
    return shop


def _show_addresses(
    output: Output, sandbox: Sandbox, options: SandboxOptions, base_url: str, shop: str
) -> None:
    output.json(
        "listening",
        **sandbox_members(sandbox, options),
        callback_base_url=base_url,
        forward_to=shop,
    )
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
    output.json(
        "forwarded",
        at=iso(forwarded.at),
        method=forwarded.method,
        path=forwarded.path,
        kind=forwarded.kind,
        order_id=forwarded.order_id,
        status=answer.status,
        error=answer.error,
        seconds=round(answer.seconds, 3),
    )
    callback = f"{forwarded.kind or 'unknown'} {forwarded.order_id or ''}".rstrip()
    result = f"{answer.status}" if answer.error is None else answer.error
    accepted = (
        answer.status is not None
        and answer.status < web.HTTPMultipleChoices.status_code
    )
    output.status(
        f"{forwarded.at:%H:%M:%S} {callback}: {forwarded.method} {forwarded.path} "
        f"-> {result}",
        "ok" if accepted else "problem",
    )
