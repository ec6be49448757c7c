"""HTTP for the commands: a loopback server, and one request without changes."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from io import BytesIO
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
from aiohttp import web
from yarl import URL

from .._core.urls import UrlError, is_loopback, parse_origin, require_secure
from ..sandbox._callbacks import send_once

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    #: Returns the handler of a server at a base URL.
    MakeHandler = Callable[[str], Handler]

_HOST: Final = "127.0.0.1"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)

#: Above the longest body that the sandbox sends, which is two mebibytes.
_MAX_REQUEST: Final = 4 * 1024 * 1024
#: Bytes of a response that are read.
_MAX_ANSWER: Final = 64 * 1024


class Answer(NamedTuple):
    """A response, or the error if there was none."""

    status: int | None
    body: bytes
    error: str | None
    seconds: float


@asynccontextmanager
async def serve(make_handler: MakeHandler, port: int = 0) -> AsyncGenerator[str, None]:
    """Serve every path with one handler on loopback, and yield the base URL."""
    with socket.create_server((_HOST, port)) as listening:
        base_url = f"http://{_HOST}:{listening.getsockname()[1]}"
        app = web.Application(client_max_size=_MAX_REQUEST)
        app.router.add_route("*", "/{path:.*}", make_handler(base_url))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.SockSite(runner, listening).start()
            yield base_url
        finally:
            await runner.cleanup()


async def send(
    method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes = b""
) -> Answer:
    """Send one request with its URL unchanged; do not follow redirects.

    A failure is returned as ``error`` of the answer.
    """
    began = perf_counter()
    status, received, problem = None, b"", None
    try:
        async with (
            aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=_TIMEOUT,
                middlewares=(send_once,),
            ) as session,
            session.request(
                method,
                URL(url, encoded=True),
                headers=[*headers],
                # aiohttp warns about large bodies of type bytes.
                data=BytesIO(body) if body else None,
                allow_redirects=False,
            ) as response,
        ):
            status = response.status
            received = await _read_start(response.content)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        problem = f"{type(error).__name__}: {error}"
    return Answer(status, received, problem, perf_counter() - began)


async def _read_start(content: aiohttp.StreamReader) -> bytes:
    try:
        return await content.readexactly(_MAX_ANSWER)
    except asyncio.IncompleteReadError as error:
        return error.partial


def require_sendable(url: str, *, anywhere: bool) -> None:
    """Reject a URL that would be changed when sent, or is not on this machine.

    Raises:
        UrlError: with the problem.
    """
    scheme, host, port = parse_origin(url)
    require_secure((scheme, host, port))
    if not anywhere and not is_loopback(host):
        raise UrlError("is not on this machine; --anywhere allows it")
    if "#" in url or not url.isascii():
        raise UrlError("has a #fragment, or a character that is not percent-encoded")
    _, slash, path = url.partition("://")[2].partition("/")
    if slash + path != URL(url, encoded=True).raw_path_qs:
        raise UrlError("needs a path, and no character that is changed when sent")
