"""Every method of the merchant API, driven through everything that can happen to it."""

from __future__ import annotations

import hmac
import pickle
from base64 import b64encode
from hashlib import md5
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from aurpay_async import (
    APIError,
    ApiKey,
    ApiToken,
    AurpayClient,
    AuthenticationError,
    CallEvent,
    ConnectError,
    ConnectionLostError,
    Effect,
    InvalidRequestError,
    InvalidResponseError,
    InvoiceDecodeError,
    LightningOrder,
    NewOrder,
    NewPayment,
    Order,
    OrderQuery,
    OrderSearchResult,
    Page,
    PaymentOrder,
    PaymentUrl,
    RateLimitedError,
    Refund,
    RefundInfo,
    RequestOutcome,
    ServerError,
    Transaction,
    UntrustedOrderError,
    Withdrawal,
)
from aurpay_async.callbacks._identity import ReferenceSigner
from aurpay_async.errors import AurpayError
from aurpay_async.testing import FakeClock, MemoryTransport

from ..api.samples import paged, payment, refund, refund_info, transaction
from ..support.orders import (
    NOW,
    build_detail,
    build_order,
    build_response,
    sign_invoice,
    wrap_data,
)
from ..test_canary import CANARY, URLS, expect_no_secret_in_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ORDER_ID = "20260101000000000001"
OTHER_ID = "20240806071926377966"
PAY_URL = "https://dashboard.aurpay.net/#/cashier/choose?token=made-up"
PAYMENT_HASH = "cd" * 32
SECRET = "a made-up secret"


@attrs.frozen(kw_only=True)
class Row:
    """One method: how it is called, what it sends, what comes back."""

    operation: str
    call: Callable[[AurpayClient], Awaitable[object]]
    path: str
    answer: object
    gives: type
    method: str = "GET"
    body: bytes = b""
    effect: Effect = Effect.READ


