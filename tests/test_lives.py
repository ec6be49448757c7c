"""One client through the lives of a program: loops, threads, and being forgotten."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

SERVER = """
import asyncio, sys, threading
from aurpay_async import AurpayClient, ConfigurationError
from aurpay_async.sandbox import Sandbox

async def order(port):
    async with Sandbox(port=port):
        return await aurpay.create_order("20.00", "USD")

def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]

port = free_port()
aurpay = AurpayClient(base_url=f"http://127.0.0.1:{port}", network="regtest")
"""


def program(code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """Runs it as developers do who want to hear of everything."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", *flags, "-c", SERVER + dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    # asyncio tells in its debug mode how slow this machine is.
    told = [line for line in done.stderr.splitlines() if "Executing <" not in line]
    done.stderr = "\n".join(told)
    return done


def test_several_loops_one_after_another() -> None:
    """As in scripts, notebooks and job workers; not a word of warning."""
    done = program(
        """
        for _ in range(3):
            asyncio.run(order(port))
        thread = threading.Thread(target=lambda: asyncio.run(order(port)))
        thread.start()
        thread.join()
        asyncio.run(aurpay.aclose())
        print("done")
        """,
        "-W",
        "error",
    )
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


@pytest.mark.parametrize(
    "how",
    ["while its loop runs", "from another thread", "after its loop", "at the end"],
)
def test_a_client_that_is_never_closed(how: str) -> None:
    """One warning: what it is, and where it was made."""
    done = program(
        {
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
        }[how]
    )
    warnings = [line for line in done.stderr.splitlines() if "Warning" in line]
    assert len(warnings) == 1, done.stderr
    assert (
        "ResourceWarning: an AurpayClient made at <string>:17 was never"
        in (warnings[0])
    )
    assert done.returncode == 0


def test_a_client_that_was_never_used_needs_no_closing() -> None:
    """It holds nothing."""
    done = program("del aurpay", "-W", "error")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_twins_are_one_client() -> None:
    """Closing one of them is enough."""
    done = program(
        """
        async def main():
            global aurpay
            twin = aurpay.with_options()
            await order(port)
            await twin.aclose()
            del aurpay, twin
        asyncio.run(main())
        """,
        "-W",
        "error",
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
