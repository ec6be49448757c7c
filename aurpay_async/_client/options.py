"""Validate the arguments of a client and its environment variables."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, TypeVar, cast

from .._core.events import is_async
from .._core.http import Timeouts
from .._core.money import NETWORKS
from .._core.secrets import secret_from_env
from .._core.urls import (
    UrlError,
    format_origin,
    parse_origin,
    require_secure,
    without_query,
)
from ..errors import ConfigurationError, shown
from .auth import ApiKey, ApiToken
from .retry import RetryPolicy
from .transport import POLL_CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import aiohttp

    from .._core.money import Network
    from .._core.urls import Origin


_T = TypeVar("_T")

#: Polls per second; more would not leave the event loop time for anything else.
_MAX_RATE: Final = 1000

_PUBLIC_KEY = re.compile(r"0[23][0-9a-f]{64}")


def invalid_option(**arguments: object) -> str | None:
    """Return what is wrong with the type of an option; ``None`` is its default."""
    for name, value in arguments.items():
        fits, rule = _OPTION_RULES[name]
        if value is not None and not fits(value):
            # A str is not shown: it may be a key passed as the wrong argument.
            given = type(value).__name__ if isinstance(value, str) else shown(value)
            return f"{name} must {rule}, not {given}"
    return None


def _has_methods(*methods: str) -> Callable[[object], bool]:
    return lambda value: all(callable(getattr(value, name, None)) for name in methods)


#: For each option, a predicate and the rule that a message states.
_OPTION_RULES: Final[dict[str, tuple[Callable[[object], bool], str]]] = {
    "auth": (_has_methods("headers"), "be ApiKey(...) or ApiToken(...)"),
    "timeouts": (lambda value: isinstance(value, Timeouts), "be Timeouts(...)"),
    "retry": (lambda value: isinstance(value, RetryPolicy), "be RetryPolicy(...)"),
    "session": (lambda value: hasattr(value, "connector"), "be an aiohttp session"),
    "transport": (_has_methods("send"), "have a method send(request)"),
    "clock": (
        _has_methods("now", "monotonic", "sleep"),
        "have now, monotonic and sleep",
    ),
    "on_event": (
        lambda value: callable(value) and not is_async(value),
        "be a plain function, which may put events into a queue",
    ),
    "polls_per_second": (
        lambda value: (
            type(value) in {int, float} and 0 < cast("float", value) <= _MAX_RATE
        ),
        f"be a number above 0, at most {_MAX_RATE}",
    ),
}


def poll_connections(session: aiohttp.ClientSession | None) -> int:
    """Return how many connections polling may use: at most half of the user's pool."""
    connector = None if session is None else session.connector
    limits = [
        limit
        for name in ("limit", "limit_per_host")
        if type(limit := getattr(connector, name, 0)) is int and limit > 0
    ]
    return max(1, min([POLL_CONNECTIONS, *(limit // 2 for limit in limits)]))


def auth_from_env() -> ApiKey | ApiToken:
    """Return the credentials in the ``AURPAY_API_...`` variables."""
    key, token, secret = (
        secret_from_env(f"AURPAY_API_{name}") for name in ("KEY", "TOKEN", "SECRET")
    )
    if key and (token or secret):
        raise ConfigurationError(
            "AURPAY_API_KEY is set together with AURPAY_API_TOKEN or "
            "AURPAY_API_SECRET; unset one or the other"
        )
    if key:
        return _naming_variables("AURPAY_API_KEY", lambda: ApiKey(key))
    if token and secret:
        names = "AURPAY_API_TOKEN and AURPAY_API_SECRET"
        return _naming_variables(names, lambda: ApiToken(token, secret))
    if token or secret:
        missing = "AURPAY_API_SECRET" if token else "AURPAY_API_TOKEN"
        other = "AURPAY_API_TOKEN" if token else "AURPAY_API_SECRET"
        raise ConfigurationError(f"{missing} is not set, but {other} is: set both")
    raise ConfigurationError(
        "no credentials: set AURPAY_API_KEY, or AURPAY_API_TOKEN and AURPAY_API_SECRET"
    )


def _naming_variables(variables: str, make: Callable[[], _T]) -> _T:
    try:
        return make()
    except ConfigurationError as error:
        raise ConfigurationError(f"{variables}: {error}") from None


def require_origin(
    base_url: str, setting: str = "base_url", *, allow_http: bool = False
) -> Origin:
    """Parse the base URL; `setting` is the name that a message uses."""
    if not isinstance(base_url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"{setting} must be a str, not {shown(base_url)}")
    try:
        origin = parse_origin(base_url)
        require_secure(origin, allow_http=allow_http)
    except UrlError as error:
        raise ConfigurationError(f"{setting} {error}") from None
    plain = format_origin(origin)
    spelt_out = "{}://{}:{}".format(*origin)
    if base_url.lower().removesuffix("/") not in {plain, spelt_out}:
        raise ConfigurationError(
            f"{setting} must be scheme, host and port without a path: {plain}, "
            f"not {shown(without_query(base_url))}"
        )
    return origin


def require_origins(
    urls: Iterable[str], setting: str, *, allow_http: bool = False
) -> frozenset[Origin]:
    """Parse a list of origins; `setting` is the name that a message uses."""
    # A single str is an iterable too: of its characters.
    is_one = isinstance(urls, str) or not hasattr(urls, "__iter__")
    given = [cast("str", urls)] if is_one else urls
    return frozenset(
        require_origin(url, setting, allow_http=allow_http) for url in given
    )


def require_allow_http(
    allow_http: object, network: Network, setting: str = "allow_http"
) -> bool:
    """Return `allow_http`, which mainnet does not permit."""
    if type(allow_http) is not bool:
        raise ConfigurationError(
            f"{setting} must be True or False, not {shown(allow_http)}"
        )
    if allow_http and network == "mainnet":
        raise ConfigurationError(
            f"{setting} is for test networks: set network= or AURPAY_NETWORK, or "
            "use https"
        )
    return allow_http


def bool_from_env(name: str) -> bool | None:
    """Return the boolean in an environment variable, or None if it is not set."""
    value = os.environ.get(name, "").lower()
    if value in {"", "0", "1", "false", "true"}:
        return value in {"1", "true"} if value else None
    raise ConfigurationError(f"{name} must be 1 or 0, not {shown(value)}")


def require_network(name: object, setting: str = "network") -> Network:
    """Return the network of that name."""
    for network in NETWORKS:
        if name == network:
            return network
    known = ", ".join(NETWORKS)
    raise ConfigurationError(f"{setting} must be one of {known}, not {shown(name)}")


def require_payees(keys: Iterable[str]) -> frozenset[str]:
    """Return the public keys in lower case."""
    # A single str is an iterable too: of its characters.
    given = [keys] if isinstance(keys, str) or not hasattr(keys, "__iter__") else keys
    payees: set[str] = set()
    for key in given:
        payee = key.lower() if isinstance(key, str) else ""
        if not _PUBLIC_KEY.fullmatch(payee):
            raise ConfigurationError(
                f"payees are public keys, 33 bytes in hex, not {shown(key)}"
            )
        payees.add(payee)
    return frozenset(payees)
