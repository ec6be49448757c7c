"""Documented answers, and the data of the pages.

Answers are written from the documentation; the client reads that independently.

The data of the pages contains the names of headers and the beginning of bodies, but no
keys, preimages or signatures. Invisible characters and those that change the direction
of text are escaped.
"""

from __future__ import annotations

from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from .._core.json import dump_json, pick
from .._core.urls import escape_control
from ._ledger import fee_of, tx_id_of
from ._models import COINS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from ._callbacks import SentCallback
    from ._models import Checkout, SandboxOrder, SandboxTransaction
    from ._settings import ReceivedRequest

    #: Data of a page.
    View = dict[str, object]

T = TypeVar("T")

#: Aurpay's documentation shows amounts as numbers in one example, as strings in
#: another.
Amounts = Literal["string", "number"]

#: The id of the merchant in the documented form: ``mct-`` and twelve hex digits.
USER_ID: Final = "mct-5a9db0c5a9db"


def created(order: SandboxOrder, amounts: Amounts, base_url: str) -> dict[str, object]:
    numbers = amounts == "number"
    # Only the example with strings has these two.
    more = {"payment_addr": order.payment_secret, "currency": "BTC-LN"}
    return {
        **pick(order, "order_id status"),
        "amount": order.amount if numbers else f"{order.amount:f}",
        "create_time": _time(order.created_at),
        "payment_request": order.invoice,
        "pay_url": _pay_url(order, base_url),
        **({} if numbers else more),
    }


def payment(order: SandboxOrder, base_url: str) -> dict[str, object]:
    return {
        **pick(order, "order_id status amount"),
        "create_time": _time(order.created_at),
        "vs_currency": order.currency,
        "vs_price": order.price,
        "address": order.address,
        "contract_addr": order.contract,
        "pay_url": _pay_url(order, base_url),
    }


def detail(order: SandboxOrder) -> dict[str, object]:
    """Return the documented order object, in which amounts are always strings."""
    return {
        "user_id": USER_ID,
        "order_id": order.order_id,
        "order_type": "ORDER",
        "platform": "AURPAY",
        **pick(order, "status chain chain_name"),
        "currency": order.coin,
        "amount": f"{order.amount:f}",
        "vs_price": f"{order.price:f}",
        "vs_currency": order.currency,
        "remark": "",
        # Documented as "eligible for a refund".
        "refund": order.status == "SUCCESS",
        "create_time": _time(order.created_at),
        "update_time": _time(order.updated_at),
    }


def notification(order: SandboxOrder) -> dict[str, object]:
    """Return the body of a callback by ``POST``: flat, without an envelope."""
    fields = detail(order)
    times = {name: fields.pop(name) for name in ("create_time", "update_time")}
    return {
        **fields,
        "bind_id": None,
        **times,
        "tx_id": tx_id_of(order),
        "tx_type": "ORDER",
        "obtained": None,
        "fee": f"{fee_of(order):f}",
        "from_addr": None,
        "to_addr": order.invoice or order.address,
        "tx_hash": None,
        "tx_hash_list": [],
        "contract_id": None,
        "website": None,
    }


def refund_info(order: SandboxOrder) -> dict[str, object]:
    """Return the amount that can be refunded; a number, as documented."""
    chain = pick(order, "order_id chain")
    return {**chain, "currency": order.coin, "amount": order.amount}


def refunded(order: SandboxOrder) -> dict[str, object]:
    """Return the result of a refund: flat, as documented; the values are not."""
    return {
        "order_id": order.order_id,
        "refund_status": order.status,
        "refund_amount": order.amount,
        "refund_date": _time(order.updated_at),
    }


def transaction(row: SandboxTransaction) -> dict[str, object]:
    """Return a transaction, in which each value is a string or null."""
    return {
        "user_id": USER_ID,
        **pick(row, "tx_id tx_type"),
        "status": "SUCCESS",
        "chain": row.chain,
        "currency": row.coin,
        "amount": f"{row.amount:f}",
        "obtained": None if row.obtained is None else f"{row.obtained:f}",
        "fee": f"{row.fee:f}",
    }


