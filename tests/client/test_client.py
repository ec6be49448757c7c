"""The client: its settings, its life, and orders end to end against the sandbox."""

from __future__ import annotations

import asyncio
import json
import traceback
from datetime import timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from aurpay_async import (
    APIError,
    ApiKey,
    ApiToken,
    AurpayClient,
    AurpayError,
    CallEvent,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    Effect,
    InvalidRequestError,
    InvalidResponseError,
    LightningOrder,
    NewOrder,
    NotFoundError,
    Order,
    OrderStatus,
    Payment,
    RateLimitedError,
    RequestOutcome,
    Response,
    RetryPolicy,
    Timeouts,
    UntrustedOrderError,
)
from aurpay_async.callbacks._identity import ReferenceSigner
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock, MemoryTransport

from ..api.samples import payment
from ..support.loopback import Server, answering, closed_port
from ..support.orders import (
    AS_NUMBER,
    AS_TEXT,
    NOW,
    NUMBER_DAY,
    PAYEE,
    TEXT_DAY,
    build_detail,
    build_order,
    build_response,
    sign_invoice,
    wrap_data,
)

ORDER_ID = "20260101000000000001"
CANARY = "canary-5f3a"


def client(*answers: Any, **options: Any) -> AurpayClient:
    """A client over scripted answers."""
    return AurpayClient(
        **{
            "transport": MemoryTransport(*answers),
            "clock": FakeClock(NOW),
            "network": "regtest",
            **options,
        }
    )


async def test_readme_example_works_against_the_sandbox() -> None:
    async with Sandbox() as sandbox, sandbox.client() as aurpay:
        made = await aurpay.create_order(
            "20.00",
            "USD",
            callback_url="https://shop.example/aurpay/paid",
            timeout_callback="https://shop.example/aurpay/timeout",
            succeed_url="https://shop.example/thanks",
            timeout_url="https://shop.example/again",
        )
    assert made.status is OrderStatus.PENDING
    assert made.amount == Decimal("0.00020000")
    assert made.payment_request.amount_msat == 20_000_000
    assert made.payment_request.payee == PAYEE
    assert made.payment_request.expires_at > made.create_time + timedelta(hours=23)
    assert made.payment_addr == made.payment_request.payment_secret
    assert made.pay_url.startswith("http://127.0.0.1:")
    assert (made.coin, made.currency) == ("BTC-LN", "USD")
    assert str(made.price) == "20.00"
    assert len(sandbox.requests) == len(sandbox.orders) == 1
    assert str(made.payment_request) == sandbox.orders[made.order_id].invoice
    assert json.loads(sandbox.requests[0].body, parse_float=str) == {
        "price": "20.00",
        "currency": "USD",
        "callback_url": "https://shop.example/aurpay/paid",
        "timeout_callback": "https://shop.example/aurpay/timeout",
        "succeed_url": "https://shop.example/thanks",
        "timeout_url": "https://shop.example/again",
    }


@pytest.mark.parametrize("amounts", ["string", "number"])
@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"api_key": "sandbox-key"},
        {"api_token": "sandbox-token", "api_secret": "sandbox-secret"},
    ],
)
@pytest.mark.parametrize("price", ["0.01", "19.99", 20, Decimal("999999999.99")])
async def test_orders_are_created_with_each_authentication_and_price(
    amounts: Any, credentials: Any, price: Any
) -> None:
    async with (
        Sandbox(amounts=amounts, **credentials) as sandbox,
        sandbox.client() as aurpay,
    ):
        made = await aurpay.create_order(price, "usd")
    assert made.amount * 10**11 == made.payment_request.amount_msat


async def test_all_ten_checks_are_made_with_a_pinned_payee() -> None:
    async with Sandbox() as sandbox, sandbox.client(payees=[PAYEE.upper()]) as aurpay:
        made = await aurpay.create_order(1, "EUR")
    assert made.checks == (
        "signature",
        "new",
        "payment_hash",
        "network",
        "amount",
        "payment_secret",
        "timestamp",
        "expiry",
        "payee",
        "pay_url",
    )


async def test_documented_testnet_response_is_rejected_on_mainnet() -> None:
    async with client(
        build_response(AS_NUMBER), network="mainnet", clock=FakeClock(NUMBER_DAY)
    ) as c:
        with pytest.raises(UntrustedOrderError) as caught:
            await c.create_order(20, "USD")
    assert caught.value.check == "network"
    async with client(
        build_response(AS_NUMBER), network="testnet", clock=FakeClock(NUMBER_DAY)
    ) as c:
        assert (await c.create_order(20, "USD")).payment_request.network == "testnet"


