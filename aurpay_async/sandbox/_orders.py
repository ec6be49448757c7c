"""Create an order: convert its price, number it, add an invoice or an address.

Pure, except for random bytes. It shares only the invoice code with the client, so the
two cannot make the same mistake and agree.
"""

from __future__ import annotations

from decimal import ROUND_UP, Context, Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import attrs

from .. import bolt11
from ._coins import LIGHTNING, coins_per_bitcoin
from ._refusal import ApiRejection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from ._coins import Coin
    from ._seeds import RandomSource
    from ._wish import OrderRequest

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

_MSAT_PER_BTC: Final = 10**11
_ALL_BITCOINS: Final = 21_000_000
#: Independent of the decimal context of the program.
_ROUND_UP: Final = Context(prec=50, rounding=ROUND_UP)


@attrs.frozen(kw_only=True)
class SandboxOrder:
    """An order of the sandbox."""

    order_id: str
    status: str
    #: The requested price, in `currency`.
    price: Decimal
    currency: str
    urls: Mapping[str, str]
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
    #: Whether its callbacks carry the order in their body in any case.
    post_callbacks: bool = False
    #: The made-up API key that its callbacks carry, if they do.
    api_key: str | None = attrs.field(default=None, repr=False)
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


def create_order(
    request: OrderRequest,
    coin: Coin,
    *,
    number: int,
    now: datetime,
    time_to_pay: timedelta,
    rates: Mapping[str, Decimal],
    random_bytes: RandomSource,
) -> SandboxOrder:
    """Create the order with this number.

    Raises:
        ApiRejection: if the price exceeds the supply of the coin.
    """
    amount = _amount(request, coin, rates)
    created_at = now.replace(microsecond=0)
    order = SandboxOrder(
        order_id=f"{created_at:%Y%m%d%H%M%S}{number:06d}",
        status="PENDING",
        price=request.price,
        currency=request.currency,
        urls=request.urls,
        amount=amount,
        created_at=created_at,
        updated_at=created_at,
        expires_at=now + time_to_pay,
        coin=coin.name,
        chain=coin.chain,
        chain_name=coin.chain_name,
        post_callbacks=request.post_callbacks,
        api_key=request.api_key,
    )
    if coin is LIGHTNING:
        return _with_invoice(order, number, random_bytes)
    address = random_bytes("order", number, "address").hex()[:20]
    return attrs.evolve(
        order,
        address=f"sandbox-{coin.chain}-{address}",
        contract=f"sandbox-contract-{coin.name}" if coin.is_token else "",
    )


def _amount(request: OrderRequest, coin: Coin, rates: Mapping[str, Decimal]) -> Decimal:
    """Convert the price, rounded up to the coin's smallest unit."""
    bitcoins = _ROUND_UP.divide(request.price, rates[request.currency])
    if bitcoins > _ALL_BITCOINS:
        raise ApiRejection(400, "price is more than all bitcoins at this rate")
    per_bitcoin = coins_per_bitcoin(coin, rates, at_par=request.at_par)
    # Multiply first, so that an amount at par equals its price exactly.
    exact = _ROUND_UP.divide(
        _ROUND_UP.multiply(request.price, per_bitcoin), rates[request.currency]
    )
    return _ROUND_UP.quantize(exact, coin.unit)


def _with_invoice(
    order: SandboxOrder, number: int, random_bytes: RandomSource
) -> SandboxOrder:
    preimage, secret, description = (
        random_bytes("order", number, use)
        for use in ("preimage", "payment secret", "description")
    )
    invoice = bolt11.sign(
        NODE_KEY,
        payment_hash=sha256(preimage).hexdigest(),
        payment_secret=secret.hex(),
        timestamp=int(order.created_at.timestamp()),
        amount_msat=int(_ROUND_UP.multiply(order.amount, Decimal(_MSAT_PER_BTC))),
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
