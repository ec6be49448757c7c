"""Run the shop beside a sandbox, without an account and without money.

With ``AURPAY_API_KEY`` and the other variables (see README.md), it uses Aurpay.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, cast

import uvicorn

from aurpay_async import AurpayClient
from aurpay_async.callbacks import CallbackVerifier
from aurpay_async.sandbox import Sandbox

from .shop import Shop
from .web import create_app

if TYPE_CHECKING:
    from aurpay_async.bolt11 import Network

HOST = os.environ.get("SHOP_HOST", "127.0.0.1")
PORT = int(os.environ.get("SHOP_PORT", "8000"))
SANDBOX_PORT = int(os.environ.get("SANDBOX_PORT", "8001"))
HERE = f"http://127.0.0.1:{PORT}"
DATABASE = os.environ.get("SHOP_DATABASE", "sqlite+aiosqlite:///shop.db")

#: uvicorn's exit status for a failed start, after which a supervisor restarts it.
START_FAILED = 3

#: With one of these the shop uses Aurpay, and needs all of `NEEDED`.
REAL = ("AURPAY_API_KEY", "AURPAY_API_TOKEN")
NEEDED = ("AURPAY_CALLBACK_SECRET", "AURPAY_REFERENCE_KEY", "SHOP_URL")


async def serve(shop: Shop) -> None:
    """Serve until Ctrl-C."""
    config = uvicorn.Config(
        create_app(shop),
        host=HOST,
        port=PORT,
        access_log=False,  # the query of a callback's URL has the reference token
        timeout_graceful_shutdown=1,  # pages that follow a payment never end
    )
    server = uvicorn.Server(config)
    await server.serve()
    if not server.started:
        sys.exit(START_FAILED)


async def with_sandbox() -> None:
    """Serve with a sandbox on this machine; orders expire after half an hour.

    Sandbox and shop keep their data in files, so every order survives a restart.
    """
    key, password = "sandbox-reference-key", "honey"
    sandbox = Sandbox(port=SANDBOX_PORT, db="shop-sandbox.db", speed=1)
    async with sandbox, sandbox.client(reference_key=key) as aurpay:
        verifier = CallbackVerifier(
            secrets=[sandbox.callback_secret],
            tokens=[sandbox.callback_token],
            reference_key=key,
        )
        shop = Shop(
            aurpay,
            verifier,
            database=DATABASE,
            public_base_url=HERE,
            password=password,
            simulate=sandbox.pay,
        )
        sys.stdout.write(
            f"The shop:     {HERE}\n"
            f"Its orders:   {HERE}/orders, with the password {password}\n"
            f"The sandbox:  {sandbox.base_url}\n"
        )
        sys.stdout.flush()
        await serve(shop)


async def with_aurpay() -> None:
    """Serve with Aurpay; it needs a public URL of this server."""
    missing = ", ".join(name for name in NEEDED if name not in os.environ)
    if missing:
        sys.exit(f"set {missing} as well; or unset {', '.join(REAL)} for the sandbox")
    verifier = CallbackVerifier.from_env()
    async with AurpayClient.from_env() as aurpay:
        shop = Shop(
            aurpay,
            verifier,
            database=DATABASE,
            public_base_url=os.environ["SHOP_URL"],
            allow_http=os.environ.get("AURPAY_ALLOW_HTTP") == "1",
            network=cast("Network", os.environ.get("AURPAY_NETWORK") or "mainnet"),
            password=os.environ.get("SHOP_PASSWORD"),
        )
        await serve(shop)


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    real = os.environ.keys() & {*REAL}
    asyncio.run(with_aurpay() if real else with_sandbox())
