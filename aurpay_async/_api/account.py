"""Endpoints of payments, transactions, withdrawals and keys, and any other.

Path and query are signed, so they are sent exactly as built here. A path or a query
that a server, a proxy or a library might read differently is rejected, not repaired.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast, get_args
from urllib.parse import quote, unquote

from .. import bolt11
from .._core.http import Effect, Request
from .._core.json import dump_body, dump_json, dump_number, shown_key
from .._core.secrets import HEADER_VALUE, Secret
from .._core.urls import MAX_URL_LENGTH
from ..errors import InvalidRequestError, shown
from .checks import MAX_SKEW_S, check_pay_url, check_payable, check_payment
from .envelope import invalid
from .orders import (
    READ_HEADERS,
    WRITE_HEADERS,
    build_create,
    get,
    post,
    read_created,
    read_data,
    read_envelope,
    read_page,
    untrusted,
)
from .payment_models import (
    PaymentOrder,
    PaymentUrl,
    Transaction,
    UncheckedPayment,
    Withdrawal,
)
from .wire import wire_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._core.http import Response
    from .checks import InvoicePolicy
    from .models import Page
    from .payment_models import NewPayment, NewPaymentUrl


_PAYMENT_CHECK_BY_FIELD: Final = {
    "data.vs_price": "price",
    "data.vs_currency": "currency",
    "data.amount": "amount",
    "data.address": "address",
    "data.pay_url": "pay_url",
}

#: Optional fields: an unreadable one must not cost the merchant the order.
_PAYMENT_FALLBACKS: Final = {"create_time": None}


#: Build ``POST /api/order/pay-info`` for a `NewPayment`.
build_create_payment: Final = partial(
    build_create, "create_payment", "/api/order/pay-info"
)


def parse_create_payment(
    response: Response, requested: NewPayment, policy: InvoicePolicy, now: float
) -> PaymentOrder:
    """Return the order in a response, if it matches the request, and remember it.

    Args:
        response: Aurpay's response.
        requested: The request for the order.
        policy: What the client accepts, and the orders that it remembers.
        now: Seconds since 1970.

    Raises:
        APIError: if Aurpay rejected the request.
        InvalidResponseError: if the response does not have the documented shape.
        UntrustedOrderError: if the order exists, but failed a check.
    """
    data = read_envelope(response, Effect.CREATE)
    payment, extra = read_created(
        response, data, UncheckedPayment, _PAYMENT_CHECK_BY_FIELD, _PAYMENT_FALLBACKS
    )
    result = check_payment(payment, requested, policy)
    if result.failed:
        check, problem = result.failed
        raise untrusted(response, payment.order_id, check, problem)
    if policy.seen is not None:
        policy.seen.add(payment.order_id)
    create_time = payment.create_time
    if create_time is None or create_time.timestamp() - now > MAX_SKEW_S:
        create_time = datetime.fromtimestamp(now, UTC)
        extra["create_time"] = data.get("create_time")
    return PaymentOrder(
        order_id=payment.order_id,
        status=payment.status,
        amount=payment.amount,
        coin=requested.coin,
        chain=requested.chain,
        price=requested.price,
        currency=requested.currency,
        create_time=create_time,
        address=payment.address,
        contract_addr=payment.contract_addr,
        # Aurpay may send an empty string for no URL.
        pay_url=payment.pay_url or None,
        reference=requested.reference,
        attempt_id=requested.attempt_id,
        checks=result.passed,
        extra=extra,
    )


#: Build ``POST /api/order/pay-url`` for a `NewPaymentUrl`. The prose of its page says
#: ``succend_url``. The other pages and all known clients say ``succeed_url``.
build_create_payment_url: Final = partial(
    build_create, "create_payment_url", "/api/order/pay-url"
)


def parse_create_payment_url(
    response: Response, requested: NewPaymentUrl, policy: InvoicePolicy
) -> PaymentUrl:
    """Return the checkout page in a response, if its URL has an accepted origin.

    Raises:
        APIError: if Aurpay rejected the request.
        InvalidResponseError: if the response has no accepted URL.
    """
    data = read_envelope(response, Effect.CREATE)
    pay_url = data.pop("pay_url", None)
    if not isinstance(pay_url, str):
        raise invalid(response, "data.pay_url is not a string", "data.pay_url")
    problem = check_pay_url(pay_url, policy)
    if problem is not None:
        raise invalid(response, f"data.{problem}", "data.pay_url")
    return PaymentUrl(
        pay_url=pay_url,
        price=requested.price,
        currency=requested.currency,
        reference=requested.reference,
        attempt_id=requested.attempt_id,
        extra=data,
    )


def build_list_fiat_currencies() -> Request:
    """Build ``GET /api/order/pay/real-currency``.

    The documentation mentions it in prose; it has no page.
    """
    return get("list_fiat_currencies", "/api/order/pay/real-currency")


def parse_list_fiat_currencies(response: Response) -> object:
    """Return the envelope's `data`, which has no documented shape.

    Raises:
        APIError: if Aurpay rejected the request.
        InvalidResponseError: if the response has no envelope, or no `data` in it.
    """
    data = read_data(response, Effect.READ)
    if data is None:
        raise invalid(response, "data is missing", "data")
    return data


_NUMBER_FIELDS: Final = frozenset({"amount", "obtained", "fee"})

#: A row needs its id alone: a malformed one must not hide the others.
_TRANSACTION_FALLBACKS: Final = {
    name: None if name in _NUMBER_FIELDS else ""
    for name in wire_fields(Transaction) - {"tx_id"}
}

#: Advice about an invoice that must not be paid, by the failed check.
_PAYABLE_HINTS: Final = {
    "network": "ask the payee for an invoice on the client's network",
    "timestamp": "set this machine's clock, or ask the payee for a new invoice",
    "expiry": "ask the payee for a new invoice",
}


def build_list_transactions(page: int, size: int) -> Request:
    """Build ``GET /api/v2/tx``. Aurpay documents it without a trailing slash."""
    return get("list_transactions", f"/api/v2/tx?page={page}&size={size}")


def parse_list_transactions(response: Response) -> Page[Transaction]:
    """Return a page of transactions. Raises as `read_page`."""
    return read_page(response, Transaction, _TRANSACTION_FALLBACKS)


class Payable(NamedTuple):
    """An invoice that may be paid now."""

    invoice: bolt11.Invoice
    amount_msat: int


def require_payable(
    invoice: bolt11.Invoice | str,
    expected_msat: int | None,
    policy: InvoicePolicy,
    now: float,
) -> Payable:
    """Return an invoice that may be paid now, decoded and verified.

    Args:
        invoice: The invoice. An `Invoice` object is decoded again.
        expected_msat: The amount that the caller expects; ``None`` for any.
        policy: The client's network is compared.
        now: Seconds since 1970.

    Raises:
        InvoiceError: if it cannot be decoded, or breaks a rule.
        InvalidRequestError: naming ``invoice`` or ``amount``.
    """
    encoded = invoice.text if isinstance(invoice, bolt11.Invoice) else invoice
    decoded = bolt11.decode(encoded)
    failed = check_payable(decoded, policy, now).failed
    if failed:
        check, problem = failed
        raise InvalidRequestError(problem, field="invoice", hint=_PAYABLE_HINTS[check])
    amount_msat = decoded.amount_msat
    if amount_msat is None:
        # The unit of Aurpay's `amount` field must not be guessed where money is sent.
        raise InvalidRequestError(
            "it leaves the amount open, and Aurpay does not document the unit of the "
            "amount field beside it",
            field="invoice",
            hint="ask the payee for an invoice with an amount",
        )
    if expected_msat not in {None, amount_msat}:
        raise InvalidRequestError(
            f"expected {expected_msat} msat, but the invoice asks for {amount_msat}",
            field="amount",
            hint="find out which of the two is right",
        )
    return Payable(decoded, amount_msat)


def build_withdraw_lightning(invoice: bolt11.Invoice) -> Request:
    """Build ``POST /api/bln/withdraw``. ``ln_invoices`` is one string, not a list.

    The documented ``amount`` is for invoices without an amount. Its unit is not
    documented, so it is never sent.
    """
    body = dump_json({"ln_invoices": invoice.text}).encode("ascii")
    return post("withdraw_lightning", "/api/bln/withdraw", Effect.TRANSFER, body)


def parse_withdraw_lightning(response: Response, paid: Payable) -> Withdrawal:
    """Return Aurpay's response to a withdrawal.

    Raises:
        APIError: if Aurpay rejected the request.
        InvalidResponseError: if the response does not have the documented shape. The
            invoice may be paid.
    """
    data = read_envelope(response, Effect.TRANSFER)
    return Withdrawal(invoice=paid.invoice, amount_msat=paid.amount_msat, data=data)


#: Longer than any e-mail address or passphrase.
_MAX_CREDENTIAL: Final = 1024


def build_obtain_key(username: Secret, password: Secret) -> Request:
    """Build ``POST /api/plugin/key/aurpay``.

    The documentation has two spellings of the path; this is the one on the page of the
    endpoint.

    Raises:
        InvalidRequestError: naming ``username`` or ``password``, without quoting it.
    """
    for field, secret in (("username", username), ("password", password)):
        problem = _credential_problem(secret)
        if problem is not None:
            raise InvalidRequestError(problem, field=field)
    return post(
        "obtain_key",
        "/api/plugin/key/aurpay",
        Effect.READ,
        _credentials_json(username, password),
    )


def _credential_problem(secret: Secret) -> str | None:
    if type(secret.reveal()) is not str:
        return f"must be a str, not {type(secret.reveal()).__name__}"
    if not 0 < len(secret.reveal()) <= _MAX_CREDENTIAL:
        return f"must have 1 to {_MAX_CREDENTIAL} characters"
    return None


def _credentials_json(username: Secret, password: Secret) -> bytes:
    # Do not bind the revealed values to variables: tracebacks can show locals.
    return dump_json(
        {"username": username.reveal(), "password": password.reveal()}
    ).encode("ascii")


def parse_obtain_key(response: Response) -> Secret:
    """Return the key in a response.

    The caller has to remove the frames from its errors: they show the response.

    Raises:
        APIError: if Aurpay rejected the request.
        InvalidResponseError: if the response does not have the documented shape.
    """
    token = read_envelope(response, Effect.READ).get("access_token")
    if not isinstance(token, str) or not HEADER_VALUE.fullmatch(token):
        problem = "data.access_token is not a string that can be a header"
        raise invalid(response, problem, "data.access_token")
    return Secret(token)


Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

_METHODS: Final[tuple[str, ...]] = get_args(Method)

#: RFC 3986, 3.3: segments of pchar. Only the last one may be empty.
_PATH: Final = re.compile(
    r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)+/?", re.ASCII
)


def build_request(
    method: Method,
    path: str,
    *,
    params: Params | None,
    json: object,
    effect: Effect,
) -> Request:
    """Build a request to any endpoint.

    Raises:
        InvalidRequestError: naming the argument, with a hint.
    """
    if method not in _METHODS:
        raise InvalidRequestError(
            f"must be one of {', '.join(_METHODS)}, got {shown(method)}", field="method"
        )
    if not isinstance(effect, Effect):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequestError(
            f"must be Effect.READ, CREATE or TRANSFER, got {shown(effect)}",
            field="effect",
        )
    if json is not None and method == "GET":
        # The signature of a GET does not cover a body.
        raise InvalidRequestError(
            "GET has no body", field="json", hint="pass params= or use another method"
        )
    query = "" if params is None else _build_query(params)
    target = f"{_require_path(path)}?{query}" if query else _require_path(path)
    if len(target) > MAX_URL_LENGTH:
        raise InvalidRequestError(
            f"path and params are longer than {MAX_URL_LENGTH} characters", field="path"
        )
    return Request(
        operation="request",
        method=method,
        path=target,
        effect=effect,
        headers=READ_HEADERS if json is None else WRITE_HEADERS,
        body=b"" if json is None else dump_body(json),
    )


def parse_request(response: Response, effect: Effect) -> object:
    """Return the envelope's `data`, of any type; ``None`` if it is missing.

    Raises:
        APIError: if Aurpay rejected the request.
        InvalidResponseError: if the response has no envelope.
    """
    return read_data(response, effect)


def _require_path(path: str) -> str:
    problem = _path_problem(path)
    if problem is not None:
        # The message does not quote the path, which may contain a secret.
        raise InvalidRequestError(
            problem, field="path", hint='write it like "/api/v2/order/"'
        )
    return path


def _path_problem(path: object) -> str | None:
    if not isinstance(path, str):
        return f"must be a str, not {type(path).__name__}"
    if "?" in path or "#" in path:
        return "has a query or a fragment; pass params= for a query"
    if not path.startswith("/") or "//" in path:
        return "must begin with one slash, without a host, and must not contain //"
    # The length is checked first to bound the time of the match.
    if len(path) > MAX_URL_LENGTH or not _PATH.fullmatch(path):
        return "is too long, or contains characters that must be percent-encoded"
    # RFC 3986, 5.2.4: servers remove these from a path, some also if encoded.
    decoded = unquote(path)
    if {".", ".."} & set(decoded.split("/")) or not decoded.isprintable():
        return "has a . or .. between slashes, or an invisible character"
    return None


def _build_query(params: Params) -> str:
    given: Iterable[tuple[object, object]] = (
        cast("Mapping[object, object]", params).items()
        if isinstance(params, Mapping)
        else params
    )
    try:
        pairs = [(name, value) for name, value in given]
    except (TypeError, ValueError):
        raise InvalidRequestError(
            "must be a mapping or pairs of a name and a value", field="params"
        ) from None
    return "&".join(_parameter(name, value) for name, value in pairs)


def _parameter(name: object, value: object) -> str:
    if not isinstance(name, str):
        kind = type(name).__name__
        raise InvalidRequestError(f"a name must be a str, not {kind}", field="params")
    place = f"params.{shown_key(name)}"
    written = _query_value(value, place)
    return f"{_quote_component(name, place)}={_quote_component(written, place)}"


def _query_value(value: object, place: str) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return dump_number(value, place)
    raise InvalidRequestError(
        f"must be a str, an int or a Decimal, not {type(value).__name__}",
        field=place,
        hint='write it as a str in the form that Aurpay expects: "true", "0.5"',
    )


def _quote_component(value: str, place: str) -> str:
    """Percent-encode a string; a blank becomes %20, which all servers decode."""
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise InvalidRequestError("is not valid Unicode", field=place) from None


if TYPE_CHECKING:
    Value = str | int | Decimal
    Params = Mapping[str, Value] | Sequence[tuple[str, Value]]
