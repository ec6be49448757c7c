"""A platform in memory for the tests of the order store, with fault injection."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from aurpay_async import Effect, RequestOutcome
from aurpay_async.callbacks._reference import ReferenceSigner
from aurpay_async.errors import ConnectError, ConnectionLostError

from ..support.orders import answer, detail, envelope, invoice, order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aurpay_async import Request, Response
    from aurpay_async.testing import FakeClock

#: A made-up key that signs the references.
REFERENCE_KEY = "sandbox-reference-key"

#: The two callback URLs that every order of these tests has.
URLS: dict[str, Any] = {
    "callback_url": "https://shop.example/aurpay/paid",
    "timeout_callback": "https://shop.example/aurpay/timeout",
}


class Platform:
    """A transport that answers like Aurpay; the next creates fail as `faults` say.

    ``unsent``, ``refused``, ``lost`` and ``lost+created`` do what their names say;
    ``untrusted`` creates an order with another amount; ``cut`` creates one, and the
    received part of the answer has its id; ``again`` returns the last order again;
    ``paid`` creates one that is paid before the answer; ``wait`` waits until `go` is
    set, and continues with the next fault.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.faults: list[str] = []
        #: Responses or errors of queries, by operation.
        self.broken: dict[str, Response | Exception] = {}
        #: The orders by id, in the format of the API.
        self.orders: dict[str, dict[str, Any]] = {}
        #: The callback URLs of each order.
        self.urls: dict[str, Mapping[str, str]] = {}
        #: Calls by operation, without the read-backs of new orders.
        self.calls: Counter[str] = Counter()
        self.read_backs = 0
        self._unread: set[str] = set()
        self.go = asyncio.Event()
        #: The lifetime of an invoice in seconds.
        self.expiry = 86_400
        self._invoices = 0
        self._clock = clock
        self._signer = ReferenceSigner(REFERENCE_KEY)

    def attempt_id(self, order_id: str) -> str:
        """Return the attempt_id that the order's callbacks carry."""
        return self._signer.read(self.urls[order_id]["callback_url"]).attempt_id

    def set(self, order_id: str, status: str) -> None:
        """Set the status of an order."""
        self.orders[order_id]["status"] = status

    async def send(self, request: Request) -> Response:
        """Answer a request, or fail as the next fault says."""
        order_id = request.path.rpartition("/")[2]
        if order_id in self._unread:
            self._unread.discard(order_id)
            self.read_backs += 1
        else:
            self.calls[request.operation] += 1
        if request.effect is Effect.CREATE:
            return await self._create(json.loads(request.body))
        broken = self.broken.get(request.operation)
        if isinstance(broken, Exception):
            raise broken
        if broken is not None:
            return broken
        if request.operation == "list_orders":
            return self._list()
        shown = self.orders.get(request.path.rpartition("/")[2])
        if shown is None:
            return answer(b"{}", 404)
        return answer(envelope(shown))

    async def _create(self, asked: Mapping[str, Any]) -> Response:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "wait":
            await self.go.wait()
            fault = self.faults.pop(0) if self.faults else ""
        if fault == "unsent":
            raise ConnectError("no way there", outcome=RequestOutcome.NOT_SENT)
        if fault == "refused":
            return answer(b"{}", 403)
        if fault == "lost":
            raise ConnectionLostError("reset")
        made = {**self._last} if fault == "again" else self._made(asked)
        if fault == "lost+created":
            raise ConnectionLostError("reset")
        if fault == "cut":
            cut = json.dumps(envelope(made))[:-20].encode()
            raise ConnectionLostError("cut", body=cut)
        if fault == "paid":
            self.set(made["order_id"], "SUCCESS")
        if fault == "untrusted":
            made["amount"] = "0.00021000"
        else:
            self._unread.add(made["order_id"])
        return answer(envelope(made))

    def _made(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        now = self._clock.now()
        self._invoices += 1
        order_id = f"{now:%Y%m%d%H%M%S}{len(self.orders) + 1:06}"
        created = f"{now:%Y-%m-%dT%H:%M:%S}"
        self.orders[order_id] = detail(
            order_id=order_id,
            vs_price=str(asked["price"]),
            vs_currency=asked["currency"],
            create_time=created,
            update_time=created,
        )
        self.urls[order_id] = {k: v for k, v in asked.items() if k in URLS}
        self._last = order(
            order_id=order_id,
            create_time=created,
            pay_url=f"https://dashboard.aurpay.net/#/cashier/{order_id}",
            payment_request=invoice(
                payment_hash=f"{self._invoices:064x}",
                timestamp=int(now.timestamp()),
                expiry=self.expiry,
            ),
        )
        return {**self._last}

    def _list(self) -> Response:
        rows = [*reversed(self.orders.values())]
        page = {"page": 1, "size": 100, "total": len(rows), "max_page": 1}
        return answer(envelope({**page, "data": rows}))
