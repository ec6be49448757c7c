"""The parts that all adapters share, without a framework."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import CallbackError, ConfigurationError
from aurpay_async.callbacks import MAX_BODY
from aurpay_async.contrib._common import (
    PublicAddress,
    RequestBody,
    asgi_body,
)

from .deliveries import PUBLIC
from .shops import Shop, verifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.mark.parametrize(
    ("base", "hint"),
    [
        (None, "must be the address that Aurpay calls"),
        (b"https://shop.example", "must be the address"),
        ("", "must be absolute"),
        ("shop.example", "must be absolute"),
        ("http://shop.example", "must start with https://"),
        ("ftp://shop.example", "the scheme must be https"),
        ("https://", "has no valid host"),
        ("https://user@shop.example", "contains userinfo"),
        ("https://shöp.example", "write xn--shp-tna.example"),
        ("https://shop.example/käse", "percent-encode"),
        ("https://shop.example/a b", "contains a blank"),
        ("https://shop.example?x=1", "no query and no fragment"),
        ("https://shop.example/#paid", "no query and no fragment"),
    ],
)
def test_invalid_public_base_url_is_rejected_with_a_hint(base: Any, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"public_base_url: .*{hint}"):
        PublicAddress(base)


def test_plain_http_beyond_loopback_needs_allow_http() -> None:
    address = PublicAddress("http://shop.test", allow_http=True, network="regtest")
    assert address.url("/aurpay/callback?x=1") == "http://shop.test/aurpay/callback?x=1"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "allow_http is for test networks"),
        ({"network": "mainnet"}, "allow_http is for test networks"),
        ({"network": "moon"}, "network must be one of"),
        ({"network": "regtest", "allow_http": 1}, "allow_http must be True or False"),
    ],
)
def test_plain_http_of_public_base_url_is_rejected_on_mainnet(
    options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        PublicAddress("http://shop.test", **{"allow_http": True, **options})


FACTORIES = [
    ("aiohttp", "callback_handler"),
    ("django", "callback_view"),
    ("litestar", "callback_handler"),
    ("quart", "callback_blueprint"),
    ("starlette", "callback_route"),
    ("starlette", "callback_router"),
]


@pytest.mark.parametrize(("adapter", "name"), FACTORIES)
def test_every_adapter_validates_its_arguments_at_setup(
    adapter: str, name: str
) -> None:
    factory = getattr(import_module(f"aurpay_async.contrib.{adapter}"), name)
    processor = Shop().processor
    with pytest.raises(ConfigurationError, match="public_base_url"):
        factory(processor, public_base_url="shop.example")
    with pytest.raises(ConfigurationError, match='must be "paid", "timeout" or None'):
        factory(processor, public_base_url=PUBLIC, kind="success")
    with pytest.raises(ConfigurationError, match="allow_http=True"):
        factory(processor, public_base_url="http://shop.test")
    plain: Any = {"public_base_url": "http://shop.test", "allow_http": True}
    with pytest.raises(ConfigurationError, match="allow_http is for test networks"):
        factory(processor, **plain)
    assert factory(processor, **plain, network="regtest")


def test_verified_callback_validates_its_arguments_at_setup() -> None:
    from aurpay_async.contrib import starlette

    with pytest.raises(ConfigurationError, match="public_base_url"):
        starlette.verified_callback(verifier(), public_base_url="shop.example")
    with pytest.raises(ConfigurationError, match="kind"):
        starlette.verified_callback(
            verifier(),
            public_base_url=PUBLIC,
            kind="success",  # type: ignore[arg-type]
        )
    plain: Any = {"public_base_url": "http://shop.test", "allow_http": True}
    with pytest.raises(ConfigurationError, match="allow_http is for test networks"):
        starlette.verified_callback(verifier(), **plain)
    assert callable(starlette.verified_callback(verifier(), **plain, network="regtest"))


@pytest.mark.parametrize(
    ("base", "target", "url"),
    [
        (PUBLIC, "/paid?x=%20+", f"{PUBLIC}/paid?x=%20+"),
        (f"{PUBLIC}/", "/paid", f"{PUBLIC}/paid"),
        ("https://Shop.Example:8443", "/paid", "https://Shop.Example:8443/paid"),
        ("http://127.0.0.1:8000", "/paid", "http://127.0.0.1:8000/paid"),
        (f"{PUBLIC}/eu", "/paid", f"{PUBLIC}/eu/paid"),
        (f"{PUBLIC}/eu/", "/eu/paid", f"{PUBLIC}/eu/eu/paid"),
        (PUBLIC, "//evil.example/paid", f"{PUBLIC}//evil.example/paid"),
        (PUBLIC, "http://app.internal:8000/paid?x=1", f"{PUBLIC}/paid?x=1"),
        (PUBLIC, "HTTPS://evil.example/paid", f"{PUBLIC}/paid"),
        (PUBLIC, "http://app.internal", f"{PUBLIC}/"),
        (PUBLIC, "http://app.internal?x=1", f"{PUBLIC}/?x=1"),
        (PUBLIC, ".evil.example/paid", f"{PUBLIC}/.evil.example/paid"),
        (PUBLIC, "*", f"{PUBLIC}/*"),
    ],
)
def test_callback_url_is_the_base_and_the_target_byte_for_byte(
    base: str, target: str, url: str
) -> None:
    assert PublicAddress(base).url(target) == url


@pytest.mark.parametrize(
    ("scope", "url"),
    [
        ({"raw_path": b"/a%2Fb", "path": "/a/b"}, "/a%2Fb"),
        ({"raw_path": b"/a", "query_string": b"x=%20+"}, "/a?x=%20+"),
        ({"raw_path": b"/a?x=1", "query_string": b"x=1"}, "/a?x=1"),
        ({"raw_path": None, "path": "/a b/ü;=:@"}, "/a%20b/%C3%BC;=:@"),
        ({"path": "/a b", "query_string": b"x=1"}, "/a%20b?x=1"),
        ({"path": "/a", "query_string": "x=1"}, "/a?x=1"),
        ({"raw_path": b"/\xff"}, "/\xff"),
        ({"raw_path": b"http://app.internal/a", "query_string": b"x"}, "/a?x"),
    ],
)
def test_asgi_scope_gives_the_undecoded_target(scope: dict[str, Any], url: str) -> None:
    whole = {"query_string": b"", **scope}
    assert PublicAddress(PUBLIC).asgi_url(whole) == PUBLIC + url


@pytest.mark.parametrize(
    ("scope", "url"),
    [
        # A proxy removes the prefix, and the server does not know it.
        ({"raw_path": b"/paid"}, "/eu/paid"),
        ({"raw_path": b"/paid", "root_path": None}, "/eu/paid"),
        # FastAPI(root_path="/eu") and hypercorn --root-path report it only.
        ({"raw_path": b"/paid", "root_path": "/eu"}, "/eu/paid"),
        # uvicorn --root-path /eu prepends it to the path.
        ({"raw_path": b"/eu/paid", "root_path": "/eu"}, "/eu/paid"),
        ({"raw_path": b"/european", "root_path": "/eu"}, "/eu/european"),
        # Mounted in the application under the same name.
        (
            {"raw_path": b"/eu/paid", "root_path": "/eu", "app_root_path": ""},
            "/eu/eu/paid",
        ),
        (
            {"raw_path": b"/eu/x/paid", "root_path": "/eu/x", "app_root_path": "/eu"},
            "/eu/x/paid",
        ),
    ],
)
def test_prefix_removed_by_a_proxy_appears_once_in_the_url(
    scope: dict[str, Any], url: str
) -> None:
    whole = {"query_string": b"", **scope}
    assert PublicAddress(f"{PUBLIC}/eu").asgi_url(whole) == PUBLIC + url


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ([], 0),
        ([(b"host", b"x"), (b"content-length", b"12")], 12),
        ([(b"content-length", b"-1")], 0),
        ([(b"content-length", b"9" * 5000)], 10**20 - 1),
    ],
)
def test_content_length_is_a_bounded_number(
    headers: list[tuple[bytes, bytes]], length: int
) -> None:
    scope = {"http_version": "1.1", "headers": headers}
    assert asgi_body(scope, _no_chunks())._length == length


async def test_body_over_the_limit_is_not_read_to_its_end() -> None:
    given = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield b" " * MAX_BODY

    for length in (MAX_BODY + 1, 0):
        body = RequestBody(chunks(), length)
        with pytest.raises(CallbackError) as caught:
            await body()
        assert (caught.value.rule, body.is_read) == ("too_large", False)
        assert given == (0 if length else 2)


async def test_body_of_exactly_the_limit_is_read() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        yield b""
        yield b"b" * (MAX_BODY - 1)

    body = RequestBody(chunks(), MAX_BODY)
    assert await body() == b"a" + b"b" * (MAX_BODY - 1)
    assert body.is_read


async def _no_chunks() -> AsyncIterator[bytes]:
    for chunk in list[bytes]():
        yield chunk


@pytest.mark.parametrize(
    ("version", "headers", "closes"),
    [
        ("1.1", [(b"content-length", b"5")], True),
        ("1.1", [(b"transfer-encoding", b"chunked")], True),
        ("1.1", [(b"content-length", b"0")], False),
        ("1.1", [], False),
        # RFC 9113, 8.2.2: a message with such a header is malformed.
        ("2", [(b"content-length", b"5")], False),
    ],
)
def test_connection_is_closed_after_an_unread_body_in_http_1_only(
    version: str, headers: list[tuple[bytes, bytes]], *, closes: bool
) -> None:
    scope = {"http_version": version, "headers": headers}
    expected = {"Connection": "close"} if closes else {}
    assert asgi_body(scope, _no_chunks()).closing == expected


@pytest.mark.parametrize("framework", ["django", "litestar", "quart", "starlette"])
def test_adapter_without_its_framework_names_the_extra_to_install(
    framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(framework, monkeypatch)
    name = f"aurpay_async.contrib.{framework}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ImportError, match=rf"'aurpay-async\[{framework}\]'"):
        import_module(name)


def test_callback_router_without_fastapi_names_the_extra_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starlette = import_module("aurpay_async.contrib.starlette")
    hide("fastapi", monkeypatch)
    with pytest.raises(ImportError, match=r"'aurpay-async\[fastapi\]'"):
        starlette.callback_router(Shop().processor, public_base_url=PUBLIC)


def hide(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a package and its loaded modules unimportable."""
    loaded = [name for name in sys.modules if name.partition(".")[0] == package]
    for name in {package, *loaded}:
        monkeypatch.setitem(sys.modules, name, None)
