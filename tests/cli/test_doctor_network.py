"""What ``aurpay doctor`` finds at the server: name, connection, clock, signature."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import AurpayClient
from aurpay_async._cli import _doctor_network
from aurpay_async._cli._doctor_network import (
    ask_the_sandbox,
    greet,
    judge_clock,
    look_there,
    resolve,
)
from aurpay_async._models import Order
from aurpay_async._order_life import OrderStatus
from aurpay_async._urls import parse_origin
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock

from ..loopback import Server, answering, closed_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..loopback import Peer

CERTIFICATE = Path(__file__).parent / "loopback.pem"


async def found(url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Everything that is found at a base URL, by name."""
    monkeypatch.setenv("AURPAY_BASE_URL", url)
    return {finding.name: finding async for finding in look_there()}


@pytest.mark.parametrize(
    ("seconds", "verdict", "says"),
    [
        (0, "ok", "agrees"),
        (-10, "ok", "agrees"),
        (60, "warning", "60 seconds ahead of"),
        (-400, "problem", "6 minutes behind"),
    ],
)
def test_clocks(seconds: float, verdict: str, says: str) -> None:
    """Differ a little; more than that, and signatures fail."""
    finding = judge_clock(seconds)
    assert finding.verdict == verdict
    assert says in finding.found


@pytest.mark.parametrize(("days", "side"), [(1, "behind"), (-1, "ahead of")])
async def test_a_sandbox_whose_clock_is_a_day_off_is_a_problem_of_the_clock(
    monkeypatch: pytest.MonkeyPatch, days: int, side: str
) -> None:
    """It dates its answers by the clock that it checks signatures with."""
    clock = FakeClock(datetime.now(UTC) + timedelta(days=days, minutes=days))
    keys = {"api_token": "sandbox-token", "api_secret": "sandbox-secret"}
    for name, value in keys.items():
        monkeypatch.setenv(f"AURPAY_{name.upper()}", value)
    async with Sandbox(clock=clock, **keys) as sandbox:  # type: ignore[arg-type]
        findings = await found(sandbox.base_url, monkeypatch)
    assert findings["clock"].verdict == "problem"
    assert findings["clock"].found == f"24 hours {side} the server's"
    assert "POST /_sandbox/clock" in findings["clock"].advice
    assert "Date is too far off" in findings["signed GET"].found


