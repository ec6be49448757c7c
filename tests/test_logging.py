"""The snippets of the page about logging, in real servers and in Sentry's SDK."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import aurpay_async
from aurpay_async.testing import sign_callback

from .callbacks.samples import SECRET, SIGNER, reference

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "logging.md").read_text(encoding="utf-8")

#: A shop with a handler that fails; it configures no logging.
SHOP = """
from fastapi import FastAPI
from aurpay_async.callbacks import CallbackProcessor, CallbackVerifier, MemoryInbox
from aurpay_async.contrib.starlette import callback_router

KEY, SECRET = "sandbox-reference-key", "sandbox-callback-secret"
orders = {}

async def lookup(reference):
    return orders.get(reference.attempt_id)

async def fulfil(notification):
    reference_key = KEY
    raise RuntimeError("no such table: shipments")

def create_app(reader):
    verifier = CallbackVerifier(secrets=[SECRET], reference_key=KEY)
    inbox = MemoryInbox()
    processor = CallbackProcessor(
        verifier, fulfil, lookup=lookup, reader=reader, inbox=inbox
    )
    app = FastAPI()
    router = callback_router(processor, public_base_url="https://shop.example")
    app.include_router(router)
    return app
"""


#: The application for uvicorn, with one order that is paid.
SERVED = """
from tests.callbacks.samples import ATTEMPT_ID
from tests.callbacks.test_processor import StoredOrder, build_order

class Reader:
    async def get_order(self, order_id):
        return build_order()

orders[ATTEMPT_ID] = StoredOrder()
app = create_app(Reader())
"""

#: A callback that nothing has signed.
UNSIGNED = "/aurpay/callback?aurpay_ref=canary-5e1f"


def block_with(line: str) -> str:
    """Return the block of the page that has this line."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (found,) = [block for block in blocks if line in block]
    return str(found)


