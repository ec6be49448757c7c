"""Snapshots of what each command prints with `--output json`."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async._cli.sandbox import SandboxOptions
from aurpay_async._core.clock import SystemClock
from aurpay_async.errors import ServerError
from aurpay_async.orders import OrderStore

from ..cli.test_callback_listen import listening, post
from ..cli.test_main import COMMANDS
from ..cli.test_sandbox import served
from ..cli.test_withdraw import sign_fresh
from ..support.loopback import Server, answering, closed_port
from ..support.orders import sign_invoice
from .snapshot import expect, expect_files, mask
from .test_cli_help import file_name

if TYPE_CHECKING:
    from pathlib import Path

    from aurpay_async.sandbox import Sandbox

    from ..cli.conftest import Done, Run

#: Commands that run something; the others only group them.
RUNNING = [
    name
    for name in COMMANDS
    if name not in {"order", "payment", "tx", "store", "db", "callback"}
]
USAGE = ["--no-such-option"]
#: Values that depend on the machine or on the speed of the run, by their keys.
VOLATILE = {
    "curve",
    "days_left",
    "expires_in",
    "platform",
    "python",
    "seconds",
    "sent_after_s",
    "version",
}


def placeholders(value: Any) -> Any:
    """Replace volatile values with the names of their types."""
    if isinstance(value, dict):
        return {
            key: f"<{type(member).__name__}>"
            if key in VOLATILE and member is not None
            else placeholders(member)
            for key, member in value.items()
        }
    if isinstance(value, list):
        return [placeholders(member) for member in value]
    return mask(value)


def pretty(record: dict[str, Any]) -> str:
    return json.dumps(placeholders(record), indent=1, ensure_ascii=False)


class Transcript:
    """Runs of one command, each with its exit code and the JSON that it printed."""

    def __init__(self, aurpay: Run, command: str) -> None:
        self._aurpay = aurpay
        self._command = command
        self._parts: list[str] = []

    async def run(self, title: str, *arguments: str, **options: Any) -> Done:
        words = [*self._command.split(), *arguments, "--output", "json"]
        done = await asyncio.to_thread(self._aurpay, *words, **options)
        records = done.records
        for record in records:
            if title == "wrong usage" and record["code"] == "usage":
                record["message"] = "<message of cyclopts, which has several versions>"
        self.add(title, records, f"exit code {done.code}")
        return done

    def add(self, title: str, records: list[dict[str, Any]], end: str) -> None:
        self._parts.append(
            "\n".join([f"// {title}", *map(pretty, records), f"// {end}"])
        )

    def expect(self) -> None:
        expect(f"output/{file_name(self._command)}", "\n\n".join(self._parts))


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let retries follow without a delay."""

    async def sleep(_: SystemClock, seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(SystemClock, "sleep", sleep)


async def open_order(sandbox: Sandbox, *, paid: bool = True) -> str:
    async with sandbox.client() as client:
        order = await client.create_order("20", "USD")
    if paid:
        await sandbox.pay(order.order_id)
    return order.order_id


async def test_json_of_offline_commands_is_as_stored(aurpay: Run) -> None:
    """`demo`, `decode` and `verify` need no environment."""
    demo = Transcript(aurpay, "demo")
    await demo.run("success")
    await demo.run("wrong usage", *USAGE)
    demo.expect()
    text = sign_invoice(description="a coffee")
    decode = Transcript(aurpay, "decode")
    await decode.run("success", text)
    await decode.run("from standard input", "-", stdin=text.encode())
    await decode.run("no invoice", "lnbc1nonsense")
    await decode.run("wrong usage", *USAGE)
    decode.expect()
    verify = Transcript(aurpay, "verify")
    fits = ["--network", "regtest", "--amount-msat", "20000000"]
    await verify.run("expired", text, *fits)
    await verify.run("fits", sign_fresh(amount_msat=20_000_000), *fits)
    await verify.run("another network", sign_fresh(amount_msat=20_000_000), *fits[2:])
    await verify.run("wrong usage", text, "--amount", "much")
    verify.expect()


async def test_json_of_order_create_is_as_stored(
    aurpay: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a payment that is watched, and with each kind of failure."""
    create = Transcript(aurpay, "order create")
    twenty = ["20", "USD"]
    await create.run("success", *twenty)
    sandbox.callback_faults.push("before-answer")
    paid = f"{sandbox.base_url}/paid"
    await create.run("watched until paid", *twenty, "--callback-url", paid, "--watch")
    for fault in (
        "503+created",
        "cut-body+created",
        "reset",
        "429; retry-after=7",
        "404",
        "html",
        "redirect",
        "huge-body",
    ):
        sandbox.faults.push(*[fault] * 4)
        await create.run(f"fault {fault}", *twenty)
        sandbox.faults.clear()
    await create.run("rejected by the platform", "20", "XXX")
    await create.run("a price that is none", "1e3", "USD")
    await create.run("a reference without its key", *twenty, "--reference", "cart-42")
    await create.run("wrong usage", *USAGE)
    monkeypatch.setenv("AURPAY_NETWORK", "mainnet")
    await create.run("an invoice of another network", *twenty)
    monkeypatch.delenv("AURPAY_API_KEY")
    await create.run("no credentials", *twenty)
    async with closed_port() as base_url:
        monkeypatch.setenv("AURPAY_BASE_URL", base_url)
        monkeypatch.setenv("AURPAY_API_KEY", "a-made-up-api-key")
        await create.run("connection refused", *twenty)
    create.expect()


async def test_json_of_commands_that_read_is_as_stored(
    aurpay: Run, sandbox: Sandbox
) -> None:
    """`order show`, `order list`, `order find` and `tx list`."""
    order_id = await open_order(sandbox)
    show = Transcript(aurpay, "order show")
    await show.run("paid", order_id)
    await show.run("pending", await open_order(sandbox, paid=False))
    await show.run("unknown order", "20260101000000000999")
    await show.run("wrong usage", *USAGE)
    show.expect()
    for command in ("order list", "tx list"):
        listed = Transcript(aurpay, command)
        await listed.run("a page", "--size", "1")
        await listed.run("all", "--all")
        sandbox.faults.push("not-json", "not-json", "not-json", "not-json")
        await listed.run("an answer that is no JSON")
        sandbox.faults.clear()
        await listed.run("wrong usage", "--page", "0")
        listed.expect()
    find = Transcript(aurpay, "order find")
    asked = ["20", "USD", "--sent-at", str(sandbox.orders[order_id].created_at)]
    await find.run("several", *asked)
    await find.run("the only one", *asked, "--known", [*sandbox.orders][1])
    await find.run("none", "21", *asked[1:])
    await find.run("wrong usage", "20", "USD", "--sent-at", "yesterday")
    find.expect()


async def test_json_of_commands_that_move_money_is_as_stored(
    aurpay: Run, sandbox: Sandbox
) -> None:
    """`order refund` and `withdraw`, confirmed, not confirmed, rejected, broken."""
    order_id = await open_order(sandbox)
    await open_order(sandbox)
    refund = Transcript(aurpay, "order refund")
    await refund.run("no terminal to ask at", order_id)
    await refund.run("not confirmed", order_id, typed="no\n")
    sandbox.faults.push("slow; seconds=0", "slow; seconds=0", "reset-after-request")
    await refund.run("outcome unknown", order_id, "--yes")
    sandbox.faults.clear()
    await refund.run("success", order_id, "--yes")
    await refund.run("again", order_id, "--yes")
    refund.expect()
    withdraw = Transcript(aurpay, "withdraw")
    await withdraw.run("no terminal to ask at", sign_fresh())
    await withdraw.run("not confirmed", sign_fresh(), typed="no\n")
    await withdraw.run("success", sign_fresh(), "--yes")
    await withdraw.run("again", sign_fresh(), "--yes")
    sandbox.faults.push("reset-after-request")
    await withdraw.run("outcome unknown", sign_fresh(payment_hash="ef" * 32), "--yes")
    await withdraw.run("no invoice", "lnbc1nonsense", "--yes")
    withdraw.expect()


async def test_json_of_payments_is_as_stored(aurpay: Run, sandbox: Sandbox) -> None:
    """`payment create` and `payment url`."""
    create = Transcript(aurpay, "payment create")
    coin = ["--chain", "ETH", "--coin", "USDT-ERC20"]
    await create.run("success", "20", "USD", *coin)
    sandbox.faults.push("503; retry-after=1+created")
    await create.run("outcome unknown", "20", "USD", *coin)
    await create.run("rejected by the platform", "20", "USD", *coin[:3], "TRX")
    await create.run("wrong usage", "20", "USD")
    create.expect()
    url = Transcript(aurpay, "payment url")
    await url.run("success", "20", "USD")
    sandbox.faults.push(*["503"] * 4)
    await url.run("failed at the platform", "20", "USD")
    sandbox.faults.clear()
    await url.run("wrong usage", "much", "USD")
    url.expect()


async def test_json_of_doctor_is_as_stored(
    aurpay: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names and verdicts: the findings themselves depend on the machine."""

    def verdicts(done: Done) -> list[dict[str, Any]]:
        for finding in done.record["findings"]:
            assert {*finding} == {"name", "verdict", "found", "advice"}
        findings = [(item["name"], item["verdict"]) for item in done.record["findings"]]
        return [{**done.record, "findings": [": ".join(item) for item in findings]}]

    doctor = Transcript(aurpay, "doctor")
    done = await asyncio.to_thread(aurpay, "doctor", "--output", "json")
    doctor.add("at a sandbox", verdicts(done), f"exit code {done.code}")
    monkeypatch.setenv("AURPAY_BASE_URL", "ftp://127.0.0.1/")
    monkeypatch.delenv("AURPAY_API_KEY")
    done = await asyncio.to_thread(aurpay, "doctor", "--output", "json")
    doctor.add("with a wrong base URL", verdicts(done), f"exit code {done.code}")
    doctor.expect()


async def test_json_of_database_commands_is_as_stored(
    aurpay: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`db upgrade`, `db current` and `db check`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AURPAY_DATABASE", "sqlite+aiosqlite:///orders.db")
    other = ["--database", "sqlite+aiosqlite:///empty.db"]
    (tmp_path / "empty.db").touch()
    for command in ("db upgrade", "db current", "db check"):
        transcript = Transcript(aurpay, command)
        await transcript.run("success")
        if command != "db upgrade":
            await transcript.run("no tables", *other)
            await transcript.run("no such file", "--database", f"{other[1]}.db")
        await transcript.run("no asyncio driver", "--database", "postgres://h/n")
        await transcript.run("wrong usage", *USAGE)
        transcript.expect()


async def test_json_of_store_commands_is_as_stored(
    aurpay: Run, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`store show`, `reconcile`, `resolve`, `list`, `review`, `duplicates`, `prune`."""
    monkeypatch.chdir(tmp_path)
    url = "sqlite+aiosqlite:///orders.db"
    monkeypatch.setenv("AURPAY_DATABASE", url)
    show, reconcile, resolve = (
        Transcript(aurpay, f"store {word}") for word in ("show", "reconcile", "resolve")
    )
    key = "sandbox-reference-key"
    async with (
        sandbox.client(reference_key=key) as client,
        OrderStore(client, url) as store,
    ):
        order = await store.get_or_create("cart-42", "20", "USD")
        await show.run("payable", "cart-42")
        await sandbox.pay(order.order_id)
        await reconcile.run("a payment without a callback", "cart-42")
        await store.record(reference="cart-42")
        await show.run("paid", order.order_id)
        await reconcile.run("nothing has changed", "cart-42")
        sandbox.faults.push("503+created")
        with pytest.raises(ServerError):
            await store.get_or_create("cart-43", "30", "USD")
        await show.run("outcome unknown", "cart-43")
        lost, [attempt] = [*sandbox.orders][-1], await store.attempts("cart-43")
        await sandbox.pay(lost)
        await resolve.run("no terminal to ask at", attempt.attempt_id, lost)
        await resolve.run("not confirmed", attempt.attempt_id, lost, typed="no\n")
        await resolve.run("success", attempt.attempt_id, lost, "--yes")
        await resolve.run("again", attempt.attempt_id, "--no-order", "--yes")
    for word in ("list", "review", "duplicates", "prune"):
        listed = Transcript(aurpay, f"store {word}")
        await listed.run("success", *(["--yes"] if word == "prune" else []))
        await listed.run("wrong usage", *USAGE)
        listed.expect()
    await resolve.run("neither an order nor none", attempt.attempt_id)
    for transcript in (show, reconcile, resolve):
        unknown = ["--no-order", "--yes"] if transcript is resolve else []
        await transcript.run("unknown name", "cart-9", *unknown)
        await transcript.run("wrong usage", *USAGE)
        transcript.expect()


async def test_json_of_callback_send_is_as_stored(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a shop that accepts it, to one that rejects it, and to none."""
    send = Transcript(aurpay, "callback send")
    await send.run("no secret", "http://127.0.0.1:9/paid")
    monkeypatch.setenv("AURPAY_CALLBACK_TOKEN", "made-up-token")
    monkeypatch.setenv("AURPAY_CALLBACK_SECRET", "made-up-secret")
    async with Server(answering(b"ok")) as shop:
        await send.run("accepted", f"{shop.url}/paid?id=32")
        await send.run("twice", f"{shop.url}/paid", "--duplicate")
    async with Server(answering(b"no", "401 Unauthorized")) as shop:
        await send.run("rejected", f"{shop.url}/paid")
    async with closed_port() as shop_url:
        await send.run("connection refused", f"{shop_url}/paid")
    await send.run("wrong usage", "no URL")
    send.expect()


async def test_json_of_callback_listen_is_as_stored(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it listens, and for each callback that it forwards."""
    listen = Transcript(aurpay, "callback listen")
    async with (
        Server(answering(b"ok")) as shop,
        listening(monkeypatch, shop.url) as listener,
    ):
        records = [await listener.record()]
        await post(f"{records[0]['callback_base_url']}/paid", as_json=False)
        records.append(await listener.record())
    listen.add("listening, and one callback", records, "interrupted")
    monkeypatch.undo()
    listen.expect()


async def test_json_of_sandbox_is_as_stored(
    aurpay: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """When it listens, and when it cannot."""
    sandbox = Transcript(aurpay, "sandbox")
    async with served(capsys, SandboxOptions()) as said:
        sandbox.add("listening", [json.loads(said)], "interrupted")
    await sandbox.run("another machine could reach it", "--host", "192.0.2.1")
    await sandbox.run("no credentials", "--auth-from-env")
    await sandbox.run("wrong usage", "--port", "http")
    sandbox.expect()


def test_each_stored_json_is_of_a_command() -> None:
    """A command that is removed or renamed leaves no stored file behind."""
    expect_files("output", {file_name(command) for command in RUNNING})
