"""Log, once each, what Aurpay sends that this version does not know or cannot read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast, final

from ..errors import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    import attrs

#: Messages that one client logs: what comes from outside has no end.
_MAX_LOGGED: Final = 100


@final
class UnexpectedLog:
    """Logs each message of a client once."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def look_at(self, operation: str, record: object) -> None:
        """Log an unknown status, and the fields that cannot be used, of each row."""
        rows = getattr(record, "items", None)
        is_page = isinstance(rows, tuple)
        for row in cast("tuple[object, ...]", rows) if is_page else (record,):
            status = getattr(row, "status", None)
            if status and not getattr(status, "is_known", True):
                problem = f"status {shown(status)} is not known: neither paid nor not"
                self._log(f"{operation}: {problem}", row)
            if getattr(row, "extra", None):
                for name in _unreadable(row):
                    self._log(f"{operation}: {name} cannot be used", row)

    def _log(self, message: str, row: object) -> None:
        if message in self._logged or len(self._logged) >= _MAX_LOGGED:
            return
        self._logged.add(message)
        import logging

        logger = logging.getLogger("aurpay_async.client")
        order_id = getattr(row, "order_id", None)
        logger.warning("%s; it is logged once: order_id=%s", message, order_id)


def _unreadable(row: object) -> list[str]:
    """Return the names of known fields that stand beside the record."""
    from .._lightning_order import LightningOrder
    from .._models import UncheckedOrder
    from .._models._payments import PaymentOrder, UncheckedPayment
    from .._wire_names import wire_fields

    as_it_came: Mapping[type, type[attrs.AttrsInstance]] = {
        LightningOrder: UncheckedOrder,
        PaymentOrder: UncheckedPayment,
    }
    kind = as_it_came.get(type(row), cast("type[attrs.AttrsInstance]", type(row)))
    extra: Mapping[str, object] = getattr(row, "extra", {})
    return sorted(extra.keys() & wire_fields(kind))
