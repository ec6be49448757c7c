"""The Starlette and FastAPI adapter: mounts, and the dependency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Mount

from aurpay_async.callbacks import CallbackEvent  # noqa: TC001 - FastAPI evaluates it
from aurpay_async.contrib.starlette import (
    callback_route,
    callback_router,
    verified_callback,
)

from .deliveries import PUBLIC, registered, request, signed
from .shops import Shop, exchange, serve_in_thread, serve_uvicorn, verifier

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Iterator


async def _serve_mounted(shop: Shop, sock: socket.socket, stop: asyncio.Event) -> None:
    route = callback_route(shop.processor, public_base_url=f"{PUBLIC}/eu", path="/cb")
    app = Starlette(routes=[Mount("/eu", routes=[Mount("/shop", routes=[route])])])
    await serve_uvicorn(app, sock, stop, root_path="/eu")


def test_mounted_route_verifies_its_public_url() -> None:
    shop = Shop()
    url = registered("mounted", f"{PUBLIC}/eu/eu/shop/cb")
    sent = request(url, *signed(url)).replace(b"GET /eu/", b"GET /")
    with serve_in_thread(_serve_mounted, shop) as port:
        assert exchange(port, sent).status == 200
    assert shop.handled == ["mounted"]


_verified = verified_callback(verifier(), public_base_url=PUBLIC, kind="paid")


async def _serve_dependency(
    shop: Shop, sock: socket.socket, stop: asyncio.Event
) -> None:
    app = FastAPI()

    @app.post("/own")
    @app.get("/own")
    async def own(event: Annotated[CallbackEvent, Depends(_verified)]) -> list[Any]:
        hint = event.order_hint
        return [event.reference, hint and hint.order_id]

    @app.post("/parsed")
    async def parsed(
        body: dict[str, Any], event: Annotated[CallbackEvent, Depends(_verified)]
    ) -> list[Any]:
        return [body, event.order_hint is not None]

    await serve_uvicorn(app, sock, stop)


@pytest.fixture(scope="module")
def own() -> Iterator[int]:
    with serve_in_thread(_serve_dependency, Shop()) as port:
        yield port


def test_dependency_returns_the_verified_event(own: int) -> None:
    url = registered("own", f"{PUBLIC}/own")
    assert exchange(own, request(url, *signed(url))).text == '["own",null]'
    sent = request(url, *signed(url), method="POST", body=b'{"order_id": "1"}')
    assert exchange(own, sent).text == '["own","1"]'


def test_endpoint_may_read_the_body_beside_the_dependency(own: int) -> None:
    url = registered("parsed", f"{PUBLIC}/parsed")
    sent = request(url, *signed(url), method="POST", body=b'{"order_id": "1"}')
    assert exchange(own, sent).text == '[{"order_id":"1"},true]'


@pytest.mark.parametrize(
    ("name", "kind", "rule"),
    [
        ("unsigned", "paid", "unsigned"),
        ("forged", "paid", "signature"),
        ("other-kind", "timeout", "kind"),
    ],
)
def test_dependency_answers_401_and_logs_the_rule(
    own: int, name: str, kind: Any, rule: str, caplog: Any
) -> None:
    url = registered(name, f"{PUBLIC}/own", kind)
    headers = {
        "unsigned": [],
        "forged": signed(url, secret="guessed"),
        "other-kind": signed(url),
    }[name]
    answer = exchange(own, request(url, *headers))
    assert (answer.status, answer.text) == (401, '{"detail":"Unauthorized"}')
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message.startswith("callback rejected: ")
    assert record.message.endswith(
        f"(rule '{rule}'); url='https://shop.example/own' outcome='{rule}'"
    )
    assert vars(record)["aurpay_url"] == "https://shop.example/own"
    assert vars(record)["aurpay_outcome"] == rule


def test_dependency_rejects_a_large_body_and_closes_the_connection(own: int) -> None:
    url = registered("large", f"{PUBLIC}/own")
    length = "Content-Length: 2097152"
    answer = exchange(own, request(url, *signed(url), length, method="POST"))
    assert answer.status == 413
    assert answer.headers["connection"] == "close"


async def test_dependency_rejects_a_client_that_disconnects_within_its_body() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    verified = verified_callback(verifier(), public_base_url=PUBLIC)
    url = registered("left", f"{PUBLIC}/own")
    headers = [line.lower().encode().split(b": ", 1) for line in ["Content-Length: 9"]]
    headers += [line.encode().split(b": ", 1) for line in signed(url)]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/own",
        "query_string": url.partition("?")[2].encode(),
        "headers": headers,
    }
    with pytest.raises(HTTPException) as caught:
        await verified(Request(scope, receive))
    assert (caught.value.status_code, caught.value.headers) == (
        401,
        {"Connection": "close"},
    )
    assert "ClientDisconnect (rule 'body')" in str(caught.value.__cause__)


def test_callback_router_has_route_names_and_no_schema() -> None:
    app = FastAPI()
    for kind in ("paid", "timeout"):
        router = callback_router(
            Shop().processor, public_base_url=PUBLIC, path=f"/{kind}", kind=kind
        )
        app.include_router(router, prefix="/eu")
    assert app.url_path_for("aurpay_paid") == "/eu/paid"
    assert app.url_path_for("aurpay_timeout") == "/eu/timeout"
    assert app.openapi()["paths"] == {}
