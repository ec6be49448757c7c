"""What a bitcoin costs: made up, and set as a test needs it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, cast, final

from .._money import parse_price
from ..errors import InvalidRequestError, shown
from ._ledger import RATES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._kept import Journal

_CURRENCY = re.compile(r"[A-Z]{3}")


@final
class Rates(Mapping[str, Decimal]):
    """What one bitcoin costs in each currency; a change counts for the next order.

    Example:
        >>> sandbox.rates["USD"] = "65000"

    .. versionadded:: 0.1.0
    """

    def __init__(self, rates: Mapping[str, Decimal | int | str] | None = None) -> None:
        """Set these, and leave the others as they are."""
        self._set: dict[str, Decimal] = {}
        self._rates = dict(RATES)
        self._journal: Journal | None = None
        self.update(rates or {})

    def __getitem__(self, currency: str) -> Decimal:
        return self._rates[currency]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rates)

    def __len__(self) -> int:
        return len(self._rates)

    def __repr__(self) -> str:
        rates = (f"{currency}: {rate:f}" for currency, rate in self.items())
        return f"<Rates {', '.join(rates)}>"

    def __setitem__(self, currency: str, rate: Decimal | int | str) -> None:
        self.update({currency: rate})

    def update(self, rates: Mapping[str, Decimal | int | str]) -> None:
        """Set some, all or none; the others stay as they are.

        Args:
            rates: By three capital letters, as `Decimal`, `int` or plain text.

        Raises:
            InvalidRequestError: for anything else, with what to write instead.
        """
        read = {_currency(name): _rate(name, rate) for name, rate in rates.items()}
        if self._journal is not None:
            for currency, rate in read.items():
                self._journal.put("rate", currency, rate)
        self._set |= read
        self._rates |= read

    def keep(self, journal: Journal) -> None:
        """Take over what was set before, unless it was set anew."""
        kept = cast("list[tuple[str, Decimal]]", journal.read("rate"))
        self._journal = journal
        self.update({**dict(kept), **self._set})


def _currency(currency: object) -> str:
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise InvalidRequestError(
            f"a currency is three capital letters, not {shown(currency)}", field="rates"
        )
    return currency


def _rate(currency: str, rate: Decimal | int | str) -> Decimal:
    try:
        return parse_price(rate)
    except InvalidRequestError as error:
        problem = str(error).removeprefix(f"{error.field}: ")
        raise InvalidRequestError(problem, field=f"rates[{currency!r}]") from None
