"""The sandbox's HTTP: bytes to ledger and back, and the server that runs it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, cast

from aiohttp import web

from ..errors import ConfigurationError
from ._gate import ReceivedRequest
from ._ledger import Refusal

if TYPE_CHECKING:
    from .._clock import Clock
    from ._gate import Gate
    from ._ledger import Ledger, SandboxOrder

#: Aurpay's documentation shows amounts as numbers in one example, as text in another.
Amounts = Literal["string", "number"]

#: Loopback only: this is a toy bank without locks.
HOST: Final = "127.0.0.1"


class App:
    """Answers as Aurpay would, and keeps what arrived."""

    def __init__(self, ledger: Ledger, gate: Gate, clock: Clock) -> None:
        self.amounts: Amounts = "string"
        self.requests: list[ReceivedRequest] = []
        self._ledger = ledger
        self._gate = gate
        self._clock = clock
        self._runner: web.AppRunner | None = None
        self._base_url = ""

    async def start(self, port: int) -> str:
        """Serve on loopback; 0 takes a free port. Returns the base URL."""
        if self._runner is not None:
            raise ConfigurationError("this sandbox is open already")
        app = web.Application()
        app.router.add_get("/", self._show_orders)
        app.router.add_post("/api/bln/order", self._create_order)
        # Signatures cover the bytes that came, so nothing unpacks them.
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=1, auto_decompress=False
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
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _create_order(self, request: web.Request) -> web.Response:
        received = ReceivedRequest(
            method=request.method,
            path=request.raw_path,
            headers=request.headers,
            body=await request.read(),
        )
        self.requests.append(received)
        now = self._clock.now()
        try:
            self._gate.check(received, now)
            order = self._ledger.create(_fields(received.body), now)
        except Refusal as refusal:
            # Seen in Aurpay's own plugins: a refusal comes with HTTP status 200.
            return _answer(refusal.code, refusal.message, None)
        return _answer(0, "ok", self._described(order))

    def _described(self, order: SandboxOrder) -> dict[str, object]:
        numbers = self.amounts == "number"
        data: dict[str, object] = {
            "order_id": order.order_id,
            "status": order.status,
            "amount": order.amount if numbers else f"{order.amount:f}",
            "create_time": f"{order.created_at:%Y-%m-%dT%H:%M:%S}",
            "payment_request": order.invoice,
            "pay_url": f"{self._base_url}/#/cashier/{order.order_id}",
        }
        if not numbers:  # only the example with text has these two
            data["payment_addr"] = order.payment_secret
            data["currency"] = "BTC-LN"
        return data

    async def _show_orders(self, _: web.Request) -> web.Response:
        lines = [
            f"{order.order_id}  {order.status}  {order.price:f} {order.currency}  "
            f"{order.amount:f} BTC\nlightning:{order.invoice}\n"
            for order in self._ledger.orders.values()
        ]
        return web.Response(text="\n".join(["The Aurpay sandbox.\n", *lines]))


def _fields(body: bytes) -> dict[str, object]:
    try:
        fields = json.loads(body, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        raise Refusal(400, "the body is not JSON") from None
    if not isinstance(fields, dict):
        raise Refusal(400, "the body is no JSON object")
    return cast("dict[str, object]", fields)


def _answer(code: int, message: str, data: dict[str, object] | None) -> web.Response:
    envelope = {"code": code, "message": message, "data": data, "result": code == 0}
    return web.Response(text=_json(envelope), content_type="application/json")


def _json(value: object) -> str:
    # The json module writes no Decimal.
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        members = (f"{_json(name)}: {_json(item)}" for name, item in fields.items())
        return f"{{{', '.join(members)}}}"
    return json.dumps(value)
