"""The shop beside a sandbox of its own: no account, no money.

With ``AURPAY_API_KEY`` and the rest set (see README.md), the real platform instead.
"""

from __future__ import annotations

import asyncio
import os
import sys

import uvicorn

from aurpay_async import AurpayClient
from aurpay_async.callbacks import CallbackVerifier
from aurpay_async.sandbox import Sandbox

from .shop import Shop, create_app

PORT = 8000
HERE = f"http://127.0.0.1:{PORT}"
DATABASE = os.environ.get("SHOP_DATABASE", "sqlite+aiosqlite:///shop.db")


async def serve(aurpay: AurpayClient, verifier: CallbackVerifier, base: str) -> None:
    """Until Ctrl-C."""
    shop = Shop(aurpay, verifier, database=DATABASE, public_base_url=base)
    config = uvicorn.Config(create_app(shop), host="127.0.0.1", port=PORT)
    await uvicorn.Server(config).serve()


async def with_the_sandbox() -> None:
    """Everything on this machine."""
    key = "sandbox-reference-key"
    async with Sandbox() as sandbox, sandbox.client(reference_key=key) as aurpay:
        verifier = CallbackVerifier(
            secrets=[sandbox.callback_secret], reference_key=key
        )
        sys.stdout.write(
            f"The shop: {HERE}\n"
            "Pay an order, with the number of its cart's checkout page:\n"
            f"  curl -X POST {sandbox.base_url}/_sandbox/orders/NUMBER/pay\n"
        )
        await serve(aurpay, verifier, HERE)


async def with_the_platform() -> None:
    """Needs a public URL that leads here."""
    verifier = CallbackVerifier(
        secrets=[os.environ["AURPAY_CALLBACK_SECRET"]],
        reference_key=os.environ["AURPAY_REFERENCE_KEY"],
    )
    async with AurpayClient.from_env() as aurpay:
        await serve(aurpay, verifier, os.environ["SHOP_URL"])


asyncio.run(
    with_the_platform() if "AURPAY_API_KEY" in os.environ else with_the_sandbox()
)
