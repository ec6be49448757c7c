"""Aurpay in memory, with ready answers: it costs next to nothing while it is used."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aurpay_async import AurpayClient, Response

from ._list_server import build_row
from .orders import build_response

if TYPE_CHECKING:
    from aurpay_async import Request


class ReadyAurpay:
    """A transport. Each create returns the next order; all of them become paid."""

    def __init__(self, orders: int) -> None:
        self._numbers = iter(range(orders))
        self._created = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
        #: Distinct in all processes.
        self._prefix = os.urandom(8).hex()
        self._answers = [
            build_response(self.order_id(number), os.urandom(32).hex())
            for number in range(orders)
        ]
        self.paid: set[str] = set()

    def order_id(self, number: int) -> str:
        """Return the id of an order."""
        return f"{self._prefix}-{number}"

    async def send(self, request: Request) -> Response:
        """Create an order, or return one."""
        if request.method == "POST":
            return Response(status=200, body=self._answers[next(self._numbers)])
        order_id = request.path.rpartition("/")[2]
        row = {**build_row(0, self._created), "order_id": order_id}
        if order_id in self.paid:
            row["status"] = "SUCCESS"
        envelope = {"code": 0, "message": "ok", "data": row, "result": True}
        return Response(status=200, body=json.dumps(envelope).encode())

    def client(self) -> AurpayClient:
        """Return a client of it."""
        key = "a reference key of 32 characters"
        return AurpayClient(network="regtest", transport=self, reference_key=key)
