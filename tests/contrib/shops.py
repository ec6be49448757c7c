"""A shop in each framework, served on loopback, and a client that exchanges bytes.

Each framework is imported where it serves: all processes of the suite import this
module, and few of them run its tests.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

import attrs

from aurpay_async.callbacks import CallbackProcessor, CallbackVerifier, MemoryInbox
from aurpay_async.testing import FakeClock

from .deliveries import FAILING, NOW, PUBLIC, REFERENCE_KEY, SECRET, SLOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aurpay_async.callbacks import Kind, Notification

#: More than any response on loopback takes.
SECONDS = 10

#: The routes of every shop; a last one has the path syntax of its framework.
ROUTES: list[tuple[str, Kind | None]] = [
    ("/aurpay/callback", None),
    ("/aurpay/paid", "paid"),
    ("/aurpay/timeout", "timeout"),
]


def verifier() -> CallbackVerifier:
    """Return a verifier with the secret of the deliveries."""
    return CallbackVerifier(
        secrets=[SECRET], reference_key=REFERENCE_KEY, clock=FakeClock(NOW)
    )


class Shop:
    """A shop that records references, and fails or waits for those with a prefix."""

    def __init__(self) -> None:
        self.processor = CallbackProcessor.unconfirmed_only(
            verifier(), self._handle, inbox=MemoryInbox()
        )
        self.handled: list[str] = []
        self.started, self.ended = threading.Event(), threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        self._failed: set[str] = set()
        self._resumed = asyncio.Event()

    async def _handle(self, notification: Notification) -> None:
        reference = notification.reference
        if reference.startswith(FAILING) and reference not in self._failed:
            self._failed.add(reference)
            raise RuntimeError("the secret reason")
        self.started.set()
        try:
            if reference.startswith(SLOW):
                await self._resumed.wait()
            self.handled.append(reference)
        finally:
            self.ended.set()

    def resume(self) -> None:
        """Resume waiting handlers."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self._resumed.set)


Serve = Callable[[Shop, socket.socket, asyncio.Event], Awaitable[None]]


async def serve_aiohttp(shop: Shop, sock: socket.socket, stop: asyncio.Event) -> None:
    from aiohttp import web

    from aurpay_async.contrib.aiohttp import callback_handler

    app = web.Application()
    for path, kind in [*ROUTES, ("/aurpay/shops/{rest:.+}", None)]:
        handler = callback_handler(shop.processor, public_base_url=PUBLIC, kind=kind)
        app.router.add_route("*", path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    await stop.wait()
    await runner.cleanup()


async def serve_uvicorn(
    app: Any, sock: socket.socket, stop: asyncio.Event, root_path: str = ""
) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        access_log=False,
        lifespan="off",
        log_config=None,
        root_path=root_path,
        ws="none",
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    await stop.wait()
    server.should_exit = server.force_exit = True
    await task


async def serve_starlette(shop: Shop, sock: socket.socket, stop: asyncio.Event) -> None:
    from starlette.applications import Starlette

    from aurpay_async.contrib.starlette import callback_route

    routes = [
        callback_route(shop.processor, public_base_url=PUBLIC, path=path, kind=kind)
        for path, kind in [*ROUTES, ("/aurpay/shops/{rest:path}", None)]
    ]
    await serve_uvicorn(Starlette(routes=routes), sock, stop)


async def serve_fastapi(shop: Shop, sock: socket.socket, stop: asyncio.Event) -> None:
    from fastapi import FastAPI

    from aurpay_async.contrib.starlette import callback_router

    app = FastAPI()
    for path, kind in [*ROUTES, ("/aurpay/shops/{rest:path}", None)]:
        router = callback_router(
            shop.processor, public_base_url=PUBLIC, path=path, kind=kind
        )
        app.include_router(router)
    await serve_uvicorn(app, sock, stop)


async def serve_litestar(shop: Shop, sock: socket.socket, stop: asyncio.Event) -> None:
    from litestar import Litestar

    from aurpay_async.contrib.litestar import callback_handler

    handlers = [
        callback_handler(shop.processor, public_base_url=PUBLIC, path=path, kind=kind)
        for path, kind in [*ROUTES, ("/aurpay/shops/{rest:path}", None)]
    ]
    await serve_uvicorn(Litestar(handlers, logging_config=None), sock, stop)


async def serve_quart(shop: Shop, sock: socket.socket, stop: asyncio.Event) -> None:
    import hypercorn.asyncio
    from quart import Quart

    from aurpay_async.contrib.quart import callback_blueprint

    app = Quart(__name__)
    for path, kind in ROUTES:
        blueprint = callback_blueprint(
            shop.processor, public_base_url=PUBLIC, path=path, kind=kind
        )
        app.register_blueprint(blueprint)
    odd = callback_blueprint(
        shop.processor, public_base_url=PUBLIC, path="/aurpay/shops/<path:rest>"
    )
    app.register_blueprint(odd, name="odd")
    config = hypercorn.Config()
    config.bind = [f"fd://{sock.detach()}"]
    config.errorlog = None
    config.graceful_timeout = 0
    await hypercorn.asyncio.serve(app, config, shutdown_trigger=stop.wait)


def use_django() -> None:
    """Configure Django, once in a process."""
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["app.internal"],
            LOGGING_CONFIG=None,
            MIDDLEWARE=[
                "django.middleware.common.CommonMiddleware",
                "django.middleware.csrf.CsrfViewMiddleware",
            ],
            SECRET_KEY="test-secret",
        )


async def serve_django(shop: Shop, sock: socket.socket, stop: asyncio.Event) -> None:
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.urls import path as django_path

    from aurpay_async.contrib.django import callback_view

    urls = [
        django_path(
            path.removeprefix("/"),
            callback_view(shop.processor, public_base_url=PUBLIC, kind=kind),
        )
        for path, kind in [*ROUTES, ("/aurpay/shops/<path:rest>", None)]
    ]
    use_django()
    settings.ROOT_URLCONF = tuple(urls)
    await serve_uvicorn(get_asgi_application(), sock, stop)


@contextmanager
def serve_in_thread(serve: Serve, shop: Shop) -> Iterator[int]:
    """Serve in a thread; yield the port."""
    # It listens from here on: a connection is served when the server is ready.
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    stop = asyncio.Event()
    loop = shop.loop = asyncio.new_event_loop()

    async def main() -> None:
        await serve(shop, sock, stop)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(SECONDS)
        sock.close()
        assert not thread.is_alive()


@attrs.frozen
class Response:
    """A response."""

    status: int
    headers: dict[str, str]
    text: str


def connect(port: int) -> socket.socket:
    """Return a connection to a shop."""
    return socket.create_connection(("127.0.0.1", port), SECONDS)


def exchange(port: int, sent: bytes) -> Response:
    """Send bytes, and read one response."""
    with connect(port) as sock:
        sock.sendall(sent)
        method = sent.partition(b" ")[0].decode()
        with HTTPResponse(sock, method=method) as response:
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Response(response.status, headers, response.read().decode())
