"""Options, hosts, credentials and authentication of the sandbox.

The authentication is written from Aurpay's pages and not from the client's code, over
the received bytes. Real keys, which the sandbox rejects, have these forms:

- the dashboard's "Public Key", sent as ``API-Key``: 43 URL-safe base64 characters;
- the token of the API-key endpoint: a JWT, which begins with ``eyJ``;
- an "API Token", such as ``L35ZD3K4AORZH7NVQBR9O`` in the documentation's example.

A key of 20 or more URL-safe characters is treated as real unless it contains a marker
such as "test". Three-letter markers are not used: about one random key in a thousand
contains one by chance.

A sandbox has no access control by default. So it listens on loopback, accepts requests
with a Host header of this machine, and sends callbacks to this machine, unless other
hosts are allowed by name.
"""

from __future__ import annotations

import hmac
import os
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from hashlib import md5
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, cast, get_args

import attrs

from .._core.urls import UrlError, format_origin, is_loopback, parse_origin
from ..errors import ConfigurationError, InvalidRequestError, shown
from ._models import ApiRejection, Rates, SandboxClock
from ._responses import Amounts

if TYPE_CHECKING:
    from decimal import Decimal

    from .._core.clock import Clock
    from .._core.urls import Origin

_JWT = re.compile(r"\s*eyJ")

#: 20 is one less than the shortest known form.
_LONG = re.compile(r"[A-Za-z0-9_-]{20,}=*")

_MARKER = re.compile(
    r"sandbox|test|example|sample|fake|dummy|mock|demo|made.?up|placeholder",
    re.IGNORECASE,
)

MADE_UP_KEY_HINT: Final = 'use a made-up key that contains "sandbox" or "test"'


def looks_live(key: str) -> bool:
    """Return whether `key` may belong to a real account."""
    if _JWT.match(key):
        return True
    return _LONG.fullmatch(key.strip()) is not None and _MARKER.search(key) is None


#: The default address to listen on.
LOOPBACK: Final = "127.0.0.1"

#: The Host headers that name this machine.
_LOOPBACK_HOSTS: Final = frozenset({LOOPBACK, "localhost", "[::1]"})

#: The address at which clients of this machine reach a wildcard address.
_WILDCARDS: Final[Mapping[str, str]] = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104

_HOST_HEADER = re.compile(
    r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.IGNORECASE | re.ASCII
)

#: A name or an address: no scheme, no port, no pattern.
_NAME = re.compile(r"(?![.-])[a-z0-9._-]+(?<![.-])|[0-9a-f:.]*:[0-9a-f:.]*", re.ASCII)


@attrs.frozen(kw_only=True)
class HostPolicy:
    """The address to listen on, accepted Host headers and allowed callback hosts."""

    host: str = LOOPBACK
    callback_hosts: frozenset[str] = frozenset()
    #: Further accepted Host headers, as in a network of containers.
    allowed_hosts: frozenset[str] = frozenset()
    #: The origin of a proxy in front of the sandbox.
    public_origin: Origin | None = None

    @property
    def is_remote(self) -> bool:
        return not is_loopback(self.host)

    @property
    def bind_address(self) -> str:
        # The name localhost may have two addresses.
        return LOOPBACK if self.host == "localhost" else self.host

    @property
    def origin_host(self) -> str:
        """Return the host of the base URL, with brackets around an IPv6 address."""
        host = _WILDCARDS.get(self.bind_address, self.bind_address)
        return f"[{host}]" if ":" in host else host

    def accepts_host(self, host_header: str) -> bool:
        match = _HOST_HEADER.fullmatch(host_header)
        if match is None:
            return False
        host = match[1].lower()
        if host in _LOOPBACK_HOSTS or host in self._names:
            return True
        # DNS rebinding resolves a foreign name to this machine; it needs a name.
        return self.is_remote and is_address(host.strip("[]"))

    @property
    def accepted_hosts(self) -> str:
        """Return which hosts are accepted, for the error message."""
        remote = f"{self.origin_host} or any IP address"
        own = remote if self.is_remote else "127.0.0.1 or localhost"
        other = "allow another name with allowed_hosts=(...) (--allowed-host)"
        return f"use {own} as the host; {other}"

    @property
    def public_url(self) -> str | None:
        """Return the origin of the pages, if it differs from the requested one."""
        return None if self.public_origin is None else format_origin(self.public_origin)

    @property
    def needs_plain_http(self) -> bool:
        """Return whether clients use plain HTTP to another host than loopback."""
        scheme, host, _ = self.public_origin or ("http", self.origin_host, 0)
        return scheme == "http" and not is_loopback(host)

    def allows_callback_to(self, host: str) -> bool:
        return is_loopback(host) or host.lower() in self.callback_hosts

    def is_own_address(self, host: str, port: int | None, own_port: int) -> bool:
        host = host.lower()
        if self.public_origin is not None and (host, port) == self.public_origin[1:]:
            return True
        return port == own_port and (is_loopback(host) or host in self._names)

    @property
    def _names(self) -> frozenset[str]:
        public = () if self.public_origin is None else (self.public_origin[1],)
        return self.allowed_hosts.union((self.origin_host,), public)


