"""Checks of ``aurpay doctor`` on the server: DNS, certificate, clock, signature."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from .._client import AurpayClient
from .._clock import SystemClock
from .._urls import format_origin, is_loopback
from ..errors import (
    AurpayError,
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
)
from ._doctor_local import configured_origin
from ._findings import Finding
from ._times import span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from .._urls import Origin

#: Timeout of each step.
_TIMEOUT_S: Final = 5

#: Up to the first limit, the difference may be the delay of the response. Above the
#: second, `CallbackVerifier` and the checks of invoices fail.
_SKEW_OK_S: Final = 10
_SKEW_WARNING_S: Final = 300

_DAY_S: Final = 86_400
#: Certificates that are renewed automatically have more days left.
_CERTIFICATE_DAYS: Final = 7

#: The id of no order.
_NO_ORDER: Final = "00000000000000000000"


async def check_server() -> AsyncIterator[Finding]:
    """Run all checks of the configured server, until one cannot go on."""
    try:
        origin = configured_origin()
    except ConfigurationError:
        return  # check_base_url() reports it
    addresses = await resolve(origin)
    yield addresses
    if addresses.verdict == "problem":
        return
    result = await probe(origin)
    yield result.connection
    if result.clock is None:
        return
    yield result.clock
    if is_loopback(origin[1]):
        yield await check_signed_request()


async def resolve(origin: Origin) -> Finding:
    """Check that the host has an address."""
    _, host, port = origin
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            found = await loop.getaddrinfo(host.strip("[]"), port)
    except OSError as error:  # a timeout among them
        problem = f"{host} has no address: {_reason(error)}"
        return Finding("dns", "problem", problem, "Check the name and the network.")
    count = len({address[4][0] for address in found})
    addresses = "one address" if count == 1 else f"{count} addresses"
    return Finding("dns", "ok", f"{host} has {addresses}")


class ProbeResult(NamedTuple):
    """Findings of one connection."""

    connection: Finding
    #: ``None`` if the connection failed.
    clock: Finding | None


async def probe(origin: Origin) -> ProbeResult:
    """Connect, and send one HEAD request without credentials."""
    scheme, host, port = origin
    context = ssl.create_default_context() if scheme == "https" else None
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(
                host.strip("[]"), port, ssl=context
            )
    except ssl.SSLCertVerificationError as error:
        found = f"the certificate is not valid: {error.verify_message}"
        advice = "Stop: check the clock, the proxy and the trusted certificates."
        return ProbeResult(Finding("connection", "problem", found, advice), None)
    except OSError as error:
        found = f"cannot connect to port {port}: {_reason(error)}"
        advice = "Check the network and the firewall, and whether a proxy is needed."
        return ProbeResult(Finding("connection", "problem", found, advice), None)
    try:
        connection = _check_certificate(writer)
        return ProbeResult(connection, await _read_clock(origin, reader, writer))
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _check_certificate(writer: asyncio.StreamWriter) -> Finding:
    tls = cast("ssl.SSLObject | None", writer.get_extra_info("ssl_object"))
    if tls is None:
        return Finding("connection", "ok", "plain HTTP on this machine")
    certificate = tls.getpeercert() or {}
    ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    left = (ends - SystemClock().now().timestamp()) // _DAY_S
    found = f"{tls.version()}, certificate valid for {left:,.0f} more days"
    if left < _CERTIFICATE_DAYS:
        advice = "Renew the certificate: no client connects after it has expired."
        return Finding("connection", "warning", found, advice)
    return Finding("connection", "ok", found)


async def _read_clock(
    origin: Origin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Finding:
    _, _, host = format_origin(origin).partition("://")
    head = f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            writer.write(head.encode("ascii"))
            answer = await reader.readuntil(b"\r\n\r\n")
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:
        found = f"no HTTP response: {_reason(error)}"
        return Finding("clock", "problem", found, "Check AURPAY_BASE_URL.")
    date = _parse_date(answer)
    if date is None:
        return Finding("clock", "warning", "the response has no Date header")
    skew_s = (SystemClock().now() - date).total_seconds()
    return compare_clocks(skew_s, is_local=is_loopback(origin[1]))


def compare_clocks(skew_s: float, *, is_local: bool = False) -> Finding:
    """Return the finding for a difference of the clocks.

    Args:
        skew_s: Seconds by which the clock of this machine is ahead.
        is_local: Whether the server is a sandbox on this machine, in which case its
            clock can be set.
    """
    if abs(skew_s) <= _SKEW_OK_S:
        return Finding("clock", "ok", "agrees with the server's")
    side = "ahead of" if skew_s > 0 else "behind"
    found = f"{span(abs(skew_s))} {side} the server's"
    advice = "Set the clock, preferably by NTP: signatures and invoices depend on it."
    if is_local:
        advice = (
            "Signatures and invoices depend on it: --start and POST /_sandbox/clock "
            "set the clock of a sandbox."
        )
    severe = abs(skew_s) > _SKEW_WARNING_S
    return Finding("clock", "problem" if severe else "warning", found, advice)


async def check_signed_request() -> Finding:
    """Send a signed request to a sandbox; other servers get none."""
    try:
        async with AurpayClient.from_env() as aurpay:
            await aurpay.get_order(_NO_ORDER)
    except NotFoundError:
        return Finding("signed GET", "ok", "accepted")
    except AuthenticationError as error:
        advice = "Use the same credentials for both, and check the clock."
        return Finding("signed GET", "problem", str(error), advice)
    except ConfigurationError:
        return Finding("signed GET", "ok", "not sent without credentials")
    except AurpayError as error:
        return Finding("signed GET", "problem", str(error), "Is this a sandbox?")
    return Finding(
        "signed GET", "warning", "the server returned an order that does not exist"
    )


def _parse_date(answer: bytes) -> datetime | None:
    for line in answer.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "date":
            with suppress(ValueError):
                date = parsedate_to_datetime(value.strip())
                return date.replace(tzinfo=date.tzinfo or UTC)
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no result within {_TIMEOUT_S} seconds"
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or type(error).__name__
