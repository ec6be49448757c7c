"""The client: one short method for each endpoint, and the life of the connections."""

from __future__ import annotations

import os
import sys
from copy import copy
from typing import TYPE_CHECKING, Final, Self, TypeVar

from ._checks import Trust
from ._clock import SystemClock, before
from ._events import CallEvent, failure_of
from ._http import Timeouts
from ._listeners import Listeners
from ._models import NewOrder
from ._retry import RetryBudget, RetryPolicy, is_retryable
from ._settings import (
    auth_from_env,
    misfit,
    require_network,
    require_origin,
    require_payees,
)
from ._transports._authenticating import AuthenticatingTransport
from ._transports._pool import Pool
from ._transports._retrying import RetryingTransport
from ._urls import format_origin
from .errors import (
    AurpayError,
    ConfigurationError,
    InvalidRequestError,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from decimal import Decimal
    from types import TracebackType
    from typing import TypedDict, Unpack

    import aiohttp

    from ._auth import Auth
    from ._clock import Clock
    from ._events import Event
    from ._http import Request, Response
    from ._models import LightningOrder
    from ._network import Network
    from ._transports._base import Transport

    class ClientOptions(TypedDict, total=False):
        """The keywords of `AurpayClient`."""

        base_url: str
        network: Network
        timeouts: Timeouts
        retry: RetryPolicy
        payees: Iterable[str]
        session: aiohttp.ClientSession | None
        transport: Transport | None
        clock: Clock | None
        on_event: Callable[[Event], None] | None
        trust_env: bool


_T = TypeVar("_T")

#: The one base URL of the documentation.
BASE_URL: Final = "https://dashboard.aurpay.net"


class AurpayClient:
    """Takes Lightning payments through Aurpay.

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
        timeouts: Timeouts = Timeouts(),
        retry: RetryPolicy = RetryPolicy(),
        payees: Iterable[str] = (),
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
            timeouts: How long to wait.
            retry: How often to try.
            payees: Public keys (33 bytes in hex) that an invoice may pay; none: any.
                A verified signature proves that an invoice was not altered, not who
                made it; only a pinned payee does.
            session: An aiohttp session to use. It is neither changed nor closed.
            transport: What to send with instead of aiohttp. It is not closed.
            clock: What tells the time.
            on_event: Is called with a record of each attempt and each call.
            trust_env: Whether to use the proxy that the environment names.

        Raises:
            ConfigurationError: if a value cannot be used, with what to write instead.
        """
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
        origin = require_origin(base_url)
        self._clock = SystemClock() if clock is None else clock
        self._listeners = Listeners(on_event, self._clock)
        self._trust = Trust(
            network=require_network(network),
            origin=origin,
            payees=require_payees(payees),
        )
        self._pool = Pool(
            format_origin(origin),
            given=transport,
            session=session,
            trust_env=trust_env,
            made_at=_caller(),
        )
        self._transport = RetryingTransport(
            self._pool
            if auth is None
            else AuthenticatingTransport(self._pool, auth, self._clock),
            policy=retry,
            budget=RetryBudget(),
            timeouts=timeouts,
            clock=self._clock,
            listeners=self._listeners,
        )

    @classmethod
    def from_env(cls, **options: Unpack[ClientOptions]) -> Self:
        """A client with the credentials of the environment.

        Reads ``AURPAY_API_KEY``, or ``AURPAY_API_TOKEN`` and ``AURPAY_API_SECRET``; and
        ``AURPAY_BASE_URL`` and ``AURPAY_NETWORK`` where they are set.

        Args:
            options: As for the constructor; they win over the environment.

        Raises:
            ConfigurationError: if credentials are missing, half set or set twice; the
                message names the variable.
        """
        base_url = os.environ.get("AURPAY_BASE_URL")
        if base_url:
            require_origin(base_url, "AURPAY_BASE_URL")
            options.setdefault("base_url", base_url)
        network = os.environ.get("AURPAY_NETWORK")
        if network:
            options.setdefault("network", require_network(network, "AURPAY_NETWORK"))
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

    async def create_order(
        self,
        price: Decimal | int | str,
        currency: str,
        *,
        succeed_url: str | None = None,
        timeout_url: str | None = None,
        callback_url: str | None = None,
        timeout_callback: str | None = None,
    ) -> LightningOrder:
        """Create an order and get its Lightning invoice, checked against it.

        If it fails after it may have arrived, it is not sent again: the error's
        `delivery` says whether an order may exist. (Source: "Create BLN Order".)

        Args:
            price: Fiat: ``Decimal``, ``int``, or text such as ``"19.99"``.
            currency: Fiat: three letters such as ``"USD"``.
            succeed_url: Where the payer's browser goes after success.
            timeout_url: Where it goes after a timeout.
            callback_url: What the platform calls (GET) after success.
            timeout_callback: What it calls after a timeout.

        Raises:
            InvalidRequestError: an argument was refused; nothing was sent.
            TransportError: no usable answer; `delivery` says whether to look.
            APIError: the platform said no; `delivery` says whether to look.
            InvalidResponseError: an order may exist; the answer could not be read.
            UntrustedOrderError: an order exists; what came must not be paid.
        """
        try:
            order = NewOrder(
                price,
                currency,
                succeed_url=succeed_url,
                timeout_url=timeout_url,
                callback_url=callback_url,
                timeout_callback=timeout_callback,
            )
        except InvalidRequestError as error:
            # Without the frames that looked at what was refused.
            error.__context__ = None
            raise error.with_traceback(None) from None
        finally:
            # Tracebacks show local names, and a query may hold a token.
            del succeed_url, timeout_url, callback_url, timeout_callback

        await self._pool.open()
        from ._protocol import (
            build_create_order,
            find_order,
            parse_create_order,
        )

        def parse(response: Response) -> LightningOrder:
            now = self._clock.now().timestamp()
            return parse_create_order(response, self._trust, now)

        try:
            return await self._call(build_create_order(order), parse)
        except AurpayError as error:
            error.new_order = order
            if isinstance(error, TransportError) and error.body:
                error.order_id = find_order(error.body).order_id
            raise

    async def _call(self, request: Request, parse: Callable[[Response], _T]) -> _T:
        began = self._clock.monotonic()
        response: Response | None = None
        try:
            response = await self._transport.send(request)
            record = parse(response)
        except AurpayError as error:
            if response is not None:  # it came, and cannot be taken
                error.attempts = response.attempts
                error.sent_at = response.sent_at or before(self._clock, began)
                error.retryable = is_retryable(error, request.safety)
            self._report(request, began, error, error.attempts)
            raise
        except BaseException as interruption:
            self._report(request, began, interruption, None)
            raise
        if self._listeners.want_calls():
            self._report(request, began, record, response.attempts)
        return record

    def _report(
        self,
        request: Request,
        began: float,
        outcome: object,
        attempts: int | None,
    ) -> None:
        error, delivery = failure_of(outcome)
        self._listeners.tell(
            CallEvent(
                operation=request.operation,
                attempts=attempts,
                duration_s=self._clock.monotonic() - began,
                error=error,
                delivery=delivery,
                unknown_fields=len(getattr(outcome, "extra", ())),
            )
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
        """Close the connections. Does nothing the second time."""
        await self._pool.aclose()

    def __repr__(self) -> str:
        origin = format_origin(self._trust.origin)
        return f"<AurpayClient {origin} on {self._trust.network}>"


def _caller() -> str:
    """The line of the program that made a client, for who forgets to close it."""
    frame = sys._getframe(1)  # noqa: SLF001 - as the standard library's own logging does
    while frame.f_back and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == __package__
