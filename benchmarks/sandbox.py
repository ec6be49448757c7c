"""The sandbox: the time until it is ready, its orders per second, and its lists."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from aurpay_async import Effect, Request, bolt11
from aurpay_async.sandbox import Sandbox

from ._crowd import connect, measure
from ._measure import make_figure, make_row, shuffle
from ._processes import find_free_port, run_process, run_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aurpay_async import Transport

    from ._measure import Figure, Row

#: Concurrent connections.
CONNECTIONS = 64
#: Orders of each connection in each round.
ORDERS = 10
#: Seconds until a sandbox that is not ready counts as failed.
START_TIMEOUT = 60

#: The numbers of orders in a small sandbox and in a large one.
FEW, MANY = 1_000, 100_000
#: Requests of each round of a list.
LISTS = 20

BODY = b'{"price": 20.00, "currency": "USD"}'
ORDER = (
    b"POST /api/bln/order HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
) % (len(BODY), BODY)


def find_command() -> list[str]:
    """Return the command installed beside this Python, or the module."""
    beside = str(Path(sys.executable).parent)
    script = shutil.which("aurpay", path=beside)
    return [script] if script else [sys.executable, "-m", "aurpay_async"]


@contextmanager
def run_sandbox() -> Iterator[int]:
    """Yield the port of a sandbox process as soon as it is ready."""
    port = find_free_port()
    quiet = subprocess.DEVNULL
    with run_process(*find_command(), "sandbox", "--port", str(port), stdout=quiet):
        wait_for(port)
        yield port


def wait_for(port: int) -> None:
    """Wait until the sandbox responds.

    Raises:
        TimeoutError: if it does not respond.
    """
    began = time.perf_counter()
    while time.perf_counter() - began < START_TIMEOUT:
        try:
            with socket.create_connection(("127.0.0.1", port), START_TIMEOUT) as sock:
                host = f"127.0.0.1:{port}"
                sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                if sock.recv(12) == b"HTTP/1.1 200":
                    return
        except OSError:
            time.sleep(0.001)
    raise TimeoutError(f"no response from port {port}")


def measure_start(rounds: int) -> list[Row | Figure]:
    """Measure the time from the start of the process until it responds."""
    contestants = {"sandbox": start_sandbox, "bare": import_server}
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for name, start in shuffle(contestants, rounds + 1):
        began = time.perf_counter()
        start()
        times[name].append(time.perf_counter() - began)
    # The first ones are left out: they may have had to write their bytecode.
    ours, theirs = times["sandbox"][1:], times["bare"][1:]
    what = "aurpay sandbox, from its start until it responds"
    return [
        make_figure(what, "s", ours, hold=0.5),
        make_row(what, "import aiohttp.web", ours, theirs, hold=1.5),
    ]


def start_sandbox() -> None:
    """Start a sandbox and wait until it responds."""
    with run_sandbox():
        pass


def import_server() -> None:
    """Run a process that imports aiohttp.web."""
    with run_process(sys.executable, "-c", "import aiohttp.web") as process:
        process.wait(START_TIMEOUT)


async def measure_orders(rounds: int) -> list[Row | Figure]:
    """Measure orders per second, and the ratio to a bare aiohttp.web."""
    if bolt11.backend() != "wallycore":
        print("without the sandbox's orders: the extra [fast] is not installed")
        return []
    with run_sandbox() as port:
        connections = await connect(port, CONNECTIONS, ORDER)
        await measure(connections, 1)
        body = connections[0].body
        with run_server("-m", "benchmarks._bare", response=body) as url:
            bare_port = int(url.rpartition(":")[2])
            contestants = {
                "sandbox": connections,
                "bare": await connect(bare_port, CONNECTIONS, ORDER),
            }
            await measure(contestants["bare"], 1)
            times: dict[str, list[float]] = {name: [] for name in contestants}
            for name, opened in shuffle(contestants, rounds):
                times[name].append(await measure(opened, ORDERS))
    ours, theirs = times["sandbox"], times["bare"]
    what = f"aurpay sandbox, orders, {CONNECTIONS} in flight"
    rates = [1 / seconds for seconds in ours]
    return [
        make_figure(what, "a second", rates, hold=1000, ceiling=False),
        make_row(what, "bare aiohttp.web", ours, theirs, hold=6),
    ]


async def measure_lists(rounds: int, many: int) -> list[Row]:
    """Measure the CPU time of lists and overview with many orders, against few."""
    rows: list[Row] = []
    async with Sandbox(port=None) as large, Sandbox(port=None) as small:
        await fill(large, many)
        await fill(small, FEW)
        for path in ("/api/v2/order/", "/api/v2/order/?page=50", "/api/v2/tx", "/"):
            contestants = {"large": large.transport(), "small": small.transport()}
            times: dict[str, list[float]] = {name: [] for name in contestants}
            for name, transport in shuffle(contestants, rounds):
                times[name].append(await request_list(transport, path))
            what = f"sandbox with {many:,} orders, GET {path}"
            theirs = times["small"]
            rows.append(make_row(what, f"{FEW:,}", times["large"], theirs, hold=1.5))
    return rows


async def fill(sandbox: Sandbox, count: int) -> None:
    """Create an order, and add paid copies of it."""
    async with sandbox.client() as client:
        created = await client.create_order("20.00", "USD")
    await sandbox.pay(created.order_id)
    simulator = sandbox._simulator
    first = simulator.orders[created.order_id]
    for number in range(2, count + 1):
        order = attrs.evolve(first, order_id=f"{first.order_id[:14]}{number:06}")
        simulator.orders[order.order_id] = order
        simulator.account.add(order)


async def request_list(transport: Transport, path: str) -> float:
    """Return CPU seconds per request."""
    effect = Effect.READ
    request = Request(operation="list", method="GET", path=path, effect=effect)
    began = time.process_time()
    for _ in range(LISTS):
        await transport.send(request)
    return (time.process_time() - began) / LISTS
