"""Reference tokens in callback URLs."""

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

from aurpay_async._core.secrets import Secret
from aurpay_async.callbacks._identity import Reference, ReferenceSigner, new_attempt_id
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
#: A literal: URLs that were registered by earlier versions must stay readable.
TOKEN = (
    "WyJjYXJ0LTQyIiwiMjAuMDAiLCJVU0QiLCJwYWlkIiwiMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3Il0"
    ".kt1XO-ffkSbVksMmax5QOnaZAFzOxthhoK19EHp3dDk"
)


def test_format_of_a_reference_token_is_stable() -> None:
    assert SIGNER.attach(URL, REFERENCE) == f"{URL}?aurpay_ref={TOKEN}"
    assert SIGNER.read(f"{URL}?aurpay_ref={TOKEN}", "paid") == REFERENCE


def test_attach_keeps_the_other_parameters_byte_for_byte() -> None:
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
def test_read_returns_the_attached_reference(reference: Reference) -> None:
    url = SIGNER.attach(URL, reference)
    assert url.isascii()
    assert " " not in url
    assert SIGNER.read(url, reference.kind) == reference


def test_every_changed_character_of_a_token_is_detected() -> None:
    changed = {
        (place, other): TOKEN[:place] + other + TOKEN[place + 1 :]
        for place, other in product(range(len(TOKEN)), "Aa0_-.")
        if other != TOKEN[place]
    }
    rules = {where: read_broken_rule(token) for where, token in changed.items()}
    assert rules == dict.fromkeys(changed, "reference")


def read_broken_rule(token: str) -> str | None:
    try:
        SIGNER.read(f"{URL}?aurpay_ref={token}")
    except CallbackReferenceError as error:
        return error.rule
    return None


def test_key_rotation_keeps_the_urls_of_open_orders_valid() -> None:
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
def test_url_must_have_exactly_one_valid_reference(query: str, problem: str) -> None:
    with pytest.raises(CallbackReferenceError, match=problem):
        SIGNER.read(URL + query)


def test_token_of_one_kind_is_rejected_for_the_other() -> None:
    url = SIGNER.attach(URL, attrs.evolve(REFERENCE, kind="timeout"))
    with pytest.raises(
        CallbackReferenceError, match="registered for 'timeout'"
    ) as caught:
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
def test_payload_signed_for_another_purpose_is_rejected(payload: Any) -> None:
    signed = SIGNER._signer().sign(base64_encode(json.dumps(payload))).decode()
    with pytest.raises(CallbackReferenceError):
        SIGNER.read(f"{URL}?aurpay_ref={signed}")


def test_attach_rejects_a_url_that_has_a_reference() -> None:
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
def test_weak_reference_key_is_rejected_without_quoting_it(
    keys: Any, problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        ReferenceSigner(keys)
    assert "short" not in str(caught.value)


def test_repr_of_a_reference_signer_shows_no_key() -> None:
    assert KEY not in repr(SIGNER)


def test_new_attempt_ids_are_unique() -> None:
    assert len({new_attempt_id() for _ in range(1000)}) == 1000
