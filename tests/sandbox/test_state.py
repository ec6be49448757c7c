"""The file of a sandbox: its state is restored, even after a kill."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, closing, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
import pytest

from aurpay_async import ConfigurationError
from aurpay_async.sandbox import Sandbox
from aurpay_async.sandbox._models import SandboxClock, advance
from aurpay_async.sandbox._storage import PersistentDict, PersistentList, Storage

from ..support.orders import NOW
from .shop import create_order, create_order_for, open_shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "orders.db"


def sandbox_on(file: Path, **options: Any) -> Sandbox:
    return Sandbox(db=file, clock=SandboxClock(NOW), seed=7, **options)


# Collections


@attrs.frozen(kw_only=True)
class Coin:
    """A record of a new type."""

    name: str
    worth: int = 1


def test_persistent_dict_and_list_are_restored_in_order(file: Path) -> None:
    storage = Storage(str(file))
    table, log = PersistentDict("coin", Coin), PersistentList("toss", Coin)
    for one in (table, log):
        one.attach(storage)
    for name in ("b", "a", "c"):
        table[name] = Coin(name=name)
        log.append(Coin(name=name))
    table["b"] = Coin(name="b", worth=2)
    storage.close()
    table["d"] = Coin(name="d")  # after closing, not stored

    storage = Storage(str(file))
    again, tossed = PersistentDict("coin", Coin), PersistentList("toss", Coin)
    for one in (again, tossed):
        one.attach(storage)
    tossed.append(Coin(name="d"))
    assert [*again] == ["b", "a", "c"]
    assert again["b"].worth == 2
    assert [coin.name for coin in tossed] == ["b", "a", "c", "d"]
    assert len(storage.read("toss")) == 4
    storage.close()
    storage.close()
    assert storage.read("toss") == []


# Restoring


async def test_sandbox_restores_its_whole_state_from_the_file(file: Path) -> None:
    async with open_shop() as shop, sandbox_on(file) as one:
        paid, overdue = (
            await create_order_for(one, shop),
            await create_order_for(one, shop),
        )
        await one.pay(paid)
        await one.expire(overdue)
        one.callback_faults.push("twice", "lost", "late")
        one.faults.push("gzip", "gzip", "503")
        await create_order(one)  # uses up a fault
        await one.expire(await create_order(one))  # this one as well
        one.rates["USD"] = "65000.50"
        advance(one.clock, 90)
        advance(one.clock, 0.5)
    async with sandbox_on(file) as two:
        assert dict(two.orders) == dict(one.orders)
        assert [*two.orders] == [*one.orders]
        assert two.requests == one.requests
        assert two.requests[0].headers["content-TYPE"] == "application/octet-stream"
        assert two.callbacks == one.callbacks
        assert len(two.callbacks) == 2
        assert [*two.faults] == ["503"]
        assert [*two.callback_faults] == ["twice", "lost", "late"]
        assert dict(two.rates) == {**one.rates, "USD": one.rates["USD"]}
        assert two.clock.now() == NOW + timedelta(seconds=90.5)
        await two.pay(overdue)
        two.faults.clear()
        number = len(two.orders) + 1
        assert await create_order(two) == f"20260101000130{number:06}"
    async with sandbox_on(file, rates={"EUR": 1}) as three:
        assert three.orders[overdue].status == "SUCCESS"
        assert [*three.faults] == []
        assert three.rates["USD"] == one.rates["USD"]
        assert three.rates["EUR"] == 1
    async with sandbox_on(file, rates={"USD": 2}) as four:
        # An option replaces the stored rate.
        assert four.rates["USD"] == 2
        assert four.rates["EUR"] == 1


async def test_faults_pushed_before_opening_follow_the_stored_ones(file: Path) -> None:
    async with sandbox_on(file) as one:
        one.faults.push("503")
    two = sandbox_on(file)
    two.faults.push("429")
    async with two:
        assert [*two.faults] == ["503", "429"]
    async with sandbox_on(file) as three:
        assert [*three.faults] == ["503", "429"]


async def test_order_that_became_due_while_closed_times_out_at_once(file: Path) -> None:
    async with sandbox_on(file, speed=1) as one:
        await create_order(one)
    two = Sandbox(db=file, speed=1)  # at the machine's time, which is later
    async with two, asyncio.timeout(60):
        while next(iter(two.orders.values())).status == "PENDING":
            await asyncio.sleep(0.01)


async def test_custom_clock_is_not_restored_from_the_file(file: Path) -> None:
    async with Sandbox(db=file) as one:
        advance(one.clock, 3_600)
    async with sandbox_on(file) as two:
        assert two.clock.now() == NOW + timedelta(hours=1)


# Kill


_SERVE = """
import asyncio, sys
from aurpay_async.sandbox import Sandbox
async def main():
    async with Sandbox(db=sys.argv[1], seed=7) as sandbox:
        print(sandbox.base_url, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@asynccontextmanager
async def run_killed(file: Path) -> AsyncIterator[tuple[str, subprocess.Popen[str]]]:
    """Run a sandbox in another process, and kill it at the end."""
    command = [sys.executable, "-c", _SERVE, str(file)]
    with subprocess.Popen(  # noqa: ASYNC220 - it is a moment
        command, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            yield await asyncio.to_thread(process.stdout.readline), process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


async def create_orders(base_url: str, answered: dict[str, str]) -> None:
    """Create orders until the sandbox no longer answers."""
    fields = {"price": 20, "currency": "USD"}
    async with aiohttp.ClientSession(base_url) as session:
        while True:
            async with session.post("/api/bln/order", json=fields) as response:
                data = (await response.json())["data"]
                assert data["order_id"] not in answered
                answered[data["order_id"]] = data["payment_request"]


async def send_control(base_url: str, method: str, path: str, body: Any) -> None:
    async with aiohttp.request(method, base_url + path, json=body) as response:
        assert response.status == 200


@pytest.mark.slow
async def test_killed_sandbox_has_lost_no_answered_order(file: Path) -> None:
    answered: dict[str, str] = {}
    for enough in (40, 80):
        async with run_killed(file) as (url, process), asyncio.timeout(60):
            base_url = url.strip()
            await send_control(base_url, "POST", "/_sandbox/callback-faults", ["lost"])
            await send_control(
                base_url, "PUT", "/_sandbox/rates", {"USD": f"{enough}000"}
            )
            await send_control(
                base_url, "POST", "/_sandbox/clock", {"advance_s": enough}
            )
            streams = [
                asyncio.create_task(create_orders(base_url, answered)) for _ in range(4)
            ]
            while len(answered) < enough:
                await asyncio.sleep(0.001)
            process.kill()
            for one in streams:
                with suppress(aiohttp.ClientError):
                    await one
    async with sandbox_on(file) as sandbox:
        known = {one.order_id: one.invoice for one in sandbox.orders.values()}
        assert answered.items() <= known.items()
        assert len(answered) >= 80
        numbers = [int(one[14:]) for one in known]
        assert numbers == [*range(1, len(known) + 1)]
        assert len(sandbox.requests) >= len(answered)
        # Changes that the control API had answered are stored as well.
        assert [*sandbox.callback_faults] == ["lost", "lost"]
        assert sandbox.rates["USD"] == 80_000
        assert sandbox.clock.now() == NOW + timedelta(seconds=120)
        assert await create_order(sandbox) == f"20260101000200{len(known) + 1:06}"


# Unusable files


@pytest.mark.slow
async def test_second_sandbox_on_the_same_file_is_rejected(file: Path) -> None:
    async with sandbox_on(file) as first:
        with pytest.raises(ConfigurationError, match="is in use, perhaps by another"):
            await sandbox_on(file).start()
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", _SERVE, str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "is in use, perhaps by another sandbox; use another file" in done.stderr
        await create_order(first)
    async with sandbox_on(file) as second:
        assert len(second.orders) == 1


def write_other_database(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE notes (text)")
        connection.commit()


def write_version(file: Path, version: int) -> None:
    Storage(str(file)).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


def write_invalid_order(file: Path) -> None:
    storage = Storage(str(file))
    storage.put("order", "1", {"order_id": "1"})
    storage.close()


def write_unknown_fault(file: Path) -> None:
    storage = Storage(str(file))
    storage.put("fault", "queue", ["an unknown fault"])
    storage.close()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda file: file.write_bytes(b"no database" * 99), "is not a sandbox file"),
        (lambda file: file.write_bytes(b"x"), "is not a sandbox file"),
        (write_other_database, "is not a sandbox file"),
        (lambda file: write_version(file, 1), "was written by another version"),
        (lambda file: write_version(file, 99), "was written by another version"),
        (lambda file: file.mkdir(), "cannot be opened: unable to open"),
        (
            write_invalid_order,
            "a value that this version cannot read: not a SandboxOrder",
        ),
        (write_unknown_fault, "a value that this version cannot read: fault: "),
    ],
)
async def test_unusable_file_is_rejected_and_not_changed(
    file: Path, make: Any, problem: str
) -> None:
    make(file)
    before = file.read_bytes() if file.is_file() else b""  # noqa: ASYNC240
    sandbox = sandbox_on(file)
    with pytest.raises(ConfigurationError, match=problem):
        await sandbox.start()
    assert (file.read_bytes() if file.is_file() else b"") == before  # noqa: ASYNC240
    with pytest.raises(ConfigurationError, match="not open"):
        sandbox.base_url  # noqa: B018


