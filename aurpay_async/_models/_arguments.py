"""What callers write: taken as it stands, or refused with what to write instead.

Converters and validators of the records that are sent, and of single arguments. All
of them raise `InvalidRequestError` with the field's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._urls import UrlError, parse_origin, require_secure, without_query
from ..errors import InvalidRequestError, shown

if TYPE_CHECKING:
    import attrs

_CURRENCY_LENGTH: Final = 3
#: The documented ids have 20 digits.
MAX_ORDER_ID: Final = 64
#: More than shops' own ids have, little enough for an URL.
_MAX_REFERENCE: Final = 128
#: The longest documented name of a coin has 10.
_MAX_NAME: Final = 32

#: Aurpay documents no maximum of either. These are bounds of sense: a thousand rows
#: are half of what is read of an answer, and no list has a thousand million pages.
MAX_PAGE: Final = 10**9
MAX_SIZE: Final = 1000
#: The larger one of two in the documentation.
DEFAULT_SIZE: Final = 20


def exact(value: str | None) -> str | None:
    """The text alone, of a subclass as well: an enum, or a template's markup."""
    return str.__str__(value) if isinstance(value, str) else value


def plain(value: str) -> str:
    """As `exact`, for what has to be a text."""
    if isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        return str.__str__(value)
    return value


def to_currency(value: str) -> str:
    """A fiat currency: three letters, in upper case."""
    text = exact(value)
    if (
        isinstance(text, str)
        and len(text) == _CURRENCY_LENGTH
        and text.isascii()
        and text.isalpha()
    ):
        return text.upper()
    raise InvalidRequestError(
        f"must be three ASCII letters, got {shown(value)}",
        field="currency",
        hint='write an ISO 4217 code such as "USD"',
    )


def validate_page_url(
    instance: object, attribute: attrs.Attribute[str | None], value: object
) -> None:
    """An URL for a browser. It is not changed: it goes to the wire as given."""
    field = attribute.name
    if value is None:
        return
    if not isinstance(value, str):
        kind = type(value).__name__
        raise InvalidRequestError(f"must be a text, not {kind}", field=field)
    try:
        allow_http: bool = getattr(instance, "allow_http", False)
        require_secure(parse_origin(value), allow_http=allow_http)
    except UrlError as error:
        raise InvalidRequestError(str(error), field=field) from None


def validate_callback_url(
    instance: object, attribute: attrs.Attribute[str | None], value: object
) -> None:
    """An URL for the platform to call and to sign; it comes back as it is sent."""
    validate_page_url(instance, attribute, value)
    if not isinstance(value, str):
        return
    if "#" in value:
        problem, hint = "a #fragment never reaches a server", "use ?query instead"
    elif not value.isascii():
        problem, hint = "holds characters that are not ASCII", "percent-encode them"
    elif not value.startswith(("https:", "http:")):
        problem, hint = "the scheme must be in lower case", "write https://"
    else:
        return
    raise InvalidRequestError(problem, field=attribute.name, hint=hint)


def validate_reference(
    _: object, attribute: attrs.Attribute[str | None], value: object
) -> None:
    """A name of the shop's own, if there is one."""
    if value is not None:
        require_reference(value, attribute.name)


def require_reference(value: object, field: str = "reference") -> str:
    """A name of the shop's own, which travels inside of URLs and is kept in databases.

    Raises:
        InvalidRequestError: naming the argument `field`.
    """
    if not isinstance(value, str):
        kind = "None" if value is None else type(value).__name__
        raise InvalidRequestError(f"must be a text, not {kind}", field=field)
    if not (0 < len(value) <= _MAX_REFERENCE and value.isprintable()):
        raise InvalidRequestError(
            f"must have 1 to {_MAX_REFERENCE} printable characters, got {shown(value)}",
            field=field,
        )
    return value


def redacted_url(url: str | None) -> str:
    """An URL for a repr: its query and fragment may hold a token."""
    return repr(url and without_query(url))


def without_traceback(error: InvalidRequestError) -> InvalidRequestError:
    """A refusal without the frames that looked at what was refused: they show it."""
    error.__context__ = None
    return error.with_traceback(None)


def validate_coin_name(
    _: object, attribute: attrs.Attribute[str], value: object
) -> None:
    """What the platform calls a coin or a chain: an open set."""
    if not (
        isinstance(value, str)
        and 0 < len(value) <= _MAX_NAME
        and value.isascii()
        and value.isprintable()
        and " " not in value
    ):
        example = "ETH" if attribute.name == "chain" else "USDT-ERC20"
        raise InvalidRequestError(
            f"must be a text of 1 to {_MAX_NAME} ASCII characters without blanks, "
            f"got {shown(value)}",
            field=attribute.name,
            hint=f'write it as the platform does, like "{example}"',
        )


def validate_bool(_: object, attribute: attrs.Attribute[bool], value: object) -> None:
    """True or false, and nothing that Python takes for one of them."""
    require_bool(value, attribute.name)


def require_bool(value: object, field: str) -> None:
    """As `validate_bool`, for an argument that is no field of a record.

    Raises:
        InvalidRequestError: naming the argument `field`.
    """
    if type(value) is not bool:
        raise InvalidRequestError(
            f"must be True or False, got {shown(value)}", field=field
        )


def is_order_id(text: str) -> bool:
    """Whether a text can be the platform's name for an order."""
    return 0 < len(text) <= MAX_ORDER_ID and text.isprintable() and " " not in text


def require_order_id(value: object, field: str = "order_id") -> str:
    """An order's id that a caller gives, fit to be one segment of a path.

    Raises:
        InvalidRequestError: naming the argument `field`.
    """
    text = exact(value) if isinstance(value, str) else None
    # RFC 3986, 5.2.4: these two are taken out of a path, by some also when the slash
    # beside them is encoded.
    if text is None or {".", ".."} & {*text.split("/")} or not is_order_id(text):
        raise InvalidRequestError(
            f"must be a text of 1 to {MAX_ORDER_ID} characters without blanks, "
            f"got {shown(value)}",
            field=field,
            hint="take it from order.order_id",
        )
    return text


def require_page(page: object, size: object) -> tuple[int, int]:
    """The number of a page, from 1, and how many rows it has.

    Raises:
        InvalidRequestError: naming ``page`` or ``size``.
    """
    return _require_whole(page, "page", MAX_PAGE), _require_whole(
        size, "size", MAX_SIZE
    )


def _require_whole(value: object, field: str, most: int) -> int:
    if type(value) is not int or not 0 < value <= most:
        raise InvalidRequestError(
            f"must be a whole number from 1 to {most}, got {shown(value)}", field=field
        )
    return value
