"""The price of a bitcoin in each currency: made up, and changeable for tests."""

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

    from ._kept import Storage

_CURRENCY = re.compile(r"[A-Z]{3}")


@final
class Rates(Mapping[str, Decimal]):
    """The price of one bitcoin in each currency. A change applies to later orders.

    Example:
        >>> sandbox.rates["USD"] = "65000"
    """

    def __init__(self, rates: Mapping[str, Decimal | int | str] | None = None) -> None:
        """Start with `RATES`, updated with `rates`."""
        self._set: dict[str, Decimal] = {}
        self._rates = dict(RATES)
        self._storage: Storage | None = None
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
        """Set some rates and keep the others. An invalid one changes nothing.

        Args:
            rates: Prices as `Decimal`, `int` or decimal `str`, by currency code.

        Raises:
            InvalidRequestError: if a currency or a rate is invalid.
        """
        read = {_currency(name): _rate(name, rate) for name, rate in rates.items()}
        if self._storage is not None:
            for currency, rate in read.items():
                self._storage.put("rate", currency, rate)
        self._set |= read
        self._rates |= read

    def attach(self, storage: Storage) -> None:
        """Restore the stored rates, except those that were set in this process."""
        stored = cast("list[tuple[str, Decimal]]", storage.read("rate"))
        self._storage = storage
        self.update({**dict(stored), **self._set})


def _currency(currency: object) -> str:
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise InvalidRequestError(
            f"a currency is three capital letters, not {shown(currency)}",
            field="rates",
        )
    return currency


def _rate(currency: str, rate: Decimal | int | str) -> Decimal:
    try:
        return parse_price(rate)
    except InvalidRequestError as error:
        problem = str(error).removeprefix(f"{error.field}: ")
        raise InvalidRequestError(problem, field=f"rates[{currency!r}]") from None
