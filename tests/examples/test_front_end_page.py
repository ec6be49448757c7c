"""The event streams of the page about front ends, in Litestar, Quart and Django."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .test_frameworks_page import leave_logging_alone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aurpay_async import AurpayClient
    from aurpay_async.sandbox import Sandbox

PAGE = Path(__file__).parents[2] / "docs" / "front-end.md"
FILES = dict(
    re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
)


class Visit:
    """A browser's request for the events of its order."""

    def __init__(self, app: Any) -> None:
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.leave = asyncio.Event()
        self._is_sent = False
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "root_path": "",
            "path": "/checkout/events",
            "raw_path": b"/checkout/events",
            "query_string": b"",
            "headers": [(b"host", b"shop.example"), (b"cookie", b"session=visitor")],
            "server": ("shop.example", 443),
            "client": ("127.0.0.1", 1),
        }
        self.task = asyncio.create_task(app(scope, self._receive, self.messages.put))

    async def _receive(self) -> dict[str, Any]:
        if not self._is_sent:
            self._is_sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def next_event(self) -> str:
        while not (body := (await self.messages.get()).get("body")):
            pass
        return str(body, "utf-8")


@pytest.fixture(params=[name for name in FILES if name.endswith("_shop")])
def create_app(
    request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    for name, code in FILES.items():
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    leave_logging_alone(monkeypatch)
    if request.param == "django_shop":
        settings = import_module("django.conf").settings
        if settings.configured:  # by another test, which runs in the same process
            monkeypatch.setattr(settings, "ALLOWED_HOSTS", ["shop.example"])
            import_module("django.urls").clear_url_caches()
    yield import_module(request.param).create_app
    for name in FILES:
        sys.modules.pop(name, None)


async def test_stream_of_the_page_shows_the_payment_and_ends(
    create_app: Any, aurpay_sandbox: Sandbox, aurpay_client: AurpayClient
) -> None:
    order = await aurpay_client.create_order("20.00", "USD")
    visit = Visit(create_app(aurpay_client, {"visitor": order.order_id}))
    async with asyncio.timeout(60):
        first = await visit.next_event()
        await aurpay_sandbox.pay(order.order_id)
        paid = await aurpay_client.get_order(order.order_id)
        later = [await visit.next_event(), await visit.next_event()]
        visit.leave.set()
        await visit.task
    assert json.loads(first.removeprefix("data: "))["status"] == "PENDING"
    public = json.dumps(paid.to_public_dict())
    assert later == [f"data: {public}\n\n", f"event: end\ndata: {public}\n\n"]


async def test_polling_of_the_page_stops_when_the_browser_leaves(
    create_app: Any, aurpay_client: AurpayClient
) -> None:
    order = await aurpay_client.create_order("20.00", "USD")
    visit = Visit(create_app(aurpay_client, {"visitor": order.order_id}))
    async with asyncio.timeout(60):
        await visit.next_event()
        lane = aurpay_client._shared_polling.lane
        assert lane is not None
        assert len(lane.pollers) == 1
        visit.leave.set()
        await asyncio.wait({visit.task})
        while lane.pollers:
            await asyncio.sleep(0)
