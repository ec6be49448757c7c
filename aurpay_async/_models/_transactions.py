"""Money that moved: the rows of the account, and what was withdrawn."""

from __future__ import annotations

# cattrs reads the annotations of these records, so their types are imported for real.
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

    All of these are documented as texts, and that there are more. The units of the
    numbers are not; in the one example that has such, they are those of `coin`. A
    field that cannot be read is empty, or ``None`` if it is a number, and as it came
    in `extra`.

    .. versionadded:: 0.1.0
    """

    #: The merchant.
    user_id: str
    tx_id: str
    #: Seen: ``"ORDER"``. The dashboard has more kinds, whose spelling here is not
    #: known: invoices, withdrawals, amounts that do not fit an order.
    tx_type: str
    #: How it stands. No values are documented.
    status: str
    #: Such as ``"BTC"``.
    chain: str
    #: Such as ``"BTC-LN"``. (``currency`` on the wire.)
    coin: str
    amount: Decimal | None = attrs.field(repr=plain_repr)
    #: Null in the one documented example; by its name, what came in.
    obtained: Decimal | None = attrs.field(default=None, repr=plain_repr)
    #: 0.8 % of the amount in the one documented example.
    fee: Decimal | None = attrs.field(repr=plain_repr)
    #: Fields of the answer that this version does not know. From outside: unchecked.
    extra: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)


@attrs.frozen(kw_only=True)
class Withdrawal:
    """An invoice that the platform took to pay ("Create BLN Withdraw").

    Whether it is paid by then is not documented: look with `list_transactions`.

    .. versionadded:: 0.1.0
    """

    #: What was sent: decoded, its signature verified.
    invoice: Invoice
    #: What is paid, in millisatoshi: the invoice's own amount.
    amount_msat: int
    #: What the platform says of it. No field is documented. From outside: unchecked.
    data: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)
