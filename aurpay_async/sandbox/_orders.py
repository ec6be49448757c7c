"""An order, and how one is made: converted, numbered, with an invoice or an address.

Pure, but for the bytes that it draws. It shares nothing with the client but the
invoices, so that the two cannot make the same mistake and agree.
"""

from __future__ import annotations

from decimal import ROUND_UP, Context, Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import attrs

from .. import bolt11
from ._coins import LIGHTNING, coins_per_bitcoin
from ._refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from ._coins import Coin
    from ._seeds import Draw
    from ._wish import Wish

#: The key that BOLT #11 publishes for its examples. Worthless, and known to all.
NODE_KEY: Final = "e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734"

#: Its public half: whom the sandbox's invoices pay.
NODE_ID: Final = "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad"

#: Invoices for it can be paid by nobody's money.
NETWORK: Final = "regtest"

#: As the documented example invoices: a day, 80 blocks, and these feature bits.
_EXPIRY_S: Final = 86_400
_MIN_FINAL_CLTV_EXPIRY: Final = 80
_FEATURES: Final = (9, 14, 17)

_MSAT_PER_BTC: Final = 10**11
_ALL_BITCOINS: Final = 21_000_000
#: Of its own, whatever the process has set: no sandbox order depends on it.
_EXACT: Final = Context(prec=50, rounding=ROUND_UP)


@attrs.frozen(kw_only=True)
class SandboxOrder:
    """An order that the sandbox has made.

    .. versionadded:: 0.1.0
    """

    order_id: str
    status: str
    #: What was asked for.
    price: Decimal
    currency: str
    urls: Mapping[str, str]
    #: In units of `coin`: BTC for Lightning.
    amount: Decimal
    #: Aware, UTC, whole seconds.
    created_at: datetime
    #: The same, of the last change of its status.
    updated_at: datetime
    #: When its time runs out; aware, UTC. The invoice itself lives longer.
    expires_at: datetime
    #: ``"BTC-LN"``, or what else it is to be paid in.
    coin: str = LIGHTNING.name
    chain: str = LIGHTNING.chain
    chain_name: str = LIGHTNING.chain_name
    #: BOLT #11, regtest; empty for other coins, like the next two.
    invoice: str = ""
    payment_secret: str = ""
    #: What proves the payment; the invoice holds its hash.
    preimage: str = ""
    #: Where other coins are to go: a text that no wallet takes for an address.
    address: str = ""
    #: The same, of a token's contract.
    contract: str = ""
    #: Whether its callbacks have it in their body, whatever the sandbox does else.
    post_callbacks: bool = False
    #: The API key that its callbacks carry, if they do; a made-up one.
    api_key: str | None = attrs.field(default=None, repr=False)
    #: The token of the checkout page on which its payer chose the coin.
    checkout: str | None = None
    #: Whether it has ever been overdue; a payment after that is late.
    was_overdue: bool = False
    #: When it was paid in full; aware, UTC, whole seconds.
    paid_at: datetime | None = None

    @property
    def is_lightning(self) -> bool:
        """Whether it has an invoice."""
        return self.coin == LIGHTNING.name


def make_order(
    wish: Wish,
    coin: Coin,
    *,
    number: int,
    now: datetime,
    life: timedelta,
    rates: Mapping[str, Decimal],
    draw: Draw,
) -> SandboxOrder:
    """The order of that number.

    Raises:
        Refusal: if there is not as much of the coin.
    """
    amount = _amount(wish, coin, rates)
    created_at = now.replace(microsecond=0)
    order = SandboxOrder(
        order_id=f"{created_at:%Y%m%d%H%M%S}{number:06d}",
        status="PENDING",
        price=wish.price,
        currency=wish.currency,
        urls=wish.urls,
        amount=amount,
        created_at=created_at,
        updated_at=created_at,
        expires_at=now + life,
        coin=coin.name,
        chain=coin.chain,
        chain_name=coin.chain_name,
        post_callbacks=wish.post_callbacks,
        api_key=wish.api_key,
    )
    if coin is LIGHTNING:
        return _with_invoice(order, number, draw)
    address = draw("order", number, "address").hex()[:20]
    return attrs.evolve(
        order,
        address=f"sandbox-{coin.chain}-{address}",
        contract=f"sandbox-contract-{coin.name}" if coin.is_token else "",
    )


def _amount(wish: Wish, coin: Coin, rates: Mapping[str, Decimal]) -> Decimal:
    """Rounded up to the coin's smallest part."""
    bitcoins = _EXACT.divide(wish.price, rates[wish.currency])
    if bitcoins > _ALL_BITCOINS:
        raise Refusal(400, "price is more than all bitcoins at this rate")
    buys = coins_per_bitcoin(coin, rates, at_par=wish.at_par)
    # Multiplied first: what is at par is then exactly what it was.
    exact = _EXACT.divide(_EXACT.multiply(wish.price, buys), rates[wish.currency])
    return _EXACT.quantize(exact, coin.unit)


def _with_invoice(order: SandboxOrder, number: int, draw: Draw) -> SandboxOrder:
    preimage, secret, description = (
        draw("order", number, use)
        for use in ("preimage", "payment secret", "description")
    )
    invoice = bolt11.sign(
        NODE_KEY,
        payment_hash=sha256(preimage).hexdigest(),
        payment_secret=secret.hex(),
        timestamp=int(order.created_at.timestamp()),
        amount_msat=int(_EXACT.multiply(order.amount, Decimal(_MSAT_PER_BTC))),
        network=NETWORK,
        # The documented examples hold 32 hex digits, of unknown meaning.
        description=description[:16].hex(),
        expiry=_EXPIRY_S,
        min_final_cltv_expiry=_MIN_FINAL_CLTV_EXPIRY,
        features=_FEATURES,
    )
    return attrs.evolve(
        order, invoice=invoice, payment_secret=secret.hex(), preimage=preimage.hex()
    )
