"""No secret is printed, stored or sent: a marked value is searched everywhere."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from aurpay_async import ApiKey, ApiToken, AurpayError, Timeouts
from aurpay_async.sandbox import Sandbox

if TYPE_CHECKING:
    from aurpay_async import AurpayClient

CANARY = "canary-3b9d"
CREDENTIALS: list[dict[str, str]] = [
    {"api_key": f"{CANARY}-key"},
    {"api_token": f"{CANARY}-token", "api_secret": f"{CANARY}-secret"},
]
URLS: dict[str, Any] = {
    "succeed_url": f"https://shop.example/thanks#{CANARY}",
    "timeout_url": f"https://shop.example/again?{CANARY}",
    "callback_url": f"https://shop.example/paid?token={CANARY}",
    "timeout_callback": f"https://shop.example/timeout?token={CANARY}",
}
REFERENCE_KEY = f"{CANARY}-reference-key"
FAULTS = [
    "",
    "reset",
    "close-before-headers",
    "silence",
    "cut-body",
    "html",
    "nan",
    "401",
    "500",
    "redirect",
]


def expect_no_secret(where: str, thing: object) -> None:
    assert CANARY not in str(thing), where
    assert CANARY not in repr(thing), where


def expect_no_secret_in_error(error: BaseException) -> None:
    """Check an error, its causes, and the locals of the package's frames."""
    seen: BaseException | None = error
    while seen is not None:
        expect_no_secret("an error", seen)
        expect_no_secret(
            "its fields", [v for v in vars(seen).values() if not callable(v)]
        )
        for frame, _ in traceback.walk_tb(seen.__traceback__):
            if frame.f_code.co_filename != __file__:
                expect_no_secret(frame.f_code.co_qualname, frame.f_locals)
        seen = seen.__cause__ or seen.__context__


async def create_order(aurpay: AurpayClient, **options: Any) -> AurpayError | None:
    """Return the error of create_order, if there was one."""
    try:
        await aurpay.create_order("20.00", "USD", **{**URLS, **options})
    except AurpayError as error:
        return error
    return None


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("credentials", CREDENTIALS, ids=["key", "token"])
async def test_no_secret_is_in_logs_errors_tracebacks_events_or_clients(
    credentials: dict[str, Any], fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    events: list[object] = []
    timeouts = Timeouts(attempt=0.25 if fault == "silence" else 5)
    async with (
        Sandbox(**credentials) as sandbox,
        sandbox.client(
            on_event=events.append, timeouts=timeouts, reference_key=REFERENCE_KEY
        ) as aurpay,
    ):
        if fault:
            sandbox.faults.push(fault)
        error = await create_order(aurpay, reference="cart-42")
        expect_no_secret("a client", [aurpay, vars(aurpay)])
        expect_no_secret("a sandbox", sandbox)
        sent = [f"{request.headers}{request.body!r}" for request in sandbox.requests]
    assert all(CANARY in text and "aurpay_ref=" in text for text in sent)
    assert REFERENCE_KEY not in repr(sent)
    assert (error is None) == (fault == "")
    assert "aurpay_ref" not in caplog.text + repr(events)
    assert "reference='cart-42'" in caplog.text
    if error is not None:
        expect_no_secret_in_error(error)
        assert "aurpay_ref" not in f"{error} {error!r} {error.new_order!r}"
        # Programs need new_order. All other fields are pickled without a secret.
        error.new_order = None
        assert CANARY.encode() not in pickle.dumps(error)
    expect_no_secret("events", events)
    expect_no_secret(
        "logs", caplog.text + repr([vars(record) for record in caplog.records])
    )


async def test_the_error_of_an_invalid_argument_contains_no_secret() -> None:
    async with Sandbox() as sandbox, sandbox.client() as aurpay:
        for name in URLS:
            error = await create_order(
                aurpay, **{name: f"https://shop.example/ ?{CANARY}"}
            )
            assert error is not None
            expect_no_secret_in_error(error)


async def test_the_error_of_a_rejected_reference_contains_no_secret() -> None:
    long = f"https://shop.example/{'x' * 1990}?{CANARY}"
    occupied = f"https://shop.example/?aurpay_ref={CANARY}"
    async with Sandbox() as sandbox:
        aurpay = sandbox.client(reference_key=REFERENCE_KEY)
        for name in ("callback_url", "timeout_callback"):
            for url in (long, occupied):
                error = await create_order(aurpay, **{name: url}, reference="cart-42")
                assert error is not None
                assert getattr(error, "field", None) == name
                expect_no_secret_in_error(error)
                assert "aurpay_ref=" not in str(error)
        error = await create_order(sandbox.client(), reference="cart-42")
        assert error is not None
        expect_no_secret_in_error(error)


async def test_the_traceback_of_a_timeout_contains_no_secret() -> None:
    async with Sandbox(api_key=CANARY) as sandbox, sandbox.client() as aurpay:
        sandbox.faults.push("silence")
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.2):
                await aurpay.create_order("20.00", "USD", **URLS)
    expect_no_secret_in_error(caught.value)


async def test_the_error_of_a_closed_connection_pool_contains_no_secret() -> None:
    connector = aiohttp.TCPConnector(limit=1)
    async with Sandbox(api_key=CANARY) as sandbox:
        sandbox.faults.push("silence")
        async with aiohttp.ClientSession(connector=connector) as session:
            aurpay = sandbox.client(session=session)
            calls = [asyncio.create_task(create_order(aurpay)) for _ in range(2)]
            while not sandbox.requests:
                await asyncio.sleep(0)
            for _ in range(9):
                await asyncio.sleep(0)
        for error in await asyncio.gather(*calls):
            assert error is not None
            expect_no_secret_in_error(error)
        await aurpay.aclose()


def test_the_repr_of_credentials_contains_no_secret() -> None:
    for auth in (ApiKey(CANARY), ApiToken(CANARY, CANARY)):
        expect_no_secret("credentials", auth)
