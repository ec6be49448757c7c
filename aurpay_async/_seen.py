"""Remember the orders that a client created, to find an answer that repeats one.

An answer that belongs to another request (a proxy that answers twice, a poisoned
response queue, a cache) can be a complete, valid order. It repeats the id of an order
that came before, or its payment hash, which can be paid only once (BOLT #11: its
preimage is the proof of payment).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, final

#: Orders that a client remembers: four megabytes, and a day of a shop that creates
#: one order every nine seconds. Answers that repeat one follow it within seconds.
MAX_SEEN: Final = 10_000


@final
class SeenOrders:
    """The latest orders that a client created."""

    def __init__(self, limit: int = MAX_SEEN) -> None:
        #: Whether an answer was found to belong to another request. A proxy or a cache
        #: that did so once may do so again, so all new orders are read back then.
        self.is_misrouted = False
        self._limit = limit
        self._order_ids: OrderedDict[str, None] = OrderedDict()
        self._by_hash: OrderedDict[str, str] = OrderedDict()

    def __contains__(self, order_id: object) -> bool:
        return order_id in self._order_ids

    def order_id_for_hash(self, payment_hash: str) -> str | None:
        """Return the id of the order whose invoice had this payment hash."""
        return self._by_hash.get(payment_hash)

    def add(self, order_id: str, payment_hash: str | None = None) -> None:
        """Remember an order, and forget the oldest one beyond the limit."""
        self._order_ids[order_id] = None
        if payment_hash is not None:
            self._by_hash[payment_hash] = order_id
        if len(self._order_ids) > self._limit:
            self._order_ids.popitem(last=False)
        if len(self._by_hash) > self._limit:
            self._by_hash.popitem(last=False)
