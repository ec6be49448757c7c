"""Checkout pages on which the payer chooses the coin: there is no order before.

Pure: it is given the fields of a request, a choice, and the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..errors import InvalidRequestError, shown
from ._coins import COINS
from ._refusal import Refusal
from ._wish import Wish, read_payment_wish

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from ._ledger import Ledger
    from ._orders import SandboxOrder
    from ._seeds import Draw


@attrs.frozen(kw_only=True)
class Checkout:
    """A page that waits for somebody to choose, or shows what was chosen."""

    token: str
    price: Decimal
    currency: str
    urls: Mapping[str, str]
    at_par: bool
    post_callbacks: bool
    #: The API key that callbacks carry, as documented for these orders.
    api_key: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Checkouts:
    """Those of one sandbox."""

    ledger: Ledger
    rates: Mapping[str, Decimal]
    made: dict[str, Checkout]
    draw: Draw

    def open(
        self, fields: Mapping[str, object], api_key: str | None = None
    ) -> Checkout:
        """Make one of the fields of a request.

        Raises:
            Refusal: if a field is missing or cannot be.
        """
        wish = read_payment_wish(fields, self.rates, api_key=api_key)
        drawn = self.draw("checkout", len(self.made) + 1, "token").hex()[:32]
        checkout = Checkout(
            token=f"sandbox-{drawn}",
            price=wish.price,
            currency=wish.currency,
            urls=wish.urls,
            at_par=wish.at_par,
            post_callbacks=wish.post_callbacks,
            api_key=wish.api_key,
        )
        self.made[checkout.token] = checkout
        return checkout

    def find(self, token: str) -> Checkout:
        """The one of this token.

        Raises:
            Refusal: if there is none.
        """
        checkout = self.made.get(token)
        if checkout is None:
            raise Refusal(404, "there is no such checkout")
        return checkout

    def order_of(self, checkout: Checkout) -> SandboxOrder | None:
        """What was chosen there, if anything was."""
        orders = reversed(self.ledger.orders.values())
        return next((o for o in orders if o.checkout == checkout.token), None)

    def choose(self, token: str, coin: str, now: datetime) -> SandboxOrder:
        """Make the order of a checkout; the same choice again gives the same order.

        Raises:
            Refusal: if there is no such checkout.
            InvalidRequestError: if there is no such coin, or another one was chosen.
        """
        checkout = self.find(token)
        if coin not in COINS:
            known = ", ".join(COINS)
            raise InvalidRequestError(
                f"there is no {shown(coin)}", field="coin", hint=f"take one of {known}"
            )
        order = self.order_of(checkout)
        if order is None:
            wish = Wish(
                price=checkout.price,
                currency=checkout.currency,
                urls=checkout.urls,
                at_par=checkout.at_par,
                post_callbacks=checkout.post_callbacks,
                api_key=checkout.api_key,
            )
            return self.ledger.make(wish, COINS[coin], now, checkout=checkout.token)
        if order.coin != coin:
            raise InvalidRequestError(f"{order.coin} was chosen", field="coin")
        return order
