"""The sandbox's HTTP: bytes to ledger and back, and the server that runs it."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Final, cast

from aiohttp import web

from ..errors import ConfigurationError
from ._answers import FAILED, created, detail, envelope
from ._cashier import Cashier
from ._control import build_control
from ._courier import Courier
from ._faults import Faults
from ._gate import ReceivedRequest
from ._ledger import Refusal
from ._page_guard import HEADERS, require_loopback
from ._pages import Pages, show_page
from ._wire import Wire, misbehave

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._clock import Clock
    from ._answers import Amounts
    from ._gate import Gate
    from ._ledger import Ledger
    from ._letters import Writer

    #: What makes the `data` of an answer of what arrived.
    Serve = Callable[[ReceivedRequest], Awaitable[dict[str, object]]]

#: Loopback only: this is a toy bank without locks.
HOST: Final = "127.0.0.1"


class App:
    """Answers as Aurpay would, and keeps what arrived."""

    def __init__(
        self, ledger: Ledger, gate: Gate, writer: Writer, clock: Clock
    ) -> None:
        self.amounts: Amounts = "string"
        self.requests: list[ReceivedRequest] = []
        self.faults = Faults()
        self.courier = Courier(clock)
        self.cashier = Cashier(ledger, writer, self.courier, clock)
        self._stopped = asyncio.Event()
        self._ledger = ledger
        self._gate = gate
        self._clock = clock
        self._runner: web.AppRunner | None = None
        self._base_url = ""

    async def start(self, port: int) -> str:
        """Serve on loopback; 0 takes a free port. Returns the base URL."""
        if self._runner is not None:
            raise ConfigurationError("this sandbox is open already")
        self._stopped.clear()
        self.courier.open()
        # Signatures cover the bytes that came, so nothing unpacks them.
        self._runner = web.AppRunner(
            self._routed(), access_log=None, shutdown_timeout=1, auto_decompress=False
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, port)
        try:
            await site.start()
        except BaseException:
            await self.stop()
            raise
        host, bound, *_ = self._runner.addresses[0]
        self._base_url = f"http://{host}:{bound}"
        return self._base_url

    async def stop(self) -> None:
        """End all connections."""
        self._stopped.set()
        # First: there may be requests that wait for their callbacks to be delivered.
        await self.courier.close()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def _routed(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/", self._show_root)
        app.router.add_post("/api/bln/order", self._create)
        app.router.add_get(
            "/api/v2/order/detail/{order_id}", self._show_detail, allow_head=False
        )
        control = build_control(self.faults, self.cashier, self.courier.sent)
        app.add_subapp("/_sandbox", control)
        pages = Pages(
            ledger=self._ledger,
            cashier=self.cashier,
            clock=self._clock,
            faults=self.faults,
            requests=self.requests,
            callbacks=self.courier.sent,
        )
        app.add_subapp("/_pages", pages.served())
        return app

    async def _create(self, request: web.Request) -> web.StreamResponse:
        async def serve(received: ReceivedRequest) -> dict[str, object]:
            order = self._ledger.create(_fields(received.body), self._clock.now())
            # The answer is of before, whatever happens until it is sent.
            data = created(order, self.amounts, self._base_url)
            await self.cashier.pay_before_answer(order.order_id)
            return data

        return await self._answer(request, serve, creates=True)

    async def _show_detail(self, request: web.Request) -> web.StreamResponse:
        async def serve(_: ReceivedRequest) -> dict[str, object]:
            return detail(self._ledger.find(request.match_info["order_id"]))

        return await self._answer(request, serve, creates=False)

    async def _answer(
        self, request: web.Request, serve: Serve, *, creates: bool
    ) -> web.StreamResponse:
        fault = self.faults.take()
        transport = request.transport
        if fault is None or transport is None:
            received = await self._receive(request)
            text = await self._text(received, serve)
            return web.Response(text=text, content_type="application/json")
        wire = Wire(transport, self._stopped)
        if fault.name == "reset":
            wire.reset()
            return _Written()
        received = await self._receive(request)
        # A read has no effect that a fault could leave out.
        serves = fault.serves or not creates
        text = await self._text(received, serve) if serves else FAILED
        await misbehave(fault, wire, text.encode())
        return _Written()

    async def _receive(self, request: web.Request) -> ReceivedRequest:
        received = ReceivedRequest(
            method=request.method,
            path=request.raw_path,
            headers=request.headers,
            body=await request.read(),
        )
        self.requests.append(received)
        return received

    async def _text(self, received: ReceivedRequest, serve: Serve) -> str:
        try:
            self._gate.check(received, self._clock.now())
            data = await serve(received)
        except Refusal as refusal:
            # Seen in Aurpay's own plugins: a refusal comes with HTTP status 200.
            return envelope(refusal.code, refusal.message, None)
        return envelope(0, "ok", data)

    async def _show_root(self, request: web.Request) -> web.Response:
        require_loopback(request)
        if "text/html" in request.headers.get("Accept", ""):
            return show_page()
        lines = [
            f"{order.order_id}  {order.status}  {order.price:f} {order.currency}  "
            f"{order.amount:f} BTC\nlightning:{order.invoice}\n"
            for order in self._ledger.orders.values()
        ]
        text = "\n".join(["The Aurpay sandbox.\n", *lines])
        return web.Response(text=text, headers=HEADERS)


def _fields(body: bytes) -> dict[str, object]:
    try:
        fields = json.loads(body, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        raise Refusal(400, "the body is not JSON") from None
    if not isinstance(fields, dict):
        raise Refusal(400, "the body is no JSON object")
    return cast("dict[str, object]", fields)


class _Written(web.Response):
    """Stands for an answer that was written by hand already."""

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to be sent."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to be sent."""
