"""A local Aurpay: real signed invoices on regtest, no account, no money, no network.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from .._auth import ApiKey, ApiToken
from .._client import AurpayClient
from .._settings import require_origin
from ..errors import ConfigurationError, InvalidRequestError
from . import _assertions, _bank, _clocks, _server, _settings, _transactions
from ._answers import Amounts
from ._courier import SentCallback
from ._deliveries import CallbackFaults
from ._faults import Faults
from ._gate import ReceivedRequest
from ._ledger import RATES
from ._orders import NODE_ID, SandboxOrder
from ._rates import Rates
from ._reach import LOOPBACK
from ._transactions import SandboxTransaction, SandboxWithdrawal

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from decimal import Decimal
    from types import TracebackType
    from typing import Unpack

    from .._client import ClientOptions
    from .._clock import Clock
    from ._asgi import AsgiApp
    from ._letters import CallbackKind

__all__ = [
    "RATES",
    "Amounts",
    "CallbackFaults",
    "Faults",
    "Rates",
    "ReceivedRequest",
    "Sandbox",
    "SandboxOrder",
    "SandboxTransaction",
    "SandboxWithdrawal",
    "SentCallback",
]


class Sandbox:
    """Aurpay on this machine, for tests and for trying things out.

    It listens on loopback unless told otherwise twice, and issues invoices for regtest,
    signed with a key that everybody knows: they are real to every decoder and worth
    nothing.

    Example:
        >>> async with Sandbox() as sandbox, sandbox.client() as aurpay:
        ...     order = await aurpay.create_order("20.00", "USD")
        ...     await sandbox.pay(order.order_id)

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        api_token: str | None = None,
        api_secret: str | None = None,
        callback_token: str = "sandbox-callback-token",  # noqa: S107 - made up
        callback_secret: str = "sandbox-callback-secret",  # noqa: S107 - made up
        post_callbacks: bool = False,
        api_key_in_callbacks: bool = False,
        callback_hosts: Iterable[str] = (),
        allowed_hosts: Iterable[str] = (),
        public_url: str | None = None,
        amounts: Amounts = "string",
        rates: Mapping[str, Decimal | int | str] | None = None,
        clock: Clock | None = None,
        speed: float | None = None,
        seed: int | None = None,
        db: str | os.PathLike[str] | None = None,
        port: int = 0,
        host: str = LOOPBACK,
        allow_remote: bool = False,
    ) -> None:
        """Set up a sandbox; it opens with ``async with`` or `start`.

        Args:
            api_key: Refuse requests without this key; a made-up one.
            api_token: Refuse requests that are not signed with this pair.
            api_secret: The other half of the pair.
            callback_token: What callbacks carry in the open.
            callback_secret: What callbacks are signed with.
            post_callbacks: Whether they are ``POST`` with the order in the body; else
                they are ``GET`` without one.
            api_key_in_callbacks: Whether the callbacks of each order that was created
                with an API key have it in an ``Api-Key`` header. Aurpay documents it of
                orders on a page of `create_payment_url`, which always have it.
            callback_hosts: Where callbacks may go beyond this machine: exact names.
            allowed_hosts: Further names that requests may ask for, such as the service
                name in a network of containers: exact names, without a port.
            public_url: The origin of a proxy before the sandbox, such as
                ``"https://sandbox.example"``. Checkout pages are there, and requests
                may ask for its host.
            amounts: Whether BTC amounts are JSON strings or numbers: Aurpay's
                documentation shows both.
            rates: What a bitcoin costs, in place of `RATES`; other currencies stay.
            clock: What tells the time. ``None`` is the machine's, or as far from it as
                the control API has moved it.
            speed: How often faster than Aurpay's 30 minutes orders time out, with
                their callbacks. ``None`` or 0: only when they are told to.
            seed: Makes ids, secrets and invoices the same in every run, if `clock`
                tells the same times; from 0 to 2**63 - 1. ``None``: nobody can guess
                them.
            db: A file that keeps everything beyond the end of the process.
            port: On which port to listen; 0 takes a free one.
            host: Where to listen: a name or an address of this machine.
            allow_remote: Whether `host` may be one that other machines can reach.

        Raises:
            ConfigurationError: if something of it cannot be, or may be a real key.
        """
        settings = _settings.Settings(
            api_key=api_key,
            api_token=api_token,
            api_secret=api_secret,
            callback_token=callback_token,
            callback_secret=callback_secret,
            post_callbacks=post_callbacks,
            api_key_in_callbacks=api_key_in_callbacks,
            amounts=amounts,
            rates=rates,
            clock=clock or _clocks.SandboxClock(),
            speed=speed,
            seed=seed,
            db=db,
            reach=_settings.read_reach(
                host,
                callback_hosts,
                allow_remote=allow_remote,
                allowed_hosts=allowed_hosts,
                public_url=public_url,
            ),
        )
        self._settings = settings
        self._auth = _auth(api_key, api_token, api_secret)
        self._port = port
        self._bank = _bank.Bank(settings)
        self._server = _server.Server(self._bank)
        self._base_url: str | None = None

    @property
    def base_url(self) -> str:
        """Where it listens, once it is open."""
        if self._base_url is None:
            raise ConfigurationError("the sandbox is not open; use `async with`")
        return self._base_url

    @property
    def requests(self) -> Sequence[ReceivedRequest]:
        """What arrived, in order; nothing that may hold a real key."""
        return self._bank.state.requests

    @property
    def faults(self) -> Faults:
        """What goes wrong with the next requests: ``faults.push("503", "reset")``."""
        return self._bank.state.faults

    @property
    def orders(self) -> Mapping[str, SandboxOrder]:
        """The orders that exist, by id."""
        return self._bank.state.orders

    @property
    def withdrawals(self) -> Mapping[str, SandboxWithdrawal]:
        """The invoices of others that were paid, by payment hash."""
        return self._bank.state.withdrawals

    @property
    def transactions(self) -> Sequence[SandboxTransaction]:
        """What came in, went back and went out, the newest first."""
        state = self._bank.state
        orders, withdrawals = state.orders.values(), state.withdrawals.values()
        return _transactions.list_transactions(orders, withdrawals)

    @property
    def callbacks(self) -> Sequence[SentCallback]:
        """The attempts to deliver callbacks, in the order in which they ended."""
        return self._bank.state.callbacks

    @property
    def callback_faults(self) -> CallbackFaults:
        """The faults of the next callbacks: ``callback_faults.push("twice")``."""
        return self._bank.state.callback_faults

    @property
    def rates(self) -> Rates:
        """What a bitcoin costs: ``rates["USD"] = "65000"``, from the next order on."""
        return self._bank.state.rates

    @property
    def clock(self) -> Clock:
        """What tells the time; a client that checks times needs the same."""
        return self._settings.clock

    @property
    def callback_token(self) -> str:
        """What its callbacks carry in the open."""
        return self._settings.callback_token

    @property
    def callback_secret(self) -> str:
        """What its callbacks are signed with."""
        return self._settings.callback_secret

    @property
    def payee(self) -> str:
        """The public key that its invoices pay; a client may pin it."""
        return NODE_ID

    def client(self, **options: Unpack[ClientOptions]) -> AurpayClient:
        """A client for this sandbox, with its credentials if it asks for any.

        Args:
            options: As for `AurpayClient`.
        """
        options.setdefault("base_url", self.base_url)
        options.setdefault("network", "regtest")
        options.setdefault("clock", self.clock)
        reach = self._settings.reach
        if reach.public_url is not None:
            options.setdefault("pay_url_origins", (reach.public_url,))
        if reach.needs_plain_http:
            options.setdefault("allow_http", True)
        return AurpayClient(self._auth, **options)

    def deliver_to(self, app: AsgiApp, *origins: str) -> None:
        """Deliver callbacks to these origins into an ASGI application.

        No server is needed: for applications that are tested in their own process, with
        ``httpx.ASGITransport`` for example. The application runs on the event loop of
        the sandbox; its lifespan does not run.

        Example:
            >>> sandbox.deliver_to(app, "https://shop.example")

        Args:
            app: Such as a ``FastAPI``, ``Starlette`` or ``Litestar``.
            origins: Scheme and host, and the port if it is not the default, of the
                callback URLs that are for it.

        Raises:
            ConfigurationError: if no origin is given, or one is a URL with a path.
        """
        if not origins:
            raise ConfigurationError(
                'name the origins that are delivered to it, such as "https://shop.example"'
            )
        for origin in origins:
            self._bank.deliver_to(
                app, require_origin(origin, "origin", allow_http=True)
            )

    def assert_orders(self, count: int, *, status: str | None = None) -> None:
        """That so many orders exist, for tests; shows those that do.

        Args:
            count: How many.
            status: Count only those with this one, such as ``"SUCCESS"``.

        Raises:
            AssertionError: with the orders, and the requests that have arrived.
        """
        _assertions.assert_orders(count, status, self.orders.values(), self.requests)

    def assert_callbacks(self, *kinds: CallbackKind, status: int = 200) -> None:
        """That these callbacks were sent, in this order, for tests; shows what was.

        Args:
            kinds: ``"paid"`` and ``"timeout"``, one for each attempt.
            status: What the shop answered to all of them.

        Raises:
            AssertionError: with the callbacks, and what was answered.
        """
        _assertions.assert_callbacks(kinds, status, self.callbacks)

    async def pay(self, order_id: str) -> list[SentCallback]:
        """Pay an order, in time or late, and call its ``callback_url``.

        A shop that fails is no error here: see the records.

        Returns:
            The attempts to deliver the callback; none if the order has no such URL.

        Raises:
            InvalidRequestError: if there is no such order, or none to be paid.
        """
        return await self._bank.cashier.pay(order_id)

    async def expire(self, order_id: str) -> list[SentCallback]:
        """Let an order's time run out, and call its ``timeout_callback``.

        Returns:
            The attempts to deliver the callback; none if the order has no such URL.

        Raises:
            InvalidRequestError: if there is no such order, or none that is pending.
        """
        return await self._bank.cashier.expire(order_id)

    async def underpay(self, order_id: str) -> list[SentCallback]:
        """Pay too little: the order is overdue, as Aurpay documents it.

        Returns:
            Nothing: no callback is documented for it.

        Raises:
            InvalidRequestError: if there is no such order, or none that is pending.
        """
        return await self._bank.cashier.underpay(order_id)

    async def refund(self, order_id: str) -> list[SentCallback]:
        """Give back what was paid.

        Returns:
            Nothing: no callback is documented for it.

        Raises:
            InvalidRequestError: if there is no such order, or none that was paid.
        """
        return await self._bank.cashier.refund(order_id)

    def choose(self, pay_url: str, coin: str = "BTC-LN") -> SandboxOrder:
        """Choose a coin at a checkout page, as its payer does: now there is an order.

        Args:
            pay_url: What `create_payment_url` gave.
            coin: Such as ``"USDT-ERC20"``.

        Raises:
            InvalidRequestError: if there is no such page or coin, or another coin was
                chosen there.
        """
        token = pay_url.rpartition("?token=")[2]
        if token not in self._bank.state.checkouts:
            raise InvalidRequestError(
                "this is no checkout page without an order", field="pay_url"
            )
        return self._bank.checkouts.choose(token, coin, self.clock.now())

    async def start(self) -> None:
        """Open it.

        Raises:
            ConfigurationError: if it is open already, or its file cannot be used.
            OSError: if nothing can listen there.
        """
        self._base_url = await self._server.start(self._port)

    async def aclose(self) -> None:
        """Close it. What arrived stays readable. Does nothing the second time."""
        self._base_url = None
        await self._server.stop()

    async def __aenter__(self) -> Self:
        """Open it, as `start`."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it, as `aclose`."""
        await self.aclose()


def _auth(
    key: str | None, token: str | None, secret: str | None
) -> ApiKey | ApiToken | None:
    if token is not None and secret is not None:
        return ApiToken(token, secret)
    return None if key is None else ApiKey(key)
