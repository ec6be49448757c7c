"""Orders and checkouts of the sandbox, and the source of its random values.

It shares only the invoice code with the client, so the two cannot make the same mistake
and agree. Methods get the fields of a request and the time, and perform no I/O.

Seeded bytes depend on the seed and their purpose alone, not on earlier draws: order
number 7 has the same secrets in every run, also in one that begins with order number 7.
"""

from __future__ import annotations

import hmac
import os
from datetime import datetime, timedelta  # noqa: TC003 - read by cattrs
from decimal import ROUND_UP, Context, Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal

import attrs

from .. import bolt11
from ..errors import InvalidRequestError, shown
from ._models import (
    COINS,
    LIGHTNING,
    ApiRejection,
    OrderRequest,
    coins_per_bitcoin,
    find_coin,
    parse_order_request,
    request_fields,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._models import Coin

    #: Return 32 bytes for a purpose.
    RandomSource = Callable[..., bytes]


def random_source(seed: int | None = None) -> RandomSource:
    """Return a source of bytes: reproducible with `seed`, unpredictable without."""
    if seed is None:
        return _urandom
    key = str(seed).encode()

    def seeded(*purpose: object) -> bytes:
        text = "/".join(map(str, purpose))
        return hmac.digest(key, text.encode(), "sha256")

    return seeded


def _urandom(*_: object) -> bytes:
    return os.urandom(32)


#: The private key of BOLT #11's examples: published, so worthless.
NODE_KEY: Final = "e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734"

#: Its public key: the payee of the sandbox's invoices.
NODE_ID: Final = "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad"

#: No wallet with real money can pay a regtest invoice.
NETWORK: Final = "regtest"

#: As the documented example invoices: a day, 80 blocks, and these feature bits.
_EXPIRY_S: Final = 86_400

_MIN_FINAL_CLTV_EXPIRY: Final = 80

_FEATURES: Final = (9, 14, 17)

MSAT_PER_BTC: Final = 10**11

_ALL_BITCOINS: Final = 21_000_000

#: Independent of the decimal context of the program.
_ROUND_UP: Final = Context(prec=50, rounding=ROUND_UP)


@attrs.frozen(kw_only=True)
class SandboxOrder(OrderRequest):
    """An order of the sandbox."""

    order_id: str
    status: str
    #: In units of `coin`: BTC for Lightning.
    amount: Decimal
    #: Aware, UTC, whole seconds.
    created_at: datetime
    #: The time of the last change of `status`; aware, UTC, whole seconds.
    updated_at: datetime
    #: The time after which it is overdue; aware, UTC. The invoice expires later.
    expires_at: datetime
    #: ``"BTC-LN"``, or the other coin in which it is paid.
    coin: str = LIGHTNING.name
    chain: str = LIGHTNING.chain
    chain_name: str = LIGHTNING.chain_name
    #: BOLT #11, regtest. Empty for other coins, as are the next two fields.
    invoice: str = ""
    payment_secret: str = ""
    #: The proof of payment; the invoice contains its hash.
    preimage: str = ""
    #: The address for other coins, in a form that no wallet accepts.
    address: str = ""
    #: The contract of a token, in such a form.
    contract: str = ""
    #: The token of the checkout page on which its payer chose the coin.
    checkout: str | None = None
    #: Whether it has ever been overdue; a payment after that is late.
    was_overdue: bool = False
    #: When it was paid in full; aware, UTC, whole seconds.
    paid_at: datetime | None = None

    @property
    def is_lightning(self) -> bool:
        """Return whether it is paid over Lightning, with an invoice."""
        return self.coin == LIGHTNING.name


@attrs.frozen(kw_only=True)
class Checkout(OrderRequest):
    """A checkout page, before or after the payer has chosen a coin."""

    token: str


@attrs.frozen
class Checkouts:
    """All checkout pages of one sandbox."""

    ledger: Ledger
    rates: Mapping[str, Decimal]
    known: dict[str, Checkout]
    random_bytes: RandomSource

    def create(
        self, fields: Mapping[str, object], api_key: str | None = None
    ) -> Checkout:
        """Create a checkout page from the fields of a request.

        Raises:
            ApiRejection: if a field is missing or invalid.
        """
        request = parse_order_request(fields, self.rates, api_key)
        token = self.random_bytes("checkout", len(self.known) + 1, "token").hex()[:32]
        checkout = Checkout(token=f"sandbox-{token}", **request_fields(request))
        self.known[checkout.token] = checkout
        return checkout

    def find(self, token: str) -> Checkout:
        """Return the checkout page with this token.

        Raises:
            ApiRejection: if there is none.
        """
        checkout = self.known.get(token)
        if checkout is None:
            raise ApiRejection(404, "there is no such checkout")
        return checkout

    def find_order(self, checkout: Checkout) -> SandboxOrder | None:
        """Return the order of a checkout page, if the payer has chosen a coin."""
        order_id = self.ledger.by_checkout.get(checkout.token)
        return None if order_id is None else self.ledger.orders[order_id]

    def choose(self, token: str, coin: str, now: datetime) -> SandboxOrder:
        """Create the order of a checkout page; repeating the choice returns that order.

        Raises:
            ApiRejection: if there is no such checkout.
            InvalidRequestError: if there is no such coin, or another coin was chosen.
        """
        checkout = self.find(token)
        if coin not in COINS:
            known = ", ".join(COINS)
            raise InvalidRequestError(
                f"there is no coin {shown(coin)}",
                field="coin",
                hint=f"use one of {known}",
            )
        order = self.find_order(checkout)
        if order is None:
            return self.ledger.add(checkout, COINS[coin], now, checkout=token)
        if order.coin != coin:
            raise InvalidRequestError(f"{order.coin} was chosen already", field="coin")
        return order


#: The price of one bitcoin. The values are made up, and constant.
RATES: Final[Mapping[str, Decimal]] = {
    "USD": Decimal(100_000),
    "EUR": Decimal(90_000),
    "GBP": Decimal(75_000),
    "CHF": Decimal(80_000),
    "JPY": Decimal(15_000_000),
}

#: "Orders" of Aurpay's dashboard: overdue after 30 minutes.
TIME_TO_PAY: Final = timedelta(minutes=30)

#: The price in USD of an order of another merchant.
_FOREIGN_PRICE: Final = Decimal("4.20")

#: The changes that payer, merchant or time make to the status of an order.
StatusChange = Literal["pay", "expire", "underpay", "refund"]


@attrs.frozen
class _Transition:
    #: The change as a participle, for messages.
    participle: str
    #: The new status by the old one; a status that is missing forbids the change.
    statuses: Mapping[str, str]


_TRANSITIONS: Final[Mapping[StatusChange, _Transition]] = {
    # Overdue is not final: a late payment is accepted.
    "pay": _Transition("paid", {"PENDING": "SUCCESS", "OVERDUE": "SUCCESS"}),
    "expire": _Transition("expired", {"PENDING": "OVERDUE"}),
    # As documented: an underpaid order is overdue until the merchant decides.
    "underpay": _Transition("underpaid", {"PENDING": "OVERDUE"}),
    "refund": _Transition("refunded", {"SUCCESS": "REFUNDED"}),
}


class Ledger:
    """All orders of one sandbox."""

    def __init__(
        self,
        rates: Mapping[str, Decimal] = RATES,
        *,
        orders: dict[str, SandboxOrder] | None = None,
        random_bytes: RandomSource | None = None,
        time_to_pay: timedelta = TIME_TO_PAY,
    ) -> None:
        self.orders = {} if orders is None else orders
        #: The order ids of checkout pages, by token.
        self.by_checkout: dict[str, str] = {}
        self._rates = rates
        self._random_bytes = random_bytes or random_source()
        self._time_to_pay = time_to_pay

    def create(
        self, fields: Mapping[str, object], now: datetime, api_key: str | None = None
    ) -> SandboxOrder:
        """Create a Lightning order from the fields of a request.

        Raises:
            ApiRejection: if a field is missing or invalid.
        """
        request = parse_order_request(fields, self._rates, api_key, has_options=False)
        return self.add(request, LIGHTNING, now)

    def create_payment(
        self, fields: Mapping[str, object], now: datetime, api_key: str | None = None
    ) -> SandboxOrder:
        """Create an order in another coin from the fields of a request.

        Raises:
            ApiRejection: if a field is missing or invalid.
        """
        coin = find_coin(fields)
        request = parse_order_request(fields, self._rates, api_key, prefix="vs_")
        return self.add(request, coin, now)

    def add(
        self,
        request: OrderRequest,
        coin: Coin,
        now: datetime,
        *,
        checkout: str | None = None,
    ) -> SandboxOrder:
        """Create an order in any coin; `checkout` is the token of its checkout page.

        Raises:
            ApiRejection: if the price exceeds the supply of the coin.
        """
        order = self._new_order(request, coin, len(self.orders) + 1, now)
        if checkout is not None:
            order = attrs.evolve(order, checkout=checkout)
        self.orders[order.order_id] = order
        if checkout is not None:
            self.by_checkout[checkout] = order.order_id
        return order

    def create_foreign(self, now: datetime) -> SandboxOrder:
        """Create a Lightning order of another merchant, outside this ledger.

        It is as valid as any other order: only its price, 4.20 USD, differs.
        """
        request = OrderRequest(price=_FOREIGN_PRICE, currency="USD", urls={})
        return self._new_order(request, LIGHTNING, 999_999, now)

    def _new_order(
        self, request: OrderRequest, coin: Coin, number: int, now: datetime
    ) -> SandboxOrder:
        created_at = now.replace(microsecond=0)
        order = SandboxOrder(
            order_id=f"{created_at:%Y%m%d%H%M%S}{number:06d}",
            status="PENDING",
            **request_fields(request),
            amount=self._amount(request, coin),
            created_at=created_at,
            updated_at=created_at,
            expires_at=now + self._time_to_pay,
            coin=coin.name,
            chain=coin.chain,
            chain_name=coin.chain_name,
        )
        if coin is LIGHTNING:
            return self._with_invoice(order, number)
        address = self._random_bytes("order", number, "address").hex()[:20]
        return attrs.evolve(
            order,
            address=f"sandbox-{coin.chain}-{address}",
            contract=f"sandbox-contract-{coin.name}" if coin.is_token else "",
        )

    def _amount(self, request: OrderRequest, coin: Coin) -> Decimal:
        """Convert the price, rounded up to the coin's smallest unit."""
        rate = self._rates[request.currency]
        if _ROUND_UP.divide(request.price, rate) > _ALL_BITCOINS:
            raise ApiRejection(400, "price is more than all bitcoins at this rate")
        per_bitcoin = coins_per_bitcoin(coin, self._rates, at_par=request.at_par)
        # Multiply first, so that an amount at par equals its price exactly.
        exact = _ROUND_UP.divide(_ROUND_UP.multiply(request.price, per_bitcoin), rate)
        return _ROUND_UP.quantize(exact, coin.unit)

    def _with_invoice(self, order: SandboxOrder, number: int) -> SandboxOrder:
        preimage, secret, description = (
            self._random_bytes("order", number, use)
            for use in ("preimage", "payment secret", "description")
        )
        invoice = bolt11.sign(
            NODE_KEY,
            payment_hash=sha256(preimage).hexdigest(),
            payment_secret=secret.hex(),
            timestamp=int(order.created_at.timestamp()),
            amount_msat=int(_ROUND_UP.multiply(order.amount, Decimal(MSAT_PER_BTC))),
            network=NETWORK,
            # The documented examples have 32 hex digits, of unknown meaning.
            description=description[:16].hex(),
            expiry=_EXPIRY_S,
            min_final_cltv_expiry=_MIN_FINAL_CLTV_EXPIRY,
            features=_FEATURES,
        )
        return attrs.evolve(
            order, invoice=invoice, payment_secret=secret.hex(), preimage=preimage.hex()
        )

    def open(self) -> None:
        """Index the restored orders."""
        for order in self.orders.values():
            if order.checkout is not None:
                self.by_checkout[order.checkout] = order.order_id

    def find(self, order_id: str) -> SandboxOrder:
        """Return the order with this id.

        Raises:
            ApiRejection: if there is none.
        """
        order = self.orders.get(order_id)
        if order is None:
            raise ApiRejection(404, "there is no such order")
        return order

    def change_status(
        self, order_id: str, change: StatusChange, now: datetime
    ) -> SandboxOrder:
        """Change the status of an order.

        Raises:
            InvalidRequestError: if there is no such order, or its status forbids it.
        """
        order = self.orders.get(order_id)
        if order is None:
            raise InvalidRequestError(
                f"there is no order {shown(order_id)}", field="order_id"
            )
        transition = _TRANSITIONS[change]
        status = transition.statuses.get(order.status)
        if status is None:
            raise InvalidRequestError(
                f"{order_id} is {order.status} and cannot be {transition.participle}",
                field="order_id",
            )
        at = now.replace(microsecond=0)
        changed = attrs.evolve(
            order,
            status=status,
            updated_at=at,
            was_overdue=order.was_overdue or status == "OVERDUE",
            paid_at=at if status == "SUCCESS" else order.paid_at,
        )
        self.orders[order_id] = changed
        return changed
