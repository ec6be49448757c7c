"""Processes, a platform and a database that stop where a test wants them to.

A process stops at each `Gate`: before it begins a transaction, while a request or its
answer is on its way, and while it sleeps. A test opens one gate at a time, so the test
alone decides the order of events, and no real time passes.

Between two gates, a process can crash, or lose its database, at each statement and
around each commit. A crashed process meets `Crashed` at its next step, its cleanup
included, so it has no further effect.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeVar
from unittest import mock

import aiosqlite
import attrs
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import await_only, greenlet_spawn

from aurpay_async import AurpayClient, Effect, RequestOutcome, RetryPolicy
from aurpay_async._core.clock import SystemClock
from aurpay_async.callbacks import CallbackProcessor, CallbackVerifier
from aurpay_async.callbacks._identity import ReferenceSigner
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.errors import (
    AurpayError,
    ConnectError,
    ConnectionLostError,
    RequestTimeoutError,
)
from aurpay_async.orders import OrderStore
from aurpay_async.testing import sign_callback

from ..support.orders import (
    build_detail,
    build_order,
    build_response,
    sign_invoice,
    wrap_data,
)
from .platform import REFERENCE_KEY, URLS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aurpay_async import LightningOrder, Request, Response
    from aurpay_async.callbacks import Notification, Reference
    from aurpay_async.orders import Change

_T = TypeVar("_T")

CALLBACK_SECRET: Final = "sandbox-callback-secret"
PRICE, CURRENCY = "20", "USD"
START: Final = datetime(2026, 1, 1, tzinfo=UTC)

#: The lifetimes of an order and of its invoice.
SHOWN: Final = timedelta(minutes=30)
INVOICE_LIFE: Final = timedelta(hours=6)

#: Seconds after which a client stops waiting for an answer.
ATTEMPT_S: Final = 15

#: The time during which the list may lack a new order.
LIST_DELAY: Final = timedelta(minutes=10)

#: More gates than any task passes; a task that passes more does not end.
MOST_GATES: Final = 500

#: The fates of a request: does it arrive, and what does the client see?
FATES: Final = (
    "answered",
    "answer lost",
    "answer cut",
    "request lost",
    "not sent",
    "refused",
    "503",
    "503 after it was done",
    "older answer",
)

#: The shop's shipments, written in the transaction of the change.
shipments: Final = sa.Table("shipments", sa.MetaData(), sa.Column("reference", sa.Text))

#: Replaces PostgreSQL's function of this name in the connections of a model.
FAKE_TIME: Final = (
    "CREATE SCHEMA IF NOT EXISTS model",
    "CREATE TABLE IF NOT EXISTS model.time (now timestamptz NOT NULL)",
    """
    CREATE OR REPLACE FUNCTION model.clock_timestamp() RETURNS timestamptz
    LANGUAGE sql VOLATILE AS 'SELECT now FROM model.time'
    """,
)


class Crashed(BaseException):
    """The process does not run any more."""


@attrs.define(eq=False)
class Gate:
    """A point where a process waits until the test lets it continue."""

    process: Process
    what: str
    since: datetime
    opened: asyncio.Future[str]

    @property
    def is_network(self) -> bool:
        """Tell if the client waits for an answer."""
        return self.what.startswith(("request", "answer"))


@attrs.define
class Platform:
    """The part of Aurpay that the order store uses."""

    world: World
    orders: dict[str, dict[str, Any]] = attrs.Factory(dict)
    #: The callback URLs of each order.
    urls: dict[str, Mapping[str, str]] = attrs.Factory(dict)
    #: The answer to each request that created an order for the shop.
    answers: dict[str, dict[str, Any]] = attrs.Factory(dict)
    #: The orders that the list lacks.
    hidden: set[str] = attrs.Factory(set)
    #: How often each body of a create request arrived.
    bodies: Counter[bytes] = attrs.Factory(Counter)
    #: Orders returned to the wrong request, and the orders of those requests.
    swapped: set[str] = attrs.Factory(set)
    #: References with an unknown outcome and no list request since.
    unsearched: dict[str, str] = attrs.Factory(dict)
    #: URLs of callbacks without a 200 so far.
    callbacks: list[str] = attrs.Factory(list)
    signer: ReferenceSigner = attrs.Factory(lambda: ReferenceSigner(REFERENCE_KEY))

    def attempt_id(self, order_id: str) -> str | None:
        """Return the attempt of an order; one from the dashboard has none."""
        url = self.urls[order_id].get("callback_url")
        return None if url is None else self.signer.read(url).attempt_id

    def status(self, order_id: str) -> str:
        """Return the status of an order."""
        status: str = self.orders[order_id]["status"]
        return status

    def age(self, order_id: str) -> timedelta:
        """Return the time since an order was created."""
        created: str = self.orders[order_id]["create_time"]
        return self.world.now - datetime.fromisoformat(f"{created}+00:00")

    def is_shown(self, order_id: str) -> bool:
        """Tell if a payer who sees the invoice is still meant to pay it."""
        return self.status(order_id) == "PENDING" and self.age(order_id) < SHOWN

    def pay(self, order_id: str) -> None:
        """Pay an order, in time or late, if its invoice can be paid."""
        unpaid = self.status(order_id) in {"PENDING", "OVERDUE"}
        if unpaid and self.age(order_id) < INVOICE_LIFE:
            self._change(order_id, "SUCCESS", "callback_url")

    def refund(self, order_id: str) -> None:
        """Refund an order, if it was paid."""
        if self.status(order_id) == "SUCCESS":
            self._change(order_id, "REFUNDED")

    def grow_older(self) -> None:
        """Time out unpaid orders, and list orders that were hidden for long enough."""
        for order_id in self.orders:
            if self.status(order_id) == "PENDING" and self.age(order_id) >= SHOWN:
                self._change(order_id, "OVERDUE", "timeout_callback")
        self.hidden -= {i for i in self.hidden if self.age(i) >= LIST_DELAY}

    def _change(self, order_id: str, status: str, callback: str = "") -> None:
        self.orders[order_id]["status"] = status
        url = self.urls[order_id].get(callback)
        self.callbacks += [] if url is None else [url]

    def note_request(self, request: Request) -> None:
        """Check that no attempt of the reference is still to be searched for."""
        if request.operation == "list_orders":
            self.unsearched.clear()
        if request.effect is Effect.CREATE:
            token = self._token(request)
            before = {**self.unsearched, token.attempt_id: ""}
            if token.reference in before.values():
                self.world.problems.append(f"{token.reference} was not searched for")
            self.unsearched[token.attempt_id] = token.reference

    def note_end(self, request: Request) -> None:
        """Note that the outcome of a request is known."""
        if request.effect is Effect.CREATE:
            self.unsearched.pop(self._token(request).attempt_id, None)

    def _token(self, request: Request) -> Reference:
        return self.signer.read(json.loads(request.body)["callback_url"])

    def handle(self, request: Request) -> Response:
        """Do what a request asks for, and answer."""
        if request.effect is Effect.CREATE:
            asked = json.loads(request.body)
            order_id = self.create({k: v for k, v in asked.items() if k in URLS})
            return build_response(wrap_data(self.answers[order_id]))
        if request.operation == "list_orders":
            rows = [o for i, o in reversed(self.orders.items()) if i not in self.hidden]
            page = {"page": 1, "size": 100, "total": len(rows), "max_page": 1}
            return build_response(wrap_data({**page, "data": rows}))
        shown = self.orders.get(request.path.rpartition("/")[2])
        return (
            build_response(b"{}", 404)
            if shown is None
            else build_response(wrap_data(shown))
        )

    def create(self, urls: Mapping[str, str]) -> str:
        """Create an order; without URLs, it stands for one created in the dashboard."""
        now, number = self.world.now, len(self.orders) + 1
        order_id = f"{now:%Y%m%d%H%M%S}{number:06}"
        created = f"{now:%Y-%m-%dT%H:%M:%S}"
        self.orders[order_id] = build_detail(
            order_id=order_id,
            vs_price=PRICE,
            vs_currency=CURRENCY,
            create_time=created,
            update_time=created,
        )
        self.urls[order_id] = urls
        if urls:
            self.answers[order_id] = build_order(
                order_id=order_id,
                create_time=created,
                pay_url=f"https://dashboard.aurpay.net/#/cashier/{order_id}",
                payment_request=sign_invoice(
                    payment_hash=f"{number:064x}",
                    timestamp=int(now.timestamp()),
                    expiry=int(INVOICE_LIFE.total_seconds()),
                ),
            )
        return order_id


@attrs.define
class Network:
    """The transport of one process."""

    process: Process

    async def send(self, request: Request) -> Response:
        """Wait for the test to decide the fate of the request and of its answer."""
        platform = self.process.world.platform
        platform.note_request(request)
        fate = await self.process.stop(f"request {request.operation}")
        if fate == "not sent":
            platform.note_end(request)
            raise ConnectError("no way there", outcome=RequestOutcome.NOT_SENT)
        if request.effect is Effect.CREATE:
            platform.bodies[request.body] += 1
        if fate in {"request lost", "timeout"}:
            raise _lost(fate)
        if fate == "503":
            return build_response(b"{}", 503)
        if fate == "refused":
            platform.note_end(request)
            return build_response(b"{}", 403)
        older = [*platform.answers]
        response = platform.handle(request)
        if fate == "503 after it was done":
            return build_response(b"{}", 503)
        later = await self.process.stop(f"answer {request.operation}")
        return self._receive(request, response, older, {fate, later})

    def _receive(
        self, request: Request, response: Response, older: list[str], fates: set[str]
    ) -> Response:
        platform = self.process.world.platform
        for lost in ("timeout", "answer lost"):
            if lost in fates:
                raise _lost(lost)
        platform.note_end(request)
        if "answer cut" in fates:  # the received part has the order id
            raise ConnectionLostError("cut", body=response.body[:-20])
        is_create = request.effect is Effect.CREATE
        if "older answer" in fates and is_create and older:
            platform.swapped |= {older[-1], [*platform.answers][-1]}
            return build_response(wrap_data(platform.answers[older[-1]]))
        return response


def _lost(fate: str) -> AurpayError:
    if fate == "timeout":
        return RequestTimeoutError("no answer in time")
    return ConnectionLostError("reset")


@attrs.define
class ProcessClock:
    """The clock of a process; `sleep` waits at a gate."""

    process: Process

    def now(self) -> datetime:
        """Return the time of day, with the error of the machine's clock."""
        return self.process.world.now + self.process.skew

    def monotonic(self) -> float:
        """Return the seconds of the model."""
        return (self.process.world.now - START).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Wake up when the gate is opened, which may be later."""
        awake = self.process.world.now + timedelta(seconds=seconds)
        await self.process.stop("sleep")
        await self.process.world.advance_to(awake)


class MachineClock(ProcessClock, SystemClock):
    """The clock of a process on a database server with another clock."""


class Process:
    """One process of the shop: its client, its order store, its callback route."""

    def __init__(self, world: World, name: str, skew: timedelta) -> None:
        """Start; `World.start` makes it ready."""
        self.world = world
        self.name = name
        self.skew = skew
        self.is_dead = False
        #: Before that, the process stops at no gate.
        self.is_ready = False
        #: Steps until the process crashes, or loses its database.
        self.dies_in: int | None = None
        self.loses_database_in: int | None = None
        self.clock = world.clock(self)
        self.client = AurpayClient(
            network="regtest",
            reference_key=REFERENCE_KEY,
            transport=Network(self),
            clock=self.clock,
            retry=RetryPolicy(max_attempts=2),
        )
        self.engine = world.create_engine()
        self._watch(self.engine.sync_engine)
        self.store = OrderStore(self.client, self.engine)
        self.processor = CallbackProcessor(
            CallbackVerifier(
                secrets=[CALLBACK_SECRET],
                reference_key=REFERENCE_KEY,
                clock=self.clock,
            ),
            self._notified,
            reader=self.client,
            lookup=self.store.lookup,
            inbox=SqlInbox(self.engine, clock=self.clock),
            clock=self.clock,
        )

    async def open(self, reference: str) -> None:
        """Create an order, or return it, for a payer."""
        shown = await self.store.get_or_create(reference, PRICE, CURRENCY, **URLS)
        self.world.show(reference, shown)

    async def reconcile(self) -> None:
        """Poll the orders that are due."""
        while (await self.store.reconcile(on_change=self._deliver)).more:
            pass

    async def receive(self, url: str) -> None:
        """Handle a callback; the platform sends it again until it gets a 200."""
        headers = sign_callback(url, secret=CALLBACK_SECRET, now=self.clock.now())
        reply = await self.processor.process(method="GET", url=url, headers=headers)
        callbacks = self.world.platform.callbacks
        if reply.status == 200 and url in callbacks:
            callbacks.remove(url)

    async def _notified(self, notification: Notification) -> None:
        async with self.engine.begin() as connection:
            change = await self.store.record(notification, connection=connection)
            await self._deliver(change, connection)
            await notification.ack(connection)

    async def _deliver(self, change: Change, connection: AsyncConnection) -> None:
        if change.newly_paid:
            row = shipments.insert().values(reference=change.reference)
            await connection.execute(row)

    async def stop(self, what: str) -> str:
        """Wait at a gate, and return the fate that the test chooses."""
        self._passes()
        if not self.is_ready:
            return FATES[0]
        opened: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        gate = Gate(self, what, self.world.now, opened)
        self.world.gates.append(gate)
        try:
            return await opened
        finally:
            self.world.gates.remove(gate)

    def _passes(self) -> None:
        """Crash at this point, if it is time."""
        if self.dies_in is not None:
            self.dies_in -= 1
            if self.dies_in <= 0:
                self.world.kill(self)
        if self.is_dead:
            raise Crashed

    def _passes_database(self) -> None:
        self._passes()
        if self.loses_database_in is not None:
            self.loses_database_in -= 1
            if self.loses_database_in <= 0:
                self.loses_database_in = None
                raise ConnectionResetError("the database went away")

    def _watch(self, engine: Any) -> None:
        @event.listens_for(engine, "begin")
        def begin(_: object) -> None:
            self.world.busy -= 1
            try:
                await_only(self.stop("transaction"))
            finally:
                self.world.busy += 1

        @event.listens_for(engine, "before_cursor_execute")
        @event.listens_for(engine, "after_cursor_execute")
        def executes(*_: object) -> None:
            self._passes_database()

        commit = engine.dialect.do_commit

        def do_commit(connection: object) -> None:
            self._passes_database()
            commit(connection)
            self.world.forget_rows()
            self._passes_database()

        engine.dialect.do_commit = do_commit


@attrs.define(eq=False)
class Work:
    """A task of a process."""

    process: Process
    what: str
    task: asyncio.Task[None]


class World:
    """The clocks, gates, processes and orders shown to payers."""

    def __init__(self, url: str, skews: Sequence[int] = (0, 0)) -> None:
        """Begin with empty tables.

        Args:
            url: A database that has the tables.
            skews: The error of each process's clock, in seconds.
        """
        self.now = START
        self.gates: list[Gate] = []
        self.work: list[Work] = []
        self.platform = Platform(self)
        #: The orders that payers saw, by reference.
        self.shown: dict[str, list[str]] = {}
        self.problems: list[str] = []
        #: The number of database steps under way.
        self.busy = 0
        self._url = sa.make_url(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        #: The largest difference between the clocks of the processes.
        self.skew_s = max(map(abs, skews)) if self.is_sqlite else 0
        self.clock = ProcessClock if self.is_sqlite else MachineClock
        self._seen: dict[sa.Table, Sequence[Any]] = {}
        self._engines: list[AsyncEngine] = []
        # Not uvloop's: its queue of callbacks cannot be inspected.
        self._loop: Any = asyncio.SelectorEventLoop()
        self._patched = self._patch()
        self._observer = self.create_engine()
        self.run(self._prepare())
        self.processes = [
            self.start(f"process {number}", timedelta(seconds=skew))
            for number, skew in enumerate(skews)
        ]

    def create_engine(self) -> AsyncEngine:
        """Create an engine; on SQLite it uses the event loop instead of a thread."""
        if not self.is_sqlite:
            settings = {"search_path": "model, public, pg_catalog"}
            options: dict[str, Any] = {"connect_args": {"server_settings": settings}}
        else:
            options = {"async_creator": self._connect_here}
        engine = create_async_engine(self._url, **options)
        self._engines.append(engine)
        return engine

    async def _connect_here(self) -> Any:
        # Transactions are not interleaved, so no process waits for the lock of another.
        connection: Any = aiosqlite.connect(self._url.database or "", timeout=0)
        connection._tx = _Here()
        connected = await connection._connect()
        await connected.execute("PRAGMA synchronous=OFF")
        return connected

    async def _prepare(self) -> None:
        async with self._observer.begin() as connection:
            await connection.run_sync(shipments.metadata.create_all)
            for table in (*reversed(OrderStore.metadata.sorted_tables), shipments):
                await connection.execute(table.delete())
            if not self.is_sqlite:
                for statement in (*FAKE_TIME, "DELETE FROM model.time"):
                    await connection.execute(sa.text(statement))
                first = sa.text("INSERT INTO model.time VALUES (:now)")
                await connection.execute(first, {"now": self.now})

    def start(self, name: str, skew: timedelta) -> Process:
        """Start a process."""
        process = Process(self, name, skew)
        self.run(process.store.attempts("none"))
        process.is_ready = True
        return process

    def kill(self, process: Process) -> None:
        """Crash a process; another one takes its place."""
        process.is_dead = True
        for gate in self.gates:
            if gate.process is process and not gate.opened.done():
                gate.opened.set_exception(Crashed())

    def begin(
        self, process: Process, what: str, work: Coroutine[Any, Any, None]
    ) -> Work:
        """Start a task of a process, and run it up to the first gate."""
        begun = Work(process, what, self._loop.create_task(_ends(work)))
        self.work.append(begun)
        self.settle()
        return begun

    def settle(self) -> None:
        """Run until each process has ended its tasks, or waits at a gate."""
        self.run(self._settled())
        for ended in [one for one in self.work if one.task.done()]:
            self.work.remove(ended)
            if not ended.task.cancelled():
                ended.task.result()
        for number, process in enumerate(self.processes):
            if process.is_dead:
                self.processes[number] = self.start(process.name, process.skew)

    async def _settled(self) -> None:
        while True:
            await asyncio.sleep(0)
            if self.busy:
                await asyncio.sleep(0.0001)
            elif not self._loop._ready:
                return

    def open_gate(self, gate: Gate, fate: str = FATES[0]) -> None:
        """Let a process continue; `fate` is for a request or an answer."""
        if not gate.opened.done():
            gate.opened.set_result(fate)
        self.settle()

    def finish(self, work: Work | None = None, fate: str = FATES[0]) -> None:
        """Open gates until a task ends, or all do; its first request has `fate`.

        For one task, only the gates of its process are opened.
        """
        for _ in range(MOST_GATES):
            gate = self._next_gate(None if work is None else work.process)
            if gate is None or (work is not None and work.task.done()):
                return
            if gate.what == "sleep":  # No other task can continue, so more time passes.
                self.advance(ATTEMPT_S)
            if gate in self.gates:
                self.open_gate(gate, fate if gate.is_network else FATES[0])
                fate = FATES[0] if gate.is_network else fate
        self.problems.append(f"no end of {[gate.what for gate in self.gates]}")

    def _next_gate(self, process: Process | None) -> Gate | None:
        found = [g for g in self.gates if process is None or g.process is process]
        awake = [gate for gate in found if gate.what != "sleep"]
        return next(iter(awake or found), None)

    def advance(self, seconds: float, *, arrives: bool = False) -> None:
        """Let time pass; requests without an answer in time time out.

        Args:
            seconds: The time that passes.
            arrives: Deliver the requests that are on their way first.
        """
        then = self.now + timedelta(seconds=seconds)
        for gate in self._overdue_gates(then) if arrives else []:
            self.open_gate(gate)  # The request arrives now.
        self.run(self.advance_to(then))
        for gate in self._overdue_gates(then):
            self.open_gate(gate, "timeout")

    def _overdue_gates(self, moment: datetime) -> list[Gate]:
        limit = timedelta(seconds=ATTEMPT_S)
        waiting = [gate for gate in self.gates if gate.is_network]
        return [gate for gate in waiting if moment - gate.since >= limit]

    async def advance_to(self, moment: datetime) -> None:
        """Set the time, the database's included; it never goes back."""
        self.now = max(self.now, moment)
        self.platform.grow_older()
        if not self.is_sqlite:
            async with self._observer.begin() as connection:
                later = sa.text("UPDATE model.time SET now = :now")
                await connection.execute(later, {"now": self.now})

    def show(self, reference: str, shown: LightningOrder) -> None:
        """Record the order that a payer sees; no other order may be payable by then."""
        ours = self.shown.setdefault(reference, [])
        if shown.order_id not in ours:
            ours.append(shown.order_id)
        payable = [order_id for order_id in ours if self.platform.is_shown(order_id)]
        if len(payable) > 1 and not self.skew_s:
            self.problems.append(f"{reference} has two payable orders: {payable}")

    def rows(self, table: sa.Table) -> Sequence[Any]:
        """Return the rows of a table, read from outside the model."""
        if table not in self._seen:
            self._seen[table] = self.run(self._rows(table))
        return self._seen[table]

    async def _rows(self, table: sa.Table) -> Sequence[Any]:
        async with self._observer.connect() as connection:
            return (await connection.execute(sa.select(table))).all()

    def forget_rows(self) -> None:
        """Drop the cached rows after a commit."""
        self._seen.clear()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine to its end."""
        result: _T = self._loop.run_until_complete(work)
        return result

    def close(self) -> None:
        """End all processes."""
        for process in self.processes:
            self.kill(process)
        self.run(self._closed())
        self._loop.close()
        self._patched.close()

    async def _closed(self) -> None:
        await self._settled()
        for engine in self._engines:
            await engine.dispose()

    def _patch(self) -> ExitStack:
        """Count the database steps, and make each run deterministic."""

        async def counted(*arguments: Any, **options: Any) -> Any:
            self.busy += 1
            try:
                return await greenlet_spawn(*arguments, **options)
            finally:
                self.busy -= 1

        random_bytes = Random(0).randbytes  # noqa: S311 - they guard nothing
        patched = ExitStack()
        for patch in (
            mock.patch("sqlalchemy.ext.asyncio.engine.greenlet_spawn", counted),
            mock.patch("os.urandom", random_bytes),
            mock.patch("random._urandom", random_bytes),  # of the module secrets
            mock.patch("asyncio.to_thread", _in_this_thread),
        ):
            patched.enter_context(patch)
        return patched


async def _ends(work: Coroutine[Any, Any, None]) -> None:
    # The caller may retry later.
    with suppress(AurpayError, OSError, Crashed):
        await work


async def _in_this_thread(work: Callable[..., _T], *arguments: Any) -> _T:
    return work(*arguments)


class _Here:
    """A replacement for the thread queue of an `aiosqlite` connection."""

    def put_nowait(self, step: tuple[asyncio.Future[Any], Callable[[], Any]]) -> None:
        """Run it in this thread, at once."""
        future, function = step
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 - the caller awaits it
            future.set_exception(error)
        else:
            future.set_result(result)
