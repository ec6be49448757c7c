"""One client through the lives of a program: loops, threads, and being forgotten."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from textwrap import dedent

import pytest

pytestmark = pytest.mark.slow

SERVER = """
import asyncio, sys, threading
from aurpay_async import AurpayClient, ConfigurationError
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock
from datetime import UTC, datetime, timedelta
from itertools import count

seconds = count()

async def order(port):
    # The ids of two sandboxes that start within a second would be the same.
    now = datetime.now(UTC) + timedelta(seconds=next(seconds))
    async with Sandbox(port=port, clock=FakeClock(now)):
        return await aurpay.create_order("20.00", "USD")

def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]

port = free_port()
aurpay = AurpayClient(base_url=f"http://127.0.0.1:{port}", network="regtest")
"""

#: Each part has a scope; that of the last one lives as long as the program.
PROGRAM = """
import logging, sys
# asyncio tells in its debug mode how slow this machine is, in the midst of other lines.
logging.getLogger("asyncio").addFilter(lambda said: "Executing" not in said.msg)
for number, (name, code) in enumerate(PARTS, 1):
    print(f"== {name}", file=sys.stderr, flush=True)
    names = globals() if number == len(PARTS) else {}
    exec(compile(code, "<string>", "exec"), names)
"""

SILENT = {
    "several loops": """
        for _ in range(3):
            asyncio.run(order(port))
        thread = threading.Thread(target=lambda: asyncio.run(order(port)))
        thread.start()
        thread.join()
        asyncio.run(aurpay.aclose())
    """,
    "never used": """
        del aurpay
    """,
    "twins": """
        async def main():
            global aurpay
            twin = aurpay.with_options()
            await order(port)
            await twin.aclose()
            del aurpay, twin
        asyncio.run(main())
    """,
}
FORGETFUL = {
    "while its loop runs": """
        async def main():
            global aurpay
            await order(port)
            del aurpay
            await asyncio.sleep(0)
        asyncio.run(main())
    """,
    "from another thread": """
        def forget():
            global aurpay
            del aurpay
        async def main():
            await order(port)
            await asyncio.to_thread(forget)
            await asyncio.sleep(0)
        asyncio.run(main())
    """,
    "after its loop": """
        asyncio.run(order(port))
        del aurpay
    """,
    "at the end": """
        asyncio.run(order(port))
    """,
}


@cache
def told(what: str) -> dict[str, str]:
    """Return the output of each part, run with all warnings on."""
    parts, flag = {
        "silent": (SILENT, "error"),
        "forgetful": (FORGETFUL, "always"),
    }[what]
    codes = [(name, SERVER + dedent(code)) for name, code in parts.items()]
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", flag, "-c", f"PARTS = {codes!r}{PROGRAM}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.stdout, done.returncode) == ("", 0), done.stderr
    sections = done.stderr.removeprefix("== ").split("\n== ")
    return {name: said for name, _, said in (text.partition("\n") for text in sections)}


def test_client_works_on_several_loops_in_sequence_without_warnings() -> None:
    assert told("silent")["several loops"] == ""


def test_unused_client_does_not_warn_when_collected() -> None:
    assert told("silent")["never used"] == ""


def test_closing_a_copy_closes_the_client() -> None:
    assert told("silent")["twins"] == ""


@pytest.mark.parametrize("how", FORGETFUL)
def test_unclosed_client_warns_once_with_its_creation_line(how: str) -> None:
    said = told("forgetful")[how]
    warnings = [line for line in said.splitlines() if "Warning" in line]
    assert len(warnings) == 1, said
    assert (
        "ResourceWarning: an AurpayClient created at <string>:24 was never"
        in (warnings[0])
    )
