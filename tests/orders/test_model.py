"""A model of the order store: many processes, one platform, any order of events.

Hypothesis chooses what happens (calls, callbacks, payments, lost and late answers,
crashes, lost databases, time), and these must hold after each step:

* after an unknown outcome, the list is read before another order is created;
* no body of a request that creates an order arrives twice;
* no reference has two payable orders that payers were shown;
* each reference is fulfilled once at most;
* no order, and no payment hash, belongs to two references;
* an attempt has the order that was created for it, and no other.

In the end, when the platform works and reconciliation has run for long enough, each
paid order is recorded as paid, as a duplicate payment, or needs review.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from aurpay_async import bolt11
from aurpay_async._db.tables import attempts

from ..conftest import examples
from .conftest import make_tables
from .model import FATES, World, shipments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .model import Work

CARTS = st.sampled_from(["cart-1", "cart-2"])
PROCESSES = st.integers(0, 1)
#: An index, taken modulo the number of items.
WHICH = st.integers(0, 3)
POINTS = st.integers(1, 25)
SECONDS = st.sampled_from([1, 20, 61, 130, 601, 1801, 7200, 22_000])
#: The errors of one clock: some minutes, and more than a day.
SKEWS = st.sampled_from([0, 0, 240, -240, 600, -600, 93_600])
#: The pauses of reconciliation in the end: longer than the life of an invoice.
IN_THE_END = (130, 900, 3700, 7200, 22_000, 93_600)

#: The largest difference between the clocks of a process and of Aurpay with which the
#: search by creation time works.
SEARCH_SKEW_S = 300

RECORDED = {"paid", "duplicate", "refunded"}


class Shop(RuleBasedStateMachine):
    """A shop of two processes and two carts of the same price, and its events."""

    #: The URL of a database with the tables; set by each test.
    url = ""
    world: World

    @initialize(skew=SKEWS)
    def start(self, skew: int) -> None:
        """Start two processes; the clock of one may be wrong."""
        self.world = World(self.url, [0, skew])

    @rule(who=PROCESSES, cart=CARTS, fate=st.sampled_from(FATES))
    def open_order(self, who: int, cart: str, fate: str) -> None:
        """Create an order, and continue until the payer has an answer."""
        self.world.finish(self._begin_to_open(who, cart), fate)

    @rule(who=PROCESSES, cart=CARTS)
    def begin_to_open_order(self, who: int, cart: str) -> None:
        """Create an order, up to the first gate."""
        self._begin_to_open(who, cart)

    def _begin_to_open(self, who: int, cart: str) -> Work:
        process = self.world.processes[who]
        return self.world.begin(process, f"open {cart}", process.open(cart))

    @rule(who=PROCESSES)
    def reconcile(self, who: int) -> None:
        """Poll all orders that are due."""
        self.world.finish(self._begin_to_reconcile(who))

    @rule(who=PROCESSES)
    def begin_to_reconcile(self, who: int) -> None:
        """Poll, up to the first gate."""
        self._begin_to_reconcile(who)

    def _begin_to_reconcile(self, who: int) -> Work:
        process = self.world.processes[who]
        return self.world.begin(process, "reconcile", process.reconcile())

    @precondition(lambda self: self.world.platform.callbacks)
    @rule(who=PROCESSES, which=WHICH)
    def receive_callback(self, who: int, which: int) -> None:
        """Handle one of the callbacks that are on their way."""
        self.world.finish(self._begin_to_receive(who, which))

    @precondition(lambda self: self.world.platform.callbacks)
    @rule(who=PROCESSES, which=WHICH)
    def begin_to_receive_callback(self, who: int, which: int) -> None:
        """Handle a callback up to the first gate; Aurpay may repeat it meanwhile."""
        self._begin_to_receive(who, which)

    def _begin_to_receive(self, who: int, which: int) -> Work:
        callbacks = self.world.platform.callbacks
        url = callbacks[which % len(callbacks)]
        process = self.world.processes[who]
        return self.world.begin(process, "callback", process.receive(url))

    @precondition(lambda self: self.world.platform.callbacks)
    @rule(which=WHICH)
    def lose_callback(self, which: int) -> None:
        """The platform stops sending a callback."""
        callbacks = self.world.platform.callbacks
        del callbacks[which % len(callbacks)]

    @precondition(lambda self: self.world.gates)
    @rule(which=WHICH, fate=st.sampled_from(FATES))
    def go_on(self, which: int, fate: str) -> None:
        """Open one gate."""
        gates = self.world.gates
        self.world.open_gate(gates[which % len(gates)], fate)

    @precondition(lambda self: self.world.work)
    @rule()
    def finish_all(self) -> None:
        """Open gates until there is none."""
        self.world.finish()

    @precondition(lambda self: self.world.work)
    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        """A caller is cancelled."""
        work = self.world.work
        work[which % len(work)].task.cancel()
        self.world.settle()

    @rule(who=PROCESSES, after=POINTS)
    def crash(self, who: int, after: int) -> None:
        """A process crashes at a gate, a statement or a commit to come."""
        self.world.processes[who].dies_in = after

    @rule(who=PROCESSES)
    def crash_at_gates(self, who: int) -> None:
        """A process crashes at the gates where it waits."""
        self.world.kill(self.world.processes[who])
        self.world.settle()

    @rule(who=PROCESSES, after=POINTS)
    def lose_database(self, who: int, after: int) -> None:
        """A statement or a commit to come fails, before or after it is done."""
        self.world.processes[who].loses_database_in = after

    @precondition(lambda self: self.world.platform.orders)
    @rule(which=WHICH)
    def pay(self, which: int) -> None:
        """A payer pays an order."""
        self.world.platform.pay(self._order(which))

    @precondition(lambda self: self.world.platform.orders)
    @rule(which=WHICH)
    def refund(self, which: int) -> None:
        """The merchant refunds an order."""
        self.world.platform.refund(self._order(which))

    @precondition(lambda self: self.world.platform.orders)
    @rule(which=WHICH)
    def hide_from_list(self, which: int) -> None:
        """The list lacks an order for some minutes."""
        self.world.platform.hidden.add(self._order(which))
        self.world.platform.grow_older()

    @rule()
    def create_in_dashboard(self) -> None:
        """The merchant creates an order of the same price by hand."""
        self.world.platform.create({})

    @rule(seconds=SECONDS, arrives=st.booleans())
    def let_time_pass(self, seconds: int, arrives: bool) -> None:
        """Orders and invoices time out, and so do requests."""
        self.world.advance(seconds, arrives=arrives)

    def _order(self, which: int) -> str:
        order_ids = [*reversed(self.world.platform.orders)]
        return order_ids[which % len(order_ids)]

    @invariant()
    def no_reference_has_two_payable_orders(self) -> None:
        """Each create follows a search, and each task ends."""
        assert self.world.problems == []

    @invariant()
    def no_body_arrives_twice(self) -> None:
        """The platform gets each create request once at most."""
        bodies = self.world.platform.bodies
        assert [body for body, times in bodies.items() if times > 1] == []

    @invariant()
    def no_reference_is_fulfilled_twice(self) -> None:
        """Callbacks and reconciliation together fulfil a reference once."""
        counted = Counter(row.reference for row in self.world.rows(shipments))
        assert [one for one, times in counted.items() if times > 1] == []

    @invariant()
    def no_order_belongs_to_two_references(self) -> None:
        """No payment hash does either."""
        shown = [i for ids in self.world.shown.values() for i in ids]
        assert len(shown) == len({*shown})
        stored = [
            json.loads(row.order_json) for row in self._attempts() if row.order_json
        ]
        hashes = [bolt11.decode(one["payment_request"]).payment_hash for one in stored]
        assert len(hashes) == len({*hashes})

    @invariant()
    def each_attempt_has_its_own_order(self) -> None:
        """The exception is an answer to another request that looks the same."""
        platform = self.world.platform
        for row in self._attempts():
            if row.order_id is not None and row.order_id not in platform.swapped:
                assert platform.attempt_id(row.order_id) == row.attempt_id

    def _attempts(self) -> Sequence[Any]:
        return self.world.rows(attempts)

    def teardown(self) -> None:
        """Stop all faults; then each payment must be recorded."""
        try:
            self.end_well()
        finally:
            self.world.close()

    def end_well(self) -> None:
        """Reconcile until no invoice can be paid any more, and check the payments."""
        world = self.world
        for process in world.processes:
            process.dies_in = process.loses_database_in = None
        world.finish()
        for seconds in IN_THE_END:
            world.advance(seconds)
            self.reconcile(0)
        for name in INVARIANTS:
            getattr(self, name)()
        rows = self._attempts()
        known = {row.order_id for row in rows if row.state in RECORDED}
        known |= {
            order_id for row in rows for order_id in json.loads(row.candidates or "{}")
        }
        reported = {row.attempt_id for row in rows if row.state == "payment_reported"}
        for order_id in self._ours() - known:
            if world.platform.status(order_id) == "SUCCESS":
                assert world.platform.attempt_id(order_id) in reported, (
                    "a payment is unfound"
                )

    def _ours(self) -> set[str]:
        """Return the orders with payments that must be found."""
        shown = {order_id for ids in self.world.shown.values() for order_id in ids}
        if self.world.skew_s > SEARCH_SKEW_S:  # no creation time fits a lost order
            return shown
        return self.world.platform.answers.keys() - self.world.platform.swapped


INVARIANTS = [
    "no_reference_has_two_payable_orders",
    "no_body_arrives_twice",
    "no_reference_is_fulfilled_twice",
    "no_order_belongs_to_two_references",
    "each_attempt_has_its_own_order",
]


def run_shop(url: str, examples_: settings) -> None:
    """Let Hypothesis search for a sequence that breaks a rule."""
    run_state_machine_as_test(
        type("Shop", (Shop,), {"url": url}),
        settings=settings(examples_, stateful_step_count=30),
    )


@pytest.mark.slow
@pytest.mark.hypothesis
def test_model_of_the_order_store_holds_on_sqlite(sqlite_url: str) -> None:
    """The budget is small; `nox -s properties` has a larger one."""
    run_shop(sqlite_url, examples(12))


@pytest.mark.slow
@pytest.mark.hypothesis
def test_model_of_the_order_store_holds_on_postgresql(postgresql_url: str) -> None:
    """The clocks differ from the database's."""
    make_tables(postgresql_url)
    run_shop(postgresql_url, examples(25))


