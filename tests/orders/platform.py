"""The sandbox as the tests of the order store use it: calls are counted, and fail."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import MutableMapping
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self

import attrs

from aurpay_async import Effect, RequestOutcome
from aurpay_async._client import BASE_URL
from aurpay_async.callbacks._identity import ReferenceSigner
from aurpay_async.errors import ConnectError
from aurpay_async.sandbox import Sandbox
from aurpay_async.sandbox._responses import detail

from ..support.orders import build_response, wrap_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from aurpay_async import Request, Response
    from aurpay_async.sandbox import SandboxOrder
    from aurpay_async.sandbox._storage import PersistentDict
    from aurpay_async.testing import FakeClock

#: A made-up key that signs the references.
REFERENCE_KEY = "sandbox-reference-key"

#: The two callback URLs that every order of these tests has.
URLS: dict[str, Any] = {
    "callback_url": "https://shop.example/aurpay/paid",
    "timeout_callback": "https://shop.example/aurpay/timeout",
}

#: The sandbox's fault of each fault of a create that the sandbox can inject.
_FAULTS: Final = {
    "refused": ["403"],
    "lost": ["reset-after-request"],
    "lost+created": ["reset-after-request+created"],
    "cut": ["cut-body+created"],
    "again": ["replayed"],
}


class _Orders(MutableMapping[str, dict[str, Any]]):
    """The sandbox's orders by id, as its detail endpoint shows them.

    Status, price and amount can be changed; an order can be hidden and shown again.
    """

    def __init__(self, orders: PersistentDict[SandboxOrder]) -> None:
        self._orders = orders
        self._hidden: dict[str, SandboxOrder] = {}

    def __getitem__(self, order_id: str) -> dict[str, Any]:
        return detail(self._orders[order_id])

    def __setitem__(self, order_id: str, fields: dict[str, Any]) -> None:
        order = self._hidden.pop(order_id, None) or self._orders[order_id]
        self._orders._by_age.clear()
        self._orders[order_id] = attrs.evolve(
            order,
            status=fields["status"],
            price=Decimal(fields["vs_price"]),
            currency=fields["vs_currency"],
            amount=Decimal(fields["amount"]),
        )

    def __delitem__(self, order_id: str) -> None:
        self._hidden[order_id] = self._orders.pop(order_id)
        self._orders._by_age.clear()

    def urls(self) -> dict[str, Mapping[str, str]]:
        orders = {**self._hidden, **self._orders}
        return {order_id: order.urls for order_id, order in orders.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._orders)

    def __len__(self) -> int:
        return len(self._orders)


class Platform:
    """A transport to a sandbox of its own; the next creates fail as `faults` say.

    ``unsent``, ``refused``, ``lost`` and ``lost+created`` do what their names say;
    ``untrusted`` creates an order with another amount; ``cut`` creates one, and the
    received part of the answer has its id; ``again`` returns the last order again;
    ``paid`` creates one that is paid before the answer; ``wait`` waits until `go` is
    set, and continues with the next fault.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.sandbox = Sandbox(port=None, clock=clock, public_url=BASE_URL)
        self.faults: list[str] = []
        #: Responses or errors of queries, by operation.
        self.broken: dict[str, Response | Exception] = {}
        self.orders = _Orders(self.sandbox._simulator.orders)
        #: Calls by operation, without the read-backs of new orders.
        self.calls: Counter[str] = Counter()
        self.read_backs = 0
        self._unread: set[str] = set()
        self.go = asyncio.Event()
        #: Called after the next order is created, before its answer arrives.
        self.before_answer: Callable[[], object] | None = None
        #: The number of following answers that repeat the invoice of the last order.
        self.repeated_invoices = 0
        #: Fields that replace those of the next answer to a create.
        self.changed: dict[str, str] = {}
        self._last: dict[str, Any] = {}
        self._clock = clock
        # A fault of the sandbox is for the next request, so requests do not overlap.
        self._lock = asyncio.Lock()
        self._signer = ReferenceSigner(REFERENCE_KEY)

    async def __aenter__(self) -> Self:
        await self.sandbox.start()
        self._transport = self.sandbox.transport()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sandbox.aclose()

    @property
    def urls(self) -> dict[str, Mapping[str, str]]:
        """Return the callback URLs of each order, hidden or not."""
        return self.orders.urls()

    def attempt_id(self, order_id: str) -> str:
        """Return the attempt_id that the order's callbacks carry."""
        return self._signer.read(self.urls[order_id]["callback_url"]).attempt_id

    def set(self, order_id: str, status: str) -> None:
        """Set the status of an order."""
        self.orders[order_id] |= {"status": status}

    async def send(self, request: Request) -> Response:
        """Answer a request, or fail as the next fault says."""
        order_id = request.path.rpartition("/")[2]
        if order_id in self._unread:
            self._unread.discard(order_id)
            self.read_backs += 1
        else:
            self.calls[request.operation] += 1
        if request.effect is Effect.CREATE:
            return await self._create(request)
        broken = self.broken.get(request.operation)
        if isinstance(broken, Exception):
            raise broken
        return broken or await self._forward(request)

    async def _forward(self, request: Request, *faults: str) -> Response:
        async with self._lock:
            self.sandbox.faults.push(*faults)
            return await self._transport.send(request)

    async def _create(self, request: Request) -> Response:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "wait":
            await self.go.wait()
            fault = self.faults.pop(0) if self.faults else ""
        if fault == "unsent":
            raise ConnectError("no way there", outcome=RequestOutcome.NOT_SENT)
        response = await self._forward(request, *_FAULTS.get(fault, ()))
        if response.status != HTTPStatus.OK:
            return response
        data = json.loads(response.body)["data"]
        if self.repeated_invoices and self._last:
            self.repeated_invoices -= 1
            for name in ("payment_request", "payment_addr"):
                data[name] = self._last[name]
        self._last = data
        if self.before_answer is not None:
            self.before_answer()
            self.before_answer = None
        if fault == "paid":
            self.set(data["order_id"], "SUCCESS")
        if fault == "untrusted":
            self.changed = {"amount": "0.00021000"}
        else:
            self._unread.add(data["order_id"])
        changed, self.changed = self.changed, {}
        return build_response(wrap_data({**data, **changed}))
