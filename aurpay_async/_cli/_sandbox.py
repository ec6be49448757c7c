"""``aurpay sandbox``: a local Aurpay until Ctrl-C."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

from .._settings import auth_from_env
from .._urls import is_loopback, parse_origin
from ..errors import ConfigurationError, shown
from ..sandbox import Sandbox
from ..sandbox._clocks import SandboxClock
from ..sandbox._ledger import TIME_TO_PAY
from ..sandbox._reach import LOOPBACK
from ..sandbox._settings import require_made_up
from ._screen import Row
from ._secrets import (
    CALLBACK_SECRET,
    CALLBACK_TOKEN,
    ask_for_callback_keys,
    from_environment,
)
from ._times import iso, moment, parse_time, span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ..sandbox import Amounts
    from ..sandbox._activity import Activity
    from ._act import Job
    from ._screen import Screen

_NETWORK: Final = "regtest"


class Wishes(NamedTuple):
    """What kind of sandbox it is to be."""

    port: int = 0
    host: str = LOOPBACK
    #: Whether `host` may be one that other machines can reach.
    allow_remote: bool = False
    amounts: Amounts = "string"
    post_callbacks: bool = False
    #: Whether callbacks of all orders have the API key, not of payment URLs alone.
    api_key_in_callbacks: bool = False
    callback_hosts: tuple[str, ...] = ()
    #: Further names that it answers to.
    allowed_hosts: tuple[str, ...] = ()
    #: The origin of a proxy before it.
    public_url: str | None = None
    #: As ``USD=65000``.
    rates: tuple[str, ...] = ()
    #: How often faster than documented orders time out; 0 is never.
    speed: float = 1
    #: Where the clock stands still; else it is the machine's.
    start: str | None = None
    seed: int | None = None
    db: str | None = None
    #: Whether it refuses whoever has not the credentials of the environment.
    auth_from_env: bool = False
    #: Whether to ask for the keys of callbacks that the environment lacks.
    ask: bool = False


class _Credentials(TypedDict, total=False):
    api_key: str | None
    api_token: str | None
    api_secret: str | None


class _CallbackKeys(TypedDict, total=False):
    callback_token: str
    callback_secret: str


def serve_sandbox(screen: Screen, wishes: Wishes) -> Job:
    """Serve, and say how to reach it."""
    return _serve(screen, make_sandbox(wishes), wishes)


async def _serve(screen: Screen, sandbox: Sandbox, wishes: Wishes) -> int:
    happened: asyncio.Queue[Activity] = asyncio.Queue()
    sandbox._simulator.activity.subscribe(happened.put_nowait)  # noqa: SLF001 - one package
    async with sandbox:
        await asyncio.to_thread(screen.get_ready)
        screen.line(f"The Aurpay sandbox at {sandbox.base_url}, Ctrl-C ends it.")
        screen.line()
        screen.record("sandbox", **sandbox_members(sandbox, wishes))
        screen.rows(_rows(sandbox, wishes))
        screen.title("In the environment of other programs")
        screen.line(_exports(sandbox, wishes))
        screen.line()
        screen.title("An order, and its payment")
        for line in _examples(sandbox, wishes):
            screen.line(line)
        while True:
            show_activity(screen, await happened.get())


def show_activity(screen: Screen, activity: Activity) -> None:
    """Show a request or a callback on a line, for people.

    Programs read one line and no more: a pipe that is full would stop the sandbox.
    """
    of = "" if activity.order_id is None else f" of {activity.order_id}"
    screen.step(
        f"{activity.at:%H:%M:%S} {activity.kind}{of}: {activity.method} "
        f"{activity.target} -> {activity.result}",
        "ok" if activity.is_ok else "problem",
    )


def make_sandbox(wishes: Wishes) -> Sandbox:
    """A sandbox, which is not open yet.

    Raises:
        ConfigurationError: if something cannot be, or the environment lacks what was
            asked for.
    """
    return Sandbox(
        port=wishes.port,
        host=wishes.host,
        allow_remote=wishes.allow_remote,
        amounts=wishes.amounts,
        post_callbacks=wishes.post_callbacks,
        api_key_in_callbacks=wishes.api_key_in_callbacks,
        callback_hosts=wishes.callback_hosts,
        allowed_hosts=wishes.allowed_hosts,
        public_url=wishes.public_url,
        rates=dict(map(_rate, wishes.rates)),
        clock=SandboxClock(_start(wishes.start)),
        speed=wishes.speed,
        seed=wishes.seed,
        db=wishes.db,
        **_credentials(wanted=wishes.auth_from_env),
        **_callback_keys(ask=wishes.ask),
    )


def sandbox_members(sandbox: Sandbox, wishes: Wishes) -> dict[str, object]:
    """How to reach a sandbox, for programs."""
    return {
        "base_url": sandbox.base_url,
        "page_url": f"{_public(sandbox, wishes)}/",
        "network": _NETWORK,
        "authenticated": wishes.auth_from_env,
        "post_callbacks": wishes.post_callbacks,
        "now": iso(sandbox.clock.now()),
        "stands_still": wishes.start is not None,
        "speed": wishes.speed,
        "seed": wishes.seed,
        "db": wishes.db,
        "openapi_url": f"{sandbox.base_url}/_sandbox/openapi.json",
        "environment": _environment(sandbox, wishes),
    }


def _environment(sandbox: Sandbox, wishes: Wishes) -> dict[str, str]:
    """What clients read; those in other containers speak plain http."""
    base_url = _public(sandbox, wishes)
    environment = {"AURPAY_BASE_URL": base_url, "AURPAY_NETWORK": _NETWORK}
    scheme, host, _ = parse_origin(base_url)
    if scheme == "http" and not is_loopback(host):
        environment["AURPAY_ALLOW_HTTP"] = "1"
    return environment


def _public(sandbox: Sandbox, wishes: Wishes) -> str:
    """Where clients find it: they expect its checkout pages at the same origin."""
    return (wishes.public_url or sandbox.base_url).removesuffix("/")


def _rate(text: str) -> tuple[str, str]:
    currency, equals, rate = text.partition("=")
    if not equals:
        raise ConfigurationError(f"--rate is like USD=65000, not {shown(text)}")
    return currency, rate


def _start(text: str | None) -> datetime | None:
    """A time as ISO 8601 writes it; without a zone, of UTC."""
    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError:
        raise ConfigurationError(
            f"--start is like 2026-01-01T12:00:00Z, not {shown(text)}"
        ) from None


def _credentials(*, wanted: bool) -> _Credentials:
    """Those of the environment."""
    if not wanted:
        return {}
    auth_from_env()  # says what is missing, or half set
    return {
        "api_key": _made_up("AURPAY_API_KEY"),
        "api_token": _made_up("AURPAY_API_TOKEN"),
        "api_secret": _made_up("AURPAY_API_SECRET"),
    }


def _callback_keys(*, ask: bool) -> _CallbackKeys:
    """Those of the environment; the sandbox has made-up ones in their place."""
    if ask:
        asked = ask_for_callback_keys()
        return {
            "callback_token": asked.token.reveal(),
            "callback_secret": asked.secret.reveal(),
        }
    keys: _CallbackKeys = {}
    token = _made_up(CALLBACK_TOKEN)
    secret = _made_up(CALLBACK_SECRET)
    if token is not None:
        keys["callback_token"] = token
    if secret is not None:
        keys["callback_secret"] = secret
    return keys


def _made_up(variable: str) -> str | None:
    """What a variable holds, if that is nothing real."""
    secret = from_environment(variable)
    if secret is None:
        return None
    require_made_up(variable, secret.reveal())
    return secret.reveal()


def _rows(sandbox: Sandbox, wishes: Wishes) -> Iterator[Row]:
    yield Row("page", f"{_public(sandbox, wishes)}/")
    if not is_loopback(wishes.host):
        yield Row("listens at", f"{wishes.host}: other machines can ask")
    if wishes.start is not None:
        yield Row("time", f"stands still at {moment(sandbox.clock.now())}")
    yield Row("orders", _timing(wishes.speed))
    if wishes.db is not None:
        yield Row("file", f"{wishes.db}; orders in it: {len(sandbox.orders)}")
    method = "POST" if wishes.post_callbacks else "GET"
    places = " and ".join(["this machine", *wishes.callback_hosts])
    yield Row("callbacks", f"{method}, to {places} only")
    held = _callback_keys(ask=False)
    for name, made_up in (
        ("callback_token", sandbox.callback_token),
        ("callback_secret", sandbox.callback_secret),
    ):
        # What is made up is in the documentation: there is nothing to hide.
        given = wishes.ask or name in held
        yield Row(name, "as it was given" if given else f"{made_up} (made up)")
    credentials = "those of the environment" if wishes.auth_from_env else "any, or none"
    yield Row("credentials", credentials)


def _timing(speed: float) -> str:
    if not speed:
        return "time out when they are told to"
    return f"time out after {span(TIME_TO_PAY.total_seconds() / speed)}"


def _exports(sandbox: Sandbox, wishes: Wishes) -> str:
    # Clients that read the environment want credentials; this sandbox takes any.
    key = "" if wishes.auth_from_env else " AURPAY_API_KEY=any"
    environment = [f"{n}={v}" for n, v in _environment(sandbox, wishes).items()]
    return f"export {' '.join(environment)}{key}"


def _examples(sandbox: Sandbox, wishes: Wishes) -> Iterator[str]:
    base_url = sandbox.base_url
    if wishes.auth_from_env:  # curl cannot sign
        yield "aurpay order create 20.00 USD"
    else:
        header = "-H 'Content-Type: application/json'"
        body = """-d '{"price": 20.00, "currency": "USD"}'"""
        yield f"curl -s {base_url}/api/bln/order {header} {body}"
    yield f"curl -s -X POST {base_url}/_sandbox/orders/ORDER_ID/pay"
