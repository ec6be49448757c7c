"""The sandbox's pages without a browser: access rules, data and events."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import aiohttp
import pytest

from aurpay_async.sandbox import ReceivedRequest, Sandbox, _pages, _responses
from aurpay_async.sandbox._fault_responses import REQUEST_FAULTS
from aurpay_async.sandbox._faults import CALLBACK_FAULTS
from aurpay_async.testing import FakeClock

from ..support.orders import NOW
from .shop import call, create_order, create_order_for, open_shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STATIC = Path(_pages.__file__).parent / "static"
ORDER_ID = "20260101000000000001"
ORDER = f"/_pages/orders/{ORDER_ID}"
READS = ["/_pages/events", f"{ORDER}/events", f"{ORDER}/qr.svg", "/_pages/main.js"]
MOVES = ["pay", "expire", "pay-late", "underpay"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll the state more often, so that the tests are fast."""
    monkeypatch.setattr(_pages, "_POLL_INTERVAL_S", 0.001)


async def get(
    sandbox: Sandbox, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], str]:
    """Return status, headers and text of a response."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, sandbox.base_url + path, headers=named) as response,
    ):
        stream = response.content_type == "text/event-stream"
        text = "" if stream else await response.text()
        return response.status, dict(response.headers), text


def build_headers(sandbox: Sandbox, **changed: str | None) -> dict[str, str]:
    """Return the headers of the page's script, changed or removed as given."""
    host = sandbox.base_url.removeprefix("http://")
    right = {
        "Host": host,
        "Origin": sandbox.base_url,
        "Sec_Fetch_Site": "same-origin",
        "Content_Type": "application/json",
    }
    merged = {**right, **changed}
    return {name: value for name, value in merged.items() if value is not None}


async def press(sandbox: Sandbox, move: str, order_id: str = ORDER_ID) -> Any:
    """Send the request of a button."""
    path = f"/_pages/orders/{order_id}/{move}"
    return await call(sandbox, "POST", path, b"{}", **build_headers(sandbox))


class Stream:
    """The events that an open page receives."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self._changes: dict[str, Any] = {}

    async def read_frame(self) -> str:
        """Return the next event undecoded."""
        return (await self.response.content.readuntil(b"\n\n")).decode()

    async def wait_for(self, name: str) -> Any:
        """Wait for a change of this name, and return it."""
        while name not in self._changes:
            _, is_data, data = (await self.read_frame()).partition("data: ")
            self._changes |= json.loads(data) if is_data else {}
        return self._changes.pop(name)


@asynccontextmanager
async def open_stream(sandbox: Sandbox, path: str) -> AsyncIterator[Stream]:
    """Open the event stream of a page."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{sandbox.base_url}/_pages{path}") as response,
    ):
        assert response.status == 200
        yield Stream(response)


# The page and its files


async def test_browsers_get_the_page_and_programs_get_plain_text() -> None:
    async with Sandbox() as sandbox:
        status, headers, text = await get(sandbox, "/?x", Accept="text/html,*/*")
        _, plain, _ = await get(sandbox, "/")
    assert status == 200
    assert text.startswith("<!doctype html>")
    assert _pages.HEADERS.items() <= headers.items()
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert plain["Content-Type"] == "text/plain; charset=utf-8"


def test_content_security_policy_allows_only_the_own_origin() -> None:
    rules = dict(
        rule.split(" ", 1)
        for rule in _pages.HEADERS["Content-Security-Policy"].split("; ")
    )
    assert rules == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert _pages.HEADERS["X-Content-Type-Options"] == "nosniff"
    assert _pages.HEADERS["Referrer-Policy"] == "no-referrer"
    assert _pages.HEADERS["Cache-Control"] == "no-store"
    assert _pages.HEADERS["X-Frame-Options"] == "DENY"


