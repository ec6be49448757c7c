"""Tests of examples/bot: the messages of its chats after payments, faults and restarts.

`telegram.Telegram` replaces aiogram's session; Aurpay is the sandbox. The tests need
aiogram: ``nox -s examples``.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import attrs
import pytest
import zxingcpp
from aiogram import Bot, Dispatcher
from aiogram.exceptions import (
    TelegramForbiddenError,
    TelegramNetworkError,
)
from aiogram.methods import GetMe

from aurpay_async import (
    AlreadyPaidError,
    APIError,
    AuthenticationError,
    ConnectError,
    PaymentNeedsReviewError,
    RateLimitedError,
    RequestOutcome,
    StoreUnavailableError,
    UntrustedOrderError,
    bolt11,
)
from aurpay_async.sandbox import Sandbox
from examples.bot import __main__ as command
from examples.bot import bot as bot_module
from examples.bot import texts
from examples.bot.bills import Bill
from examples.bot.bot import PayBot, _explain, format_price

from ..support.orders import KEY as NODE_KEY
from ..support.qr import read_png
from .outage import Outage
from .telegram import TOKEN, Telegram
from .waiting import HandClock, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiogram.exceptions import TelegramAPIError
    from aiogram.methods import SendPhoto
    from aiogram.types import InlineKeyboardMarkup, Update

    from aurpay_async import AurpayError

KEY = "sandbox-reference-key"

LATE = "5 USD: paid after the deadline, and accepted. Thank you!"
REFUSED = (
    "Aurpay rejected this bill. No invoice was created, so there is nothing to pay. "
    "Try another currency or a larger price."
)
UNKNOWN = (
    "Aurpay did not answer, so an invoice may exist that no payer has seen. "
    "There is nothing to pay. Send the same command again: the bot searches "
    "for that invoice first."
)

HALF_AN_HOUR = 1800


class Running:
    """A running bot and the messages of its users."""

    def __init__(self, payments: PayBot, telegram: Telegram) -> None:
        self.payments = payments
        self._telegram = telegram
        self._processor = Dispatcher()
        self._processor.include_router(payments.router)

    async def hear(self, text: str, *, chat: int = 7, who: int = 7) -> Update:
        """Send a message of a user; return when the bot has answered."""
        update = self._telegram.update(text, chat=chat, who=who)
        await self.hear_again(update)
        return update

    async def hear_again(self, update: Update) -> None:
        """Send an update to the bot again."""
        await self._processor.feed_update(self.payments.bot, update)


class World:
    """Sandbox, Telegram, clock and database, which survive a restart of the bot."""

    def __init__(self, sandbox: Sandbox, clock: HandClock, folder: Path) -> None:
        self.sandbox = sandbox
        self.clock = clock
        self.telegram = Telegram()
        self.database = f"sqlite+aiosqlite:///{folder / 'bot.db'}"

    @asynccontextmanager
    async def bot(self) -> AsyncIterator[Running]:
        """Run a bot on the database of the previous one."""
        bot = Bot(TOKEN, session=self.telegram)
        async with self.sandbox.client(reference_key=KEY) as aurpay:
            payments = PayBot(bot, aurpay, self.database)
            async with payments.running():
                yield Running(payments, self.telegram)

    @property
    def newest(self) -> str:
        """Return the id of the newest order."""
        return list(self.sandbox.orders)[-1]

    async def wait(self, seconds: float = 2) -> None:
        """Advance the clock, and let the sleeping tasks run."""
        for _ in range(20):  # who wakes may want to sleep again, by the same clock
            await asyncio.sleep(0.001)
        self.clock.advance(seconds)

    async def edits_in_time(
        self, count: int, step: float
    ) -> list[tuple[int, int, str]]:
        """Advance the clock in small steps until so many captions were edited."""
        async with asyncio.timeout(60):
            while len(self.telegram.edits) < count:
                await self.wait(step)
        return self.telegram.edits

    async def edits(self, count: int) -> list[tuple[int, int, str]]:
        """Wait for so many edited captions and return them."""
        await until(lambda: len(self.telegram.edits) >= count)
        return self.telegram.edits


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bot update its messages every 10 ms."""
    monkeypatch.setattr(bot_module, "UPDATE_EVERY", 0.01)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Provide a sandbox and Telegram."""
    clock = HandClock()
    async with Sandbox(clock=clock) as sandbox:
        yield World(sandbox, clock, tmp_path)


def scanned(photo: SendPhoto) -> str:
    """Return the content of the QR code."""
    barcode = zxingcpp.read_barcode(read_png(cast("Any", photo.photo).data))
    assert barcode is not None
    return barcode.text


def buttons(photo: SendPhoto) -> list[tuple[str, str | None]]:
    """Return label and URL of each button."""
    keyboard = cast("InlineKeyboardMarkup", photo.reply_markup)
    return [(one.text, one.url) for row in keyboard.inline_keyboard for one in row]


# A bill and its life


async def test_bill_has_a_qr_code_the_invoice_and_a_wallet_button(world: World) -> None:
    async with world.bot() as bot:
        await bot.hear("/pay 5.00 usd")
        (photo,) = world.telegram.photos
        invoice = world.sandbox.orders[world.newest].invoice
        assert scanned(photo) == f"lightning:{invoice.upper()}"
        assert photo.caption == (
            "5 USD are 0.00005000 BTC.\n"
            "Pay until 00:30 UTC: scan the code, or copy this.\n\n" + invoice
        )
        (bold, code) = photo.caption_entities or []
        assert (bold.type, bold.offset, bold.length) == ("bold", 0, 5)
        copied = photo.caption[code.offset : code.offset + code.length]
        assert (code.type, copied) == ("code", invoice)
        page = f"{world.sandbox.base_url}/#/cashier/{world.newest}"
        assert buttons(photo) == [("Open in a wallet", page)]
        assert (photo.chat_id, world.telegram.edits) == (7, [])


async def test_payment_edits_the_message_of_its_bill(world: World) -> None:
    async with world.bot() as bot:
        await bot.hear("/pay 5 USD")
        await world.sandbox.pay(world.newest)
        await world.wait()
        ((chat, message, text),) = await world.edits(1)
        assert (chat, text) == (7, "5 USD: paid. Thank you!")
        assert message == 1001
        assert cast("Any", world.telegram.calls[-1]).reply_markup is None
        await bot.payments.update_messages()
        assert len(world.telegram.edits) == 1


@pytest.mark.usefixtures("often")
async def test_message_of_an_expired_bill_is_edited_again_after_a_late_payment(
    world: World,
) -> None:
    async with world.bot() as bot:
        await bot.hear("/pay 5 USD")
        await world.sandbox.expire(world.newest)
        for _ in range(3):
            await world.wait(HALF_AN_HOUR)
        ((_, message, text),) = await world.edits(1)
        assert text == (
            "5 USD: not paid in time. Please do not pay this invoice any more; "
            "/pay creates a new one."
        )
        await world.sandbox.pay(world.newest)
        edits = await world.edits_in_time(2, HALF_AN_HOUR)
        assert edits[1:] == [(7, message, LATE)]


@pytest.mark.usefixtures("often")
async def test_payment_during_a_database_outage_edits_the_message_after_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.bot() as bot:
        await bot.hear("/pay 5 USD")
        async with Outage(bot.payments.store.engine).lasting() as outage:
            await world.sandbox.pay(world.newest)
            async with asyncio.timeout(60):
                while outage.refused < 5 or bot.payments._polling:
                    await world.wait(60)
            await bot.hear("/pay 5 USD")
            assert world.telegram.texts[-1][1].startswith("An error occurred")
        for part in ("left to reconciliation", "reconciliation failed", "out of date"):
            assert part in caplog.text
        ((*_, text),) = await world.edits_in_time(1, 60)
        assert text == "5 USD: paid. Thank you!"


async def test_bot_closes_its_connections_while_the_database_is_down(
    world: World,
) -> None:
    async with world.bot() as bot:
        await bot.hear("/pay 5 USD")
        outage = Outage(bot.payments.store.engine).lasting()
        await outage.__aenter__()
    await outage.__aexit__(None, None, None)
    assert not bot.payments._polling


async def test_bot_without_a_database_raises_store_unavailable_error(
    world: World,
) -> None:
    bot = Bot(TOKEN, session=world.telegram)
    async with world.sandbox.client(reference_key=KEY) as aurpay:
        payments = PayBot(bot, aurpay, world.database)
        async with Outage(payments.store.engine).lasting():
            with pytest.raises(StoreUnavailableError):
                async with payments.running():
                    pytest.fail("started without a database")
    assert len(asyncio.all_tasks()) == 1


async def test_bill_expires_although_aurpay_has_its_order_as_pending(
    world: World,
) -> None:
    async with world.bot() as bot:
        await bot.hear("/pay 5 USD")
        for _ in range(3):
            await world.wait(HALF_AN_HOUR)
        ((*_, text),) = await world.edits(1)
        assert "not paid in time" in text
        await bot.hear("/pay 5 USD")
        assert len(world.sandbox.orders) == 2


async def test_bill_with_a_second_payable_order_does_not_expire(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot_module, "RECONCILE_EVERY", 86_400)
    async with world.bot() as bot:
        await bot.hear("/pay 5 USD")
        await world.wait(HALF_AN_HOUR - 1)
        await world.sandbox.expire(world.newest)
        await world.wait(2)
        await bot.hear("/pay 5 USD")
        first, second = world.telegram.photos
        assert scanned(first) != scanned(second)
        for _ in range(3):
            await world.wait(30)  # the first one is given up
        assert world.telegram.edits == []
        await world.sandbox.pay(world.newest)
        await world.wait(10)
        assert {text for *_, text in await world.edits(2)} == {
            "5 USD: paid. Thank you!"
        }


async def test_repeated_command_for_an_unrecorded_payment_shows_no_invoice(
    world: World,
) -> None:
    async with world.bot() as bot:
        await bot.hear("/pay 5 USD")
        await world.sandbox.pay(world.newest)
        world.sandbox.faults.push("404")  # ends the watching
        await world.wait()
        await until(lambda: not bot.payments._polling)
        world.clock.advance(HALF_AN_HOUR)
        await bot.hear("/pay 5 USD")
        assert world.telegram.texts == [(7, "This is paid already. Thank you!")]
        assert len(world.telegram.photos) == 1
        assert len(await world.edits(1)) == 1


async def test_refund_of_an_unrecorded_payment_edits_the_message(world: World) -> None:
    async with world.bot() as bot:
        await bot.hear("/pay 5 USD")
        await world.sandbox.pay(world.newest)
        await world.sandbox.refund(world.newest)
        await world.wait()
        ((*_, text),) = await world.edits(1)
        assert text == "5 USD: paid and refunded."


# Who and how often


async def test_repeated_command_shows_the_same_order_in_both_messages(
    world: World,
) -> None:
    async with world.bot() as bot:
        await asyncio.gather(bot.hear("/pay 5 USD"), bot.hear("/pay 5.00 usd"))
        first, second = world.telegram.photos
        assert scanned(first) == scanned(second)
        assert len(await bot.payments._bills.open_bills()) == 1
        world.sandbox.assert_orders(1)
        await world.sandbox.pay(world.newest)
        await world.wait()
        assert {message for _, message, _ in await world.edits(2)} == {1002, 1003}


async def test_each_payer_and_each_chat_gets_a_separate_bill(world: World) -> None:
    async with world.bot() as bot:
        await bot.hear("/pay 5 USD", chat=-10, who=1)
        await bot.hear("/pay 5 USD", chat=-10, who=2)
        await bot.hear("/pay 5 USD", chat=3, who=1)
        await bot.hear("/pay 6 USD", chat=3, who=1)
        world.sandbox.assert_orders(4)
        await world.sandbox.pay(list(world.sandbox.orders)[2])
        await world.wait()
        assert [chat for chat, *_ in await world.edits(1)] == [3]
        await bot.payments.update_messages()
        assert len(world.telegram.edits) == 1


async def test_command_that_telegram_repeats_is_answered_once(
    world: World,
) -> None:
    async with world.bot() as bot:
        update = await bot.hear("/pay 5 USD")
        await bot.hear_again(update)
    async with world.bot() as bot:
        await bot.hear_again(update)
    assert len(world.telegram.photos) == 1
    world.sandbox.assert_orders(1)


async def test_command_after_a_payment_creates_a_new_bill(world: World) -> None:
    async with world.bot() as bot:
        await bot.hear("/pay 5 USD")
        await world.sandbox.pay(world.newest)
        await world.wait()
        await world.edits(1)
        await bot.hear("/pay 5 USD")
        world.sandbox.assert_orders(2)


# Restarts


@pytest.mark.parametrize("move", ["pay", "expire"])
async def test_restarted_bot_edits_messages_of_orders_that_changed_meanwhile(
    world: World, move: str
) -> None:
    async with world.bot() as bot:
        await bot.hear("/pay 5 USD")
    await getattr(world.sandbox, move)(world.newest)
    async with world.bot() as bot:
        if move == "expire":
            for _ in range(3):
                await world.wait(HALF_AN_HOUR)
        ((chat, message, text),) = await world.edits(1)
        assert (chat, message) == (7, 1001)
        assert {"pay": "paid. Thank", "expire": "not paid in"}[move] in text
        await bot.hear("/pay 5 USD")
        world.sandbox.assert_orders(2)


async def test_late_payment_while_the_bot_was_stopped_edits_the_message(
    world: World,
) -> None:
    async with world.bot() as bot:
        await bot.hear("/pay 5 USD")
    await world.sandbox.expire(world.newest)
    world.clock.advance(2 * HALF_AN_HOUR)
    await world.sandbox.pay(world.newest)
    async with world.bot():
        ((*_, text),) = await world.edits(1)
        assert text in {LATE, "5 USD: paid. Thank you!"}


async def test_restarted_bot_edits_messages_that_telegram_rejected_before(
    world: World,
) -> None:
    world.telegram.failures["EditMessageCaption"] = [
        TelegramNetworkError(method=GetMe(), message="down")
    ]
    async with world.bot() as bot:
        await bot.hear("/pay 5 USD")
        await world.sandbox.pay(world.newest)
        await world.wait()
        await until(lambda: not world.telegram.failures["EditMessageCaption"])
        assert world.telegram.edits == []
    async with world.bot():
        ((*_, text),) = await world.edits(1)
        assert text == "5 USD: paid. Thank you!"


# What cannot be paid


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("/pay", "Write /pay 5 USD: a price, and"),
        ("/pay 5", "Write /pay 5 USD: a price, and"),
        ("/pay 5 USD now", "Write /pay 5 USD: a price, and"),
        ("/pay 5,50 USD", "That is not a price. Write digits"),
        ("/pay 5e0 USD", "That is not a price. Write digits"),
        ("/pay 0x5 USD", "That is not a price. Write digits"),
        ("/pay nan USD", "That is not a price. Write digits"),
        ("/pay 0 USD", "That is not a price. Write digits"),
        ("/pay -5 USD", "That is not a price. Write digits"),
        ("/pay five USD", "That is not a price. Write digits"),
        ("/pay 5 $", "That is not a currency. Write three"),
        ("/pay 5 DOLLARS", "That is not a currency. Write three"),
        ("/pay USD 5", "That is not a price. Write digits"),
        ("/start", "Write /pay 5 USD: a price, and"),
    ],
)
async def test_invalid_command_is_answered_with_the_syntax(
    world: World, said: str, heard: str
) -> None:
    async with world.bot() as bot:
        await bot.hear(said)
    ((_, text),) = world.telegram.texts
    assert text.startswith(heard)
    assert world.sandbox.requests == []


@pytest.mark.parametrize("said", ["/pay 5 XYZ", "/pay 0.001 USD"])
async def test_rejection_is_answered_without_the_message_of_aurpay(
    world: World, said: str
) -> None:
    async with world.bot() as bot:
        await bot.hear(said)
    assert world.telegram.texts == [(7, REFUSED)]
    assert len(world.sandbox.requests) == 1


async def test_lost_answer_is_reported_and_the_next_command_shows_an_invoice(
    world: World,
) -> None:
    async with world.bot() as bot:
        world.sandbox.faults.push("cut-json+created")
        await bot.hear("/pay 5 USD")
        assert world.telegram.texts == [(7, UNKNOWN)]
        assert world.telegram.photos == []
        await bot.hear("/pay 5 USD")
        (photo,) = world.telegram.photos
        lost, shown = world.sandbox.orders.values()
        assert shown.invoice in (photo.caption or "")
        assert lost.invoice not in (photo.caption or "")
        await world.sandbox.pay(shown.order_id)
        await world.wait()
        assert len(await world.edits(1)) == 1


def api(
    kind: type[APIError], outcome: RequestOutcome = RequestOutcome.REJECTED
) -> APIError:
    return kind("secret words of the platform", status=400, outcome=outcome)


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (
            ConnectError("x", outcome=RequestOutcome.NOT_SENT),
            "cannot be reached now. No invoice",
        ),
        (
            api(AuthenticationError),
            "is not allowed to take payments now. No invoice",
        ),
        (api(RateLimitedError), "too many requests now. No invoice"),
        (api(APIError), "rejected this bill. No invoice was created"),
        (
            api(APIError, RequestOutcome.UNKNOWN),
            "an invoice may exist that no payer has seen",
        ),
        (
            UntrustedOrderError("x", check="y", order_id="z", status=200, body=b""),
            "Aurpay created an invoice that does not match this bill",
        ),
        (AlreadyPaidError("x"), "This is paid already"),
        (PaymentNeedsReviewError("x"), "Please do not pay again"),
    ],
)
def test_text_of_each_error_says_what_may_exist_without_its_message(
    error: AurpayError, part: str
) -> None:
    text = _explain(error).render()[0]
    assert part in text
    assert "secret" not in text


async def test_unexpected_exception_is_logged_and_answered_with_an_apology(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.bot() as bot:
        world.telegram.refuse("SendPhoto", "inline keyboard button URL is invalid")
        await bot.hear("/pay 5 USD")
        assert world.telegram.texts == [
            (7, "An error occurred. Please try again in a minute.")
        ]
        assert "button URL is invalid" in caplog.text
        await bot.hear("/pay 5 USD")
        assert len(world.telegram.photos) == 1
        world.sandbox.assert_orders(1)


# What Telegram can do to a message


@pytest.mark.parametrize(
    ("why", "told"),
    [
        ("message to edit not found", [(7, "5 USD: paid. Thank you!")]),
        ("message is not modified", []),
    ],
)
async def test_message_that_cannot_be_edited_is_replaced_by_a_new_one(
    world: World, why: str, told: list[tuple[int, str]]
) -> None:
    async with world.bot() as bot:
        await bot.hear("/pay 5 USD")
        world.telegram.refuse("EditMessageCaption", why)
        await world.sandbox.pay(world.newest)
        await world.wait()
        await until(lambda: not world.telegram.failures["EditMessageCaption"])
        await bot.payments.update_messages()
        assert world.telegram.texts == told
        assert world.telegram.edits == []


async def test_chat_that_blocks_the_bot_gets_no_further_messages(world: World) -> None:
    blocked: TelegramAPIError = TelegramForbiddenError(method=GetMe(), message="no")
    async with world.bot() as bot:
        await bot.hear("/pay 5 USD")
        world.telegram.failures = {
            name: [blocked] for name in ("EditMessageCaption", "SendMessage")
        }
        await world.sandbox.pay(world.newest)
        await world.wait()
        await until(lambda: not any(world.telegram.failures.values()))
        await bot.payments.update_messages()
        assert (world.telegram.edits, world.telegram.texts) == ([], [])


def test_equal_prices_have_the_same_string() -> None:
    given = ["5", "5.0", "5.00", "19.9", "19.90", "0.001", "100"]
    assert [format_price(Decimal(text)) for text in given] == (
        ["5", "5", "5", "19.90", "19.90", "0.001", "100"]
    )


def test_missing_or_invalid_token_ends_the_bot_with_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for token in (None, "nonsense"):
        monkeypatch.delenv("TELEGRAM_TOKEN", raising=False)
        if token is not None:
            monkeypatch.setenv("TELEGRAM_TOKEN", token)
        with pytest.raises(SystemExit, match="@BotFather"):
            command.telegram()


async def test_invoice_that_exceeds_a_caption_is_in_the_qr_code_only(
    world: World,
) -> None:
    async with world.sandbox.client() as aurpay:
        short = await aurpay.create_order("5", "USD")
    text = bolt11.sign(
        NODE_KEY,
        payment_hash="cd" * 32,
        payment_secret="ab" * 32,
        timestamp=1_767_225_600,
        description="x" * 639,
    )
    order = attrs.evolve(short, payment_request=bolt11.decode(text))
    bill = Bill(reference="bill-1", chat=7, payer=7, price="5", currency="USD")
    caption, _ = texts.bill_text(bill, order).render()
    assert caption.endswith("Pay until 00:30 UTC: scan the code.")
    barcode = zxingcpp.read_barcode(read_png(order.payment_request.qr_png()))
    assert barcode is not None
    assert barcode.text == f"lightning:{text.upper()}"