@contextmanager
def uvicorn(
    folder: Path, code: str, *options: str
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Serve an application with uvicorn's own command line; yield its port."""
    (folder / "shop.py").write_text(SHOP, encoding="utf-8")
    app = f"from shop import *\n{code}\n{SERVED}"
    (folder / "served.py").write_text(app, encoding="utf-8")
    served = ("uvicorn", "served:app", "--app-dir", str(folder), "--port", "0")
    server = subprocess.Popen(
        [sys.executable, "-m", *served, *options],
        cwd=ROOT,  # for the imports from `tests`
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = server.stdout
    assert output is not None
    try:
        for line in output:
            if found := re.search(r"running on http://127.0.0.1:(\d+)", line):
                yield int(found[1]), server
                break
        else:
            pytest.fail("uvicorn did not start")
    finally:
        server.kill()
        server.wait()
        output.close()


def log_of_a_callback(
    folder: Path,
    target: str,
    status: int,
    code: str = "",
    *options: str,
    **headers: str,
) -> str:
    """Send a callback to the shop; return what the server wrote."""
    with uvicorn(folder, code, *options) as (port, server):
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", target, headers=headers)
        assert connection.getresponse().status == status
        connection.close()
        server.terminate()
        assert server.stdout is not None
        return server.stdout.read()


@pytest.mark.slow
def test_rejected_callback_is_visible_under_plain_uvicorn_without_a_configuration(
    tmp_path: Path,
) -> None:
    log = log_of_a_callback(tmp_path, UNSIGNED, 401)
    assert "callback rejected: the request has neither Callback-Token" in log
    assert "url='https://shop.example/aurpay/callback' outcome='unsigned'" in log
    # The page says so: uvicorn's access log has the query.
    assert '"GET /aurpay/callback?aurpay_ref=canary-5e1f HTTP/1.1" 401' in log


@pytest.mark.slow
def test_traceback_of_a_failing_handler_is_visible_under_plain_uvicorn(
    tmp_path: Path,
) -> None:
    url = SIGNER.attach("https://shop.example/aurpay/callback", reference())
    headers = sign_callback(url, secret=SECRET)
    target = url.removeprefix("https://shop.example")
    log = log_of_a_callback(tmp_path, target, 500, **headers)
    assert "callback not processed, answered with 500; reference='cart-42'" in log
    assert "RuntimeError: no such table: shipments" in log
    assert 'in fulfil\n    raise RuntimeError("no such table' in log


@pytest.mark.slow
def test_filter_of_the_page_removes_queries_from_uvicorns_access_log(
    tmp_path: Path,
) -> None:
    log = log_of_a_callback(tmp_path, UNSIGNED, 401, block_with("class WithoutQuery"))
    assert '"GET /aurpay/callback HTTP/1.1" 401' in log
    assert "canary-5e1f" not in log


@pytest.mark.slow
def test_log_configuration_of_the_page_writes_time_level_and_logger(
    tmp_path: Path,
) -> None:
    lines, json_lines = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    code = block_with("class JsonFormatter")
    (formatter,) = re.findall(r"class JsonFormatter.*?\n\n\n", code, re.DOTALL)
    module = f"import json\nimport logging\n\n\n{formatter}"
    (tmp_path / "jsonlog.py").write_text(module, encoding="utf-8")
    (tmp_path / "log.json").write_text(json_lines, encoding="utf-8")
    options = ("--log-config", str(tmp_path / "log.json"), "--no-access-log")
    log = log_of_a_callback(tmp_path, UNSIGNED, 401, "", *options)
    found = [json.loads(line) for line in log.splitlines()]
    assert "unsigned" in [line.get("aurpay_outcome") for line in found]
    assert {line["logger"] for line in found} >= {"uvicorn.error"}
    (tmp_path / "log.json").write_text(lines, encoding="utf-8")
    log = log_of_a_callback(tmp_path, UNSIGNED, 401, "", *options)
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
    line = rf"^{time} WARNING aurpay_async.callbacks: callback rejected: "
    assert re.search(line, log, re.MULTILINE)
    assert re.search(rf"^{time} INFO uvicorn.error: Shutting down$", log, re.MULTILINE)
    assert "canary-5e1f" not in log


SENTRY = """
import asyncio, json
from functools import partial
import sentry_sdk
from sentry_sdk.transport import Transport

events = []

class Collect(Transport):
    def capture_envelope(self, envelope):
        events.extend(i.get_event() for i in envelope.items if i.get_event())

sentry_sdk.init = partial(sentry_sdk.init, transport=Collect)
from page import init_sentry
init_sentry("http://public@127.0.0.1/1")

import httpx
from shop import KEY, create_app, orders
from aurpay_async.sandbox import Sandbox

async def main():
    async with Sandbox() as sandbox, sandbox.client(reference_key=KEY) as aurpay:
        app = create_app(aurpay)
        sandbox.deliver_to(app, "https://shop.example")
        order = await aurpay.create_order(
            "20", "USD", reference="cart-42",
            callback_url="https://shop.example/aurpay/callback",
        )
        orders[order.attempt_id] = order
        await sandbox.pay(order.order_id)
        asgi = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=asgi) as scanner:
            await scanner.get("https://shop.example/aurpay/callback")

asyncio.run(main())
print(json.dumps(events))
"""


@pytest.mark.slow
def test_sentry_gets_fields_as_tags_and_no_credential_with_the_setup_of_the_page(
    tmp_path: Path,
) -> None:
    if importlib.util.find_spec("sentry_sdk") is None:
        pytest.skip("sentry_sdk is not installed")
    (tmp_path / "page.py").write_text(block_with("import sentry_sdk"), encoding="utf-8")
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    (tmp_path / "run.py").write_text(SENTRY, encoding="utf-8")
    command = [sys.executable, "run.py"]
    done = subprocess.run(
        command, cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    [event] = json.loads(done.stdout)  # none about the scanner
    assert event["level"] == "error"
    assert event["logentry"]["message"] == "callback not processed, answered with 500%s"
    tags = event["tags"]
    assert (tags["aurpay_reference"], tags["aurpay_outcome"]) == ("cart-42", "failed")
    assert {"aurpay_order_id", "aurpay_attempt_id"} < tags.keys()
    (error,) = event["exception"]["values"]
    handler = error["stacktrace"]["frames"][-1]
    assert (error["value"], handler["function"]) == (
        "no such table: shipments",
        "fulfil",
    )
    assert handler["vars"]["reference_key"] == "[Filtered]"
    headers = event["request"]["headers"]
    assert headers["signature"] == headers["callback-token"] == "[Filtered]"
    assert "query_string" not in event.pop("request")
    for frame in error["stacktrace"]["frames"]:  # the source lines of this test's shop
        for context in ("pre_context", "post_context"):
            frame.pop(context, None)
    for secret in ("aurpay_ref=", "sandbox-reference-key", "sandbox-callback-secret"):
        assert secret not in json.dumps(event)


def test_page_names_each_logger_of_the_package() -> None:
    named: set[str] = set()
    for path in Path(aurpay_async.__file__).parent.rglob("*.py"):
        code = path.read_text(encoding="utf-8")
        named |= {*re.findall(r"getLogger\(\"(aurpay_async\.\w+)\"\)", code)}
    assert len(named) >= 3
    assert all(f"| `{name}` |" in PAGE for name in named)
