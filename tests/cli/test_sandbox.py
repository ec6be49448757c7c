"""``aurpay sandbox``: addresses, credentials, callback keys and options."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import aiohttp
import pytest

from aurpay_async import (
    ApiKey,
    ApiToken,
    AurpayClient,
    AuthenticationError,
    ConfigurationError,
)
from aurpay_async._cli import _options
from aurpay_async._cli._output import Output
from aurpay_async._cli.sandbox import SandboxOptions, make_sandbox, run_sandbox

from ..support.loopback import Server, answering

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ..support.loopback import Peer
    from .conftest import Run


@asynccontextmanager
async def served(
    capsys: pytest.CaptureFixture[str], options: SandboxOptions, output: Any = "json"
) -> AsyncIterator[str]:
    """Run a sandbox, yield its first output, and interrupt it at the end."""
    sandbox = make_sandbox(options)
    serving = asyncio.create_task(run_sandbox(Output(output), sandbox, options))
    said = ""
    async with asyncio.timeout(60):
        while not said.endswith("/pay\n" if output == "text" else "\n"):
            assert not serving.done(), serving.exception()
            await asyncio.sleep(0.005)
            said += capsys.readouterr().out
    try:
        yield said
    finally:
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving


async def test_sandbox_prints_its_addresses_and_working_examples(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with served(capsys, SandboxOptions(), "text") as said:
        base_url = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert base_url
        assert f"page             {base_url[0]}/\n" in said
        assert f"export AURPAY_BASE_URL={base_url[0]} AURPAY_NETWORK=regtest" in said
        assert "sandbox-callback-secret (made up)" in said
        assert " AURPAY_CALLBACK_SECRET=sandbox-callback-secret " in said
        order = json.loads(await run_shell(line(said, "/api/bln/order")))["data"]
        pay = line(said, "/pay").replace("ORDER_ID", order["order_id"])
        assert json.loads(await run_shell(pay)) == []
        async with aiohttp.request("GET", f"{base_url[0]}/") as page:
            assert "SUCCESS" in await page.text()


def line(said: str, end: str) -> str:
    [found] = [line for line in said.splitlines() if end in line]
    return found


async def run_shell(command: str) -> bytes:
    process = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return out


async def test_sandbox_prints_one_json_object_when_ready(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = SandboxOptions(amounts="number", post_callbacks=True)
    async with served(capsys, options) as said:
        record = json.loads(said)
        assert record["type"] == "sandbox"
        assert (record["authenticated"], record["post_callbacks"]) == (False, True)
        environment = record["environment"]
        async with AurpayClient(
            base_url=environment["AURPAY_BASE_URL"],
            network=environment["AURPAY_NETWORK"],
        ) as aurpay:
            order = await aurpay.create_order("20.00", "USD")
    assert order.coin is None  # as in the documented example with a number


async def test_sandbox_requires_credentials_of_the_environment_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURPAY_API_TOKEN", "a-made-up-token")
    monkeypatch.setenv("AURPAY_API_SECRET", "a-made-up-secret")
    async with served(capsys, SandboxOptions(auth_from_env=True), "text") as said:
        assert "aurpay order create" in said
        assert "a-made-up" not in said
        base_url = re.findall(r"http://127\.0\.0\.1:\d+", said)[0]
        where: Any = {"base_url": base_url, "network": "regtest"}
        async with AurpayClient(**where) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.create_order("20.00", "USD")
        auth = ApiToken("a-made-up-token", "a-made-up-secret")
        async with AurpayClient(auth, **where) as aurpay:
            await aurpay.create_order("20.00", "USD")


async def test_sandbox_prints_requests_and_callbacks_as_they_happen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with (
        Server(answering(b"ok")) as shop,
        served(capsys, SandboxOptions(), "text") as said,
    ):
        found = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert found
        async with AurpayClient(
            ApiKey("sandbox-canary"), base_url=found[0], network="regtest"
        ) as aurpay:
            order = await aurpay.create_order(
                "20", "USD", callback_url=f"{shop.url}/paid?token=canary"
            )
            await aurpay.list_orders()
        for path, body in (
            ("/_sandbox/faults", b'["503"]'),
            ("/api/bln/order", b"{}"),
            ("/api/bln/order", b"{}"),
            ("/api/plugin/key/verify?key=canary", b"{}"),
            (f"/_sandbox/orders/{order.order_id}/pay", b""),
        ):
            await post(found[0] + path, body)
        await post(f"{found[0]}/api/bln/order", b"{}", Origin="https://evil.example")
        lines = await read_lines(capsys, 7)
    assert "canary" not in "".join(lines)
    assert [line[:3].strip() + line[12:] for line in lines] == [
        f"✓ request: POST /api/bln/order -> 200, order {order.order_id}",
        "✓ request: GET /api/v2/order/ -> 200",
        "✗ request: POST /api/bln/order -> fault 503",
        "✗ request: POST /api/bln/order -> 200, code 400: price must be a number",
        "✗ request: POST /api/plugin/key/verify -> 404, not served",
        f"✓ callback paid: GET {shop.url}/paid -> 200, order {order.order_id}",
        "✗ request: POST /api/bln/order -> 403, for programs, not for web pages",
    ]


async def test_sandbox_prints_requests_and_callbacks_as_json_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with served(capsys, SandboxOptions()) as said:
        base_url = json.loads(said)["base_url"]
        await post(f"{base_url}/_sandbox/faults", b'["cut-body+created"]')
        body = (
            b'{"price": 20, "currency": "USD", "callback_url": "http://shop.test/?x"}'
        )
        with pytest.raises(aiohttp.ClientError):
            await post(f"{base_url}/api/bln/order", body)
        (created,) = await read_lines(capsys, 1)
        order_id = json.loads(created)["order_id"]
        await post(f"{base_url}/_sandbox/orders/{order_id}/pay", b"")
        detail = f"/api/v2/order/detail/{order_id}"
        await post(base_url + detail, b"")
        rows = [json.loads(line) for line in await read_lines(capsys, 2)]
    request = {"type": "request", "method": "POST", "order_id": order_id}
    request |= {"path": "/api/bln/order", "status": None, "problem": None}
    assert json.loads(created) == {**request, "at": ANY, "fault": "cut-body"}
    assert rows == [
        {
            "type": "sent_callback",
            "at": ANY,
            "kind": "paid",
            "method": "GET",
            "url": "http://shop.test/",
            "status": None,
            "error": "not sent: not on this machine",
            "order_id": order_id,
        },
        {
            "type": "request",
            "at": ANY,
            "method": "POST",
            "path": detail,
            "status": 404,
            "fault": None,
            "problem": "not served",
            "order_id": None,
        },
    ]


@pytest.mark.parametrize("output", ["text", "json"])
async def test_quiet_sandbox_prints_neither_requests_nor_callbacks(
    capsys: pytest.CaptureFixture[str], output: str
) -> None:
    async with served(capsys, SandboxOptions(quiet=True), output) as said:
        base_url = re.findall(r"http://127\.0\.0\.1:\d+", said)[0]
        await post(f"{base_url}/api/bln/order", b"{}")
        for _ in range(9):
            await asyncio.sleep(0)
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize("output", ["text", "json"])
async def test_lines_of_the_sandbox_contain_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    names = ("API_TOKEN", "API_SECRET", "CALLBACK_TOKEN", "CALLBACK_SECRET")
    secrets = {name: f"test-canary-{name}" for name in names}
    for name, value in secrets.items():
        monkeypatch.setenv(f"AURPAY_{name}", value)
    auth = ApiToken(secrets["API_TOKEN"], secrets["API_SECRET"])
    options = SandboxOptions(auth_from_env=True)
    async with (
        Server(answering(b"ok")) as good,
        Server(answer_without_http) as bad,
        served(capsys, options, output) as said,
    ):
        base_url = re.findall(r"http://127\.0\.0\.1:\d+", said)[0]
        async with AurpayClient(
            auth, base_url=base_url, network="regtest", reference_key="k" * 16
        ) as aurpay:
            for shop in (good.url, bad.url):
                order = await aurpay.create_order(
                    "20", "USD", reference="cart-42", callback_url=f"{shop}/paid"
                )
                await post(f"{base_url}/_sandbox/orders/{order.order_id}/pay", b"")
        lines = "".join(await read_lines(capsys, 4))
    assert f"{good.url}/paid" in lines
    assert "ClientResponseError" in lines
    assert "canary" not in lines
    assert "aurpay_ref" not in lines


async def answer_without_http(peer: Peer) -> None:
    await peer.read_request()
    await peer.write(b"no HTTP\r\n\r\n")


async def test_sandbox_prints_a_reset_of_an_unread_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with served(capsys, SandboxOptions(), "text") as said:
        found = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert found
        await post(f"{found[0]}/_sandbox/faults", b'["reset"]')
        with pytest.raises(aiohttp.ClientError):
            await post(f"{found[0]}/api/bln/order", b"{}")
        [line] = await read_lines(capsys, 1)
    assert line.endswith(" request: POST /api/bln/order -> fault reset")


async def post(url: str, body: bytes, **headers: str) -> None:
    """Send JSON, and ignore the response."""
    json_type = {"Content-Type": "application/json"}
    async with aiohttp.request(
        "POST", url, data=body, headers={**json_type, **headers}
    ) as response:
        await response.read()


async def read_lines(capsys: pytest.CaptureFixture[str], count: int) -> list[str]:
    """Wait for that many more lines, and return them."""
    said = ""
    async with asyncio.timeout(60):
        while said.count("\n") < count:
            await asyncio.sleep(0.005)
            said += capsys.readouterr().out
    return said.splitlines()


async def test_sandbox_environment_names_the_public_url(
    capsys: pytest.CaptureFixture[str],
) -> None:
    public = "https://sandbox.example:9445"
    options = SandboxOptions(public_url=f"{public}/", allowed_hosts=("sandbox",))
    async with served(capsys, options) as said:
        record = json.loads(said)
        assert record["page_url"] == f"{public}/"
        assert record["environment"]["AURPAY_BASE_URL"] == public
        control = f"{record['base_url']}/_sandbox/rates"
        for host, status in (("sandbox:8765", 200), ("other", 403)):
            async with aiohttp.request("GET", control, headers={"Host": host}) as got:
                assert got.status == status
    plain = SandboxOptions(public_url="http://sandbox:8765")
    async with served(capsys, plain) as said:
        assert json.loads(said)["environment"] == {
            "AURPAY_BASE_URL": "http://sandbox:8765",
            "AURPAY_NETWORK": "regtest",
            "AURPAY_ALLOW_HTTP": "1",
        }
    async with served(capsys, options, "text") as said:
        assert f"page             {public}/\n" in said
        assert f"export AURPAY_BASE_URL={public} AURPAY_NETWORK=regtest" in said


async def test_sandbox_names_missing_credentials(aurpay: Run) -> None:
    done = await asyncio.to_thread(aurpay, "sandbox", "--auth-from-env")
    assert (done.code, done.out) == (2, "")
    assert "AURPAY_API_KEY" in done.err


@pytest.mark.parametrize("names", [("TOKEN",), ("SECRET",), ("TOKEN", "SECRET")])
async def test_sandbox_uses_callback_keys_of_the_environment_without_showing_them(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
) -> None:
    for name in names:
        monkeypatch.setenv(f"AURPAY_CALLBACK_{name}", f"held-{name}")
    sandbox = make_sandbox(SandboxOptions())
    made_up = {"TOKEN": "sandbox-callback-token", "SECRET": "sandbox-callback-secret"}
    expected = {**made_up, **{name: f"held-{name}" for name in names}}
    assert sandbox.callback_token == expected["TOKEN"]
    assert sandbox.callback_secret == expected["SECRET"]
    async with served(capsys, SandboxOptions(), "text") as said:
        assert "held-" not in said
        assert said.count("as configured") == len(names)
        assert ("AURPAY_CALLBACK_SECRET=" in said) is ("SECRET" not in names)


class Terminal:
    """Standard input of a terminal."""

    @staticmethod
    def isatty() -> bool:
        return True


def test_sandbox_prompts_for_missing_callback_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def getpass(prompt: str) -> str:
        asked.append(prompt)
        return "typed"

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", getpass)
    monkeypatch.setenv("AURPAY_CALLBACK_TOKEN", "held")
    sandbox = make_sandbox(SandboxOptions(ask=True))
    assert (sandbox.callback_token, sandbox.callback_secret) == ("held", "typed")
    assert asked == ["Callback secret: "]


def test_empty_prompt_is_not_taken_for_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def end_of_file(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin", Terminal())
    for answer in (end_of_file, lambda _: ""):
        monkeypatch.setattr("getpass.getpass", answer)
        with pytest.raises(ConfigurationError, match="AURPAY_CALLBACK_TOKEN"):
            _options.ask_for_callback_keys()


def test_sandbox_ask_without_terminal_names_the_missing_key(aurpay: Run) -> None:
    done = aurpay("sandbox", "--ask", "-o", "json")
    assert (done.code, done.record["code"]) == (2, "configuration")
    assert "AURPAY_CALLBACK_TOKEN" in done.record["message"]


async def test_sandbox_options_reach_the_sandbox(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "orders.db"
    options = SandboxOptions(
        start="2026-01-01T01:00:00+01:00",
        seed=7,
        speed=60,
        rates=("USD=65000", "CZK=2000000"),
        db=str(file),
        callback_hosts=("shop.test",),
    )
    made: Any = None
    for count in ("0", "1"):
        async with served(capsys, options, "text") as said:
            assert "clock            stopped at 2026-01-01 00:00:00 UTC\n" in said
            assert "orders           time out after 30 seconds\n" in said
            assert f"file             {file}; orders in it: {count}\n" in said
            assert "callbacks        GET, to this machine and shop.test only\n" in said
            if count == "0":
                made = json.loads(await run_shell(line(said, "/api/bln/order")))["data"]
    assert made["order_id"] == "20260101000000000001"
    assert made["amount"] == "0.00030770"
    sandbox = make_sandbox(options)
    assert sandbox.rates["CZK"] == 2_000_000
    assert sandbox.rates["EUR"] == 90_000


async def test_sandbox_shows_when_orders_time_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for speed, life in ((1, "after 30 minutes"), (0, "on request only")):
        async with served(capsys, SandboxOptions(speed=speed), "text") as said:
            assert f"orders           time out {life}\n" in said


@pytest.mark.parametrize("start", ["2026-01-01", "2026-01-01T00:00:00Z"])
def test_sandbox_start_without_zone_is_utc(start: str) -> None:
    clock = make_sandbox(SandboxOptions(start=start)).clock
    assert clock.now() == datetime(2026, 1, 1, tzinfo=UTC)


async def test_sandbox_exports_no_reference_key_if_the_environment_has_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(capsys, SandboxOptions(), "text") as said:
        assert " AURPAY_REFERENCE_KEY=sandbox-reference-key" in said
    monkeypatch.setenv("AURPAY_REFERENCE_KEY", "a-key-of-my-own-0001")
    async with served(capsys, SandboxOptions(), "text") as said:
        assert "AURPAY_REFERENCE_KEY" not in said


async def test_sandbox_listens_for_other_machines_only_with_allow_remote(
    aurpay: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    everywhere = "0.0.0.0"  # noqa: S104
    done = await asyncio.to_thread(aurpay, "sandbox", "--host", everywhere)
    assert (done.code, done.out) == (2, "")
    assert "(--allow-remote)" in done.err
    async with served(capsys, SandboxOptions(allow_remote=True), "text") as said:
        assert "other machines" not in said
    options = SandboxOptions(host=everywhere, allow_remote=True)
    async with served(capsys, options, "text") as said:
        assert "listens at       0.0.0.0: other machines can reach it\n" in said
        assert "export AURPAY_BASE_URL=http://127.0.0.1:" in said


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--rate", "USD"], "--rate must be like USD=65000; got 'USD'"),
        (["--rate", "USD=1,5"], "rates['USD']: not a plain decimal number"),
        (["--start", "yesterday"], "--start must be like 2026-01-01T12:00:00Z"),
        (["--speed", "0.001"], "speed must be 0, or 0.01 to 10000"),
        (["--seed", "-1"], "seed must be a whole number from 0"),
        (["--callback-host", "*.test"], "callback_hosts takes a name"),
        (["--callback-host", "a.test", "--callback-host", "b:1"], "not 'b:1'"),
        (["--db", "/dev/null/x"], "cannot be"),
    ],
)
def test_sandbox_rejects_invalid_options(
    aurpay: Run, arguments: list[str], problem: str
) -> None:
    done = aurpay("sandbox", "-o", "json", *arguments)
    assert (done.code, done.record["code"]) == (2, "configuration")
    assert problem in done.record["message"]


@pytest.mark.parametrize(
    "name", ["API_KEY", "API_TOKEN", "CALLBACK_TOKEN", "CALLBACK_SECRET"]
)
def test_sandbox_rejects_a_live_key_without_showing_it(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    live = "q7Rz" * 10 + "q7R"
    monkeypatch.setenv(f"AURPAY_{name}", live)
    if name == "API_TOKEN":
        monkeypatch.setenv("AURPAY_API_SECRET", "a-made-up-secret")
    done = aurpay("sandbox", "--auth-from-env", "-o", "json")
    if "CALLBACK" in name:
        done = aurpay("sandbox", "-o", "json")
    assert (done.code, done.record["code"]) == (2, "configuration")
    assert done.record["message"].startswith(f"AURPAY_{name} looks like a live key; ")
    assert "q7Rz" not in done.out + done.err
