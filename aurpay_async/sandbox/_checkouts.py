"""Checkout pages on which the payer chooses the coin; then the order is created.

Pure: each method gets the fields of a request, or a choice and the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..errors import InvalidRequestError, shown
from ._coins import COINS
from ._refusal import ApiRejection
from ._wish import OrderRequest, parse_payment_request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from ._ledger import Ledger
    from ._orders import SandboxOrder
    from ._seeds import RandomSource


@attrs.frozen(kw_only=True)
class Checkout:
    """A checkout page, before or after the payer has chosen a coin."""

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
        request = parse_payment_request(fields, self.rates, api_key=api_key)
        token = self.random_bytes("checkout", len(self.known) + 1, "token").hex()[:32]
        checkout = Checkout(
            token=f"sandbox-{token}",
            price=request.price,
            currency=request.currency,
            urls=request.urls,
            at_par=request.at_par,
            post_callbacks=request.post_callbacks,
            api_key=request.api_key,
        )
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
        orders = reversed(self.ledger.orders.values())
        return next((o for o in orders if o.checkout == checkout.token), None)

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
            request = OrderRequest(
                price=checkout.price,
                currency=checkout.currency,
                urls=checkout.urls,
                at_par=checkout.at_par,
                post_callbacks=checkout.post_callbacks,
                api_key=checkout.api_key,
            )
            return self.ledger.add(request, COINS[coin], now, checkout=checkout.token)
        if order.coin != coin:
            raise InvalidRequestError(f"{order.coin} was chosen already", field="coin")
        return order
