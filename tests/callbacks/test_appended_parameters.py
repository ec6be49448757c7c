"""Parameters that Aurpay appends to a callback URL, signed or unsigned."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from aurpay_async.callbacks import CallbackVerifier
from aurpay_async.callbacks._verifier import names_after_reference, possibly_registered
from aurpay_async.errors import CallbackError, CallbackSignatureError
from aurpay_async.testing import FakeClock

from .samples import NOW, SECRET, reference, signed, url, verifier
from .test_processor import ORDER_ID, Shop

URL = url()
OTHER_ID = "20260101000000000002"

#: With both separators: appending without checking for a query gives a second `?`.
APPENDED = [
    f"&aurpay_order_id={ORDER_ID}",
    f"?aurpay_order_id={ORDER_ID}",
    "&public_key=abc-_%3D",
    "?public_key=",
    f"&aurpay_order_id={ORDER_ID}&public_key=abc",
    f"?public_key=abc?aurpay_order_id={ORDER_ID}",
    f"?public_key=abc&aurpay_order_id={ORDER_ID}",
]


@pytest.mark.parametrize("appended", APPENDED)
@pytest.mark.parametrize("covered", [True, False], ids=["covered", "not covered"])
async def test_payment_with_appended_parameters_is_handled(
    appended: str, *, covered: bool
) -> None:
    called = URL + appended
    headers = signed(called if covered else URL)
    shop = Shop()
    reply = await shop.receive(url=called, headers=headers)
    assert (reply.status, reply.outcome) == (200, "paid")
    (notification,) = shop.notifications
    assert notification.event is not None
    assert notification.event.token == reference()
    hint = notification.event.order_hint
    assert (hint and hint.order_id) == (ORDER_ID if ORDER_ID in appended else None)


@pytest.mark.parametrize("covered", [True, False], ids=["covered", "not covered"])
async def test_appended_id_of_another_order_is_rejected_and_blocks_nothing(
    *, covered: bool
) -> None:
    called = f"{URL}&aurpay_order_id={OTHER_ID}"
    shop = Shop()
    reply = await shop.receive(url=called, headers=signed(called if covered else URL))
    assert (reply.status, reply.outcome) == (401, "order")
    assert (await shop.receive()).outcome == "paid"


@pytest.mark.parametrize(
    "appended",
    [
        "&order_id=1",
        "&aurpay_order_id=1&x=1",
        "&x=1&aurpay_order_id=1",
        "&public_key=1&public_key=2&public_key=3",
        "#aurpay_order_id=1",
    ],
)
def test_only_two_known_parameters_at_the_end_are_removed_from_a_url(
    appended: str,
) -> None:
    with pytest.raises(CallbackError) as caught:
        verifier().verify(method="GET", url=URL + appended, headers=signed(URL))
    assert caught.value.rule == "signature"


def test_no_parameter_is_removed_from_an_unsigned_or_forged_request() -> None:
    called = f"{URL}&aurpay_order_id={ORDER_ID}"
    for headers in (
        {},
        signed(called, secret="guessed"),
        signed(URL, secret="guessed"),
    ):
        with pytest.raises(CallbackSignatureError):
            verifier().verify(method="GET", url=called, headers=headers)


def test_appended_parameters_cost_two_more_signatures_at_most() -> None:
    called = URL + "&aurpay_order_id=1" * 40
    assert len(list(possibly_registered(called))) == 3


def test_parameter_appended_to_a_url_without_query_is_a_hint() -> None:
    registered = "https://shop.example/paid"
    plain = CallbackVerifier(secrets=[SECRET], clock=FakeClock(NOW))
    event = plain.verify(
        method="GET",
        url=f"{registered}?aurpay_order_id={ORDER_ID}",
        headers=signed(registered),
    )
    assert event.order_hint is not None
    assert event.order_hint.order_id == ORDER_ID


@pytest.mark.parametrize("value", ["", "%20", "../1", "x" * 65])
def test_appended_value_that_is_no_order_id_is_no_hint(value: str) -> None:
    called = f"{URL}&aurpay_order_id={value}"
    event = verifier().verify(method="GET", url=called, headers=signed(called))
    assert event.order_hint is None


def test_parameter_before_the_reference_is_no_hint() -> None:
    own = URL.replace("?id=", f"?aurpay_order_id={OTHER_ID}&id=")
    event = verifier().verify(method="GET", url=own, headers=signed(own))
    assert event.order_hint is None


@pytest.mark.parametrize(
    ("body", "order_id"),
    [({}, ORDER_ID), ({"order_id": OTHER_ID}, OTHER_ID), (None, ORDER_ID)],
)
def test_body_of_a_post_takes_precedence_over_the_appended_id(
    body: dict[str, Any] | None, order_id: str
) -> None:
    called = f"{URL}&aurpay_order_id={ORDER_ID}"
    event = verifier().verify(
        method="POST",
        url=called,
        headers=signed(called),
        body=b"" if body is None else json.dumps(body).encode(),
    )
    assert event.order_hint is not None
    assert event.order_hint.order_id == order_id


async def test_log_of_a_wrong_signature_names_surplus_parameters_without_values(
    caplog: pytest.LogCaptureFixture,
) -> None:
    called = f"{URL}&shop_token=canary-3b9d?other=canary-3b9d"
    shop = Shop()
    assert (await shop.receive(url=called, headers=signed(URL))).status == 401
    (record,) = caplog.records
    assert "parameters after aurpay_ref: 'shop_token, other'" in record.message
    assert "canary" not in record.message


def test_names_after_reference_splits_at_both_separators() -> None:
    assert names_after_reference(URL) == []
    assert names_after_reference("https://shop.example/?a=1&b=2") == []
    assert names_after_reference(f"{URL}&a=1?b&c=") == ["a", "b", "c"]


async def test_unsigned_request_with_an_api_key_is_rejected_with_a_hint(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    shop = Shop()
    for name in ("Api-Key", "API-KEY", "api-key"):
        reply = await shop.receive(headers={name: "canary-3b9d"})
        assert (reply.status, reply.outcome) == (401, "unsigned")
        assert "but an Api-Key header" in caplog.text
        caplog.clear()
    assert "canary" not in repr(shop.rejections)
    headers = {**signed(URL), "Api-Key": "canary-3b9d"}
    assert (await shop.receive(headers=headers)).outcome == "paid"
    forged = {**signed(URL, secret="guessed"), "Api-Key": "canary-3b9d"}
    assert (await shop.receive(headers=forged)).outcome == "signature"
    assert "canary" not in caplog.text + repr([vars(r) for r in caplog.records])
