"""The coins in which an order can be paid, and their prices.

Pure. The names are those of Aurpay's documentation and of its own plugins. The prices
are made up, and follow the rates of a bitcoin, which can be set.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

import attrs

from ._refusal import ApiRejection

if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen
class Coin:
    """A coin on a chain."""

    name: str
    chain: str
    chain_name: str
    #: The smallest unit of an amount.
    unit: Decimal
    #: The coins that one bitcoin buys; ``None`` for a stablecoin in dollars.
    per_bitcoin: Decimal | None

    @property
    def is_token(self) -> bool:
        """Return whether it has a contract on its chain, as each stablecoin has."""
        return self.per_bitcoin is None


_SATOSHI: Final = Decimal("0.00000001")
_MICRO: Final = Decimal("0.000001")

#: The one coin of `create_order`. No documented example shows the name of its chain.
LIGHTNING: Final = Coin("BTC-LN", "BLN", "BLN", _SATOSHI, Decimal(1))

#: The stablecoins that a dollar buys, unless the order is at par. The documented
#: example has 19.0012 USDC for 19.0 USD.
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
    """Return the number of coins that one bitcoin buys."""
    if coin.per_bitcoin is not None:
        return coin.per_bitcoin
    return rates["USD"] if at_par else rates["USD"] * _PER_DOLLAR


def find_coin(fields: Mapping[str, object]) -> Coin:
    """Return the coin that a request for a payment names.

    Raises:
        ApiRejection: if there is no such coin on that chain, or it is Lightning,
            which has another endpoint.
    """
    coin = COINS.get(str(fields.get("currency")))
    if coin is None or coin.chain != fields.get("chain"):
        known = ", ".join(f"{c.chain} {c.name}" for c in COINS.values())
        raise ApiRejection(400, f"chain and currency must be one of: {known}")
    if coin is LIGHTNING:
        raise ApiRejection(400, "create orders for Lightning at /api/bln/order")
    return coin
