"""The bot beside a sandbox of its own: all it needs is a token of Telegram's.

With ``AURPAY_API_KEY`` and the rest set (see README.md), the real platform instead.
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
    """Who speaks, with the token of the environment."""
    url = os.environ.get(
        "TELEGRAM_API"
    )  # your own server of Telegram's, if you run one
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


async def with_the_sandbox(bot: Bot) -> None:
    """Everything but Telegram is on this machine, and is kept over a restart."""
    sandbox = Sandbox(port=SANDBOX_PORT, db="bot-sandbox.db", speed=1)
    async with sandbox, sandbox.client(reference_key="sandbox-reference-key") as aurpay:
        sys.stdout.write(f"Pay what the bot shows at {sandbox.base_url}\n")
        sys.stdout.flush()
        await serve(bot, aurpay)


async def with_the_platform(bot: Bot) -> None:
    """Real money."""
    async with AurpayClient.from_env() as aurpay:
        await serve(bot, aurpay)


async def main() -> None:
    """As the environment says."""
    bot = telegram()
    real = {"AURPAY_API_KEY", "AURPAY_API_TOKEN"} & os.environ.keys()
    try:
        await (with_the_platform(bot) if real else with_the_sandbox(bot))
    except (TelegramNetworkError, TelegramUnauthorizedError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main())
