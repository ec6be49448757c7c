"""The pictures that are drawn, by the name of their file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._architecture import architecture
from ._attempt_life import attempt_life
from ._invoice_checks import invoice_checks
from ._money import money
from ._order_life import order_life
from ._polls import reconciliation
from ._sequence import callback, lost_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DRAWINGS: Final[Mapping[str, Callable[[], str]]] = {
    "architecture": architecture,
    "attempt-life": attempt_life,
    "callback": callback,
    "invoice-checks": invoice_checks,
    "lost-answer": lost_answer,
    "money": money,
    "order-life": order_life,
    "reconciliation": reconciliation,
}
