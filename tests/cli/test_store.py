"""``aurpay store``: the orders in the merchant's database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from aurpay_async import ServerError
from aurpay_async._api.models import OrderStatus
from aurpay_async._cli.store import _MEANINGS, _attempt_rows, steps_for
from aurpay_async._db.tables import attempts
from aurpay_async.callbacks._identity import Claim
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.orders import AttemptState, OrderStore
from aurpay_async.orders._history import InboxRow
from aurpay_async.orders._store import _MIN_AGE, _MIN_PAID_AGE
from aurpay_async.testing import FakeClock

from ..orders.samples import NOW, attempt
from ..support.postgresql import postgresql, postgresql_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aurpay_async import LightningOrder
    from aurpay_async.sandbox import Sandbox

    from .conftest import Done, Run

pytestmark = pytest.mark.slow

__all__ = ["postgresql", "postgresql_url"]

KEY = "sandbox-reference-key"
ORDER = "20260101000000000001"


@pytest.fixture
async def store(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[OrderStore]:
    """The order store of the merchant's program, which AURPAY_DATABASE names."""
    url = f"sqlite+aiosqlite:///{tmp_path}/orders.db"
    monkeypatch.setenv("AURPAY_DATABASE", url)
    async with (
        sandbox.client(reference_key=KEY) as client,
        OrderStore(client, url) as store,
    ):
        yield store


async def run_store(aurpay: Run, *arguments: str, **options: Any) -> Done:
    return await asyncio.to_thread(aurpay, "store", *arguments, **options)


async def open_cart(store: OrderStore, number: int = 42) -> LightningOrder:
    return await store.get_or_create(f"cart-{number}", "20.00", "USD")


async def lose_answer(store: OrderStore, sandbox: Sandbox, number: int) -> str:
    """Create an order and lose the answer without the order's id; return that id."""
    sandbox.faults.push("503+created")
    with pytest.raises(ServerError):
        await open_cart(store, number)
    return [*sandbox.orders][-1]


