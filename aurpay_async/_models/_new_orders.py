"""What a Lightning order is asked for with."""

from __future__ import annotations

from decimal import Decimal  # noqa: TC003 - whoever reads the annotations needs it

import attrs

from .._money import parse_price, plain_repr
from ._arguments import (
    exact,
    redacted_url,
    to_currency,
    validate_bool,
    validate_callback_url,
    validate_page_url,
    validate_reference,
)


@attrs.frozen(slots=False)
class NewOrder:
    """What an order is asked for with. Raises `InvalidRequestError` if it cannot be.

    .. versionadded:: 0.1.0
    """

    #: Fiat, in units of `currency`, with exactly the digits that are sent.
    price: Decimal = attrs.field(converter=parse_price, repr=plain_repr)
    #: Three upper-case letters. The platform decides which ones it takes.
    currency: str = attrs.field(converter=to_currency)
    #: Where the payer's browser goes after success.
    succeed_url: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=exact,
        validator=validate_page_url,
        repr=redacted_url,
    )
    #: Where it goes after a timeout.
    timeout_url: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=exact,
        validator=validate_page_url,
        repr=redacted_url,
    )
    #: What the platform calls (GET) after success.
    callback_url: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=exact,
        validator=validate_callback_url,
        repr=redacted_url,
    )
    #: What it calls after a timeout.
    timeout_callback: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=exact,
        validator=validate_callback_url,
        repr=redacted_url,
    )
    #: The shop's own name for what is paid. It travels in the callback URLs, signed.
    reference: str | None = attrs.field(
        default=None, kw_only=True, converter=exact, validator=validate_reference
    )
    #: What tells this order from another one of the same reference.
    attempt_id: str | None = attrs.field(
        default=None, kw_only=True, converter=exact, validator=validate_reference
    )
    #: Whether plain http is accepted beyond loopback. It is not sent.
    allow_http: bool = attrs.field(
        default=False, kw_only=True, repr=False, validator=validate_bool
    )
