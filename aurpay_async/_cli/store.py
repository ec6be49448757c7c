"""Commands `store ...`: the orders in the merchant's database.

Only the merchant's program fulfils orders. It learns of a payment once, in the
transaction that records it, so no command records a payment that a program could still
record: `reconcile` rolls its changes back and leaves them to the program's next run.
`resolve` records a decision that no program can make, and says what to fulfil by hand.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import attrs
from cyclopts import validators

from .._client import AurpayClient
from .._core.clock import SystemClock
from .._core.json import pick
from .._db.migrations import fits
from ..callbacks.sql import SqlInbox
from ..errors import AurpayError, InvalidRequestError, UnknownOrderError, shown
from ..orders import AttemptState
from ..orders._history import read_history
from ..orders._models import UNIDENTIFIED, Attention
from ..orders._planner import attention_for
from ..orders._reconcile import reconcile
from ..orders._recording import resolve
from ..orders._repository import Repository, Rows
from . import FAILED
from ._options import DatabaseOption, Flag, Plan, confirm, doc, require_terminal
from ._output import TEXT, Output, Row, moment, until, when, without_passwords
from ._views import detail_members, detail_rows, show_rows
from .database import open_database, upgrade_needed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence

    from .._api.models import Order
    from .._core.secrets import Secret
    from ..orders import Attempt, Change, Failure, Reconciliation
    from ..orders._history import History, InboxRow
    from ._output import Verdict

_State = AttemptState

#: The meaning of each state, as on the page about the order store.
_MEANINGS: Final[Mapping[AttemptState, str]] = {
    _State.CREATING: "the request is being sent, or is about to be sent",
    _State.PAYABLE: "the order is shown to the payer; not paid",
    _State.OVERDUE: "the order is not shown any more; not paid",
    _State.REJECTED: "no order was created",
    _State.UNKNOWN: "an order may exist",
    _State.CANDIDATES_FOUND: "an order may exist, and there are orders that match",
    _State.NOT_FOUND: "Aurpay had no order that matches and can be paid",
    _State.WITHHELD: "the order exists, and no payer has seen its invoice; not paid",
    _State.PAYMENT_REPORTED: "a callback reports a payment; its order is unidentified",
    _State.PAID: "paid; it pays its reference",
    _State.DUPLICATE: "paid although another order had paid the reference",
    _State.REFUNDED: "refunded",
    _State.EXPIRED: "never paid, and its invoice has expired",
}


class Step(NamedTuple):
    advice: str
    command: str | None = None


@asynccontextmanager
async def open_rows(option: Secret | None) -> AsyncGenerator[Rows, None]:
    """Open the order store of ``--database``, without a client and its secrets."""
    async with open_database(option) as database:
        if not await fits(database):
            problem = "the database lacks tables or columns of the order store"
            raise upgrade_needed(problem, option)
        yield Rows(database, SystemClock())


Name = Annotated[
    str,
    doc("Reference; or the order id, attempt id or payment hash of one of its orders."),
]


async def show_reference(
    name: Name, /, *, database: DatabaseOption = None, output: Output = TEXT
) -> int:
    async with open_rows(database) as rows:
        history = await read_history(rows, name)
    if history is None:
        raise _unknown(name)
    steps = [*_steps(history)]
    output.json(
        "reference",
        **pick(history.record, "reference price currency paid_attempt_id now"),
        attempts=[
            {
                **attempt_members(one),
                "inbox": row and pick(row, "handled busy_until updated_at"),
            }
            for one in history.record.attempts
            for row in [history.inbox.get(one.attempt_id)]
        ],
        steps=[step._asdict() for step in steps],
    )
    _show_history(output, history)
    _show_steps(output, steps)
    return 0


def _unknown(name: str) -> UnknownOrderError:
    """Return the error about a name, which may be the URL of the database."""
    return UnknownOrderError(
        "the store has no reference, order id, attempt id or payment hash "
        f"{shown(without_passwords(name))}"
    )


def attempt_members(attempt: Attempt) -> dict[str, object]:
    return {
        **pick(attempt, "reference attempt_id state price currency order_id status"),
        **pick(attempt, "payment_hash failed_check hinted_order_id candidates"),
        **pick(attempt, "created_here created_at deadline sent_at last_polled_at"),
        **pick(attempt, "next_poll_at payable_until"),
    }


def _show_history(output: Output, history: History) -> None:
    record = history.record
    paid = record.paid_attempt_id
    rows = [
        Row("price", f"{record.price:f} {record.currency}"),
        Row("paid", "no" if paid is None else f"by attempt {paid}"),
        Row("attempts", f"{len(record.attempts)}, newest first"),
    ]
    output.rows(rows, f"Reference {record.reference}")
    for attempt in record.attempts:
        inbox = history.inbox.get(attempt.attempt_id)
        rows = [*_attempt_rows(attempt, inbox, record.now, paid)]
        output.rows(rows, f"Attempt {attempt.attempt_id}")


def _attempt_rows(
    attempt: Attempt, inbox: InboxRow | None, now: datetime, paid: str | None = None
) -> Iterator[Row]:
    """Return what is known of an attempt; `paid` is the one that pays its reference."""
    meaning, verdict = _MEANINGS[attempt.state], _VERDICTS.get(attempt.state, "")
    if attempt.state in _SHOWN and paid is not None:
        meaning, verdict = "do not show it: its reference is paid", "warning"
    yield Row("state", f"{attempt.state}: {meaning}", verdict)
    yield Row("order", attempt.order_id or "unknown")
    if attempt.failed_check is not None:
        yield Row("failed check", attempt.failed_check, "warning")
    for order_id, status in attempt.candidates.items():
        yield Row("candidate", f"{order_id}, {status}", "warning")
    if attempt.hinted_order_id is not None:
        source = "according to a callback's unsigned body"
        yield Row("hint", f"{attempt.hinted_order_id}, {source}")
    if attempt.payment_hash is not None:
        yield Row("payment hash", attempt.payment_hash)
    yield Row("created", when(attempt.created_at, now))
    if attempt.sent_at is not None:
        yield Row("sent", when(attempt.sent_at, now))
    if attempt.last_polled_at is not None:
        found = attempt.status or f"matching orders: {len(attempt.candidates)}"
        yield Row("polled", f"{when(attempt.last_polled_at, now)}: {found}")
    polling = attempt.next_poll_at
    yield Row("next poll", "none" if polling is None else when(polling, now))
    if attempt.state is not _State.REJECTED:
        yield Row("payable until", until(attempt.payable_until, now))
    yield _inbox_row(attempt, inbox, now)


#: States in which a payer has seen the invoice, and can still pay it.
_SHOWN: Final = (_State.PAYABLE, _State.OVERDUE)

#: The mark of a state; the others have none.
_VERDICTS: Final[Mapping[AttemptState, Verdict]] = {
    _State.PAID: "ok",
    _State.UNKNOWN: "warning",
    _State.CANDIDATES_FOUND: "warning",
    _State.PAYMENT_REPORTED: "problem",
    _State.DUPLICATE: "problem",
}


def _inbox_row(attempt: Attempt, inbox: InboxRow | None, now: datetime) -> Row:
    if inbox is None:
        return Row("callback", "none in the inbox")
    if inbox.busy_until is not None:
        return Row("callback", f"being handled until {moment(inbox.busy_until)}")
    at = when(inbox.updated_at, now)
    if inbox.handled is None and attempt.state is _State.PAID:
        return Row("callback", f"handler not finished, {at}; recorded without it")
    if inbox.handled is None:
        cause = "not confirmed by Aurpay yet, or the handler has not finished"
        return Row("callback", f"{cause}, {at}", "problem")
    proven = not inbox.handled.startswith("unconfirmed")
    verdict: Verdict = "" if proven else "warning"
    return Row("callback", f"{inbox.handled} handled, {at}", verdict)


def _steps(history: History) -> Iterator[Step]:
    steps = [
        step
        for attempt in history.record.attempts
        for step in steps_for(attempt, history.inbox.get(attempt.attempt_id))
    ]
    yield from steps or [Step("nothing is open")]


def steps_for(attempt: Attempt, inbox: InboxRow | None) -> Iterator[Step]:
    order_id, state, status = attempt.order_id, attempt.state, attempt.status
    show = None if order_id is None else f"aurpay order show {quote(order_id)}"
    if state is _State.PAID:
        yield Step(_advice_if_paid(inbox))
        yield Step("see whether Aurpay still has it as paid", show)
    elif inbox is not None and inbox.handled in _PAID_WITHOUT_PROOF:
        early = "your handler received this payment before Aurpay confirmed it"
        end = "Aurpay has the order as paid"
        if state is _State.PAYMENT_REPORTED:
            end = "its order is assigned, also if Aurpay has one as paid"
        yield Step(f"{early}: deliver nothing until {end}", show)
    if state is _State.DUPLICATE and order_id is not None:
        yield Step("refund it", f"aurpay order refund {quote(order_id)}")
    elif state in UNIDENTIFIED and state is not _State.UNKNOWN:
        yield from _steps_to_identify(attempt)
    elif status is not None and status.is_paid is None:
        unknown = f"Aurpay does not document the status {status}"
        yield Step(f"{unknown}: ask Aurpay whether it is paid", show)
    elif state in _ADVICE_BEFORE_PAYMENT:
        command = f"aurpay store reconcile {quote(attempt.reference)}"
        yield Step(_ADVICE_BEFORE_PAYMENT[state], command)
    elif state is _State.NOT_FOUND:
        advice = (
            "if the payer proves a payment, find its order at Aurpay, and assign it"
        )
        yield Step(advice, _resolve_command(attempt, "ORDER_ID"))


#: What the inbox records if a handler received a payment that Aurpay had not confirmed.
_PAID_WITHOUT_PROOF: Final = frozenset({"unconfirmed_paid", "unconfirmed_late_paid"})

_ADVICE_BEFORE_PAYMENT: Final[Mapping[AttemptState, str]] = {
    _State.CREATING: "if its call has ended, search for its order",
    _State.UNKNOWN: "search for its order",
    **dict.fromkeys(
        (_State.PAYABLE, _State.OVERDUE, _State.WITHHELD),
        "if the payer has paid, query Aurpay now",
    ),
    _State.EXPIRED: "if the payer proves a payment, query Aurpay again",
}


def _advice_if_paid(inbox: InboxRow | None) -> str:
    if inbox is not None and inbox.busy_until is not None:
        return "your handler is running: look again after its lease"
    if inbox is not None and inbox.handled == "paid":
        missing = "search your own tables and logs for the reference"
        return (
            f"your handler has handled the payment: if the goods are missing, {missing}"
        )
    return (
        "no callback recorded this payment, so reconciliation did, with your on_change "
        "in the same transaction (or record or resolve did): look for the reference in "
        "your own tables; only if it is missing there, fulfil it by hand, once"
    )


def _steps_to_identify(attempt: Attempt) -> Iterator[Step]:
    if attention_for(attempt) is None:
        yield Step("nothing to decide: Aurpay has no order that matches as paid")
        return
    names = {*attempt.candidates, attempt.order_id, attempt.hinted_order_id} - {None}
    for order_id in sorted(filter(None, names)):
        command = f"aurpay order show {quote(order_id)}"
        yield Step("compare this order with the payer's proof of payment", command)
    assign = _resolve_command(attempt, "ORDER_ID")
    yield Step("assign the order that the payer has paid", assign)
    yield Step("or say that none of them is its own", _resolve_command(attempt))


def _resolve_command(attempt: Attempt, order: str = "--no-order") -> str:
    return f"aurpay store resolve {quote(attempt.attempt_id)} {order}"


def _show_steps(output: Output, steps: Sequence[Step]) -> None:
    output.title("What to do")
    for advice, command in steps:
        output.line(f"    {advice}{':' if command else ''}")
        if command is not None:
            output.line(f"      $ {command}")
    output.line()


Limit = Annotated[
    int, doc("Attempts at most.", validator=validators.Number(gte=1, lte=1000))
]


async def list_attempts(
    *,
    state: Annotated[
        AttemptState | None,
        doc("Only attempts in this state.", name_transform=str.lower),
    ] = None,
    limit: Limit = 100,
    database: DatabaseOption = None,
    output: Output = TEXT,
) -> int:
    async with open_rows(database) as rows:
        attempts = await rows.newest(state, limit)
    _show_attempts(output, attempts, [])
    return 0


async def list_for_review(
    *, limit: Limit = 100, database: DatabaseOption = None, output: Output = TEXT
) -> int:
    async with open_rows(database) as rows:
        attempts = await rows.needing(Attention.REVIEW, limit)
    steps = [
        Step(_to_decide(one, attempts), f"aurpay store show {quote(one.reference)}")
        for one in attempts
    ]
    return _show_attempts(output, attempts, steps)


def _to_decide(attempt: Attempt, attempts: Sequence[Attempt]) -> str:
    """Return the candidates of an attempt, and which of them others have as well."""
    found: list[str] = []
    for order_id, status in attempt.candidates.items():
        others = [one for one in attempts if order_id in one.candidates]
        shared = ", ".join(one.reference for one in others if one is not attempt)
        found.append(
            f"{order_id} {status}" + (f" (also of {shared})" if shared else "")
        )
    candidates = f", which has the candidates {', '.join(found)}" if found else ""
    return f"see what to do about {attempt.reference}{candidates}"


async def list_duplicates(
    *, limit: Limit = 100, database: DatabaseOption = None, output: Output = TEXT
) -> int:
    async with open_rows(database) as rows:
        attempts = await rows.needing(Attention.REFUND, limit)
    steps = [
        Step(f"refund {attempt.reference}", f"aurpay order refund {quote(order_id)}")
        for attempt in attempts
        if (order_id := attempt.order_id) is not None
    ]
    return _show_attempts(output, attempts, steps)


_COLUMNS: Final = {"reference": 20, "state": 16, "order": 20, "status": 9, "created": 0}


def _show_attempts(
    output: Output, attempts: Sequence[Attempt], steps: Sequence[Step]
) -> int:
    members = [*map(attempt_members, attempts)]
    output.json("attempts", attempts=members, steps=[step._asdict() for step in steps])
    show_rows(output, _COLUMNS, [*map(_cells, attempts)])
    output.line()
    output.status(f"attempts: {len(attempts)}", "")
    if steps:
        output.line()
        _show_steps(output, steps)
    return FAILED if attempts else 0


def _cells(attempt: Attempt) -> list[str]:
    cells = [attempt.reference, attempt.state, attempt.order_id, attempt.status]
    return [*(cell or "-" for cell in cells), moment(attempt.created_at)]


def prune_references(
    *,
    older_than: Annotated[
        int,
        doc(
            "Days since the last payment of an unpaid reference could arrive.",
            validator=validators.Number(gte=7, lte=36_500),
        ),
    ] = 30,
    paid_older_than: Annotated[
        int | None,
        doc(
            "The same for paid references; without it, they are kept.",
            validator=validators.Number(gte=90, lte=36_500),
        ),
    ] = None,
    callbacks_older_than: Annotated[
        int | None,
        doc(
            "Days since a callback of the inbox was handled; without it, all are kept.",
            validator=validators.Number(gte=30, lte=36_500),
        ),
    ] = None,
    yes: Annotated[Flag, doc("Delete without asking.")] = False,
    database: DatabaseOption = None,
    output: Output = TEXT,
) -> int:
    if not yes and (code := require_terminal(output, "aurpay store list")):
        return code
    ages = (older_than, paid_older_than, callbacks_older_than)
    rows = [
        Row(name, "kept" if age is None else f"older than {age} days")
        for name, age in zip(("unpaid", "paid", "callbacks"), ages, strict=True)
    ]
    plan = Plan("References and callbacks to delete", rows, "Delete them?")
    declined = confirm(output, plan, yes=yes)
    return declined or asyncio.run(_prune(output, database, ages))


async def _prune(
    output: Output, database: Secret | None, ages: tuple[int, int | None, int | None]
) -> int:
    unpaid, paid, handled = ages
    callbacks = 0
    async with open_rows(database) as rows:
        with output.waiting("Deleting old references"):
            references = await rows.prune(timedelta(days=unpaid), paid=False)
            if paid is not None:
                references += await rows.prune(timedelta(days=paid), paid=True)
            if handled is not None:
                inbox = SqlInbox(rows.database.engine)
                callbacks = await inbox.prune(timedelta(days=handled))
    output.json("pruned", references=references, callbacks=callbacks)
    deleted = f"deleted: references {references:,}, callbacks {callbacks:,}"
    output.status(deleted)
    return 0


class _LeftToProgram(Exception):  # noqa: N818 - no failure: it rolls back
    """A change that is rolled back, so that the merchant's program records it."""