async def test_store_show_prints_the_history_and_the_next_command(
    aurpay: Run, store: OrderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await open_cart(store)
    for name in ("AURPAY_API_KEY", "AURPAY_BASE_URL"):
        monkeypatch.delenv(name)  # it needs no secret
    done = await run_store(aurpay, "show", "cart-42")
    assert (done.code, done.err) == (0, "")
    [stored] = await store.attempts("cart-42")
    for seen in (
        "  Reference cart-42\n",
        "price     20.00 USD",
        "paid      no",
        f"  Attempt {stored.attempt_id}\n",
        "state          payable: the order is shown to the payer; not paid",
        f"order          {order.order_id}",
        "callback       none in the inbox",
        "if the payer has paid, query Aurpay now:",
        "$ aurpay store reconcile cart-42",
    ):
        assert seen in done.out
    for name in (order.order_id, stored.attempt_id, str(stored.payment_hash)):
        again = await run_store(aurpay, "show", name)
        assert again.out.splitlines()[:3] == done.out.splitlines()[:3]


async def test_store_show_and_list_say_which_row_is_damaged(
    aurpay: Run, store: OrderStore
) -> None:
    await open_cart(store)
    [stored] = await store.attempts("cart-42")
    async with store.engine.begin() as connection:
        await connection.execute(update(attempts).values(state="paused"))
    for arguments in (["show", "cart-42"], ["list"], ["reconcile", "cart-42"]):
        done = await run_store(aurpay, *arguments)
        assert done.code == 1
        assert (
            f"OrderStoreError (order_store): the row of attempt '{stored.attempt_id}' "
            "in aurpay_attempts, of reference 'cart-42', cannot be read: other code "
            "has changed its state"
        ) in " ".join(done.err.split())
        assert "write the values of a backup into the row" in done.err


async def test_store_show_prints_one_json_object_without_the_invoice(
    aurpay: Run, store: OrderStore
) -> None:
    order = await open_cart(store)
    done = await run_store(aurpay, "show", "cart-42", "-o", "json")
    record = done.record
    assert (record["type"], record["reference"]) == ("reference", "cart-42")
    assert (record["price"], record["paid_attempt_id"]) == ("20.00", None)
    [stored] = record["attempts"]
    assert (stored["state"], stored["order_id"]) == ("payable", order.order_id)
    assert stored["inbox"] is None
    assert record["steps"] == [
        {
            "advice": "if the payer has paid, query Aurpay now",
            "command": "aurpay store reconcile cart-42",
        }
    ]
    assert str(order.payment_request) not in done.out
    assert order.payment_request.payment_secret not in done.out


async def test_store_show_tells_which_callback_was_handled(
    aurpay: Run, sandbox: Sandbox, store: OrderStore
) -> None:
    order = await open_cart(store)
    [stored] = await store.attempts("cart-42")
    inbox = SqlInbox(store.engine)

    async def show() -> dict[str, Any]:
        done = await run_store(aurpay, "show", "cart-42", "-o", "json")
        row: dict[str, Any] = done.record["attempts"][0]["inbox"]
        return row

    claim = await inbox.claim(stored.attempt_id, "paid")
    assert isinstance(claim, Claim)
    assert (await show())["busy_until"] is not None
    done = await run_store(aurpay, "show", "cart-42")
    assert "callback       being handled until" in done.out
    await inbox.release(claim)
    row = await show()
    assert (row["handled"], row["busy_until"]) == (None, None)
    claim = await inbox.claim(stored.attempt_id, "paid", timedelta(0))
    assert isinstance(claim, Claim)
    assert (await show())["busy_until"] is None
    await inbox.confirm(claim, "paid")
    assert (await show())["handled"] == "paid"
    await sandbox.pay(order.order_id)
    await store.record(order_id=order.order_id)
    done = await run_store(aurpay, "show", "cart-42")
    assert f"paid      by attempt {stored.attempt_id}" in done.out
    assert "your handler has handled the payment" in done.out


async def test_store_commands_work_on_postgresql(
    aurpay: Run,
    sandbox: Sandbox,
    postgresql_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AURPAY_DATABASE", postgresql_url)
    assert (await asyncio.to_thread(aurpay, "db", "upgrade")).code == 0
    async with (
        sandbox.client(reference_key=KEY) as client,
        OrderStore(client, postgresql_url) as store,
    ):
        order = await open_cart(store)
        [stored] = await store.attempts("cart-42")
        claim = await SqlInbox(store.engine).claim(stored.attempt_id, "paid")
        assert isinstance(claim, Claim)
        await sandbox.pay(order.order_id)
        shown = await run_store(aurpay, "show", order.order_id)
        assert "callback       being handled until" in shown.out
        for _ in range(2):
            done = await run_store(aurpay, "reconcile", "cart-42")
            assert "cart-42: payable -> paid" in done.out
        order_id = await lose_answer(store, sandbox, 43)
        [lost] = await store.attempts("cart-43")
        words = ("resolve", lost.attempt_id, order_id, "--yes")
        assert (await run_store(aurpay, *words)).code == 0
        for word in ("list", "review", "duplicates", "prune"):
            yes = ["--yes"] if word == "prune" else []
            assert (await run_store(aurpay, word, *yes)).code == 0


async def test_store_show_of_an_unknown_reference_ends_with_1(
    aurpay: Run, store: OrderStore
) -> None:
    await store.upgrade()
    done = await run_store(aurpay, "show", "cart-9")
    assert (done.code, done.out) == (1, "")
    assert "the store has no reference" in done.err
    assert "Check the name, and that AURPAY_DATABASE names" in done.err
    assert "only a candidate of an attempt is found by its reference" in done.err
    done = await run_store(aurpay, "show", "postgresql://me:made-up@host/n")
    assert "made-up" not in done.err


async def test_store_commands_of_a_database_without_tables_name_db_upgrade(
    aurpay: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.db").touch()
    url = f"sqlite+aiosqlite:///{tmp_path}/empty.db"
    done = await run_store(aurpay, "show", "cart-42", "--database", url)
    assert done.code == 2
    assert "the database lacks tables or columns" in done.err
    assert f"run `aurpay db upgrade --database {url}`." in done.err
    assert "Set it" not in done.err


async def test_store_reconcile_records_nothing_and_leaves_payments_to_the_program(
    aurpay: Run, sandbox: Sandbox, store: OrderStore
) -> None:
    order = await open_cart(store)
    await open_cart(store, 43)
    assert (await run_store(aurpay, "reconcile")).out.count("queried: 0") == 1
    await sandbox.pay(order.order_id)
    for _ in range(2):  # it is safe to run twice
        done = await run_store(aurpay, "reconcile", "cart-42", "cart-43")
        assert (done.code, done.err) == (1, "")
        assert f"cart-42: payable -> paid, order {order.order_id}" in done.out
        assert "queried: 2; changed: 1" in done.out
        assert "nothing was recorded" in done.out
    [stored] = await store.attempts("cart-42")
    assert stored.state is AttemptState.PAYABLE
    done = await run_store(aurpay, "reconcile", "-o", "json")
    assert done.code == 1
    [change] = done.record["changes"]
    assert (change["before"], change["state"]) == ("payable", "paid")
    fulfilled: list[str] = []

    async def fulfil(change: Any, _: object) -> None:
        fulfilled.extend([change.reference] if change.newly_paid else [])

    await store.reconcile(on_change=fulfil)
    assert fulfilled == ["cart-42"]
    done = await run_store(aurpay, "reconcile", "cart-42")
    assert (done.code, "queried: 1; changed: 0" in done.out) == (0, True)


async def test_store_reconcile_reports_orders_that_cannot_be_queried(
    aurpay: Run, sandbox: Sandbox, store: OrderStore
) -> None:
    await open_cart(store)
    await open_cart(store, 43)
    sandbox.faults.push("403")
    done = await run_store(aurpay, "reconcile", "cart-42", "cart-43", "-o", "json")
    assert done.code == 1
    record = done.record
    assert (record["polled"], record["changes"]) == (1, [])
    [failure] = record["failures"]
    assert (failure["code"], failure["reference"][:5]) == ("permission_denied", "cart-")
    sandbox.faults.push("403")
    done = await run_store(aurpay, "reconcile", "cart-42")
    assert "queried: 1; changed: 0" in done.out
    assert "✗ cart-4" in done.out


async def test_store_reconcile_says_that_more_orders_are_due(
    aurpay: Run, sandbox: Sandbox, store: OrderStore
) -> None:
    earlier = FakeClock(datetime.now(UTC) - timedelta(minutes=10))
    async with OrderStore(store._client, store.engine, clock=earlier) as past:
        for number in (1, 2, 3):
            await open_cart(past, number)
        done = await run_store(aurpay, "reconcile", "--limit", "2")
        said = "    queried: 2; changed: 0; more are due\n"
        assert (done.code, done.out) == (0, said)
        done = await run_store(aurpay, "reconcile", "-o", "json")
        assert (done.record["polled"], done.record["more"]) == (1, False)
        for number in (4, 5):
            await open_cart(past, number)
    done = await run_store(aurpay, "reconcile", "cart-4")
    assert done.out == "    queried: 1; changed: 0\n"


async def test_store_reconcile_does_not_alarm_about_a_create_that_may_still_run(
    aurpay: Run, sandbox: Sandbox, store: OrderStore
) -> None:
    sandbox.faults.push("delay; seconds=60")
    creating = asyncio.create_task(open_cart(store))
    while not [*sandbox.requests]:
        await asyncio.sleep(0.01)
    done = await run_store(aurpay, "reconcile", "cart-42")
    assert (
        "creating -> unknown, its create is still running, or its process" in done.out
    )
    creating.cancel()


def test_nothing_is_to_be_decided_while_no_candidate_is_paid() -> None:
    candidates = {ORDER: OrderStatus.PENDING}
    one = attempt(AttemptState.CANDIDATES_FOUND, candidates=candidates)
    [(advice, command)] = steps_for(one, None)
    assert (advice[:18], command) == ("nothing to decide:", None)


def test_an_open_order_of_a_paid_reference_is_not_to_be_shown() -> None:
    [state, *_] = _attempt_rows(attempt(), None, NOW, "ab" * 12)
    assert state.value == "payable: do not show it: its reference is paid"


async def test_store_reconcile_searches_for_orders_of_unknown_outcome(
    aurpay: Run, sandbox: Sandbox, store: OrderStore
) -> None:
    await lose_answer(store, sandbox, 42)
    done = await run_store(aurpay, "reconcile", "cart-42")
    assert done.code == 1
    assert "cart-42: unknown -> candidates_found, order unknown" in done.out
    [lost] = await store.attempts("cart-42")
    await store.resolve(lost.attempt_id, None)
    done = await run_store(aurpay, "reconcile", "cart-42")
    assert (done.code, "queried: 0" in done.out) == (0, True)


async def test_store_reconcile_says_that_a_candidate_is_paid(
    aurpay: Run, sandbox: Sandbox, store: OrderStore
) -> None:
    """The state of the attempt stays, so it is no change."""
    await lose_answer(store, sandbox, 42)
    await open_cart(store)  # finds the lost order, and creates another one
    lost = await lost_attempt(store)
    assert (await run_store(aurpay, "reconcile", "cart-42")).code == 0
    await sandbox.pay(*lost.candidates)
    done = await run_store(aurpay, "reconcile", "cart-42")
    assert (done.code, "changed: 0" in done.out) == (1, True)
    assert "✗ cart-42: an order that may be its own is paid" in done.out
    assert "`aurpay store show cart-42`" in done.out
    done = await run_store(aurpay, "reconcile", "cart-42", "-o", "json")
    [review] = done.record["needs_review"]
    assert review["attempt_id"] == lost.attempt_id
    assert [*review["candidates"].values()] == ["SUCCESS"]


async def lost_attempt(store: OrderStore) -> Any:
    attempts = await store.attempts("cart-42")
    [lost] = [one for one in attempts if one.state is AttemptState.CANDIDATES_FOUND]
    return lost


async def test_store_reconcile_of_an_unknown_reference_queries_nothing(
    aurpay: Run, sandbox: Sandbox, store: OrderStore
) -> None:
    await store.upgrade()
    done = await run_store(aurpay, "reconcile", "cart-9")
    assert (done.code, [*sandbox.requests]) == (1, [])


async def test_store_resolve_assigns_the_order_after_yes(
    aurpay: Run, sandbox: Sandbox, store: OrderStore
) -> None:
    order_id = await lose_answer(store, sandbox, 42)
    await sandbox.pay(order_id)
    [lost] = await store.attempts("cart-42")
    words = ("resolve", lost.attempt_id, order_id)
    for typed in ("no\n", ""):
        done = await run_store(aurpay, *words, "-o", "json", typed=typed)
        assert (done.code, done.record["code"]) == (1, "declined")
    assert (await run_store(aurpay, *words)).code == 2
    assert await store.attempts("cart-42") == [lost]
    done = await run_store(aurpay, *words, typed="yes\n")
    assert done.code == 0
    for seen in (
        f"Attempt {lost.attempt_id} of cart-42",
        "SUCCESS: paid",
        "cart-42 counts as paid, and no program learns of it",
        f"Assign order {order_id} to it? Type yes: ",
    ):
        assert seen in done.err
    assert "cart-42: unknown -> paid" in done.out
    assert "fulfil cart-42 now, by hand" in done.out
    again = await run_store(aurpay, *words, "--yes")
    assert again.code == 1
    assert f"has order '{order_id}'" in again.err
    assert "Nothing was changed" in again.err


async def test_store_resolve_warns_of_a_duplicate_payment(
    aurpay: Run, sandbox: Sandbox, store: OrderStore
) -> None:
    order_id = await lose_answer(store, sandbox, 42)
    [lost] = await store.attempts("cart-42")
    shown = await open_cart(store)
    for one in (order_id, shown.order_id):
        await sandbox.pay(one)
    await store.record(order_id=shown.order_id)
    words = ("resolve", lost.attempt_id, order_id, "--yes")
    done = await run_store(aurpay, *words)
    assert (done.code, done.err) == (0, "")
    assert "a duplicate payment, to be refunded" in done.out
    assert f"$ aurpay order refund {order_id}" in done.out
    assert "by hand" not in done.out


async def test_store_resolve_warns_of_another_order_that_can_be_paid(
    aurpay: Run, sandbox: Sandbox, store: OrderStore
) -> None:
    order_id = await lose_answer(store, sandbox, 42)
    [lost] = await store.attempts("cart-42")
    shown = await open_cart(store)
    await sandbox.pay(order_id)
    done = await run_store(aurpay, "resolve", lost.attempt_id, order_id, "--yes")
    assert f"! other order    {shown.order_id} can be paid until " in done.out
    assert "its payment would be a duplicate" in done.out


async def test_store_resolve_without_an_order_needs_no_secret(
    aurpay: Run, sandbox: Sandbox, store: OrderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lose_answer(store, sandbox, 42)
    [lost] = await store.attempts("cart-42")
    for name in ("AURPAY_API_KEY", "AURPAY_BASE_URL"):
        monkeypatch.delenv(name)
    words = ("resolve", lost.attempt_id, "--no-order")
    done = await run_store(aurpay, *words, "--yes", "-o", "json")
    record = done.record
    assert (done.code, record["state"], record["newly_paid"]) == (0, "not_found", False)
    assert record["order"] is None
    done = await run_store(aurpay, *words, typed="yes\n")
    assert "Record that it has created no order? Type yes: " in done.err
    assert "if the payer proves a payment, find its order" in done.out


async def test_store_resolve_rejects_the_order_of_another_price(
    aurpay: Run, sandbox: Sandbox, store: OrderStore
) -> None:
    await lose_answer(store, sandbox, 42)
    [lost] = await store.attempts("cart-42")
    async with sandbox.client() as client:
        other = await client.create_order("21.00", "USD")
    words = ("resolve", lost.attempt_id, other.order_id, "--yes")
    done = await run_store(aurpay, *words)
    assert done.code == 1
    assert "Aurpay's order is not the expected one" in done.err


@pytest.mark.parametrize("words", [[ORDER, "--no-order"], []])
async def test_store_resolve_needs_an_order_or_no_order(
    aurpay: Run, store: OrderStore, words: list[str]
) -> None:
    done = await run_store(aurpay, "resolve", "ab" * 12, *words, "--yes")
    assert done.code == 2
    assert "give an order id or --no-order" in done.err


async def test_store_resolve_of_an_unknown_attempt_asks_nothing(
    aurpay: Run, store: OrderStore
) -> None:
    order = await open_cart(store)
    for name in ("ab" * 12, order.order_id):
        done = await run_store(aurpay, "resolve", name, "--no-order", typed="yes\n")
        assert (done.code, "Type yes" in done.err) == (1, False)


async def test_store_list_shows_the_newest_attempts_of_a_state(
    aurpay: Run, sandbox: Sandbox, store: OrderStore
) -> None:
    await open_cart(store, 1)
    await lose_answer(store, sandbox, 2)
    done = await run_store(aurpay, "list")
    assert (done.code, done.err) == (0, "")
    header, first, second, *_, end = done.out.splitlines()
    assert header.split() == ["reference", "state", "order", "status", "created"]
    assert (first.split()[:3], second.split()[:2]) == (
        ["cart-2", "unknown", "-"],
        ["cart-1", "payable"],
    )
    assert end.strip() == "attempts: 2"
    done = await run_store(aurpay, "list", "--limit", "1", "-o", "json")
    assert [row["reference"] for row in done.record["attempts"]] == ["cart-2"]
    done = await run_store(aurpay, "list", "--state", "payable", "-o", "json")
    assert [row["reference"] for row in done.record["attempts"]] == ["cart-1"]
    done = await run_store(aurpay, "list", "--state", "candidates_found")
    assert (done.code, done.out.strip()) == (0, "attempts: 0")
    assert (await run_store(aurpay, "list", "--limit", "1001")).code == 2


async def test_store_review_ends_with_1_if_a_payment_needs_a_person(
    aurpay: Run, sandbox: Sandbox, store: OrderStore
) -> None:
    order_id = await lose_answer(store, sandbox, 42)
    await store.attempts("cart-42")
    done = await run_store(aurpay, "review")
    assert (done.code, done.out.strip()) == (0, "attempts: 0")
    await sandbox.pay(order_id)
    await run_store(aurpay, "reconcile", "cart-42")
    await store.reconcile()
    done = await run_store(aurpay, "review")
    assert done.code == 1
    assert "candidates_found" in done.out
    assert "$ aurpay store show cart-42" in done.out
    shown = await run_store(aurpay, "show", "cart-42")
    assert f"! candidate      {order_id}, SUCCESS" in shown.out
    await lose_answer(store, sandbox, 43)
    await run_store(aurpay, "reconcile", "cart-43")
    await store.reconcile()
    done = await run_store(aurpay, "review")
    assert f"{order_id} SUCCESS (also of cart-43)" in " ".join(done.out.split())
    assert f"$ aurpay order show {order_id}" in shown.out


async def test_store_duplicates_lists_what_to_refund_until_it_is_refunded(
    aurpay: Run, sandbox: Sandbox, store: OrderStore
) -> None:
    order_id = await lose_answer(store, sandbox, 42)
    [lost] = await store.attempts("cart-42")
    shown = await open_cart(store)
    for one in (shown.order_id, order_id):
        await sandbox.pay(one)
    await store.record(order_id=shown.order_id)
    await store.resolve(lost.attempt_id, order_id)
    done = await run_store(aurpay, "duplicates")
    assert done.code == 1
    assert f"$ aurpay order refund {order_id}" in done.out
    done = await run_store(aurpay, "duplicates", "-o", "json")
    assert [row["order_id"] for row in done.record["attempts"]] == [order_id]
    await asyncio.to_thread(aurpay, "order", "refund", order_id, "--yes")
    await store.record(order_id=order_id)
    done = await run_store(aurpay, "duplicates")
    assert (done.code, done.out.strip()) == (0, "attempts: 0")


async def test_store_prune_deletes_old_references_after_yes(
    aurpay: Run, sandbox: Sandbox, store: OrderStore
) -> None:
    earlier = FakeClock(datetime.now(UTC) - timedelta(days=100))
    async with OrderStore(store._client, store.engine, clock=earlier) as past:
        for number in (1, 2):
            await lose_answer(past, sandbox, number)
            [lost] = await past.attempts(f"cart-{number}")
            await past.resolve(lost.attempt_id, None)
    await open_cart(store)
    assert (await run_store(aurpay, "prune")).code == 2
    done = await run_store(aurpay, "prune", typed="no\n")
    assert done.code == 1
    assert "older than 30 days" in done.err
    assert "Delete them? Type yes: " in done.err
    assert len(await store.attempts("cart-1")) == 1
    done = await run_store(aurpay, "prune", "--paid-older-than", "90", "--yes")
    assert (done.code, "deleted: references 2, callbacks 0" in done.out) == (0, True)
    done = await run_store(aurpay, "prune", "--yes", "-o", "json")
    assert done.record == {"type": "pruned", "references": 0, "callbacks": 0}
    claim = await SqlInbox(store.engine, clock=FakeClock()).claim("ab" * 12, "paid")
    assert isinstance(claim, Claim)
    done = await run_store(aurpay, "prune", "--callbacks-older-than", "30", "--yes")
    assert "deleted: references 0, callbacks 1" in done.out
    assert len(await store.attempts("cart-42")) == 1


async def test_store_prune_keeps_what_the_order_store_would_keep(
    aurpay: Run, store: OrderStore
) -> None:
    await store.upgrade()
    least = {"--older-than": _MIN_AGE, "--paid-older-than": _MIN_PAID_AGE}
    for option, age in least.items():
        for days, code in ((age.days, 0), (age.days - 1, 2)):
            done = await run_store(aurpay, "prune", option, str(days), "--yes")
            assert done.code == code


def test_each_state_has_a_meaning_and_its_next_commands() -> None:
    commands = {
        "creating": ["store reconcile cart-42"],
        "payable": ["store reconcile cart-42"],
        "overdue": ["store reconcile cart-42"],
        "withheld": ["store reconcile cart-42"],
        "expired": ["store reconcile cart-42"],
        "unknown": ["store reconcile cart-42"],
        "candidates_found": [f"order show {ORDER}", "store resolve", "store resolve"],
        "payment_reported": [f"order show {ORDER}", "store resolve", "store resolve"],
        "not_found": ["store resolve"],
        "paid": ["", f"order show {ORDER}"],
        "duplicate": [f"order refund {ORDER}"],
        "rejected": [],
        "refunded": [],
    }
    assert {*_MEANINGS} == {*AttemptState}
    for state in AttemptState:
        one = attempt(state, order_id=ORDER, candidates={ORDER: OrderStatus.SUCCESS})
        steps = [*steps_for(one, None)]
        assert len(steps) == len(commands[state]), state
        for step, command in zip(steps, commands[state], strict=True):
            said = (step.command or "").removeprefix("aurpay ")
            assert said.startswith(command), state


def inbox_row(handled: str | None, **fields: Any) -> InboxRow:
    return InboxRow(
        handled=handled, updated_at=NOW, busy_until=fields.get("busy_until")
    )


def test_steps_of_a_payment_depend_on_the_inbox() -> None:
    paid = attempt(AttemptState.PAID, order_id=ORDER)
    for row, advice in (
        (None, "no callback recorded this payment"),
        (inbox_row("timeout"), "no callback recorded this payment"),
        (inbox_row(None), "no callback recorded this payment"),
        (inbox_row("paid"), "your handler has handled the payment"),
        (inbox_row(None, busy_until=NOW), "your handler is running"),
    ):
        step, _ = steps_for(paid, row)
        assert step.advice.startswith(advice)
    for handled in ("unconfirmed_paid", "unconfirmed_late_paid"):
        first, _ = steps_for(attempt(order_id=ORDER), inbox_row(handled))
        assert first.advice.endswith(
            "deliver nothing until Aurpay has the order as paid"
        )
        reported = attempt(AttemptState.PAYMENT_REPORTED)
        step, *_ = steps_for(reported, inbox_row(handled))
        assert "deliver nothing until its order is assigned" in step.advice
        assert first.command == f"aurpay order show {ORDER}"
    [step] = steps_for(attempt(order_id=ORDER), inbox_row("unconfirmed_timeout"))
    assert step.command == "aurpay store reconcile cart-42"


def test_failed_handler_is_no_problem_once_the_payment_is_recorded() -> None:
    [paid] = [*_attempt_rows(attempt(AttemptState.PAID), inbox_row(None), NOW)][-1:]
    assert (paid.verdict, "recorded without it" in paid.value) == ("", True)
    [unpaid] = [*_attempt_rows(attempt(), inbox_row(None), NOW)][-1:]
    assert (unpaid.verdict, "handler has not finished" in unpaid.value) == (
        "problem",
        True,
    )


def test_attempt_without_an_order_has_no_time_until_which_it_can_be_paid() -> None:
    rejected = _attempt_rows(attempt(AttemptState.REJECTED), None, NOW)
    assert "payable until" not in {row.name for row in rejected}


def test_steps_of_a_status_without_documented_meaning_ask_aurpay() -> None:
    partial = attempt(order_id=ORDER, status=OrderStatus("PARTIAL"))
    [step] = steps_for(partial, None)
    assert "Aurpay does not document the status PARTIAL" in step.advice


def test_names_from_outside_are_quoted_for_the_shell() -> None:
    for state in AttemptState:
        evil = attempt(
            state, reference="$(a)", attempt_id="$(b)", order_id="$(c)", candidates={}
        )
        for step in steps_for(evil, None):
            assert "'$(" in (step.command or "'$(")


def test_rows_of_an_attempt_leave_out_unknown_fields() -> None:
    def names(**fields: Any) -> list[str]:
        rows = _attempt_rows(attempt(**fields), inbox_row(None), NOW)
        return [row.name for row in rows]

    full = names(
        failed_check="amount",
        hinted_order_id=ORDER,
        candidates={ORDER: OrderStatus.PENDING},
        payment_hash="ab" * 32,
        sent_at=NOW,
        last_polled_at=NOW,
    )
    assert {*full} - {*names()} == {
        "failed check",
        "hint",
        "candidate",
        "payment hash",
        "sent",
        "polled",
    }
