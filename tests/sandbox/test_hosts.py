"""The host policy: addresses to listen on, accepted hosts and callback hosts."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from aurpay_async import ConfigurationError
from aurpay_async.sandbox import Sandbox
from aurpay_async.sandbox._settings import (
    HostPolicy,
    Settings,
    is_name,
    parse_host_policy,
)

from ..support.loopback import Server, answering
from .shop import call, create_order, open_shop, read_requests


def find_ipv6() -> list[str]:
    """Return the IPv6 loopback address if this machine has it."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return []
    return ["::1"]


IPV6 = find_ipv6()
EVERYWHERE = "0.0.0.0"  # noqa: S104


def build_policy(host: str = "127.0.0.1", *callback_hosts: str) -> HostPolicy:
    return HostPolicy(host=host, callback_hosts=frozenset(callback_hosts))


# Listening


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_hosts_need_no_allow_remote(host: str) -> None:
    assert not parse_host_policy(Settings(host=host)).is_remote


@pytest.mark.parametrize(
    "host", [EVERYWHERE, "::", "192.168.1.5", "sandbox.lan", "LAN"]
)
def test_other_hosts_need_allow_remote(host: str) -> None:
    with pytest.raises(ConfigurationError, match="any machine of the network can read"):
        Sandbox(host=host)
    assert parse_host_policy(Settings(host=host, allow_remote=True)).is_remote
    Sandbox(host=host, allow_remote=True)


@pytest.mark.parametrize(
    "host",
    [
        *("", "http://x", "x:80", "[::1]", "*", "*.lan", "a b", "-x", "x-", ".x", "x."),
        *(":", "1:2", "::1%lo", "x/y", "\N{SNOWMAN}", "x\n", None, 7, b"x"),
    ],
)
def test_invalid_host_is_rejected_as_host_and_callback_host(host: Any) -> None:
    with pytest.raises(ConfigurationError, match="host takes a name or an address"):
        parse_host_policy(Settings(host=host, allow_remote=True))
    with pytest.raises(ConfigurationError, match="callback_hosts takes a name or an"):
        parse_host_policy(Settings(callback_hosts=[host]))


@pytest.mark.parametrize("hosts", ["shop.test", 7, None])
def test_callback_hosts_must_be_a_list(hosts: Any) -> None:
    with pytest.raises(ConfigurationError, match="callback_hosts is a list of names"):
        Sandbox(callback_hosts=hosts)


def test_container_names_and_ipv6_addresses_are_hosts() -> None:
    assert is_name("my_shop")
    assert is_name("2001:db8::1")


@pytest.mark.parametrize(
    ("host", "bound", "url_host"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1", "127.0.0.1"),
        ("::1", "::1", "[::1]"),
        (EVERYWHERE, EVERYWHERE, "127.0.0.1"),
        ("::", "::", "[::1]"),
        ("192.168.1.5", "192.168.1.5", "192.168.1.5"),
        ("2001:db8::1", "2001:db8::1", "[2001:db8::1]"),
        ("sandbox.lan", "sandbox.lan", "sandbox.lan"),
    ],
)
def test_wildcard_address_is_reached_at_loopback(
    host: str, bound: str, url_host: str
) -> None:
    assert (build_policy(host).bind_address, build_policy(host).origin_host) == (
        bound,
        url_host,
    )


async def test_sandbox_client_connects_over_ipv4_and_ipv6() -> None:
    for host in (*IPV6, "localhost", EVERYWHERE):
        async with (
            Sandbox(host=host, allow_remote=True) as sandbox,
            sandbox.client() as aurpay,
        ):
            created = await aurpay.create_order("20.00", "USD")
            assert created.pay_url.startswith(f"{sandbox.base_url}/#/cashier/")


def resolve_to(monkeypatch: pytest.MonkeyPatch, name: str, *addresses: str) -> None:
    """Let the event loop resolve `name` to these addresses."""
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo

    async def found(host: Any, port: Any, **options: Any) -> list[Any]:
        if host != name:
            return await resolve(host, port, **options)
        inet = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*inet, (address, port)) for address in addresses]

    monkeypatch.setattr(loop, "getaddrinfo", found)


async def test_host_name_with_several_addresses_listens_on_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve_to(monkeypatch, "sandbox.lan", "127.0.0.1", "127.0.0.2")
    async with Sandbox(host="sandbox.lan", allow_remote=True) as sandbox:
        port = sandbox.base_url.removeprefix("http://sandbox.lan:")
        assert int(port) > 0
        sandbox._base_url = f"http://127.0.0.1:{port}"
        host = f"sandbox.lan:{port}"
        assert (await call(sandbox, "GET", "/_sandbox/rates", Host=host))[0] == 200
        _, answer = await call(
            sandbox, "POST", "/api/bln/order", {"price": 1, "currency": "USD"}
        )
        # The pay URL has the host of the request.
        assert answer["data"]["pay_url"].startswith(f"http://127.0.0.1:{port}/#/")