async def _leave_to_program(change: Change, _: object) -> None:
    raise _LeftToProgram(change)


#: The time at which an attempt is due before all others.
_FIRST: Final = datetime(2000, 1, 1, tzinfo=UTC)

#: States in which Aurpay's list is searched for the order of an attempt.
_SEARCHED: Final = (_State.CREATING, *UNIDENTIFIED)


async def reconcile_orders(
    *references: Annotated[
        str, doc("References to query now; without one, what is due.")
    ],
    limit: Annotated[
        int, doc("Orders to query at most.", validator=validators.Number(gte=1))
    ] = 100,
    database: DatabaseOption = None,
    output: Output = TEXT,
) -> int:
    async with open_rows(database) as rows, AurpayClient.from_env() as aurpay:
        with output.waiting("Querying Aurpay"):
            if references:
                limit = sum([await _make_due(rows, name) for name in references])
            repository = Repository(aurpay, rows, SystemClock())
            done = await reconcile(repository, limit=limit, on_change=_leave_to_program)
        # Attempts with a candidate that may be paid.
        known = [one for name in references for one in await rows.of(name)]
        review = [one for one in known if attention_for(one) is Attention.REVIEW]
    left = [one for one in done.failures if isinstance(one.error, _LeftToProgram)]
    changes: list[Change] = [one.error.args[0] for one in left]
    failures = [one for one in done.failures if one not in left]
    output.json(
        "reconciliation",
        **pick(done, "polled more"),
        changes=[_change_members(change) for change in changes],
        failures=[_failure_members(failure) for failure in failures],
        needs_review=[pick(one, "reference attempt_id candidates") for one in review],
    )
    more = done.more and not references  # the others that are due do not matter here
    _show_reconciliation(output, attrs.evolve(done, more=more), changes, failures)
    for attempt in review:
        name = attempt.reference
        advice = f"review it, as `aurpay store show {quote(name)}` says"
        problem = f"{name}: an order that may be its own is paid: {advice}"
        output.status(problem, "problem")
    return FAILED if done.failures or review else 0


