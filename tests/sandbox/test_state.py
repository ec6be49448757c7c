"""What outlives a sandbox that has a file: everything, however it ended."""

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
from aurpay_async.sandbox._clocks import SandboxClock, advance
from aurpay_async.sandbox._journal import Journal
from aurpay_async.sandbox._kept import Log, Table

from ..orders import NOW
from .shop import both, open_shop, order

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "orders.db"


def sandbox_on(file: Path, **options: Any) -> Sandbox:
    return Sandbox(db=file, clock=SandboxClock(NOW), seed=7, **options)


# A new record takes a line


@attrs.frozen(kw_only=True)
class Coin:
    """A record of a kind that is still to come."""

    name: str
    worth: int = 1


def test_a_table_and_a_log_of_anything(file: Path) -> None:
    """In the order in which they came, whatever has changed since."""
    journal = Journal.open(str(file))
    table, log = Table("coin", Coin), Log("toss", Coin)
    for one in (table, log):
        one.keep(journal)
    for name in ("b", "a", "c"):
        table[name] = Coin(name=name)
        log.append(Coin(name=name))
    table["b"] = Coin(name="b", worth=2)
    journal.close()
    table["d"] = Coin(name="d")  # too late to be kept

    journal = Journal.open(str(file))
    again, tossed = Table("coin", Coin), Log("toss", Coin)
    for one in (again, tossed):
        one.keep(journal)
    tossed.append(Coin(name="d"))
    assert [*again] == ["b", "a", "c"]
    assert again["b"].worth == 2
    assert [coin.name for coin in tossed] == ["b", "a", "c", "d"]
    assert len(journal.read("toss")) == 4
    journal.close()
    journal.close()
    assert journal.read("toss") == []


# All that a sandbox remembers


async def test_everything_is_there_again(file: Path) -> None:
    """As it was, and it goes on from there."""
    async with open_shop() as shop, sandbox_on(file) as one:
        paid, overdue = await both(one, shop), await both(one, shop)
        await one.pay(paid)
        await one.expire(overdue)
        one.callback_faults.push("twice", "lost", "late")
        one.faults.push("gzip", "gzip", "503")
        await order(one)  # uses up a fault
        await one.expire(await order(one))  # this one as well
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
        assert await order(two) == f"20260101000130{number:06}"
    async with sandbox_on(file, rates={"EUR": 1}) as three:
        assert three.orders[overdue].status == "SUCCESS"
        assert [*three.faults] == []
        assert three.rates["USD"] == one.rates["USD"]
        assert three.rates["EUR"] == 1
    async with sandbox_on(file, rates={"USD": 2}) as four:
        # What is said anew counts.
        assert four.rates["USD"] == 2
        assert four.rates["EUR"] == 1


async def test_what_was_asked_for_before_it_opens_comes_last(file: Path) -> None:
    """And is kept like everything else."""
    async with sandbox_on(file) as one:
        one.faults.push("503")
    two = sandbox_on(file)
    two.faults.push("429")
    async with two:
        assert [*two.faults] == ["503", "429"]
    async with sandbox_on(file) as three:
        assert [*three.faults] == ["503", "429"]


async def test_time_goes_on_for_orders_meanwhile(file: Path) -> None:
    """What has become due while nobody was there times out at once."""
    async with sandbox_on(file, speed=1) as one:
        await order(one)
    two = Sandbox(db=file, speed=1)  # at the machine's time, which is later
    async with two, asyncio.timeout(10):
        while next(iter(two.orders.values())).status == "PENDING":
            await asyncio.sleep(0.01)


async def test_a_clock_of_ones_own_is_ones_own(file: Path) -> None:
    """The file knows nothing of it."""
    async with Sandbox(db=file) as one:
        advance(one.clock, 3_600)
    async with sandbox_on(file) as two:
        assert two.clock.now() == NOW + timedelta(hours=1)


# Killed


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
async def doomed(file: Path) -> AsyncIterator[tuple[str, subprocess.Popen[str]]]:
    """A sandbox in a process of its own, and its base URL; killed at the end."""
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


async def stream(base_url: str, answered: dict[str, str]) -> None:
    """Orders without end, until nobody answers any more."""
    fields = {"price": 20, "currency": "USD"}
    async with aiohttp.ClientSession(base_url) as session:
        while True:
            async with session.post("/api/bln/order", json=fields) as response:
                data = (await response.json())["data"]
                assert data["order_id"] not in answered
                answered[data["order_id"]] = data["payment_request"]


async def tell(base_url: str, method: str, path: str, body: Any) -> None:
    async with aiohttp.request(method, base_url + path, json=body) as response:
        assert response.status == 200