LOST = OrderQuery(price="20.00", currency="USD", sent_at=NOW)
ROWS = [
    Row(
        operation="create_order",
        call=lambda c: c.create_order("20.00", "USD"),
        method="POST",
        path="/api/bln/order",
        body=b'{"price":20.00,"currency":"USD"}',
        effect=Effect.CREATE,
        answer=wrap_data(build_order()),
        gives=LightningOrder,
    ),
    Row(
        operation="create_payment",
        call=lambda c: c.create_payment(18, "USD", chain="ETH", coin="USDT-ERC20"),
        method="POST",
        path="/api/order/pay-info",
        body=(
            b'{"vs_price":18,"vs_currency":"USD","chain":"ETH","currency":"USDT-ERC20"}'
        ),
        effect=Effect.CREATE,
        answer=wrap_data(payment()),
        gives=PaymentOrder,
    ),
    Row(
        operation="create_payment_url",
        call=lambda c: c.create_payment_url("18.50", "usd", stablecoin_at_par=True),
        method="POST",
        path="/api/order/pay-url",
        body=b'{"price":18.50,"currency":"USD","fixed_encrypt_price":true}',
        effect=Effect.CREATE,
        answer=wrap_data({"pay_url": PAY_URL}),
        gives=PaymentUrl,
    ),
    Row(
        operation="get_order",
        call=lambda c: c.get_order(ORDER_ID),
        path=f"/api/v2/order/detail/{ORDER_ID}",
        answer=wrap_data(build_detail()),
        gives=Order,
    ),
    Row(
        operation="list_orders",
        call=lambda c: c.list_orders(1, 10),
        path="/api/v2/order/?page=1&size=10",
        answer=wrap_data(paged([build_detail()], total=1)),
        gives=Page,
    ),
    Row(
        operation="list_orders",
        call=lambda c: c.ping(),
        path="/api/v2/order/?page=1&size=1",
        answer=wrap_data(paged([build_detail()], total=1, size=1)),
        gives=type(None),
    ),
    Row(
        operation="list_orders",
        call=lambda c: anext(c.iter_orders()),
        path="/api/v2/order/?page=1&size=20",
        answer=wrap_data(paged([build_detail()], total=1, size=20)),
        gives=Order,
    ),
    Row(
        operation="list_orders",
        call=lambda c: c.find_order(LOST),
        path="/api/v2/order/?page=1&size=100",
        answer=wrap_data(paged([build_detail()], total=1, size=20)),
        gives=OrderSearchResult,
    ),
    Row(
        operation="get_refund",
        call=lambda c: c.get_refund(OTHER_ID),
        path=f"/api/v2/order/refund-info/{OTHER_ID}",
        answer=wrap_data(refund_info()),
        gives=RefundInfo,
    ),
    Row(
        operation="refund_order",
        call=lambda c: c.refund_order(OTHER_ID),
        method="POST",
        path=f"/api/v2/order/refund/{OTHER_ID}",
        effect=Effect.TRANSFER,
        answer=refund(),
        gives=Refund,
    ),
    Row(
        operation="list_transactions",
        call=lambda c: c.list_transactions(size=10),
        path="/api/v2/tx?page=1&size=10",
        answer=wrap_data(paged([transaction()], total=1)),
        gives=Page,
    ),
    Row(
        operation="list_transactions",
        call=lambda c: anext(c.iter_transactions(size=10)),
        path="/api/v2/tx?page=1&size=10",
        answer=wrap_data(paged([transaction()], total=1)),
        gives=Transaction,
    ),
    Row(
        operation="list_fiat_currencies",
        call=lambda c: c.list_fiat_currencies(),
        path="/api/order/pay/real-currency",
        answer=wrap_data(["USD", "EUR"]),
        gives=list,
    ),
    Row(
        operation="withdraw_lightning",
        call=lambda c: c.withdraw_lightning(sign_invoice(), amount="0.0002"),
        method="POST",
        path="/api/bln/withdraw",
        body=f'{{"ln_invoices": "{sign_invoice()}"}}'.encode(),
        effect=Effect.TRANSFER,
        answer=wrap_data({}),
        gives=Withdrawal,
    ),
    Row(
        operation="request",
        call=lambda c: c.request(
            "GET", "/api/new", params={"a b": "ü&=?"}, effect=Effect.READ
        ),
        path="/api/new?a%20b=%C3%BC%26%3D%3F",
        answer=wrap_data({"new": True}),
        gives=dict,
    ),
    Row(
        operation="request",
        call=lambda c: c.request("PUT", "/api/new/1", json={}, effect=Effect.TRANSFER),
        method="PUT",
        path="/api/new/1",
        body=b"{}",
        effect=Effect.TRANSFER,
        answer=wrap_data(None),
        gives=type(None),
    ),
]

each_row = pytest.mark.parametrize(
    "row", ROWS, ids=[f"{n}-{row.operation}" for n, row in enumerate(ROWS)]
)


def client(*answers: Any, **options: Any) -> tuple[AurpayClient, MemoryTransport]:
    """A client over scripted answers, and what it sends through."""
    transport = MemoryTransport(*answers)
    settings: dict[str, Any] = {
        "clock": FakeClock(NOW),
        "network": "regtest",
        "transport": transport,
        **options,
    }
    return AurpayClient(settings.pop("auth", None), **settings), transport


async def failure(
    call: Callable[[AurpayClient], Awaitable[object]], *answers: Any, **options: Any
) -> tuple[AurpayError, MemoryTransport]:
    """The error that a call ends with."""
    aurpay, transport = client(*answers, **options)
    with pytest.raises(AurpayError) as caught:
        await call(aurpay)
    return caught.value, transport


