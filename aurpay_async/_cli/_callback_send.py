"""``aurpay callback send``: one signed callback, as the platform would send it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from .._clock import SystemClock
from .._urls import UrlError, without_query
from ..errors import InvalidRequestError
from ..sandbox._letters import ANY_KEY
from ..testing import sign_callback
from ._failures import FAILED
from ._plain import redacted
from ._screen import Row
from ._secrets import ask_for_callback_keys, from_environment
from ._web import require_sendable, send

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Literal

    from ._act import Job
    from ._screen import Screen
    from ._secrets import CallbackKeys
    from ._web import Answer

    Kind = Literal["paid", "timeout"]

#: How old a stale one is: twice what `CallbackVerifier` forgives.
_STALE: Final = timedelta(minutes=10)

#: Characters of an answer that are shown.
_MAX_SHOWN: Final = 2000

_OK: Final = range(200, 300)
_STATUSES: Final[Mapping[Kind, str]] = {"paid": "SUCCESS", "timeout": "OVERDUE"}


class Call(NamedTuple):
    """What is to be called, and what is to be special about it."""

    url: str
    #: What is signed, if the shop was registered under another URL.
    registered: str | None
    kind: Kind
    order_id: str | None
    post: bool
    duplicate: bool
    stale: bool
    bad_signature: bool
    #: Whether token, date and signature are left out.
    unsigned: bool
    #: Whether there is an Api-Key header.
    api_key: bool

    @property
    def method(self) -> str:
        """As Aurpay documents it: GET, or POST if it was asked for."""
        return "POST" if self.post else "GET"

    def headers(self, keys: CallbackKeys) -> dict[str, str]:
        """Those that are documented, signed now or some time ago."""
        signed_at = SystemClock().now() - (_STALE if self.stale else timedelta(0))
        token, secret = keys.token.reveal(), keys.secret.reveal()
        if self.bad_signature:
            secret = f"not {secret}"
        url = self.registered or self.url
        headers = sign_callback(url, secret=secret, token=token, now=signed_at)
        if self.unsigned:
            headers.clear()
        if self.api_key:
            headers["Api-Key"] = _api_key()
        if self.post:
            headers["Content-Type"] = "application/json"
        return headers

    def body(self) -> bytes:
        """What a POST says, of the documented fields those that nothing contradicts."""
        if not self.post:
            return b""
        named = {} if self.order_id is None else {"order_id": self.order_id}
        fields = {"order_type": "ORDER", "platform": "AURPAY", **named}
        return json.dumps({**fields, "status": _STATUSES[self.kind]}).encode()


def send_callback(screen: Screen, call: Call, *, anywhere: bool) -> Job:
    """Send a callback and show what comes back; it is a no if the shop says no."""
    try:
        require_sendable(call.url, anywhere=anywhere)
    except UrlError as error:
        raise InvalidRequestError(str(error), field="url") from None
    return _send(screen, call, ask_for_callback_keys())


async def _send(screen: Screen, call: Call, keys: CallbackKeys) -> int:
    headers = call.headers(keys)
    codes: list[int] = []
    # A duplicate is the same, byte for byte.
    for _ in range(2 if call.duplicate else 1):
        with screen.waiting(f"Calling {without_query(call.url)}"):
            answer = await send(call.method, call.url, headers.items(), call.body())
        # A shop that is being debugged may repeat what it got.
        text = redacted(
            answer.body.decode("utf-8", "replace"),
            [keys.token.reveal(), keys.secret.reveal(), *_secrets(headers)],
        )
        codes.append(_show(screen, call, answer, text[:_MAX_SHOWN]))
    return max(codes)


def _api_key() -> str:
    """The key of the environment, or a made-up one."""
    key = from_environment("AURPAY_API_KEY")
    return ANY_KEY if key is None else key.reveal()


def _secrets(headers: Mapping[str, str]) -> Iterator[str]:
    return (headers[name] for name in ("Signature", "Api-Key") if name in headers)


def _show(screen: Screen, call: Call, answer: Answer, text: str) -> int:
    accepted = answer.status in _OK
    screen.record(
        "callback",
        method=call.method,
        url=without_query(call.url),
        kind=call.kind,
        accepted=accepted,
        status=answer.status,
        error=answer.error,
        body=text,
        seconds=round(answer.seconds, 3),
    )
    screen.title(f"{call.method} {without_query(call.url)}")
    screen.rows(_rows(answer, text, accepted=accepted))
    return 0 if accepted else FAILED


def _rows(answer: Answer, text: str, *, accepted: bool) -> Iterator[Row]:
    if answer.status is not None:
        status = f"{answer.status} after {answer.seconds:.2f} s"
        yield Row("status", status, "ok" if accepted else "problem")
    if answer.error is not None:
        yield Row("error", answer.error, "problem")
    yield from (Row("body", line) for line in text.splitlines())
