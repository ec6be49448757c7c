"""What is special about Django: WSGI."""

# mypy: disable-error-code="import-untyped"
# Django has no types.

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


def _environ(url: str, *headers: str, body: bytes = b"") -> dict[str, Any]:
    """What a server says that tells everything but the target as it came."""
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


async def _answer(shop: Shop, environ: dict[str, Any]) -> HttpResponse:
    from django.core.handlers.wsgi import WSGIRequest

    from aurpay_async.contrib.django import callback_view

    use_django()
    view = callback_view(shop.processor, public_base_url=PUBLIC)
    return await view(WSGIRequest(environ))


@pytest.mark.parametrize("name", ["RAW_URI", "REQUEST_URI"])
@pytest.mark.parametrize("origin", ["", "http://app.internal:8000"])
async def test_wsgi_servers_may_tell_the_target_as_it_came(
    name: str, origin: str
) -> None:
    """One name is gunicorn's, the other that of uWSGI and mod_wsgi."""
    url = registered("wsgi", ODD)
    environ = _environ(url, *signed(url))
    environ[name] = origin + url.removeprefix(PUBLIC)
    shop = Shop()
    assert (await _answer(shop, environ)).status_code == 200
    assert shop.handled == ["wsgi"]


async def test_other_wsgi_servers_are_refused() -> None:
    """A path that was decoded cannot be told from the one that was signed."""
    url = registered("decoded")
    with pytest.raises(ConfigurationError, match="use gunicorn, uWSGI, mod_wsgi, or"):
        await _answer(Shop(), _environ(url, *signed(url)))


async def test_a_header_that_came_twice_is_refused() -> None:
    """WSGI servers make one of the two, which is no signature."""
    url = registered("twice")
    date, signature = signed(url)
    environ = _environ(url, date, f"{signature},{signature.partition(': ')[2]}")
    environ["RAW_URI"] = url.removeprefix(PUBLIC)
    assert (await _answer(Shop(), environ)).status_code == 401


async def test_unsigned_body_is_not_read() -> None:
    """Its headers alone decide."""
    url = registered("unsigned")
    environ = _environ(url, body=b" " * MAX_BODY)
    environ["RAW_URI"] = url.removeprefix(PUBLIC)
    assert (await _answer(Shop(), environ)).status_code == 401
    assert environ["wsgi.input"].tell() == 0


async def test_body_that_breaks_off_is_rejected() -> None:
    """Django raises an `OSError` of its own."""

    class Broken(BytesIO):
        def read(self, *_: Any) -> bytes:
            raise OSError

    url = registered("broken")
    environ = _environ(url, *signed(url), body=b"{}")
    environ["RAW_URI"] = url.removeprefix(PUBLIC)
    environ["wsgi.input"] = Broken()
    assert (await _answer(Shop(), environ)).status_code == 401


async def test_a_body_over_the_limit_is_not_read_to_its_end() -> None:
    """Whatever Django's own limit is."""
    url = registered("large")
    environ = _environ(url, *signed(url), body=b" " * (2 * MAX_BODY))
    environ["RAW_URI"] = url.removeprefix(PUBLIC)
    assert (await _answer(Shop(), environ)).status_code == 413
    assert environ["wsgi.input"].tell() == MAX_BODY + 1