async def test_a_server_whose_clock_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or this one's: the two are compared."""
    date = format_datetime(datetime.now(UTC) - timedelta(hours=3), usegmt=True)
    async with Server(answering(b"", "200 OK", f"Date: {date}")) as server:
        findings = await found(server.url, monkeypatch)
        [request, *_] = server.requests
    assert findings["clock"].verdict == "problem"
    assert "3 hours ahead" in findings["clock"].found
    assert request.startswith(b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize("date", ["Date: soon", "X-Date: now", "Date: "])
async def test_a_server_that_does_not_tell_the_time(
    monkeypatch: pytest.MonkeyPatch, date: str
) -> None:
    """Is odd, and no problem."""
    async with Server(answering(b"", "200 OK", date)) as server:
        findings = await found(server.url, monkeypatch)
    assert findings["clock"].verdict == "warning"


async def test_a_date_without_a_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is read as UTC."""
    date = f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S} -0000"
    async with Server(answering(b"", "200 OK", f"Date: {date}")) as server:
        findings = await found(server.url, monkeypatch)
    assert findings["clock"].verdict == "ok"


async def gone(peer: Peer) -> None:
    await peer.read_request()


async def endless(peer: Peer) -> None:
    await peer.write(b"x" * 200_000)
    await peer.wait_closed()


async def silent(peer: Peer) -> None:
    await peer.wait_closed()


@pytest.mark.parametrize(
    ("script", "says", "patience_s"),
    [
        (gone, "IncompleteReadError", 30),
        (endless, "LimitOverrunError", 30),
        (silent, "not within", 1),
    ],
)
async def test_what_is_no_http(
    monkeypatch: pytest.MonkeyPatch, script: Any, says: str, patience_s: float
) -> None:
    """Is a problem, which is found within seconds."""
    monkeypatch.setattr(_doctor_network, "_PATIENCE_S", patience_s)
    async with Server(script) as server:
        findings = await found(server.url, monkeypatch)
    assert findings["clock"].verdict == "problem"
    assert says in findings["clock"].found


async def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing more is asked."""
    async with closed_port() as url:
        findings = await found(url, monkeypatch)
    assert [*findings] == ["dns", "connection"]
    assert findings["connection"].verdict == "problem"


async def test_a_name_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is the first problem, and the last one that is looked for."""

    async def unknown(*_: Any, **__: Any) -> Any:
        raise OSError(-2, "Name or service not known")

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", unknown)
    findings = await found("https://aurpay.invalid", monkeypatch)
    assert [*findings] == ["dns"]
    assert "Name or service not known" in findings["dns"].found


@pytest.mark.parametrize(
    ("hosts", "says"),
    [
        (["192.0.2.1", "192.0.2.1"], "aurpay.invalid has one address"),
        (["192.0.2.1", "192.0.2.2"], "aurpay.invalid has 2 addresses"),
    ],
)
async def test_addresses_are_counted(
    monkeypatch: pytest.MonkeyPatch, hosts: list[str], says: str
) -> None:
    """Each once, however many kinds of sockets it can be reached by."""

    async def known(*_: Any, **__: Any) -> Any:
        return [(None, None, None, "", (host, 443)) for host in hosts]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", known)
    assert (await resolve(parse_origin("https://aurpay.invalid"))).found == says


async def test_a_name_that_takes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is given up."""

    async def slow(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(_doctor_network, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", slow)
    finding = await resolve(parse_origin("https://aurpay.invalid"))
    assert "not within 0.05 seconds" in finding.found


@asynccontextmanager
async def secure() -> AsyncIterator[str]:
    """A TLS server on loopback that tells the time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        date = format_datetime(datetime.now(UTC), usegmt=True)
        writer.write(f"HTTP/1.1 200 OK\r\nDate: {date}\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Version and certificate, of a server that this machine is told to trust."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    async with secure() as url:
        greeted = await greet(parse_origin(url))
    assert greeted.connection.verdict == "ok"
    assert "TLSv1.3, a certificate for " in greeted.connection.found
    assert greeted.clock is not None
    assert greeted.clock.verdict == "ok"


async def test_a_certificate_that_ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is a warning."""

    class Later:
        @staticmethod
        def now() -> datetime:
            return datetime(2123, 12, 29, tzinfo=UTC)

    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    monkeypatch.setattr(_doctor_network, "SystemClock", Later)
    async with secure() as url:
        greeted = await greet(parse_origin(url))
    assert greeted.connection.verdict == "warning"
    assert "3 more days" in greeted.connection.found


async def test_a_certificate_that_does_not_verify(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Is a problem, and nothing is asked over such a connection."""
    async with secure() as url:
        findings = await found(url, monkeypatch)
    assert findings["connection"].verdict == "problem"
    assert "self-signed" in findings["connection"].found.replace(" ", "-")
    assert "clock" not in findings


async def test_a_server_elsewhere_is_asked_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A signed request goes to a sandbox only."""
    monkeypatch.setattr(_doctor_network, "is_loopback", lambda _: False)
    async with Sandbox() as sandbox:
        findings = await found(sandbox.base_url, monkeypatch)
        assert not sandbox.requests
    assert "signed GET" not in findings


@pytest.mark.parametrize(
    ("key", "fault", "verdict", "says"),
    [
        ("the-right-key", None, "ok", "taken"),
        ("another-key", None, "problem", "401"),
        ("", None, "ok", "without credentials"),
        ("the-right-key", "html", "problem", "answer"),
    ],
)
async def test_a_sandbox_is_asked(
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    fault: str | None,
    verdict: str,
    says: str,
) -> None:
    """With the credentials of the environment, if there are any."""
    async with Sandbox(api_key="the-right-key") as sandbox:
        monkeypatch.setenv("AURPAY_BASE_URL", sandbox.base_url)
        monkeypatch.setenv("AURPAY_API_KEY", key)
        if fault is not None:
            sandbox.faults.push(fault)
        finding = await ask_the_sandbox()
    assert finding.verdict == verdict
    assert says in finding.found


async def test_an_order_that_nobody_has_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever knows it answers anything."""

    async def get(_: AurpayClient, order_id: str) -> Order:
        return Order(order_id=order_id, status=OrderStatus.SUCCESS)

    monkeypatch.setenv("AURPAY_API_KEY", "a-made-up-api-key")
    monkeypatch.setattr(AurpayClient, "get_order", get)
    assert (await ask_the_sandbox()).verdict == "warning"
