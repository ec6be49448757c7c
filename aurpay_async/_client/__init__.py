"""The client: its construction, its lifetime, and the key that login obtains.

Methods validate arguments, send a request that `_api` builds, and attach to an error
what recovery needs; `AurpayClient` holds the connections.

User name, password and key of a login may not appear in a log, an error or an event. So
they are secrets from the first line on, and an error loses each part that may repeat
them, in any encoding: the response body, the frames that parsed it, Aurpay's message.
"""

from __future__ import annotations

import os
import sys
from copy import copy
from typing import TYPE_CHECKING, Final, Self

from .._api.checks import InvoicePolicy, SeenOrders
from .._core.clock import SystemClock
from .._core.events import Instrumentation
from .._core.http import Timeouts
from .._core.secrets import hide_keys, keys_from_env, require_keys
from .._core.urls import format_origin
from ..errors import (
    APIError,
    AurpayError,
    ConfigurationError,
    InvalidResponseError,
    TransportError,
)
from ._base import SharedPolling, UnexpectedLog
from .auth import ApiKey
from .options import (
    auth_from_env,
    bool_from_env,
    invalid_option,
    require_allow_http,
    require_network,
    require_origin,
    require_origins,
    require_payees,
)
from .orders import OrderMethods
from .payments import AccountMethods, CreateMethods
from .retry import RetryBudget, RetryPolicy
from .transport import (
    AuthenticatingTransport,
    LazyModule,
    LazyTransport,
    RetryingTransport,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable
    from types import TracebackType
    from typing import TypedDict, Unpack

    import aiohttp

    from .._api import account as _account_api
    from .._api.lightning_order import LightningOrder
    from .._api.models import Order, OrderStatus, Payment
    from .._core.clock import Clock
    from .._core.events import Event
    from .._core.http import Transport
    from .._core.money import Network
    from .._core.secrets import Keys, Secret
    from . import polling as _polling
    from .auth import Auth
else:
    _account_api = LazyModule("aurpay_async._api.account")
    _polling = LazyModule("aurpay_async._client.polling")


def caller_location() -> str:
    """Return the innermost line outside this package, as ``file:number``."""
    frame = sys._getframe(1)  # noqa: SLF001 - as in the logging module
    while frame.f_back and _is_internal(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _is_internal(module: str) -> bool:
    return module.partition(".")[0] == "aurpay_async"


#: The one base URL of the documentation.
BASE_URL: Final = "https://dashboard.aurpay.net"


class AurpayClient(CreateMethods, OrderMethods, AccountMethods):
    """Take payments through Aurpay: the whole merchant API.

    Create one client per program: it holds a connection pool. Use it as
    ``async with AurpayClient(...) as aurpay:``, or await `aclose` at the end.
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
        polls_per_second: float = 10.0,
    ) -> None:
        """Create a client; no connection is opened yet.

        Args:
            auth: `ApiKey`, `ApiToken`, or ``None``: the documented order call carries
                no credentials.
            base_url: Scheme, host and port of the API.
            network: The network of the accepted invoices.
            allow_http: Accept ``http://`` in `base_url` and in the URLs of orders also
                beyond loopback, between containers for example. The network must not
                be mainnet.
            timeouts: For connecting, one attempt, and the whole call.
            retry: Number of attempts and the delays between them.
            payees: Public keys (33 bytes in hex) that an invoice may pay; if empty,
                any. A verified signature proves that an invoice was not altered, not
                that Aurpay issued it; only a pinned payee proves that.
            pay_url_origins: Origins of checkout pages besides Aurpay's host and
                `base_url`: scheme, host and port, such as ``"https://pay.example"``.
            reference_key: Key that signs the references of orders: 16 characters or
                more. Of several keys (key rotation), the first one signs, and all of
                them verify.
            session: An aiohttp session to use. It is neither changed nor closed.
            transport: A transport to use instead of aiohttp. It is not closed.
            clock: Source of the time, for tests.
            on_event: Called with a record of each attempt and each call.
            trust_env: Use the proxy set in the environment.
            polls_per_second: Requests per second of all `wait_for_payment` and `watch`
                together, those of copies of this client included.

        Raises:
            ConfigurationError: if an option is invalid; the message says what to write
                instead.
        """
        keys = hide_keys(reference_key)
        del reference_key
        problem = invalid_option(
            auth=auth,
            timeouts=timeouts,
            retry=retry,
            session=session,
            transport=transport,
            clock=clock,
            on_event=on_event,
            polls_per_second=polls_per_second,
        )
        if problem is not None:
            # Neither quoted nor stored in a local: one may be a key passed as a str.
            del auth, session, transport
            raise ConfigurationError(problem)
        network = require_network(network)
        self._allow_http = require_allow_http(allow_http, network)
        origin = require_origin(base_url, allow_http=allow_http)
        self._reference_keys = () if keys is None else require_keys(keys)
        self._seen, self._unexpected = SeenOrders(), UnexpectedLog()
        self._shared_polling = SharedPolling(polls_per_second, session)
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
        self._lazy_transport = LazyTransport(
            format_origin(origin),
            given=transport,
            session=session,
            trust_env=trust_env,
            signs_references=bool(self._reference_keys),
            created_at=caller_location(),
        )
        self._transport = RetryingTransport(
            self._lazy_transport
            if auth is None
            else AuthenticatingTransport(self._lazy_transport, auth, self._clock),
            policy=retry,
            budget=RetryBudget(),
            timeouts=timeouts,
            clock=self._clock,
            instrumentation=self._instrumentation,
        )

    @classmethod
    def from_env(cls, **options: Unpack[ClientOptions]) -> Self:
        """Create a client with the credentials in the environment.

        Reads ``AURPAY_API_KEY``, or ``AURPAY_API_TOKEN`` and ``AURPAY_API_SECRET``; and
        ``AURPAY_REFERENCE_KEY`` (during key rotation several keys, separated by
        blanks), ``AURPAY_BASE_URL``, ``AURPAY_NETWORK``, ``AURPAY_ALLOW_HTTP`` (1 or 0)
        and ``AURPAY_PAY_URL_ORIGINS`` (separated by commas) where they are set.

        Args:
            options: As for the constructor; they override the environment.

        Raises:
            ConfigurationError: if credentials are missing, incomplete or set twice;
                the message names the variable.
        """
        # First of all: a traceback of any error below could show the key.
        keys = hide_keys(options.pop("reference_key", None))
        options["reference_key"] = keys_from_env() if keys is None else keys
        network = os.environ.get("AURPAY_NETWORK")
        if network:
            options.setdefault("network", require_network(network, "AURPAY_NETWORK"))
        allow_http = options.get("allow_http", bool_from_env("AURPAY_ALLOW_HTTP"))
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
        """Return a copy with other options on the same connections and retry budget.

        Closing either of them closes the connections of both.
        """
        problem = invalid_option(timeouts=timeouts, retry=retry)
        if problem is not None:
            raise ConfigurationError(problem)
        other = copy(self)
        other._transport = self._transport.with_options(timeouts, retry)  # noqa: SLF001
        return other

    def _with_budget(self, budget: RetryBudget) -> Self:
        """Return a copy with another retry budget."""
        other = copy(self)
        other._transport = self._transport.with_options(budget=budget)  # noqa: SLF001
        return other

    async def wait_for_payment(
        self,
        order: LightningOrder | str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - of waiting
        on_status: Callable[[OrderStatus], None] | None = None,
    ) -> Payment:
        """Poll an order until it is paid or its payment has timed out.

        All callers waiting for an order share one poll every few seconds, until a
        minute after the order is overdue. The result of any other `get_order` counts
        too, so a callback (webhook) that is read back ends the waiting at once. After a
        restart, wait again with `LightningOrder.from_json`.

        No other call waits for a poll. All polls of a client are limited to
        `polls_per_second`; while 50 orders or more are waited for, it reads the list of
        orders instead of querying each of them.

        Args:
            order: The order. Or its id: then Aurpay's price and amount are not
                compared, and the 30 minutes begin at the creation time in Aurpay's
                response, or now if it has none.
            timeout: Seconds to wait at most.
            on_status: Called with each new status.

        Raises:
            OrderMismatchError: Aurpay has another price, currency or amount than
                `order`: do not fulfil it.
            PaymentPendingError: `timeout` has passed, and the order is still unpaid.
            AurpayError: as `get_order`; errors that are `retryable` are polled through.
            ConfigurationError: the client was closed.
        """
        return await _polling.wait_for_payment(
            order,
            self._shared_polling,
            self._with_budget,
            self._clock,
            timeout=timeout,
            on_status=on_status,
        )

    def watch(
        self, order: LightningOrder | str, *, timeout: float | None = None
    ) -> AsyncGenerator[Order, None]:
        """Yield an order as it is now, and again whenever its status changes.

        ``async for update in client.watch(order)`` ends where `wait_for_payment` ends:
        when the order is paid or refunded, or its payment has timed out; and after
        `timeout` seconds. A payment can follow after the end.

        All watchers and callers of `wait_for_payment` share one poll of an order, so a
        watcher costs no request of its own. A slow consumer gets the latest status
        only. A program that leaves the loop early closes the generator, as
        ``contextlib.aclosing`` does.

        Args:
            order: The order, or its id, as for `wait_for_payment`.
            timeout: Seconds to watch at most.

        Raises:
            InvalidRequestError: an argument is invalid.
            OrderMismatchError: as `wait_for_payment`; the order is not yielded.
            AurpayError: as `get_order`; errors that are `retryable` are polled through.
            ConfigurationError: the client was closed.
        """
        return _polling.watch(
            order,
            self._shared_polling,
            self._with_budget,
            self._clock,
            timeout=timeout,
        )

    async def __aenter__(self) -> Self:
        """Load what sending needs, so that the first call need not."""
        await self._lazy_transport.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client as `aclose` does."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, and end all waiting for payments. Idempotent."""
        lane, self._shared_polling.lane = self._shared_polling.lane, None
        if lane is not None:
            await lane.aclose()
        await self._lazy_transport.aclose()

    def __repr__(self) -> str:
        origin = format_origin(self._invoice_policy.origin)
        return f"<AurpayClient {origin} on {self._invoice_policy.network}>"


async def obtain_key(
    username: Secret, password: Secret, options: SendingOptions
) -> ApiKey:
    """Request a key as `ApiKey.obtain` does."""
    try:
        async with AurpayClient(**options) as client:
            # Do not bind the request to a variable: its body contains both secrets,
            # and tracebacks can show locals.
            return ApiKey(
                await client._send(  # noqa: SLF001
                    _account_api.build_obtain_key(username, password),
                    _account_api.parse_obtain_key,
                )
            )
    except AurpayError as error:
        failure = error
    try:
        # Outside of `except`, so that the error has no context.
        raise _without_secrets(failure)
    finally:
        del failure


def _without_secrets(error: AurpayError) -> AurpayError:
    """Return the error without the parts that may show a credential."""
    error.__cause__ = error.__context__ = None
    if isinstance(error, APIError | InvalidResponseError | TransportError):
        error.body = b""
    if isinstance(error, APIError):
        error.platform_message = None
        status = f"HTTP {error.status}, code {error.platform_code}"
        error.args = (
            f"Aurpay rejected it with {status} (message omitted: it may show a secret)",
        )
    return error.with_traceback(None)


if TYPE_CHECKING:

    class SendingOptions(TypedDict, total=False):
        """The keyword arguments of `AurpayClient` about sending."""

        base_url: str
        timeouts: Timeouts
        retry: RetryPolicy
        session: aiohttp.ClientSession | None
        transport: Transport | None
        clock: Clock | None
        on_event: Callable[[Event], None] | None
        trust_env: bool

    class ClientOptions(SendingOptions, total=False):
        """The keyword arguments of `AurpayClient`."""

        network: Network
        allow_http: bool
        polls_per_second: float
        payees: Iterable[str]
        pay_url_origins: Iterable[str]
        reference_key: Keys | None
