"""A local Aurpay: real signed invoices on regtest, no account, no money, no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, final

import attrs

from .._client import AurpayClient
from .._client.auth import ApiKey, ApiToken
from .._client.options import require_origin
from ..errors import (
    ConfigurationError,
    ConnectError,
    InvalidRequestError,
    RequestOutcome,
)
from . import _server, _settings, _simulator
from ._callbacks import SentCallback
from ._fault_responses import Faults
from ._faults import CallbackFaults
from ._ledger import NODE_ID
from ._models import RATES, Rates, SandboxOrder, SandboxTransaction, SandboxWithdrawal
from ._responses import Amounts
from ._settings import ReceivedRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Unpack

    from aiohttp import ClientSession

    from .._client import ClientOptions
    from .._client.aiohttp import AiohttpTransport
    from .._core.http import Request, Response, Transport
    from ._callbacks import AsgiApp, CallbackKind, WsgiApp

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


class Sandbox(_settings.Settings):
    """A local Aurpay for tests and experiments.

    It listens on loopback by default, and issues invoices for regtest that are signed
    with a published key: each decoder accepts them, and they are worth nothing.

    Example:
        >>> async with Sandbox() as sandbox, sandbox.client() as aurpay:
        ...     order = await aurpay.create_order("20.00", "USD")
        ...     await sandbox.pay(order.order_id)

    Raises:
        ConfigurationError: if an option is invalid, or may be a real key.
    """

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._auth: ApiKey | ApiToken | None = None
        if self.api_token is not None and self.api_secret is not None:
            self._auth = ApiToken(self.api_token, self.api_secret)
        elif self.api_key is not None:
            self._auth = ApiKey(self.api_key)
        self._simulator = _simulator.Simulator(self)
        self._server = _server.Server(self._simulator)
        self._base_url: str | None = None
        self._transports: list[_MemoryTransport] = []

    @property
    def base_url(self) -> str:
        """Return the URL of the open sandbox."""
        if self._base_url is None:
            raise ConfigurationError("the sandbox is not open; use `async with`")
        return self._base_url

    @property
    def requests(self) -> Sequence[ReceivedRequest]:
        """Return the received requests in order, except those with a live key."""
        return self._simulator.requests

    @property
    def faults(self) -> Faults:
        """Return the faults of later requests: ``faults.push("503", "reset")``."""
        return self._simulator.faults

    @property
    def orders(self) -> Mapping[str, SandboxOrder]:
        """Return the orders by id."""
        return self._simulator.orders

    @property
    def withdrawals(self) -> Mapping[str, SandboxWithdrawal]:
        """Return the foreign invoices that were paid, by payment hash."""
        return self._simulator.withdrawals

    @property
    def transactions(self) -> Sequence[SandboxTransaction]:
        """Return payments, refunds and withdrawals, the newest first."""
        return self._simulator.account.transactions[::-1]

    @property
    def callbacks(self) -> Sequence[SentCallback]:
        """Return the attempts to deliver callbacks, in the order of their end."""
        return self._simulator.callbacks

    @property
    def callback_faults(self) -> CallbackFaults:
        """Return the faults of later callbacks: ``callback_faults.push("twice")``."""
        return self._simulator.callback_faults

    @property
    def payee(self) -> str:
        """Return the public key of the invoices' payee, which a client can pin."""
        return NODE_ID

    def transport(self) -> Transport:
        """Return a transport that reaches the open sandbox without a socket.

        For unit tests of a shop, with a sandbox on no port. Requests, checks and faults
        are as over a socket, and so are the errors and their outcomes. Closing the
        sandbox closes the transport.

        Example:
            >>> async with Sandbox(port=None) as sandbox:
            ...     aurpay = AurpayClient(
            ...         network="regtest",
            ...         base_url=sandbox.base_url,
            ...         transport=sandbox.transport(),
            ...     )

        Raises:
            ConfigurationError: if the sandbox is not open.
        """
        transport = _MemoryTransport(self._server, self.base_url)
        self._transports.append(transport)
        return transport

    def client(self, **options: Unpack[ClientOptions]) -> AurpayClient:
        """Return a client for this sandbox, with the credentials that it requires.

        If the sandbox is on no port, the client uses its `transport`.

        Args:
            options: As for `AurpayClient`.
        """
        options.setdefault("base_url", self.base_url)
        if self.port is None and options.get("session") is None:
            options.setdefault("transport", self.transport())
        options.setdefault("network", "regtest")
        options.setdefault("clock", self.clock)
        policy = self._simulator.host_policy
        if policy.public_url is not None:
            options.setdefault("pay_url_origins", (policy.public_url,))
        if policy.needs_plain_http:
            options.setdefault("allow_http", True)
        return AurpayClient(self._auth, **options)

    def deliver_to(
        self, app: AsgiApp | WsgiApp, origin: str, *further_origins: str
    ) -> None:
        """Deliver callbacks to these origins into an application of this process.

        This needs no server and no TLS, and suits applications that are tested in the
        same process, for example with ``httpx.ASGITransport``. An ASGI application runs
        on the event loop of the sandbox, and its lifespan does not run; a WSGI
        application runs in a thread.

        Example:
            >>> sandbox.deliver_to(app, origin="https://shop.example")

        Args:
            app: An ASGI application, such as a ``FastAPI`` or ``Litestar``, or a WSGI
                application, such as that of Django.
            origin: The origin of its callback URLs: scheme, host, and the port unless
                it is the default.
            further_origins: Other origins of its callback URLs.

        Raises:
            ConfigurationError: if `app` is no such application, or an origin is a URL
                with a path.
        """
        given = (origin, *further_origins)
        origins = [require_origin(each, "origin", allow_http=True) for each in given]
        self._simulator.callback_sender.deliver_to(app, origins)

    def assert_orders(self, count: int, *, status: str | None = None) -> None:
        """Assert the number of orders, in a test.

        Args:
            count: The expected number.
            status: Count only the orders with this status, such as ``"SUCCESS"``.

        Raises:
            AssertionError: with the orders and the received requests.
        """
        orders = self.orders.values()
        found = [order for order in orders if status in {None, order.status}]
        if len(found) == count:
            return
        expected = f"{count} {status}" if status else str(count)
        raise AssertionError(
            f"expected {expected} orders, found {len(found)}:\n"
            + _lines(
                f"{o.order_id} {o.status} {o.price:f} {o.currency}" for o in orders
            )
            + f"{len(self.requests)} requests were received:\n"
            + _lines(f"{request.method} {request.path}" for request in self.requests)
        )

    def assert_callbacks(self, *kinds: CallbackKind, status: int = 200) -> None:
        """Assert which callbacks were sent, in order, in a test.

        Args:
            kinds: ``"paid"`` or ``"timeout"``, one for each attempt.
            status: The expected HTTP status of each response of the shop.

        Raises:
            AssertionError: with the sent callbacks and their responses.
        """
        sent = self.callbacks
        got = [(callback.kind, callback.status) for callback in sent]
        if got == [(kind, status) for kind in kinds]:
            return
        wanted = ", ".join(f"{kind} answered with {status}" for kind in kinds)
        raise AssertionError(
            f"expected callbacks: {wanted or 'none'}; {len(sent)} were sent:\n"
            + _lines(
                f"{c.kind} {c.method} {c.url.partition('?')[0]}: {c.error or c.status}"
                for c in sent
            )
        )

    async def pay(self, order_id: str) -> list[SentCallback]:
        """Pay an order, in time or late, and call its ``callback_url``.

        A Lightning order can be paid until its invoice expires, after a day.

        A failed delivery raises nothing: see the returned attempts.

        Returns:
            The attempts to deliver the callback; none if the order has no such URL.

        Raises:
            InvalidRequestError: if there is no such order, or its status forbids it.
        """
        return await self._simulator.change_status(order_id, "pay")

    async def expire(self, order_id: str) -> list[SentCallback]:
        """Time out a pending order, and call its ``timeout_callback``, as in `pay`."""
        return await self._simulator.change_status(order_id, "expire")

    async def underpay(self, order_id: str) -> list[SentCallback]:
        """Pay too little for a pending order, which becomes overdue, as documented.

        Returns an empty list, as Aurpay documents no callback; fails as `pay` does.
        """
        return await self._simulator.change_status(order_id, "underpay")

    async def refund(self, order_id: str) -> list[SentCallback]:
        """Refund a paid order.

        Returns an empty list, as Aurpay documents no callback; fails as `pay` does.
        """
        return await self._simulator.change_status(order_id, "refund")

    def set_status(self, order_id: str, status: str) -> None:
        """Set any documented status of an order, and send no callback.

        For a status that no payer causes: ``RESOLVED``, ``PARTIAL``, ``TERMINATED``.

        Args:
            order_id: The id of the order.
            status: ``PENDING``, ``OVERDUE``, ``SUCCESS``, ``RESOLVED``, ``PARTIAL``,
                ``TERMINATED`` or ``REFUNDED``, after any other.

        Raises:
            InvalidRequestError: if there is no such order or status.
        """
        self._simulator.set_status(order_id, status)

    def choose(self, pay_url: str, coin: str = "BTC-LN") -> SandboxOrder:
        """Choose a coin on a checkout page, as a payer does; this creates the order.

        Args:
            pay_url: The URL from `create_payment_url`.
            coin: The name of a coin, such as ``"USDT-ERC20"``.

        Raises:
            InvalidRequestError: if there is no such page or coin, or another coin was
                chosen there.
        """
        token = pay_url.rpartition("?token=")[2]
        if token not in self._simulator.checkouts:
            problem = "not the URL of a checkout page of this sandbox"
            raise InvalidRequestError(problem, field="pay_url")
        return self._simulator.ledger.choose(token, coin, self.clock.now())

    async def start(self) -> None:
        """Open the sandbox.

        Raises:
            ConfigurationError: if it is open already, or its file cannot be used.
            OSError: if it cannot listen on its host and port.
        """
        self._base_url = await self._server.start(self.port)

    async def aclose(self) -> None:
        """Close the sandbox; its state stays readable. A second call does nothing."""
        self._base_url = None
        transports, self._transports = self._transports, []
        for transport in transports:
            await transport.aclose()
        await self._server.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


@final
@attrs.define(eq=False)
class _MemoryTransport:
    """Send requests to a server of this process, on connections in memory."""

    _server: _server.Server
    _origin: str
    _session: ClientSession | None = None
    _transport: AiohttpTransport | None = None

    async def send(self, request: Request) -> Response:
        """Send once, as over a socket."""
        if self._transport is None:
            self._session = self._server.open_session()
            if self._session is None:
                outcome = RequestOutcome.NOT_SENT
                raise ConnectError("the sandbox is closed", outcome=outcome)
            # Only clients in this process need it.
            from .._client.aiohttp import AiohttpTransport

            self._transport = AiohttpTransport(self._origin, session=self._session)
        return await self._transport.send(request)

    async def aclose(self) -> None:
        """Close the connections."""
        transport, session = self._transport, self._session
        self._transport = self._session = None
        if transport is not None and session is not None:
            await transport.aclose()
            await session.close()


def _lines(texts: Iterable[str]) -> str:
    return "".join(f"  {ascii(text)[1:-1]}\n" for text in texts)
