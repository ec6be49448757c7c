"""Callback deliveries, valid and invalid: bytes of requests, and expected statuses."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from aurpay_async.callbacks import MAX_BODY, Reference
from aurpay_async.callbacks._identity import ReferenceSigner

if TYPE_CHECKING:
    from aurpay_async.callbacks import Kind

#: The origin of the registered URLs; the shops' servers are behind a proxy.
PUBLIC = "https://shop.example"
SECRET = "callback-secret"
REFERENCE_KEY = "k" * 32
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)

CALLBACK = f"{PUBLIC}/aurpay/callback"
PAID = f"{PUBLIC}/aurpay/paid"
TIMEOUT = f"{PUBLIC}/aurpay/timeout"
ODD = f"{PUBLIC}/aurpay/shops/a%2Fb%20c+d?note=x%20y+z%2B%FF"

#: Prefixes of references: the handler fails once, or waits.
FAILING, SLOW = "failing", "slow"

_TWO_MIB = 2 * 1024 * 1024


def registered(reference: str, url: str = CALLBACK, kind: Kind = "paid") -> str:
    """Return the URL that an order was created with."""
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
    """Return the headers of Aurpay, by the documented rule."""
    digest = hmac.digest(secret.encode(), f"{date} | {url}".encode(), "sha256")
    return [f"Date: {date}", f"Signature: {base64.b64encode(digest).decode()}"]


def request(
    url: str, *headers: str, method: str = "GET", body: bytes | None = None
) -> bytes:
    """Return a request as a reverse proxy forwards it: another host, plain HTTP."""
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
    """A request and the status of its response."""

    sent: bytes
    status: int
    #: The rest of the request, sent only to frameworks that receive whole bodies.
    rest: bytes = b""


@attrs.frozen
class Row:
    """The deliveries of one order in turn, and how often its handler succeeds."""

    name: str
    steps: tuple[Step, ...]
    handled: int = 0


def _deliver(name: str, *steps: Step, handled: int = 0) -> Row:
    return Row(name, steps, handled)


def _valid(name: str, url: str = CALLBACK, kind: Kind = "paid") -> bytes:
    url = registered(name, url, kind)
    return request(url, *signed(url))


def _post(name: str, body: bytes) -> bytes:
    url = registered(name)
    return request(url, *signed(url), method="POST", body=body)


def _reject(name: str, status: int = 401, *, method: str = "GET") -> Row:
    url = registered(name)
    return _deliver(name, Step(request(url, *signed(url), method=method), status))


def _large(name: str, *framing: str, start: bytes = b"", end: bytes = b"") -> Row:
    url = registered(name)
    head = request(url, *signed(url), *framing, method="POST")
    body = b" " * _TWO_MIB
    sent = len(start) and MAX_BODY + 1
    step = Step(head + start + body[:sent], 413, body[sent:] + end)
    return _deliver(name, step)


def _reject_headers(name: str, *headers: str) -> Row:
    return _deliver(name, Step(request(registered(name), *headers), 401))


_URL = registered("twice")
_DATE, _SIGNATURE = signed(_URL)

TABLE = [
    _deliver("get", Step(_valid("get"), 200), handled=1),
    _deliver("post", Step(_post("post", b'{"order_id": "1"}'), 200), handled=1),
    _deliver("empty-post", Step(_post("empty-post", b""), 200), handled=1),
    _deliver(
        "repeated",
        Step(_valid("repeated"), 200),
        Step(_valid("repeated"), 200),
        handled=1,
    ),
    _reject_headers("forged", *signed(registered("forged"), secret="guessed")),
    _reject_headers("other-url", *signed(registered("other-url") + "&x=1")),
    _reject_headers(
        "internal-url", *signed("http://app.internal:8000/aurpay/callback")
    ),
    _reject_headers("unsigned"),
    _reject_headers("no-date", signed(registered("no-date"))[1]),
    _deliver("twice", Step(request(_URL, _DATE, _SIGNATURE, _SIGNATURE), 401)),
    _reject_headers("stale", *signed(registered("stale"), date="2026-01-01T11:54:59Z")),
    _reject_headers(
        "future", *signed(registered("future"), date="2026-01-01T12:05:01Z")
    ),
    _deliver("paid", Step(_valid("paid", PAID), 200), handled=1),
    _deliver("timeout", Step(_valid("timeout", TIMEOUT, "timeout"), 200), handled=1),
    _deliver("wrong-kind", Step(_valid("wrong-kind", TIMEOUT), 401)),
    _deliver("odd", Step(_valid("odd", ODD), 200), handled=1),
    _reject("put", 405, method="PUT"),
    _reject("delete", 405, method="DELETE"),
    _reject("options", 405, method="OPTIONS"),
    _reject("head", 405, method="HEAD"),
    _deliver("not-json", Step(_post("not-json", b"price=20.00"), 401)),
    _deliver("other-price", Step(_post("other-price", b'{"vs_price": "0.01"}'), 401)),
    _large("large", f"Content-Length: {_TWO_MIB}"),
    _large(
        "large-chunks",
        "Transfer-Encoding: chunked",
        start=f"{_TWO_MIB:x}\r\n".encode(),
        end=b"\r\n0\r\n\r\n",
    ),
    _deliver(
        f"{FAILING}-once",
        Step(_valid(f"{FAILING}-once"), 500),
        Step(_valid(f"{FAILING}-once"), 200),
        handled=1,
    ),
    _deliver("link-preview", Step(request(CALLBACK, "User-Agent: preview"), 401)),
]