async def test_documented_mainnet_response_is_valid_at_its_date_only() -> None:
    transport = MemoryTransport(build_response(AS_TEXT), build_response(AS_TEXT))
    async with AurpayClient(clock=FakeClock(TEXT_DAY), transport=transport) as c:
        assert (await c.create_order(20, "USD")).order_id == "20240428125136525824"
    async with AurpayClient(transport=transport) as c:
        with pytest.raises(UntrustedOrderError) as caught:
            await c.create_order(20, "USD")
    assert caught.value.check == "expiry"


async def test_failed_create_has_outcome_and_new_order_for_recovery() -> None:
    content = wrap_data(build_order(amount="1"))
    async with client(build_response(content)) as c:
        with pytest.raises(UntrustedOrderError) as caught:
            await c.create_order(
                "20.00", "USD", callback_url="https://shop.example/paid?id=7"
            )
    error = caught.value
    assert error.outcome is RequestOutcome.UNKNOWN
    assert error.order_id == content["data"]["order_id"]
    assert error.new_order == NewOrder(
        "20.00", "USD", callback_url="https://shop.example/paid?id=7"
    )
    assert (error.attempts, error.retryable) == (1, False)
    assert error.sent_at == NOW
    assert json.loads(error.body) == content


async def test_response_error_reports_attempt_count_and_last_send_time() -> None:
    clock = FakeClock(NOW)
    down = ConnectError("down", outcome=RequestOutcome.NOT_SENT)
    async with client(down, down, build_response({"code": 5}), clock=clock) as c:
        with pytest.raises(AurpayError) as caught:
            await c.create_order(20, "USD")
    error = caught.value
    assert (error.attempts, error.outcome) == (3, RequestOutcome.REJECTED)
    assert error.sent_at == clock.now()
    assert error.new_order == NewOrder(20, "USD")


async def test_rate_limit_in_the_envelope_is_retryable() -> None:
    async with client(build_response({"code": 429, "message": "slow down"})) as c:
        with pytest.raises(RateLimitedError) as caught:
            await c.create_order(20, "USD")
    assert caught.value.retryable


async def test_unreachable_server_is_not_sent_after_four_attempts() -> None:
    async with closed_port() as url, AurpayClient(base_url=url, clock=FakeClock()) as c:
        with pytest.raises(ConnectError) as caught:
            await c.create_order(20, "USD")
    assert (caught.value.outcome, caught.value.attempts) == (RequestOutcome.NOT_SENT, 4)
    assert caught.value.new_order is not None


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((19.99, "USD"), "price"),
        (("0", "USD"), "price"),
        (("20", "dollars"), "currency"),
    ],
)
@pytest.mark.parametrize("open_first", [True, False])
async def test_invalid_arguments_are_rejected_without_a_connection(
    arguments: Any, field: str, open_first: bool
) -> None:
    async with Sandbox() as sandbox:
        aurpay = sandbox.client()
        if open_first:
            await aurpay.__aenter__()
        with pytest.raises(InvalidRequestError) as caught:
            await aurpay.create_order(*arguments)
        await aurpay.aclose()
    assert caught.value.field == field
    assert (caught.value.outcome, caught.value.attempts) == (RequestOutcome.NOT_SENT, 0)
    assert sandbox.requests == []


@pytest.mark.parametrize(
    "field", ["succeed_url", "timeout_url", "callback_url", "timeout_callback"]
)
async def test_invalid_urls_are_rejected_without_a_connection(field: str) -> None:
    async with client() as c:
        with pytest.raises(InvalidRequestError) as caught:
            await c.create_order("20", "USD", **{field: "http://a.example"})  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("base_url", "problem"),
    [
        ("http://dashboard.aurpay.net", "https://"),
        ("dashboard.aurpay.net", "absolute"),
        ("", "absolute"),
        ("ftp://dashboard.aurpay.net", "must be https"),
        ("https://user:pw@dashboard.aurpay.net", "contains userinfo"),
        (
            "https://dashboard.aurpay.net/api",
            "without a path: https://dashboard.aurpay.net",
        ),
        ("https://dashboard.aurpay.net?x", "without a path"),
        ("https://dashboard.aurpay.net/#x", "without a path"),
        (
            "https://gateway.example:8443/x",
            "without a path: https://gateway.example:8443",
        ),
    ],
)
def test_invalid_base_urls_are_rejected(base_url: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        AurpayClient(base_url=base_url)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "base_url",
    [
        "https://dashboard.aurpay.net",
        "https://dashboard.aurpay.net/",
        "HTTPS://Dashboard.Aurpay.net:443/",
        "https://gateway.example:8443",
        "http://127.0.0.1:8080/",
        "http://localhost",
        "http://[::1]:8080",
    ],
)
def test_https_and_loopback_base_urls_are_accepted(base_url: str) -> None:
    AurpayClient(base_url=base_url)


