"""HTTP for the commands: a server on loopback, and one request sent as it is."""

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

from .._urls import UrlError, is_loopback, parse_origin, require_secure
from ..sandbox._courier import send_once

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    #: Makes one for a server, when its address is known.
    MakeHandler = Callable[[str], Handler]

_HOST: Final = "127.0.0.1"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)

#: More than any callback has; the sandbox sends two mebibytes on request.
_MAX_REQUEST: Final = 4 * 1024 * 1024
#: How much of an answer is read.
_MAX_ANSWER: Final = 64 * 1024


class Answer(NamedTuple):
    """What came back, if anything did."""

    status: int | None
    body: bytes
    error: str | None
    seconds: float


@asynccontextmanager
async def serve(make_handler: MakeHandler, port: int = 0) -> AsyncGenerator[str, None]:
    """Serve every path with one handler, on loopback; gives the base URL."""
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
    """One request, whose URL goes over the wire as it is; no redirect is followed.

    It does not fail: what went wrong is in the answer.
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
                # aiohttp warns of large bodies that are bytes.
                data=BytesIO(body) if body else None,
                allow_redirects=False,
            ) as response,
        ):
            status = response.status
            received = await _read(response.content)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        problem = f"{type(error).__name__}: {error}"
    return Answer(status, received, problem, perf_counter() - began)


async def _read(content: aiohttp.StreamReader) -> bytes:
    try:
        return await content.readexactly(_MAX_ANSWER)
    except asyncio.IncompleteReadError as error:
        return error.partial


def require_sendable(url: str, *, anywhere: bool) -> None:
    """Refuse an address that cannot be called as it is written, or is elsewhere.

    Raises:
        UrlError: what is wrong with it.
    """
    scheme, host, port = parse_origin(url)
    require_secure((scheme, host, port))
    if not anywhere and not is_loopback(host):
        raise UrlError("is not on this machine; --anywhere allows it")
    if "#" in url or not url.isascii():
        raise UrlError("has a #fragment, or a character that is not percent-encoded")
    _, slash, path = url.partition("://")[2].partition("/")
    if slash + path != URL(url, encoded=True).raw_path_qs:
        raise UrlError("needs a path, and is sent as it is written or not at all")
