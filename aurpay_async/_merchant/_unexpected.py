"""Log, once each, unknown statuses and unreadable fields in Aurpay's responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast, final

from ..errors import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    import attrs

#: Messages that one client logs: outside input must not fill memory or logs.
_MAX_LOGGED: Final = 100


@final
class UnexpectedLog:
    """Log each message of a client once."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def check(self, operation: str, record: object) -> None:
        """Log each row's unknown status, and its fields that cannot be read."""
        rows = getattr(record, "items", None)
        is_page = isinstance(rows, tuple)
        for row in cast("tuple[object, ...]", rows) if is_page else (record,):
            status = getattr(row, "status", None)
            if status and not getattr(status, "is_known", True):
                problem = f"status {shown(status)} is unknown: neither paid nor unpaid"
                self._log(f"{operation}: {problem}", row)
            if getattr(row, "extra", None):
                for name in _unreadable_fields(row):
                    self._log(f"{operation}: {name} cannot be read", row)

    def _log(self, message: str, row: object) -> None:
        if message in self._logged or len(self._logged) >= _MAX_LOGGED:
            return
        self._logged.add(message)
        import logging

        logger = logging.getLogger("aurpay_async.client")
        order_id = getattr(row, "order_id", None)
        logger.warning("%s; it is logged once: order_id=%s", message, order_id)


def _unreadable_fields(row: object) -> list[str]:
    """Return the known fields among the extra ones: those that failed to parse."""
    from .._lightning_order import LightningOrder
    from .._models import UncheckedOrder
    from .._models._payments import PaymentOrder, UncheckedPayment
    from .._wire_names import wire_fields

    unchecked_types: Mapping[type, type[attrs.AttrsInstance]] = {
        LightningOrder: UncheckedOrder,
        PaymentOrder: UncheckedPayment,
    }
    kind = unchecked_types.get(type(row), cast("type[attrs.AttrsInstance]", type(row)))
    extra: Mapping[str, object] = getattr(row, "extra", {})
    return sorted(extra.keys() & wire_fields(kind))