def page(
    rows: Sequence[T], number: int, size: int, view: Callable[[T], dict[str, object]]
) -> dict[str, object]:
    """Return a page of `rows`, which begin with the oldest; a page, with the newest."""
    total = len(rows)
    end = max(total - (number - 1) * size, 0)
    return {
        "page": number,
        "size": size,
        "total": total,
        "max_page": -(-total // size),
        "data": [view(row) for row in reversed(rows[max(end - size, 0) : end])],
    }


def envelope(code: int, message: str, data: dict[str, object] | None) -> str:
    """Return a response in Aurpay's envelope; code 0 is success."""
    fields = {"code": code, "message": message, "data": data, "result": code == 0}
    return dump_json(fields)


def _time(time: datetime) -> str:
    # Aurpay documents times without a zone.
    return f"{time:%Y-%m-%dT%H:%M:%S}"


def _pay_url(order: SandboxOrder, base_url: str) -> str:
    return f"{base_url}/#/cashier/{order.order_id}"


#: The response of a fault that creates no order.
FAILED: Final = envelope(500, "a fault of the sandbox; nothing was done", None)

#: The rows of each list on a page.
MAX_ROWS: Final = 100

#: The limits of a string, in characters, and of a body, in bytes.
MAX_TEXT: Final = 500
MAX_BODY: Final = 2_000
_SATOSHI_PER_BTC: Final = 10**8


def checkout(order: SandboxOrder, *, qr: bool) -> View:
    """Return the checkout of an order; `qr` is whether QR codes can be rendered."""
    return {
        **_row(order),
        "sat": int(order.amount * _SATOSHI_PER_BTC),
        **pick(order, "invoice address"),
        "qr": qr and order.is_lightning,
        "life": (order.expires_at - order.created_at).total_seconds(),
        "late": order.was_overdue,
        "deadline": order.expires_at.timestamp(),
        # As registered: the page links to http and https URLs only.
        "succeed_url": order.urls.get("succeed_url"),
        "timeout_url": order.urls.get("timeout_url"),
    }


def choice(checkout: Checkout, order: SandboxOrder | None) -> View:
    coins = [{"name": coin.name, "chain": coin.chain_name} for coin in COINS.values()]
    price = {"price": f"{checkout.price:f}", "currency": checkout.currency}
    return {**price, "coins": coins, "order_id": order and order.order_id}


def orders(known: dict[str, SandboxOrder]) -> View:
    latest = islice(reversed(known.values()), MAX_ROWS)
    return {"total": len(known), "rows": [_row(order) for order in latest]}


def queued(faults: Iterable[str]) -> list[str]:
    return [escape_hidden(fault) for fault in islice(faults, MAX_ROWS)]


def escape_hidden(text: str, most: int = MAX_TEXT) -> str:
    """Return an external string: bounded, in one line, without hidden characters."""
    shown = text if len(text) <= most else f"{text[:most]}\N{HORIZONTAL ELLIPSIS}"
    return escape_control(shown)


def numbered(items: Sequence[T], view: Callable[[T], View]) -> View:
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


def request(request: ReceivedRequest) -> View:
    body = request.body[:MAX_BODY].decode("utf-8", "replace")
    return {
        "method": escape_hidden(request.method),
        "path": escape_hidden(request.path),
        "headers": [escape_hidden(name) for name in islice(request.headers, MAX_ROWS)],
        "body": escape_hidden(body, MAX_BODY),
        "size": len(request.body),
        "served": request.is_served,
    }


def callback(sent: SentCallback) -> View:
    return {
        **pick(sent, "order_id kind method"),
        "url": escape_hidden(sent.url),
        "headers": [escape_hidden(name) for name, _ in sent.headers],
        "size": len(sent.body),
        "status": sent.status,
        "error": sent.error and escape_hidden(sent.error),
        "sent": sent.sent_at.timestamp(),
    }


@cache
def read_static(name: str) -> bytes:
    """Return a file of ``static``, which is read once."""
    return (Path(__file__).parent / "static" / name).read_bytes()
