"""Record the status that Aurpay reports for an order.

All updates (a callback, a poll, a person's decision) go through `record`: a payment is
counted once, and an update that arrives late or twice changes nothing.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from .._api.arguments import require_order_id
from .._api.models import Order, OrderStatus
from ..callbacks import ConfirmedNotification, Reference, UnconfirmedNotification
from ..callbacks._processor import check_platform_order
from ..errors import (
    CallbackReferenceError,
    InvalidRequestError,
    NotFoundError,
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
    states_for,
)
from ._planner import can_be_polled, last_payment_at

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from ._models import Caller, OrderUpdate
    from ._repository import Repository


#: The check that fails if another attempt's invoice has the same payment hash.
PAYMENT_HASH: Final = "payment_hash"


async def record(
    repository: Repository,
    connection: AsyncConnection,
    attempt_id: str,
    order: Order,
    *,
    by_person: bool = False,
) -> Change:
    """Record Aurpay's status of an attempt's order.

    Args:
        repository: The store's.
        connection: The transaction to write in.
        attempt_id: The attempt's.
        order: The order as read from Aurpay.
        by_person: True if a person has assigned the order to this attempt.

    Raises:
        UnknownOrderError: the store has no such attempt.
        CallbackReferenceError: the order belongs to another attempt, or has another
            price, currency or amount.
    """
    entry, attempt = await repository.lock_attempt(connection, attempt_id)
    move = partial(
        repository.transition,
        connection,
        attempt,
        now=entry.now,
        last_polled_at=entry.now,
    )
    stored = attempt.status or OrderStatus.PENDING
    if attempt.order_id in {None, order.order_id} and not stored.can_become(
        order.status
    ):
        # The order was read before the stored status: a payment outlasts a timeout.
        return Change(attempt=await move(()), before=attempt.state)
    await _require_own_order(repository, connection, attempt, order)
    to = states_for(
        order.status,
        paid_by_other=entry.paid_attempt_id not in {None, attempt_id},
        expired=entry.now >= attempt.payable_until,
    )
    if order.status.is_paid and _shares_invoice(attempt) and not by_person:
        to = (AttemptState.PAYMENT_REPORTED,)
    after = await move(to, order_id=order.order_id, status=order.status, candidates={})
    change = Change(attempt=after, before=attempt.state)
    if change.newly_paid:
        await repository.rows.set_paid_attempt(connection, after)
    return change


def _shares_invoice(attempt: Attempt) -> bool:
    """Return true if another order has the payment hash of this one."""
    return attempt.failed_check == PAYMENT_HASH


async def record_report(
    repository: Repository,
    connection: AsyncConnection,
    attempt_id: str,
    hint: str | None,
) -> Change:
    """Record a signed callback that reports a payment which Aurpay has not confirmed.

    Args:
        repository: The store's.
        connection: The transaction to write in.
        attempt_id: The attempt's.
        hint: The order id in the body of the callback, if it has a body.
    """
    entry, attempt = await repository.lock_attempt(connection, attempt_id)
    # The state of a known order stays: it becomes due, and the next run polls it.
    unknown = attempt.order_id is None
    after = await repository.transition(
        connection,
        attempt,
        (AttemptState.PAYMENT_REPORTED,) if unknown else (),
        now=entry.now,
        next_poll_at=entry.now if can_be_polled(attempt) else None,
        hinted_order_id=hint or attempt.hinted_order_id,
    )
    return Change(attempt=after, before=attempt.state)


async def _require_own_order(
    repository: Repository, connection: AsyncConnection, attempt: Attempt, order: Order
) -> None:
    known = attempt.order or as_known_order(attempt, order)
    check_platform_order(known, order)
    if await repository.rows.is_taken(connection, order.order_id, attempt.attempt_id):
        raise CallbackReferenceError(
            f"order {shown(order.order_id)} belongs to another attempt", rule="order"
        )


_log: Final = logging.getLogger("aurpay_async.orders")

#: The hint of errors about the arguments of `OrderStore.record`.
_HINT: Final = (
    "write record(notification) in a callback handler, and record(reference=...) or "
    "record(order_id=...) to query Aurpay"
)


async def record_update(
    repository: Repository, update: OrderUpdate, caller: Caller
) -> Change:
    """Record an update of an order, in the caller's transaction if one is given.

    Raises:
        InvalidRequestError: `update` is neither a notification nor an order.
    """
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
    async with repository.rows.writing(caller) as connection:
        if isinstance(update, ConfirmedNotification):
            return await _record_confirmed(repository, connection, update)
        attempt_id = await _attempt_id_of(repository, connection, order)
        return await record(repository, connection, attempt_id, order)


def require_one_source(
    update: object, reference: str | None, order_id: str | None
) -> None:
    """Require that a call of `OrderStore.record` names its order in exactly one way.

    Raises:
        InvalidRequestError: none of the arguments is given, or more than one.
    """
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
    """Query Aurpay for an order.

    Raises:
        InvalidRequestError: it is no order id; or Aurpay has no such order, and the
            store has a reference of that name.
    """
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
    """Query Aurpay for the orders of a reference; return the one to record.

    Raises:
        UnknownOrderError: the store knows no order of this reference.
    """
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
    async with repository.rows.writing(caller) as connection:
        entry, attempt = await repository.lock_attempt(connection, attempt_id)
        reported = attempt.state is AttemptState.PAYMENT_REPORTED
        if attempt.order_id is not None and not reported:
            raise OrderStoreError(
                f"attempt {shown(attempt_id)} has order {shown(attempt.order_id)}",
                reference=attempt.reference,
            )
        if order is not None:
            return await record(
                repository, connection, attempt_id, order, by_person=True
            )
        if attempt.state not in {*UNIDENTIFIED, AttemptState.NOT_FOUND}:
            raise OrderStoreError(
                f"attempt {shown(attempt_id)} is {attempt.state}: only one of unknown "
                "outcome can be said to have created no order",
                reference=attempt.reference,
            )
        after = await repository.transition(
            connection,
            attempt,
            (AttemptState.NOT_FOUND,),
            now=entry.now,
            candidates={},
            last_polled_at=entry.now,
        )
        return Change(attempt=after, before=attempt.state)


async def _record_confirmed(
    repository: Repository,
    connection: AsyncConnection,
    notification: ConfirmedNotification,
) -> Change:
    known, order = notification.known, notification.order
    token = Reference(
        reference=known.reference or "",
        price=known.price,
        currency=known.currency,
        kind="paid" if order.status.is_paid else "timeout",
        attempt_id=known.attempt_id or "",
    )
    if await _adopt(repository, connection, token):
        return await _record_report(repository, connection, token, order.order_id)
    return await record(repository, connection, token.attempt_id, order)


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
    async with repository.rows.writing(caller) as connection:
        await _adopt(repository, connection, token)
        named = None if hint is None else hint.order_id
        return await _record_report(repository, connection, token, named)


async def _record_report(
    repository: Repository,
    connection: AsyncConnection,
    token: Reference,
    order_id: str | None,
) -> Change:
    """Record a callback that Aurpay has not confirmed."""
    if token.kind == "paid":
        return await record_report(repository, connection, token.attempt_id, order_id)
    _, attempt = await repository.lock_attempt(connection, token.attempt_id)
    return Change(attempt=attempt, before=attempt.state)


async def _adopt(
    repository: Repository, connection: AsyncConnection, token: Reference
) -> bool:
    """Insert the attempt of a callback if the store does not have it.

    A restored backup lacks the newest attempts; or other code created an order with a
    reference. A payment needs review then: the signed URL proves that the order is the
    merchant's, but does not identify it.

    Returns:
        True if the attempt was inserted.
    """
    rows = repository.rows
    if await rows.by_attempt_id(connection, token.attempt_id) is not None:
        return False
    await rows.begin(connection, token.reference, token.price, token.currency)
    entry = await rows.entry(connection, token.reference)
    if entry is None or entry.find(token.attempt_id) is not None:
        return False  # another process has just inserted it
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
        created_at=entry.now,
        deadline=entry.now,
        sent_at=None,
        last_polled_at=None,
        next_poll_at=None,
        payable_until=last_payment_at(entry.now),
        order_json=None,
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


async def _attempt_id_of(
    repository: Repository, connection: AsyncConnection, order: Order
) -> str:
    attempt = await repository.rows.by_order(connection, order.order_id)
    if attempt is None:
        raise UnknownOrderError(f"the store has no order {shown(order.order_id)}")
    return attempt.attempt_id
