"""The client: its settings, and the life of its connections."""

from __future__ import annotations

import os
from copy import copy
from typing import TYPE_CHECKING, Final, Self

from ._caller import caller_location
from ._checks import InvoicePolicy
from ._clock import SystemClock
from ._http import Timeouts
from ._keys import hide_keys, keys_from_env, require_keys
from ._listeners import Instrumentation
from ._merchant import MerchantMethods
from ._merchant._unexpected import UnexpectedLog
from ._retry import RetryBudget, RetryPolicy
from ._seen import SeenOrders
from ._settings import (
    auth_from_env,
    misfit,
    require_allow_http,
    require_network,
    require_origin,
    require_origins,
    require_payees,
    switch_from_env,
)
from ._transports._authenticating import AuthenticatingTransport
from ._transports._pool import Pool
from ._transports._retrying import RetryingTransport
from ._urls import format_origin
from .errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import TypedDict, Unpack

    import aiohttp

    from ._auth import Auth
    from ._clock import Clock
    from ._events import Event
    from ._keys import Keys
    from ._lightning_order import LightningOrder
    from ._models import Payment
    from ._network import Network
    from ._order_life import OrderStatus
    from ._transports._base import Transport
    from ._waiting import Watches

    class SendingOptions(TypedDict, total=False):
        """The keywords of `AurpayClient` that say how to send."""

        base_url: str
        timeouts: Timeouts
        retry: RetryPolicy
        session: aiohttp.ClientSession | None
        transport: Transport | None
        clock: Clock | None
        on_event: Callable[[Event], None] | None
        trust_env: bool

    class ClientOptions(SendingOptions, total=False):
        """The keywords of `AurpayClient`."""

        network: Network
        allow_http: bool
        payees: Iterable[str]
        pay_url_origins: Iterable[str]
        reference_key: Keys | None


#: The one base URL of the documentation.
BASE_URL: Final = "https://dashboard.aurpay.net"