@each_row
async def test_each_method_sends_the_documented_request_and_returns_a_record(
    row: Row,
) -> None:
    events: list[Any] = []
    aurpay, transport = client(build_response(row.answer), on_event=events.append)
    assert type(await row.call(aurpay)) is row.gives
    (request,) = transport.requests
    assert (request.method, request.path, request.body) == (
        row.method,
        row.path,
        row.body,
    )
    assert request.headers.get("Content-Type") == (
        "application/json" if row.body else None
    )
    ended = [event for event in events if isinstance(event, CallEvent)]
    assert [(event.operation, event.effect) for event in ended] == [
        (row.operation, row.effect)
    ]
    assert (ended[0].error, ended[0].attempts) == (None, 1)


@each_row
async def test_envelope_with_an_error_code_is_raised_and_not_retried(row: Row) -> None:
    refusal = {"code": 401, "message": "no", "data": None, "result": False}
    error, transport = await failure(row.call, build_response(refusal))
    assert isinstance(error, AuthenticationError)
    assert (error.outcome, error.attempts) == (RequestOutcome.REJECTED, 1)
    assert len(transport.requests) == 1
    assert error.advice is None


@each_row
async def test_client_without_credentials_sends_no_authentication_headers(
    row: Row,
) -> None:
    aurpay, transport = client(build_response(row.answer))
    await row.call(aurpay)
    assert not {"API-Key", "API-Token", "Signature"} & set(
        transport.requests[0].headers
    )


@each_row
async def test_api_key_is_sent_unchanged_by_each_method(row: Row) -> None:
    aurpay, transport = client(build_response(row.answer), auth=ApiKey("a made-up key"))
    await row.call(aurpay)
    assert transport.requests[0].headers["API-Key"] == "a made-up key"


@each_row
@pytest.mark.parametrize(
    ("algorithm", "name"), [("HMAC-SHA256", "sha256"), ("HMAC-SHA3_256", "sha3_256")]
)
async def test_each_method_signs_method_path_query_and_body(
    row: Row, algorithm: Any, name: str
) -> None:
    auth = ApiToken("a made-up token", SECRET, algorithm)
    aurpay, transport = client(build_response(row.answer), auth=auth)
    await row.call(aurpay)
    headers = transport.requests[0].headers
    origin = f"{algorithm} | 2026-01-01T00:00:00Z | {row.method} {row.path}"
    if row.body:
        origin += f" | {md5(row.body, usedforsecurity=False).hexdigest()}"
    digest = hmac.digest(SECRET.encode(), origin.encode(), name)
    assert headers["Signature"] == b64encode(digest).decode()
    assert headers["Algorithm"] == algorithm


@each_row
async def test_unsent_request_is_retried_by_each_method(row: Row) -> None:
    down = ConnectError("down", outcome=RequestOutcome.NOT_SENT)
    aurpay, transport = client(down, build_response(row.answer))
    assert type(await row.call(aurpay)) is row.gives
    assert len(transport.requests) == 2


@each_row
@pytest.mark.parametrize(
    "failed",
    [build_response(b"", 503), ConnectionLostError("reset")],
    ids=["503", "reset"],
)
async def test_request_of_unknown_outcome_is_retried_only_if_it_reads(
    row: Row, failed: Any
) -> None:
    if row.effect is Effect.READ:
        aurpay, transport = client(failed, failed, build_response(row.answer))
        assert type(await row.call(aurpay)) is row.gives
        assert len(transport.requests) == 3
        return
    error, transport = await failure(row.call, failed)
    assert isinstance(error, ServerError | ConnectionLostError)
    assert (error.outcome, error.attempts) == (RequestOutcome.UNKNOWN, 1)
    assert (error.retryable, error.sent_at) == (False, NOW)
    assert len(transport.requests) == 1
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert vars(twin) == vars(error)
    assert str(twin) == str(error)


