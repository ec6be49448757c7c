"""What the doctor sees of the server: its name, its certificate, its clock."""

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

#: For each thing that is looked at.
_PATIENCE_S: Final = 5

#: What a reading of the clock is worth; then what signatures may depend on; then what
#: `CallbackVerifier` and the check of invoices forgive.
_SKEW_OK_S: Final = 10
_SKEW_WARNING_S: Final = 300

_DAY_S: Final = 86_400
#: Who renews certificates by machine does so earlier.
_CERTIFICATE_DAYS: Final = 7

#: An id that no order has.
_NO_ORDER: Final = "00000000000000000000"


async def look_there() -> AsyncIterator[Finding]:
    """Everything that asks the configured server, as far as it can be reached."""
    try:
        origin = configured_origin()
    except ConfigurationError:
        return  # said already
    names = await resolve(origin)
    yield names
    if names.verdict == "problem":
        return
    greeted = await greet(origin)
    yield greeted.connection
    if greeted.clock is None:
        return
    yield greeted.clock
    if is_loopback(origin[1]):
        yield await ask_the_sandbox()


async def resolve(origin: Origin) -> Finding:
    """Whether the host has an address."""
    _, host, port = origin
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            found = await loop.getaddrinfo(host.strip("[]"), port)
    except OSError as error:  # a timeout among them
        problem = f"{host} has no address: {_why(error)}"
        return Finding("dns", "problem", problem, "Check the name and the network.")
    count = len({address[4][0] for address in found})
    addresses = "one address" if count == 1 else f"{count} addresses"
    return Finding("dns", "ok", f"{host} has {addresses}")


class Greeting(NamedTuple):
    """What one connection has shown."""

    connection: Finding
    #: ``None`` if it could not be used.
    clock: Finding | None


async def greet(origin: Origin) -> Greeting:
    """Connect, and ask for nothing but the head of an answer."""
    scheme, host, port = origin
    context = ssl.create_default_context() if scheme == "https" else None
    try:
        async with asyncio.timeout(_PATIENCE_S):
            reader, writer = await asyncio.open_connection(
                host.strip("[]"), port, ssl=context
            )
    except ssl.SSLCertVerificationError as error:
        found = f"the certificate does not verify: {error.verify_message}"
        advice = "Do not go on: check the clock, the proxy, and the certificates here."
        return Greeting(Finding("connection", "problem", found, advice), None)
    except OSError as error:
        found = f"none to port {port}: {_why(error)}"
        advice = "Check network and firewall; is a proxy needed?"
        return Greeting(Finding("connection", "problem", found, advice), None)
    try:
        connection = _judge_connection(writer)
        return Greeting(connection, await _read_clock(origin, reader, writer))
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _judge_connection(writer: asyncio.StreamWriter) -> Finding:
    tls = cast("ssl.SSLObject | None", writer.get_extra_info("ssl_object"))
    if tls is None:
        return Finding("connection", "ok", "plain HTTP on this machine")
    certificate = tls.getpeercert() or {}
    ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    left = (ends - SystemClock().now().timestamp()) // _DAY_S
    found = f"{tls.version()}, a certificate for {left:,.0f} more days"
    if left < _CERTIFICATE_DAYS:
        advice = "It ends soon; nothing works after that."
        return Finding("connection", "warning", found, advice)
    return Finding("connection", "ok", found)


async def _read_clock(
    origin: Origin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Finding:
    _, _, host = format_origin(origin).partition("://")
    head = f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(_PATIENCE_S):
            writer.write(head.encode("ascii"))
            answer = await reader.readuntil(b"\r\n\r\n")
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:
        found = f"no answer in HTTP: {_why(error)}"
        return Finding("clock", "problem", found, "Is this the right address?")
    date = _date(answer)
    if date is None:
        return Finding("clock", "warning", "the server does not tell the time")
    skew_s = (SystemClock().now() - date).total_seconds()
    return judge_clock(skew_s, here=is_loopback(origin[1]))


def judge_clock(skew_s: float, *, here: bool = False) -> Finding:
    """What so many seconds mean by which this clock is ahead.

    Args:
        skew_s: How far it is ahead.
        here: Whether the server is on this machine: then it is a sandbox, whose clock
            can be moved or stand still.
    """
    if abs(skew_s) <= _SKEW_OK_S:
        return Finding("clock", "ok", "agrees with the server's")
    side = "ahead of" if skew_s > 0 else "behind"
    found = f"{span(abs(skew_s))} {side} the server's"
    advice = "Set the clock, by NTP best: signatures and invoices depend on it."
    if here:
        advice = (
            "Signatures and invoices depend on it: a sandbox takes its clock from "
            "--start and POST /_sandbox/clock."
        )
    severe = abs(skew_s) > _SKEW_WARNING_S
    return Finding("clock", "problem" if severe else "warning", found, advice)


async def ask_the_sandbox() -> Finding:
    """Whether a signed request is taken: by one on this machine, and by no other."""
    try:
        async with AurpayClient.from_env() as aurpay:
            await aurpay.get_order(_NO_ORDER)
    except NotFoundError:
        return Finding("signed GET", "ok", "taken")
    except AuthenticationError as error:
        advice = "Give both sides the same credentials, and check the clock."
        return Finding("signed GET", "problem", str(error), advice)
    except ConfigurationError:
        return Finding("signed GET", "ok", "not made without credentials")
    except AurpayError as error:
        return Finding("signed GET", "problem", str(error), "Is this a sandbox?")
    return Finding("signed GET", "warning", "it knows an order that nobody has made")


def _date(answer: bytes) -> datetime | None:
    for line in answer.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "date":
            with suppress(ValueError):
                date = parsedate_to_datetime(value.strip())
                return date.replace(tzinfo=date.tzinfo or UTC)
    return None


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"not within {_PATIENCE_S} seconds"
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or type(error).__name__
