"""The Django adapter under WSGI."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import ConfigurationError
from aurpay_async.callbacks import MAX_BODY

from .deliveries import ODD, PUBLIC, registered, signed
from .shops import Shop, use_django

if TYPE_CHECKING:
    from django.http import HttpResponse


def _build_environ(url: str, *headers: str, body: bytes = b"") -> dict[str, Any]:
    """Return the environ of a server that has only the decoded path."""
    names = {}
    for header in headers:
        name, _, value = header.partition(": ")
        names[f"HTTP_{name.upper()}"] = value
    return {
        "REQUEST_METHOD": "POST" if body else "GET",
        "PATH_INFO": "/decoded",
        "QUERY_STRING": url.partition("?")[2],
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "app.internal",
        "SERVER_PORT": "8000",
        "wsgi.input": BytesIO(body),
        **names,
    }


async def _call_view(shop: Shop, environ: dict[str, Any]) -> HttpResponse:
    from django.core.handlers.wsgi import WSGIRequest

    from aurpay_async.contrib.django import callback_view

    use_django()
    view = callback_view(shop.processor, public_base_url=PUBLIC)
    return await view(WSGIRequest(environ))


@pytest.mark.parametrize("name", ["RAW_URI", "REQUEST_URI"])
@pytest.mark.parametrize("origin", ["", "http://app.internal:8000"])
async def test_wsgi_servers_with_a_raw_target_are_supported(
    name: str, origin: str
) -> None:
    url = registered("wsgi", ODD)
    environ = _build_environ(url, *signed(url))
    environ[name] = origin + url.removeprefix(PUBLIC)
    shop = Shop()
    assert (await _call_view(shop, environ)).status_code == 200
    assert shop.handled == ["wsgi"]


async def test_wsgi_server_without_a_raw_target_is_rejected() -> None:
    url = registered("decoded")
    with pytest.raises(ConfigurationError, match="use gunicorn, uWSGI, mod_wsgi, or"):
        await _call_view(Shop(), _build_environ(url, *signed(url)))


async def test_repeated_header_under_wsgi_is_rejected() -> None:
    url = registered("twice")
    date, signature = signed(url)
    environ = _build_environ(url, date, f"{signature},{signature.partition(': ')[2]}")
    environ["RAW_URI"] = url.removeprefix(PUBLIC)
    assert (await _call_view(Shop(), environ)).status_code == 401


async def test_unsigned_body_under_wsgi_is_not_read() -> None:
    url = registered("unsigned")
    environ = _build_environ(url, body=b" " * MAX_BODY)
    environ["RAW_URI"] = url.removeprefix(PUBLIC)
    assert (await _call_view(Shop(), environ)).status_code == 401
    assert environ["wsgi.input"].tell() == 0


async def test_truncated_body_under_wsgi_is_rejected() -> None:
    class Broken(BytesIO):
        def read(self, *_: Any) -> bytes:
            raise OSError

    url = registered("broken")
    environ = _build_environ(url, *signed(url), body=b"{}")
    environ["RAW_URI"] = url.removeprefix(PUBLIC)
    environ["wsgi.input"] = Broken()
    assert (await _call_view(Shop(), environ)).status_code == 401


async def test_wsgi_body_over_the_limit_is_not_read_to_its_end() -> None:
    url = registered("large")
    environ = _build_environ(url, *signed(url), body=b" " * (2 * MAX_BODY))
    environ["RAW_URI"] = url.removeprefix(PUBLIC)
    assert (await _call_view(Shop(), environ)).status_code == 413
    assert environ["wsgi.input"].tell() == MAX_BODY + 1
