"""References: what an URL says of the order it was registered for."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import product
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous.encoding import base64_encode

from aurpay_async._secrets import Secret
from aurpay_async.callbacks._reference import Reference, ReferenceSigner, new_attempt_id
from aurpay_async.errors import (
    CallbackReferenceError,
    ConfigurationError,
    InvalidRequestError,
)

KEY = "sandbox-reference-key-1"
OTHER = "sandbox-reference-key-2"
SIGNER = ReferenceSigner([KEY])
REFERENCE = Reference(
    reference="cart-42",
    price=Decimal("20.00"),
    currency="USD",
    kind="paid",
    attempt_id="0123456789abcdef01234567",
)
URL = "https://shop.example/paid"
#: Written down once, so that what was registered yesterday is read tomorrow.
TOKEN = (
    "WyJjYXJ0LTQyIiwiMjAuMDAiLCJVU0QiLCJwYWlkIiwiMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3Il0"
    ".kt1XO-ffkSbVksMmax5QOnaZAFzOxthhoK19EHp3dDk"
)


def test_the_form_of_a_token_does_not_change() -> None:
    """Orders that are open during an update keep their URLs."""
    assert SIGNER.attach(URL, REFERENCE) == f"{URL}?aurpay_ref={TOKEN}"
    assert SIGNER.read(f"{URL}?aurpay_ref={TOKEN}", "paid") == REFERENCE


def test_other_parameters_stay() -> None:
    """In their order, byte for byte."""
    url = SIGNER.attach(f"{URL}?id=7%2F8&x", REFERENCE)
    assert url.startswith(f"{URL}?id=7%2F8&x&aurpay_ref=")
    assert SIGNER.read(url) == REFERENCE
    assert SIGNER.read(f"{url}&y=1") == REFERENCE


@given(
    st.builds(
        Reference,
        reference=st.text(max_size=100),
        price=st.decimals(0, 10**12, places=4),
        currency=st.sampled_from(["USD", "JPY"]),
        kind=st.sampled_from(["paid", "timeout"]),
        attempt_id=st.binary(min_size=12, max_size=12).map(bytes.hex),
    )
)
def test_what_goes_in_comes_out(reference: Reference) -> None:
    """Whatever a shop calls its carts; and the URL stays one."""
    url = SIGNER.attach(URL, reference)
    assert url.isascii()
    assert " " not in url
    assert SIGNER.read(url, reference.kind) == reference


def test_no_character_can_be_changed() -> None:
    """Every part of it is signed."""
    changed = {
        (place, other): TOKEN[:place] + other + TOKEN[place + 1 :]
        for place, other in product(range(len(TOKEN)), "Aa0_-.")
        if other != TOKEN[place]
    }
    rules = {where: broken_rule(token) for where, token in changed.items()}
    assert rules == dict.fromkeys(changed, "reference")


def broken_rule(token: str) -> str | None:
    try:
        SIGNER.read(f"{URL}?aurpay_ref={token}")
    except CallbackReferenceError as error:
        return error.rule
    return None


def test_a_key_is_replaced_without_losing_open_orders() -> None:
    """The first signs, all of them verify."""
    old = SIGNER.attach(URL, REFERENCE)
    both = ReferenceSigner([OTHER, KEY])
    assert both.read(old) == REFERENCE
    assert ReferenceSigner([OTHER]).read(both.attach(URL, REFERENCE)) == REFERENCE
    with pytest.raises(CallbackReferenceError, match="another reference_key"):
        ReferenceSigner([OTHER]).read(old)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("", "no parameter aurpay_ref"),
        ("?id=1", "no parameter aurpay_ref"),
        (f"?aurpay_ref={TOKEN}&aurpay_ref={TOKEN}", "more than one"),
        ("?aurpay_ref=", "damaged"),
        ("?aurpay_ref=.", "damaged"),
        ("?aurpay_ref=" + "." * 2000, "damaged"),
    ],
)
def test_an_url_without_one_reference(query: str, problem: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(CallbackReferenceError, match=problem):
        SIGNER.read(URL + query)


def test_a_token_is_for_one_kind() -> None:
    """Whoever knows the timeout's URL cannot call it as the paid one."""
    url = SIGNER.attach(URL, attrs.evolve(REFERENCE, kind="timeout"))
    with pytest.raises(CallbackReferenceError, match="made for 'timeout'") as caught:
        SIGNER.read(url, "paid")
    assert caught.value.rule == "kind"


@pytest.mark.parametrize(
    "payload",
    [
        None,
        "text",
        {"reference": "x"},
        [],
        ["a", "20", "USD", "paid"],
        ["a", 20, "USD", "paid", "0" * 24],
        ["a", "1e9", "USD", "paid", "0" * 24],
        ["a", "20", "USD", "refund", "0" * 24],
        ["a", "20", "USD", "paid", "0" * 23],
    ],
)
def test_what_the_key_signed_for_another_purpose(payload: Any) -> None:
    """A shop may use one key for several things; only references are taken."""
    signed = SIGNER._signer().sign(base64_encode(json.dumps(payload))).decode()
    with pytest.raises(CallbackReferenceError):
        SIGNER.read(f"{URL}?aurpay_ref={signed}")


def test_an_url_that_has_one_already() -> None:
    """Two of them would be refused when they come back."""
    with pytest.raises(InvalidRequestError, match="aurpay_ref already"):
        SIGNER.attach(SIGNER.attach(URL, REFERENCE), REFERENCE)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ([], "is empty"),
        ([""], "16 characters"),
        (["short-key-canary"[:15]], "16 characters"),
        ([KEY, Secret("short")], "16 characters"),
        ([7], "must be a str or several, not int"),
    ],
)
def test_a_key_that_could_be_guessed(keys: Any, problem: str) -> None:
    """It is refused when it is configured, and not quoted."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        ReferenceSigner(keys)
    assert "short" not in str(caught.value)


def test_it_shows_no_key() -> None:
    """Not even by mistake."""
    assert repr(SIGNER) == "ReferenceSigner(...)"


def test_attempt_ids_do_not_repeat() -> None:
    """Another call, another order."""
    assert len({new_attempt_id() for _ in range(1000)}) == 1000
