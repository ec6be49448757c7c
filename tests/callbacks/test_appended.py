"""Parameters that Aurpay appended to a callback URL, signed or not."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from aurpay_async.callbacks import CallbackVerifier
from aurpay_async.callbacks._appended import (
    names_after_reference,
    possibly_registered,
)
from aurpay_async.errors import CallbackError, CallbackSignatureError
from aurpay_async.testing import FakeClock

from .samples import NOW, SECRET, reference, signed, url, verifier
from .test_dispatch import ORDER_ID, Shop

URL = url()
OTHER_ID = "20260101000000000002"

#: Both separators: joining with `?` without looking gives a second one.
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
async def test_payment_is_handled_with_parameters_appended_to_its_url(
    appended: str, *, covered: bool
) -> None:
    """Whether the signature covers them or not."""
    called = URL + appended
    headers = signed(called if covered else URL)
    shop = Shop()
    reply = await shop.called(url=called, headers=headers)
    assert (reply.status, reply.outcome) == (200, "paid")
    (notification,) = shop.told
    assert notification.event is not None
    assert notification.event.token == reference()
    hint = notification.event.order_hint
    assert (hint and hint.order_id) == (ORDER_ID if ORDER_ID in appended else None)


@pytest.mark.parametrize("covered", [True, False], ids=["covered", "not covered"])
async def test_appended_id_of_another_order_confirms_nothing(*, covered: bool) -> None:
    """And takes nothing away: the genuine callback is handled afterwards."""
    called = f"{URL}&aurpay_order_id={OTHER_ID}"
    shop = Shop()
    reply = await shop.called(url=called, headers=signed(called if covered else URL))
    assert (reply.status, reply.outcome) == (401, "order")
    assert (await shop.called()).outcome == "paid"


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
def test_nothing_else_is_taken_off_an_url(appended: str) -> None:
    """Two known parameters at most, and only at its end."""
    with pytest.raises(CallbackError) as caught:
        verifier().verify(method="GET", url=URL + appended, headers=signed(URL))
    assert caught.value.rule == "signature"


def test_no_parameter_is_taken_off_without_a_signature() -> None:
    """An unsigned or forged request stays one."""
    called = f"{URL}&aurpay_order_id={ORDER_ID}"
    for headers in (
        {},
        signed(called, secret="guessed"),
        signed(URL, secret="guessed"),
    ):
        with pytest.raises(CallbackSignatureError):
            verifier().verify(method="GET", url=called, headers=headers)


def test_two_signatures_more_are_computed_at_most() -> None:
    """However many parameters an attacker appends."""
    called = URL + "&aurpay_order_id=1" * 40
    assert len(list(possibly_registered(called))) == 3


def test_callback_url_without_a_query_may_get_one() -> None:
    """A verifier without references reads the id all the same."""
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
    """It is text from outside."""
    called = f"{URL}&aurpay_order_id={value}"
    event = verifier().verify(method="GET", url=called, headers=signed(called))
    assert event.order_hint is None


def test_parameter_of_the_merchant_before_the_reference_is_no_hint() -> None:
    """Only what follows the reference was appended."""
    own = URL.replace("?id=", f"?aurpay_order_id={OTHER_ID}&id=")
    event = verifier().verify(method="GET", url=own, headers=signed(own))
    assert event.order_hint is None


@pytest.mark.parametrize(
    ("body", "order_id"),
    [({}, ORDER_ID), ({"order_id": OTHER_ID}, OTHER_ID), (None, ORDER_ID)],
)
def test_body_of_a_post_goes_before_the_appended_id(
    body: dict[str, Any] | None, order_id: str
) -> None:
    """Both are hints; the body's is documented."""
    called = f"{URL}&aurpay_order_id={ORDER_ID}"
    event = verifier().verify(
        method="POST",
        url=called,
        headers=signed(called),
        body=b"" if body is None else json.dumps(body).encode(),
    )
    assert event.order_hint is not None
    assert event.order_hint.order_id == order_id


async def test_log_of_a_wrong_signature_names_surplus_parameters(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Their names; their values may be secrets."""
    called = f"{URL}&shop_token=canary-3b9d?other=canary-3b9d"
    shop = Shop()
    assert (await shop.called(url=called, headers=signed(URL))).status == 401
    (record,) = caplog.records
    assert "parameters after aurpay_ref: 'shop_token, other'" in record.message
    assert "canary" not in record.message


def test_names_after_the_reference() -> None:
    """Separated by either character; none without a reference."""
    assert names_after_reference(URL) == []
    assert names_after_reference("https://shop.example/?a=1&b=2") == []
    assert names_after_reference(f"{URL}&a=1?b&c=") == ["a", "b", "c"]


async def test_unsigned_request_with_an_api_key_is_rejected_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its presence, and never its value; with a signature it changes nothing."""
    caplog.set_level(logging.DEBUG)
    shop = Shop()
    for name in ("Api-Key", "API-KEY", "api-key"):
        reply = await shop.called(headers={name: "canary-3b9d"})
        assert (reply.status, reply.outcome) == (401, "unsigned")
        assert "but an Api-Key header" in caplog.text
        caplog.clear()
    assert "canary" not in repr(shop.refused)
    headers = {**signed(URL), "Api-Key": "canary-3b9d"}
    assert (await shop.called(headers=headers)).outcome == "paid"
    forged = {**signed(URL, secret="guessed"), "Api-Key": "canary-3b9d"}
    assert (await shop.called(headers=forged)).outcome == "signature"
    assert "canary" not in caplog.text + repr([vars(r) for r in caplog.records])
