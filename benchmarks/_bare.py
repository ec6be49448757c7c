"""An aiohttp.web application that reads each request and answers with the same bytes.

What a server on aiohttp costs that does nothing. Run as a process of its own, as
`_server` is.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web


async def serve(body: bytes) -> None:
    """Serve on a free port of loopback."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_post("/api/bln/order", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.stdin.buffer.read()))
