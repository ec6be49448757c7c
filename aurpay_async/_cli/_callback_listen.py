"""``aurpay callback listen``: a sandbox whose callbacks go to a shop, and are shown.

What is signed is the URL as it was registered. So the shop registers URLs of the
listener, and verifies against these; what comes is handed on with path, query, headers
and body as they are.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple, final

from aiohttp import web

from .._clock import SystemClock
from .._settings import require_origin
from .._urls import UrlError, format_origin
from ..errors import InvalidRequestError
from ..sandbox._page_guard import is_of_browser
from ..sandbox._reach import HostPolicy
from ._sandbox import make_sandbox, sandbox_members
from ._screen import Row
from ._times import iso
from ._web import Answer, require_sendable, send, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ..sandbox import Sandbox
    from ._act import Job
    from ._sandbox import Wishes
    from ._screen import Screen
    from ._web import Handler

#: RFC 9110, 7.6.1, and what a client writes by itself: of one connection only.
_OF_THE_CONNECTION: Final = frozenset(
    {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}
)

_KINDS: Final = {"callback_url": "paid", "timeout_callback": "timeout"}

_BAD_GATEWAY: Final = 502


class _Passed(NamedTuple):
    """A callback that was handed on."""

    at: datetime
    method: str
    #: Without its query.
    path: str
    #: Kind and order, if the sandbox knows the URL.
    kind: str | None
    order_id: str | None
    answer: Answer


def listen_and_forward(
    screen: Screen, *, forward_to: str, port: int, wishes: Wishes
) -> Job:
    """Hand on what comes until Ctrl-C, and show it."""
    shop = _require_shop(forward_to)
    return _listen(screen, make_sandbox(wishes), wishes, shop, port)


async def _listen(
    screen: Screen, sandbox: Sandbox, wishes: Wishes, shop: str, port: int
) -> int:
    passed: asyncio.Queue[_Passed] = asyncio.Queue()
    async with sandbox:

        def make(base_url: str) -> Handler:
            return _Forwarder(sandbox, shop, base_url, passed).hand_on

        async with serve(make, port) as base_url:
            _show_addresses(screen, sandbox, wishes, base_url, shop)
            while True:
                _show(screen, await passed.get())


@final
class _Forwarder:
    """Hands a request on, and answers what the shop answers."""

    def __init__(
        self, sandbox: Sandbox, shop: str, base_url: str, passed: asyncio.Queue[_Passed]
    ) -> None:
        self._sandbox = sandbox
        self._shop = shop
        self._base_url = base_url
        self._passed = passed

    async def hand_on(self, request: web.Request) -> web.Response:
        """Ask the shop, unless the request is refused, and show what it answers."""
        at = SystemClock().now()
        registered = self._find(request.raw_path)
        answer = _refusal(request, registered) or await send(
            request.method,
            self._shop + request.raw_path,
            _headers(request),
            await request.read(),
        )
        kind, order_id = (None, None) if registered is None else registered
        path = request.raw_path.partition("?")[0]
        self._passed.put_nowait(
            _Passed(at, request.method, path, kind, order_id, answer)
        )
        status = _BAD_GATEWAY if answer.status is None else answer.status
        return web.Response(status=status, body=answer.body)

    def _find(self, target: str) -> tuple[str | None, str | None] | None:
        """Kind and order of a registered URL; neither if only its path is registered.

        The platform may have added parameters to the URL.
        """
        found = None
        for order in self._sandbox.orders.values():
            for field, kind in _KINDS.items():
                registered = _target(order.urls.get(field, ""))
                if target == registered or target.startswith(
                    (f"{registered}?", f"{registered}&")
                ):
                    return kind, order.order_id
                if target.partition("?")[0] == registered.partition("?")[0]:
                    found = None, None
        return found


def _target(url: str) -> str:
    """Path and query of a URL."""
    _, slash, target = url.partition("://")[2].partition("/")
    return slash + target


def _refusal(request: web.Request, registered: object) -> Answer | None:
    """The answer to a request that does not reach the shop, if it is one.

    A page in the developer's browser could read the shop through the listener, which
    asks it as a program on this machine does.
    """
    if is_of_browser(request):
        return _refused(
            web.HTTPForbidden.status_code, "for programs, not for web pages"
        )
    if not HostPolicy().accepts_host(request.headers.get("Host", "")):
        return _refused(web.HTTPForbidden.status_code, "ask 127.0.0.1 or localhost")
    if registered is None:
        return _refused(
            web.HTTPNotFound.status_code, "no order has a callback URL of this path"
        )
    return None


def _refused(status: int, problem: str) -> Answer:
    return Answer(status, f"{problem}\n".encode(), f"not handed on: {problem}", 0)


def _headers(request: web.Request) -> Iterator[tuple[str, str]]:
    for name, value in request.raw_headers:
        text = name.decode("latin-1")
        if text.lower() not in _OF_THE_CONNECTION:
            yield text, value.decode("utf-8", "surrogateescape")


def _require_shop(forward_to: str) -> str:
    """Where the shop is: an origin of this machine.

    Raises:
        ConfigurationError: if it has a path, which no signature would cover.
        InvalidRequestError: if it is elsewhere.
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
    screen: Screen, sandbox: Sandbox, wishes: Wishes, base_url: str, shop: str
) -> None:
    screen.record(
        "listening",
        **sandbox_members(sandbox, wishes),
        callback_base_url=base_url,
        forward_to=shop,
    )
    screen.line(f"Callbacks to {base_url} go to {shop}, Ctrl-C ends it.")
    screen.line()
    screen.rows(
        [
            Row("sandbox", f"{sandbox.base_url}, AURPAY_BASE_URL of the shop"),
            Row("page", f"{sandbox.base_url}/ is where orders are paid"),
            Row("callbacks", f"{base_url}, public_base_url of the shop"),
        ]
    )


def _show(screen: Screen, passed: _Passed) -> None:
    answer = passed.answer
    screen.record(
        "forwarded",
        at=iso(passed.at),
        method=passed.method,
        path=passed.path,
        kind=passed.kind,
        order_id=passed.order_id,
        status=answer.status,
        error=answer.error,
        seconds=round(answer.seconds, 3),
    )
    what = f"{passed.kind or 'unknown'} {passed.order_id or ''}".rstrip()
    came = f"{answer.status}" if answer.error is None else answer.error
    accepted = (
        answer.status is not None
        and answer.status < web.HTTPMultipleChoices.status_code
    )
    screen.step(
        f"{passed.at:%H:%M:%S} {what}: {passed.method} {passed.path} -> {came}",
        "ok" if accepted else "problem",
    )
