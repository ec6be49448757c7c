"""What an order can be paid in, and what it costs.

Pure. The names are those of Aurpay's documentation and of its own plugins; what a coin
costs is made up, but follows the rates of a bitcoin, which can be set.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

import attrs

from ._refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen
class Coin:
    """One of them."""

    name: str
    chain: str
    chain_name: str
    #: Its smallest part that an amount here has.
    unit: Decimal
    #: How many of it one bitcoin buys; ``None`` for those that follow the dollar.
    per_bitcoin: Decimal | None

    @property
    def is_token(self) -> bool:
        """Whether it has a contract on its chain: those that follow the dollar."""
        return self.per_bitcoin is None


_SATOSHI: Final = Decimal("0.00000001")
_MICRO: Final = Decimal("0.000001")

#: The one coin of `create_order`. No documented example shows the name of its chain.
LIGHTNING: Final = Coin("BTC-LN", "BLN", "BLN", _SATOSHI, Decimal(1))

#: What a dollar's worth of a stablecoin is in its units, unless an order counts them at
#: par: near to one, as in the documented example (19.0 USD are 19.0012 USDC there).
_PER_DOLLAR: Final = Decimal("1.0001")

COINS: Final[Mapping[str, Coin]] = {
    coin.name: coin
    for coin in (
        LIGHTNING,
        Coin("BTC", "BTC", "Bitcoin", _SATOSHI, Decimal(1)),
        Coin("ETH", "ETH", "Ethereum", _SATOSHI, Decimal(25)),
        Coin("USDT-ERC20", "ETH", "Ethereum", _MICRO, None),
        Coin("USDC-ERC20", "ETH", "Ethereum", _MICRO, None),
        Coin("DAI-ERC20", "ETH", "Ethereum", _MICRO, None),
        Coin("TRX", "TRX", "Tron", _MICRO, Decimal(400_000)),
        Coin("USDT-TRC20", "TRX", "Tron", _MICRO, None),
        Coin("USDC-TRC20", "TRX", "Tron", _MICRO, None),
        Coin("BNB", "BNB", "BNB Smart Chain", _SATOSHI, Decimal(150)),
    )
}


def coins_per_bitcoin(
    coin: Coin, rates: Mapping[str, Decimal], *, at_par: bool
) -> Decimal:
    """How many units one bitcoin buys."""
    if coin.per_bitcoin is not None:
        return coin.per_bitcoin
    return rates["USD"] if at_par else rates["USD"] * _PER_DOLLAR


def read_coin(fields: Mapping[str, object]) -> Coin:
    """The coin that a request for a payment names.

    Raises:
        Refusal: if there is none of that name on that chain; or if it is Lightning,
            whose orders have a call of their own.
    """
    coin = COINS.get(str(fields.get("currency")))
    if coin is None or coin.chain != fields.get("chain"):
        known = ", ".join(f"{c.chain} {c.name}" for c in COINS.values())
        raise Refusal(400, f"chain and currency must be one of: {known}")
    if coin is LIGHTNING:
        raise Refusal(400, "orders for Lightning are made at /api/bln/order")
    return coin
