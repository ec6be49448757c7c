"""Run the bot beside a sandbox; it needs only a token of Telegram.

With ``AURPAY_API_KEY`` and the other variables (see README.md), it uses Aurpay.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import PRODUCTION, TelegramAPIServer
from aiogram.exceptions import TelegramNetworkError, TelegramUnauthorizedError
from aiogram.utils.token import TokenValidationError

from aurpay_async import AurpayClient
from aurpay_async.sandbox import Sandbox

from .bot import PayBot

DATABASE = os.environ.get("BOT_DATABASE", "sqlite+aiosqlite:///bot.db")
SANDBOX_PORT = int(os.environ.get("SANDBOX_PORT", "8002"))


def telegram() -> Bot:
    """Return the bot of the token in the environment."""
    url = os.environ.get("TELEGRAM_API")  # a Bot API server of your own
    api = TelegramAPIServer.from_base(url) if url else PRODUCTION
    try:
        token = os.environ["TELEGRAM_TOKEN"]
        return Bot(token, session=AiohttpSession(api=api))
    except (KeyError, TokenValidationError):
        sys.exit("set TELEGRAM_TOKEN to the token that @BotFather gives to a new bot")


async def serve(bot: Bot, aurpay: AurpayClient) -> None:
    """Serve until Ctrl-C."""
    payments = PayBot(bot, aurpay, DATABASE)
    dispatcher = Dispatcher()
    dispatcher.include_router(payments.router)
    async with payments.running():
        await dispatcher.start_polling(bot, allowed_updates=["message"])


async def with_sandbox(bot: Bot) -> None:
    """Serve with a sandbox on this machine that keeps its orders in a file."""
    sandbox = Sandbox(port=SANDBOX_PORT, db="bot-sandbox.db", speed=1)
    async with sandbox, sandbox.client(reference_key="sandbox-reference-key") as aurpay:
        sys.stdout.write(f"Pay what the bot shows at {sandbox.base_url}\n")
        sys.stdout.flush()
        await serve(bot, aurpay)


async def with_aurpay(bot: Bot) -> None:
    """Serve with Aurpay and real money."""
    async with AurpayClient.from_env() as aurpay:
        await serve(bot, aurpay)


async def main() -> None:
    """Serve with Aurpay if the environment has credentials, else with the sandbox."""
    bot = telegram()
    real = {"AURPAY_API_KEY", "AURPAY_API_TOKEN"} & os.environ.keys()
    try:
        await (with_aurpay(bot) if real else with_sandbox(bot))
    except (TelegramNetworkError, TelegramUnauthorizedError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main())
