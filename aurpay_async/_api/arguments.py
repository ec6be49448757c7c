"""The request for an order, and the validation of the values that callers pass.

Converters and validators of the records that are sent (``validate_*``), and checks of
single arguments (``require_*``). All of them raise `InvalidRequestError` with the name
of the field or argument. Values are accepted as they are or rejected, never repaired.
"""

from __future__ import annotations

# cattrs resolves the annotations of a record here, so the type is needed at run time.
from decimal import Decimal  # noqa: TC003
from typing import Final

import attrs

from .._core.money import parse_price, plain_repr, to_currency
from .._core.urls import UrlError, parse_origin, require_secure, without_query
from ..errors import InvalidRequestError, shown

#: The documented ids have 20 digits.
MAX_ORDER_ID: Final = 64
#: Longer than the ids that shops use, and short enough for a URL.
_MAX_REFERENCE: Final = 128
#: The longest documented name of a coin has 10 characters.
_MAX_COIN_NAME: Final = 32

#: Aurpay documents no maximum for either. A thousand rows are half of the response
#: size that is read, and no list has a thousand million pages.
MAX_PAGE: Final = 10**9
MAX_SIZE: Final = 1000
#: The documentation gives two defaults; this is the larger one.
DEFAULT_SIZE: Final = 20


def plain_str(value: str) -> str:
    """Return an exact `str` for a `str` subclass, such as an enum or template markup.

    Any other value is returned unchanged, for the validator to reject.
    """
    if isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        return str.__str__(value)
    return value


def require_url(url: object, field: str, *, is_callback: bool, allow_http: bool) -> str:
    """Return a URL that is sent unchanged: for a browser, or for Aurpay to call."""
    if not isinstance(url, str):
        kind = type(url).__name__
        raise InvalidRequestError(f"must be a str, not {kind}", field=field)
    url = str.__str__(url)
    try:
        require_secure(parse_origin(url), allow_http=allow_http)
    except UrlError as error:
        raise InvalidRequestError(str(error), field=field) from None
    # Aurpay signs a callback's URL: it must arrive as it was sent.
    if not is_callback:
        return url
    if "#" in url:
        problem, hint = "a #fragment never reaches a server", "use ?query instead"
    elif not url.isascii():
        problem, hint = "contains non-ASCII characters", "percent-encode them"
    elif not url.startswith(("https:", "http:")):
        problem, hint = "the scheme must be in lower case", "write https://"
    elif "/" not in (path := url.partition("?")[0].partition("://")[2]):
        problem, hint = "has no path, so it arrives as another URL", "add / to the host"
    elif {".", ".."} & {*path.split("/")}:
        problem, hint = "has a path that clients shorten", "write it without . and .."
    else:
        return url
    raise InvalidRequestError(problem, field=field, hint=hint)


def require_reference(value: object, field: str = "reference") -> str:
    """Return a reference that can be sent in a URL and stored in a database.

    Raises:
        InvalidRequestError: naming the argument `field`.
    """
    if not isinstance(value, str):
        kind = "None" if value is None else type(value).__name__
        raise InvalidRequestError(f"must be a str, not {kind}", field=field)
    value = str.__str__(value)
    if not (0 < len(value) <= _MAX_REFERENCE and value.isprintable()):
        raise InvalidRequestError(
            f"must have 1 to {_MAX_REFERENCE} printable characters, got {shown(value)}",
            field=field,
        )
    return value


def redacted_url(url: str | None) -> str:
    """Return the repr of a URL without query and fragment, which may hold a token."""
    return repr(url and without_query(url))


def without_traceback(error: InvalidRequestError) -> InvalidRequestError:
    """Return the error without its frames: their locals show the rejected value."""
    error.__context__ = None
    return error.with_traceback(None)