async def test_failed_create_payment_has_the_new_payment_and_order_id() -> None:
    cut = ConnectionLostError("cut", body=f'{{"order_id":"{OTHER_ID}",'.encode())
    for came in (
        cut,
        build_response(wrap_data(payment(vs_price=1))),
        build_response(b"", 500),
    ):
        error, _ = await failure(
            lambda c: c.create_payment(
                18, "USD", chain="ETH", coin="USDT-ERC20", post_callbacks=True
            ),
            came,
        )
        assert error.new_order == NewPayment(
            18, "USD", chain="ETH", coin="USDT-ERC20", post_callbacks=True
        )
        assert error.order_id in {OTHER_ID, None}
    assert cut.order_id == OTHER_ID


async def test_failed_create_payment_url_leaves_no_order() -> None:
    error, _ = await failure(
        lambda c: c.create_payment_url(18, "USD"), build_response(b"", 500)
    )
    assert (error.outcome, error.new_order) == (RequestOutcome.UNKNOWN, None)
    foreign = build_response(wrap_data({"pay_url": "https://evil.example/"}))
    error, _ = await failure(lambda c: c.create_payment_url(18, "USD"), foreign)
    assert type(error) is InvalidResponseError


@pytest.mark.parametrize("came", [build_response(b"", 500), build_response(b"<html>")])
async def test_failed_refund_has_a_recovery_hint_and_order_id(came: Any) -> None:
    error, _ = await failure(lambda c: c.refund_order(OTHER_ID), came)
    assert error.order_id == OTHER_ID
    assert error.advice is not None
    assert "get_order() and list_transactions()" in error.advice
    assert f"; {error.advice}; outcome=unknown" in str(error)


@pytest.mark.parametrize("status", [403, 429])
async def test_refund_confirmed_under_an_error_status_is_unknown(status: int) -> None:
    for content in (refund(), wrap_data(refund())):
        error, transport = await failure(
            lambda c: c.refund_order(OTHER_ID), build_response(content, status)
        )
        assert isinstance(error, APIError)
        assert (error.outcome, error.retryable) == (RequestOutcome.UNKNOWN, False)
        assert len(transport.requests) == 1
        assert error.advice is not None


@pytest.mark.parametrize("row", [row for row in ROWS if row.effect is Effect.TRANSFER])
async def test_transfers_are_not_retried_after_retry_after(row: Row) -> None:
    busy = build_response(b"", 429, retry_after="1")
    error, transport = await failure(row.call, busy, build_response(row.answer))
    assert isinstance(error, RateLimitedError)
    assert (error.outcome, error.retryable) == (RequestOutcome.REJECTED, False)
    assert (error.retry_after, len(transport.requests)) == (1, 1)


async def test_failed_withdrawal_has_invoice_and_payment_hash() -> None:
    for came in (
        build_response(b"", 502),
        build_response(wrap_data(None)),
        ConnectionLostError("x"),
    ):
        error, _ = await failure(lambda c: c.withdraw_lightning(sign_invoice()), came)
        assert error.outcome is RequestOutcome.UNKNOWN
        assert error.invoice is not None
        assert error.invoice.payment_hash == PAYMENT_HASH
        assert f"payment hash {PAYMENT_HASH} may be paid" in str(error)
        assert "list_transactions()" in str(error)


async def test_rejected_withdrawal_has_no_recovery_hint() -> None:
    error, _ = await failure(
        lambda c: c.withdraw_lightning(sign_invoice()),
        build_response({"code": 7, "message": "no"}),
    )
    assert (
        str(error) == "Aurpay rejected the request with code 7: 'no'; outcome=rejected"
    )
    assert error.invoice is not None


async def test_withdrawal_has_the_invoice_and_the_response_data() -> None:
    aurpay, _ = client(build_response(wrap_data({"tx_id": "7"})))
    made = await aurpay.withdraw_lightning(sign_invoice())
    assert str(made.invoice) == sign_invoice()
    assert (made.amount_msat, made.data) == (20_000_000, {"tx_id": "7"})