async def _make_due(rows: Rows, reference: str) -> int:
    """Make the orders of a reference due before all others; return their number."""
    attempts = await rows.of(reference)
    if not attempts:
        raise _unknown(reference)
    known = [one for one in attempts if one.order_id is not None]
    own = [one for one in attempts if one.order_id is None and one.created_here]
    due = [*known, *(one for one in own if one.state in _SEARCHED)]
    return sum([await rows.plan_poll(attempt, _FIRST) for attempt in due])


def _change_members(change: Change) -> dict[str, object]:
    after = pick(change.attempt, "state status candidates")
    named = pick(change.attempt, "reference attempt_id order_id")
    return {**named, "before": change.before, **after}


def _failure_members(failure: Failure) -> dict[str, object]:
    error = failure.error
    return {
        **pick(failure.attempt, "reference attempt_id order_id"),
        "code": error.code if isinstance(error, AurpayError) else None,
        "message": str(error),
    }


def _show_reconciliation(
    output: Output,
    done: Reconciliation,
    changes: Sequence[Change],
    failures: Sequence[Failure],
) -> None:
    for change in changes:
        attempt = change.attempt
        order = f"order {attempt.order_id}" if attempt.order_id else "order unknown"
        if change.before is _State.CREATING and attempt.state is _State.UNKNOWN:
            order = "its create is still running, or its process has crashed"
        found = f"{attempt.reference}: {change.before} -> {attempt.state}, {order}"
        output.status(found, "warning")
    for failure in failures:
        output.status(f"{failure.attempt.reference}: {failure.error}", "problem")
    rest = "; more are due" if done.more else ""
    output.status(f"queried: {done.polled}; changed: {len(changes)}{rest}", "")
    if changes:
        run = "the next run of your program (OrderStore.run)"
        recorded = f"{run} records these changes and fulfils what is paid"
        output.status(f"nothing was recorded: {recorded}", "")


