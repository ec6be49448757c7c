"""Values of the sandbox: coins, rates, orders, transactions, and its clock.

The names of coins are those of Aurpay's documentation and of its plugins. The prices
are invented, and follow the rates of a bitcoin, which can be set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, cast, final

import attrs

from .._core.clock import SystemClock
from .._core.money import parse_price
from ..errors import InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._core.clock import Clock
    from ._storage import Storage


@attrs.define
class ApiRejection(Exception):  # noqa: N818 - a response, not a failure
    """Raised to answer a request with a code and a message in the envelope."""

    code: int
    message: str


@attrs.frozen
class Coin:
    name: str
    chain: str
    chain_name: str
    #: The smallest unit of an amount.
    unit: Decimal
    #: The coins that one bitcoin buys; ``None`` for a stablecoin in dollars.
    per_bitcoin: Decimal | None


#: The fields of a request.
Fields = Mapping[str, object]

_SATOSHI: Final = Decimal("0.00000001")
_MICRO: Final = Decimal("0.000001")

#: The one coin of `create_order`. No documented example shows the name of its chain.
LIGHTNING: Final = Coin("BTC-LN", "BLN", "BLN", _SATOSHI, Decimal(1))

#: The stablecoins that a dollar buys, unless the order is at par. The documented
#: example has 19.0012 USDC for 19.0 USD.
PER_DOLLAR: Final = Decimal("1.0001")

COINS: Final[Mapping[str, Coin]] = {
    coin.name: coin
    for coin in (
        LIGHTNING,
        Coin("BTC", "BTC", "Bitcoin", _SATOSHI, Decimal(1)),
        Coin("ETH", "ETH", "Ethereum", _SATOSHI, Decimal(25)),
        Coin("USDT-ERC20", "ETH", "Ethereum", _MICRO, None),
        Coin("USDC-ERC20", "ETH", "Ethereum", _MICRO, None),
        Coin("DAI-ERC20", "ETH", "Ethereum", _MICRO, None),
        Coin("TRX", "TRX", "Tron", _MICRO, Decimal(400_000)),
        Coin("USDT-TRC20", "TRX", "Tron", _MICRO, None),
        Coin("USDC-TRC20", "TRX", "Tron", _MICRO, None),
        Coin("BNB", "BNB", "BNB Smart Chain", _SATOSHI, Decimal(150)),
    )
}


def find_coin(fields: Fields) -> Coin:
    coin = COINS.get(str(fields.get("currency")))
    if coin is None or coin.chain != fields.get("chain"):
        known = ", ".join(f"{c.chain} {c.name}" for c in COINS.values())
        raise ApiRejection(400, f"chain and currency must be one of: {known}")
    if coin is LIGHTNING:
        raise ApiRejection(400, "create orders for Lightning at /api/bln/order")
    return coin


#: The code of a currency.
CURRENCY: Final = re.compile(r"[A-Z]{3}")
_URL_FIELDS: Final = ("succeed_url", "timeout_url", "callback_url", "timeout_callback")


@attrs.frozen(kw_only=True)
class OrderRequest:
    """The price in fiat that a shop requests, and the URLs to call."""

    #: In `currency`.
    price: Decimal
    currency: str
    urls: Mapping[str, str]
    #: Whether a stablecoin counts as a dollar.
    at_par: bool = False
    #: Whether callbacks carry the order in their body in any case.
    post_callbacks: bool = False
    #: The made-up API key that callbacks carry, if they do.
    api_key: str | None = attrs.field(default=None, repr=False)


def request_fields(request: OrderRequest) -> dict[str, Any]:
    """Return the requested fields, for a record that has them too."""
    return {f.name: getattr(request, f.name) for f in attrs.fields(OrderRequest)}


def parse_order_request(
    fields: Fields,
    rates: Mapping[str, Decimal],
    api_key: str | None,
    *,
    prefix: str = "",
    has_options: bool = True,
) -> OrderRequest:
    """Parse the fields of a request; `prefix` precedes price and currency."""
    return OrderRequest(
        price=_price(f"{prefix}price", fields),
        currency=_currency(f"{prefix}currency", fields, rates),
        urls=_urls(fields),
        at_par=has_options and _bool("fixed_encrypt_price", fields),
        post_callbacks=has_options and _bool("enable_post_callback", fields),
        api_key=api_key,
    )


def _price(name: str, fields: Fields) -> Decimal:
    value = fields.get(name)
    # JSON numbers arrive as int or Decimal; a string or a boolean is no number.
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ApiRejection(400, f"{name} must be a number")
    if not Decimal("0.01") <= value < Decimal(10**9):
        raise ApiRejection(400, f"{name} must be from 0.01 to 999999999.99")
    return Decimal(value)


def _currency(name: str, fields: Fields, rates: Mapping[str, Decimal]) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or value not in rates:
        problem = f"{name} must be one of {', '.join(rates)}"
        if isinstance(value, str) and CURRENCY.fullmatch(value):
            option = f'--rate {value}=..., or rates={{"{value}": ...}}'
            problem += f"; for {value} set a rate: {option}"
        raise ApiRejection(400, problem)
    return value


def _bool(name: str, fields: Fields) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise ApiRejection(400, f"{name} must be true or false")
    return value


def _urls(fields: Fields) -> dict[str, str]:
    given = {name: fields.get(name) for name in _URL_FIELDS}
    urls = {name: value for name, value in given.items() if value is not None}
    for name, value in urls.items():
        if value == "":
            problem = "is empty: leave it out (what Aurpay does is not known)"
            raise ApiRejection(400, f"{name} {problem}")
        if not isinstance(value, str) or not value.startswith(("http://", "https://")):
            raise ApiRejection(400, f"{name} must be a URL")
    return cast("dict[str, str]", urls)


@attrs.frozen(kw_only=True)
class SandboxOrder(OrderRequest):
    """An order of the sandbox."""

    order_id: str
    status: str
    #: In units of `coin`: BTC for Lightning.
    amount: Decimal
    #: Aware, UTC, whole seconds.
    created_at: datetime
    #: The time of the last change of `status`; aware, UTC, whole seconds.
    updated_at: datetime
    #: The time after which it is overdue; aware, UTC. The invoice expires later.
    expires_at: datetime
    #: ``"BTC-LN"``, or the other coin in which it is paid.
    coin: str = LIGHTNING.name
    chain: str = LIGHTNING.chain
    chain_name: str = LIGHTNING.chain_name
    #: BOLT #11, regtest. Empty for other coins, as are the next two fields.
    invoice: str = ""
    payment_secret: str = ""
    #: The proof of payment; the invoice contains its hash.
    preimage: str = ""
    #: The address for other coins, in a form that no wallet accepts.
    address: str = ""
    #: The contract of a token, in such a form.
    contract: str = ""
    #: The token of the checkout page on which its payer chose the coin.
    checkout: str | None = None
    #: Whether it has ever been overdue; a payment after that is late.
    was_overdue: bool = False
    #: When it was paid in full; aware, UTC, whole seconds.
    paid_at: datetime | None = None

    @property
    def is_lightning(self) -> bool:
        """Return whether it is paid over Lightning, with an invoice."""
        return self.coin == LIGHTNING.name


@attrs.frozen(kw_only=True)
class Checkout(OrderRequest):
    """A checkout page, before or after the payer has chosen a coin."""

    token: str


@attrs.frozen(kw_only=True)
class SandboxWithdrawal:
    """A foreign invoice that the account has paid."""

    #: BOLT #11, regtest.
    invoice: str
    payment_hash: str
    #: BTC.
    amount: Decimal
    #: Aware, UTC, whole seconds.
    paid_at: datetime


@attrs.frozen(kw_only=True)
class SandboxTransaction:
    """A transaction of the account."""

    tx_id: str
    #: Aurpay documents ``ORDER``; the names of the other two are the sandbox's.
    tx_type: Literal["ORDER", "REFUND", "WITHDRAW"]
    chain: str
    coin: str
    #: In units of `coin`.
    amount: Decimal
    #: `amount` less `fee` for a payment, else ``None``.
    obtained: Decimal | None
    fee: Decimal
    #: Aware, UTC, whole seconds.
    at: datetime


#: The price of one bitcoin. The values are made up, and constant.
RATES: Final[Mapping[str, Decimal]] = {
    "USD": Decimal(100_000),
    "EUR": Decimal(90_000),
    "GBP": Decimal(75_000),
    "CHF": Decimal(80_000),
    "JPY": Decimal(15_000_000),
}


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
        read = {name: _parse_rate(name, rate) for name, rate in rates.items()}
        if self._storage is not None:
            for currency, rate in read.items():
                self._storage.put("rate", currency, rate)
        self._set |= read
        self._rates |= read

    def attach(self, storage: Storage) -> None:
        """Restore the stored rates, except those that were set in this process."""
        stored = cast("list[tuple[str, str]]", storage.read("rate"))
        self._storage = storage
        self.update({**dict(stored), **self._set})


def _parse_rate(currency: object, rate: Decimal | int | str) -> Decimal:
    if not isinstance(currency, str) or not CURRENCY.fullmatch(currency):
        problem = f"a currency is three capital letters, not {shown(currency)}"
        raise InvalidRequestError(problem, field="rates")
    try:
        return parse_price(rate)
    except InvalidRequestError as error:
        problem = str(error).removeprefix(f"{error.field}: ")
        raise InvalidRequestError(problem, field=f"rates[{currency!r}]") from None


#: The largest step: a year is more than tests need, and stops a wrong unit.
MAX_ADVANCE_S: Final = 365 * 86_400

#: The 35 bits of a timestamp in BOLT #11 end in the year 3058.
_END: Final = datetime(3000, 1, 1, tzinfo=UTC)


class ClockError(Exception):
    """Raised with the reason why a clock cannot be advanced."""


@final
class SandboxClock:
    """The time of this machine, or a fixed time; `advance` moves either.

    `sleep` waits in real time, and does not move a fixed clock.
    """

    def __init__(self, start: datetime | None = None) -> None:
        """Follow the time of this machine, or stop at `start` (aware)."""
        self._machine = SystemClock()
        self._start = None if start is None else start.astimezone(UTC)
        self._advanced_s = 0.0
        self._storage: Storage | None = None

    def now(self) -> datetime:
        started = self._machine.now() if self._start is None else self._start
        return started + timedelta(seconds=self._advanced_s)

    def monotonic(self) -> float:
        began = self._machine.monotonic() if self._start is None else 0.0
        return began + self._advanced_s

    async def sleep(self, seconds: float) -> None:
        await self._machine.sleep(seconds)

    def advance(self, seconds: float) -> None:
        advanced_s = self._advanced_s + seconds
        if self._storage is not None:
            self._storage.put("clock", "advanced_s", advanced_s)
        self._advanced_s = advanced_s

    def attach(self, storage: Storage) -> None:
        """Restore the stored offset, and store each change from now on."""
        for _, advanced_s in storage.read("clock"):
            self._advanced_s += cast("float", advanced_s)
        self._storage = storage


def advance(clock: Clock, seconds: float) -> None:
    if not 0 <= seconds <= MAX_ADVANCE_S:
        problem = f"must be 0 to {MAX_ADVANCE_S} seconds"
        raise InvalidRequestError(problem, field="advance_s")
    move = getattr(clock, "advance", None)
    if not callable(move):
        raise ClockError("the clock of this sandbox has no advance() method")
    if _END - clock.now() <= timedelta(seconds=seconds):
        raise ClockError(f"the clock ends with the year {_END.year - 1}")
    move(seconds)
