"""The request for a Lightning order."""

from __future__ import annotations

from decimal import Decimal  # noqa: TC003 - for typing.get_type_hints() of the record

import attrs

from .._money import parse_price, plain_repr
from ._arguments import (
    optional_plain_str,
    redacted_url,
    to_currency,
    validate_bool,
    validate_callback_url,
    validate_page_url,
    validate_reference,
)


@attrs.frozen(slots=False)
class NewOrder:
    """The request for an order. Raises `InvalidRequestError` for an invalid value."""

    #: Fiat, in units of `currency`, with exactly the digits that are sent.
    price: Decimal = attrs.field(converter=parse_price, repr=plain_repr)
    #: Three upper-case letters. Aurpay decides which currencies it accepts.
    currency: str = attrs.field(converter=to_currency)
    #: Where Aurpay sends the payer's browser after success.
    succeed_url: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=optional_plain_str,
        validator=validate_page_url,
        repr=redacted_url,
    )
    #: Where Aurpay sends the payer's browser after a timeout.
    timeout_url: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=optional_plain_str,
        validator=validate_page_url,
        repr=redacted_url,
    )
    #: The URL that Aurpay calls (GET) after success.
    callback_url: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=optional_plain_str,
        validator=validate_callback_url,
        repr=redacted_url,
    )
    #: The URL that Aurpay calls after a timeout.
    timeout_callback: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=optional_plain_str,
        validator=validate_callback_url,
        repr=redacted_url,
    )
    #: The merchant's name for what is paid. It is signed into the callback URLs.
    reference: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=optional_plain_str,
        validator=validate_reference,
    )
    #: Distinguishes this order from others with the same reference.
    attempt_id: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=optional_plain_str,
        validator=validate_reference,
    )
    #: Accept plain http beyond loopback. It is not sent.
    allow_http: bool = attrs.field(
        default=False, kw_only=True, repr=False, validator=validate_bool
    )
