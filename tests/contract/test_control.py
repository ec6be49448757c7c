"""The control API and its OpenAPI description, compared by Schemathesis."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.request import Request, urlopen

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    find_spec("schemathesis") is None, reason="schemathesis is not installed"
)

#: Number of unpaid records of each type: a request for an unknown one is only a 404.
_COUNT: Final = 60

_SERVE: Final = (
    *(sys.executable, "-m", "aurpay_async", "sandbox"),
    *("--start", "2026-01-01", "--speed", "0", "--output", "json"),
)


@contextmanager
def serving() -> Iterator[str]:
    """Run a sandbox in its own process and return the URL of its description."""
    with subprocess.Popen(_SERVE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield json.loads(process.stdout.readline())["openapi_url"]
        finally:
            process.kill()


def tell(url: str, body: Any) -> Any:
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(url, data, headers)) as answer:  # noqa: S310 - of this machine
        return json.load(answer)


class Known(NamedTuple):
    """Values that Schemathesis cannot generate."""

    orders: list[str]
    checkouts: list[str]


def make(openapi_url: str) -> Known:
    """Create some of each record, and a callback that was sent."""
    origin = openapi_url.removesuffix("/_sandbox/openapi.json")
    fields = {"price": 20, "currency": "USD", "callback_url": "http://127.0.0.1:9/"}
    made = tell(f"{origin}/api/bln/order", fields)["data"]["order_id"]
    assert len(tell(f"{origin}/_sandbox/orders/{made}/pay", None)) == 1
    # A generated delay would block the other callbacks for an hour.
    fields.pop("callback_url")
    orders = (tell(f"{origin}/api/bln/order", fields) for _ in range(_COUNT))
    pages = (tell(f"{origin}/api/order/pay-url", fields) for _ in range(_COUNT))
    return Known(
        [made, *(order["data"]["order_id"] for order in orders)],
        [page["data"]["pay_url"].partition("token=")[2] for page in pages],
    )


def configure(folder: Path, known: Known) -> str:
    """Configure values that cannot be generated; a warning is a failure."""
    file = folder / "schemathesis.toml"
    file.write_text(
        f"""
        [dictionaries]
        orders = {{ values = {json.dumps(known.orders)} }}
        checkouts = {{ values = {json.dumps(known.checkouts)} }}

        [parameters]
        "path.order_id" = {{ dictionary = "orders", probability = 0.8 }}
        "path.number" = 1
        "path.token" = {{ dictionary = "checkouts", probability = 0.8 }}

        [warnings]
        fail-on = true
        """,
        encoding="utf-8",
    )
    return str(file)


def test_control_api_matches_its_openapi_description(tmp_path: Path) -> None:
    with serving() as openapi_url:
        config = configure(tmp_path, make(openapi_url))
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--no-color"),
                *("--config-file", config, "run", openapi_url),
                *("--checks", "all", "--max-examples", "25", "--seed", "1"),
                "--continue-on-failure",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
