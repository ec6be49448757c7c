"""Parse the fields of a request that creates an order, strictly. Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import attrs

from ._refusal import ApiRejection

if TYPE_CHECKING:
    from collections.abc import Mapping

_CURRENCY: Final = re.compile(r"[A-Z]{3}")

_URL_FIELDS: Final = ("succeed_url", "timeout_url", "callback_url", "timeout_callback")


@attrs.frozen(kw_only=True)
class OrderRequest:
    """A price in fiat, and the URLs of the shop."""

    price: Decimal
    currency: str
    urls: Mapping[str, str]
    #: Whether a stablecoin counts as a dollar.
    at_par: bool = False
    #: Whether callbacks carry the order in their body.
    post_callbacks: bool = False
    #: The API key that callbacks carry, if they do.
    api_key: str | None = attrs.field(default=None, repr=False)


def parse_order_request(
    fields: Mapping[str, object],
    rates: Mapping[str, Decimal],
    api_key: str | None = None,
) -> OrderRequest:
    """Parse the fields of a Lightning order.

    Raises:
        ApiRejection: if a field is missing or invalid.
    """
    return OrderRequest(
        price=_price("price", fields),
        currency=_currency("currency", fields, rates),
        urls=_urls(fields),
        api_key=api_key,
    )


def parse_payment_request(
    fields: Mapping[str, object],
    rates: Mapping[str, Decimal],
    prefix: str = "",
    api_key: str | None = None,
) -> OrderRequest:
    """Parse the fields of a payment in any coin.

    Args:
        fields: The fields of the request.
        rates: The currencies that have a rate.
        prefix: Precedes the names of the fields for price and currency.
        api_key: The key that callbacks carry.

    Raises:
        ApiRejection: if a field is missing or invalid.
    """
    return OrderRequest(
        price=_price(f"{prefix}price", fields),
        currency=_currency(f"{prefix}currency", fields, rates),
        urls=_urls(fields),
        at_par=_bool("fixed_encrypt_price", fields),
        post_callbacks=_bool("enable_post_callback", fields),
        api_key=api_key,
    )


def _price(name: str, fields: Mapping[str, object]) -> Decimal:
    value = fields.get(name)
    # JSON numbers arrive as int or Decimal; a string or a boolean is no number.
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ApiRejection(400, f"{name} must be a number")
    price = Decimal(value)
    if not Decimal("0.01") <= price < Decimal(10**9):
        raise ApiRejection(400, f"{name} must be from 0.01 to 999999999.99")
    return price


def _currency(
    name: str, fields: Mapping[str, object], rates: Mapping[str, Decimal]
) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or value not in rates:
        problem = f"{name} must be one of {', '.join(rates)}"
        if isinstance(value, str) and _CURRENCY.fullmatch(value):
            problem += (
                f"; for {value} set a rate: --rate {value}=..., "
                f'or rates={{"{value}": ...}}'
            )
        raise ApiRejection(400, problem)
    return value


def _bool(name: str, fields: Mapping[str, object]) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise ApiRejection(400, f"{name} must be true or false")
    return value


def _urls(fields: Mapping[str, object]) -> dict[str, str]:
    urls: dict[str, str] = {}
    for name in _URL_FIELDS:
        value = fields.get(name)
        if value is None:
            continue
        if value == "":
            raise ApiRejection(
                400, f"{name} is empty: leave it out (what Aurpay does is not known)"
            )
        if not isinstance(value, str) or not value.startswith(("http://", "https://")):
            raise ApiRejection(400, f"{name} must be a URL")
        urls[name] = value
    return urls
