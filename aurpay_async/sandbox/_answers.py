"""What the sandbox says of an order: the JSON that Aurpay's documentation shows.

Pure, and written from the documentation: the client has its own reading of it.
"""

from __future__ import annotations

import json
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Final, Literal, cast
from uuid import NAMESPACE_URL, uuid5

if TYPE_CHECKING:
    from datetime import datetime

    from ._ledger import SandboxOrder

#: Aurpay's documentation shows amounts as numbers in one example, as text in another.
Amounts = Literal["string", "number"]

#: The merchant: ``mct-`` and twelve hexadecimal digits, as the documented ones.
USER_ID: Final = "mct-5a9db0c5a9db"

#: What the documented example's fee is of its amount; exact, with eleven decimals.
_FEE: Final = Decimal("0.008")
#: Of its own, whatever the process has set.
_EXACT: Final = Context(prec=50)


def created(order: SandboxOrder, amounts: Amounts, base_url: str) -> dict[str, object]:
    """The answer to the call that creates a Lightning order."""
    numbers = amounts == "number"
    data: dict[str, object] = {
        "order_id": order.order_id,
        "status": order.status,
        "amount": order.amount if numbers else f"{order.amount:f}",
        "create_time": _time(order.created_at),
        "payment_request": order.invoice,
        "pay_url": f"{base_url}/#/cashier/{order.order_id}",
    }
    if not numbers:  # only the example with text has these two
        data["payment_addr"] = order.payment_secret
        data["currency"] = "BTC-LN"
    return data


def detail(order: SandboxOrder) -> dict[str, object]:
    """The documented order object, in which amounts are always text."""
    return {
        "user_id": USER_ID,
        "order_id": order.order_id,
        "order_type": "ORDER",
        "platform": "AURPAY",
        "status": order.status,
        "chain": "BLN",
        # No example of a Lightning order shows this one.
        "chain_name": "BLN",
        "currency": "BTC-LN",
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
    """The body of a callback by ``POST``: flat, without an envelope."""
    fields = detail(order)
    times = {name: fields.pop(name) for name in ("create_time", "update_time")}
    return {
        **fields,
        "bind_id": None,
        **times,
        "tx_id": str(uuid5(NAMESPACE_URL, order.order_id)),
        "tx_type": "ORDER",
        "obtained": None,
        "fee": f"{_EXACT.multiply(order.amount, _FEE):f}",
        "from_addr": None,
        "to_addr": order.invoice,
        "tx_hash": None,
        "tx_hash_list": [],
        "contract_id": None,
        "website": None,
    }


def envelope(code: int, message: str, data: dict[str, object] | None) -> str:
    """What Aurpay puts around every answer; 0 is success."""
    return _json({"code": code, "message": message, "data": data, "result": code == 0})


def _time(time: datetime) -> str:
    # Documented without a zone.
    return f"{time:%Y-%m-%dT%H:%M:%S}"


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
FAILED: Final = envelope(500, "a fault of the sandbox; no order was made", None)
