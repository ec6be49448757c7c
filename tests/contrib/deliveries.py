"""Deliveries, good and bad: what comes over the wire, and what has to come back."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from aurpay_async.callbacks import MAX_BODY, Reference
from aurpay_async.callbacks._reference import ReferenceSigner

if TYPE_CHECKING:
    from aurpay_async.callbacks import Kind

#: The address that orders are registered with; what listens is behind a proxy.
PUBLIC = "https://shop.example"
SECRET = "callback-secret"
REFERENCE_KEY = "k" * 32
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)

CALLBACK = f"{PUBLIC}/aurpay/callback"
PAID = f"{PUBLIC}/aurpay/paid"
TIMEOUT = f"{PUBLIC}/aurpay/timeout"
ODD = f"{PUBLIC}/aurpay/shops/a%2Fb%20c+d?note=x%20y+z%2B%FF"

#: Handlers fail once for references that begin so, or wait.
FAILING, SLOW = "failing", "slow"

_TWO_MIB = 2 * 1024 * 1024


def registered(reference: str, url: str = CALLBACK, kind: Kind = "paid") -> str:
    """The URL that an order was created with."""
    token = Reference(
        reference=reference,
        price=Decimal("20.00"),
        currency="USD",
        kind=kind,
        attempt_id=hashlib.sha256(reference.encode()).hexdigest()[:24],
    )
    return ReferenceSigner([REFERENCE_KEY]).attach(url, token)


def signed(
    url: str, *, secret: str = SECRET, date: str = "2026-01-01T12:00:00Z"
) -> list[str]:
    """The headers of the platform, by the rule of its documentation."""
    digest = hmac.digest(secret.encode(), f"{date} | {url}".encode(), "sha256")
    return [f"Date: {date}", f"Signature: {base64.b64encode(digest).decode()}"]


def request(
    url: str, *headers: str, method: str = "GET", body: bytes | None = None
) -> bytes:
    """A request as a reverse proxy passes it on: to another host, by plain HTTP."""
    lines = [
        f"{method} {url.removeprefix(PUBLIC)} HTTP/1.1",
        "Host: app.internal:8000",
        "X-Forwarded-Proto: https",
        *headers,
    ]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


@attrs.frozen
class Step:
    """A request and the status of its answer."""

    sent: bytes
    status: int
    #: What is still missing of the request. Only those who want all of it get it.
    rest: bytes = b""


@attrs.frozen
class Row:
    """What happens in turn, with one order, and how often its handler succeeds."""

    name: str
    steps: tuple[Step, ...]
    handled: int = 0


def _row(name: str, *steps: Step, handled: int = 0) -> Row:
    return Row(name, steps, handled)


def _good(name: str, url: str = CALLBACK, kind: Kind = "paid") -> bytes:
    url = registered(name, url, kind)
    return request(url, *signed(url))


def _post(name: str, body: bytes) -> bytes:
    url = registered(name)
    return request(url, *signed(url), method="POST", body=body)


def _refused(name: str, status: int = 401, *, method: str = "GET") -> Row:
    url = registered(name)
    return _row(name, Step(request(url, *signed(url), method=method), status))


def _large(name: str, *framing: str, start: bytes = b"", end: bytes = b"") -> Row:
    url = registered(name)
    head = request(url, *signed(url), *framing, method="POST")
    body = b" " * _TWO_MIB
    sent = len(start) and MAX_BODY + 1
    step = Step(head + start + body[:sent], 413, body[sent:] + end)
    return _row(name, step)


def _mutated(name: str, *headers: str) -> Row:
    return _row(name, Step(request(registered(name), *headers), 401))


_URL = registered("twice")
_DATE, _SIGNATURE = signed(_URL)

TABLE = [
    _row("get", Step(_good("get"), 200), handled=1),
    _row("post", Step(_post("post", b'{"order_id": "1"}'), 200), handled=1),
    _row("empty-post", Step(_post("empty-post", b""), 200), handled=1),
    _row(
        "repeated",
        Step(_good("repeated"), 200),
        Step(_good("repeated"), 200),
        handled=1,
    ),
    _mutated("forged", *signed(registered("forged"), secret="guessed")),
    _mutated("other-url", *signed(registered("other-url") + "&x=1")),
    _mutated("internal-url", *signed("http://app.internal:8000/aurpay/callback")),
    _mutated("unsigned"),
    _mutated("no-date", signed(registered("no-date"))[1]),
    _row("twice", Step(request(_URL, _DATE, _SIGNATURE, _SIGNATURE), 401)),
    _mutated("stale", *signed(registered("stale"), date="2026-01-01T11:54:59Z")),
    _mutated("future", *signed(registered("future"), date="2026-01-01T12:05:01Z")),
    _row("paid", Step(_good("paid", PAID), 200), handled=1),
    _row("timeout", Step(_good("timeout", TIMEOUT, "timeout"), 200), handled=1),
    _row("wrong-kind", Step(_good("wrong-kind", TIMEOUT), 401)),
    _row("odd", Step(_good("odd", ODD), 200), handled=1),
    _refused("put", 405, method="PUT"),
    _refused("delete", 405, method="DELETE"),
    _refused("options", 405, method="OPTIONS"),
    _refused("head", 405, method="HEAD"),
    _row("not-json", Step(_post("not-json", b"price=20.00"), 401)),
    _row("other-price", Step(_post("other-price", b'{"vs_price": "0.01"}'), 401)),
    _large("large", f"Content-Length: {_TWO_MIB}"),
    _large(
        "large-chunks",
        "Transfer-Encoding: chunked",
        start=f"{_TWO_MIB:x}\r\n".encode(),
        end=b"\r\n0\r\n\r\n",
    ),
    _row(
        f"{FAILING}-once",
        Step(_good(f"{FAILING}-once"), 500),
        Step(_good(f"{FAILING}-once"), 200),
        handled=1,
    ),
    _row("link-preview", Step(request(CALLBACK, "User-Agent: preview"), 401)),
]
