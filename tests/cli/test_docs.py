"""Run the commands of docs/cli.md, and compare their output with the page."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from aurpay_async import AurpayClient
from aurpay_async._cli._options import VARIABLES
from aurpay_async._cli.sandbox import SandboxOptions
from aurpay_async.errors import ServerError
from aurpay_async.orders import OrderStore

from ..support.loopback import Server, answering
from .test_callback_listen import listening, post
from .test_main import COMMANDS
from .test_sandbox import read_lines, served

if TYPE_CHECKING:
    from aurpay_async.sandbox import Sandbox

    from .conftest import Run

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(
    r"```console\n\$ aurpay (.*)\n((?:.*\n)*?)```\n(?:\n```json\n((?:.*\n)*?)```\n)?"
)
ORDER_ID = re.compile(r"[0-9]{20}")


class Example(NamedTuple):
    """A command of the page, and its output there."""

    arguments: list[str]
    text: str
    json: str


EXAMPLES = [
    Example(shlex.split(match[1]), match[2], match[3] or "")
    for match in EXAMPLE.finditer(PAGE)
]


def find_example(*words: str, as_json: bool = True) -> Example:
    """Return the example of a command."""
    [found] = [
        one
        for one in EXAMPLES
        if one.arguments[: len(words)] == [*words] and bool(one.json) is as_json
    ]
    return found


def shape(value: Any) -> Any:
    """Return a JSON value with each scalar replaced by None."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None


def shapes(text: str) -> list[Any]:
    """Return the shape of each JSON object."""
    found, rest = [], text.strip()
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        found.append(shape(value))
        rest = rest[end:].lstrip()
    return found


def mask_days(text: str) -> str:
    return re.sub(r"[0-9,]+ days", "... days", text)


@pytest.mark.parametrize("command", ["decode", "verify"])
def test_offline_command_prints_the_text_of_the_page(aurpay: Run, command: str) -> None:
    shown = find_example(command, as_json=False)
    done = aurpay(*shown.arguments)
    assert done.code == 0
    assert mask_days(done.out.rstrip("\n")) == mask_days(shown.text.rstrip("\n"))


@pytest.mark.parametrize(
    "words", [("decode", "--output"), ("decode", "lnbc"), ("verify",), ("demo",)]
)
def test_offline_command_has_the_json_keys_of_the_page(
    aurpay: Run, words: tuple[str, ...]
) -> None:
    [shown] = [
        one
        for one in EXAMPLES
        if one.json and " ".join(one.arguments).startswith(" ".join(words))
    ]
    assert shapes(aurpay(*shown.arguments).out) == shapes(shown.json)


