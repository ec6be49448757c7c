"""What shops bring to the book: a notice, an order, or the id of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .._models import Order, require_order_id
from .._order_life import OrderStatus
from ..callbacks import ConfirmedNotice, UnconfirmedNotice
from ..errors import InvalidRequestError, OrderBookError, UnknownOrderError, shown
from ._recording import claim, record
from ._records import Change
from ._states import UNPROVEN, AttemptState

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from ._desk import Desk
    from ._records import News

    _Only = Literal["paid", "overdue"]


async def record_news(
    desk: Desk, news: News, caller: object, *, only: _Only | None = None
) -> Change:
    """Write it down, in the caller's transaction if there is one.

    Raises:
        InvalidRequestError: it is none of these, or does not say what it only may.
    """
    if isinstance(news, UnconfirmedNotice):
        return await _claimed(desk, news, caller, only)
    if isinstance(news, str):
        news = await desk.client.get_order(require_order_id(news, "news"))
    order = news.order if isinstance(news, ConfirmedNotice) else news
    if not isinstance(order, Order):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequestError(
            f"must be a notice, an order as get_order() gives it, or its id, not "
            f"{shown(order)}",
            field="news",
        )
    _require(only, order)
    async with desk.rows.writing(caller) as connection:
        if isinstance(news, ConfirmedNotice):
            nonce = news.known.nonce
        else:
            nonce = await _nonce_of(desk, connection, order)
        return await record(desk, connection, nonce or "", order)


async def identify(
    desk: Desk, nonce: str, order: Order | None, caller: object
) -> Change:
    """Write down whose order it is; or that an attempt made none."""
    async with desk.rows.writing(caller) as connection:
        _, attempt = await desk.held(connection, nonce)
        if attempt.order_id is not None:
            raise OrderBookError(
                f"attempt {shown(nonce)} has order {shown(attempt.order_id)}",
                reference=attempt.reference,
            )
        if order is not None:
            return await record(desk, connection, nonce, order)
        if attempt.state not in {*UNPROVEN, AttemptState.ABSENT}:
            raise OrderBookError(
                f"attempt {shown(nonce)} is {attempt.state}: only one that was lost "
                "can be said to have made no order",
                reference=attempt.reference,
            )
        after = await desk.move(
            connection,
            attempt,
            (AttemptState.ABSENT,),
            suspects={},
            looked_at=desk.clock.now(),
        )
        return Change(attempt=after, before=attempt.state)


async def _claimed(
    desk: Desk, notice: UnconfirmedNotice, caller: object, only: _Only | None
) -> Change:
    token = notice.event.token
    if only is not None or token is None:
        raise InvalidRequestError(
            f"the platform has not confirmed it: {notice.reason}",
            field="news",
            hint="record() takes what is not confirmed as well",
        )
    async with desk.rows.writing(caller) as connection:
        if notice.claimed == "paid":
            return await claim(desk, connection, token.nonce)
        _, attempt = await desk.held(connection, token.nonce)
        return Change(attempt=attempt, before=attempt.state)


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


async def _nonce_of(desk: Desk, connection: AsyncConnection, order: Order) -> str:
    attempt = await desk.rows.by_order(connection, order.order_id)
    if attempt is None:
        raise UnknownOrderError(f"the book has no order {shown(order.order_id)}")
    return attempt.nonce
