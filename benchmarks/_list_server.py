"""A server with many orders: it creates one, lists them, and returns each.

Like `_server`, it runs in a separate process, and answers as fast as Python can. It
reads the answer to a create from standard input; the number of orders is its argument.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from datetime import UTC, datetime
from typing import Any

from ._server import Fixed, build_answer, serve_with

#: Rows per page, as `wait_for_payment` requests them.
SIZE = 100

_PAGE = re.compile(rb"[?&]page=(\d+)")


def order_id(number: int) -> str:
    """Return the id of an order; the one with number 0 is the oldest."""
    return f"waiting-{number:06}"


def build_row(number: int, created: str) -> dict[str, Any]:
    """Return an order as the list and order detail show it."""
    return {
        "user_id": "mct-1",
        "order_id": order_id(number),
        "order_type": "ORDER",
        "platform": "AURPAY",
        "status": "PENDING",
        "chain": "BLN",
        "chain_name": "Lightning",
        "currency": "BTC-LN",
        "amount": "0.00019044",
        "vs_price": "20.0",
        "vs_currency": "USD",
        "remark": "",
        "refund": False,
        "create_time": created,
        "update_time": created,
    }


def wrap(data: object) -> bytes:
    """Return an HTTP response with an envelope."""
    envelope = {"code": 0, "message": "ok", "data": data, "result": True}
    return build_answer(json.dumps(envelope).encode())


class Orders(Fixed):
    """A connection."""

    created: bytes
    pages: list[bytes]
    empty: bytes
    details: dict[bytes, bytes]

    def answer_to(self, head: bytes) -> bytes:
        """Return the response to a request."""
        if head.startswith(b"post"):
            return self.created
        if page := _PAGE.search(head):
            number = int(page[1]) - 1
            return self.pages[number] if number < len(self.pages) else self.empty
        path = head.split(b" ", 2)[1]
        return self.details[path.rpartition(b"/")[2]]


def prepare(created: bytes, count: int) -> None:
    """Build all responses."""
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    rows = [build_row(number, now) for number in reversed(range(count))]
    total = {"size": SIZE, "total": count, "max_page": -(-count // SIZE)}
    Orders.created = build_answer(created)
    Orders.pages = [
        wrap({"page": at // SIZE + 1, **total, "data": rows[at : at + SIZE]})
        for at in range(0, count, SIZE)
    ]
    Orders.empty = wrap({"page": total["max_page"] + 1, **total, "data": []})
    Orders.details = {row["order_id"].encode(): wrap(row) for row in rows}


if __name__ == "__main__":
    prepare(sys.stdin.buffer.read(), int(sys.argv[1]))
    asyncio.run(serve_with(lambda: Orders(b"")))
