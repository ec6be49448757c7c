"""Record the status that Aurpay reports for an order.

All updates (a callback, a poll, a person's decision) go through `record`: a payment is
counted once, and an update that arrives late or twice changes nothing.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import attrs
from sqlalchemy import select, true

from .._api.arguments import require_order_id
from .._api.models import Order, OrderStatus, overdue_at
from .._core.events import log_fields
from .._db.engine import execute
from ..callbacks import ConfirmedNotification, Reference, UnconfirmedNotification
from ..callbacks._processor import check_platform_order
from ..errors import (
    InvalidRequestError,
    NotFoundError,
    OrderMismatchError,
    OrderStoreError,
    UnknownOrderError,
    shown,
)
from ._models import (
    PAYABLE,
    UNIDENTIFIED,
    Attempt,
    AttemptState,
    Change,
    as_known_order,
    log_fields_of,
    states_for,
)
from ._planner import can_be_polled, last_payment_at
from ._repository import INSERT, Key, row_of

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from ..callbacks import Kind
    from ._models import Caller, OnChange, OrderUpdate
    from ._repository import LockedAttempt, Repository, Rows


#: The check that fails if another attempt's invoice has the same payment hash.
PAYMENT_HASH: Final = "payment_hash"


async def record(
    locked: LockedAttempt, order: Order, *, by_person: bool = False
) -> Change:
    """Record Aurpay's status of an attempt's order, which a person may have assigned.

    Raises:
        OrderMismatchError: the order belongs to another attempt, or has another price,
            currency or amount.
    """
    attempt, now = locked.attempt, locked.entry.now
    move = partial(locked.move, last_polled_at=now)
    stored = attempt.status or OrderStatus.PENDING
    if attempt.order_id in {None, order.order_id} and not stored.can_become(
        order.status
    ):
        # The order was read before the stored status: a payment outlasts a timeout.
        return await move()
    check_platform_order(attempt.order or as_known_order(attempt, order), order)
    if locked.is_order_taken:
        raise OrderMismatchError(
            f"order {shown(order.order_id)} belongs to another attempt",
            order_id=order.order_id,
        )
    to = states_for(
        order.status,
        paid_by_other=locked.entry.paid_attempt_id not in {None, attempt.attempt_id},
        expired=now >= attempt.payable_until,
    )
    shares_invoice = attempt.failed_check == PAYMENT_HASH
    if order.status.is_paid and shares_invoice and not by_person:
        to = (AttemptState.PAYMENT_REPORTED,)
    change = await move(
        *to, order_id=order.order_id, status=order.status, candidates={}
    )
    if change.newly_paid:
        await locked.rows.set_paid_attempt(locked.connection, change.attempt)
        change = attrs.evolve(change, late_payment=_is_late(stored, order))
    return change


#: What is logged when an attempt reaches a state.
_RECORDED: Final = {
    AttemptState.PAID: (logging.INFO, "payment recorded"),
    AttemptState.DUPLICATE: (
        logging.WARNING,
        "duplicate payment recorded, which has to be refunded",
    ),
    AttemptState.REFUNDED: (logging.INFO, "refund recorded"),
}


#: What told the store of a payment or a refund.
Source = Literal["callback", "query", "reconciliation", "person"]

_NOT_COMMITTED: Final = ", in a transaction that your code has yet to commit"


def log_recorded(change: Change, source: Source, caller: Caller = None) -> None:
    """Log a payment or a refund after its commit, which a `caller` has yet to do."""
    attempt = change.attempt
    level, text = _RECORDED.get(attempt.state, (logging.INFO, ""))
    if change.changed and text and _log.isEnabledFor(level):
        fields = {**log_fields_of(attempt), "source": source}
        text += "" if caller is None else _NOT_COMMITTED
        log_fields(_log, level, fields, text)


def _is_late(stored: OrderStatus, order: Order) -> bool:
    """Return true if Aurpay reports that a paid order was overdue before.

    Its two times are compared with each other: they have no zone, and no clock of this
    machine is involved.
    """
    created, updated = order.create_time, order.update_time
    is_past = bool(created and updated and updated > overdue_at(created))
    return is_past or stored is OrderStatus.OVERDUE


async def _record_report(locked: LockedAttempt, kind: Kind, hint: str | None) -> Change:
    """Record a signed callback that Aurpay has not confirmed.

    Its body, which is not signed, may have given the order id `hint`.
    """
    attempt = locked.attempt
    if kind != "paid":
        return Change(attempt=attempt, before=attempt.state)
    # The state of a known order stays: it becomes due, and the next run polls it.
    unknown = attempt.order_id is None
    return await locked.move(
        *((AttemptState.PAYMENT_REPORTED,) if unknown else ()),
        next_poll_at=locked.entry.now if can_be_polled(attempt) else None,
        hinted_order_id=hint or attempt.hinted_order_id,
    )


_log: Final = logging.getLogger("aurpay_async.orders")

#: The hint of errors about the arguments of `OrderStore.record`.
_HINT: Final = (
    "write record(notification) in a callback handler, and record(reference=...) or "
    "record(order_id=...) to query Aurpay"
)

#: The hint if Aurpay would be queried within the caller's transaction.
_NO_TRANSACTION: Final = (
    "write record(reference=..., on_change=fulfil), which opens a transaction after "
    "the query; or record(await client.get_order(order_id), connection=connection)"
)


async def hand_over(
    change: Change, connection: AsyncConnection, on_change: OnChange
) -> None:
    """Call `on_change` with a change, in the transaction that records it."""
    if change.changed:
        await on_change(change, connection)
        # If a statement failed and `on_change` ignored it, PostgreSQL would roll back
        # at the COMMIT without an error. So another statement has to succeed.
        await execute(connection, select(true()))


async def record_update(
    repository: Repository,
    update: OrderUpdate,
    caller: Caller,
    on_change: OnChange | None = None,
) -> Change:
    """Record an update of an order, in the caller's transaction if one is given."""
    if on_change is None:
        change = await _record_update(repository, update, caller)
    else:
        async with repository.rows.writing() as connection:
            change = await _record_update(repository, update, connection)
            await hand_over(change, connection, on_change)
    is_query = isinstance(update, Order) or update.event is None
    log_recorded(change, "query" if is_query else "callback", caller)
    return change


