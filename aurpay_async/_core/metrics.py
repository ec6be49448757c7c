"""OpenTelemetry metrics, measured if the program has set a meter provider.

Each attribute has a small, fixed set of values, so the number of time series does not
grow with the number of orders: an attribute never contains a reference, an id, an
amount or a string that was received.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from functools import lru_cache, partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .clock import Clock


DURATION: Final = "aurpay.client.operation.duration"

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
    "aurpay.get_or_create.failures": (
        "{failure}",
        "Failed steps of OrderStore.get_or_create, shared by concurrent calls.",
    ),
    "aurpay.reconcile.runs": (
        "{run}",
        "Runs of reconciliation.",
    ),
    "aurpay.reconcile.failures": (
        "{failure}",
        "Attempts for which a poll, or on_change, failed.",
    ),
    "aurpay.reconcile.payments": (
        "{payment}",
        "Payments that reconciliation recorded, because no callback had.",
    ),
}

_AGE: Final = "aurpay.reconcile.age"

#: Seconds for which counts are reported. Jobs that reconcile run in any of several
#: processes: an old count of one of them would hide that another process counts less.
_MAX_COUNTS_AGE_S: Final = 900

#: Names, units and descriptions of the gauges, and how the values of several stores in
#: one process become one.
_GAUGES: Final[Mapping[str, tuple[str, str, Callable[[Iterable[float]], float]]]] = {
    "aurpay.store.orders": (
        "{order}",
        "Orders that are polled or searched for, by state.",
        sum,
    ),
    "aurpay.store.needs_review": (
        "{order}",
        "Orders that may be paid, and that a person has to review.",
        sum,
    ),
    "aurpay.store.duplicates": (
        "{order}",
        "Duplicate payments, which are to be refunded.",
        sum,
    ),
    "aurpay.reconcile.lag": (
        "s",
        "Delay of the most overdue poll, or retry of on_change, after the latest run.",
        max,
    ),
    _AGE: (
        "s",
        "Time since the latest run of reconciliation in this process.",
        max,
    ),
}


class OrderCounts(NamedTuple):
    """Counts of an order store after a run of reconciliation."""

    #: By state.
    orders: Mapping[str, int]
    needs_review: int
    duplicates: int
    lag_s: float


@final
class OrderGauges:
    """The values of the gauges for one order store.

    OpenTelemetry reads gauges on another thread, where the database cannot be queried.
    So a run of reconciliation sets the values, and OpenTelemetry reads the latest.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: By name and by state; a value without a state has the state ``""``.
        self._values: Mapping[str, Mapping[str, float]] = {}
        self._set_at = -inf
        _STORES[id(self)] = self

    def age_s(self) -> float:
        """Return the seconds since the values were set; infinity if they were not."""
        return self._clock.monotonic() - self._set_at

    def set(self, counts: OrderCounts) -> None:
        """Set the values, as of now."""
        self._set_at = self._clock.monotonic()
        self._values = {
            "aurpay.store.orders": counts.orders,
            "aurpay.store.needs_review": {"": counts.needs_review},
            "aurpay.store.duplicates": {"": counts.duplicates},
            "aurpay.reconcile.lag": {"": counts.lag_s},
        }

    def clear(self) -> None:
        """Remove the values: the store is closed."""
        self._values, self._set_at = {}, -inf

    def read(self, name: str) -> Mapping[str, float]:
        """Return the values of a gauge by state."""
        if name == _AGE:
            return {"": self.age_s()} if self._values else {}
        is_old = self.age_s() > _MAX_COUNTS_AGE_S
        return {} if is_old else self._values.get(name, {})


#: The order stores of this process.
_STORES: Final[WeakValueDictionary[int, OrderGauges]] = WeakValueDictionary()


@lru_cache(maxsize=1)
def instruments(provider: Any) -> Mapping[str, Any]:  # noqa: ANN401 - of an extra
    """Create the instruments: a program has one provider, a test suite several."""
    meter = provider.get_meter("aurpay_async")
    created = {
        name: meter.create_counter(name, unit=unit, description=description)
        for name, (unit, description) in _COUNTERS.items()
    }
    created[DURATION] = meter.create_histogram(
        DURATION,
        unit="s",
        description="Duration of calls of client methods, with all attempts.",
        explicit_bucket_boundaries_advisory=_DURATION_BOUNDARIES_S,
    )
    for name, (unit, description, _) in _GAUGES.items():
        read = partial(_observe, name)
        meter.create_observable_gauge(name, [read], unit=unit, description=description)
    return created


def _observe(name: str, _options: object) -> list[Any]:
    """Return the observations of a gauge; OpenTelemetry calls it on another thread."""
    combine = _GAUGES[name][2]
    found: defaultdict[str, list[float]] = defaultdict(list)
    # The references are a copy, made in one step.
    for gauges in filter(None, [store() for store in _STORES.valuerefs()]):
        for state, value in gauges.read(name).items():
            found[state].append(value)
    api = sys.modules["opentelemetry.metrics"]
    return [
        api.Observation(combine(values), {"aurpay.order.state": state} if state else {})
        for state, values in found.items()
    ]
