"""The bot: a command makes a bill, and every message that shows it follows its order.

The bot polls an order while it can be expected to be paid, and `OrderStore.run` polls
it
after that; no address of the bot needs to be reachable. A change is first stored, the
bill together with the order, and then shown in the chats: after a crash in between, the
next process shows it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiogram import Router
from aiogram.exceptions import (
    TelegramAPIError,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.filters import Command, CommandStart
from aiogram.types import BufferedInputFile

from aurpay_async import (
    AlreadyPaidError,
    AurpayError,
    InvalidRequestError,
    NewOrder,
    PaymentNeedsReviewError,
)
from aurpay_async.orders import AttemptState, OrderStore

from . import texts
from .bills import Bill, Bills, Post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from decimal import Decimal

    from aiogram import Bot
    from aiogram.filters import CommandObject
    from aiogram.types import ErrorEvent, Message
    from aiogram.utils.formatting import Text
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aurpay_async import AurpayClient, LightningOrder
    from aurpay_async.orders import Change

T = TypeVar("T")

#: Seconds between two runs of `OrderStore.run`, which finds late payments.
RECONCILE_EVERY = 60

#: Seconds between two runs that bring messages up to date.
TELL_EVERY = 10

#: What the next round may do better.
_PASSING: Final = (TelegramNetworkError, TelegramRetryAfter, TelegramServerError)

_log = logging.getLogger(__name__)


class PayBot:
    """What the bot does in its chats, and behind them."""

    def __init__(self, bot: Bot, aurpay: AurpayClient, database: str) -> None:
        """Set up a bot.

        Args:
            bot: Who speaks.
            aurpay: Needs a `reference_key`.
            database: ``sqlite+aiosqlite:///...`` or ``postgresql+asyncpg://...``.
        """
        self.bot = bot
        self.store = OrderStore(aurpay, database)
        self.router = Router()
        self.router.message.register(self.welcome, CommandStart())
        self.router.message.register(self.pay, Command("pay"))
        self.router.errors.register(self.failed)
        self._aurpay = aurpay
        self._engine = self.store.engine
        self._bills = Bills(self._engine)
        #: Who watches an order, by its id.
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._telling = asyncio.Lock()
        self._stopping = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow all orders, those of the last process included, inside the block.

        At its end, and where the start fails, transactions that are under way are
        completed and the order store is closed, which ends `OrderStore.run`.

        Raises:
            StoreUnavailableError: the database cannot be reached.
        """
        async with self.store as store:
            await store.upgrade()
            await self._bills.create_tables()
            telling = asyncio.create_task(self._tell_regularly())
            try:
                await self._resume()
                reconciling = asyncio.create_task(
                    store.run(every=RECONCILE_EVERY, on_change=self.learn)
                )
                yield
            finally:
                self._stopping.set()
                await asyncio.wait({telling, *self._watching.values()})
        await reconciling

    async def welcome(self, message: Message) -> None:
        """``/start``."""
        await message.answer(**texts.WELCOME.as_kwargs())

    async def pay(self, message: Message, command: CommandObject) -> None:
        """``/pay 5 USD``."""
        chat = message.chat.id
        if await self._bills.is_answered(chat, message.message_id):
            return  # Telegram delivers again what it is not sure of
        price, currency, *rest = [*(command.args or "").split(), "", ""]
        if not currency or any(rest):
            await message.answer(**texts.USAGE.as_kwargs())
            return
        try:
            wanted = NewOrder(price, currency)
        except InvalidRequestError as error:
            await message.answer(**texts.refusal_text(error).as_kwargs())
            return
        payer = message.from_user.id if message.from_user else chat
        bill = Bill(
            reference=f"bill-{secrets.token_hex(8)}",
            chat=chat,
            payer=payer,
            price=plain(wanted.price),
            currency=wanted.currency,
        )
        await self._present(message, await self._bills.open(bill))

    async def failed(self, event: ErrorEvent) -> None:
        """A handler raised something that nobody foresaw."""
        _log.error("update %s", event.update.update_id, exc_info=event.exception)
        if event.update.message is not None:
            with suppress(TelegramAPIError):
                await event.update.message.answer(**texts.FAILED.as_kwargs())

    async def learn(self, change: Change, connection: AsyncConnection) -> None:
        """Put a bill where its order is, in the transaction that says so."""
        reference, state = change.reference, change.attempt.state
        if change.newly_paid:
            await self._bills.paid(connection, reference)
        elif change.duplicate_payment:
            _log.warning("pay back order %s of %s", change.attempt.order_id, reference)
        elif state is AttemptState.REFUNDED:
            await self._bills.refunded(connection, reference)
        elif change.changed and change.before is AttemptState.PAYABLE:
            await self._bills.expired(connection, reference)

    async def tell(self) -> None:
        """Change every message that does not show yet what became of its bill."""
        async with self._telling:
            for post in await self._bills.outdated():
                try:
                    await self._show(post)
                except TelegramAPIError as error:
                    _log.warning("chat %s: %s; the next round", post.chat, error)
                else:
                    await self._bills.shown(post)

    async def _resume(self) -> None:
        """Watch the orders that were open when the last process ended."""
        for bill in await self._bills.open_ones():
            for attempt in await self.store.attempts(bill.reference):
                if attempt.state is AttemptState.PAYABLE and attempt.order is not None:
                    self._watch(attempt.order)

    async def _present(self, message: Message, bill: Bill) -> None:
        """Answer with the QR code of a bill, and keep that this was done."""
        try:
            order = await self.store.get_or_create(
                bill.reference, bill.price, bill.currency
            )
        except AurpayError as error:
            _log.warning("%s: %s", bill.reference, error)
            await message.answer(**_why_not(error).as_kwargs())
            return
        if order.status.is_paid:  # and nobody has heard of it yet
            self._watch(order)
            await message.answer(**texts.PAID_ALREADY.as_kwargs())
            return
        self._watch(order)
        png = await asyncio.to_thread(texts.qr_code, order)
        sent = await message.answer_photo(
            BufferedInputFile(png, "invoice.png"),
            **texts.bill_text(bill, order).as_caption_kwargs(),
            reply_markup=texts.wallet_button(order),
        )
        post = Post(
            chat=message.chat.id,
            command=message.message_id,
            message=sent.message_id,
            bill=bill,
        )
        await self._bills.posted(post)

    def _watch(self, order: LightningOrder) -> None:
        if order.order_id not in self._watching:
            task = asyncio.create_task(self._until_paid(order))
            self._watching[order.order_id] = task
            task.add_done_callback(lambda _: self._watching.pop(order.order_id))

    async def _until_paid(self, order: LightningOrder) -> None:
        """Wait for a payment, write down what came, and tell it."""
        reference = order.reference or ""
        try:
            waiting = self._aurpay.wait_for_payment(order)
            payment = await self._unless_stopped(waiting)
            if payment is None:
                return
            too_late = payment.outcome in {"timed_out", "late_paid"}
            over = too_late and not await self._has_other(order)
            async with self._engine.begin() as connection:
                change = await self.store.record(payment.order, connection=connection)
                if over:
                    await self._bills.expired(connection, reference)
                await self.learn(change, connection)
            await self.tell()
        except Exception:  # noqa: BLE001 - of the database drivers there is no list
            _log.exception("%s: left to OrderStore.run", reference)

    async def _has_other(self, order: LightningOrder) -> bool:
        """Whether its bill has another order by now, which can still be paid."""
        attempts = await self.store.attempts(order.reference or "")
        live = (a.order_id for a in attempts if a.state is AttemptState.PAYABLE)
        return any(order_id != order.order_id for order_id in live)

    async def _tell_regularly(self) -> None:
        """Bring messages up to date until the bot stops; no exception ends it."""
        while not self._stopping.is_set():
            try:
                await self.tell()
            except Exception:  # noqa: BLE001 - the next round may do better
                _log.exception("messages are out of date, again in %s s", TELL_EVERY)
            await self._unless_stopped(asyncio.sleep(TELL_EVERY))

    async def _unless_stopped(self, waiting: Coroutine[Any, Any, T]) -> T | None:
        """What it comes to; ``None`` if the bot stops before."""
        work = asyncio.create_task(waiting)
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if work.done():
            return work.result()
        work.cancel()
        return None

    async def _show(self, post: Post) -> None:
        """Change a message; if that cannot be any more, say it in a new one."""
        text = texts.outcome_text(post.bill)
        try:
            await self.bot.edit_message_caption(
                chat_id=post.chat,
                message_id=post.message,
                **text.as_caption_kwargs(),
            )
        except _PASSING:
            raise
        except TelegramAPIError as error:
            if "not modified" in error.message:
                return
            _log.info("message %s of chat %s: %s", post.message, post.chat, error)
            if post.bill.state != "expired":
                with suppress(TelegramAPIError):
                    await self.bot.send_message(post.chat, **text.as_kwargs())


def plain(price: Decimal) -> str:
    """A price as one text for each number: no zeros at its end, but cents in pairs."""
    text = f"{price.normalize():f}"
    return f"{text}0" if text[-2:-1] == "." else text


def _why_not(error: AurpayError) -> Text:
    """Why there is nothing to show."""
    if isinstance(error, AlreadyPaidError):
        return texts.PAID_ALREADY
    if isinstance(error, PaymentNeedsReviewError):
        return texts.UNCLEAR
    return texts.failure_text(error)
