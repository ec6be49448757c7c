"""No secret shows: looked for in all that can be printed, kept or sent on."""

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


def look(where: str, thing: object) -> None:
    assert CANARY not in str(thing), where
    assert CANARY not in repr(thing), where


def look_at(error: BaseException) -> None:
    """An error, its chain, and the local names of our frames."""
    seen: BaseException | None = error
    while seen is not None:
        look("an error", seen)
        look("its fields", [v for v in vars(seen).values() if not callable(v)])
        for frame, _ in traceback.walk_tb(seen.__traceback__):
            if frame.f_code.co_filename != __file__:
                look(frame.f_code.co_qualname, frame.f_locals)
        seen = seen.__cause__ or seen.__context__


async def outcome(aurpay: AurpayClient, **options: Any) -> AurpayError | None:
    try:
        await aurpay.create_order("20.00", "USD", **{**URLS, **options})
    except AurpayError as error:
        return error
    return None


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("credentials", CREDENTIALS, ids=["key", "token"])
async def test_whatever_happens(
    credentials: dict[str, Any], fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Logs of all loggers at DEBUG, errors, tracebacks, events, clients."""
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
        error = await outcome(aurpay, reference="cart-42")
        look("a client", [aurpay, vars(aurpay)])
        look("a sandbox", sandbox)
        sent = [f"{request.headers}{request.body!r}" for request in sandbox.requests]
    assert all(CANARY in text and "aurpay_ref=" in text for text in sent)
    assert REFERENCE_KEY not in repr(sent)
    assert (error is None) == (fault == "")
    assert "aurpay_ref" not in caplog.text + repr(events)
    assert "reference='cart-42'" in caplog.text
    if error is not None:
        look_at(error)
        assert "aurpay_ref" not in f"{error} {error!r} {error.new_order!r}"
        # What was asked for stays on the error: programs need it. All else travels
        # without a secret.
        error.new_order = None
        assert CANARY.encode() not in pickle.dumps(error)
    look("events", events)
    look("logs", caplog.text + repr([vars(record) for record in caplog.records]))


async def test_an_argument_that_is_refused() -> None:
    """It names the argument and shows the address as far as that is safe."""
    async with Sandbox() as sandbox, sandbox.client() as aurpay:
        for name in URLS:
            error = await outcome(aurpay, **{name: f"https://shop.example/ ?{CANARY}"})
            assert error is not None
            look_at(error)


async def test_a_reference_that_is_refused() -> None:
    """Neither the token nor the key, nor the rest of the query."""
    long = f"https://shop.example/{'x' * 1990}?{CANARY}"
    taken = f"https://shop.example/?aurpay_ref={CANARY}"
    async with Sandbox() as sandbox:
        aurpay = sandbox.client(reference_key=REFERENCE_KEY)
        for name in ("callback_url", "timeout_callback"):
            for url in (long, taken):
                error = await outcome(aurpay, **{name: url}, reference="cart-42")
                assert error is not None
                assert getattr(error, "field", None) == name
                look_at(error)
                assert "aurpay_ref=" not in str(error)
        error = await outcome(sandbox.client(), reference="cart-42")
        assert error is not None
        look_at(error)


async def test_a_call_that_is_cut_off() -> None:
    """By a timeout of the program's own."""
    async with Sandbox(api_key=CANARY) as sandbox, sandbox.client() as aurpay:
        sandbox.faults.push("silence")
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.2):
                await aurpay.create_order("20.00", "USD", **URLS)
    look_at(caught.value)


async def test_a_pool_that_is_closed_meanwhile() -> None:
    """Aiohttp cancels who waits for it, from frames that hold headers."""
    connector = aiohttp.TCPConnector(limit=1)
    async with Sandbox(api_key=CANARY) as sandbox:
        sandbox.faults.push("silence")
        async with aiohttp.ClientSession(connector=connector) as session:
            aurpay = sandbox.client(session=session)
            calls = [asyncio.create_task(outcome(aurpay)) for _ in range(2)]
            while not sandbox.requests:
                await asyncio.sleep(0)
            for _ in range(9):
                await asyncio.sleep(0)
        for error in await asyncio.gather(*calls):
            assert error is not None
            look_at(error)
        await aurpay.aclose()


def test_credentials() -> None:
    """By themselves."""
    for auth in (ApiKey(CANARY), ApiToken(CANARY, CANARY)):
        look("credentials", auth)