@pytest.mark.parametrize(
    ("text", "amount", "field"),
    [
        (sign_invoice(network="testnet"), None, "invoice"),
        (sign_invoice(amount_msat=None), None, "invoice"),
        (sign_invoice(amount_msat=None), "0.0002", "invoice"),
        (sign_invoice(timestamp=int(NOW.timestamp()) - 9999), None, "invoice"),
        (sign_invoice(), "0.00020000001", "amount"),
        (sign_invoice(), 0.0002, "amount"),
        (sign_invoice(), "0.000000000001", "amount"),
        (sign_invoice(), 0, "amount"),
        (sign_invoice(), "0.0002 BTC", "amount"),
    ],
)
async def test_unpayable_invoices_are_rejected_before_sending(
    text: str, amount: Any, field: str
) -> None:
    error, transport = await failure(
        lambda c: c.withdraw_lightning(text, amount=amount)
    )
    assert isinstance(error, InvalidRequestError)
    assert (error.field, error.outcome) == (field, RequestOutcome.NOT_SENT)
    assert transport.requests == []


async def test_invalid_invoice_is_rejected_before_withdrawal() -> None:
    error, transport = await failure(
        lambda c: c.withdraw_lightning(sign_invoice()[:-1])
    )
    assert isinstance(error, InvoiceDecodeError)
    assert transport.requests == []


@pytest.mark.parametrize(
    ("page", "size", "field"),
    [
        (0, 10, "page"),
        (-1, 10, "page"),
        (True, 10, "page"),
        ("1", 10, "page"),
        (1.0, 10, "page"),
        (10**9 + 1, 10, "page"),
        (1, 0, "size"),
        (1, 1001, "size"),
        (1, None, "size"),
    ],
)
@pytest.mark.parametrize(
    "name", ["list_orders", "iter_orders", "list_transactions", "iter_transactions"]
)
async def test_invalid_pages_are_rejected_when_requested(
    name: str, page: Any, size: Any, field: str
) -> None:
    aurpay, transport = client()
    with pytest.raises(InvalidRequestError, match="an int from 1") as caught:
        await getattr(aurpay, name)(page=page, size=size)
    assert caught.value.field == field
    assert transport.requests == []


@pytest.mark.parametrize("name", ["get_order", "get_refund", "refund_order"])
async def test_order_id_is_quoted_within_its_path_segment(name: str) -> None:
    aurpay, transport = client(build_response(wrap_data(None)))
    with pytest.raises(InvalidResponseError) as caught:
        await getattr(aurpay, name)("a/b?c#d")
    assert transport.requests[0].path.endswith("/a%2Fb%3Fc%23d")
    assert caught.value.order_id == "a/b?c#d"
    for bad in ("..", "../a", "", 7):
        with pytest.raises(InvalidRequestError):
            await getattr(aurpay, name)(bad)
    assert len(transport.requests) == 1


async def test_iter_orders_requests_each_page_when_needed() -> None:
    rows = [build_detail(order_id=str(number)) for number in range(1, 6)]
    pages = [
        build_response(
            wrap_data(paged(rows[at : at + 2], page=page, size=2, total=5, max_page=3))
        )
        for page, at in ((1, 0), (2, 2), (3, 4))
    ]
    aurpay, transport = client(*pages)
    seen = []
    async for found in aurpay.iter_orders(size=2):
        seen.append(found.order_id)
        assert len(transport.requests) == (len(seen) + 1) // 2
    assert seen == ["1", "2", "3", "4", "5"]
    aurpay, transport = client(pages[2])
    assert [found.order_id async for found in aurpay.iter_orders(page=3, size=2)] == [
        "5"
    ]


async def test_iter_transactions_deduplicates_by_tx_id() -> None:
    rows = [transaction(tx_id=str(number)) for number in range(1, 4)]
    aurpay, _ = client(
        build_response(wrap_data(paged(rows[:2], size=2, total=3, max_page=2))),
        build_response(wrap_data(paged(rows[2:], page=2, size=2, total=3, max_page=2))),
    )
    seen = [row.tx_id async for row in aurpay.iter_transactions(size=2)]
    assert seen == ["1", "2", "3"]