def is_name(host: str) -> bool:
    """Return whether this is one host name or address, in lower case."""
    return _NAME.fullmatch(host) is not None and (":" not in host or is_address(host))


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


#: How far the Date of a signed request may deviate. Aurpay's own limit is not known.
TOLERANCE: Final = timedelta(minutes=5)

#: The format of Aurpay's examples.
_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"

#: Extended format, with any fraction and any zone: Aurpay documents ISO 8601, and
#: clients in other languages sign the format that their library writes.
_ISO_8601: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)", re.ASCII
)

_DIGESTS: Final = {"HMAC-SHA256": "sha256", "HMAC-SHA3_256": "sha3_256"}


@attrs.frozen(kw_only=True)
class ReceivedRequest:
    """A request as it was received."""

    method: str
    #: Path and query, undecoded.
    path: str
    #: Names are case-insensitive, and may occur twice.
    headers: Mapping[str, str] = attrs.field(repr=lambda headers: repr([*headers]))
    body: bytes
    #: Whether the sandbox has an endpoint for its method and path.
    is_served: bool = True


def authenticate(settings: Settings, request: ReceivedRequest, now: datetime) -> None:
    """Check the credentials that were set; without any, accept each request."""
    if settings.api_token is not None and "API-Token" in request.headers:
        _check_signature(settings, request, now)
    elif settings.api_key is not None:
        if not _same(request.headers.get("API-Key", ""), settings.api_key):
            raise ApiRejection(401, "API key is missing or wrong")
    elif settings.api_token is not None:
        raise ApiRejection(401, "API token is missing")


def _check_signature(
    settings: Settings, request: ReceivedRequest, now: datetime
) -> None:
    headers = request.headers
    if not _same(headers["API-Token"], settings.api_token or ""):
        raise ApiRejection(401, "API token is wrong")
    digest = _DIGESTS.get(headers.get("Algorithm", ""))
    if digest is None:
        raise ApiRejection(401, "Algorithm is missing or unknown")
    date = headers.get("Date", "")
    _require_recent(date, now)
    origin = f"{headers['Algorithm']} | {date} | {request.method} {request.path}"
    if request.body:
        body_md5 = md5(request.body, usedforsecurity=False).hexdigest()
        if not _same(headers.get("Body-MD5", ""), body_md5):
            raise ApiRejection(401, "Body-MD5 is not the body's")
        origin += f" | {body_md5}"
    key = (settings.api_secret or "").encode()
    text = origin.encode("utf-8", "surrogateescape")
    expected = b64encode(hmac.digest(key, text, digest)).decode()
    if not _same(headers.get("Signature", ""), expected):
        raise ApiRejection(401, "Signature is wrong")


def _same(given: str, expected: str) -> bool:
    # aiohttp decodes headers that are not UTF-8 with surrogates.
    received = given.encode("utf-8", "surrogateescape")
    return hmac.compare_digest(received, expected.encode())


def _require_recent(date: str, now: datetime) -> None:
    """Reject a Date header that is not ISO 8601, or too far from `now`."""
    try:
        at = datetime.fromisoformat(date) if _ISO_8601.fullmatch(date) else None
    except ValueError:
        at = None
    time = f"{now:{_FORMAT}}"
    if at is None:
        raise ApiRejection(401, f"Date must be ISO 8601 with a zone, such as {time}")
    if abs(at - now) > TOLERANCE:
        problem = f"outside the tolerance: {date}, and the sandbox's time is {time}"
        raise ApiRejection(401, f"Date is {problem}")


