"""The control API of the sandbox."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import InvalidRequestError
from aurpay_async._core.clock import SystemClock
from aurpay_async.sandbox import CallbackFaults, Rates, Sandbox
from aurpay_async.sandbox._endpoints import Control
from aurpay_async.sandbox._fault_responses import REQUEST_FAULTS, parse_fault
from aurpay_async.sandbox._faults import CALLBACK_FAULTS
from aurpay_async.sandbox._models import COINS
from aurpay_async.sandbox._pages import PageGuard
from aurpay_async.sandbox._responses import read_static
from aurpay_async.sandbox._settings import HostPolicy
from aurpay_async.testing import FakeClock

from ..conftest import examples
from ..support.orders import NOW
from .shop import (
    call,
    create_order,
    create_order_for,
    expected_signature,
    open_shop,
    read_requests,
)

#: Each route of the control API, with a valid body.
ENDPOINTS = [
    ("GET", "/_sandbox/openapi.json", None),
    ("GET", "/_sandbox/clock", None),
    ("POST", "/_sandbox/clock", {"advance_s": 60}),
    ("GET", "/_sandbox/rates", None),
    ("PUT", "/_sandbox/rates", {"USD": "1"}),
    ("GET", "/_sandbox/faults", None),
    ("POST", "/_sandbox/faults", ["503"]),
    ("DELETE", "/_sandbox/faults", None),
    ("GET", "/_sandbox/callback-faults", None),
    ("POST", "/_sandbox/callback-faults", ["twice"]),
    ("DELETE", "/_sandbox/callback-faults", None),
    ("POST", "/_sandbox/orders/20260101000000000001/pay", None),
    ("POST", "/_sandbox/orders/20260101000000000001/expire", None),
    ("POST", "/_sandbox/orders/20260101000000000001/underpay", None),
    ("POST", "/_sandbox/orders/20260101000000000001/refund", None),
    ("POST", "/_sandbox/checkouts/sandbox-0/choose", {"coin": "TRX"}),
    ("GET", "/_sandbox/callbacks", None),
    ("POST", "/_sandbox/callbacks/1/resend", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ENDPOINTS)
async def test_control_api_rejects_web_pages_and_foreign_hosts(
    method: str, path: str, body: Any
) -> None:
    async with Sandbox(clock=FakeClock(NOW)) as sandbox:
        await create_order(sandbox)
        for headers in ({"Origin": "x"}, {"Sec_Fetch_Site": "same-origin"}):
            status, text = await call(sandbox, method, path, body, **headers)
            assert (status, text) == (403, {"error": "for programs, not for web pages"})
        status, text = await call(sandbox, method, path, body, Host="evil.example")
        assert (status, text["error"][:26]) == (403, "use 127.0.0.1 or localhost")
        assert len(sandbox.faults) == len(sandbox.callback_faults) == 0
        assert sandbox.rates["USD"] == 100_000
        assert sandbox.clock.now() == NOW
    (known,) = sandbox.orders.values()
    assert known.status == "PENDING"


async def test_callback_faults_can_be_listed_added_and_removed_over_http() -> None:
    path = "/_sandbox/callback-faults"
    async with Sandbox() as sandbox:
        both = ["twice; times=3", "lost"]
        assert await call(sandbox, "POST", path, both) == (200, both)
        assert await call(sandbox, "GET", path) == (200, both)
        status, answer = await call(sandbox, "POST", path, ["late", "sooner"])
        assert status == 400
        assert answer["error"].startswith(
            "callback_fault: there is no callback fault 'sooner'; use one of"
        )
        invalid_bodies: list[Any] = [{}, [503], ["twice", None]]
        for body in invalid_bodies:
            assert await call(sandbox, "POST", path, body) == (
                400,
                {"error": "callback_faults: must be a JSON list of strings"},
            )
        assert list(sandbox.callback_faults) == both
        assert await call(sandbox, "DELETE", path) == (200, [])
        assert len(sandbox.callback_faults) == 0
        assert (await call(sandbox, "PUT", path))[0] == 405
    assert sandbox.requests == []


async def test_paying_an_expired_invoice_over_http_is_answered_with_409() -> None:
    clock = FakeClock(NOW)
    async with Sandbox(clock=clock) as sandbox:
        order_id = await create_order(sandbox)
        clock.advance(86_400)
        path = f"/_sandbox/orders/{order_id}/pay"
        status, answer = await call(sandbox, "POST", path)
        assert (status, answer["error"][:33]) == (
            409,
            "order_id: the invoice of 20260101",
        )
        assert sandbox.orders[order_id].status == "PENDING"


async def test_paying_over_http_returns_the_sent_callbacks() -> None:
    date = "2026-01-01T00:00:00Z"
    async with (
        open_shop() as shop,
        Sandbox(clock=FakeClock(NOW), post_callbacks=True) as sandbox,
    ):
        order_id = await create_order_for(sandbox, shop)
        path = f"/_sandbox/orders/{order_id}"
        status, sent = await call(sandbox, "POST", f"{path}/pay")
        url = f"{shop.url}/paid?ref=7"
        record = sandbox.callbacks[0]
        assert (status, sent) == (
            200,
            [
                {
                    "order_id": order_id,
                    "kind": "paid",
                    "method": "POST",
                    "url": url,
                    "headers": [
                        ["Callback-Token", "sandbox-callback-token"],
                        ["Date", date],
                        ["Signature", expected_signature(date, url)],
                        ["Content-Type", "application/json"],
                    ],
                    "body": record.body.decode(),
                    "status": 200,
                    "error": None,
                    "sent_at": "2026-01-01T00:00:00+00:00",
                }
            ],
        )
        assert await call(sandbox, "POST", f"{path}/refund") == (200, [])
        assert sandbox.orders[order_id].status == "REFUNDED"
        assert await call(sandbox, "GET", "/_sandbox/callbacks") == (200, sent)


async def test_expiring_over_http_consumes_a_callback_fault() -> None:
    async with open_shop() as shop, Sandbox() as sandbox:
        order_id = await create_order_for(sandbox, shop)
        await call(sandbox, "POST", "/_sandbox/callback-faults", ["lost"])
        _, sent = await call(sandbox, "POST", f"/_sandbox/orders/{order_id}/expire")
    assert [(record["kind"], record["error"]) for record in sent] == [
        ("timeout", "not sent: lost")
    ]


async def test_resent_callback_is_signed_anew_and_takes_a_fault() -> None:
    clock = FakeClock(NOW)
    async with open_shop() as shop, Sandbox(clock=clock) as sandbox:
        order_id = await create_order_for(sandbox, shop)
        sandbox.callback_faults.push("lost")
        await sandbox.expire(order_id)
        await sandbox.pay(order_id)
        clock.advance(60)
        for fault in ("wrong-token", "twice; times=2"):
            sandbox.callback_faults.push(fault)
            await call(sandbox, "POST", "/_sandbox/callbacks/1/resend")
        sent = sandbox.callbacks[2:]
        assert [callback.kind for callback in sent] == ["timeout"] * 3
        assert [callback.status for callback in sent] == [200] * 3
        headers = [dict(callback.headers) for callback in sent]
        tokens = [each["Callback-Token"] for each in headers]
        assert tokens == ["not-the-token"] + ["sandbox-callback-token"] * 2
        assert {each["Date"] for each in headers} == {"2026-01-01T00:01:00Z"}
        assert sandbox.orders[order_id].status == "SUCCESS"
        for number in (0, 6, 999_999_999):
            path = f"/_sandbox/callbacks/{number}/resend"
            problem = {"error": "there is no such callback"}
            assert await call(sandbox, "POST", path) == (404, problem)
        assert len(sandbox.callbacks) == 5


async def test_forbidden_status_change_over_http_is_answered_with_the_reason() -> None:
    async with Sandbox() as sandbox:
        order_id = await create_order(sandbox)
        assert await call(sandbox, "POST", "/_sandbox/orders/7/pay") == (
            404,
            {"error": "there is no such order"},
        )
        assert await call(sandbox, "POST", f"/_sandbox/orders/{order_id}/refund") == (
            409,
            {"error": f"order_id: {order_id} is PENDING and cannot be refunded"},
        )
        for method, path, status, error in (
            ("POST", "/_sandbox/orders/7/steal", 404, "404: Not Found"),
            ("GET", "/_sandbox/orders/7/pay", 405, "405: Method Not Allowed"),
            ("POST", "/_sandbox/callbacks", 405, "405: Method Not Allowed"),
            ("GET", "/_sandbox/other", 404, "404: Not Found"),
        ):
            assert await call(sandbox, method, path) == (status, {"error": error})


async def test_underpaid_order_is_overdue_and_sends_no_callback() -> None:
    async with open_shop() as shop, Sandbox() as sandbox:
        order_id = await create_order_for(sandbox, shop)
        path = f"/_sandbox/orders/{order_id}/underpay"
        assert await call(sandbox, "POST", path) == (200, [])
        assert sandbox.orders[order_id].status == "OVERDUE"
        assert (await call(sandbox, "POST", path))[0] == 409
        with pytest.raises(
            InvalidRequestError, match="OVERDUE and cannot be underpaid"
        ):
            await sandbox.underpay(order_id)
        another = await create_order_for(sandbox, shop)
        assert await sandbox.underpay(another) == []
    assert sandbox.orders[another].status == "OVERDUE"
    assert read_requests(shop) == []


async def test_advancing_the_clock_over_http_times_out_due_orders() -> None:
    path = "/_sandbox/clock"
    async with (
        open_shop() as shop,
        Sandbox(clock=FakeClock(NOW), speed=1) as sandbox,
    ):
        order_id = await create_order_for(sandbox, shop)
        assert await call(sandbox, "GET", path) == (
            200,
            {"now": "2026-01-01T00:00:00+00:00"},
        )
        await call(sandbox, "POST", path, {"advance_s": 1799.5})
        assert sandbox.orders[order_id].status == "PENDING"
        assert await call(sandbox, "POST", path, {"advance_s": 0.5}) == (
            200,
            {"now": "2026-01-01T00:30:00+00:00"},
        )
        assert sandbox.orders[order_id].status == "OVERDUE"
        assert [sent.kind for sent in sandbox.callbacks] == ["timeout"]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"advance_s": -1}, 400, "advance_s: must be 0 to 31536000 seconds"),
        ({"advance_s": 31_536_001}, 400, "advance_s: must be 0 to 31536000 seconds"),
        (b'{"advance_s": 1e999}', 400, "advance_s: must be 0 to 31536000 seconds"),
        (b'{"advance_s": NaN}', 400, "advance_s: must be 0 to 31536000 seconds"),
        ({"advance_s": True}, 400, "advance_s: must be a number"),
        ({"advance_s": "60"}, 400, "advance_s: must be a number"),
        ({"advance_s": 60, "now": 1}, 400, "advance_s: must be a number"),
        ([60], 400, "advance_s: must be a number"),
        (None, 400, "advance_s: must be a number"),
        (b"[" * 9_999, 400, "advance_s: must be a number"),
        (b"9" * 9_999, 400, "advance_s: must be a number"),
        ({"advance_s": 31_536_000}, 409, "the clock ends with the year 2999"),
    ],
)
async def test_invalid_step_over_http_does_not_move_the_clock(
    body: Any, status: int, error: str
) -> None:
    last_year = datetime(2999, 6, 1, tzinfo=UTC)
    async with Sandbox(clock=FakeClock(last_year)) as sandbox:
        found = await call(sandbox, "POST", "/_sandbox/clock", body)
        assert found[0] == status
        assert found[1]["error"].startswith(error)
        assert sandbox.clock.now() == last_year


async def test_clock_without_advance_method_is_answered_with_409() -> None:
    async with Sandbox(clock=SystemClock()) as sandbox:
        assert await call(sandbox, "POST", "/_sandbox/clock", {"advance_s": 1}) == (
            409,
            {"error": "the clock of this sandbox has no advance() method"},
        )


async def test_rates_can_be_shown_and_set_over_http() -> None:
    path = "/_sandbox/rates"
    shown = {
        "USD": "100000",
        "EUR": "90000",
        "GBP": "75000",
        "CHF": "80000",
        "JPY": "15000000",
    }
    async with Sandbox() as sandbox:
        first = await create_order(sandbox)
        assert await call(sandbox, "GET", path) == (200, shown)
        changed = {**shown, "USD": "65000.50", "PLN": "400000"}
        rates = {"USD": "65000.50", "PLN": "400000"}
        assert await call(sandbox, "PUT", path, rates) == (200, changed)
        second = await create_order(sandbox)
        orders = sandbox.orders
        assert orders[first].amount == Decimal("0.00020000")
        assert orders[second].amount == Decimal("0.00030769")
        for wrong, error in (
            ({}, 'rates: must be a JSON object of strings; like {"USD": "65000"}'),
            ({"USD": 65000}, "rates: must be a JSON object of strings"),
            (["USD"], "rates: must be a JSON object of strings"),
            ({"EUR": "1", "USD": "1e5"}, "rates['USD']: not a plain decimal number"),
            ({"EUR": "1", "USD": "0"}, "rates['USD']: must be above 0"),
            ({"EUR": "1", "usd": "1"}, "rates: a currency is three capital letters"),
        ):
            status, answer = await call(sandbox, "PUT", path, wrong)
            assert status == 400
            assert answer["error"].startswith(error)
        assert await call(sandbox, "GET", path) == (200, changed)


async def test_control_api_rejects_a_body_that_is_too_large() -> None:
    async with Sandbox() as sandbox:
        status, answer = await call(sandbox, "PUT", "/_sandbox/rates", b" " * 2_000_000)
    assert status == 413
    assert answer["error"].startswith("Maximum request body size")


# The OpenAPI description


def read_openapi() -> dict[str, Any]:
    return dict(json.loads(read_static("openapi.json")))


async def test_openapi_file_describes_each_route_of_the_control_api() -> None:
    async with Sandbox() as sandbox:
        assert await call(sandbox, "GET", "/_sandbox/openapi.json") == (
            200,
            read_openapi(),
        )
        router = (
            Control(sandbox._simulator, PageGuard(HostPolicy())).application().router
        )
        routes = {
            (route.method, str(route.resource and route.resource.canonical))
            for route in router.routes()
        }
    assert routes == {
        (method.upper(), path)
        for path, methods in read_openapi()["paths"].items()
        for method in methods
        if method != "parameters"
    }
    assert routes >= {("POST", "/orders/{order_id}/pay"), ("PUT", "/rates")}
    assert len(routes) == 18
    coins = read_openapi()["components"]["schemas"]["Choice"]["properties"]["coin"]
    assert coins["enum"] == [*COINS]


def read_patterns(schema: str) -> list[str]:
    found = read_openapi()["components"]["schemas"][schema]["anyOf"]
    return [one["pattern"] for one in found]


@pytest.mark.parametrize(
    ("schema", "parse", "names"),
    [
        ("Fault", parse_fault, [*REQUEST_FAULTS, "503", "100", "204"]),
        (
            "CallbackFault",
            lambda text: CallbackFaults().push(text),
            [*CALLBACK_FAULTS],
        ),
    ],
)
def test_openapi_patterns_match_exactly_the_accepted_faults(
    schema: str, parse: Any, names: list[str]
) -> None:
    for name in names:
        assert any(
            re.search(pattern, name, re.ASCII) for pattern in read_patterns(schema)
        ), f"add {name} to a pattern of {schema} in sandbox/static/openapi.json"
    for pattern in read_patterns(schema):

        @examples(6)
        @given(st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True))
        def taken(text: str) -> None:
            parse(text)

        taken()


@examples(10)
@given(st.data())
def test_openapi_patterns_of_rates_match_accepted_rates(
    data: st.DataObject,
) -> None:
    for way in read_openapi()["components"]["schemas"]["Rate"]["anyOf"]:
        texts = st.from_regex(re.compile(way["pattern"], re.ASCII), fullmatch=True)
        most = way.get("maxLength", 99)
        Rates({"USD": data.draw(texts.filter(lambda text: len(text) <= most))})  # noqa: B023 - used up at once
