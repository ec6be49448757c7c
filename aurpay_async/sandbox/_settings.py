"""The options of a sandbox, validated.

Each function raises `ConfigurationError`, and quotes no value that may be a secret.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, cast

import attrs

from .._urls import UrlError, format_origin, parse_origin
from ..errors import ConfigurationError, InvalidRequestError, shown
from ._ledger import TIME_TO_PAY
from ._live_keys import MADE_UP_KEY_HINT, looks_live
from ._rates import Rates
from ._reach import HostPolicy, is_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from decimal import Decimal

    from .._clock import Clock
    from .._urls import Origin
    from ._answers import Amounts

#: The largest integer that SQLite and JSON readers of other languages can store.
_MAX_SEED: Final = 2**63 - 1

_KEYS: Final = (
    *("api_key", "api_token", "api_secret"),
    *("callback_token", "callback_secret"),
)

#: The 30 minutes of an order then take two days, or 0.18 seconds.
MIN_SPEED: Final = 0.01
MAX_SPEED: Final = 10_000


def require_made_up(name: str, key: object) -> None:
    """Reject a key that may belong to a real account; `name` is the option."""
    if isinstance(key, str) and looks_live(key):
        raise ConfigurationError(f"{name} looks like a live key; {MADE_UP_KEY_HINT}")


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


def _rates(rates: Mapping[str, Decimal | int | str] | None) -> Rates:
    try:
        return Rates(rates)
    except InvalidRequestError as error:
        raise ConfigurationError(str(error)) from None


def _path(db: str | os.PathLike[str] | None) -> str | None:
    if db is None:
        return None
    path = cast("object", db)
    if isinstance(path, os.PathLike):
        path = cast("object", os.fspath(cast("os.PathLike[str]", path)))
    if not isinstance(path, str) or not path or "\0" in path:
        raise ConfigurationError(f"db must be the path of a file, not {shown(path)}")
    return path


def parse_host_policy(
    host: str,
    callback_hosts: Iterable[str],
    *,
    allow_remote: bool,
    allowed_hosts: Iterable[str] = (),
    public_url: str | None = None,
) -> HostPolicy:
    """Return the host policy of these options.

    Raises:
        ConfigurationError: if an option is no host, or other machines could connect
            without `allow_remote`.
    """
    policy = HostPolicy(
        host=_host("host", host),
        callback_hosts=_hosts("callback_hosts", callback_hosts),
        allowed_hosts=_hosts("allowed_hosts", allowed_hosts),
        public_origin=_public_origin(public_url),
    )
    if policy.is_remote and not allow_remote:
        raise ConfigurationError(
            f"on {host} any machine of the network can read and pay orders; "
            "to allow that, set allow_remote=True (--allow-remote) as well"
        )
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
        raise ConfigurationError(
            "public_url is scheme, host and port without a path, such as "
            f"{format_origin(origin)}"
        )
    return origin


def _hosts(name: str, hosts: Iterable[str]) -> frozenset[str]:
    # A single str would be iterated by character.
    if isinstance(hosts, str) or not isinstance(cast("object", hosts), Iterable):
        raise ConfigurationError(f'{name} is a list of names: ("shop.test",)')
    return frozenset(_host(name, host) for host in hosts)


def _host(name: str, host: object) -> str:
    name_or_address = host.lower() if isinstance(host, str) else ""
    if not is_name(name_or_address):
        raise ConfigurationError(
            f"{name} takes a name or an address without scheme, port or pattern, "
            f"not {shown(host)}"
        )
    return name_or_address


@attrs.frozen(kw_only=True)
class Settings:
    """All options of one sandbox."""

    api_key: str | None = attrs.field(repr=False)
    api_token: str | None = attrs.field(repr=False)
    api_secret: str | None = attrs.field(repr=False)
    callback_token: str = attrs.field(repr=False)
    callback_secret: str = attrs.field(repr=False)
    post_callbacks: bool
    api_key_in_callbacks: bool
    amounts: Amounts
    host_policy: HostPolicy
    clock: Clock
    seed: int | None = attrs.field(converter=_seed)
    #: 0 if orders time out on request only.
    speed: float = attrs.field(converter=_speed)
    rates: Rates = attrs.field(converter=_rates)
    db: str | None = attrs.field(converter=_path)

    def __attrs_post_init__(self) -> None:
        for name in _KEYS:
            require_made_up(name, getattr(self, name))
        if (self.api_token is None) != (self.api_secret is None):
            raise ConfigurationError("give both api_token and api_secret, or neither")

    @property
    def time_to_pay(self) -> timedelta:
        """Return the time from creation to timeout of an order."""
        return TIME_TO_PAY / (self.speed or 1)
