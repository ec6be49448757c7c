"""Break the rules of the order store one at a time, and see the model find each fault.

Run it with ``python -m tests.order_store.mutants``, from the root of the repository;
with names of mutants as arguments, it tries those. It prints which of the tests with
written-out steps fail, and after how many examples and seconds the random search finds
a fault, and in which rule. The written-out tests run in the default suite, and find
each of these; the random search found

================== ==================================================
send_again         after 6 examples: no_body_arrives_twice
skip_search        after 6 examples: no order without a search before
take_the_first     after 91 examples: each_attempt_has_its_own_order
find_nothing       after 109 examples: a payment is unfound
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
from tests.order_store import test_model
from tests.order_store.conftest import make_tables
from tests.order_store.test_model import Shop

if TYPE_CHECKING:
    from collections.abc import Callable

    from aurpay_async import Effect

#: More examples than any of these needs; what is found is not made simpler.
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

    return mock.patch("aurpay_async._client.retry.is_retryable", wrong)


def skip_search() -> Any:
    """After an unknown outcome, the next call creates another order at once."""
    right = _planner.decide

    def wrong(entry: Any, new: Any, *rest: Any) -> Any:
        step = right(entry, new, *rest)
        is_search = step.do is _planner.Action.SEARCH
        return _planner.Step(_planner.Action.CREATE, new) if is_search else step

    return mock.patch.object(_creation, "decide", wrong)


def find_nothing() -> Any:
    """A search for a lost order comes to nothing."""
    right = _reconcile.search

    async def wrong(*arguments: Any) -> Any:
        return (await right(*arguments))._replace(orders=(), is_unique=False)

    patched = ExitStack()
    for module in (_creation, _reconcile, _reconcile):
        patched.enter_context(mock.patch.object(module, "search", wrong))
    return patched


def take_the_first() -> Any:
    """A callback is settled by a search that has found several orders."""
    right = _reconcile.Findings.order_of

    def wrong(self: Any, attempt: Any, kind: Any) -> Any:
        return right(self._replace(is_unique=True), attempt, kind)

    return mock.patch.object(_reconcile.Findings, "order_of", wrong)


def expire_by_clock() -> Any:
    """An order expires for good because a clock says so, whatever the platform says."""
    right = _models.wanted

    def wrong(status: Any, *, settled: bool, over: bool) -> Any:
        to = right(status, settled=settled, over=over)
        return (AttemptState.EXPIRED, *to) if over and not status.is_paid else to

    patched = ExitStack()
    patched.enter_context(mock.patch.object(_recording, "wanted", wrong))
    patched.enter_context(mock.patch.object(_repository, "REVOCABLE", ()))
    return patched


def drop_unique_keys() -> Any:
    """An order, and a payment hash, may be that of several attempts."""

    async def wrong(*_: object) -> bool:
        return False

    patched = ExitStack()
    for name in ("is_taken", "is_seen"):
        patched.enter_context(mock.patch.object(_repository.Rows, name, wrong))
    return patched


def show_in_any_case() -> Any:
    """An order whose answer was late is shown beside the one that took its place."""
    return mock.patch.object(
        _planner.ReferenceRecord, "has_room_for", return_value=True
    )


def settle_twice() -> Any:
    """A payment of a reference that is settled settles it once more."""
    right = _models.wanted

    def wrong(status: Any, *, settled: bool, over: bool) -> Any:
        del settled
        return right(status, settled=False, over=over)

    return mock.patch.object(_recording, "wanted", wrong)


def forget_late_payments() -> Any:
    """An order is not asked about any more when it is overdue."""
    done = _planner._DONE | {AttemptState.OVERDUE}
    return mock.patch.object(_planner, "_DONE", done)


#: Each mutant, and the index that the database has against it.
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
    """Counts its examples."""

    started = 0

    def __init__(self) -> None:
        """Begin another one."""
        super().__init__()
        type(self).started += 1


def hunt(mutant: Callable[[], Any], indexes: tuple[str, ...], folder: str) -> str:
    """Let the model look for what a mutant breaks."""
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
    """What Hypothesis finds, and after how long."""
    began, found = time.monotonic(), "nothing"
    try:
        run_state_machine_as_test(machine, settings=BUDGET)
    except Exception as error:  # noqa: BLE001 - whatever the fault leads to
        rule = traceback.extract_tb(error.__traceback__)[-1].name
        found = f"{rule} {str(error)[:50]}".strip()
    seconds = time.monotonic() - began
    return f"{machine.started} examples, {seconds:.0f} s, {found}"


def written_out(machine: Any) -> list[str]:
    """The tests of written-out steps that fail."""
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
    """Hunt them all, or those that are named."""
    logging.disable()
    with TemporaryDirectory() as folder:
        for mutant, indexes in MUTANTS.items():
            if not names or mutant.__name__ in names:
                came = hunt(mutant, indexes, folder)
                sys.stdout.write(f"{mutant.__name__}: {mutant.__doc__} {came}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
