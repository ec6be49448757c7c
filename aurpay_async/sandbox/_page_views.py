"""The data of the sandbox's pages as JSON: newest first, bounded and without secrets.

Pure. It contains the names of headers and the beginning of bodies, but no keys,
preimages or signatures. Invisible characters and those that change the direction of
text are escaped.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from ._coins import COINS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ._checkouts import Checkout
    from ._courier import SentCallback
    from ._gate import ReceivedRequest
    from ._orders import SandboxOrder

    View = dict[str, object]

#: The rows of each list on a page.
MAX_ROWS: Final = 100
#: The limits of a string, in characters, and of a body, in bytes.
MAX_TEXT: Final = 500
MAX_BODY: Final = 2_000

_SATOSHI_PER_BTC: Final = 10**8

T = TypeVar("T")


def checkout(order: SandboxOrder, *, qr: bool) -> View:
    """Return the checkout of an order; `qr` tells whether QR codes can be rendered."""
    return {
        **_row(order),
        "sat": int(order.amount * _SATOSHI_PER_BTC),
        "invoice": order.invoice,
        "address": order.address,
        "qr": qr and order.is_lightning,
        "life": (order.expires_at - order.created_at).total_seconds(),
        "late": order.was_overdue,
        "deadline": order.expires_at.timestamp(),
        # As registered: the page links to http and https URLs only.
        "succeed_url": order.urls.get("succeed_url"),
        "timeout_url": order.urls.get("timeout_url"),
    }


def choice(checkout: Checkout, order: SandboxOrder | None) -> View:
    """Return the coins of a checkout page, and the order if a coin was chosen."""
    coins = [{"name": coin.name, "chain": coin.chain_name} for coin in COINS.values()]
    return {
        "price": f"{checkout.price:f}",
        "currency": checkout.currency,
        "coins": coins,
        "order_id": order and order.order_id,
    }


def orders(known: dict[str, SandboxOrder]) -> View:
    """Return the latest orders."""
    latest = islice(reversed(known.values()), MAX_ROWS)
    return {"total": len(known), "rows": [_row(order) for order in latest]}


def requests(arrived: Sequence[ReceivedRequest]) -> View:
    """Return the latest requests to the API."""
    return _numbered(arrived, _request)


def callbacks(sent: Sequence[SentCallback]) -> View:
    """Return the latest attempts to deliver a callback."""
    return _numbered(sent, _callback)


def queued(faults: Iterable[str]) -> list[str]:
    """Return the next faults of a queue."""
    return [escape_hidden(fault) for fault in islice(faults, MAX_ROWS)]


def escape_hidden(text: str, most: int = MAX_TEXT) -> str:
    """Return an external string: bounded, in one line, without hidden characters."""
    shown = text if len(text) <= most else f"{text[:most]}\N{HORIZONTAL ELLIPSIS}"
    if shown.isprintable():  # the usual case, a hundred times faster
        return shown
    return "".join(char if char.isprintable() else _escaped(char) for char in shown)


def _escaped(char: str) -> str:
    return char.encode("unicode-escape").decode("ascii")


def _numbered(items: Sequence[T], view: Callable[[T], View]) -> View:
    """Return the last items; their ``key`` is their number, from 1."""
    total = len(items)
    numbers = range(total, max(0, total - MAX_ROWS), -1)
    rows = [{"key": number, **view(items[number - 1])} for number in numbers]
    return {"total": total, "rows": rows}


def _row(order: SandboxOrder) -> View:
    return {
        "key": order.order_id,
        "status": order.status,
        "price": f"{order.price:f}",
        "currency": order.currency,
        "amount": f"{order.amount:f}",
        # The page shows BTC for a Lightning order, as payers know it.
        "coin": "BTC" if order.is_lightning else order.coin,
        "created": order.created_at.timestamp(),
    }


def _request(request: ReceivedRequest) -> View:
    body = request.body[:MAX_BODY].decode("utf-8", "replace")
    return {
        "method": escape_hidden(request.method),
        "path": escape_hidden(request.path),
        "headers": [escape_hidden(name) for name in islice(request.headers, MAX_ROWS)],
        "body": escape_hidden(body, MAX_BODY),
        "size": len(request.body),
        "served": request.is_served,
    }


def _callback(sent: SentCallback) -> View:
    return {
        "order_id": sent.order_id,
        "kind": sent.kind,
        "method": sent.method,
        "url": escape_hidden(sent.url),
        "headers": [escape_hidden(name) for name, _ in sent.headers],
        "size": len(sent.body),
        "status": sent.status,
        "error": sent.error and escape_hidden(sent.error),
        "sent": sent.sent_at.timestamp(),
    }
