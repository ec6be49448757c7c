"""``/_sandbox``: what programs in other processes tell the sandbox, as JSON over HTTP.

For this machine's programs only: what a page in a browser asks for is refused.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, cast

import attrs
from aiohttp import web

from ..errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from aiohttp.typedefs import Handler

    from ._cashier import Cashier
    from ._courier import SentCallback
    from ._faults import Faults
    from ._mishaps import M, Queue

    Settle = Callable[[str], Awaitable[list[SentCallback]]]

#: The names that a request may use for this machine.
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def build_control(
    faults: Faults, cashier: Cashier, sent: Sequence[SentCallback]
) -> web.Application:
    """What is to be served under ``/_sandbox``."""
    app = web.Application(middlewares=[_guard])
    app.add_routes(_queue_routes("faults", faults))
    app.add_routes(_queue_routes("deliveries", cashier.deliveries))
    moves: Mapping[str, Settle] = {
        "pay": cashier.pay,
        "expire": cashier.expire,
        "refund": cashier.refund,
    }

    async def settle(request: web.Request) -> web.Response:
        move = moves[request.match_info["move"]]
        return _told(await move(request.match_info["order_id"]))

    async def show(_: web.Request) -> web.Response:
        return _told(sent)

    app.router.add_post(f"/orders/{{order_id}}/{{move:{'|'.join(moves)}}}", settle)
    app.router.add_get("/callbacks", show, allow_head=False)
    return app


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    # A page that somebody has open elsewhere must not reach in here: browsers send
    # these headers, and a name that leads here today is not one of ours.
    if "Origin" in request.headers or "Sec-Fetch-Site" in request.headers:
        raise web.HTTPForbidden(text="not for browsers\n")
    if request.url.host not in _LOOPBACK:
        raise web.HTTPForbidden(text="ask 127.0.0.1 or localhost\n")
    try:
        return await handler(request)
    except InvalidRequestError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from None


def _queue_routes(name: str, queue: Queue[M]) -> list[web.RouteDef]:
    """``GET`` lists what is to come, ``POST`` adds a JSON list, ``DELETE`` drops."""

    async def show(_: web.Request) -> web.Response:
        return web.json_response(list(queue))

    async def push(request: web.Request) -> web.Response:
        queue.push(*_texts(name, await request.read()))
        return web.json_response(list(queue))

    async def clear(_: web.Request) -> web.Response:
        queue.clear()
        return web.json_response([])

    path = f"/{name}"
    return [
        web.get(path, show, allow_head=False),
        web.post(path, push),
        web.delete(path, clear),
    ]


def _texts(name: str, body: bytes) -> list[str]:
    try:
        texts = json.loads(body)
    except (ValueError, RecursionError):
        texts = None
    if not isinstance(texts, list):
        raise InvalidRequestError("must be a JSON list", field=name)
    return [str(text) for text in cast("list[object]", texts)]


def _told(sent: Iterable[SentCallback]) -> web.Response:
    return web.json_response([_fields(callback) for callback in sent])


def _fields(sent: SentCallback) -> dict[str, object]:
    return {
        **attrs.asdict(sent),
        "body": sent.body.decode(),
        "sent_at": sent.sent_at.isoformat(),
    }
