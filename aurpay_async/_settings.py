"""What a client is set up with: refused with what to write instead, or taken.

Raises `ConfigurationError` everywhere, and never quotes what may be a secret.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, TypeVar

from ._auth import ApiKey, ApiToken
from ._http import Timeouts
from ._network import NETWORKS
from ._retry import RetryPolicy
from ._secrets import Secret
from ._urls import (
    UrlError,
    format_origin,
    read_origin,
    require_secure,
    without_query,
)
from .errors import ConfigurationError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._network import Network
    from ._urls import Origin

_T = TypeVar("_T")

#: What CPython marks the code of an ``async def`` with.
_CO_COROUTINE: Final = 0x80

_PUBLIC_KEY = re.compile(r"0[23][0-9a-f]{64}")


def misfit(
    auth: object, timeouts: object, retry: object, clock: object, on_event: object
) -> str | None:
    """What is wrong with the kinds of these arguments; ``None`` is the default's."""
    if auth is not None and not callable(getattr(auth, "headers", None)):
        return f"auth must be ApiKey(...) or ApiToken(...), not {type(auth).__name__}"
    if timeouts is not None and not isinstance(timeouts, Timeouts):
        return f"timeouts must be Timeouts(...), not {shown(timeouts)}"
    if retry is not None and not isinstance(retry, RetryPolicy):
        return f"retry must be RetryPolicy(...), not {shown(retry)}"
    if clock is not None and not hasattr(clock, "monotonic"):
        return f"clock must have now(), monotonic() and sleep(), unlike {shown(clock)}"
    if on_event is not None and (not callable(on_event) or _is_async(on_event)):
        return "on_event must be a plain function; it may put events into a queue"
    return None


def _is_async(function: object) -> bool:
    # As inspect.iscoroutinefunction(), which takes long to load.
    code = getattr(function, "__code__", None)
    return bool(getattr(code, "co_flags", 0) & _CO_COROUTINE)


def auth_from_env() -> ApiKey | ApiToken:
    """The credentials that ``AURPAY_API_KEY``, or its two siblings, hold."""
    key, token, secret = (
        _environment(f"AURPAY_API_{name}") for name in ("KEY", "TOKEN", "SECRET")
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


def _environment(name: str) -> Secret | None:
    # Hidden before anything can raise; an empty variable counts as not set.
    return Secret(os.environ[name]) if os.environ.get(name) else None


def require_origin(base_url: str, what: str = "base_url") -> Origin:
    """Where the API is; `what` names the setting."""
    if not isinstance(base_url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"{what} must be a text, not {shown(base_url)}")
    try:
        origin = read_origin(base_url)
        require_secure(origin)
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