async def test_unknown_fields_of_all_rows_are_counted_in_events() -> None:
    events: list[Any] = []
    rows = [build_detail(order_id="1", fee=1), build_detail(order_id="2", fee=1, new=2)]
    aurpay, _ = client(build_response(wrap_data(paged(rows))), on_event=events.append)
    await aurpay.list_orders()
    assert events[-1].unknown_fields == 3


async def test_find_order_accepts_an_error_or_a_query() -> None:
    lost, _ = await failure(
        lambda c: c.create_order("20.00", "USD"), ConnectionLostError("reset")
    )
    page = build_response(wrap_data(paged([build_detail()], total=1, size=20)))
    aurpay, _ = client(page, page, page)
    assert (await aurpay.find_order(lost)).order.order_id == ORDER_ID
    assert (await aurpay.find_order(LOST)).outcome == "found"
    known = {ORDER_ID}
    assert (await aurpay.find_order(lost, known=known)).outcome == "none_yet"


@pytest.mark.parametrize(
    ("odd", "outcome"),
    [
        ({"vs_price": "21", "amount": ""}, "found"),
        ({"vs_price": "21", "update_time": ""}, "found"),
        ({"vs_price": "21", "refund": 0}, "found"),
        ({"vs_price": "21", "status": None, "create_time": ""}, "found"),
        ({"create_time": "2026-01-01T09:00"}, "found"),
        ({"vs_price": ""}, "several"),
        ({"create_time": [2026, 1, 1]}, "several"),
        ({"status": None}, "several"),
    ],
)
async def test_find_order_works_beside_unreadable_rows(
    odd: dict[str, Any], outcome: str
) -> None:
    rows = [build_detail(**{"order_id": OTHER_ID, **odd}), build_detail()]
    page = build_response(wrap_data(paged(rows, size=20)))
    aurpay, _ = client(page, page)
    assert (await aurpay.find_order(LOST)).outcome == outcome
    assert (await aurpay.find_order(LOST, known={OTHER_ID})).order.order_id == ORDER_ID


async def test_find_order_with_an_id_calls_only_get_order() -> None:
    lost, _ = await failure(
        lambda c: c.create_order("20.00", "USD"),
        build_response(wrap_data(build_order(amount="1"))),
    )
    assert isinstance(lost, UntrustedOrderError)
    aurpay, transport = client(build_response(wrap_data(build_detail())))
    assert (await aurpay.find_order(lost)).order.order_id == ORDER_ID
    assert transport.requests[0].path == f"/api/v2/order/detail/{ORDER_ID}"


async def test_find_order_requests_a_hundred_rows_a_page() -> None:
    aurpay, transport = client(
        build_response(wrap_data(paged([build_detail()], total=1, size=100)))
    )
    assert (await aurpay.find_order(LOST)).outcome == "found"
    assert transport.requests[0].path == "/api/v2/order/?page=1&size=100"


async def test_find_order_compares_the_coin_of_a_payment() -> None:
    lost, _ = await failure(
        lambda c: c.create_payment(20, "USD", chain="ETH", coin="USDT-ERC20"),
        ConnectionLostError("reset"),
    )
    other = build_detail(order_id="7", chain="ETH", currency="USDT-ERC20")
    aurpay, _ = client(
        build_response(wrap_data(paged([build_detail(), other], size=20)))
    )
    assert (await aurpay.find_order(lost)).order.order_id == "7"