# Accepted hosts


@pytest.mark.parametrize(
    ("host", "header", "known"),
    [
        ("127.0.0.1", "127.0.0.1:8765", True),
        ("127.0.0.1", "LocalHost", True),
        ("127.0.0.1", "[::1]:8765", True),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "evil.example", False),
        ("127.0.0.1", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "localhost:8765:1", False),
        ("127.0.0.1", "user@localhost", False),
        ("127.0.0.1", "192.168.1.5", False),
        ("127.0.0.1", f"{EVERYWHERE}:8765", False),
        ("127.9.9.9", "127.9.9.9:1", True),
        (EVERYWHERE, "192.168.1.5:8765", True),
        (EVERYWHERE, "[2001:db8::1]:8765", True),
        (EVERYWHERE, "localhost", True),
        (EVERYWHERE, "evil.example", False),
        (EVERYWHERE, "1.2.3", False),
        ("sandbox.lan", "SANDBOX.lan:8765", True),
        ("sandbox.lan", "192.168.1.5", True),
        ("sandbox.lan", "other.lan", False),
    ],
)
def test_host_header_is_accepted_by_the_host_policy(
    host: str, header: str, known: bool
) -> None:
    assert build_policy(host).accepts_host(header) is known


async def test_remote_access_does_not_admit_foreign_web_pages() -> None:
    async with Sandbox(host=EVERYWHERE, allow_remote=True) as sandbox:
        order_id = await create_order(sandbox)
        control = f"/_sandbox/orders/{order_id}/pay"
        page = f"/_pages/orders/{order_id}/pay"
        address, name = "192.168.1.5:8765", "evil.example:8765"
        advice = (
            "use 127.0.0.1 or any IP address as the host; allow another name with "
            "allowed_hosts=(...) (--allowed-host)"
        )
        assert await call(sandbox, "POST", control, Host=name) == (
            403,
            {"error": advice},
        )
        right = {
            "Sec_Fetch_Site": "same-origin",
            "Content_Type": "application/json",
            "Host": address,
            "Origin": f"http://{address}",
        }
        for wrong in (
            {"Sec_Fetch_Site": "cross-site"},
            {"Origin": f"http://{name}"},
            {"Host": name},
        ):
            for path in (control, page):
                marks = {**right, **wrong}
                assert (await call(sandbox, "POST", path, {}, **marks))[0] == 403
        assert await call(sandbox, "GET", "/", Host=name) == (403, f"{advice}\n")
        assert (await call(sandbox, "GET", "/", Host=address))[0] == 200
        assert sandbox.orders[order_id].status == "PENDING"
        assert (await call(sandbox, "POST", page, {}, **right))[0] == 204


async def test_pay_url_has_the_host_of_the_request() -> None:
    fields = {"price": 1, "currency": "USD"}
    async with Sandbox() as sandbox:
        for host in ("localhost:99", "127.0.0.1:1", "[::1]:8765"):
            _, answer = await call(sandbox, "POST", "/api/bln/order", fields, Host=host)
            assert answer["data"]["pay_url"].startswith(f"http://{host}/#/cashier/")


# Callback hosts


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("shop.test", True),
        ("SHOP.test", True),
        ("192.168.1.5", True),
        ("2001:db8::1", True),
        ("localhost", True),
        ("a.shop.test", False),
        ("shop.test.", False),
        ("shop.test.evil.example", False),
        ("other.test", False),
        ("192.168.1.6", False),
        ("", False),
    ],
)
def test_callbacks_are_allowed_to_loopback_and_named_hosts(
    host: str, allowed: bool
) -> None:
    hosts = ("Shop.Test", "192.168.1.5", "2001:DB8::1")
    assert (
        parse_host_policy(Settings(callback_hosts=hosts)).allows_callback_to(host)
        is allowed
    )


async def test_callback_to_an_allowed_host_is_sent_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        Server(answering(b"I am a proxy")) as proxy,
        open_shop() as shop,
        Sandbox(callback_hosts=["shop.test"]) as sandbox,
    ):
        port = int(shop.url.rpartition(":")[2])

        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        resolve_to(monkeypatch, "shop.test", "127.0.0.1")
        sent = []
        for host in ("shop.test", "other.test"):
            url = f"http://{host}:{port}/paid"
            sent += await sandbox.pay(await create_order(sandbox, callback_url=url))
        assert [(one.status, one.error) for one in sent] == [
            (200, None),
            (None, "not sent: not on this machine"),
        ]
        assert [request.target for request in read_requests(shop)] == ["/paid"]
        assert proxy.requests == []