async def test_killed_in_the_middle_of_it(file: Path) -> None:
    """Every order that was answered is there; none has the number of another."""
    answered: dict[str, str] = {}
    for enough in (40, 80):
        async with doomed(file) as (url, process), asyncio.timeout(30):
            base_url = url.strip()
            await tell(base_url, "POST", "/_sandbox/callback-faults", ["lost"])
            await tell(base_url, "PUT", "/_sandbox/rates", {"USD": f"{enough}000"})
            await tell(base_url, "POST", "/_sandbox/clock", {"advance_s": enough})
            streams = [
                asyncio.create_task(stream(base_url, answered)) for _ in range(4)
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
        # What the control API had answered holds as well.
        assert [*sandbox.callback_faults] == ["lost", "lost"]
        assert sandbox.rates["USD"] == 80_000
        assert sandbox.clock.now() == NOW + timedelta(seconds=120)
        assert await order(sandbox) == f"20260101000200{len(known) + 1:06}"


# Files that are not to be had


async def test_one_sandbox_at_a_time(file: Path) -> None:
    """In this process or another; the second one is told so, and the first goes on."""
    async with sandbox_on(file) as first:
        with pytest.raises(ConfigurationError, match="is in use, by another sandbox"):
            await sandbox_on(file).start()
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", _SERVE, str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "is in use, by another sandbox perhaps; name another one" in done.stderr
        await order(first)
    async with sandbox_on(file) as second:
        assert len(second.orders) == 1


def other_program(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE notes (text)")
        connection.commit()


def write_version(file: Path, version: int) -> None:
    Journal.open(str(file)).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


def unreadable(file: Path) -> None:
    journal = Journal.open(str(file))
    journal.put("order", "1", {"order_id": "1"})
    journal.close()


def of_another_vocabulary(file: Path) -> None:
    journal = Journal.open(str(file))
    journal.put("fault", "queue", ["a fault of tomorrow"])
    journal.close()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda file: file.write_bytes(b"no database" * 99), "is not a sandbox's"),
        (lambda file: file.write_bytes(b"x"), "is not a sandbox's"),
        (other_program, "is not a sandbox's"),
        (lambda file: write_version(file, 1), "was written by another version"),
        (lambda file: write_version(file, 99), "was written by another version"),
        (lambda file: file.mkdir(), "cannot be opened: unable to open"),
        (unreadable, "something that this version cannot read: not a SandboxOrder"),
        (of_another_vocabulary, "something that this version cannot read: fault: "),
    ],
)
async def test_a_file_that_is_none_of_ours(file: Path, make: Any, problem: str) -> None:
    """Is left as it is, and named."""
    make(file)
    before = file.read_bytes() if file.is_file() else b""  # noqa: ASYNC240
    sandbox = sandbox_on(file)
    with pytest.raises(ConfigurationError, match=problem):
        await sandbox.start()
    assert (file.read_bytes() if file.is_file() else b"") == before  # noqa: ASYNC240
    with pytest.raises(ConfigurationError, match="not open"):
        sandbox.base_url  # noqa: B018


async def test_a_file_that_cannot_be_written(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is said to be so when the sandbox opens, not when the first order comes."""
    Journal.open(str(file)).close()
    connect = sqlite3.connect

    def read_only(path: object, **options: Any) -> Any:
        return connect(f"file:{path}?mode=ro", uri=True, **options)

    monkeypatch.setattr(sqlite3, "connect", read_only)
    with pytest.raises(ConfigurationError, match="cannot be used: "):
        await sandbox_on(file).start()


async def test_who_cannot_listen_leaves_the_file_alone(file: Path) -> None:
    """So that a sandbox with a port that is taken has no file of its own either."""
    async with Sandbox() as first:
        port = int(first.base_url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            await sandbox_on(file, port=port).start()
    assert not file.exists()  # noqa: ASYNC240


async def test_a_sandbox_with_a_file_opens_once(file: Path) -> None:
    """What it remembers stays readable; another one goes on with the file."""
    async with sandbox_on(file) as sandbox:
        await order(sandbox)
    with pytest.raises(ConfigurationError, match="is opened once; make another one"):
        await sandbox.start()
    assert len(sandbox.orders) == 1
    await sandbox.expire(next(iter(sandbox.orders)))  # too late to be kept
    async with sandbox_on(file) as another:
        assert [one.status for one in another.orders.values()] == ["PENDING"]


@pytest.mark.parametrize("db", ["", "x\0y", b"x", 7])
def test_what_is_no_file(db: Any) -> None:
    """A path is a text."""
    with pytest.raises(ConfigurationError, match="db must be the path of a file"):
        Sandbox(db=db)


async def test_names_that_mean_something_else_to_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Are names of files here."""
    monkeypatch.chdir(tmp_path)
    async with sandbox_on(":memory:") as sandbox:  # type: ignore[arg-type]
        await order(sandbox)
    assert (tmp_path / ":memory:").is_file()


def test_what_is_in_a_file(file: Path) -> None:
    """One table, which other tools can read when nobody is there."""
    journal = Journal.open(str(file))
    journal.put("coin", "a", Coin(name="a"))
    journal.close()
    with closing(sqlite3.connect(file)) as connection:
        [row] = connection.execute("SELECT kind, key, value FROM record")
        [(mode,)] = connection.execute("PRAGMA journal_mode")
    assert row[:2] == ("coin", "a")
    assert json.loads(row[2]) == {"name": "a", "worth": 1}
    assert mode == "wal"
