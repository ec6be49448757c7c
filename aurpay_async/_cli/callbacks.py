"""``aurpay callback send``: send one signed callback, as the platform would."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final, Literal

import attrs
from cyclopts import Group, Parameter
from cyclopts.validators import mutually_exclusive

from .._clock import SystemClock
from .._urls import UrlError, without_query
from ..errors import InvalidRequestError
from ..sandbox._letters import ANY_KEY
from ..testing import sign_callback
from ._arguments import Flag, OutputOption  # noqa: TC001 - read by cyclopts
from ._failures import FAILED
from ._plain import redacted
from ._screen import Output, Row
from ._secrets import ask_for_callback_keys, from_environment
from ._web import require_sendable, send

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._secrets import CallbackKeys
    from ._web import Answer

#: Twice the age that `CallbackVerifier` accepts.
_STALE_AGE: Final = timedelta(minutes=10)

#: Characters of a response that are shown.
_MAX_SHOWN: Final = 2000

_ACCEPTED: Final = range(200, 300)

_KIND_GROUP: Final = Group("Which callback", validator=mutually_exclusive)


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class CallbackOptions:
    """The kind of a callback, and its faults."""

    registered: Annotated[
        str | None,
        Parameter(help="URL to sign, if the shop was registered under another one."),
    ] = None
    paid: Annotated[
        Flag,
        Parameter(
            group=_KIND_GROUP,
            help="Callback of a payment, the default. A GET shows it by its URL alone.",
        ),
    ] = False
    timeout: Annotated[
        Flag, Parameter(group=_KIND_GROUP, help="Callback of a timeout.")
    ] = False
    post: Annotated[
        Flag, Parameter(help="Send a POST with the status in its unsigned body.")
    ] = False
    order_id: Annotated[str | None, Parameter(help="Order id in this body.")] = None
    duplicate: Annotated[Flag, Parameter(help="Send it twice, byte for byte.")] = False
    stale: Annotated[
        Flag, Parameter(help="Sign it with a date ten minutes in the past.")
    ] = False
    bad_signature: Annotated[Flag, Parameter(help="Sign it with another secret.")] = (
        False
    )
    unsigned: Annotated[
        Flag, Parameter(help="Leave out Callback-Token, Date and Signature.")
    ] = False
    api_key: Annotated[
        Flag,
        Parameter(
            help="Add an Api-Key header, which proves nothing: AURPAY_API_KEY, or a "
            "made-up key."
        ),
    ] = False

    @property
    def kind(self) -> Literal["paid", "timeout"]:
        """Return the kind of callback."""
        return "timeout" if self.timeout else "paid"

    @property
    def method(self) -> str:
        """Return the HTTP method: GET, as Aurpay documents it, or POST."""
        return "POST" if self.post else "GET"

    def headers(self, url: str, keys: CallbackKeys) -> dict[str, str]:
        """Return the documented headers, signed for a URL."""
        age = _STALE_AGE if self.stale else timedelta(0)
        token, secret = keys.token.reveal(), keys.secret.reveal()
        if self.bad_signature:
            secret = f"not {secret}"
        headers = sign_callback(
            self.registered or url,
            secret=secret,
            token=token,
            now=SystemClock().now() - age,
        )
        if self.unsigned:
            headers.clear()
        if self.api_key:
            headers["Api-Key"] = _api_key()
        if self.post:
            headers["Content-Type"] = "application/json"
        return headers

    def body(self) -> bytes:
        """Return the documented fields of a POST that no other source contradicts."""
        if not self.post:
            return b""
        named = {} if self.order_id is None else {"order_id": self.order_id}
        fields = {"order_type": "ORDER", "platform": "AURPAY", **named}
        status = "OVERDUE" if self.timeout else "SUCCESS"
        return json.dumps({**fields, "status": status}).encode()


#: Defaults of the command: a frozen object can be shared by all calls.
_CALLBACK_DEFAULTS: Final = CallbackOptions()


def send_callback(
    url: Annotated[
        str, Parameter(help="The URL registered with the order, including its query.")
    ],
    /,
    *,
    options: CallbackOptions = _CALLBACK_DEFAULTS,
    anywhere: Annotated[
        Flag, Parameter(help="Allow a shop on another machine; by https only.")
    ] = False,
    output_format: OutputOption = "text",
) -> int:
    """Send a callback and show the response; return 1 unless it is 2xx."""
    try:
        require_sendable(url, anywhere=anywhere)
    except UrlError as error:
        raise InvalidRequestError(str(error), field="url") from None
    keys = ask_for_callback_keys()
    return asyncio.run(_send(Output(output_format), url, options, keys))


async def _send(
    output: Output, url: str, options: CallbackOptions, keys: CallbackKeys
) -> int:
    # Signed send_once, so that a duplicate is the same byte for byte.
    headers = options.headers(url, keys)
    codes: list[int] = []
    for _ in range(2 if options.duplicate else 1):
        with output.waiting(f"Calling {without_query(url)}"):
            answer = await send(options.method, url, headers.items(), options.body())
        # A shop that is being debugged may return the request that it received.
        text = redacted(
            answer.body.decode("utf-8", "replace"),
            [keys.token.reveal(), keys.secret.reveal(), *_secret_headers(headers)],
        )
        codes.append(_show_answer(output, url, options, answer, text[:_MAX_SHOWN]))
    return max(codes)


def _api_key() -> str:
    """Return the API key of the environment, or a made-up one."""
    key = from_environment("AURPAY_API_KEY")
    return ANY_KEY if key is None else key.reveal()


def _secret_headers(headers: Mapping[str, str]) -> Iterator[str]:
    return (headers[name] for name in ("Signature", "Api-Key") if name in headers)


def _show_answer(
    output: Output, url: str, options: CallbackOptions, answer: Answer, text: str
) -> int:
    accepted = answer.status in _ACCEPTED
    output.json(
        "callback",
        method=options.method,
        url=without_query(url),
        kind=options.kind,
        accepted=accepted,
        status=answer.status,
        error=answer.error,
        body=text,
        seconds=round(answer.seconds, 3),
    )
    output.rows(
        _answer_rows(answer, text, accepted=accepted),
        f"{options.method} {without_query(url)}",
    )
    return 0 if accepted else FAILED


def _answer_rows(answer: Answer, text: str, *, accepted: bool) -> Iterator[Row]:
    if answer.status is not None:
        status = f"{answer.status} after {answer.seconds:.2f} s"
        yield Row("status", status, "ok" if accepted else "problem")
    if answer.error is not None:
        yield Row("error", answer.error, "problem")
    yield from (Row("body", line) for line in text.splitlines())