async def test_order_commands_have_the_json_keys_of_the_page(
    aurpay: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = find_example("order", "create")
    done = await asyncio.to_thread(aurpay, *made.arguments)
    assert shapes(done.out) == shapes(made.json)
    show = find_example("order", "show")
    arguments = [ORDER_ID.sub(done.record["order_id"], word) for word in show.arguments]
    shown = await asyncio.to_thread(aurpay, *arguments)
    assert shapes(shown.out) == shapes(show.json)
    sandbox.callback_faults.push("before-answer")
    url = ("--callback-url", f"{sandbox.base_url}/paid")
    watched = await asyncio.to_thread(aurpay, *made.arguments, *url, "--watch")
    lines = re.search(r'```json\n(\{"type": "status".*\n.*\n)```', PAGE)
    assert lines
    assert shapes(watched.out)[1:] == shapes(lines[1])


async def test_list_and_find_commands_have_the_json_keys_of_the_page(
    aurpay: Run, sandbox: Sandbox
) -> None:
    async with sandbox.client() as client:
        order = await client.create_order("20", "USD")
    await sandbox.pay(order.order_id)
    for words in (("order", "list"), ("order", "find"), ("tx", "list")):
        shown = find_example(*words)
        now = order.create_time.isoformat()
        arguments = [re.sub(r"2026.*T.*", now, word) for word in shown.arguments]
        done = await asyncio.to_thread(aurpay, *arguments)
        assert (done.code, shapes(done.out)) == (0, shapes(shown.json))


@pytest.mark.parametrize("words", [("payment", "create"), ("payment", "url")])
async def test_payment_commands_have_the_json_keys_of_the_page(
    aurpay: Run, sandbox: Sandbox, words: tuple[str, ...]
) -> None:
    shown = find_example(*words)
    done = await asyncio.to_thread(aurpay, *shown.arguments)
    assert (done.code, shapes(done.out)) == (0, shapes(shown.json))


async def test_money_commands_have_the_json_keys_of_the_page(
    aurpay: Run, sandbox: Sandbox
) -> None:
    async with sandbox.client() as client:
        order = await client.create_order("20", "USD")
    await sandbox.pay(order.order_id)
    for words in (("withdraw",), ("order", "refund")):
        shown = find_example(*words)
        arguments = [ORDER_ID.sub(order.order_id, word) for word in shown.arguments]
        done = await asyncio.to_thread(aurpay, *arguments)
        assert (done.code, shapes(done.out)) == (0, shapes(shown.json))


def test_database_commands_have_the_json_keys_of_the_page(
    aurpay: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/orders.db"
    monkeypatch.setenv("AURPAY_DATABASE", url)
    for word in ("upgrade", "current", "check"):
        shown = find_example("db", word)
        assert json.loads(aurpay(*shown.arguments).out) == json.loads(shown.json)


async def test_store_commands_have_the_json_keys_of_the_page(
    aurpay: Run, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/orders.db"
    monkeypatch.setenv("AURPAY_DATABASE", url)
    async with (
        sandbox.client(reference_key="sandbox-reference-key") as client,
        OrderStore(client, url) as store,
    ):
        order = await store.get_or_create("cart-42", "20", "USD")
        await sandbox.pay(order.order_id)
        sandbox.faults.push("503+created")
        with pytest.raises(ServerError):
            await store.get_or_create("cart-44", "30", "USD")
        [lost] = await store.attempts("cart-44")
        for word in ("list", "prune"):
            shown = find_example("store", word)
            done = await asyncio.to_thread(aurpay, *shown.arguments)
            assert shapes(done.out) == shapes(shown.json)
    paid = [*sandbox.orders][-1]
    await sandbox.pay(paid)
    for word in ("show", "reconcile", "resolve"):
        shown = find_example("store", word)
        arguments = [
            {"073d8be32bf3edcd03a24e21": lost.attempt_id}.get(part, part)
            for part in shown.arguments
        ]
        arguments = [ORDER_ID.sub(paid, part) for part in arguments]
        done = await asyncio.to_thread(aurpay, *arguments)
        assert shapes(done.out) == shapes(shown.json)


async def test_callback_send_has_the_json_keys_of_the_page(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURPAY_CALLBACK_TOKEN", "made-up-token")
    monkeypatch.setenv("AURPAY_CALLBACK_SECRET", "made-up-secret")
    shown = find_example("callback", "send")
    async with Server(answering(b"ok")) as shop:
        arguments = [
            word.replace("http://127.0.0.1:8000", shop.url) for word in shown.arguments
        ]
        done = await asyncio.to_thread(aurpay, *arguments)
    assert shapes(done.out) == shapes(shown.json)


async def test_callback_listen_has_the_json_keys_of_the_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = find_example("callback", "listen")
    async with (
        Server(answering(b"ok")) as shop,
        listening(monkeypatch, shop.url) as listener,
    ):
        first = await listener.record()
        await post(f"{first['callback_base_url']}/paid", as_json=False)
        second = await listener.record()
    assert [shape(first), shape(second)] == shapes(shown.json)


async def test_sandbox_command_has_the_json_keys_of_the_page(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with (
        Server(answering(b"ok")) as shop,
        served(capsys, SandboxOptions()) as said,
    ):
        base_url = json.loads(said)["base_url"]
        async with AurpayClient(base_url=base_url, network="regtest") as client:
            order = await client.create_order("20", "USD", callback_url=f"{shop.url}/")
        await post(f"{base_url}/_sandbox/orders/{order.order_id}/pay")
        lines = await read_lines(capsys, 2)
    assert shapes("\n".join([said, *lines])) == shapes(find_example("sandbox").json)


async def test_doctor_command_has_the_json_keys_of_the_page(
    aurpay: Run, sandbox: Sandbox
) -> None:
    shown = find_example("doctor")
    done = await asyncio.to_thread(aurpay, *shown.arguments)
    assert shapes(done.out) == shapes(shown.json)


def test_page_documents_every_command_option_and_variable(
    aurpay: Run,
) -> None:
    for command in COMMANDS:
        if command in {"order", "payment", "tx", "store", "db", "callback"}:
            continue
        assert f"\n## aurpay {command}\n" in PAGE
        listed = aurpay(*command.split(), "--help").out
        for option in re.findall(r"^│ \*? *(--[a-z-]+)", listed, re.MULTILINE):
            assert f"`{option}" in PAGE or f"{option} " in PAGE, option
    for name in VARIABLES:
        assert f"`{name}`" in PAGE
