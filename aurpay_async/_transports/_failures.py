"""Errors of aiohttp and of the system turned into ours: here and nowhere else."""

from __future__ import annotations

import asyncio
import ssl
from traceback import walk_tb
from typing import Final

import aiohttp

from ..errors import (
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    RequestOutcome,
    RequestTimeoutError,
    TransportError,
)

#: Of an answer's head: gateways add policies and cookies of many kilobytes. The size is
#: that of Python's http.client; aiohttp's own defaults are 8,190 bytes and 128 headers.
MAX_HEADER_SIZE: Final = 65_536
MAX_HEADERS: Final = 1_000

#: What aiohttp says of a head that it does not take, without the values in it.
_HEADS: Final = {
    "Got more than": f"the answer has a header of more than {MAX_HEADER_SIZE} bytes",
    "Too many headers": f"the answer has more than {MAX_HEADERS} headers",
}

_TLS: Final = (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError)
#: What a network does. Any other exception is a defect of the code that raised it.
_NETWORK: Final = (aiohttp.ClientError, OSError)
_PATCHED: Final = "is aiohttp patched? See the page on testing"


def translate(
    error: BaseException, origin: str, outcome: RequestOutcome
) -> TransportError:
    """Return the error of ours that says what a foreign one means."""
    if isinstance(error, asyncio.CancelledError):
        message = f"the connections to {origin} were closed during the call"
        return ConnectError(message, outcome=outcome, final=True)
    if not isinstance(error, _NETWORK):
        message = f"{_where(error)} during a call to {origin}; {_PATCHED}"
        return TransportError(message, outcome=outcome, final=True)
    if outcome is RequestOutcome.NOT_SENT:
        return _not_connected(error, origin)
    if isinstance(error, TimeoutError):
        return RequestTimeoutError(f"no complete answer from {origin} in time")
    return ConnectionLostError(f"the connection to {origin} broke: {_describe(error)}")


def _not_connected(error: BaseException, origin: str) -> ConnectError:
    not_sent, what = RequestOutcome.NOT_SENT, _describe(error)
    if isinstance(error, _TLS):
        message = f"TLS with {origin} failed: {what}"
        return ConnectError(message, outcome=not_sent, final=True)
    if isinstance(error, TimeoutError):
        message = f"no connection to {origin} in time"
        return ConnectTimeoutError(message, outcome=not_sent)
    final = isinstance(error, aiohttp.ClientHttpProxyError)
    if final or isinstance(error, aiohttp.ClientProxyConnectionError):
        origin = f"the proxy for {origin}"
    message = f"cannot connect to {origin}: {what}"
    return ConnectError(message, outcome=not_sent, final=final)


def _describe(error: BaseException) -> str:
    """What may be said of a foreign error: some show headers when they are printed."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, OSError) and not isinstance(error, aiohttp.ClientError):
        return f"{type(error).__name__}: {error.strerror or error}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"it answered with HTTP {error.status}"
    if isinstance(error, aiohttp.ClientResponseError):
        return next(
            (text for start, text in _HEADS.items() if error.message.startswith(start)),
            "the answer is not HTTP",
        )
    return type(error).__name__


def _where(error: BaseException) -> str:
    """Type and place of a foreign error. Its text may hold values, and is left out."""
    *_, (frame, line) = walk_tb(error.__traceback__)
    module = frame.f_globals.get("__name__", "an unknown module")
    return f"{type(error).__qualname__} in {module}, line {line},"


def presentable(error: Exception) -> Exception | None:
    """The system's error behind a foreign one, without the frames it came through."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if not isinstance(error, OSError) or isinstance(error, aiohttp.ClientError):
        return None
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