class AurpayClient(MerchantMethods):
    """Takes payments through Aurpay; all of the merchant API.

    One client serves a whole program: it holds a pool of connections. Use it as
    ``async with AurpayClient(...) as aurpay:``, or call `aclose` when done.

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        auth: Auth | None = None,
        *,
        base_url: str = BASE_URL,
        network: Network = "mainnet",
        allow_http: bool = False,
        timeouts: Timeouts = Timeouts(),
        retry: RetryPolicy = RetryPolicy(),
        payees: Iterable[str] = (),
        pay_url_origins: Iterable[str] = (),
        reference_key: Keys | None = None,
        session: aiohttp.ClientSession | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
        on_event: Callable[[Event], None] | None = None,
        trust_env: bool = False,
    ) -> None:
        """Set up a client; nothing is opened and nothing is sent yet.

        Args:
            auth: `ApiKey`, `ApiToken`, or nothing: the documented order call carries
                no credentials.
            base_url: Where the API is: scheme, host and port.
            network: The network whose invoices are accepted.
            allow_http: Accept ``http://`` in `base_url` and in the URLs of orders also
                beyond loopback, between containers for example. It needs a network
                that is not mainnet.
            timeouts: How long to wait.
            retry: How often to try.
            payees: Public keys (33 bytes in hex) that an invoice may pay; none: any.
                A verified signature proves that an invoice was not altered, not who
                made it; only a pinned payee does.
            pay_url_origins: Where checkout pages may lie besides Aurpay's own host and
                `base_url`: scheme, host and port, such as ``"https://pay.example"``.
            reference_key: Signs the references of orders: 16 characters or more. Of
                several, the first one signs, and all of them verify.
            session: An aiohttp session to use. It is neither changed nor closed.
            transport: What to send with instead of aiohttp. It is not closed.
            clock: What tells the time.
            on_event: Is called with a record of each attempt and each call.
            trust_env: Whether to use the proxy that the environment names.

        Raises:
            ConfigurationError: if a value cannot be used, with what to write instead.
        """
        keys = hide_keys(reference_key)
        del reference_key
        problem = misfit(
            auth=auth,
            timeouts=timeouts,
            retry=retry,
            session=session,
            transport=transport,
            clock=clock,
            on_event=on_event,
        )
        if problem is not None:
            # Nothing is quoted or kept: a key may have been given as a plain text.
            del auth, session, transport
            raise ConfigurationError(problem)
        network = require_network(network)
        self._allow_http = require_allow_http(allow_http, network)
        origin = require_origin(base_url, allow_http=allow_http)
        self._reference_keys = () if keys is None else require_keys(keys)
        self._seen = SeenOrders()
        self._unexpected = UnexpectedLog()
        self._watches: Watches = {}
        self._clock = SystemClock() if clock is None else clock
        self._instrumentation = Instrumentation(on_event, self._clock)
        self._invoice_policy = InvoicePolicy(
            network=network,
            origin=origin,
            payees=require_payees(payees),
            pay_url_origins=require_origins(
                pay_url_origins, "pay_url_origins", allow_http=allow_http
            ),
            seen=self._seen,
        )
        self._pool = Pool(
            format_origin(origin),
            given=transport,
            session=session,
            trust_env=trust_env,
            made_at=caller_location(),
        )
        self._transport = RetryingTransport(
            self._pool
            if auth is None
            else AuthenticatingTransport(self._pool, auth, self._clock),
            policy=retry,
            budget=RetryBudget(),
            timeouts=timeouts,
            clock=self._clock,
            instrumentation=self._instrumentation,
        )

    @classmethod
    def from_env(cls, **options: Unpack[ClientOptions]) -> Self:
        """A client with the credentials of the environment.

        Reads ``AURPAY_API_KEY``, or ``AURPAY_API_TOKEN`` and ``AURPAY_API_SECRET``; and
        ``AURPAY_REFERENCE_KEY``, ``AURPAY_BASE_URL``, ``AURPAY_NETWORK``,
        ``AURPAY_ALLOW_HTTP`` (1 or 0) and ``AURPAY_PAY_URL_ORIGINS`` (separated by
        commas) where they are set.

        Args:
            options: As for the constructor; they win over the environment.

        Raises:
            ConfigurationError: if credentials are missing, half set or set twice; the
                message names the variable.
        """
        # Hidden before anything can raise.
        keys = hide_keys(options.pop("reference_key", None))
        options["reference_key"] = keys_from_env() if keys is None else keys
        network = os.environ.get("AURPAY_NETWORK")
        if network:
            options.setdefault("network", require_network(network, "AURPAY_NETWORK"))
        allow_http = options.get("allow_http", switch_from_env("AURPAY_ALLOW_HTTP"))
        if allow_http is not None:
            options["allow_http"] = allow_http
        base_url = os.environ.get("AURPAY_BASE_URL")
        if base_url:
            require_origin(base_url, "AURPAY_BASE_URL", allow_http=bool(allow_http))
            options.setdefault("base_url", base_url)
        origins = os.environ.get("AURPAY_PAY_URL_ORIGINS")
        if origins:
            listed = [origin.strip() for origin in origins.split(",")]
            require_origins(
                listed, "AURPAY_PAY_URL_ORIGINS", allow_http=bool(allow_http)
            )
            options.setdefault("pay_url_origins", listed)
        return cls(auth_from_env(), **options)

    def with_options(
        self, *, timeouts: Timeouts | None = None, retry: RetryPolicy | None = None
    ) -> Self:
        """A client with other settings on the same connections and retry budget.

        Closing one of them closes the connections of both.
        """
        problem = misfit(timeouts=timeouts, retry=retry)
        if problem is not None:
            raise ConfigurationError(problem)
        twin = copy(self)
        twin._transport = self._transport.with_options(timeouts, retry)  # noqa: SLF001
        return twin

    async def wait_for_payment(
        self,
        order: LightningOrder | str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - of waiting
        on_status: Callable[[OrderStatus], None] | None = None,
    ) -> Payment:
        """Wait until an order is paid, or cannot be expected to be any more.

        Looks at the order every few seconds, for all who wait for it together, until
        a minute after it is overdue. What `get_order` finds out meanwhile counts as
        well, so a callback that is read back ends the waiting at once. A program that
        was restarted waits again with `LightningOrder.from_json`.

        Args:
            order: The order, or its id: then the 30 minutes that it lives begin when
                the platform says it was created, or else now.
            timeout: Seconds to wait at most.
            on_status: Is called with each new status.

        Raises:
            PaymentPendingError: `timeout` is over, and all is as it was.
            AurpayError: as `get_order`; what may pass is waited out.
            ConfigurationError: the client was closed.
        """
        from ._waiting import wait_for_payment

        return await wait_for_payment(
            order,
            self._watches,
            self.get_order,
            self._clock,
            timeout=timeout,
            on_status=on_status,
        )

    async def __aenter__(self) -> Self:
        """Load what sending needs, so that the first call does not wait for it."""
        await self._pool.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close, as `aclose`."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, and end all waiting. Does nothing the second time."""
        if self._watches:
            from ._waiting import end_all

            await end_all(self._watches)
        await self._pool.aclose()

    def __repr__(self) -> str:
        origin = format_origin(self._invoice_policy.origin)
        return f"<AurpayClient {origin} on {self._invoice_policy.network}>"