async def test_find_order_searches_as_late_as_an_attempt_may_take() -> None:
    from aurpay_async import Timeouts

    late = build_detail(create_time="2026-01-01T00:12:00")
    page = build_response(wrap_data(paged([late], total=1, size=20)))
    patient = Timeouts(attempt=600, call=900)
    for timeouts, outcome in ((Timeouts(), "none_yet"), (patient, "found")):
        aurpay, _ = client(page, timeouts=timeouts)
        assert (await aurpay.find_order(LOST)).outcome == outcome


async def test_find_order_rejects_errors_that_left_no_order() -> None:
    refused, _ = await failure(
        lambda c: c.create_order("20.00", "USD"), build_response({"code": 7})
    )
    page_lost, _ = await failure(
        lambda c: c.create_payment_url(20, "USD"), ConnectionLostError("reset")
    )
    read, _ = await failure(
        lambda c: c.get_order(ORDER_ID), build_response({"code": 7})
    )
    for error in (refused, page_lost, read, InvalidRequestError("x", field="y")):
        aurpay, transport = client()
        with pytest.raises(InvalidRequestError):
            await aurpay.find_order(error)
        assert transport.requests == []


@pytest.mark.parametrize("name", ["create_payment", "create_payment_url"])
async def test_references_are_signed_into_callback_urls_of_payments(name: str) -> None:
    key = "a made-up key, of 16 characters or more"
    coin = {"chain": "ETH", "coin": "USDT-ERC20"} if name == "create_payment" else {}
    content = payment() if coin else {"pay_url": PAY_URL}
    aurpay, transport = client(build_response(wrap_data(content)), reference_key=key)
    made = await getattr(aurpay, name)(
        18,
        "USD",
        **coin,
        reference="cart-42",
        callback_url="https://shop.example/paid",
    )
    sent = transport.requests[0].body.decode()
    url = sent.partition('"callback_url":"')[2].partition('"')[0]
    reference = ReferenceSigner(key).read(url, "paid")
    assert (reference.reference, str(reference.price)) == ("cart-42", "18")
    assert (made.reference, made.attempt_id) == ("cart-42", reference.attempt_id)


def creating(name: str, **options: Any) -> Callable[[AurpayClient], Awaitable[object]]:
    return lambda c: getattr(c, name)(18, "USD", **options)


@pytest.mark.parametrize("name", ["create_payment", "create_payment_url"])
async def test_urls_of_payments_do_not_show_in_errors_or_tracebacks(name: str) -> None:
    coin: dict[str, Any] = {"chain": "ETH", "coin": "ETH"}
    coin = coin if name == "create_payment" else {}
    urls: dict[str, Any] = dict(URLS)
    for field in URLS:
        bad = {**urls, field: f"https://shop.example/ ?{CANARY}"}
        error, _ = await failure(creating(name, **coin, **bad))
        assert isinstance(error, InvalidRequestError)
        assert error.field == field
        expect_no_secret_in_error(error)
    error, _ = await failure(creating(name, **coin, **urls), build_response(b"", 500))
    error.new_order = None
    expect_no_secret_in_error(error)
    assert CANARY.encode() not in pickle.dumps(error)


async def test_failed_custom_create_request_has_the_order_id() -> None:
    cut = ConnectionLostError("cut", body=b'{"order_id":"7","x":')
    error, transport = await failure(
        lambda c: c.request("POST", "/api/new", json=[], effect=Effect.CREATE), cut
    )
    assert (error.order_id, error.outcome) == ("7", RequestOutcome.UNKNOWN)
    assert transport.requests[0].body == b"[]"


async def test_invalid_custom_request_is_rejected_before_sending() -> None:
    error, transport = await failure(
        lambda c: c.request("GET", "/a/../b", effect=Effect.READ)
    )
    assert isinstance(error, InvalidRequestError)
    assert (error.field, transport.requests) == ("path", [])


async def test_failed_create_order_has_a_plain_new_order() -> None:
    error, _ = await failure(
        lambda c: c.create_order(20, "USD"), build_response(b"", 500)
    )
    assert error.new_order == NewOrder(20, "USD")