def resolve_attempt(
    attempt_id: Annotated[str, doc("Attempt id, as `show` prints it.")],
    order_id: Annotated[str | None, doc("Order that the attempt has created.")] = None,
    /,
    *,
    no_order: Annotated[
        Flag, doc("Record that the attempt has created no order.")
    ] = False,
    yes: Annotated[Flag, doc("Record it without asking.")] = False,
    database: DatabaseOption = None,
    output: Output = TEXT,
) -> int:
    if no_order is (order_id is not None):
        problem = "give an order id or --no-order, and not both"
        raise InvalidRequestError(problem, field="order_id")
    show = f"aurpay store show {quote(attempt_id)}"
    if not yes and (code := require_terminal(output, show)):
        return code
    decision = asyncio.run(_prepare(output, database, attempt_id, order_id))
    declined = confirm(output, _resolution_plan(decision), yes=yes)
    return declined or asyncio.run(_record(output, database, decision))


class _Decision(NamedTuple):
    """An attempt, the order that it is said to have created, and the reference."""

    attempt: Attempt
    order: Order | None
    history: History


async def _prepare(
    output: Output, database: Secret | None, attempt_id: str, order_id: str | None
) -> _Decision:
    async with open_rows(database) as rows:
        history = await read_history(rows, attempt_id)
    attempt = None if history is None else history.record.find(attempt_id)
    if history is None or attempt is None:
        raise _unknown(attempt_id)
    order = None
    if order_id is not None:
        async with AurpayClient.from_env() as aurpay:
            with output.waiting("Querying the order"):
                order = await aurpay.get_order(order_id)
    return _Decision(attempt, order, history)


