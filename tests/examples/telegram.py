"""A fake Telegram that records calls of the bot and answers them.

`Telegram` replaces aiogram's session, so no request is sent. `Server` is an HTTP server
for a bot that runs in a separate process.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from aiogram.client.session.base import BaseSession
from aiogram.exceptions import TelegramBadRequest
from aiogram.methods import (
    EditMessageCaption,
    GetMe,
    SendMessage,
    SendPhoto,
)
from aiogram.types import Chat, Message, Update, User
from aiohttp import web

from .waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from aiogram import Bot
    from aiogram.methods import TelegramMethod

#: Made up, in the shape that aiogram asks for.
TOKEN = "42:sandbox-telegram-token"

#: aiogram takes six seconds of a free processor to be imported.
PATIENCE_S = 90

BOT = User(id=42, is_bot=True, first_name="Bot", username="payments_bot")
THEN = datetime(2026, 1, 1, tzinfo=UTC)


class Telegram(BaseSession):
    """A session of aiogram that records calls and answers them."""

    def __init__(self) -> None:
        super().__init__()
        #: The calls, in order.
        self.calls: list[TelegramMethod[Any]] = []
        #: What to raise instead of the next answers, by the method's name.
        self.failures: dict[str, list[Exception]] = {}
        self._numbers = count(1000)
        self._updates = count(1)

    @property
    def photos(self) -> list[SendPhoto]:
        """Return the pictures that were sent."""
        return [call for call in self.calls if isinstance(call, SendPhoto)]

    @property
    def texts(self) -> list[tuple[int, str]]:
        """Return chat and text of the plain messages."""
        sent = [call for call in self.calls if isinstance(call, SendMessage)]
        return [(cast("int", call.chat_id), call.text) for call in sent]

    @property
    def edits(self) -> list[tuple[int, int, str]]:
        """Return chat, message and text of the edited captions."""
        edited = [call for call in self.calls if isinstance(call, EditMessageCaption)]
        return [
            (cast("int", call.chat_id), call.message_id or 0, call.caption or "")
            for call in edited
        ]

    async def make_request(
        self,
        bot: Bot,
        method: TelegramMethod[Any],
        timeout: int | None = None,  # noqa: ASYNC109 - as aiogram has it
    ) -> Any:
        """Record a call and return Telegram's answer."""
        failures = self.failures.get(type(method).__name__)
        if failures:
            raise failures.pop(0)
        self.calls.append(method)
        if isinstance(method, GetMe):
            return BOT
        return self.message(cast("int", getattr(method, "chat_id", 0)), BOT).as_(bot)

    def message(self, chat: int, sender: User, text: str | None = None) -> Message:
        """Return a message of a chat."""
        return Message(
            message_id=next(self._numbers),
            date=THEN,
            chat=Chat(id=chat, type="private"),
            from_user=sender,
            text=text,
        )

    def update(self, text: str, *, chat: int = 7, who: int = 7) -> Update:
        """Send a message of a user to the bot."""
        sender = User(id=who, is_bot=False, first_name="Ada")
        return Update(
            update_id=next(self._updates), message=self.message(chat, sender, text)
        )

    def refuse(self, method: str, why: str) -> None:
        """Answer the next call of `method` with a 400."""
        error = TelegramBadRequest(method=GetMe(), message=f"Bad Request: {why}")
        self.failures.setdefault(method, []).append(error)

    async def close(self) -> None:
        """Do nothing: the session has no connection."""

    async def stream_content(self, *_: Any, **__: Any) -> AsyncGenerator[bytes, None]:
        """Return no data: the bot downloads no file."""
        raise AssertionError
        yield b""


class Server:
    """An HTTP server with Telegram's API for one bot."""

    def __init__(self) -> None:
        #: Method and fields of each call but `getUpdates`, in order.
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.url = ""
        self._numbers = count(1000)
        self._updates: list[dict[str, Any]] = []
        self._confirmed = 0

    def say(self, text: str, chat: int = 7) -> None:
        """Send a message of a user to the bot."""
        sender = {"id": chat, "is_bot": False, "first_name": "Ada"}
        message = self._message(chat) | {"from": sender, "text": text}
        number = len(self._updates) + 1
        self._updates.append({"update_id": number, "message": message})

    def forget(self) -> None:
        """Send all updates again, as if the bot had confirmed none."""
        self._confirmed = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Server]:
        """Serve on a free port inside the block."""
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/bot{token}/{method}", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        self.url = f"http://{host}:{port}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def until(self, **methods: int) -> list[dict[str, Any]]:
        """Wait for so many calls; return the fields of those of the last method."""
        called = Counter(methods)
        await until(
            lambda: Counter(name for name, _ in self.calls) == called, PATIENCE_S
        )
        *_, wanted = methods
        return [fields for name, fields in self.calls if name == wanted]

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one call of the bot."""
        method = request.match_info["method"]
        fields = {name: _value(text) for name, text in (await request.post()).items()}
        if method == "getUpdates":
            return _ok(await self._since(int(str(fields.get("offset", 0)))))
        if method not in {"getMe", "deleteWebhook"}:
            self.calls.append((method, fields))
        if method == "getMe":
            return _ok(BOT.model_dump(mode="json", exclude_none=True))
        return _ok(self._message(int(str(fields.get("chat_id", 0)))))

    async def _since(self, offset: int) -> list[dict[str, Any]]:
        """Wait for updates from `offset` on; return none after some time."""
        self._confirmed = max(self._confirmed, offset - 1)
        for _ in range(50):
            news = [u for u in self._updates if u["update_id"] > self._confirmed]
            if news:
                return news
            await asyncio.sleep(0.02)
        return []

    def _message(self, chat: int) -> dict[str, Any]:
        where = {"id": chat, "type": "private"}
        number = next(self._numbers)
        return {"message_id": number, "date": 1767225600, "chat": where}


def _value(field: Any) -> Any:
    """Return a field of a form: a string, or the bytes of a file."""
    return field.file.read() if isinstance(field, web.FileField) else field


def _ok(result: object) -> web.Response:
    return web.json_response({"ok": True, "result": result})
