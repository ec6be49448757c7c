"""The sandbox as programs meet it: how soon it is there, and how much it answers."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aurpay_async import bolt11

from ._crowd import ask, crowd
from ._measure import figure, row, shuffled
from ._processes import free_port, running, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._measure import Figure, Row

#: In flight at once.
CROWD = 64
#: Of each who asks, in each round.
ORDERS = 10
#: Nobody waits for longer.
PATIENCE_S = 60

BODY = b'{"price": 20.00, "currency": "USD"}'
ORDER = (
    b"POST /api/bln/order HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
) % (len(BODY), BODY)


def command() -> list[str]:
    """The command that is installed beside this Python; else, the module."""
    beside = str(Path(sys.executable).parent)
    script = shutil.which("aurpay", path=beside)
    return [script] if script else [sys.executable, "-m", "aurpay_async"]


@contextmanager
def sandbox() -> Iterator[int]:
    """The port of one in a process of its own, as soon as it answers."""
    port = free_port()
    quiet = subprocess.DEVNULL
    with running(*command(), "sandbox", "--port", str(port), stdout=quiet):
        wait_for(port)
        yield port


def wait_for(port: int) -> None:
    """Until somebody answers there.

    Raises:
        TimeoutError: if nobody does.
    """
    began = time.perf_counter()
    while time.perf_counter() - began < PATIENCE_S:
        try:
            with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
                host = f"127.0.0.1:{port}"
                sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                if sock.recv(12) == b"HTTP/1.1 200":
                    return
        except OSError:
            time.sleep(0.001)
    raise TimeoutError(f"nobody answers at port {port}")


def starts(rounds: int) -> list[Row | Figure]:
    """From the start of the process until it answers, by the clock."""
    contestants = {"sandbox": start_sandbox, "bare": import_server}
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for name, start in shuffled(contestants, rounds + 1):
        began = time.perf_counter()
        start()
        times[name].append(time.perf_counter() - began)
    # The first ones may have had to write their bytecode.
    ours, theirs = times["sandbox"][1:], times["bare"][1:]
    what = "aurpay sandbox, from its start until it answers"
    return [
        figure(what, "s", ours, hold=0.5),
        row(what, "import aiohttp.web", ours, theirs, hold=1.5),
    ]


def start_sandbox() -> None:
    """Until it answers; that it is killed afterwards takes no time."""
    with sandbox():
        pass


def import_server() -> None:
    """A process that has loaded what serves, and nothing more."""
    with running(sys.executable, "-c", "import aiohttp.web") as process:
        process.wait(PATIENCE_S)


async def orders(rounds: int) -> list[Row | Figure]:
    """Orders for each second, and the time of one over that of a bare aiohttp.web."""
    if bolt11.backend() != "wallycore":
        print("without the sandbox's orders: the extra [fast] is not installed")
        return []
    with sandbox() as port:
        customers = await crowd(port, CROWD, ORDER)
        await ask(customers, 1)
        body = customers[0].body
        with serving("-m", "benchmarks._bare", answer=body) as url:
            bare_port = int(url.rpartition(":")[2])
            contestants = {
                "sandbox": customers,
                "bare": await crowd(bare_port, CROWD, ORDER),
            }
            await ask(contestants["bare"], 1)
            times: dict[str, list[float]] = {name: [] for name in contestants}
            for name, crowded in shuffled(contestants, rounds):
                times[name].append(await ask(crowded, ORDERS))
    ours, theirs = times["sandbox"], times["bare"]
    what = f"aurpay sandbox, orders, {CROWD} in flight"
    rates = [1 / seconds for seconds in ours]
    return [
        figure(what, "a second", rates, hold=1000, ceiling=False),
        row(what, "bare aiohttp.web", ours, theirs, hold=6),
    ]
