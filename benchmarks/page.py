"""The checkout page in Chromium: time from opening until a payer can use it."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

from ._measure import make_figure
from .sandbox import BODY, run_sandbox

if TYPE_CHECKING:
    from ._measure import Figure

#: Debian's Chromium; nothing is downloaded.
CHROMIUM = Path("/usr/bin/chromium")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

#: Milliseconds since the page was opened, as soon as the invoice can be copied, the QR
#: code can be scanned, and the buttons work.
USABLE = """() => {
    const invoice = document.querySelector("#invoice");
    const qr = document.querySelector('[data-slot="qr"]');
    const pay = document.querySelector('[data-action="pay"]');
    const drawn = qr && (qr.hidden || (qr.complete && qr.naturalWidth > 0));
    const works = pay && pay.ariaDisabled === "false";
    return invoice && invoice.value && drawn && works && performance.now();
}"""


def find_missing() -> str | None:
    """Return which requirement is not installed, if any."""
    if find_spec("playwright") is None:
        return "playwright is not installed"
    return None if CHROMIUM.exists() else f"there is no {CHROMIUM}"


def create_pay_url(port: int) -> str:
    """Return the checkout page of a new order."""
    url = f"http://127.0.0.1:{port}/api/bln/order"
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(url, BODY, headers)) as answer:
        page: str = json.load(answer)["data"]["pay_url"]
        return page


def measure_opening(rounds: int) -> list[Figure]:
    """Measure opening in a new window, without a cache."""
    if reason := find_missing():
        print(f"without the checkout page: {reason}")
        return []
    from playwright.sync_api import sync_playwright

    times = []
    with run_sandbox() as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for _ in range(rounds + 1):
            page = browser.new_page()
            page.goto(create_pay_url(port), wait_until="commit")
            usable = page.wait_for_function(USABLE, polling="raf").json_value()
            times.append(usable / 1000)
            page.close()
        browser.close()
    # The first page is left out: the browser starts more processes for it.
    what = "checkout page, from opening until it is usable"
    return [make_figure(what, "s", times[1:], hold=1.0)]