def test_static_files_comply_with_the_content_security_policy() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in STATIC.iterdir()}
    page = files["index.html"]
    assert not re.search(
        r"<style|\sstyle=|\son\w+=|<script(?! type=\"module\" src)", page
    )
    for name, text in files.items():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|eval\(", text), name
        assert set(re.findall(r"\w+://[^\s\"']+", text)) <= {
            "http://www.w3.org/2000/svg"
        }
    scripts = "".join(text for name, text in files.items() if name.endswith(".js"))
    code = [line.strip() for line in scripts.splitlines()]
    assert sum(bool(line) and not line.startswith(("/", "*")) for line in code) < 400


async def test_static_files_are_served_with_their_content_types() -> None:
    types = {
        "html": "text/html",
        "css": "text/css",
        "js": "text/javascript",
        "svg": "image/svg+xml",
    }
    paths = {path for path in STATIC.iterdir() if path.suffix[1:] in types}
    async with Sandbox() as sandbox:
        for path in paths:
            status, headers, text = await get(sandbox, f"/_pages/{path.name}")
            assert (status, text) == (200, path.read_text(encoding="utf-8"))
            kind = types[path.suffix[1:]]
            assert headers["Content-Type"] == f"{kind}; charset=utf-8"
            assert _pages.HEADERS.items() <= headers.items()
            for named in re.findall(r"\"(?:/_pages|\.)/(\w+\.\w+)\"", text):
                assert (STATIC / named).exists()
    # The control API serves its own description.
    assert {path.name for path in STATIC.iterdir()} - {path.name for path in paths} == {
        "openapi.json"
    }


@pytest.mark.parametrize(
    "path",
    [
        "/_pages/",
        "/_pages/openapi.json",
        "/_pages/_app.py",
        "/_pages/..%2f_app.py",
        "/_pages/orders",
    ],
)
async def test_files_beside_the_static_ones_are_not_served(path: str) -> None:
    async with Sandbox() as sandbox:
        status, headers, _ = await get(sandbox, path)
    assert status == 404
    assert _pages.HEADERS.items() <= headers.items()


def luminance(colour: str) -> float:
    """Return the relative luminance (WCAG 2.2) of a colour."""
    digits = colour * 2 if len(colour) == 3 else colour
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio (WCAG 2.2) of two colours."""
    darker, lighter = sorted(luminance(colour) for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("palette", [0, 1], ids=["light", "dark"])
def test_colours_have_the_required_contrast(palette: int) -> None:
    assert round(contrast("ffffff", "000000")) == 21
    style = (STATIC / "style.css").read_text(encoding="utf-8")
    found = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[palette]
    colours = {
        name: value * 2 if len(value) == 3 else value
        for name, value in re.findall(r"--([\w-]+): #(\w+);", found)
    }
    pairs = [
        (text, ground)
        for text in ("ink", "quiet", "accent", "accent-hover")
        for ground in ("ground", "card", "sunken")
    ]
    pairs += [(tone, f"on-{tone}") for tone in ("wait", "good", "bad", "back")]
    pairs += [("on-accent", "accent"), ("on-accent", "accent-hover")]
    for text, ground in pairs:
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for ground in ("ground", "card"):
        assert contrast(colours["control"], colours[ground]) >= 3


# Access rules


@pytest.mark.parametrize("path", ["/", *READS])
@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "evil@127.0.0.1", "[", "10.0.0.1"],
)
async def test_pages_reject_foreign_hosts(path: str, host: str) -> None:
    async with Sandbox(clock=FakeClock(NOW)) as sandbox:
        await create_order(sandbox)
        status, headers, text = await get(sandbox, path, Host=host)
    assert (status, text[:26]) == (403, "use 127.0.0.1 or localhost")
    assert _pages.HEADERS.items() <= headers.items()


@pytest.mark.parametrize("host", ["localhost", "localhost:80", "127.0.0.1", "[::1]:1"])
async def test_pages_accept_hosts_of_this_machine_with_any_port(host: str) -> None:
    async with Sandbox() as sandbox:
        assert (await get(sandbox, "/", Host=host))[0] == 200


@pytest.mark.parametrize("path", READS)
async def test_foreign_pages_cannot_read_the_pages_data(path: str) -> None:
    async with Sandbox(clock=FakeClock(NOW)) as sandbox:
        await create_order(sandbox)
        for site in ("cross-site", "same-site", "same-origin, same-origin"):
            status, headers, text = await get(sandbox, path, Sec_Fetch_Site=site)
            assert (status, text) == (403, "not for other pages\n")
            assert "Access-Control-Allow-Origin" not in headers
        for site in ("same-origin", "none"):
            assert (await get(sandbox, path, Sec_Fetch_Site=site))[0] == 200


async def test_page_can_be_opened_from_another_site() -> None:
    async with Sandbox() as sandbox:
        status, _, text = await get(
            sandbox, "/", Accept="text/html", Sec_Fetch_Site="cross-site"
        )
    assert status == 200
    assert "<title>" in text


#: Headers that other pages, forms and programs could send.
FOREIGN: list[dict[str, str | None]] = [
    {"Sec_Fetch_Site": None},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Sec_Fetch_Site": "none"},
    {"Origin": None},
    {"Origin": "null"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://127.0.0.1:1"},
    {"Host": "localhost"},
    {"Host": "evil.example"},
    {"Host": "evil.example", "Origin": "http://evil.example"},
    {"Content_Type": None},
    {"Content_Type": "text/plain"},
    {"Content_Type": "text/plain; application/json"},
    {"Content_Type": "application/x-www-form-urlencoded"},
    {"Content_Type": "multipart/form-data; boundary=x"},
]


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize(
    "changed",
    FOREIGN,
    ids=str,
)
async def test_only_the_script_of_the_page_can_use_its_buttons(
    move: str, changed: dict[str, str | None]
) -> None:
    async with Sandbox(clock=FakeClock(NOW)) as sandbox:
        await create_order(sandbox)
        headers = build_headers(sandbox, **changed)
        status, _ = await call(sandbox, "POST", f"{ORDER}/{move}", b"{}", **headers)
        assert status == 403
        assert sandbox.orders[ORDER_ID].status == "PENDING"


#: The requests of the overview's controls.
CONTROLS: list[tuple[str, str, bytes]] = [
    ("POST", "/_pages/faults", b'["503"]'),
    ("DELETE", "/_pages/faults", b"{}"),
    ("POST", "/_pages/callback-faults", b'["twice"]'),
    ("DELETE", "/_pages/callback-faults", b"{}"),
    ("POST", "/_pages/clock", b'{"advance_s": 60}'),
    ("POST", "/_pages/callbacks/1/resend", b"{}"),
]


@pytest.mark.parametrize(("method", "path", "body"), CONTROLS)
async def test_only_the_script_of_the_page_can_use_its_controls(
    method: str, path: str, body: bytes
) -> None:
    async with open_shop() as shop, Sandbox(clock=FakeClock(NOW)) as sandbox:
        await sandbox.pay(await create_order_for(sandbox, shop))
        sandbox.faults.push("500")
        sandbox.callback_faults.push("lost")

        def state() -> Any:
            queues = [*sandbox.faults], [*sandbox.callback_faults]
            return queues, sandbox.clock.now(), len(sandbox.callbacks)

        before = state()
        for changed in FOREIGN:
            headers = build_headers(sandbox, **changed)
            status, _ = await call(sandbox, method, path, body, **headers)
            assert status == 403, changed
            assert state() == before
        headers = build_headers(sandbox)
        status, _ = await call(sandbox, method, path, body, **headers)
        assert status in {200, 204}
        assert state() != before


async def test_controls_of_the_page_answer_mistakes_with_the_reason() -> None:
    class Clock:
        now = FakeClock(NOW).now
        monotonic = FakeClock(NOW).monotonic
        sleep = FakeClock(NOW).sleep

    async with Sandbox(clock=Clock()) as sandbox:
        headers = build_headers(sandbox)
        for path, body, status, problem in (
            ("faults", b'["no"]', 409, "fault: there is no fault 'no'; use an HTTP"),
            ("clock", b'{"advance_s": -1}', 409, "advance_s: must be 0 to 31536000"),
            ("clock", b'{"advance_s": 1}', 409, "the clock of this sandbox has no"),
            ("callbacks/1/resend", b"{}", 404, "there is no such callback"),
        ):
            answer = await call(sandbox, "POST", f"/_pages/{path}", body, **headers)
            assert (answer[0], answer[1][: len(problem)]) == (status, problem)


async def test_preflight_request_of_another_origin_is_rejected() -> None:
    async with Sandbox(clock=FakeClock(NOW)) as sandbox:
        await create_order(sandbox)
        status, headers, _ = await get(
            sandbox,
            f"{ORDER}/pay",
            "OPTIONS",
            Origin="https://evil.example",
            Access_Control_Request_Method="POST",
            Access_Control_Request_Headers="content-type",
        )
    assert status == 403
    assert not [name for name in headers if name.startswith("Access-Control")]


# The buttons


@pytest.mark.parametrize(
    ("moves", "status", "kinds"),
    [
        (["pay"], "SUCCESS", ["paid"]),
        (["expire"], "OVERDUE", ["timeout"]),
        (["pay-late"], "SUCCESS", ["timeout", "paid"]),
        (["expire", "pay-late"], "SUCCESS", ["timeout", "paid"]),
        (["underpay"], "OVERDUE", []),
        (["underpay", "pay-late"], "SUCCESS", ["paid"]),
    ],
)
async def test_buttons_change_the_status_and_send_the_documented_callbacks(
    moves: list[str], status: str, kinds: list[str]
) -> None:
    async with open_shop() as shop, Sandbox(clock=FakeClock(NOW)) as sandbox:
        await create_order_for(sandbox, shop)
        for move in moves:
            assert await press(sandbox, move) == (204, "")
        assert sandbox.orders[ORDER_ID].status == status
        assert [sent.kind for sent in sandbox.callbacks] == kinds


async def test_button_for_a_forbidden_status_change_says_why() -> None:
    async with Sandbox(clock=FakeClock(NOW)) as sandbox:
        await create_order(sandbox)
        await sandbox.pay(ORDER_ID)
        for move, done in zip(
            MOVES, ["paid", "expired", "paid", "underpaid"], strict=True
        ):
            assert await press(sandbox, move) == (
                409,
                f"order_id: {ORDER_ID} is SUCCESS and cannot be {done}\n",
            )
        assert sandbox.orders[ORDER_ID].status == "SUCCESS"


async def test_unknown_orders_and_actions_are_rejected() -> None:
    async with Sandbox(clock=FakeClock(NOW)) as sandbox:
        for move in MOVES:
            assert await press(sandbox, move, "7") == (404, "there is no such order\n")
        assert (await press(sandbox, "refund"))[0] == 404


# Events


async def test_checkout_stream_sends_the_order_and_then_its_changes() -> None:
    clock = FakeClock(NOW)
    async with Sandbox(clock=clock) as sandbox:
        await create_order(sandbox, succeed_url="https://shop.example/thanks?a=b")
        invoice = sandbox.orders[ORDER_ID].invoice
        clock.advance(60)
        async with open_stream(sandbox, f"/orders/{ORDER_ID}/events") as stream:
            assert _pages.HEADERS.items() <= dict(stream.response.headers).items()
            assert await stream.read_frame() == "retry: 500\n\n"
            data, *rest = (await stream.read_frame()).split("\n")
            assert rest == ["", ""]
            assert json.loads(data.removeprefix("data: ")) == {
                "now": NOW.timestamp() + 60,
                "order": {
                    "key": ORDER_ID,
                    "status": "PENDING",
                    "price": "20",
                    "currency": "USD",
                    "amount": "0.00020000",
                    "coin": "BTC",
                    "created": NOW.timestamp(),
                    "sat": 20_000,
                    "invoice": invoice,
                    "address": "",
                    "qr": True,
                    "life": 1800,
                    "late": False,
                    "deadline": NOW.timestamp() + 1800,
                    "succeed_url": "https://shop.example/thanks?a=b",
                    "timeout_url": None,
                },
            }
            await sandbox.expire(ORDER_ID)
            change = await stream.wait_for("order")
            assert (change["status"], change["late"]) == ("OVERDUE", True)
            await sandbox.pay(ORDER_ID)
            change = await stream.wait_for("order")
            assert (change["status"], change["late"]) == ("SUCCESS", True)


async def test_unknown_order_has_neither_checkout_nor_qr_code() -> None:
    async with Sandbox() as sandbox:
        for path in (f"{ORDER}/events", f"{ORDER}/qr.svg"):
            status, _, text = await get(sandbox, path)
            assert (status, text) == (404, "there is no such order\n")


async def test_overview_stream_sends_each_list_when_it_changes() -> None:
    async with (
        Sandbox(clock=FakeClock(NOW)) as sandbox,
        open_stream(sandbox, "/events") as stream,
    ):
        empty: dict[str, Any] = {"total": 0, "rows": []}
        for name in ("orders", "requests", "callbacks"):
            assert await stream.wait_for(name) == empty
        assert await stream.wait_for("faults") == []
        assert await stream.wait_for("callback_faults") == []
        assert await stream.wait_for("fault_names") == [*REQUEST_FAULTS]
        assert await stream.wait_for("callback_fault_names") == [*CALLBACK_FAULTS]
        sandbox.faults.push("503; retry-after=1")
        assert await stream.wait_for("faults") == ["503; retry-after=1"]
        sandbox.faults.clear()
        assert await stream.wait_for("faults") == []
        sandbox.callback_faults.push("lost")
        assert await stream.wait_for("callback_faults") == ["lost"]
        await create_order(sandbox, callback_url="http://127.0.0.1:9/paid")
        ((row,), (request,)) = [
            (await stream.wait_for(name))["rows"] for name in ("orders", "requests")
        ]
        assert row["key"] == ORDER_ID
        assert request["method"] == "POST"
        await sandbox.pay(ORDER_ID)
        assert (await stream.wait_for("orders"))["rows"][0]["status"] == "SUCCESS"
        assert (await stream.wait_for("callbacks"))["rows"] == [
            {
                "key": 1,
                "order_id": ORDER_ID,
                "kind": "paid",
                "method": "GET",
                "url": "http://127.0.0.1:9/paid",
                "headers": ["Callback-Token", "Date", "Signature"],
                "size": 0,
                "status": None,
                "error": "not sent: lost",
                "sent": NOW.timestamp(),
            }
        ]


@pytest.mark.slow
async def test_overview_lists_are_bounded_and_begin_with_the_latest() -> None:
    async with Sandbox(clock=FakeClock(NOW)) as sandbox:
        for _ in range(102):
            await sandbox.pay(
                await create_order(sandbox, callback_url="https://shop.example/")
            )
        sandbox.faults.push(*["503"] * 102)
        async with open_stream(sandbox, "/events") as stream:
            for name in ("orders", "requests", "callbacks"):
                change = await stream.wait_for(name)
                assert (change["total"], len(change["rows"])) == (102, 100)
                keys = [str(row["key"])[-3:].strip("0") for row in change["rows"]]
                assert (keys[0], keys[-1]) == ("102", "3")
            assert len(await stream.wait_for("faults")) == 100


async def test_overview_shows_names_but_no_values_of_headers() -> None:
    body = b'{"price": 20, "note": "\xe2\x80\xae<img src=x>\xff\x00' + b"x" * 9_000
    async with Sandbox() as sandbox:
        path = "/api/bln/order?a=%3Cscript%3E" + "y" * 900
        await call(sandbox, "POST", path, body, X_Note="a value")
        async with open_stream(sandbox, "/events") as stream:
            (row,) = (await stream.wait_for("requests"))["rows"]
    assert "X-Note" in row["headers"]
    assert "a value" not in json.dumps(row)
    assert row["path"] == f"{path[:500]}…"
    assert row["size"] == len(body)
    assert row["body"].startswith('{"price": 20, "note": "\\u202e<img src=x>�\\x00xxx')
    assert len(row["body"]) < 2_020


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<b>ä€𝄞 x</b>", "<b>ä€𝄞 x</b>"),
        ("a\u202eb\u2066c\u200fd", r"a\u202eb\u2066c\u200fd"),
        ("a\nb\x00c\x7fd\u2028e\ufefff", r"a\nb\x00c\x7fd\u2028e\ufefff"),
        ("a\u00a0b\ud800c\U000e0001", r"a\xa0b\ud800c\U000e0001"),
        ("x" * 501, "x" * 500 + "…"),
    ],
)
def test_external_strings_are_escaped_and_shortened(text: str, shown: str) -> None:
    assert _responses.escape_hidden(text) == shown
    assert _responses.escape_hidden(text).isprintable()


async def test_no_response_of_the_pages_contains_a_secret() -> None:
    secrets: dict[str, Any] = {
        "api_token": "the-api-token",
        "api_secret": "the-api-secret",
        "callback_token": "the-callback-token",
        "callback_secret": "the-callback-secret",
    }
    async with (
        open_shop() as shop,
        Sandbox(**secrets, post_callbacks=True) as sandbox,
        sandbox.client() as aurpay,
    ):
        created = await aurpay.create_order(20, "USD", callback_url=f"{shop.url}/paid")
        await aurpay.get_order(created.order_id)
        path = f"/_pages/orders/{created.order_id}"
        await call(sandbox, "POST", f"{path}/pay", b"{}", **build_headers(sandbox))
        secret = [*secrets.values(), sandbox.orders[created.order_id].preimage]
        secret += [
            value
            for request in sandbox.requests
            for name, value in request.headers.items()
            if name in {"Signature", "API-Token", "Body-MD5"}
        ]
        secret += [v for _, v in sandbox.callbacks[0].headers if len(v) > 30]
        paths = [
            "/",
            f"{path}/qr.svg",
            *(f"/_pages/{p.name}" for p in STATIC.iterdir()),
        ]
        answers = [(await get(sandbox, p, Accept="text/html"))[2] for p in paths]
        for action in (f"{path}/pay", "/_pages/callbacks/1/resend"):
            headers = build_headers(sandbox)
            answers.append(str(await call(sandbox, "POST", action, **headers)))
        async with open_stream(sandbox, "/events") as stream:
            answers += [await stream.read_frame() for _ in range(2)]
        async with open_stream(sandbox, f"/orders/{created.order_id}/events") as stream:
            answers += [await stream.read_frame() for _ in range(2)]
    assert len(secret) >= 8
    assert not [value for value in secret for answer in answers if value in answer]


# The QR code


async def test_qr_code_is_an_svg_without_fixed_size() -> None:
    async with Sandbox(clock=FakeClock(NOW)) as sandbox:
        await create_order(sandbox)
        status, headers, text = await get(sandbox, f"{ORDER}/qr.svg")
    svg = ET.fromstring(text)  # noqa: S314 - our own
    assert status == 200
    assert headers["Content-Type"] == "image/svg+xml"
    assert svg.get("viewBox")
    assert svg.get("width") is None
    assert {part.get("fill") or part.get("stroke") for part in svg} == {"#fff", "#000"}


async def test_page_without_segno_has_no_qr_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    async with Sandbox(clock=FakeClock(NOW)) as sandbox:
        await create_order(sandbox)
        status, _, text = await get(sandbox, f"{ORDER}/qr.svg")
        assert (status, text) == (404, "segno is not installed\n")
        async with open_stream(sandbox, f"/orders/{ORDER_ID}/events") as stream:
            assert (await stream.wait_for("order"))["qr"] is False


# Streams


async def test_stream_sends_a_heartbeat_when_nothing_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_pages, "_POLLS_PER_HEARTBEAT", 3)
    async with Sandbox(clock=FakeClock(NOW)) as sandbox:
        await create_order(sandbox)
        async with open_stream(sandbox, f"/orders/{ORDER_ID}/events") as stream:
            await stream.wait_for("order")
            assert [await stream.read_frame() for _ in range(3)] == [":\n\n"] * 3


async def test_state_is_not_polled_while_no_page_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []
    orders = _responses.orders

    def counted(known: Any) -> Any:
        looks.append(len(known))
        return orders(known)

    monkeypatch.setattr(_responses, "orders", counted)
    async with Sandbox() as sandbox:
        before = len(asyncio.all_tasks())
        await create_order(sandbox)
        assert looks == []
        async with open_stream(sandbox, "/events") as stream:
            await stream.wait_for("orders")
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.001)
        seen = len(looks)
        await create_order(sandbox)
        assert len(looks) == seen


async def test_many_orders_are_sent_as_one_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_pages, "_POLL_INTERVAL_S", 0.05)
    async with Sandbox() as sandbox, open_stream(sandbox, "/events") as stream:
        await stream.wait_for("orders")
        for _ in range(20):
            sandbox._simulator.ledger.create({"price": 1, "currency": "USD"}, NOW)
        assert (await stream.wait_for("orders"))["total"] == 20


@pytest.mark.slow
async def test_closing_the_sandbox_does_not_wait_for_open_pages() -> None:
    async with Sandbox(clock=FakeClock(NOW)) as sandbox:
        await create_order(sandbox)
        _, writer = await asyncio.open_connection(*split_address(sandbox), limit=1)
        writer.write(b"GET /_pages/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        async with (
            open_stream(sandbox, "/events") as one,
            open_stream(sandbox, f"/orders/{ORDER_ID}/events") as two,
        ):
            await two.wait_for("order")
            while not count_unsent(sandbox):
                # An event has a hundred of these at most, which a line reader accepts.
                sandbox._simulator.requests.append(record_request(b"x" * 1_000))
                await one.wait_for("requests")
            runner: Any = sandbox._server._runner
            runner._shutdown_timeout = 120
            async with asyncio.timeout(60):
                await sandbox.aclose()
            with pytest.raises(aiohttp.ClientError):
                await two.wait_for("order")
        writer.close()


def split_address(sandbox: Sandbox) -> tuple[str, int]:
    """Return host and port."""
    host, _, port = sandbox.base_url.removeprefix("http://").partition(":")
    return host, int(port)


def record_request(body: bytes) -> ReceivedRequest:
    """Build a recorded request."""
    return ReceivedRequest(method="POST", path="/", headers={}, body=body)


def count_unsent(sandbox: Sandbox) -> int:
    """Return the unsent bytes of the slowest client."""
    runner = sandbox._server._runner
    assert runner is not None
    assert runner.server is not None
    return max(
        connection.transport.get_write_buffer_size()
        for connection in runner.server.connections
        if connection.transport is not None
    )


async def test_reopened_sandbox_serves_its_pages() -> None:
    clock = FakeClock(NOW)
    async with Sandbox(clock=clock) as sandbox:
        await create_order(sandbox)
    async with sandbox:
        clock.advance(timedelta(minutes=30).total_seconds())
        async with open_stream(sandbox, f"/orders/{ORDER_ID}/events") as stream:
            change = await stream.wait_for("order")
    assert change["deadline"] == clock.now().timestamp()
