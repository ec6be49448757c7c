"""A Telegram bot that creates a bill for a command and updates the messages showing it.

The bot polls an order until it expires, and the order store polls it after that; no
address of the bot needs to be reachable. A change is first stored, the bill together
with the order, and then shown in the chats: after a crash in between, the next process
updates the messages.
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

#: Seconds between two runs of reconciliation, which finds late payments.
RECONCILE_EVERY = 60

#: Seconds between two updates of the messages.
UPDATE_EVERY = 10

#: Errors after which the next update may succeed.
_TEMPORARY: Final = (TelegramNetworkError, TelegramRetryAfter, TelegramServerError)

_log = logging.getLogger(__name__)


class PayBot:
    """Handlers of commands, and the background tasks that follow orders."""

    def __init__(self, bot: Bot, aurpay: AurpayClient, database: str) -> None:
        """Set up a bot.

        Args:
            bot: The bot that sends the messages.
            aurpay: A client with a `reference_key`.
            database: ``sqlite+aiosqlite:///...`` or ``postgresql+asyncpg://...``.
        """
        self.bot = bot
        self.store = OrderStore(aurpay, database)
        self.router = Router()
        self.router.message.register(self.welcome, CommandStart())
        self.router.message.register(self.pay, Command("pay"))
        self.router.errors.register(self.on_error)
        self._aurpay = aurpay
        self._engine = self.store.engine
        self._bills = Bills(self._engine)
        #: The task that polls an order, by the order's id.
        self._polling: dict[str, asyncio.Task[None]] = {}
        self._update_lock = asyncio.Lock()
        self._stopping = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow all orders, those of the last process included, inside the block.

        At its end, and where the start fails, transactions that are under way are
        completed and the order store is closed.

        Raises:
            StoreUnavailableError: the database cannot be reached.
        """
        async with self.store as store:
            await store.upgrade()
            await self._bills.create_tables()
            updating = asyncio.create_task(self._update_regularly())
            try:
                await self._resume()
                async with store.running(
                    every=RECONCILE_EVERY, on_change=self.apply_change
                ):
                    yield
            finally:
                self._stopping.set()
                await asyncio.wait({updating, *self._polling.values()})

    async def welcome(self, message: Message) -> None:
        """``/start``."""
        await message.answer(**texts.WELCOME.as_kwargs())

    async def pay(self, message: Message, command: CommandObject) -> None:
        """``/pay 5 USD``."""
        chat = message.chat.id
        if await self._bills.is_answered(chat, message.message_id):
            return  # Telegram repeats an update until it is confirmed
        price, currency, *rest = [*(command.args or "").split(), "", ""]
        if not currency or any(rest):
            await message.answer(**texts.USAGE.as_kwargs())
            return
        try:
            new_order = NewOrder(price, currency)
        except InvalidRequestError as error:
            await message.answer(**texts.invalid_text(error).as_kwargs())
            return
        payer = message.from_user.id if message.from_user else chat
        bill = Bill(
            reference=f"bill-{secrets.token_hex(8)}",
            chat=chat,
            payer=payer,
            price=format_price(new_order.price),
            currency=new_order.currency,
        )
        await self._send_invoice(message, await self._bills.open(bill))

    async def on_error(self, event: ErrorEvent) -> None:
        """Log an unexpected exception of a handler, and answer that it failed."""
        _log.error("update %s", event.update.update_id, exc_info=event.exception)
        if event.update.message is not None:
            with suppress(TelegramAPIError):
                await event.update.message.answer(**texts.FAILED.as_kwargs())

    async def apply_change(self, change: Change, connection: AsyncConnection) -> None:
        """Update a bill, in the transaction that records the change of its order."""
        reference, state = change.reference, change.attempt.state
        if change.newly_paid:
            await self._bills.mark_paid(connection, reference)
        elif change.duplicate_payment:
            order_id = change.attempt.order_id
            _log.warning(
                "refund the duplicate payment of order_id=%s reference=%s",
                order_id,
                reference,
            )
        elif state is AttemptState.REFUNDED:
            await self._bills.mark_refunded(connection, reference)
        elif change.changed and change.before is AttemptState.PAYABLE:
            await self._bills.mark_expired(connection, reference)

    async def update_messages(self) -> None:
        """Edit every message that does not show the state of its bill."""
        async with self._update_lock:
            for post in await self._bills.outdated_posts():
                try:
                    await self._edit_message(post)
                except TelegramAPIError as error:
                    _log.warning("chat %s: %s; will retry", post.chat, error)
                else:
                    await self._bills.mark_shown(post)

    async def _resume(self) -> None:
        """Poll the orders that were open when the last process ended."""
        for bill in await self._bills.open_bills():
            for attempt in await self.store.attempts(bill.reference):
                if attempt.state is AttemptState.PAYABLE and attempt.order is not None:
                    self._poll(attempt.order)

    async def _send_invoice(self, message: Message, bill: Bill) -> None:
        """Answer with the QR code of a bill, and store the message."""
        try:
            order = await self.store.get_or_create(
                bill.reference, bill.price, bill.currency
            )
        except AurpayError as error:
            _log.warning("no invoice for reference=%s: %s", bill.reference, error)
            await message.answer(**_explain(error).as_kwargs())
            return
        if order.status.is_paid:  # the payment is not recorded yet
            self._poll(order)
            await message.answer(**texts.PAID_ALREADY.as_kwargs())
            return
        self._poll(order)
        png = await asyncio.to_thread(order.payment_request.qr_png)
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
        await self._bills.add_post(post)

    def _poll(self, order: LightningOrder) -> None:
        if order.order_id not in self._polling:
            task = asyncio.create_task(self._poll_until_paid(order))
            self._polling[order.order_id] = task
            task.add_done_callback(lambda _: self._polling.pop(order.order_id))

    async def _poll_until_paid(self, order: LightningOrder) -> None:
        """Wait for a payment, record the result, and update the messages."""
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
                    await self._bills.mark_expired(connection, reference)
                await self.apply_change(change, connection)
            await self.update_messages()
        except Exception:  # noqa: BLE001 - of the database drivers there is no list
            _log.exception("reference=%s: left to reconciliation", reference)

    async def _has_other(self, order: LightningOrder) -> bool:
        """Return whether the bill has another order that can be paid."""
        attempts = await self.store.attempts(order.reference or "")
        live = (a.order_id for a in attempts if a.state is AttemptState.PAYABLE)
        return any(order_id != order.order_id for order_id in live)

    async def _update_regularly(self) -> None:
        """Update the messages until the bot stops; log exceptions and continue."""
        while not self._stopping.is_set():
            try:
                await self.update_messages()
            except Exception:  # noqa: BLE001 - the next update may succeed
                _log.exception("messages are out of date, again in %s s", UPDATE_EVERY)
            await self._unless_stopped(asyncio.sleep(UPDATE_EVERY))

    async def _unless_stopped(self, waiting: Coroutine[Any, Any, T]) -> T | None:
        """Return the result of a coroutine, or ``None`` if the bot stops before."""
        work = asyncio.create_task(waiting)
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if work.done():
            return work.result()
        work.cancel()
        return None

    async def _edit_message(self, post: Post) -> None:
        """Edit a message; if Telegram rejects that, send a new one."""
        text = texts.outcome_text(post.bill)
        try:
            await self.bot.edit_message_caption(
                chat_id=post.chat,
                message_id=post.message,
                **text.as_caption_kwargs(),
            )
        except _TEMPORARY:
            raise
        except TelegramAPIError as error:
            if "not modified" in error.message:
                return
            _log.info("message %s of chat %s: %s", post.message, post.chat, error)
            if post.bill.state != "expired":
                with suppress(TelegramAPIError):
                    await self.bot.send_message(post.chat, **text.as_kwargs())


def format_price(price: Decimal) -> str:
    """Return a price as the same string for equal numbers, with two digits of cents."""
    text = f"{price.normalize():f}"
    return f"{text}0" if text[-2:-1] == "." else text


def _explain(error: AurpayError) -> Text:
    """Return the text that explains why there is no invoice."""
    if isinstance(error, AlreadyPaidError):
        return texts.PAID_ALREADY
    if isinstance(error, PaymentNeedsReviewError):
        return texts.NEEDS_REVIEW
    return texts.failure_text(error)