#: The largest integer that SQLite and JSON readers of other languages can store.
_MAX_SEED: Final = 2**63 - 1

_CREDENTIALS: Final = ("api_key", "api_token", "api_secret")
_KEYS: Final = (*_CREDENTIALS, "callback_token", "callback_secret")
_FLAGS: Final = ("post_callbacks", "api_key_in_callbacks", "allow_remote")

#: The 30 minutes of an order then take two days, or 0.18 seconds.
MIN_SPEED: Final = 0.01
MAX_SPEED: Final = 10_000


def require_made_up(name: str, key: object) -> None:
    """Reject a key that may belong to a real account; `name` is the option."""
    if isinstance(key, str) and looks_live(key):
        raise ConfigurationError(f"{name} looks like a live key; {MADE_UP_KEY_HINT}")


def _require(is_valid: bool, name: str, form: str, value: object) -> None:  # noqa: FBT001
    if not is_valid:
        raise ConfigurationError(f"{name} must be {form}, not {shown(value)}")


def _seed(seed: int | None) -> int | None:
    if seed is not None and (type(seed) is not int or not 0 <= seed <= _MAX_SEED):
        raise ConfigurationError(
            f"seed must be a whole number from 0 to 2**63 - 1, not {shown(seed)}"
        )
    return seed


def _speed(speed: float | None) -> float:
    """Return how much faster than documented orders time out; 0 means never."""
    if speed is None or (type(speed) in {int, float} and speed == 0):
        return 0.0
    if type(speed) not in {int, float} or not MIN_SPEED <= speed <= MAX_SPEED:
        raise ConfigurationError(
            f"speed must be 0, or {MIN_SPEED} to {MAX_SPEED}, not {shown(speed)}"
        )
    return float(speed)


def _clock(clock: Clock | None) -> Clock:
    is_clock = clock is None or callable(getattr(clock, "now", None))
    _require(is_clock, "clock", "a clock such as FakeClock()", clock)
    return SandboxClock() if clock is None else clock


def _rates(rates: Mapping[str, Decimal | int | str] | None) -> Rates:
    is_mapping = rates is None or isinstance(cast("object", rates), Mapping)
    _require(is_mapping, "rates", 'a mapping such as {"USD": "65000"}', rates)
    try:
        return Rates(rates)
    except InvalidRequestError as error:
        raise ConfigurationError(str(error)) from None


def _path(db: str | os.PathLike[str] | None) -> str | None:
    path = os.fspath(db) if isinstance(db, os.PathLike) else db
    if path is None or (type(path) is str and path and "\0" not in path):
        return path
    raise ConfigurationError(f"db must be the path of a file, not {shown(path)}")


def parse_host_policy(settings: Settings) -> HostPolicy:
    policy = HostPolicy(
        host=_host("host", settings.host),
        callback_hosts=_hosts("callback_hosts", settings.callback_hosts),
        allowed_hosts=_hosts("allowed_hosts", settings.allowed_hosts),
        public_origin=_public_origin(settings.public_url),
    )
    if policy.is_remote and not settings.allow_remote:
        problem = f"on {settings.host} any machine of the network can read and pay"
        advice = "to allow that, set allow_remote=True (--allow-remote) as well"
        raise ConfigurationError(f"{problem} orders; {advice}")
    return policy


def _public_origin(url: str | None) -> Origin | None:
    if url is None:
        return None
    given = cast("object", url)
    if not isinstance(given, str):
        raise ConfigurationError(f"public_url must be a str, not {shown(given)}")
    try:
        # Plain HTTP is allowed: regtest invoices have no value.
        origin = parse_origin(given)
    except UrlError as error:
        raise ConfigurationError(f"public_url {error}") from None
    if given.lower().removesuffix("/") != format_origin(origin):
        form = f"scheme, host and port without a path, such as {format_origin(origin)}"
        raise ConfigurationError(f"public_url must be {form}")
    return origin


