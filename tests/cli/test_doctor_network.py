"""``aurpay doctor``: checks of DNS, connection, clock and signed request."""

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
from aurpay_async._api.models import Order, OrderStatus
from aurpay_async._cli import doctor
from aurpay_async._cli.doctor import (
    check_server,
    check_signed_request,
    compare_clocks,
    probe,
    resolve,
)
from aurpay_async._core.urls import parse_origin
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock

from ..support.loop_time import advance_loop
from ..support.loopback import Server, answering, closed_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..support.loopback import Peer

CERTIFICATE = Path(__file__).parent / "loopback.pem"


async def check_url(url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the findings for a base URL by name."""
    monkeypatch.setenv("AURPAY_BASE_URL", url)
    return {finding.name: finding async for finding in check_server()}


@pytest.mark.parametrize(
    ("seconds", "verdict", "says"),
    [
        (0, "ok", "agrees"),
        (-10, "ok", "agrees"),
        (60, "warning", "60 seconds ahead of"),
        (-400, "problem", "6 minutes behind"),
    ],
)
def test_clock_difference_decides_the_verdict(
    seconds: float, verdict: str, says: str
) -> None:
    finding = compare_clocks(seconds)
    assert finding.verdict == verdict
    assert says in finding.found


@pytest.mark.parametrize(("days", "side"), [(1, "behind"), (-1, "ahead of")])
async def test_sandbox_clock_a_day_off_is_a_clock_problem(
    monkeypatch: pytest.MonkeyPatch, days: int, side: str
) -> None:
    """The sandbox dates its responses by the clock that checks signatures."""
    clock = FakeClock(datetime.now(UTC) + timedelta(days=days, minutes=days))
    keys = {"api_token": "sandbox-token", "api_secret": "sandbox-secret"}
    for name, value in keys.items():
        monkeypatch.setenv(f"AURPAY_{name.upper()}", value)
    async with Sandbox(clock=clock, **keys) as sandbox:  # type: ignore[arg-type]
        findings = await check_url(sandbox.base_url, monkeypatch)
    assert findings["clock"].verdict == "problem"
    assert findings["clock"].found == f"24 hours {side} the server's"
    assert "POST /_sandbox/clock" in findings["clock"].advice
    assert "Date is outside the tolerance" in findings["signed GET"].found


async def test_server_clock_is_compared_by_its_date_header(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    date = format_datetime(datetime.now(UTC) - timedelta(hours=3), usegmt=True)
    async with Server(answering(b"", "200 OK", f"Date: {date}")) as server:
        findings = await check_url(server.url, monkeypatch)
        [request, *_] = server.requests
    assert findings["clock"].verdict == "problem"
    assert "3 hours ahead" in findings["clock"].found
    assert request.startswith(b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize("date", ["Date: soon", "X-Date: now", "Date: "])
async def test_missing_date_header_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, date: str
) -> None:
    async with Server(answering(b"", "200 OK", date)) as server:
        findings = await check_url(server.url, monkeypatch)
    assert findings["clock"].verdict == "warning"


async def test_date_header_without_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    date = f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S} -0000"
    async with Server(answering(b"", "200 OK", f"Date: {date}")) as server:
        findings = await check_url(server.url, monkeypatch)
    assert findings["clock"].verdict == "ok"


async def gone(peer: Peer) -> None:
    await peer.read_request()


async def endless(peer: Peer) -> None:
    await peer.read_request()
    await peer.write(b"x" * 200_000)
    await peer.wait_closed()


async def silent(peer: Peer) -> None:
    advance_loop(30)
    await peer.wait_closed()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (gone, "ServerDisconnectedError"),
        (endless, "ClientResponseError"),
        (silent, "no result within"),
    ],
)
async def test_server_without_http_is_a_problem_after_a_time_limit(
    monkeypatch: pytest.MonkeyPatch, script: Any, says: str
) -> None:
    monkeypatch.setattr(doctor, "_TIMEOUT_S", 30)
    async with Server(script) as server:
        findings = await check_url(server.url, monkeypatch)
    assert findings["clock"].verdict == "problem"
    assert says in findings["clock"].found


async def test_refused_connection_ends_the_server_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with closed_port() as url:
        findings = await check_url(url, monkeypatch)
    assert [*findings] == ["dns", "connection"]
    assert findings["connection"].verdict == "problem"


async def test_unknown_host_ends_the_server_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def unknown(*_: Any, **__: Any) -> Any:
        raise OSError(-2, "Name or service not known")

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", unknown)
    findings = await check_url("https://aurpay.invalid", monkeypatch)
    assert [*findings] == ["dns"]
    assert "Name or service not known" in findings["dns"].found


@pytest.mark.parametrize(
    ("hosts", "says"),
    [
        (["192.0.2.1", "192.0.2.1"], "aurpay.invalid has one address"),
        (["192.0.2.1", "192.0.2.2"], "aurpay.invalid has 2 addresses"),
    ],
)
async def test_doctor_counts_each_address_once(
    monkeypatch: pytest.MonkeyPatch, hosts: list[str], says: str
) -> None:
    async def known(*_: Any, **__: Any) -> Any:
        return [(None, None, None, "", (host, 443)) for host in hosts]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", known)
    assert (await resolve(parse_origin("https://aurpay.invalid"))).found == says


async def test_slow_name_resolution_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(doctor, "_TIMEOUT_S", 0.05)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", slow)
    finding = await resolve(parse_origin("https://aurpay.invalid"))
    assert "no result within 0.05 seconds" in finding.found


@asynccontextmanager
async def secure() -> AsyncIterator[str]:
    """Serve TLS on loopback, with a Date header."""
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


async def test_probe_reports_tls_version_and_certificate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    async with secure() as url:
        connection, *rest = await probe(parse_origin(url))
    assert connection.verdict == "ok"
    assert "TLSv1.3, certificate valid for " in connection.found
    assert [finding.verdict for finding in rest] == ["ok"]


async def test_certificate_that_expires_soon_is_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Later:
        @staticmethod
        def now() -> datetime:
            return datetime(2123, 12, 29, tzinfo=UTC)

    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    monkeypatch.setattr(doctor, "SystemClock", Later)
    async with secure() as url:
        connection, *_ = await probe(parse_origin(url))
    assert connection.verdict == "warning"
    assert "3 more days" in connection.found


async def test_invalid_certificate_ends_the_server_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with secure() as url:
        findings = await check_url(url, monkeypatch)
    assert findings["connection"].verdict == "problem"
    assert "self-signed" in findings["connection"].found.replace(" ", "-")
    assert "clock" not in findings


async def test_remote_server_gets_no_signed_request_and_the_report_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "is_loopback", lambda _: False)
    async with Sandbox() as sandbox:
        findings = await check_url(sandbox.base_url, monkeypatch)
        assert not sandbox.requests
    signed = findings["signed GET"]
    assert (signed.verdict, signed.found[:8]) == ("ok", "not sent")
    assert "aurpay order list" in signed.advice


@pytest.mark.parametrize(
    ("key", "fault", "verdict", "says"),
    [
        ("the-right-key", None, "ok", "accepted"),
        ("another-key", None, "problem", "401"),
        ("", None, "ok", "without credentials"),
        ("the-right-key", "html", "problem", "not JSON"),
    ],
)
async def test_sandbox_gets_a_signed_request(
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    fault: str | None,
    verdict: str,
    says: str,
) -> None:
    async with Sandbox(api_key="the-right-key") as sandbox:
        monkeypatch.setenv("AURPAY_BASE_URL", sandbox.base_url)
        monkeypatch.setenv("AURPAY_API_KEY", key)
        if fault is not None:
            sandbox.faults.push(fault)
        finding = await check_signed_request()
    assert finding.verdict == verdict
    assert says in finding.found


async def test_server_that_returns_a_nonexistent_order_is_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def get(_: AurpayClient, order_id: str) -> Order:
        return Order(order_id=order_id, status=OrderStatus.SUCCESS)

    monkeypatch.setenv("AURPAY_API_KEY", "a-made-up-api-key")
    monkeypatch.setattr(AurpayClient, "get_order", get)
    assert (await check_signed_request()).verdict == "warning"