CONTAINERS: dict[str, Any] = {
    "callback_url": "http://app:8000/paid",
    "timeout_callback": "http://app:8000/timeout",
    "succeed_url": "http://shop.test/thanks",
    "timeout_url": "http://shop.test/again",
}


async def test_plain_http_between_containers_needs_allow_http() -> None:
    """For base URL, the URLs of orders and checkout pages; on a test network."""
    data = build_order(pay_url="http://sandbox:8765/#/cashier/1")
    paid = payment(pay_url="http://sandbox:8765/#/cashier/2")
    answers = [
        build_response(wrap_data(one))
        for one in (data, paid, {"pay_url": data["pay_url"]})
    ]
    allowed = {"base_url": "http://sandbox:8765", "allow_http": True}
    async with client(*answers, **allowed) as c:
        made = await c.create_order("20", "USD", **CONTAINERS)
        await c.create_payment(18, "USD", chain="ETH", coin="USDT-ERC20", **CONTAINERS)
        await c.create_payment_url(18, "USD", **CONTAINERS)
    assert made.pay_url == data["pay_url"]
    assert LightningOrder.from_json(made.to_json()) == made
    async with client() as c:
        for name, url in CONTAINERS.items():
            with pytest.raises(InvalidRequestError, match="allow_http=True") as caught:
                await c.create_order("20", "USD", **{name: url})
            assert caught.value.field == name
    with pytest.raises(ConfigurationError, match="allow_http is for test networks"):
        AurpayClient(base_url="http://sandbox:8765", allow_http=True)
    with pytest.raises(ConfigurationError, match="base_url must start with https"):
        AurpayClient(base_url="http://sandbox:8765", network="regtest")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"allow_http": True}, "allow_http is for test networks"),
        ({"allow_http": "1", "network": "regtest"}, "allow_http must be True or False"),
        ({"pay_url_origins": "pay.example"}, "pay_url_origins must be absolute"),
        ({"pay_url_origins": 5}, "pay_url_origins must be a str"),
        ({"pay_url_origins": ["https://pay.example/x"]}, "without a path"),
        ({"pay_url_origins": ["http://pay.example"]}, "must start with https"),
    ],
)
def test_options_for_other_origins_that_cannot_be_used_are_rejected(
    options: dict[str, Any], problem: str
) -> None:
    """When the client is made, with what to write."""
    with pytest.raises(ConfigurationError, match=problem):
        AurpayClient(**options)


async def test_checkout_page_of_a_listed_origin_is_accepted() -> None:
    answers = [
        build_response(
            wrap_data(build_order(pay_url="https://pay.example/#/cashier/1"))
        )
    ] * 2
    async with client(*answers) as c:
        with pytest.raises(
            UntrustedOrderError, match=r"has the origin https://pay\.example"
        ):
            await c.create_order("20", "USD")
    async with client(*answers, pay_url_origins="https://pay.example") as c:
        made = await c.create_order("20", "USD")
    assert made.pay_url == "https://pay.example/#/cashier/1"


@pytest.mark.parametrize("name", ["connect", "attempt", "call"])
@pytest.mark.parametrize(
    "seconds",
    [0, -1, float("nan"), float("inf"), True, None, "5", timedelta(seconds=5)],
)
def test_invalid_timeouts_are_rejected_by_name(name: str, seconds: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"Timeouts\({name}=.*for example"):
        Timeouts(**{name: seconds})


