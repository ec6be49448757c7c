"""OpenTelemetry metrics, measured if the program has set a meter provider.

Each attribute has a small, fixed set of values, so the number of time series does not
grow with the number of orders: an attribute never contains a reference, an id, an
amount or a string that was received.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    Attributes = Mapping[str, str]


_DURATION: Final = "aurpay.client.operation.duration"

#: The boundaries that the semantic conventions recommend for durations of HTTP
#: requests, and the 30 s that a call may take by default.
_DURATION_BOUNDARIES_S: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30),
)

#: Names, units and descriptions of the counters.
_COUNTERS: Final[Mapping[str, tuple[str, str]]] = {
    "aurpay.client.operation.attempts": (
        "{attempt}",
        "Attempts to send the requests of calls that were not cancelled.",
    ),
    "aurpay.client.operation.ambiguous": (
        "{operation}",
        "Failed calls after which an order or a transfer may exist at Aurpay.",
    ),
    "aurpay.callbacks": (
        "{callback}",
        "Callbacks that a CallbackProcessor answered.",
    ),
    "aurpay.inbox.claims": (
        "{claim}",
        "Attempts to claim a notification in the inbox.",
    ),
}


def configured_provider(module: str, getter: str) -> Any:  # noqa: ANN401 - of an extra
    """Return OpenTelemetry's provider, if the program has configured one.

    Args:
        module: The module of the API; if the program has not imported it, there is no
            provider.
        getter: The name of its function that returns the provider.
    """
    api = sys.modules.get(module)
    if api is None:
        return None
    # Another thread may be importing it, and its own configuration may fail.
    with suppress(Exception):
        provider = getattr(api, getter)()
        # The API's own providers do nothing until the program sets another one.
        return None if type(provider).__module__.startswith(module) else provider
    return None


def meter_provider() -> Any:  # noqa: ANN401 - of an extra
    """Return the meter provider, if the program has set one."""
    return configured_provider("opentelemetry.metrics", "get_meter_provider")


def add(name: str, attributes: Attributes, amount: int = 1) -> None:
    """Add to a counter of `_COUNTERS`."""
    provider = meter_provider()
    if provider is not None:
        _instruments(provider)[name].add(amount, attributes)


def record_duration(seconds: float, attributes: Attributes) -> None:
    """Record how long a call of a client method took."""
    provider = meter_provider()
    if provider is not None:
        _instruments(provider)[_DURATION].record(seconds, attributes)


@lru_cache(maxsize=1)
def _instruments(provider: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """Create the instruments: a program has one provider, a test suite several."""
    meter = provider.get_meter("aurpay_async")
    instruments = {
        name: meter.create_counter(name, unit=unit, description=description)
        for name, (unit, description) in _COUNTERS.items()
    }
    instruments[_DURATION] = meter.create_histogram(
        _DURATION,
        unit="s",
        description="Duration of calls of client methods, with all attempts.",
        explicit_bucket_boundaries_advisory=_DURATION_BOUNDARIES_S,
    )
    return instruments
