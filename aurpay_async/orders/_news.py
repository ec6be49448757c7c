"""What shops bring to the store: a notification, an order, or the id of one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Literal

from .._models import Order, require_order_id
from .._order_life import OrderStatus
from ..callbacks import ConfirmedNotification, Reference, UnconfirmedNotification
from ..errors import (
    InvalidRequestError,
    NotFoundError,
    OrderStoreError,
    UnknownOrderError,
    shown,
)
from ._recording import claim, record
from ._records import Attempt, Change
from ._schedule import watched_until
from ._states import UNPROVEN, AttemptState

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from ._desk import Desk
    from ._records import Caller, OrderUpdate

    _Only = Literal["paid", "overdue"]

_log: Final = logging.getLogger("aurpay_async.orders")


async def record_news(
    desk: Desk, news: OrderUpdate, caller: Caller, *, only: _Only | None = None
) -> Change:
    """Write it down, in the caller's transaction if there is one.

    Raises:
        InvalidRequestError: it is none of these, or does not say what it only may.
    """
    if isinstance(news, UnconfirmedNotification):
        return await _claimed(desk, news, caller, only)
    if isinstance(news, str):
        news = await _read(desk, require_order_id(news, "news"))
    order = news.order if isinstance(news, ConfirmedNotification) else news
    if not isinstance(order, Order):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequestError(
            f"must be a notification, an order as get_order() gives it, or its id, not "
            f"{shown(order)}",
            field="news",
        )
    _require(only, order)
    async with desk.rows.writing(caller) as connection:
        if isinstance(news, ConfirmedNotification):
            return await _confirmed(desk, connection, news)
        attempt_id = await _attempt_id_of(desk, connection, order)
        return await record(desk, connection, attempt_id, order)


async def identify(
    desk: Desk, attempt_id: str, order: Order | None, caller: Caller
) -> Change:
    """Write down whose order it is; or that an attempt made none."""
    async with desk.rows.writing(caller) as connection:
        entry, attempt = await desk.held(connection, attempt_id)
        claimed = attempt.state is AttemptState.PAYMENT_REPORTED
        if attempt.order_id is not None and not claimed:
            raise OrderStoreError(
                f"attempt {shown(attempt_id)} has order {shown(attempt.order_id)}",
                reference=attempt.reference,
            )
        if order is not None:
            return await record(desk, connection, attempt_id, order, by_person=True)
        if attempt.state not in {*UNPROVEN, AttemptState.NOT_FOUND}:
            raise OrderStoreError(
                f"attempt {shown(attempt_id)} is {attempt.state}: only one of unknown "
                "outcome can be said to have created no order",
                reference=attempt.reference,
            )
        after = await desk.move(
            connection,
            attempt,
            (AttemptState.NOT_FOUND,),
            now=entry.now,
            candidates={},
            looked_at=entry.now,
        )
        return Change(attempt=after, before=attempt.state)


async def _read(desk: Desk, order_id: str) -> Order:
    """The order of that id, as the platform has it.

    Raises:
        InvalidRequestError: there is none, and a reference is called so.
    """
    try:
        return await desk.client.get_order(order_id)
    except NotFoundError as error:
        if not await desk.rows.of(order_id):
            raise
        raise InvalidRequestError(
            f"{shown(order_id)} is a reference, and not the id of an order",
            field="news",
            hint="attempts(reference) lists its orders: pass the order_id of one",
        ) from error


async def _confirmed(
    desk: Desk, connection: AsyncConnection, notification: ConfirmedNotification
) -> Change:
    known, order = notification.known, notification.order
    token = Reference(
        reference=known.reference or "",
        price=known.price,
        currency=known.currency,
        kind="paid" if order.status.is_paid else "timeout",
        attempt_id=known.attempt_id or "",
    )
    if await _adopt(desk, connection, token):
        return await _reported(desk, connection, token, order.order_id)
    return await record(desk, connection, token.attempt_id, order)


async def _claimed(
    desk: Desk,
    notification: UnconfirmedNotification,
    caller: Caller,
    only: _Only | None,
) -> Change:
    token = notification.event.token
    if only is not None or token is None:
        raise InvalidRequestError(
            f"the platform has not confirmed it: {notification.reason}",
            field="news",
            hint="record() takes what is not confirmed as well",
        )
    hint = notification.event.order_hint
    async with desk.rows.writing(caller) as connection:
        await _adopt(desk, connection, token)
        named = None if hint is None else hint.order_id
        return await _reported(desk, connection, token, named)


async def _reported(
    desk: Desk, connection: AsyncConnection, token: Reference, order_id: str | None
) -> Change:
    """What a callback says, and the platform has not confirmed."""
    if token.kind == "paid":
        return await claim(desk, connection, token.attempt_id, order_id)
    _, attempt = await desk.held(connection, token.attempt_id)
    return Change(attempt=attempt, before=attempt.state)


async def _adopt(desk: Desk, connection: AsyncConnection, token: Reference) -> bool:
    """Write down an attempt of a callback, if the store does not have it.

    A restored backup lacks the newest ones; or other code created an order with a
    reference. What was paid needs review then: the signed URL says that it is the
    merchant's, and nothing says which order it is.
    """
    rows = desk.rows
    if await rows.by_attempt_id(connection, token.attempt_id) is not None:
        return False
    await rows.begin(connection, token.reference, token.price, token.currency)
    entry = await rows.locked(connection, token.reference)
    if entry is None or entry.find(token.attempt_id) is not None:
        return False  # another process has just written it down
    attempt = Attempt(
        reference=token.reference,
        price=token.price,
        currency=token.currency,
        attempt_id=token.attempt_id,
        created_here=False,
        state=AttemptState.NOT_FOUND,
        order_id=None,
        status=None,
        candidates={},
        opened_at=entry.now,
        deadline=entry.now,
        sent_at=None,
        looked_at=None,
        next_look_at=None,
        ends_at=watched_until(entry.now),
        kept=None,
    )
    await rows.add(connection, attempt)
    _log.warning(
        "%s callback of an order that this order store did not create: reference=%a "
        "attempt_id=%s",
        token.kind,
        token.reference,
        token.attempt_id,
    )
    return True


def _require(only: _Only | None, order: Order) -> None:
    says = {
        None: True,
        "paid": bool(order.status.is_paid),
        "overdue": order.status is OrderStatus.OVERDUE,
    }
    if not says[only]:
        raise InvalidRequestError(
            f"order {shown(order.order_id)} is {shown(str(order.status))}, not {only}",
            field="news",
            hint="record() takes whatever it is",
        )


async def _attempt_id_of(desk: Desk, connection: AsyncConnection, order: Order) -> str:
    attempt = await desk.rows.by_order(connection, order.order_id)
    if attempt is None:
        raise UnknownOrderError(f"the store has no order {shown(order.order_id)}")
    return attempt.attempt_id
