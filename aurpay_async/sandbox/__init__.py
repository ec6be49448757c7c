"""A local Aurpay: real signed invoices on regtest, no account, no money, no network.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from .._auth import ApiKey, ApiToken
from .._client import AurpayClient
from .._clock import SystemClock
from ..errors import ConfigurationError
from . import _assertions, _letters
from ._answers import Amounts
from ._app import App
from ._courier import SentCallback
from ._deliveries import Deliveries
from ._faults import Faults
from ._gate import Gate, ReceivedRequest
from ._ledger import NODE_ID, RATES, Ledger, SandboxOrder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Unpack

    from .._client import ClientOptions
    from .._clock import Clock
    from ._letters import CallbackKind

__all__ = [
    "RATES",
    "Amounts",
    "Deliveries",
    "Faults",
    "ReceivedRequest",
    "Sandbox",
    "SandboxOrder",
    "SentCallback",
]


class Sandbox:
    """Aurpay on this machine, for tests and for trying things out.

    It listens on loopback only and issues invoices for regtest, signed with a key that
    everybody knows: they are real to every decoder and worth nothing.

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
        amounts: Amounts = "string",
        port: int = 0,
        clock: Clock | None = None,
    ) -> None:
        """Set up a sandbox; it opens with ``async with`` or `start`.

        Args:
            api_key: Refuse requests without this key.
            api_token: Refuse requests that are not signed with this pair.
            api_secret: The other half of the pair.
            callback_token: What callbacks carry in the open.
            callback_secret: What callbacks are signed with.
            post_callbacks: Whether they are ``POST`` with the order in the body; else
                they are ``GET`` without one.
            amounts: Whether BTC amounts are JSON strings or numbers: Aurpay's
                documentation shows both.
            port: Where to listen; 0 takes a free port.
            clock: What tells the time.

        Raises:
            ConfigurationError: if only one half of the pair is given.
        """
        if (api_token is None) != (api_secret is None):
            raise ConfigurationError("give both api_token and api_secret, or neither")
        self._auth = _auth(api_key, api_token, api_secret)
        self._clock = clock or SystemClock()
        self._port = port
        self._ledger = Ledger()
        gate = Gate(api_key=api_key, api_token=api_token, api_secret=api_secret)
        self._writer = _letters.Writer(
            token=callback_token, secret=callback_secret, posts=post_callbacks
        )
        self._app = App(self._ledger, gate, self._writer, self._clock)
        self._app.amounts = amounts
        self._base_url: str | None = None

    @property
    def base_url(self) -> str:
        """Where it listens, once it is open."""
        if self._base_url is None:
            raise ConfigurationError("the sandbox is not open; use `async with`")
        return self._base_url

    @property
    def requests(self) -> Sequence[ReceivedRequest]:
        """What arrived, in order."""
        return self._app.requests

    @property
    def faults(self) -> Faults:
        """What goes wrong with the next requests: ``faults.push("503", "reset")``."""
        return self._app.faults

    @property
    def orders(self) -> Mapping[str, SandboxOrder]:
        """The orders that exist, by id."""
        return self._ledger.orders

    @property
    def callbacks(self) -> Sequence[SentCallback]:
        """The attempts to deliver callbacks, in the order in which they ended."""
        return self._app.courier.sent

    @property
    def deliveries(self) -> Deliveries:
        """What goes wrong with the next callbacks: ``deliveries.push("twice")``."""
        return self._app.cashier.deliveries

    @property
    def callback_token(self) -> str:
        """What its callbacks carry in the open."""
        return self._writer.token

    @property
    def callback_secret(self) -> str:
        """What its callbacks are signed with."""
        return self._writer.secret

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
        options.setdefault("clock", self._clock)
        return AurpayClient(self._auth, **options)

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
        return await self._app.cashier.pay(order_id)

    async def expire(self, order_id: str) -> list[SentCallback]:
        """Let an order's time run out, and call its ``timeout_callback``.

        Returns:
            The attempts to deliver the callback; none if the order has no such URL.

        Raises:
            InvalidRequestError: if there is no such order, or none that is pending.
        """
        return await self._app.cashier.expire(order_id)

    async def refund(self, order_id: str) -> list[SentCallback]:
        """Give back what was paid.

        Returns:
            Nothing: no callback is documented for it.

        Raises:
            InvalidRequestError: if there is no such order, or none that was paid.
        """
        return await self._app.cashier.refund(order_id)

    async def start(self) -> None:
        """Open it."""
        self._base_url = await self._app.start(self._port)

    async def aclose(self) -> None:
        """Close it. What arrived stays readable. Does nothing the second time."""
        self._base_url = None
        await self._app.stop()

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
