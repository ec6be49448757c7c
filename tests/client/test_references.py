"""Signing of references into callback URLs."""

from __future__ import annotations

import threading
import traceback
from decimal import Decimal
from typing import Any

import pytest

from aurpay_async import AurpayClient, ConfigurationError, InvalidRequestError, NewOrder
from aurpay_async._client import transport
from aurpay_async._client.payments import sign_reference
from aurpay_async._core.secrets import keys_from_env
from aurpay_async.callbacks._identity import Reference, ReferenceSigner
from aurpay_async.testing import MemoryTransport

CANARY = "canary-6e1b"
KEY = f"{CANARY}-reference-key"
OTHER_KEY = "another-reference-key"
PAID = "https://shop.example/aurpay/paid?shop=7"
TIMEOUT = "https://shop.example/aurpay/timeout"

SIGNER = ReferenceSigner(KEY)


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
    monkeypatch.setenv("AURPAY_REFERENCE_KEY", f"{OTHER_KEY} {KEY}")
    assert [key.reveal() for key in keys_from_env() or ()] == [OTHER_KEY, KEY]
    monkeypatch.setenv("AURPAY_REFERENCE_KEY", CANARY)
    with pytest.raises(ConfigurationError, match=r"^AURPAY_REFERENCE_KEY ") as caught:
        keys_from_env()
    assert CANARY not in str(caught.value)


def test_callback_urls_contain_the_signed_reference_and_one_attempt_id() -> None:
    first = sign_reference(order(callback_url=PAID, timeout_callback=TIMEOUT), SIGNER)
    second = sign_reference(order(callback_url=PAID), SIGNER)
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
    signed = sign_reference(order(**pages), SIGNER)
    assert (signed.succeed_url, signed.timeout_url) == (*pages.values(),)
    assert (signed.callback_url, signed.timeout_callback) == (None, None)
    assert signed.attempt_id is not None


def test_order_without_a_reference_is_not_changed_by_signing() -> None:
    plain = NewOrder("20.00", "USD", callback_url=PAID)
    assert sign_reference(plain, SIGNER) is plain
    assert sign_reference(plain, None) is plain


def test_reference_is_signed_with_the_first_key() -> None:
    """So keys can be rotated."""
    signer = ReferenceSigner([KEY, OTHER_KEY])
    url = sign_reference(order(callback_url=PAID), signer).callback_url or ""
    assert ReferenceSigner([KEY]).read(url).reference == "cart-42"


async def test_reference_without_a_key_is_rejected() -> None:
    async with AurpayClient(transport=MemoryTransport()) as client:
        with pytest.raises(InvalidRequestError, match="reference_key=") as caught:
            await client.create_order("20.00", "USD", reference="cart-42")
    assert caught.value.field == "reference"


@pytest.mark.parametrize("field", ["callback_url", "timeout_callback"])
def test_url_that_is_too_long_with_its_token_names_its_field(field: str) -> None:
    url = f"https://shop.example/{'x' * 2000}"
    with pytest.raises(InvalidRequestError, match="longer than 2048") as caught:
        sign_reference(order(**{field: url}), SIGNER)
    assert caught.value.field == field
    assert "aurpay_ref" not in str(caught.value)


@pytest.mark.parametrize("field", ["callback_url", "timeout_callback"])
def test_url_that_already_has_the_reference_parameter_is_rejected(field: str) -> None:
    with pytest.raises(InvalidRequestError, match="aurpay_ref already") as caught:
        sign_reference(order(**{field: f"{PAID}&aurpay_ref={CANARY}"}), SIGNER)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: has a parameter")
    assert CANARY not in str(caught.value)


async def test_signing_modules_are_imported_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[bool] = []

    def load(name: str) -> None:
        if name == "aurpay_async.callbacks._identity":
            loaded.append(threading.current_thread() is threading.main_thread())

    monkeypatch.setattr(transport, "import_module", load)
    async with AurpayClient(transport=MemoryTransport()):
        assert loaded == []
    async with AurpayClient(transport=MemoryTransport(), reference_key=KEY):
        assert loaded == [False]


def test_lazy_module_is_imported_when_a_name_in_it_is_read() -> None:
    module = transport.LazyModule("aurpay_async.callbacks._identity")
    assert "ReferenceSigner" not in vars(module)
    assert module.ReferenceSigner is ReferenceSigner
    assert vars(module)["ReferenceSigner"] is ReferenceSigner
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


async def test_client_signs_all_references_with_one_signer() -> None:
    async with AurpayClient(transport=MemoryTransport(), reference_key=KEY) as client:
        first, second = (client._sign(order(callback_url=PAID)) for _ in range(2))
        assert first.attempt_id != second.attempt_id
        signer = client._signer
        again = client._sign(order(attempt_id=first.attempt_id))
        assert again.attempt_id == first.attempt_id
        assert client._signer is signer


async def test_rejected_reference_error_has_no_frames_with_the_url() -> None:
    url = f"https://shop.example/{'x' * 2000}"
    async with AurpayClient(transport=MemoryTransport(), reference_key=KEY) as client:
        with pytest.raises(InvalidRequestError) as caught:
            client._sign(order(callback_url=url))
    frames = [frame.f_code.co_name for frame, _ in traceback.walk_tb(caught.tb)]
    assert frames[1:] == ["_sign"]
    assert caught.value.__context__ is None
