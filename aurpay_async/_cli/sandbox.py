"""Commands `sandbox` and `demo`.

The demo runs a sandbox, a shop and its client on loopback. The shop verifies the
callback and confirms it with Aurpay.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Final

import attrs
from aiohttp import web
from cyclopts import Parameter

from .._client.options import auth_from_env
from .._core.json import pick
from .._core.secrets import secret_from_env
from .._core.urls import is_loopback, parse_origin, without_query
from ..bolt11._qr import segments
from ..errors import ConfigurationError, shown
from ..sandbox import Sandbox
from ..sandbox._ledger import TIME_TO_PAY
from ..sandbox._models import SandboxClock
from ..sandbox._settings import LOOPBACK, require_made_up
from . import FAILED
from ._options import (
    CALLBACK_SECRET,
    CALLBACK_TOKEN,
    AmountStyle,
    Flag,
    Port,
    Several,
    ask_for_callback_keys,
    callback_key_from_env,
    doc,
)
from ._output import TEXT, Output, Row, moment, parse_time, span
from ._views import order_members, show_order

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
    from datetime import datetime

    from .._api.lightning_order import LightningOrder
    from .._api.models import Payment
    from .._client import AurpayClient
    from .._core.secrets import Secret
    from ..callbacks import ConfirmedNotification, Notification, Reference
    from ..sandbox import SentCallback
    from ..sandbox._simulator import Activity

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_NETWORK: Final = "regtest"

_HOST: Final = "Send callbacks to this host as well; may be repeated."
_NAME: Final = """\
Accept this host name as well, such as the service name in a network of containers; \
may be repeated."""
_SEED: Final = """\
Make ids, secrets and invoices the same in every run that starts at the same time."""
_SPEED: Final = """\
How much faster than at Aurpay orders time out: 1 is after 30 minutes, 60 after 30 \
seconds, 0 never."""
SeedOption = Annotated[int | None, doc(_SEED)]
SpeedOption = Annotated[float, doc(_SPEED)]
PostCallbacksOption = Annotated[
    Flag, doc("Send callbacks as POST with the order in the body.")
]
AskOption = Annotated[
    Flag, doc("Ask for the callback token and secret that the environment lacks.")
]


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class SandboxOptions:
    # An assignment: `python -OO` would remove a docstring.
    __doc__ = """Options of a sandbox on the command line.

    Attributes:
        port: Port to listen on; 0 takes a free one.
        host: Name or address of this machine to listen on.
        allow_remote: Allow a host that other machines can reach. They can pay orders.
        db: Store the state in this file; a sandbox that was stopped or killed
            continues with it.
        start: Stop the clock at this time; only POST /_sandbox/clock moves it.
            ISO 8601, UTC if it has no zone.
        amounts: JSON type of BTC amounts in responses: Aurpay uses both.
        api_key_in_callbacks: Send the API key of an order in all its callbacks, not
            only where Aurpay documents it.
        public_url: Origin of a proxy in front of the sandbox, such as
            https://sandbox.example: checkout pages use it.
        auth_from_env: Reject requests without the credentials of the environment:
            AURPAY_API_KEY, or AURPAY_API_TOKEN and AURPAY_API_SECRET.
        quiet: Do not print requests and callbacks.
    """
    port: Port = 0
    host: str = LOOPBACK
    allow_remote: Flag = False
    db: str | None = None
    seed: SeedOption = None
    start: str | None = None
    speed: SpeedOption = 1
    rates: Annotated[
        Several,
        doc("Price of one bitcoin, like USD=65000; may be repeated.", name="--rate"),
    ] = ()
    amounts: AmountStyle = "string"
    post_callbacks: PostCallbacksOption = False
    api_key_in_callbacks: Flag = False
    callback_hosts: Annotated[Several, doc(_HOST, name="--callback-host")] = ()
    allowed_hosts: Annotated[Several, doc(_NAME, name="--allowed-host")] = ()
    public_url: str | None = None
    auth_from_env: Flag = False
    ask: AskOption = False
    quiet: Flag = False


#: Defaults of the command: a frozen object can be shared by all calls.
_SANDBOX_DEFAULTS: Final = SandboxOptions()


def serve_sandbox(
    *, options: SandboxOptions = _SANDBOX_DEFAULTS, output: Output = TEXT
) -> int:
    sandbox = make_sandbox(options)  # may prompt, so before the event loop starts
    return asyncio.run(run_sandbox(output, sandbox, options))


async def run_sandbox(output: Output, sandbox: Sandbox, options: SandboxOptions) -> int:
    """Open a sandbox, show its address, and show its activity until Ctrl-C."""
    activities: asyncio.Queue[Activity] = asyncio.Queue()
    if not options.quiet:
        sandbox._simulator.subscriber = activities.put_nowait  # noqa: SLF001 - one package
    async with sandbox:
        await asyncio.to_thread(output.load_console)
        output.line(f"Aurpay sandbox at {sandbox.base_url}; Ctrl-C stops it.")
        output.line()
        output.json("sandbox", **sandbox_members(sandbox, options))
        output.rows(_sandbox_rows(sandbox, options))
        output.title("Environment of other programs")
        output.line(_exports(sandbox, options))
        output.line()
        output.title("Create an order, and pay it")
        for line in _examples(sandbox, options):
            output.line(line)
        while True:
            activity = await activities.get()
            await output.wait_until_writable()
            show_activity(output, activity)


def show_activity(output: Output, activity: Activity) -> None:
    """Show a request or a callback on one line."""
    kind, target = activity.kind, activity.target
    if kind is None:
        members = pick(activity, "at method status fault problem order_id")
        output.json("request", **members, path=target)
    else:
        members = pick(activity, "at kind method status order_id")
        output.json("sent_callback", **members, url=target, error=activity.problem)
    fault = activity.fault and f"fault {activity.fault}"
    order = activity.order_id and f"order {activity.order_id}"
    outcome = filter(None, (fault, str(activity.status or ""), activity.problem, order))
    what = "request" if kind is None else f"callback {kind}"
    called = f"{activity.at:%H:%M:%S} {what}: {activity.method} {target}"
    found = f"{called} -> {', '.join(outcome)}"
    output.status(found, "ok" if activity.is_ok else "problem")


def make_sandbox(options: SandboxOptions) -> Sandbox:
    """Create a sandbox without opening it.

    Raises:
        ConfigurationError: if an option is invalid, or the environment lacks a value
            that an option needs.
    """
    names = attrs.fields_dict(SandboxOptions).keys() & attrs.fields_dict(Sandbox)
    rates = {"rates": dict(map(_parse_rate, options.rates))}
    return Sandbox(
        **(pick(options, " ".join(names)) | rates),
        clock=SandboxClock(_parse_start(options.start)),
        **_credentials(required=options.auth_from_env),
        **_callback_keys(ask=options.ask),
    )


def sandbox_members(sandbox: Sandbox, options: SandboxOptions) -> dict[str, object]:
    return {
        "base_url": sandbox.base_url,
        "page_url": f"{_public_url(sandbox, options)}/",
        "network": _NETWORK,
        "authenticated": options.auth_from_env,
        "post_callbacks": options.post_callbacks,
        "now": sandbox.clock.now(),
        "stands_still": options.start is not None,
        **pick(options, "speed seed db"),
        "openapi_url": f"{sandbox.base_url}/_sandbox/openapi.json",
        "environment": _environment(sandbox, options),
    }


def _environment(sandbox: Sandbox, options: SandboxOptions) -> dict[str, str]:
    """Return the variables for clients; those in other containers use plain HTTP."""
    base_url = _public_url(sandbox, options)
    environment = {"AURPAY_BASE_URL": base_url, "AURPAY_NETWORK": _NETWORK}
    scheme, host, _ = parse_origin(base_url)
    if scheme == "http" and not is_loopback(host):
        environment["AURPAY_ALLOW_HTTP"] = "1"
    return environment


def _public_url(sandbox: Sandbox, options: SandboxOptions) -> str:
    """Return the base URL for clients, which accept checkout pages of its origin."""
    return (options.public_url or sandbox.base_url).removesuffix("/")


def _parse_rate(text: str) -> tuple[str, str]:
    currency, equals, rate = text.partition("=")
    if not equals:
        raise ConfigurationError(f"--rate must be like USD=65000; got {shown(text)}")
    return currency, rate


def _parse_start(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError:
        problem = f"must be like 2026-01-01T12:00:00Z; got {shown(text)}"
        raise ConfigurationError(f"--start {problem}") from None


def _credentials(*, required: bool) -> dict[str, Any]:
    if not required:
        return {}
    auth_from_env()  # reports credentials that are missing or incomplete
    names = ("api_key", "api_token", "api_secret")
    return _made_up({name: secret_from_env(f"AURPAY_{name.upper()}") for name in names})


def _callback_keys(*, ask: bool) -> dict[str, Any]:
    """Return the callback keys of the environment; the sandbox makes up the others."""
    if ask:
        token, secret = ask_for_callback_keys()
        return {"callback_token": token.reveal(), "callback_secret": secret.reveal()}
    names = {"callback_token": CALLBACK_TOKEN, "callback_secret": CALLBACK_SECRET}
    return _made_up({key: callback_key_from_env(name) for key, name in names.items()})


def _made_up(secrets: Mapping[str, Secret | None]) -> dict[str, Any]:
    """Return the values that are set, and reject one that may be a live key."""
    given = {name: key.reveal() for name, key in secrets.items() if key is not None}
    for name, value in given.items():
        require_made_up(f"AURPAY_{name.upper()}", value)
    return given


def _sandbox_rows(sandbox: Sandbox, options: SandboxOptions) -> Iterator[Row]:
    yield Row("page", f"{_public_url(sandbox, options)}/")
    if not is_loopback(options.host):
        yield Row("listens at", f"{options.host}: other machines can reach it")
    if options.start is not None:
        yield Row("clock", f"stopped at {moment(sandbox.clock.now())}")
    timing = "on request only"
    if options.speed:
        timing = f"after {span(TIME_TO_PAY.total_seconds() / options.speed)}"
    yield Row("orders", f"time out {timing}")
    if options.db is not None:
        yield Row("file", f"{options.db}; orders in it: {len(sandbox.orders)}")
    method = "POST" if options.post_callbacks else "GET"
    places = " and ".join(["this machine", *options.callback_hosts])
    yield Row("callbacks", f"{method}, to {places} only")
    configured = _callback_keys(ask=False)
    for name, value in pick(sandbox, "callback_token callback_secret").items():
        # Made-up values are in the documentation, so they are not hidden.
        given = options.ask or name in configured
        yield Row(name, "as configured" if given else f"{value} (made up)")
    required = "those of the environment" if options.auth_from_env else "any, or none"
    yield Row("credentials", required)


def _exports(sandbox: Sandbox, options: SandboxOptions) -> str:
    """Return the variables that a shop needs, without secrets of the environment."""
    environment = _environment(sandbox, options)
    if not options.auth_from_env:  # from_env() requires a key; any is accepted
        environment["AURPAY_API_KEY"] = "any"
    if not options.ask and "callback_secret" not in _callback_keys(ask=False):
        environment["AURPAY_CALLBACK_SECRET"] = sandbox.callback_secret
    if "AURPAY_REFERENCE_KEY" not in os.environ:
        environment["AURPAY_REFERENCE_KEY"] = "sandbox-reference-key"  # made up
    return f"export {' '.join(f'{n}={v}' for n, v in environment.items())}"


def _examples(sandbox: Sandbox, options: SandboxOptions) -> Iterator[str]:
    base_url = sandbox.base_url
    if options.auth_from_env:  # curl cannot sign a request
        yield "aurpay order create 20.00 USD"
    else:
        header = "-H 'Content-Type: application/json'"
        body = """-d '{"price": 20.00, "currency": "USD"}'"""
        yield f"curl -s {base_url}/api/bln/order {header} {body}"
    yield f"curl -s -X POST {base_url}/_sandbox/orders/ORDER_ID/pay"


#: Above the longest body that the sandbox sends, which is two mebibytes.
_MAX_REQUEST: Final = 4 * 1024 * 1024


@asynccontextmanager
async def serve(
    make_handler: Callable[[str], Handler], port: int = 0
) -> AsyncGenerator[str, None]:
    """Serve every path with one handler on loopback, and yield the base URL."""
    with socket.create_server((LOOPBACK, port)) as listening:
        base_url = f"http://{LOOPBACK}:{listening.getsockname()[1]}"
        app = web.Application(client_max_size=_MAX_REQUEST)
        app.router.add_route("*", "/{path:.*}", make_handler(base_url))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.SockSite(runner, listening).start()
            yield base_url
        finally:
            await runner.cleanup()


_CALLBACK_PATH: Final = "/aurpay/callback"


@asynccontextmanager
async def open_shop(
    sandbox: Sandbox,
    aurpay: AurpayClient,
    key: str,
    orders: Mapping[str, LightningOrder],
    notifications: list[Notification],
) -> AsyncGenerator[str, None]:
    """Serve a shop on loopback that accepts callbacks of this sandbox; yield its URL.

    It stores its notifications; a real shop would fulfil the orders.
    """
    from ..callbacks import CallbackProcessor, CallbackVerifier, MemoryInbox
    from ..contrib.aiohttp import callback_handler

    async def lookup(token: Reference) -> LightningOrder | None:
        return orders.get(token.attempt_id)

    async def handle(notification: Notification) -> None:
        notifications.append(notification)

    secrets, tokens = [sandbox.callback_secret], [sandbox.callback_token]
    verifier = CallbackVerifier(secrets=secrets, tokens=tokens, reference_key=key)
    processor = CallbackProcessor(
        verifier, handle, lookup=lookup, reader=aurpay, inbox=MemoryInbox()
    )
    async with serve(
        lambda base_url: callback_handler(processor, public_base_url=base_url)
    ) as base_url:
        yield base_url


_PRICE: Final = "20.00"
_CURRENCY: Final = "USD"
_REFERENCE: Final = "cart-42"
_HTTP_OK: Final = 200


async def run_demo(*, output: Output = TEXT) -> int:
    began = perf_counter()
    output.line()
    output.line("  Aurpay, on this machine", "bold")
    output.line("  No account, no network, no real money.", "dim")
    output.line()
    key = secrets.token_urlsafe()
    orders: dict[str, LightningOrder] = {}
    notifications: list[Notification] = []
    async with (
        Sandbox() as sandbox,
        sandbox.client(payees=[sandbox.payee], reference_key=key) as aurpay,
        open_shop(sandbox, aurpay, key, orders, notifications) as shop_url,
    ):
        output.status(f"sandbox started at {sandbox.base_url}")
        output.status(f"shop started at {shop_url}")
        order = await _create_demo_order(output, aurpay, shop_url + _CALLBACK_PATH)
        orders[order.attempt_id or ""] = order
        [sent] = await sandbox.pay(order.order_id)
        payment = await aurpay.wait_for_payment(order)
        members = _show_payment(output, sent, notifications, payment)
    seconds = perf_counter() - began
    output.status(f"sandbox and shop stopped after {seconds:.1f} s")
    output.line()
    members["seconds"] = round(seconds, 3)
    output.json("demo", order=order_members(order), **members)
    return 0 if members["paid"] else FAILED


async def _create_demo_order(
    output: Output, aurpay: AurpayClient, callback_url: str
) -> LightningOrder:
    call = f'aurpay.create_order("{_PRICE}", "{_CURRENCY}", reference="{_REFERENCE}")'
    order = await aurpay.create_order(
        _PRICE, _CURRENCY, reference=_REFERENCE, callback_url=callback_url
    )
    output.status(f"await {call}")
    output.status(f"checkout page: {order.pay_url}")
    output.line()
    show_order(output, order)
    output.qr_code(*segments(order.payment_request.text))
    return order


def _show_payment(
    output: Output,
    sent: SentCallback,
    notifications: list[Notification],
    payment: Payment,
) -> dict[str, object]:
    confirmed = [each for each in notifications if each.confirmed is True]
    output.rows(_payment_rows(sent, confirmed, payment), "Payment")
    return {
        "callback": {
            **pick(sent, "method status error"),
            "confirmed": bool(confirmed),
        },
        "payment": {"outcome": payment.outcome, "status": payment.order.status},
        "paid": bool(confirmed) and payment.outcome == "paid",
    }


def _payment_rows(
    sent: SentCallback, confirmed: list[ConfirmedNotification], payment: Payment
) -> Iterator[Row]:
    yield Row("paid", "simulated with sandbox.pay(order_id)", "ok")
    called = f"{sent.method} {without_query(sent.url)}, answered with {sent.status}"
    yield Row("callback", called, "ok" if sent.status == _HTTP_OK else "problem")
    for notification in confirmed:
        yield Row("verified", "by token, signature and date", "ok")
        yield Row("reference", f"{notification.reference}, signed into the URL", "ok")
        status = f"Aurpay confirms the status {notification.order.status}"
        yield Row("confirmed", status, "ok")
    polled = f"wait_for_payment() returned {payment.outcome}"
    yield Row("polling", polled, "ok" if payment.outcome == "paid" else "problem")
