"""Remember the orders that a client created, to detect a repeated response.

A response to another request (a proxy that responds twice, a poisoned response queue,
a cache) can contain a complete, valid order. It repeats the id of an earlier order, or
its payment hash, which can be paid only once (BOLT #11: its preimage is the proof of
payment).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, final

#: Orders that a client remembers: four megabytes, and a day of one order every nine
#: seconds. A repeated response follows the first one within seconds.
MAX_SEEN: Final = 10_000


@final
class SeenOrders:
    """The most recent orders that a client created."""

    def __init__(self, limit: int = MAX_SEEN) -> None:
        #: Whether a response to another request was detected. It may happen again, so
        #: every new order is read back from then on.
        self.is_misrouted = False
        self._limit = limit
        self._order_ids: OrderedDict[str, None] = OrderedDict()
        self._by_hash: OrderedDict[str, str] = OrderedDict()

    def __contains__(self, order_id: object) -> bool:
        return order_id in self._order_ids

    def order_id_for_hash(self, payment_hash: str) -> str | None:
        """Return the id of the order that has an invoice with this payment hash."""
        return self._by_hash.get(payment_hash)

    def add(self, order_id: str, payment_hash: str | None = None) -> None:
        """Remember an order, and drop the oldest one beyond the limit."""
        self._order_ids[order_id] = None
        if payment_hash is not None:
            self._by_hash[payment_hash] = order_id
        if len(self._order_ids) > self._limit:
            self._order_ids.popitem(last=False)
        if len(self._by_hash) > self._limit:
            self._by_hash.popitem(last=False)