def _resolution_plan(decision: _Decision) -> Plan:
    attempt, order, history = decision
    inbox, record = history.inbox.get(attempt.attempt_id), history.record
    title = f"Attempt {attempt.attempt_id} of {attempt.reference}"
    rows = [*_attempt_rows(attempt, inbox, record.now)]
    if order is None:
        return Plan(title, rows, "Record that it has created no order?")
    rows += [Row("assign", order.order_id), *detail_rows(order)]
    if order.status.is_paid:
        effect = f"{attempt.reference} counts as paid, and no program learns of it"
        if record.paid_attempt_id is not None:
            effect = "a duplicate payment, to be refunded"
        rows.append(Row("effect", effect, "warning"))
        for other in record.attempts:
            if other.state in _SHOWN and other is not attempt:
                ends = f"can be paid until {until(other.payable_until, record.now)}"
                effect = f"{other.order_id} {ends}; its payment would be a duplicate"
                rows.append(Row("other order", effect, "warning"))
    return Plan(title, rows, f"Assign order {order.order_id} to it?")


async def _record(output: Output, database: Secret | None, decision: _Decision) -> int:
    attempt_id = decision.attempt.attempt_id
    async with open_rows(database) as rows:
        # The order was queried already: this client sends nothing.
        repository = Repository(AurpayClient(), rows, SystemClock())
        change = await resolve(repository, attempt_id, decision.order, None)
    members = _change_members(change) | pick(change, "newly_paid duplicate_payment")
    order = None if decision.order is None else detail_members(decision.order)
    output.json("resolution", **members, order=order)
    attempt = change.attempt
    output.status(f"{attempt.reference}: {change.before} -> {attempt.state}")
    if change.newly_paid:
        by_hand = f"fulfil {attempt.reference} now, by hand: no program learned of it"
        output.status(by_hand, "warning")
    else:
        _show_steps(output, [*steps_for(attempt, None)])
    return 0