@pytest.fixture
def shop(sqlite_url: str) -> Iterator[Callable[[int], Shop]]:
    """Start the model, for tests with written-out steps."""
    started: list[Shop] = []

    def start(skew: int) -> Shop:
        machine: Shop = type("Shop", (Shop,), {"url": sqlite_url})()
        machine.start(skew)
        started.append(machine)
        return machine

    yield start
    for machine in started:
        machine.world.close()


def states(shop: Shop) -> list[str]:
    """Return the states of all attempts, those of the first cart first."""
    rows = sorted(shop._attempts(), key=lambda row: (row.reference, row.created_at))
    return [row.state for row in rows]


def test_lost_order_is_found_after_the_search_saw_another_order(
    shop: Callable[[int], Shop],
) -> None:
    """At first the list had only another order of the same price."""
    model = shop(0)
    model.create_in_dashboard()
    model.open_order(0, "cart-1", "answer lost")
    lost = model._order(0)
    model.hide_from_list(0)
    model.open_order(0, "cart-1", "answered")
    for _ in range(3):
        model.let_time_pass(601, arrives=False)
        model.reconcile(0)
    model.world.platform.pay(lost)
    model.lose_callback(0)
    model.end_well()
    assert states(model) == ["candidates_found", "expired"]


@pytest.mark.slow
def test_callbacks_of_two_lost_orders_of_one_price_both_need_review(
    shop: Callable[[int], Shop],
) -> None:
    """One order was refunded meanwhile, so a single paid order fits both."""
    model = shop(0)
    for cart in ("cart-1", "cart-2"):
        model.open_order(0, cart, "answer lost")
    model.pay(0)
    model.pay(1)
    model.refund(1)
    model.receive_callback(0, 1)
    model.receive_callback(0, 0)
    model.end_well()
    assert states(model) == ["payment_reported", "payment_reported"]