def _hosts(name: str, hosts: Iterable[str]) -> frozenset[str]:
    # A single str would be iterated by character.
    if isinstance(hosts, str) or not isinstance(cast("object", hosts), Iterable):
        raise ConfigurationError(f'{name} is a list of names: ("shop.test",)')
    return frozenset(_host(name, host) for host in hosts)


def _host(name: str, host: object) -> str:
    name_or_address = host.lower() if isinstance(host, str) else ""
    if not is_name(name_or_address):
        form = "a name or an address without scheme, port or pattern"
        raise ConfigurationError(f"{name} takes {form}, not {shown(host)}")
    return name_or_address


_frozen = attrs.setters.frozen


@attrs.define(kw_only=True, eq=False, repr=False, slots=False, on_setattr=_frozen)
class Settings:
    """All options of one sandbox."""

    #: A made-up key; requests without it are rejected.
    api_key: str | None = None
    #: A made-up token; requests that are not signed with it and `api_secret` are
    #: rejected.
    api_token: str | None = None
    #: The secret of `api_token`.
    api_secret: str | None = None
    #: The Callback-Token header of callbacks.
    callback_token: str = "sandbox-callback-token"  # noqa: S105 - made up
    #: The secret of the callbacks' signatures.
    callback_secret: str = "sandbox-callback-secret"  # noqa: S105 - made up
    #: Whether callbacks are ``POST`` with the order in the body, instead of ``GET``
    #: without a body.
    post_callbacks: bool = False
    #: Whether callbacks carry the API key that created the order in an ``Api-Key``
    #: header. Aurpay documents this for orders of `create_payment_url`, where the
    #: sandbox does it in any case.
    api_key_in_callbacks: bool = False
    #: Hosts beyond this machine that callbacks may be sent to, as exact names.
    callback_hosts: Iterable[str] = ()
    #: Further hosts that requests may name, such as the service name in a network of
    #: containers: exact names, without a port.
    allowed_hosts: Iterable[str] = ()
    #: The origin of a proxy in front of the sandbox, such as
    #: ``"https://sandbox.example"``. Checkout pages use it, and requests may name its
    #: host.
    public_url: str | None = None
    #: Whether BTC amounts are JSON strings or numbers: Aurpay's documentation shows
    #: both.
    amounts: Amounts = "string"
    #: Prices of a bitcoin, at first those of `RATES`, replaced by the given ones;
    #: ``sandbox.rates["USD"] = "65000"`` changes one.
    rates: Rates = attrs.field(default=None, converter=_rates)
    #: The clock, which a client that checks times must share. ``None`` is the time of
    #: this machine, plus the time by which the control API has advanced it.
    clock: Clock = attrs.field(default=None, converter=_clock)
    #: How much faster than Aurpay's 30 minutes orders time out, with their callbacks.
    #: ``None`` or 0: only `expire` times them out.
    speed: float = attrs.field(default=None, converter=_speed)
    #: Makes ids, secrets and invoices reproducible, if `clock` returns the same times;
    #: from 0 to 2**63 - 1. ``None``: they are unpredictable.
    seed: int | None = attrs.field(default=None, converter=_seed)
    #: A file that stores the state across restarts.
    db: str | None = attrs.field(default=None, converter=_path)
    #: The port to listen on; 0 takes a free one. ``None``: only `transport` reaches
    #: the sandbox, without a socket.
    port: int | None = 0
    #: The name or address of this machine to listen on.
    host: str = LOOPBACK
    #: Whether other machines may reach `host`.
    allow_remote: bool = False

    def __attrs_post_init__(self) -> None:
        for name in _KEYS:
            key = getattr(self, name)
            if not isinstance(key, str) and (
                key is not None or name not in _CREDENTIALS
            ):
                raise ConfigurationError(
                    f"{name} must be a str, not {type(key).__name__}"
                )
            require_made_up(name, key)
        for name in _FLAGS:
            flag = getattr(self, name)
            _require(type(flag) is bool, name, "True or False", flag)
        is_known = self.amounts in get_args(Amounts)
        _require(is_known, "amounts", '"string" or "number"', self.amounts)
        is_port = type(self.port) is int and 0 <= self.port < 1 << 16
        form = "0 to 65535, or None for no socket"
        _require(is_port or self.port is None, "port", form, self.port)
        if (self.api_token is None) != (self.api_secret is None):
            raise ConfigurationError("give both api_token and api_secret, or neither")