async def test_read_only_file_is_rejected_when_the_sandbox_opens(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Storage(str(file)).close()
    connect = sqlite3.connect

    def read_only(path: object, **options: Any) -> Any:
        return connect(f"file:{path}?mode=ro", uri=True, **options)

    monkeypatch.setattr(sqlite3, "connect", read_only)
    with pytest.raises(ConfigurationError, match="cannot be used: "):
        await sandbox_on(file).start()


async def test_sandbox_that_cannot_listen_creates_no_file(file: Path) -> None:
    async with Sandbox() as first:
        port = int(first.base_url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            await sandbox_on(file, port=port).start()
    assert not file.exists()  # noqa: ASYNC240


async def test_sandbox_with_a_file_opens_once(file: Path) -> None:
    async with sandbox_on(file) as sandbox:
        await create_order(sandbox)
    with pytest.raises(ConfigurationError, match="opens once; create another"):
        await sandbox.start()
    assert len(sandbox.orders) == 1
    await sandbox.expire(next(iter(sandbox.orders)))  # after closing, not stored
    async with sandbox_on(file) as another:
        assert [one.status for one in another.orders.values()] == ["PENDING"]


@pytest.mark.parametrize("db", ["", "x\0y", b"x", 7])
def test_db_option_must_be_a_path(db: Any) -> None:
    with pytest.raises(ConfigurationError, match="db must be the path of a file"):
        Sandbox(db=db)


async def test_special_sqlite_names_are_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with sandbox_on(":memory:") as sandbox:  # type: ignore[arg-type]
        await create_order(sandbox)
    assert (tmp_path / ":memory:").is_file()


def test_file_is_one_sqlite_table_in_wal_mode(file: Path) -> None:
    storage = Storage(str(file))
    storage.put("coin", "a", Coin(name="a"))
    storage.close()
    with closing(sqlite3.connect(file)) as connection:
        [row] = connection.execute("SELECT kind, key, value FROM record")
        [(mode,)] = connection.execute("PRAGMA journal_mode")
    assert row[:2] == ("coin", "a")
    assert json.loads(row[2]) == {"name": "a", "worth": 1}
    assert mode == "wal"
