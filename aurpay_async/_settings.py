"""What a client is set up with: refused with what to write instead, or taken.

Raises `ConfigurationError` everywhere, and never quotes what may be a secret.
"""

from __future__ import annotations

import inspect
import os
import re
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, cast

from ._auth import ApiKey, ApiToken
from ._http import Timeouts
from ._network import NETWORKS
from ._retry import RetryPolicy
from ._secrets import secret_from_env
from ._urls import (
    UrlError,
    format_origin,
    parse_origin,
    require_secure,
    without_query,
)
from .errors import ConfigurationError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._network import Network
    from ._urls import Origin

_T = TypeVar("_T")

_PUBLIC_KEY = re.compile(r"0[23][0-9a-f]{64}")


def misfit(**arguments: object) -> str | None:
    """What is wrong with the kind of one of these; ``None`` stands for its default."""
    for name, value in arguments.items():
        fits, rule = _KINDS[name]
        if value is not None and not fits(value):
            # A text is not shown: it may be a key that got into the wrong place.
            given = type(value).__name__ if isinstance(value, str) else shown(value)
            return f"{name} must {rule}, not {given}"
    return None


def _has(*methods: str) -> Callable[[object], bool]:
    return lambda value: all(callable(getattr(value, name, None)) for name in methods)


#: What each argument has to be: a test, and the same for people.
_KINDS: Final[dict[str, tuple[Callable[[object], bool], str]]] = {
    "auth": (_has("headers"), "be ApiKey(...) or ApiToken(...)"),
    "timeouts": (lambda value: isinstance(value, Timeouts), "be Timeouts(...)"),
    "retry": (lambda value: isinstance(value, RetryPolicy), "be RetryPolicy(...)"),
    "session": (lambda value: hasattr(value, "connector"), "be an aiohttp session"),
    "transport": (_has("send"), "have a method send(request)"),
    "clock": (_has("now", "monotonic", "sleep"), "have now, monotonic and sleep"),
    "on_event": (
        lambda value: callable(value) and not is_async(value),
        "be a plain function, which may put events into a queue",
    ),
}


def is_async(function: object) -> bool:
    """Whether calling it gives something to await."""
    while isinstance(function, partial):
        function = function.func
    if inspect.iscoroutinefunction(function):
        return True
    return inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def auth_from_env() -> ApiKey | ApiToken:
    """The credentials that ``AURPAY_API_KEY``, or its two siblings, hold."""
    key, token, secret = (
        secret_from_env(f"AURPAY_API_{name}") for name in ("KEY", "TOKEN", "SECRET")
    )
    if key and (token or secret):
        raise ConfigurationError(
            "AURPAY_API_KEY is set together with AURPAY_API_TOKEN or "
            "AURPAY_API_SECRET; unset one or the other"
        )
    if key:
        return _named("AURPAY_API_KEY", lambda: ApiKey(key))
    if token and secret:
        names = "AURPAY_API_TOKEN and AURPAY_API_SECRET"
        return _named(names, lambda: ApiToken(token, secret))
    if token or secret:
        missing = "AURPAY_API_SECRET" if token else "AURPAY_API_TOKEN"
        raise ConfigurationError(f"{missing} is not set, but its other half is")
    raise ConfigurationError(
        "no credentials: set AURPAY_API_KEY, or AURPAY_API_TOKEN and AURPAY_API_SECRET"
    )


def _named(variables: str, make: Callable[[], _T]) -> _T:
    try:
        return make()
    except ConfigurationError as error:
        raise ConfigurationError(f"{variables}: {error}") from None


def require_origin(
    base_url: str, what: str = "base_url", *, allow_http: bool = False
) -> Origin:
    """Read where the API is; `what` names the setting."""
    if not isinstance(base_url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"{what} must be a text, not {shown(base_url)}")
    try:
        origin = parse_origin(base_url)
        require_secure(origin, allow_http=allow_http)
    except UrlError as error:
        raise ConfigurationError(f"{what} {error}") from None
    plain = format_origin(origin)
    spelt_out = "{}://{}:{}".format(*origin)
    if base_url.lower().removesuffix("/") not in {plain, spelt_out}:
        raise ConfigurationError(
            f"{what} is scheme, host and port without a path: {plain}, "
            f"not {shown(without_query(base_url))}"
        )
    return origin


def require_origins(
    urls: Iterable[str], what: str, *, allow_http: bool = False
) -> frozenset[Origin]:
    """Read a list of origins; `what` names the setting."""
    # A single text is an iterable as well: of letters.
    is_one = isinstance(urls, str) or not hasattr(urls, "__iter__")
    given = [cast("str", urls)] if is_one else urls
    return frozenset(require_origin(url, what, allow_http=allow_http) for url in given)


def require_allow_http(
    allow_http: object, network: Network, what: str = "allow_http"
) -> bool:
    """Accept plain http only where no invoice is worth anything."""
    if type(allow_http) is not bool:
        raise ConfigurationError(
            f"{what} must be True or False, not {shown(allow_http)}"
        )
    if allow_http and network == "mainnet":
        raise ConfigurationError(
            f"{what} is for test networks: set network= or AURPAY_NETWORK, or use https"
        )
    return allow_http


def switch_from_env(name: str) -> bool | None:
    """Read a variable that switches something on or off, if it is set."""
    value = os.environ.get(name, "").lower()
    if value in {"", "0", "1", "false", "true"}:
        return value in {"1", "true"} if value else None
    raise ConfigurationError(f"{name} must be 1 or 0, not {shown(value)}")


def require_network(name: object, what: str = "network") -> Network:
    """A network by its name."""
    for network in NETWORKS:
        if name == network:
            return network
    known = ", ".join(NETWORKS)
    raise ConfigurationError(f"{what} must be one of {known}, not {shown(name)}")


def require_payees(keys: Iterable[str]) -> frozenset[str]:
    """Public keys in lower case."""
    # A single key is an iterable as well: of letters.
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
