"""What the sandbox's pages show, as JSON: newest first, bounded, and without secrets.

Pure. Of headers only the names leave, of bodies the beginning; keys, preimages and
signatures are in none of it. Texts from outside arrive readable: what is invisible or
turns the direction of a line around is written as its escape.
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

#: How much of each list a page has room for.
MAX_ROWS: Final = 100
#: How much of a text, in characters, and of a body, in bytes.
MAX_TEXT: Final = 500
MAX_BODY: Final = 2_000

_SATOSHI_PER_BTC: Final = 10**8

T = TypeVar("T")


def checkout(order: SandboxOrder, *, qr: bool) -> View:
    """What a payer sees; `qr` says whether there is a code to be scanned."""
    return {
        **_row(order),
        "sat": int(order.amount * _SATOSHI_PER_BTC),
        "invoice": order.invoice,
        "address": order.address,
        "qr": qr and order.is_lightning,
        "life": (order.expires_at - order.created_at).total_seconds(),
        "late": order.was_overdue,
        "deadline": order.expires_at.timestamp(),
        # As registered: the page makes a link of what is http or https, or nothing.
        "succeed_url": order.urls.get("succeed_url"),
        "timeout_url": order.urls.get("timeout_url"),
    }


def choice(checkout: Checkout, order: SandboxOrder | None) -> View:
    """What a payer can choose; or the order, if that is done."""
    coins = [{"name": coin.name, "chain": coin.chain_name} for coin in COINS.values()]
    return {
        "price": f"{checkout.price:f}",
        "currency": checkout.currency,
        "coins": coins,
        "order_id": order and order.order_id,
    }


def orders(known: dict[str, SandboxOrder]) -> View:
    """The latest orders."""
    latest = islice(reversed(known.values()), MAX_ROWS)
    return {"total": len(known), "rows": [_row(order) for order in latest]}


def requests(arrived: Sequence[ReceivedRequest]) -> View:
    """The latest requests of the API."""
    return _numbered(arrived, _request)


def callbacks(sent: Sequence[SentCallback]) -> View:
    """The latest attempts to deliver a callback."""
    return _numbered(sent, _callback)


def queued(texts: Iterable[str]) -> list[str]:
    """What goes wrong next."""
    return [visible(text) for text in islice(texts, MAX_ROWS)]


def visible(text: str, most: int = MAX_TEXT) -> str:
    """A text from outside: bounded, in one line, with nothing hidden in it."""
    shown = text if len(text) <= most else f"{text[:most]}\N{HORIZONTAL ELLIPSIS}"
    if shown.isprintable():  # nearly always, and a hundred times faster to see
        return shown
    return "".join(char if char.isprintable() else _escaped(char) for char in shown)


def _escaped(char: str) -> str:
    return char.encode("unicode-escape").decode("ascii")


def _numbered(items: Sequence[T], view: Callable[[T], View]) -> View:
    """The last of them; what has no name has its number, from 1, as its ``key``."""
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
        # The page writes BTC for a Lightning order, as payers do.
        "coin": "BTC" if order.is_lightning else order.coin,
        "created": order.created_at.timestamp(),
    }


def _request(request: ReceivedRequest) -> View:
    body = request.body[:MAX_BODY].decode("utf-8", "replace")
    return {
        "method": visible(request.method),
        "path": visible(request.path),
        "headers": [visible(name) for name in islice(request.headers, MAX_ROWS)],
        "body": visible(body, MAX_BODY),
        "size": len(request.body),
        "served": request.is_served,
    }


def _callback(sent: SentCallback) -> View:
    return {
        "order_id": sent.order_id,
        "kind": sent.kind,
        "method": sent.method,
        "url": visible(sent.url),
        "headers": [visible(name) for name, _ in sent.headers],
        "size": len(sent.body),
        "status": sent.status,
        "error": sent.error and visible(sent.error),
        "sent": sent.sent_at.timestamp(),
    }