@attrs.frozen(slots=False)
class NewOrder:
    """The request for an order. Raises `InvalidRequestError` for an invalid value."""

    #: Fiat, in units of `currency`, with exactly the digits that are sent.
    price: Decimal = attrs.field(converter=parse_price, repr=plain_repr)
    #: Three upper-case letters. Aurpay decides which currencies it accepts.
    currency: str = attrs.field(converter=to_currency)
    #: Where Aurpay sends the payer's browser after success.
    succeed_url: str | None = attrs.field(default=None, kw_only=True, repr=redacted_url)
    #: Where Aurpay sends the payer's browser after a timeout.
    timeout_url: str | None = attrs.field(default=None, kw_only=True, repr=redacted_url)
    #: The URL that Aurpay calls (GET) after success.
    callback_url: str | None = attrs.field(
        default=None, kw_only=True, repr=redacted_url
    )
    #: The URL that Aurpay calls after a timeout.
    timeout_callback: str | None = attrs.field(
        default=None, kw_only=True, repr=redacted_url
    )
    #: The merchant's name for what is paid. It is signed into the callback URLs.
    reference: str | None = attrs.field(default=None, kw_only=True)
    #: Distinguishes this order from others with the same reference.
    attempt_id: str | None = attrs.field(default=None, kw_only=True)
    #: Accept plain http beyond loopback. It is not sent.
    allow_http: bool = attrs.field(default=False, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        """Validate the fields that are given; most orders have few of them."""
        fields, allow_http = vars(self), self.allow_http
        require_bool(allow_http, "allow_http")
        for name, is_callback in _URL_FIELDS:
            if fields[name] is not None:
                fields[name] = require_url(
                    fields[name], name, is_callback=is_callback, allow_http=allow_http
                )
        for name in ("reference", "attempt_id"):
            if fields[name] is not None:
                fields[name] = require_reference(fields[name], name)


#: The URLs of an order, and whether Aurpay calls them.
_URL_FIELDS: Final = (
    ("succeed_url", False),
    ("timeout_url", False),
    ("callback_url", True),
    ("timeout_callback", True),
)


def validate_coin_name(
    _: object, attribute: attrs.Attribute[str], value: object
) -> None:
    """Require a name of a coin or a chain. Aurpay decides which names exist."""
    if not (
        isinstance(value, str)
        and 0 < len(value) <= _MAX_COIN_NAME
        and value.isascii()
        and value.isprintable()
        and " " not in value
    ):
        example = "ETH" if attribute.name == "chain" else "USDT-ERC20"
        raise InvalidRequestError(
            f"must be a str of 1 to {_MAX_COIN_NAME} ASCII characters without blanks, "
            f"got {shown(value)}",
            field=attribute.name,
            hint=f'write it as Aurpay does, such as "{example}"',
        )


def validate_bool(_: object, attribute: attrs.Attribute[bool], value: object) -> None:
    """Require `True` or `False`; other truthy and falsy values are rejected."""
    require_bool(value, attribute.name)


def require_bool(value: object, field: str) -> None:
    """Require `True` or `False`; other truthy and falsy values are rejected.

    Raises:
        InvalidRequestError: naming the argument `field`.
    """
    if type(value) is not bool:
        raise InvalidRequestError(
            f"must be True or False, got {shown(value)}", field=field
        )


def is_order_id(value: str) -> bool:
    """Return whether a string can be an order id of Aurpay."""
    return 0 < len(value) <= MAX_ORDER_ID and value.isprintable() and " " not in value


def require_order_id(value: object, field: str = "order_id") -> str:
    """Return an order id from the caller that can be one segment of a path.

    Raises:
        InvalidRequestError: naming the argument `field`.
    """
    order_id = plain_str(value) if isinstance(value, str) else None
    # RFC 3986, 5.2.4: servers remove "." and ".." segments from a path, some of them
    # also if the slash beside the dots is encoded.
    if (
        order_id is None
        or {".", ".."} & {*order_id.split("/")}
        or not is_order_id(order_id)
    ):
        raise InvalidRequestError(
            f"must be a str of 1 to {MAX_ORDER_ID} characters without blanks, "
            f"got {shown(value)}",
            field=field,
            hint="take it from order.order_id",
        )
    return order_id


def require_page(page: object, size: object) -> tuple[int, int]:
    """Return the number of a page, counted from 1, and its number of rows.

    Raises:
        InvalidRequestError: naming ``page`` or ``size``.
    """
    return _require_int(page, "page", MAX_PAGE), _require_int(size, "size", MAX_SIZE)


def _require_int(value: object, field: str, maximum: int) -> int:
    if type(value) is not int or not 0 < value <= maximum:
        raise InvalidRequestError(
            f"must be an int from 1 to {maximum}, got {shown(value)}", field=field
        )
    return value
