"""Payments in any coin: what is asked for, and what comes back.

Source: "Get Payment Info" and "Get Payment URL". The documentation swaps what it says
of ``vs_price`` and ``vs_currency``; its example shows what they are.
"""

from __future__ import annotations

# cattrs reads the annotations of these records, so their types are imported for real.
from collections.abc import Mapping  # noqa: TC003
from datetime import datetime  # noqa: TC003
from decimal import Decimal  # noqa: TC003

import attrs

from .._money import plain_repr
from .._order_life import OrderStatus  # noqa: TC001
from .._order_life import overdue_at as _overdue_at
from ._arguments import plain, validate_bool, validate_coin_name
from ._new_orders import NewOrder
from ._public import PublicRecord


@attrs.frozen(slots=False)
class NewPaymentUrl(NewOrder):
    """What a checkout page is asked for with: no coin, which the payer chooses."""

    #: Count a stablecoin as one dollar. (``fixed_encrypt_price`` on the wire.)
    stablecoin_at_par: bool = attrs.field(
        default=False, kw_only=True, validator=validate_bool
    )
    #: Callbacks by POST, with the order. (``enable_post_callback`` on the wire.)
    post_callbacks: bool = attrs.field(
        default=False, kw_only=True, validator=validate_bool
    )


@attrs.frozen(slots=False)
class NewPayment(NewPaymentUrl):
    """What a payment in a given coin is asked for with.

    On the error of a `create_payment` that failed, as `new_order`.

    .. versionadded:: 0.1.0
    """

    #: Such as ``"ETH"``. An open set: the platform decides.
    chain: str = attrs.field(
        kw_only=True, converter=plain, validator=validate_coin_name
    )
    #: Such as ``"USDT-ERC20"``. An open set. (``currency`` on the wire.)
    coin: str = attrs.field(kw_only=True, converter=plain, validator=validate_coin_name)


@attrs.frozen(kw_only=True, slots=False)
class UncheckedPayment:
    """A payment as it came over the wire: typed, and not to be trusted yet."""

    order_id: str
    status: OrderStatus
    amount: Decimal
    #: ``None`` if it is missing or cannot be read: nothing hangs on it.
    create_time: datetime | None
    price: Decimal
    currency: str
    address: str
    contract_addr: str | None = None
    pay_url: str | None = None
    #: Neither is documented in this answer.
    chain: str | None = None
    coin: str | None = None


@attrs.frozen(kw_only=True, slots=False)
class PaymentOrder(PublicRecord):
    """An order to be paid in a given coin, compared with what was asked for.

    That the address is the platform's own cannot be verified by anybody: unlike a
    Lightning invoice it bears no signature, amount or date.

    .. versionadded:: 0.1.0
    """

    #: The platform's name for it: text, even where it looks like a number.
    order_id: str
    status: OrderStatus
    #: What is to be paid, in units of `coin`.
    amount: Decimal = attrs.field(repr=plain_repr)
    #: As asked for, such as ``"USDT-ERC20"``.
    coin: str
    #: As asked for, such as ``"ETH"``.
    chain: str
    #: Fiat, in units of `currency`, as asked for.
    price: Decimal = attrs.field(repr=plain_repr)
    #: Fiat: three letters, as asked for.
    currency: str
    #: Aware. Aurpay writes no zone; read as UTC. Where it cannot be read, or lies more
    #: than five minutes ahead, it is when the answer came.
    create_time: datetime
    #: Where to pay to. Nothing proves whose it is.
    address: str
    #: The contract of a token; for coins without one, what comes is not documented.
    #: From outside: unchecked.
    contract_addr: str | None
    #: The hosted checkout page. Documented, but shops do without it.
    pay_url: str | None
    #: The shop's own name for what is paid, if it gave one.
    reference: str | None = None
    #: What tells this order from another one of the same reference.
    attempt_id: str | None = None
    #: The names of the checks that were made before you got this.
    checks: tuple[str, ...]
    #: Fields of the answer that this version does not know. From outside: unchecked.
    extra: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)

    _public = (
        "order_id",
        "status",
        "amount",
        "coin",
        "chain",
        "price",
        "currency",
        "create_time",
        "overdue_at",
        "address",
        "contract_addr",
        "pay_url",
    )

    @property
    def overdue_at(self) -> datetime:
        """Until when to show it: 30 minutes after it was created."""
        return _overdue_at(self.create_time)


@attrs.frozen(kw_only=True)
class PaymentUrl(PublicRecord):
    """A checkout page on which the payer chooses a coin. There is no order yet.

    .. versionadded:: 0.1.0
    """

    #: Where to send the payer. It may hold a token: whoever has it may pay.
    pay_url: str
    #: Fiat, in units of `currency`, as asked for.
    price: Decimal = attrs.field(repr=plain_repr)
    #: Fiat: three letters, as asked for.
    currency: str
    #: The shop's own name for what is paid, if it gave one.
    reference: str | None = None
    #: What tells this call from another one of the same reference.
    attempt_id: str | None = None
    #: Fields of the answer that this version does not know. From outside: unchecked.
    extra: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)

    _public = ("pay_url", "price", "currency")
