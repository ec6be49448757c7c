"""Transactions of the account, and withdrawals."""

from __future__ import annotations

# cattrs resolves the annotations of these records, so the types are needed at run time.
from collections.abc import Mapping  # noqa: TC003
from decimal import Decimal  # noqa: TC003
from typing import TYPE_CHECKING

import attrs

from .._money import plain_repr

if TYPE_CHECKING:
    from ..bolt11 import Invoice


@attrs.frozen(kw_only=True, slots=False)
class Transaction:
    """One row of the account ("Get Transaction").

    Aurpay documents all of these fields as strings, and that there are more. The units
    of the numbers are not documented; in the one example that has a unit, it is `coin`.
    A field that cannot be read is empty, or ``None`` if it is a number; `extra` then
    has it as received.
    """

    #: The merchant.
    user_id: str
    tx_id: str
    #: Seen: ``"ORDER"``. The dashboard has more types; their spelling in the API is
    #: unknown. They are invoices, withdrawals, amounts that do not fit an order.
    tx_type: str
    #: No values are documented.
    status: str
    #: Such as ``"BTC"``.
    chain: str
    #: Such as ``"BTC-LN"``. (``currency`` on the wire.)
    coin: str
    amount: Decimal | None = attrs.field(repr=plain_repr)
    #: Null in the one documented example; by its name, the received amount.
    obtained: Decimal | None = attrs.field(default=None, repr=plain_repr)
    #: 0.8 % of the amount in the one documented example.
    fee: Decimal | None = attrs.field(repr=plain_repr)
    #: Fields that this version does not know. Unchecked data from outside.
    extra: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)


@attrs.frozen(kw_only=True)
class Withdrawal:
    """An invoice that Aurpay has accepted for payment ("Create BLN Withdraw").

    Aurpay does not document if the invoice is paid by then: query it with
    `list_transactions`.
    """

    #: The invoice that was sent: decoded, with its signature verified.
    invoice: Invoice
    #: The invoice's own amount, in millisatoshi.
    amount_msat: int
    #: Aurpay's response. No field is documented. Unchecked data from outside.
    data: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)
