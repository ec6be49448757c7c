"""The JSON of the sandbox's responses, as Aurpay's documentation shows it.

Pure, and written from the documentation; the client reads that independently.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, TypeVar, cast

from ._transactions import fee_of, tx_id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from ._orders import SandboxOrder
    from ._transactions import SandboxTransaction

T = TypeVar("T")

#: Aurpay's documentation shows amounts as numbers in one example, as strings in
#: another.
Amounts = Literal["string", "number"]

#: The id of the merchant in the documented form: ``mct-`` and twelve hex digits.
USER_ID: Final = "mct-5a9db0c5a9db"


def created(order: SandboxOrder, amounts: Amounts, base_url: str) -> dict[str, object]:
    """Return the data of a created Lightning order."""
    numbers = amounts == "number"
    data: dict[str, object] = {
        "order_id": order.order_id,
        "status": order.status,
        "amount": order.amount if numbers else f"{order.amount:f}",
        "create_time": _time(order.created_at),
        "payment_request": order.invoice,
        "pay_url": _pay_url(order, base_url),
    }
    if not numbers:  # only the example with strings has these two
        data["payment_addr"] = order.payment_secret
        data["currency"] = "BTC-LN"
    return data


def payment(order: SandboxOrder, base_url: str) -> dict[str, object]:
    """Return the data of a created order in another coin."""
    return {
        "order_id": order.order_id,
        "status": order.status,
        "amount": order.amount,
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
        "status": order.status,
        "chain": order.chain,
        "chain_name": order.chain_name,
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
    return {
        "order_id": order.order_id,
        "chain": order.chain,
        "currency": order.coin,
        "amount": order.amount,
    }


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
        "tx_id": row.tx_id,
        "tx_type": row.tx_type,
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
    """Return a page of a list, numbered from 1."""
    total = len(rows)
    return {
        "page": number,
        "size": size,
        "total": total,
        "max_page": -(-total // size),
        "data": [view(row) for row in rows[(number - 1) * size : number * size]],
    }


def envelope(code: int, message: str, data: dict[str, object] | None) -> str:
    """Return a response in Aurpay's envelope; code 0 is success."""
    return write({"code": code, "message": message, "data": data, "result": code == 0})


def write(value: object) -> str:
    """Write JSON with exact numbers; the json module does not write `Decimal`."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        members = (f"{write(name)}: {write(item)}" for name, item in fields.items())
        return f"{{{', '.join(members)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(write, cast('list[object]', value)))}]"
    return json.dumps(value)


def _time(time: datetime) -> str:
    # Aurpay documents times without a zone.
    return f"{time:%Y-%m-%dT%H:%M:%S}"


def _pay_url(order: SandboxOrder, base_url: str) -> str:
    return f"{base_url}/#/cashier/{order.order_id}"


#: The response of a fault that creates no order.
FAILED: Final = envelope(500, "a fault of the sandbox; nothing was done", None)
