"""Translate errors of aiohttp and of the operating system into ours."""

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

#: Limits of a response's headers: gateways add policies and cookies of many kilobytes.
#: The size is that of http.client; aiohttp's defaults are 8,190 bytes and 128 headers.
MAX_HEADER_SIZE: Final = 65_536
MAX_HEADERS: Final = 1_000

#: How aiohttp's messages about oversized headers begin, and ours, which show no values.
_HEADER_MESSAGES: Final = {
    "Got more than": f"the response has a header of more than {MAX_HEADER_SIZE} bytes",
    "Too many headers": f"the response has more than {MAX_HEADERS} headers",
}

_TLS: Final = (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError)
#: Errors of the network. Any other exception is a bug in the code that raised it.
_NETWORK: Final = (aiohttp.ClientError, OSError)
_PATCHED: Final = "is aiohttp patched? See the page on testing"


def translate(
    error: BaseException, origin: str, outcome: RequestOutcome
) -> TransportError:
    """Return our error for an exception of aiohttp or of the operating system."""
    if isinstance(error, asyncio.CancelledError):
        message = f"the connections to {origin} were closed during the call"
        return ConnectError(message, outcome=outcome, final=True)
    if not isinstance(error, _NETWORK):
        message = f"{_where(error)} during a call to {origin}; {_PATCHED}"
        return TransportError(message, outcome=outcome, final=True)
    if outcome is RequestOutcome.NOT_SENT:
        return _not_connected(error, origin)
    if isinstance(error, TimeoutError):
        return RequestTimeoutError(f"no complete response from {origin} in time")
    return ConnectionLostError(f"the connection to {origin} broke: {_describe(error)}")


def _not_connected(error: BaseException, origin: str) -> ConnectError:
    not_sent, problem = RequestOutcome.NOT_SENT, _describe(error)
    if isinstance(error, _TLS):
        message = f"TLS with {origin} failed: {problem}"
        return ConnectError(message, outcome=not_sent, final=True)
    if isinstance(error, TimeoutError):
        message = f"no connection to {origin} in time"
        return ConnectTimeoutError(message, outcome=not_sent)
    final = isinstance(error, aiohttp.ClientHttpProxyError)
    if final or isinstance(error, aiohttp.ClientProxyConnectionError):
        origin = f"the proxy for {origin}"
    message = f"cannot connect to {origin}: {problem}"
    return ConnectError(message, outcome=not_sent, final=final)


def _describe(error: BaseException) -> str:
    """Describe an error without its values: some print the request's headers."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, OSError) and not isinstance(error, aiohttp.ClientError):
        return f"{type(error).__name__}: {error.strerror or error}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"it answered with HTTP {error.status}"
    if isinstance(error, aiohttp.ClientResponseError):
        return next(
            (
                text
                for start, text in _HEADER_MESSAGES.items()
                if error.message.startswith(start)
            ),
            "the response is not HTTP",
        )
    return type(error).__name__


def _where(error: BaseException) -> str:
    """Return type and place of an exception, not its message, which may hold values."""
    *_, (frame, line) = walk_tb(error.__traceback__)
    module = frame.f_globals.get("__name__", "an unknown module")
    return f"{type(error).__qualname__} in {module}, line {line},"


def safe_cause(error: Exception) -> Exception | None:
    """Return the OSError behind an exception of aiohttp, without its traceback."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if not isinstance(error, OSError) or isinstance(error, aiohttp.ClientError):
        return None
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