async def async_hook(_: object) -> None:
    """Would never be awaited."""


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"auth": CANARY}, r"auth must be ApiKey\(...\) or ApiToken\(...\), not str"),
        ({"timeouts": 10}, r"timeouts must be Timeouts\(...\), not 10"),
        ({"retry": 3}, r"retry must be RetryPolicy\(...\), not 3"),
        ({"clock": 5}, "clock must have"),
        ({"session": CANARY}, "session must be an aiohttp session, not str"),
        ({"transport": object()}, "transport must have a method send"),
        ({"on_event": 5}, "on_event must be a plain function"),
        ({"on_event": async_hook}, "on_event must be a plain function"),
        ({"base_url": None}, "base_url must be a str, not None"),
        ({"base_url": b"https://x"}, "base_url must be a str, not <bytes>"),
    ],
)
def test_options_of_a_wrong_type_are_rejected_without_showing_keys(
    wrong: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        AurpayClient(**wrong)
    assert CANARY not in str(caught.value)
    for frame, _ in traceback.walk_tb(caught.value.__traceback__):
        if frame.f_code.co_filename != __file__:
            names = dict(frame.f_locals)
            half_made = names.pop("self", None)
            assert CANARY not in repr(names) + repr(getattr(half_made, "__dict__", ""))
    for name in {"timeouts", "retry"} & wrong.keys():
        with pytest.raises(ConfigurationError, match=problem):
            AurpayClient().with_options(**{name: wrong[name]})


@pytest.mark.parametrize(
    "network", ["", "Mainnet", "bitcoin", None, 5, pytest.param(10**5000, id="huge")]
)
def test_unknown_networks_are_rejected_with_a_list(network: Any) -> None:
    with pytest.raises(ConfigurationError, match="mainnet, testnet, signet, regtest"):
        AurpayClient(network=network)


@pytest.mark.parametrize(
    "payees",
    [
        ["x"],
        ["02" * 32],
        ["05" + "00" * 32],
        PAYEE,
        [""],
        [f"{PAYEE} "],
        [5],
        [PAYEE.encode()],
        None,
        5,
    ],
)
def test_invalid_payees_are_rejected_with_a_message(payees: Any) -> None:
    if payees == PAYEE:
        assert AurpayClient(payees=payees)._invoice_policy.payees == {PAYEE}
        return
    with pytest.raises(ConfigurationError, match="payees are public keys"):
        AurpayClient(payees=payees)


async def test_payees_are_read_once_from_any_iterable() -> None:
    assert client(payees=iter([PAYEE]))._invoice_policy.payees == {PAYEE}


def test_client_is_created_without_an_event_loop() -> None:
    assert repr(AurpayClient(ApiKey(CANARY))) == (
        "<AurpayClient https://dashboard.aurpay.net on mainnet>"
    )


async def test_with_options_shares_connections_and_budget() -> None:
    """Other limits for one call, without another pool."""
    other = build_order(
        order_id="2", payment_request=sign_invoice(payment_hash="02" * 32)
    )
    answers = [build_response(wrap_data(made)) for made in (build_order(), other)]
    transport = MemoryTransport(*answers)
    patient = client(transport=transport)
    hasty = patient.with_options(
        timeouts=Timeouts(attempt=1), retry=RetryPolicy(max_attempts=1)
    )
    await patient.create_order(20, "USD")
    await hasty.create_order(20, "USD")
    assert [request.timeout for request in transport.requests] == [15, 1]
    assert hasty._transport.budget is patient._transport.budget
    assert hasty._lazy_transport is patient._lazy_transport
    assert type(hasty) is AurpayClient
    await patient.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        await hasty.create_order(20, "USD")


async def test_client_uses_the_users_session_and_leaves_it_open() -> None:
    async with aiohttp.ClientSession() as session, Sandbox() as sandbox:
        async with sandbox.client(session=session) as aurpay:
            await aurpay.create_order(20, "USD")
        assert not session.closed


async def test_client_works_without_a_context_manager() -> None:
    async with Sandbox() as sandbox:
        aurpay = sandbox.client()
        await aurpay.create_order(20, "USD")
        await aurpay.aclose()
        await aurpay.aclose()
        with pytest.raises(ConfigurationError, match="closed") as caught:
            await aurpay.create_order(20, "USD")
    assert caught.value.outcome is RequestOutcome.NOT_SENT
    assert len(sandbox.requests) == 1


async def test_get_order_returns_the_order_with_credentials() -> None:
    credentials = {"api_token": "sandbox-token", "api_secret": "sandbox-secret"}
    async with Sandbox(**credentials) as sandbox, sandbox.client() as aurpay:  # type: ignore[arg-type]
        made = await aurpay.create_order("20.00", "USD")
        pending = await aurpay.get_order(made.order_id)
        await sandbox.pay(made.order_id)
        paid = await aurpay.get_order(made.order_id)
        with pytest.raises(NotFoundError) as caught:
            await aurpay.get_order("20240428125136525824")
    assert isinstance(pending, Order)
    assert (pending.order_id, pending.status) == (made.order_id, OrderStatus.PENDING)
    assert (pending.price, pending.currency) == (made.price, made.currency)
    assert (pending.amount, pending.coin) == (made.amount, made.coin)
    assert pending.create_time == made.create_time
    assert paid.status is OrderStatus.SUCCESS
    assert caught.value.order_id == "20240428125136525824"
    assert caught.value.new_order is None


async def test_get_order_sends_any_id_as_one_quoted_path_segment() -> None:
    body = json.dumps(wrap_data(build_detail(order_id="a/b?c#ü%2F"))).encode()
    async with (
        Server(answering(body)) as server,
        AurpayClient(ApiToken("token", "secret"), base_url=server.url) as c,
    ):
        assert (await c.get_order("a/b?c#ü%2F")).order_id == "a/b?c#ü%2F"
    (request,) = server.requests
    line, *_ = request.split(b"\r\n")
    path = b"/api/v2/order/detail/a%2Fb%3Fc%23%C3%BC%252F"
    assert line == b"GET " + path + b" HTTP/1.1"
    assert request.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("order_id", ["", "..", "a b", "x" * 65, None, 5])
async def test_invalid_order_id_is_rejected_without_a_connection(order_id: Any) -> None:
    transport = MemoryTransport()
    async with client(transport=transport) as c:
        with pytest.raises(InvalidRequestError) as caught:
            await c.get_order(order_id)
    assert caught.value.field == "order_id"
    assert transport.requests == []


async def test_get_order_is_retried_and_reports_its_attempts() -> None:
    lost = ConnectionLostError("lost")
    async with client(lost, lost, build_response(wrap_data(build_detail()))) as c:
        assert (await c.get_order(ORDER_ID)).status is OrderStatus.PENDING
    async with client(lost, Response(status=503), build_response({"code": 5})) as c:
        with pytest.raises(APIError) as caught:
            await c.get_order(ORDER_ID)
    error = caught.value
    assert (error.attempts, error.order_id) == (3, ORDER_ID)
    assert not error.retryable


async def test_get_order_emits_an_event_with_unknown_fields() -> None:
    events: list[Any] = []
    content = wrap_data(build_detail(tx_id="1", fee="2"))
    async with client(build_response(content), on_event=events.append) as c:
        assert (await c.get_order(ORDER_ID)).extra == {"tx_id": "1", "fee": "2"}
    attempt, call = events
    assert attempt.effect is call.effect is Effect.READ
    assert (attempt.operation, call.operation) == ("get_order", "get_order")
    assert call.unknown_fields == 2


@pytest.mark.parametrize(
    "content", [b"<html>", wrap_data(build_detail(order_id="another")), wrap_data(None)]
)
async def test_unreadable_get_order_response_has_the_requested_order_id(
    content: object,
) -> None:
    async with client(build_response(content)) as c:
        with pytest.raises(InvalidResponseError) as caught:
            await c.get_order(ORDER_ID)
    error = caught.value
    assert (error.order_id, error.retryable) == (ORDER_ID, False)
    assert error.sent_at == NOW


async def test_get_order_on_a_closed_client_has_the_order_id() -> None:
    aurpay = client()
    await aurpay.aclose()
    with pytest.raises(ConfigurationError, match="closed") as caught:
        await aurpay.get_order(ORDER_ID)
    assert caught.value.order_id == ORDER_ID


async def test_wait_for_payment_works_against_the_sandbox() -> None:
    async with Sandbox() as sandbox, sandbox.client() as aurpay:
        made = await aurpay.create_order("20.00", "USD")
        kept = LightningOrder.from_json(made.to_json())
        assert kept == made
        waiting = asyncio.create_task(aurpay.wait_for_payment(kept, timeout=30))
        while len(sandbox.requests) < 2:
            await asyncio.sleep(0)
        await sandbox.pay(made.order_id)
        assert (await aurpay.get_order(made.order_id)).status.is_paid
        payment = await waiting
    assert isinstance(payment, Payment)
    assert payment.outcome == "paid"
    assert len(sandbox.requests) <= 3


REFERENCE_KEY = f"{CANARY}-reference-key"
CALLBACKS: dict[str, Any] = {
    "callback_url": "https://shop.example/paid?shop=7",
    "timeout_callback": "https://shop.example/timeout",
}


async def test_reference_is_signed_into_the_callback_urls() -> None:
    async with (
        Sandbox() as sandbox,
        sandbox.client(reference_key=[REFERENCE_KEY, "x" * 16]) as aurpay,
    ):
        made = await aurpay.create_order(
            "20.00", "usd", reference="cart-42", **CALLBACKS
        )
    sent = json.loads(sandbox.requests[0].body)
    assert sent.keys() == {"price", "currency", *CALLBACKS}
    signer = ReferenceSigner([REFERENCE_KEY])
    for field, kind in (("callback_url", "paid"), ("timeout_callback", "timeout")):
        assert sent[field].startswith(CALLBACKS[field])
        token = signer.read(sent[field], kind)  # type: ignore[arg-type]
        assert (token.reference, token.attempt_id) == ("cart-42", made.attempt_id)
        assert (token.price, token.currency) == (made.price, "USD")
    assert made.reference == "cart-42"


async def test_reference_without_callbacks_is_stored_on_the_order() -> None:
    async with (
        Sandbox() as sandbox,
        sandbox.client(reference_key=REFERENCE_KEY) as aurpay,
    ):
        first, second = [
            await aurpay.create_order(20, "USD", reference="cart-42") for _ in range(2)
        ]
        plain = await aurpay.create_order(20, "USD")
    assert first.reference == second.reference == "cart-42"
    assert first.attempt_id != second.attempt_id
    assert (plain.reference, plain.attempt_id) == (None, None)


async def test_failed_create_has_reference_and_attempt_id() -> None:
    async with client(ConnectionLostError("lost"), reference_key=REFERENCE_KEY) as c:
        with pytest.raises(ConnectionLostError) as caught:
            await c.create_order("20", "USD", reference="cart-42", **CALLBACKS)
    asked = caught.value.new_order
    assert asked is not None
    token = ReferenceSigner([REFERENCE_KEY]).read(asked.callback_url or "")
    assert (token.reference, token.attempt_id) == (asked.reference, asked.attempt_id)
    assert asked.reference == "cart-42"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"reference": ""}, "reference"),
        ({"reference": "x" * 129}, "reference"),
        ({"reference": 42}, "reference"),
        ({"reference": "x", "callback_url": f"https://x.example/{'x' * 2000}"}, None),
        ({"reference": "x", "timeout_callback": "https://x.example/#x"}, None),
    ],
)
async def test_invalid_references_are_rejected_without_a_connection(
    arguments: dict[str, Any], field: str | None
) -> None:
    async with client(reference_key=REFERENCE_KEY) as c:
        with pytest.raises(InvalidRequestError) as caught:
            await c.create_order("20", "USD", **arguments)
    assert caught.value.field == (field or [*arguments][-1])
    assert caught.value.__context__ is None


