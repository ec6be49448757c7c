"""The sandbox's HTTP: bytes to ledger and back, and the server that runs it."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, cast

from aiohttp import web

from ..errors import ConfigurationError, InvalidRequestError
from ._faults import Faults
from ._gate import ReceivedRequest
from ._ledger import Refusal
from ._wire import Wire, misbehave

if TYPE_CHECKING:
    from .._clock import Clock
    from ._gate import Gate
    from ._ledger import Ledger, SandboxOrder

#: Aurpay's documentation shows amounts as numbers in one example, as text in another.
Amounts = Literal["string", "number"]

#: Loopback only: this is a toy bank without locks.
HOST: Final = "127.0.0.1"

#: The names that a request to it may use.
_LOOPBACK: Final = frozenset({HOST, "localhost", "::1"})


class App:
    """Answers as Aurpay would, and keeps what arrived."""

    def __init__(self, ledger: Ledger, gate: Gate, clock: Clock) -> None:
        self.amounts: Amounts = "string"
        self.requests: list[ReceivedRequest] = []
        self.faults = Faults()
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
        app = web.Application()
        app.router.add_get("/", self._show_orders)
        app.router.add_post("/api/bln/order", self._serve)
        app.router.add_route("*", "/_sandbox/faults", self._control_faults)
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
        self._stopped.set()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults.take()
        transport = request.transport
        if fault is None or transport is None:
            received = await self._receive(request)
            return _as_json(self._answer(received))
        wire = Wire(transport, self._stopped)
        if fault.name == "reset":
            wire.reset()
            return _Written()
        received = await self._receive(request)
        answer = self._answer(received) if fault.serves else _FAILED
        await misbehave(fault, wire, answer.encode())
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

    def _answer(self, received: ReceivedRequest) -> str:
        now = self._clock.now()
        try:
            self._gate.check(received, now)
            order = self._ledger.create(_fields(received.body), now)
        except Refusal as refusal:
            # Seen in Aurpay's own plugins: a refusal comes with HTTP status 200.
            return _envelope(refusal.code, refusal.message, None)
        return _envelope(0, "ok", self._described(order))

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

    async def _control_faults(self, request: web.Request) -> web.Response:
        """``GET`` lists faults, ``POST`` of a JSON list adds some, ``DELETE`` drops."""
        # A page that somebody has open elsewhere must not reach in here: browsers send
        # these headers, and a name that leads here today is not one of ours.
        if "Origin" in request.headers or "Sec-Fetch-Site" in request.headers:
            raise web.HTTPForbidden(text="not for browsers\n")
        if request.url.host not in _LOOPBACK:
            raise web.HTTPForbidden(text="ask 127.0.0.1 or localhost\n")
        if request.method == "DELETE":
            self.faults.clear()
        elif request.method == "POST":
            self._push_faults(await request.read())
        elif request.method != "GET":
            raise web.HTTPMethodNotAllowed(request.method, ("GET", "POST", "DELETE"))
        return _as_json(json.dumps(list(self.faults)))

    def _push_faults(self, body: bytes) -> None:
        try:
            self.faults.push(*_texts(body))
        except InvalidRequestError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None

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


def _texts(body: bytes) -> list[str]:
    try:
        texts = json.loads(body)
    except (ValueError, RecursionError):
        texts = None
    if not isinstance(texts, list):
        raise InvalidRequestError("must be a JSON list", field="faults")
    return [str(text) for text in cast("list[object]", texts)]


def _envelope(code: int, message: str, data: dict[str, object] | None) -> str:
    return _json({"code": code, "message": message, "data": data, "result": code == 0})


def _json(value: object) -> str:
    # The json module writes no Decimal.
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        members = (f"{_json(name)}: {_json(item)}" for name, item in fields.items())
        return f"{{{', '.join(members)}}}"
    return json.dumps(value)


#: What an answer says that goes wrong without an order.
_FAILED: Final = _envelope(500, "a fault of the sandbox; no order was made", None)


def _as_json(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/json")


class _Written(web.Response):
    """Stands for an answer that was written by hand already."""

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to be sent."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to be sent."""
