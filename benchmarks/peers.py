"""Other SDKs, each with its call that is nearest to ``create_order``.

All of them, ``create_order`` and a plain POST of aiohttp are measured in turn against
the same server process. The rows say how a call's CPU time compares with the plain
POST. None of the others decodes or verifies what it received.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Any

import aiohttp

from ._measure import make_row, measure_in_turns_async
from ._processes import run_server
from .orders import CALLBACK, build_response, make_client, repeat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._measure import Row

    Call = Callable[[], Awaitable[object]]

#: Calls of a contestant in a round, and how many at once.
CALLS, IN_FLIGHT = 64, 64

#: An answer as each SDK expects it; only the one of aiosend is validated.
ANSWERS: dict[str, object] = {
    "": json.loads(build_response()),
    "payment_intents": {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": 2000,
        "currency": "usd",
        "status": "requires_payment_method",
        "client_secret": "pi_1_secret_1",
    },
    "chat.postMessage": {
        "ok": True,
        "channel": "C1",
        "ts": "1503435956.000247",
        "message": {"text": "20.00 USD", "type": "message", "user": "U1"},
    },
    "embeddings": {
        "object": "list",
        "model": "model",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1] * 20}],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    },
    "getMe": {
        "ok": True,
        "result": {
            "app_id": 1,
            "name": "shop",
            "payment_processing_bot_username": "CryptoBot",
        },
    },
    "createInvoice": {
        "ok": True,
        "result": {
            "invoice_id": 1,
            "hash": "IV1",
            "currency_type": "fiat",
            "fiat": "USD",
            "amount": "20.00",
            "bot_invoice_url": "https://t.me/CryptoBot?start=IV1",
            "mini_app_invoice_url": "https://t.me/CryptoBot/app?startapp=IV1",
            "web_app_invoice_url": "https://app.cr.bot/invoices/IV1",
            "status": "active",
            "created_at": "2026-01-01T00:00:00.000Z",
            "allow_comments": True,
            "allow_anonymous": True,
        },
    },
}


def _stripe(url: str, stack: AsyncExitStack, transport: str) -> Call:
    stripe = import_module("stripe")
    http_client = getattr(stripe, transport)()
    stack.push_async_callback(http_client.close_async)
    client = stripe.StripeClient(
        "sk_test_1",
        base_addresses={"api": url},
        http_client=http_client,
        max_network_retries=0,
    )
    intents = client.v1.payment_intents
    return lambda: intents.create_async({"amount": 2000, "currency": "usd"})


def _slack(url: str, session: aiohttp.ClientSession) -> Call:
    module = import_module("slack_sdk.web.async_client")
    client = module.AsyncWebClient("xoxb-1", base_url=f"{url}/api/", session=session)
    return lambda: client.chat_postMessage(channel="C1", text="20.00 USD")


def _openai(url: str, stack: AsyncExitStack) -> Call:
    module = import_module("openai")
    client = module.AsyncOpenAI(api_key="sk-1", base_url=f"{url}/v1", max_retries=0)
    stack.push_async_callback(client.close)
    create = client.embeddings.create
    return lambda: create(model="model", input="20.00 USD", encoding_format="float")


def _aiosend(url: str) -> Call:
    module = import_module("aiosend")
    network = import_module("aiosend.client.network").Network
    client = module.CryptoPay("1:token", network("local", url + "/api/{method}"))
    return lambda: client.create_invoice(20, fiat="USD", currency_type="fiat")


async def find_peers(
    url: str, stack: AsyncExitStack, session: aiohttp.ClientSession
) -> dict[str, Call]:
    """Return the calls of the SDKs that are installed and work, by their names."""
    builders: dict[str, Callable[[], Call]] = {
        "stripe on aiohttp": lambda: _stripe(url, stack, "AIOHTTPClient"),
        "stripe on httpx": lambda: _stripe(url, stack, "HTTPXClient"),
        "slack_sdk": lambda: _slack(url, session),
        "openai": lambda: _openai(url, stack),
        "aiosend": lambda: _aiosend(url),
    }
    found: dict[str, Call] = {}
    for name, build in builders.items():
        try:
            call = build()
            await call()
        except Exception as error:  # noqa: BLE001 - it may be missing, or incompatible
            print(f"without {name}: {type(error).__name__}: {error}")
        else:
            found[name] = call
    return found


async def compare(rounds: int) -> list[Row]:
    """Measure the peers and ``create_order`` against a plain POST of aiohttp."""
    body = json.dumps(ANSWERS).encode()
    with run_server("-m", "benchmarks._peer_server", response=body) as url:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            aurpay = await stack.enter_async_context(make_client(url))
            request = {"price": 20.00, "currency": "USD", "callback_url": CALLBACK}

            async def plain() -> object:
                async with session.post(f"{url}/order", json=request) as response:
                    return json.loads(await response.text())

            async def create() -> object:
                return await aurpay.create_order("20.00", "USD", callback_url=CALLBACK)

            calls: dict[str, Any] = {"plain": plain, "create_order, verified": create}
            peers = await find_peers(url, stack, session)
            contestants = {
                name: repeat(call, IN_FLIGHT)
                for name, call in {**calls, **peers}.items()
            }
            times = await measure_in_turns_async(
                contestants, rounds=rounds, calls=CALLS
            )
    where = f"aiohttp, {IN_FLIGHT} in flight"
    return [
        make_row(name, where, times[name], times["plain"], hold=None)
        for name in contestants
        if name != "plain"
    ]