async def _record_update(
    repository: Repository, update: OrderUpdate, caller: Caller
) -> Change:
    if isinstance(update, UnconfirmedNotification):
        return await _record_unconfirmed(repository, update, caller)
    order = update.order if isinstance(update, ConfirmedNotification) else update
    if not isinstance(order, Order):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequestError(
            "must be a notification or an order as get_order() returns it; "
            f"got {shown(order)}",
            field="update",
            hint=_HINT,
        )
    if isinstance(update, ConfirmedNotification):
        async with repository.rows.writing(caller) as connection:
            return await _record_confirmed(repository.rows, connection, update)
    key = Key(order.order_id, "order_id", order.order_id)
    async with repository.rows.locking(key, caller) as locked:
        return await record(locked, order)


def require_one_source(
    update: object,
    reference: str | None,
    order_id: str | None,
    caller: Caller,
    on_change: OnChange | None,
) -> None:
    """Require one name of an order, and one transaction, of `OrderStore.record`.

    A transaction that waited for Aurpay would keep its connection from all other tasks:
    a pool of 15 connections is used up by as many customers.
    """
    if caller is not None and on_change is not None:
        raise InvalidRequestError(
            "cannot be given together with on_change, which is called in a transaction "
            "of the store",
            field="connection",
        )
    if caller is not None and update is None:
        raise InvalidRequestError(
            "cannot be given together with reference or order_id: your transaction "
            "would wait for Aurpay",
            field="connection",
            hint=_NO_TRANSACTION,
        )
    arguments = {"update": update, "reference": reference, "order_id": order_id}
    given = [name for name, value in arguments.items() if value is not None]
    if len(given) != 1:
        raise InvalidRequestError(
            "exactly one of update, reference and order_id must be given; got "
            + (" and ".join(given) or "none of them"),
            field="update",
            hint=_HINT,
        )


async def read_order(repository: Repository, order_id: str) -> Order:
    """Query Aurpay for an order; name the mistake if the id is that of a reference."""
    try:
        return await repository.client.get_order(require_order_id(order_id))
    except NotFoundError as error:
        if not await repository.rows.of(order_id):
            raise
        raise InvalidRequestError(
            f"{shown(order_id)} is a reference, and not the id of an order",
            field="order_id",
            hint=f"write record(reference={shown(order_id)})",
        ) from error