async def test_reference_without_a_key_says_how_to_configure_one() -> None:
    async with client() as c:
        with pytest.raises(InvalidRequestError, match="reference_key=") as caught:
            await c.create_order("20", "USD", reference="cart-42")
    assert caught.value.field == "reference"


@pytest.mark.parametrize("key", ["", CANARY, [], [REFERENCE_KEY, CANARY], 5, b"x" * 20])
@pytest.mark.parametrize("make", [AurpayClient, AurpayClient.from_env])
def test_invalid_reference_keys_are_rejected_without_showing_them(
    make: Any, key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURPAY_API_KEY", "k")
    with pytest.raises(ConfigurationError, match="reference_key") as caught:
        make(reference_key=key)
    assert CANARY not in str(caught.value)
    assert_hidden(caught.value)


def assert_hidden(error: BaseException) -> None:
    """No local name of ours shows the canary."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename != __file__:
            shown = [value for name, value in frame.f_locals.items() if name != "self"]
            assert CANARY not in repr(shown)


@pytest.mark.parametrize("make", [AurpayClient, AurpayClient.from_env])
def test_reference_key_is_not_shown_by_other_errors(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURPAY_API_KEY", "k")
    for wrong in ({"network": "moon"}, {"timeouts": 5}, {"base_url": "x"}):
        with pytest.raises(ConfigurationError) as caught:
            make(reference_key=REFERENCE_KEY, **wrong)
        assert_hidden(caught.value)


async def test_concurrent_orders_each_have_their_invoice() -> None:
    async with Sandbox() as sandbox, sandbox.client() as aurpay:
        orders = await asyncio.gather(
            *(aurpay.create_order(20, "USD") for _ in range(50))
        )
    assert len({made.order_id for made in orders}) == 50
    assert len({str(made.payment_request) for made in orders}) == 50


async def test_each_call_emits_one_event_at_its_end() -> None:
    events: list[Any] = []
    content = wrap_data(build_order(fee="1", hop="2"))
    async with client(
        build_response(content), build_response({"code": 5}), on_event=events.append
    ) as c:
        await c.create_order(20, "USD")
        with pytest.raises(AurpayError):
            await c.create_order(20, "USD")
    assert [event for event in events if isinstance(event, CallEvent)] == [
        CallEvent(
            operation="create_order",
            effect=Effect.CREATE,
            attempts=1,
            duration_s=0.0,
            error=None,
            outcome=None,
            unknown_fields=2,
            order_id=build_order()["order_id"],
        ),
        CallEvent(
            operation="create_order",
            effect=Effect.CREATE,
            attempts=1,
            duration_s=0.0,
            error="api",
            outcome=RequestOutcome.REJECTED,
            unknown_fields=0,
        ),
    ]
    assert len(events) == 4


async def test_cancelled_call_emits_an_event_and_reraises() -> None:
    events: list[Any] = []

    def cancelled(_: object) -> Any:
        raise asyncio.CancelledError

    async with client(cancelled, on_event=events.append) as c:
        with pytest.raises(asyncio.CancelledError):
            await c.create_order(20, "USD")
    assert [(event.error, event.outcome) for event in events] == [
        ("cancelled", RequestOutcome.UNKNOWN)
    ] * 2
    assert events[-1].attempts is None


async def test_exception_in_on_event_is_logged_and_ignored(
    caplog: pytest.LogCaptureFixture,
) -> None:

    def broken(_: object) -> None:
        raise LookupError("in the hook")

    async with client(build_response(wrap_data(build_order())), on_event=broken) as c:
        assert (await c.create_order(20, "USD")).order_id
    assert {record.name for record in caplog.records} == {"aurpay_async.client"}
    assert "in the hook" in caplog.text


async def test_sandbox_rejects_a_wrong_api_key() -> None:
    async with Sandbox(api_key="sandbox-key") as sandbox:
        options: Any = {"base_url": sandbox.base_url, "network": "regtest"}
        for auth in (None, ApiKey("other"), ApiToken("t", "s")):
            async with AurpayClient(auth, **options) as c:
                with pytest.raises(AurpayError) as caught:
                    await c.create_order(20, "USD")
            assert caught.value.code == "authentication"
            assert caught.value.outcome is RequestOutcome.REJECTED
    assert sandbox.orders == {}


class TestFromEnv:
    """`from_env`: what is set, what is missing, and by which name."""

    @pytest.fixture
    def setenv(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        def setenv(**variables: str) -> None:
            for name, value in variables.items():
                monkeypatch.setenv(f"AURPAY_{name}", value)

        return setenv

    async def sent_headers(self, **options: Any) -> Any:
        transport = MemoryTransport(build_response({"code": 5}))
        c = AurpayClient.from_env(transport=transport, **options)
        with pytest.raises(AurpayError):
            await c.create_order(20, "USD")
        return transport.requests[0].headers

    async def test_from_env_reads_the_api_key(self, setenv: Any) -> None:
        setenv(API_KEY=CANARY)
        assert (await self.sent_headers())["API-Key"] == CANARY

    async def test_from_env_reads_token_and_secret(self, setenv: Any) -> None:
        setenv(API_TOKEN="token", API_SECRET="secret")
        headers = await self.sent_headers()
        assert headers["API-Token"] == "token"
        assert "Signature" in headers

    def test_from_env_reads_base_url_and_network(self, setenv: Any) -> None:
        setenv(API_KEY="k", BASE_URL="http://127.0.0.1:1", NETWORK="regtest")
        assert (
            repr(AurpayClient.from_env())
            == "<AurpayClient http://127.0.0.1:1 on regtest>"
        )

    async def test_from_env_reads_the_reference_key(self, setenv: Any) -> None:
        setenv(API_KEY="k", REFERENCE_KEY=REFERENCE_KEY)
        for options in ({}, {"reference_key": "x" * 16}):
            transport = MemoryTransport(build_response(wrap_data(build_order())))
            c = AurpayClient.from_env(
                transport=transport,
                network="regtest",
                clock=FakeClock(NOW),
                **options,  # type: ignore[arg-type]
            )
            await c.create_order("20", "USD", reference="cart-42", **CALLBACKS)
            url = json.loads(transport.requests[0].body)["callback_url"]
            key = options.get("reference_key", REFERENCE_KEY)
            assert ReferenceSigner([key]).read(url).reference == "cart-42"

    def test_from_env_reads_allow_http_and_origins(self, setenv: Any) -> None:
        setenv(
            API_KEY="k",
            BASE_URL="http://sandbox:8765",
            NETWORK="regtest",
            ALLOW_HTTP="1",
            PAY_URL_ORIGINS="https://pay.example, http://pay.test:81",
        )
        c = AurpayClient.from_env()
        assert repr(c) == "<AurpayClient http://sandbox:8765 on regtest>"
        assert c._invoice_policy.pay_url_origins == {
            ("https", "pay.example", 443),
            ("http", "pay.test", 81),
        }
        setenv(BASE_URL="https://shop.example", PAY_URL_ORIGINS="", ALLOW_HTTP="False")
        assert not AurpayClient.from_env()._allow_http
        assert AurpayClient.from_env(allow_http=True)._allow_http

    def test_options_of_from_env_override_the_environment(self, setenv: Any) -> None:
        setenv(API_KEY="k", BASE_URL="https://other.example", NETWORK="regtest")
        c = AurpayClient.from_env(base_url="https://shop.example", network="signet")
        assert repr(c) == "<AurpayClient https://shop.example on signet>"

    @pytest.mark.parametrize(
        ("variables", "problem"),
        [
            ({}, "set AURPAY_API_KEY, or AURPAY_API_TOKEN and AURPAY_API_SECRET"),
            ({"API_KEY": ""}, "set AURPAY_API_KEY, or AURPAY_API_TOKEN"),
            ({"API_TOKEN": CANARY}, "AURPAY_API_SECRET is not set"),
            ({"API_SECRET": CANARY}, "AURPAY_API_TOKEN is not set"),
            ({"API_SECRET": CANARY, "API_TOKEN": ""}, "AURPAY_API_TOKEN is not set"),
            (
                {"API_KEY": CANARY, "API_TOKEN": CANARY},
                "AURPAY_API_KEY is set together",
            ),
            (
                {"API_KEY": CANARY, "API_SECRET": CANARY},
                "AURPAY_API_KEY is set together",
            ),
            ({"API_KEY": f"{CANARY}\n"}, "AURPAY_API_KEY"),
            ({"API_TOKEN": f"{CANARY}\n", "API_SECRET": "s"}, "AURPAY_API_TOKEN"),
            ({"API_TOKEN": "t", "API_SECRET": f"{CANARY}\n"}, "AURPAY_API_SECRET"),
            ({"API_KEY": "k", "BASE_URL": "http://shop.example"}, "AURPAY_BASE_URL"),
            ({"API_KEY": "k", "NETWORK": "moon"}, "AURPAY_NETWORK"),
            ({"API_KEY": "k", "ALLOW_HTTP": "yes"}, "AURPAY_ALLOW_HTTP must be 1 or 0"),
            ({"API_KEY": "k", "ALLOW_HTTP": "1"}, "allow_http is for test networks"),
            ({"API_KEY": "k", "PAY_URL_ORIGINS": "a,b"}, "AURPAY_PAY_URL_ORIGINS"),
            ({"API_KEY": "k", "REFERENCE_KEY": CANARY}, "AURPAY_REFERENCE_KEY"),
        ],
    )
    def test_from_env_errors_name_the_variable_without_its_value(
        self, setenv: Any, variables: dict[str, str], problem: str
    ) -> None:
        setenv(**variables)
        with pytest.raises(ConfigurationError) as caught:
            AurpayClient.from_env()
        assert problem in str(caught.value)
        assert CANARY not in str(caught.value)
