"""A minimal aiohttp.web application: it answers every request with the same bytes.

It shows the cost of a server on aiohttp without any logic. Like `_server`, it runs in a
separate process.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web


async def serve(body: bytes) -> None:
    """Serve on a free port of loopback."""

    async def respond(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_post("/api/bln/order", respond)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.stdin.buffer.read()))