async def read_order_of(repository: Repository, reference: str) -> Order:
    """Query Aurpay for the orders of a reference; return the one to record."""
    attempts = [one for one in await repository.rows.of(reference) if one.order_id]
    paid = [one for one in attempts if one.state is AttemptState.PAID]
    payable = [one for one in attempts if one.state in PAYABLE]
    # The payment of an invoice that failed a check needs review: orders that passed
    # all checks are queried first, so that it does not hide their payment.
    payable.sort(key=lambda one: one.failed_check is not None)
    unpaid: list[Order] = []
    missing: NotFoundError | None = None
    for attempt in [*payable, *paid] or attempts[:1]:
        try:
            order = await repository.client.get_order(attempt.order_id or "")
        except NotFoundError as error:
            missing = error
            continue
        if order.status.is_paid or attempt.state is AttemptState.PAID:
            return order
        unpaid.append(order)
    if unpaid:
        return unpaid[0]
    raise missing or UnknownOrderError(
        f"the store knows no order of reference {shown(reference)}; get_or_create() "
        "creates one, and reconcile() searches for one of unknown outcome"
    )


async def resolve(
    repository: Repository, attempt_id: str, order: Order | None, caller: Caller
) -> Change:
    """Record a person's decision: the order of an attempt, or that it created none."""
    key = Key(attempt_id, order_id=None if order is None else order.order_id)
    async with repository.rows.locking(key, caller) as locked:
        attempt = locked.attempt
        reported = attempt.state is AttemptState.PAYMENT_REPORTED
        if attempt.order_id is not None and not reported:
            raise OrderStoreError(
                f"attempt {shown(attempt_id)} has order {shown(attempt.order_id)}",
                reference=attempt.reference,
            )
        if order is not None:
            change = await record(locked, order, by_person=True)
        elif attempt.state not in {*UNIDENTIFIED, AttemptState.NOT_FOUND}:
            raise OrderStoreError(
                f"attempt {shown(attempt_id)} is {attempt.state}: only one of unknown "
                "outcome can be said to have created no order",
                reference=attempt.reference,
            )
        else:
            change = await locked.move(
                AttemptState.NOT_FOUND, candidates={}, last_polled_at=locked.entry.now
            )
    log_recorded(change, "person", caller)
    return change


async def _record_confirmed(
    rows: Rows, connection: AsyncConnection, notification: ConfirmedNotification
) -> Change:
    known, order = notification.known, notification.order
    token = Reference(
        reference=known.reference or "",
        price=known.price,
        currency=known.currency,
        kind="paid" if order.status.is_paid else "timeout",
        attempt_id=known.attempt_id or "",
    )
    locked, is_new = await _find_or_adopt(rows, connection, token, order.order_id)
    if is_new:
        return await _record_report(locked, token.kind, order.order_id)
    return await record(locked, order)


async def _record_unconfirmed(
    repository: Repository, notification: UnconfirmedNotification, caller: Caller
) -> Change:
    token = notification.event.token
    if token is None:
        raise InvalidRequestError(
            "the callback has no signed reference, and Aurpay has not confirmed it: "
            f"{notification.reason}",
            field="update",
        )
    hint = notification.event.order_hint
    named = None if hint is None else hint.order_id
    async with repository.rows.writing(caller) as connection:
        locked, _ = await _find_or_adopt(repository.rows, connection, token)
        return await _record_report(locked, token.kind, named)


async def _find_or_adopt(
    rows: Rows,
    connection: AsyncConnection,
    token: Reference,
    order_id: str | None = None,
) -> tuple[LockedAttempt, bool]:
    """Lock the attempt of a callback; return true if it was inserted for that.

    A restored backup lacks the newest attempts; or other code created an order with a
    reference. A payment needs review then: the signed URL proves that the order is the
    merchant's, but does not identify it.
    """
    key = Key(token.attempt_id, order_id=order_id)
    with suppress(UnknownOrderError):
        return await rows.lock(connection, key), False
    entry = await rows.begin(connection, token.reference, token.price, token.currency)
    is_new = entry.find(key.value) is None  # else another process has inserted it
    if is_new:
        adopted = _adopted(token, entry.now)
        await execute(connection, INSERT, row_of(adopted))
        log_fields(
            _log,
            logging.WARNING,
            log_fields_of(adopted, order_id=order_id),
            "%s callback of an order that this order store did not create",
            token.kind,
        )
    return await rows.lock(connection, key), is_new


def _adopted(token: Reference, now: datetime) -> Attempt:
    """Return an attempt for a callback of an order that the store did not create."""
    return Attempt(
        reference=token.reference,
        price=token.price,
        currency=token.currency,
        attempt_id=token.attempt_id,
        created_here=False,
        state=AttemptState.NOT_FOUND,
        created_at=now,
        deadline=now,
        payable_until=last_payment_at(now),
    )