def test_machine_that_is_a_day_ahead_expires_no_order(
    shop: Callable[[int], Shop],
) -> None:
    """Its reconciliation polls Aurpay, which has the order as payable."""
    model = shop(93_600)
    model.open_order(0, "cart-1", "answered")
    model.let_time_pass(130, arrives=False)
    model.reconcile(1)
    model.pay(0)
    model.lose_callback(0)
    model.end_well()
    assert states(model) == ["paid"]


def test_answer_for_another_process_is_shown_for_no_second_reference(
    shop: Callable[[int], Shop],
) -> None:
    """A proxy gives one process the answer to another one's request."""
    model = shop(0)
    model.open_order(0, "cart-1", "answered")
    model.open_order(1, "cart-2", "older answer")
    model.no_order_belongs_to_two_references()
    assert [*model.world.shown] == ["cart-1"]


def test_answer_that_is_stored_late_is_not_shown_beside_a_newer_order(
    shop: Callable[[int], Shop],
) -> None:
    """The process stopped between the answer and its transaction."""
    model = shop(0)
    model.begin_to_open_order(0, "cart-1")
    [gate] = model.world.gates
    while gate.what != "transaction" or not model.world.platform.orders:
        model.go_on(0, "answered")
        [gate] = model.world.gates
    model.let_time_pass(130, arrives=False)
    model.open_order(1, "cart-1", "answered")
    model.finish_all()
    model.no_reference_has_two_payable_orders()
    assert states(model) == ["withheld", "payable"]


def test_second_payment_of_a_reference_is_not_fulfilled(
    shop: Callable[[int], Shop],
) -> None:
    """The first order was overdue when the second was shown; both are paid."""
    model = shop(0)
    for _ in range(2):
        model.open_order(0, "cart-1", "answered")
        model.let_time_pass(1801, arrives=False)
    model.pay(0)
    model.pay(1)
    model.end_well()
    assert sorted(states(model)) == ["duplicate", "paid"]
