"""References: how they get into the URLs, and with which key."""

from __future__ import annotations

import sys
import threading
import traceback
from decimal import Decimal
from typing import Any

import pytest

from aurpay_async import ConfigurationError, InvalidRequestError, NewOrder, _references
from aurpay_async._keys import hide_keys, keys_from_env, require_keys
from aurpay_async._references import sign_reference, with_reference
from aurpay_async.callbacks._reference import Reference, ReferenceSigner

CANARY = "canary-6e1b"
KEY = f"{CANARY}-reference-key"
OTHER_KEY = "another-reference-key"
PAID = "https://shop.example/aurpay/paid?shop=7"
TIMEOUT = "https://shop.example/aurpay/timeout"

KEYS = require_keys(hide_keys(KEY) or ())


def order(**fields: Any) -> NewOrder:
    return NewOrder("20.00", "USD", **{"reference": "cart-42", **fields})


def test_the_environment_s_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """One; an empty variable counts as not set, a bad one is named."""
    assert keys_from_env() is None
    monkeypatch.setenv("AURPAY_REFERENCE_KEY", "")
    assert keys_from_env() is None
    monkeypatch.setenv("AURPAY_REFERENCE_KEY", KEY)
    assert [key.reveal() for key in keys_from_env() or ()] == [KEY]
    monkeypatch.setenv("AURPAY_REFERENCE_KEY", CANARY)
    with pytest.raises(ConfigurationError, match=r"^AURPAY_REFERENCE_KEY ") as caught:
        keys_from_env()
    assert CANARY not in str(caught.value)


def test_the_urls_that_the_platform_calls_carry_it() -> None:
    """Each URL has its kind; all URLs of one order have the same attempt_id."""
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


def test_pages_for_the_payer_do_not_carry_it() -> None:
    """It is between the shop and the platform."""
    pages = {"succeed_url": "https://a.example/", "timeout_url": "https://b.example/"}
    signed = sign_reference(order(**pages), KEYS)
    assert (signed.succeed_url, signed.timeout_url) == (*pages.values(),)
    assert (signed.callback_url, signed.timeout_callback) == (None, None)
    assert signed.attempt_id is not None


def test_without_a_reference_nothing_changes() -> None:
    """Whether there are keys or not."""
    plain = NewOrder("20.00", "USD", callback_url=PAID)
    assert sign_reference(plain, KEYS) is plain
    assert sign_reference(plain, ()) is plain


def test_the_first_key_signs() -> None:
    """So keys can be rotated: the new one first, the old one until all is paid."""
    keys = require_keys(hide_keys([KEY, OTHER_KEY]) or ())
    url = sign_reference(order(callback_url=PAID), keys).callback_url or ""
    assert ReferenceSigner([KEY]).read(url).reference == "cart-42"


def test_a_reference_without_a_key() -> None:
    """Nobody could tell it from a forged one."""
    with pytest.raises(InvalidRequestError, match="reference_key=") as caught:
        sign_reference(order(), ())
    assert caught.value.field == "reference"


@pytest.mark.parametrize("field", ["callback_url", "timeout_callback"])
def test_an_url_that_becomes_too_long(field: str) -> None:
    """Named by its own field, without the token."""
    url = f"https://shop.example/{'x' * 2000}"
    with pytest.raises(InvalidRequestError, match="longer than 2048") as caught:
        sign_reference(order(**{field: url}), KEYS)
    assert caught.value.field == field
    assert "aurpay_ref" not in str(caught.value)


@pytest.mark.parametrize("field", ["callback_url", "timeout_callback"])
def test_an_url_with_such_a_parameter(field: str) -> None:
    """Whose would count?"""
    with pytest.raises(InvalidRequestError, match="aurpay_ref already") as caught:
        sign_reference(order(**{field: f"{PAID}&aurpay_ref={CANARY}"}), KEYS)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: has a parameter")
    assert CANARY not in str(caught.value)


async def test_what_signs_is_loaded_off_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once, and only if there is something to sign with."""
    loaded: list[bool] = []

    def load(name: str) -> None:
        loaded.append(threading.current_thread() is threading.main_thread())
        sys.modules[name] = signing

    name = "aurpay_async.callbacks._reference"
    signing = sys.modules[name]
    monkeypatch.setattr(_references, "import_module", load)
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InvalidRequestError):
        await with_reference(order(), ())
    assert loaded == []
    for _ in range(2):
        signed = await with_reference(order(callback_url=PAID), KEYS)
        assert "aurpay_ref" in (signed.callback_url or "")
    assert loaded == [False]


async def test_what_is_refused_leaves_no_frame_behind() -> None:
    """Those that held the URL and its token."""
    url = f"https://shop.example/{'x' * 2000}"
    with pytest.raises(InvalidRequestError) as caught:
        await with_reference(order(callback_url=url), KEYS)
    frames = [frame.f_code.co_name for frame, _ in traceback.walk_tb(caught.tb)]
    assert frames[1:] == ["with_reference"]
    assert caught.value.__context__ is None
