"""Break the rules of the order store one at a time; the model must find each fault.

Run it with ``python -m tests.orders.mutants``, from the root of the repository;
with names of mutants as arguments, it tries those. It prints which of the tests with
written-out steps fail, and after how many examples and seconds the random search finds
a fault, and in which rule. The written-out tests run in the default suite, and find
each of these; the random search found

================== ==================================================
send_again         after 6 examples: no_body_arrives_twice
skip_search        after 6 examples: no order without a search before
take_the_first     after 91 examples: each_attempt_has_its_own_order
find_nothing       after 109 examples: a payment is not found
the others         not within 500 examples, or not tried for longer
================== ==================================================
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import attrs
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from aurpay_async._client import retry
from aurpay_async.errors import RequestOutcome
from aurpay_async.orders import (
    AttemptState,
    _creation,
    _models,
    _planner,
    _reconcile,
    _recording,
    _repository,
)

from . import test_model
from .conftest import make_tables
from .test_model import Shop

if TYPE_CHECKING:
    from collections.abc import Callable

    from aurpay_async import Effect

#: More examples than any mutant needs; failures are not shrunk.
BUDGET: Final = settings(
    max_examples=1500,
    stateful_step_count=30,
    phases=[Phase.generate],
    suppress_health_check=[*HealthCheck],
    derandomize=True,
    database=None,
    deadline=None,
)


def send_again() -> Any:
    """A create of unknown outcome is sent again."""
    right = retry.is_retryable

    def wrong(error: Any, effect: Effect) -> bool:
        return right(error, effect) or error.outcome is RequestOutcome.UNKNOWN

    return mock.patch("aurpay_async._client.transport.is_retryable", wrong)


def skip_search() -> Any:
    """After an unknown outcome, the next call creates another order at once."""
    right = _planner.decide

    def wrong(*arguments: Any) -> Any:
        step = right(*arguments)
        is_search = step is not None and step.do is _planner.Action.SEARCH
        return None if is_search else step

    return mock.patch.object(_creation, "decide", wrong)


def find_nothing() -> Any:
    """A search for a lost order returns no order."""
    right = _reconcile.search

    async def wrong(*arguments: Any) -> Any:
        return (await right(*arguments))._replace(orders=(), is_unique=False)

    patched = ExitStack()
    for module in (_creation, _reconcile):
        patched.enter_context(mock.patch.object(module, "search", wrong))
    return patched


def take_the_first() -> Any:
    """A callback is matched although the search has found several orders."""
    right = _reconcile.SearchResult.order_of

    def wrong(self: Any, attempt: Any, kind: Any) -> Any:
        return right(self._replace(is_unique=True), attempt, kind)

    return mock.patch.object(_reconcile.SearchResult, "order_of", wrong)


def expire_by_clock() -> Any:
    """A clock expires an order for good, without Aurpay's status."""
    right = _models.states_for

    def wrong(status: Any, *, paid_by_other: bool, expired: bool) -> Any:
        to = right(status, paid_by_other=paid_by_other, expired=expired)
        return (AttemptState.EXPIRED, *to) if expired and not status.is_paid else to

    patched = ExitStack()
    patched.enter_context(mock.patch.object(_recording, "states_for", wrong))
    patched.enter_context(mock.patch.object(_repository, "REVOCABLE", ()))
    return patched


def drop_unique_keys() -> Any:
    """Several attempts can have the same order or payment hash."""
    right = _repository.Rows.lock

    async def wrong(*arguments: Any) -> Any:
        return attrs.evolve(
            await right(*arguments), is_order_taken=False, is_payment_hash_taken=False
        )

    return mock.patch.object(_repository.Rows, "lock", wrong)


def show_in_any_case() -> Any:
    """An order with a late answer is shown beside the order that replaced it."""
    return mock.patch.object(
        _planner.ReferenceRecord, "allows_payable", return_value=True
    )


def settle_twice() -> Any:
    """A second payment makes a paid reference newly paid again."""
    right = _models.states_for

    def wrong(status: Any, *, paid_by_other: bool, expired: bool) -> Any:
        del paid_by_other
        return right(status, paid_by_other=False, expired=expired)

    return mock.patch.object(_recording, "states_for", wrong)


def forget_late_payments() -> Any:
    """An overdue order is not polled any more."""
    done = _planner.DONE | {AttemptState.OVERDUE}
    return mock.patch.object(_planner, "DONE", done)


#: Each mutant, and the database indexes that prevent it.
MUTANTS: Final[dict[Callable[[], Any], tuple[str, ...]]] = {
    send_again: (),
    skip_search: (),
    find_nothing: (),
    take_the_first: (),
    expire_by_clock: (),
    drop_unique_keys: ("aurpay_attempts_order_id", "aurpay_attempts_payment_hash"),
    show_in_any_case: ("aurpay_attempts_one_active",),
    settle_twice: (),
    forget_late_payments: (),
}


class Counted(Shop):
    """A shop that counts its examples."""

    started = 0

    def __init__(self) -> None:
        """Count one more example."""
        super().__init__()
        type(self).started += 1


def hunt(mutant: Callable[[], Any], indexes: tuple[str, ...], folder: str) -> str:
    """Let the model search for the fault of a mutant."""
    path = Path(folder) / f"{mutant.__name__}.db"
    make_tables(f"sqlite+aiosqlite:///{path}")
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        for index in indexes:
            connection.execute(sa.text(f"DROP INDEX {index}"))
    engine.dispose()
    machine: Any = type("Shop", (Counted,), {"url": f"sqlite+aiosqlite:///{path}"})
    with mutant():
        tests = ", ".join(written_out(machine)) or "no test"
        return f"fails {tests}; {search(machine)}"


def search(machine: Any) -> str:
    """Return the fault that Hypothesis finds, and after how long."""
    began, found = time.monotonic(), "nothing"
    try:
        run_state_machine_as_test(machine, settings=BUDGET)
    except Exception as error:  # noqa: BLE001 - the fault can raise any error
        rule = traceback.extract_tb(error.__traceback__)[-1].name
        found = f"{rule} {str(error)[:50]}".strip()
    seconds = time.monotonic() - began
    return f"{machine.started} examples, {seconds:.0f} s, {found}"


def written_out(machine: Any) -> list[str]:
    """Return the tests with written-out steps that fail."""
    failed = []
    for name, test in vars(test_model).items():
        if not name.startswith("test_") or "holds_on" in name:
            continue
        shops: list[Shop] = []

        def start(skew: int, shops: list[Shop] = shops) -> Shop:
            shops.append(machine())
            shops[-1].start(skew)
            return shops[-1]

        try:
            test(start)
        except AssertionError:
            failed.append(name)
        for shop in shops:
            shop.world.close()
    return failed


def main(names: list[str]) -> None:
    """Try all mutants, or those named."""
    logging.disable()
    with TemporaryDirectory() as folder:
        for mutant, indexes in MUTANTS.items():
            if not names or mutant.__name__ in names:
                result = hunt(mutant, indexes, folder)
                sys.stdout.write(f"{mutant.__name__}: {mutant.__doc__} {result}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
