"""Signing of references into callback URLs."""

from __future__ import annotations

import sys
import threading
import traceback
from decimal import Decimal
from typing import Any

import pytest

from aurpay_async import ConfigurationError, InvalidRequestError, NewOrder
from aurpay_async._client import orders
from aurpay_async._client.orders import sign_reference, with_reference
from aurpay_async._core.secrets import hide_keys, keys_from_env, require_keys
from aurpay_async.callbacks._reference import Reference, ReferenceSigner

CANARY = "canary-6e1b"
KEY = f"{CANARY}-reference-key"
OTHER_KEY = "another-reference-key"
PAID = "https://shop.example/aurpay/paid?shop=7"
TIMEOUT = "https://shop.example/aurpay/timeout"

KEYS = require_keys(hide_keys(KEY) or ())


def order(**fields: Any) -> NewOrder:
    return NewOrder("20.00", "USD", **{"reference": "cart-42", **fields})


def test_reference_key_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An empty variable counts as not set."""
    assert keys_from_env() is None
    monkeypatch.setenv("AURPAY_REFERENCE_KEY", "")
    assert keys_from_env() is None
    monkeypatch.setenv("AURPAY_REFERENCE_KEY", KEY)
    assert [key.reveal() for key in keys_from_env() or ()] == [KEY]
    monkeypatch.setenv("AURPAY_REFERENCE_KEY", CANARY)
    with pytest.raises(ConfigurationError, match=r"^AURPAY_REFERENCE_KEY ") as caught:
        keys_from_env()
    assert CANARY not in str(caught.value)


def test_callback_urls_contain_the_signed_reference_and_one_attempt_id() -> None:
    first = sign_reference(order(callback_url=PAID, timeout_callback=TIMEOUT), KEYS)
    second = sign_reference(order(callback_url=PAID), KEYS)
    signer = ReferenceSigner([KEY])
    assert first.callback_url is not None
    assert first.callback_url.startswith(f"{PAID}&aurpay_ref=")
    assert first.timeout_callback is not None
    assert first.timeout_callback.startswith(f"{TIMEOUT}?aurpay_ref=")
    assert first.attempt_id is not None
    bound = {
        "reference": "cart-42",
        "price": Decimal("20.00"),
        "currency": "USD",
        "attempt_id": first.attempt_id,
    }
    assert signer.read(first.callback_url) == Reference(kind="paid", **bound)  # type: ignore[arg-type]
    assert signer.read(first.timeout_callback) == Reference(kind="timeout", **bound)  # type: ignore[arg-type]
    assert second.attempt_id not in {None, first.attempt_id}
    assert first.reference == "cart-42"


def test_page_urls_for_the_payer_do_not_contain_the_reference() -> None:
    pages = {"succeed_url": "https://a.example/", "timeout_url": "https://b.example/"}
    signed = sign_reference(order(**pages), KEYS)
    assert (signed.succeed_url, signed.timeout_url) == (*pages.values(),)
    assert (signed.callback_url, signed.timeout_callback) == (None, None)
    assert signed.attempt_id is not None


def test_order_without_a_reference_is_not_changed_by_signing() -> None:
    plain = NewOrder("20.00", "USD", callback_url=PAID)
    assert sign_reference(plain, KEYS) is plain
    assert sign_reference(plain, ()) is plain


def test_reference_is_signed_with_the_first_key() -> None:
    """So keys can be rotated."""
    keys = require_keys(hide_keys([KEY, OTHER_KEY]) or ())
    url = sign_reference(order(callback_url=PAID), keys).callback_url or ""
    assert ReferenceSigner([KEY]).read(url).reference == "cart-42"


def test_reference_without_a_key_is_rejected() -> None:
    with pytest.raises(InvalidRequestError, match="reference_key=") as caught:
        sign_reference(order(), ())
    assert caught.value.field == "reference"


@pytest.mark.parametrize("field", ["callback_url", "timeout_callback"])
def test_url_that_is_too_long_with_its_token_names_its_field(field: str) -> None:
    url = f"https://shop.example/{'x' * 2000}"
    with pytest.raises(InvalidRequestError, match="longer than 2048") as caught:
        sign_reference(order(**{field: url}), KEYS)
    assert caught.value.field == field
    assert "aurpay_ref" not in str(caught.value)


@pytest.mark.parametrize("field", ["callback_url", "timeout_callback"])
def test_url_that_already_has_the_reference_parameter_is_rejected(field: str) -> None:
    with pytest.raises(InvalidRequestError, match="aurpay_ref already") as caught:
        sign_reference(order(**{field: f"{PAID}&aurpay_ref={CANARY}"}), KEYS)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: has a parameter")
    assert CANARY not in str(caught.value)


async def test_signing_modules_are_imported_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[bool] = []

    def load(name: str) -> None:
        loaded.append(threading.current_thread() is threading.main_thread())
        sys.modules[name] = signing

    name = "aurpay_async.callbacks._reference"
    signing = sys.modules[name]
    monkeypatch.setattr(orders, "import_module", load)
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InvalidRequestError):
        await with_reference(order(), ())
    assert loaded == []
    for _ in range(2):
        signed = await with_reference(order(callback_url=PAID), KEYS)
        assert "aurpay_ref" in (signed.callback_url or "")
    assert loaded == [False]


async def test_rejected_reference_error_has_no_frames_with_the_url() -> None:
    url = f"https://shop.example/{'x' * 2000}"
    with pytest.raises(InvalidRequestError) as caught:
        await with_reference(order(callback_url=url), KEYS)
    frames = [frame.f_code.co_name for frame, _ in traceback.walk_tb(caught.tb)]
    assert frames[1:] == ["with_reference"]
    assert caught.value.__context__ is None
