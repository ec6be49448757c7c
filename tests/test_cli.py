"""The ``aurpay`` command: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from aurpay_async import AurpayClient, bolt11

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("cyclopts", reason="the extra `cli` is not installed")

ENVIRONMENT = {
    **os.environ,
    "NO_COLOR": "1",
    "COLUMNS": "100",
    "PYTHONWARNINGS": "error",
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aurpay_async", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=ENVIRONMENT,
        encoding="utf-8",
    )


def test_demo_shows_an_order_and_what_was_checked() -> None:
    """In a pipe: no colours, no control characters, a clean end."""
    done = run("demo")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    invoice = re.search(r"^lnbcrt\w+$", done.stdout, re.MULTILINE)
    assert invoice
    decoded = bolt11.decode(invoice[0])
    assert decoded.amount_msat == 20_000_000
    for check in (
        "signature",
        "network",
        "amount",
        "payment_secret",
        "timestamp",
        "expiry",
        "payee",
        "pay_url",
    ):
        assert re.search(rf"✓ +{check} ", done.stdout)
    assert "20.00 USD" in done.stdout
    assert "sandbox is shut down" in done.stdout


def test_the_qr_code_of_the_demo_is_the_invoice() -> None:
    """Read back from the printed characters, module for module."""
    import segno

    done = run("demo")
    drawn = [line[2:] for line in done.stdout.splitlines() if "█" in line]
    invoice = re.search(r"^lnbcrt\w+$", done.stdout, re.MULTILINE)
    assert invoice
    code = segno.make(f"LIGHTNING:{invoice[0].upper()}", error="l", micro=False)
    expected = [list(row) for row in code.matrix_iter(border=2)]
    upper = {"█": 0, "▀": 0, "▄": 1, " ": 1}
    lower = {"█": 0, "▄": 0, "▀": 1, " ": 1}
    width = len(expected[0])
    seen = [
        [table[char] for char in line.ljust(width)[:width]]
        for line in drawn
        for table in (upper, lower)
    ]
    assert seen[: len(expected)] == expected
    assert code.mode == "alphanumeric"


def test_help_lists_the_commands() -> None:
    """With a sentence each."""
    done = run("--help")
    assert done.returncode == 0
    assert re.search(r"demo +Start a sandbox, create an order", done.stdout)
    assert re.search(r"sandbox +Serve a local Aurpay", done.stdout)


def test_version() -> None:
    """That of the installed package."""
    import aurpay_async

    assert run("--version").stdout.strip() == aurpay_async.__version__


def test_an_unknown_command_fails() -> None:
    """Not silently."""
    assert run("dance").returncode != 0


async def test_sandbox_serves_until_ctrl_c() -> None:
    """It says where it is; a client of its own process creates an order there."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "aurpay_async",
        "sandbox",
        "--amounts",
        "number",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**ENVIRONMENT, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
    url = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert url
    async with AurpayClient(base_url=url[0], network="regtest") as aurpay:
        order = await aurpay.create_order("20.00", "USD")
    assert order.coin is None  # as in the documented example with a number
    process.send_signal(signal.SIGINT)
    _, stderr = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, stderr) == (130, b"")


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_sandbox_on_a_port_that_cannot_be(port: str) -> None:
    """Said so, without a traceback."""
    done = run("sandbox", "--port", port)
    assert done.returncode in {1, 2}  # older and newer cyclopts
    assert "Traceback" not in done.stderr
    assert "port" in (done.stdout + done.stderr).lower()


def test_a_terminal_that_knows_only_ascii() -> None:
    """Shows question marks where it cannot show more."""
    done = subprocess.run(
        [sys.executable, "-m", "aurpay_async", "demo"],
        capture_output=True,
        check=False,
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"lnbcrt" in done.stdout


def test_giving_up_while_it_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends as Ctrl-C does anywhere else."""

    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "aurpay_async._cli._app":
                raise KeyboardInterrupt

    from aurpay_async import _cli

    monkeypatch.delitem(sys.modules, "aurpay_async._cli._app", raising=False)
    monkeypatch.delattr(_cli, "_app", raising=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    with pytest.raises(SystemExit) as caught:
        _cli.main()
    assert caught.value.code == 130


async def test_sandbox_on_a_port_that_is_taken() -> None:
    """One sentence and exit code 1, no traceback."""
    from aurpay_async.sandbox import Sandbox

    async with Sandbox() as sandbox:
        port = sandbox.base_url.rpartition(":")[2]
        done = await asyncio.to_thread(run, "sandbox", "--port", port)
    assert done.returncode == 1
    assert "address already in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("missing", ["cyclopts", "rich", "segno"])
def test_without_the_extra_it_says_what_to_install(
    missing: str, tmp_path: Path
) -> None:
    """A sentence, and exit code 2."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys; sys.modules[{missing!r}] = None\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "aurpay_async", "demo"],
        capture_output=True,
        text=True,
        check=False,
        env={**ENVIRONMENT, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert 'pip install "aurpay-async[cli]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_other_missing_modules_are_not_blamed_on_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broken installation shows as what it is."""
    from aurpay_async import _cli

    monkeypatch.setitem(sys.modules, "aurpay_async._cli._app", None)
    with pytest.raises(ModuleNotFoundError):
        _cli.main()
