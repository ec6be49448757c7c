"""Open the transport on first use, add credentials to requests, and retry them."""

from __future__ import annotations

import warnings
from copy import copy
from functools import partial
from importlib import import_module
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any, Final, NoReturn, final
from weakref import finalize

import attrs

from .._core.clock import wall_time_at
from .._core.events import AttemptEvent, error_and_outcome
from ..errors import AurpayError, ConfigurationError, RequestOutcome, TransportError
from .auth import diagnose_clock
from .retry import is_retryable, plan_retry

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    import aiohttp

    from .._core.clock import Clock
    from .._core.events import Instrumentation
    from .._core.http import Request, Response, Timeouts, Transport
    from .aiohttp import AiohttpTransport
    from .auth import Auth
    from .retry import RetryBudget, RetryDecision, RetryPolicy


#: Connections of `wait_for_payment`, beyond those of all other calls: no call that
#: creates an order waits until a poll is over.
POLL_CONNECTIONS: Final = 8


def require_task() -> asyncio.Task[Any]:
    """Return the current task of an asyncio event loop.

    Raises:
        ConfigurationError: under trio or curio, or for a coroutine driven by hand.
    """
    import asyncio  # not loaded with the package

    try:
        task = asyncio.current_task()
    except RuntimeError:  # there is no running loop
        task = None
    if task is None:
        raise ConfigurationError(
            "calls of this client need a task on an asyncio event loop, and there is "
            "none: use asyncio.run(), or create_task() on a running loop; trio is not "
            "supported"
        )
    return task


@final
class LazyModule:
    """A module that is imported when its first name is read.

    Importing this package is fast because of it: see `LazyTransport`.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        value = getattr(import_module(self._name), name)
        vars(self)[name] = value  # found without this method from now on
        return value


if TYPE_CHECKING:
    from .._api import envelope as _envelope
else:
    # `LazyTransport.open` has loaded it off the event loop.
    _envelope = LazyModule("aurpay_async._api.envelope")


@final
@attrs.define(eq=False, repr=False)
class LazyTransport:
    """Send through the user's transport, or through aiohttp.

    The modules that are slow to load (aiohttp, which also builds a TLS context, cattrs
    and secp256k1) are imported here, by the first request, in a thread. So importing
    this package is fast, and the imports do not block the event loop.
    """

    origin: str
    given: Transport | None
    session: aiohttp.ClientSession | None
    trust_env: bool
    signs_references: bool = False
    created_at: str = ""
    _own: AiohttpTransport | None = attrs.field(default=None, init=False)
    _open: bool = attrs.field(default=False, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    async def send(self, request: Request) -> Response:
        """Send through the transport behind this one.

        Raises:
            ConfigurationError: if the client was closed.
        """
        if not self._open and not self._closed:
            await self.open()
        transport = self._own if self.given is None else self.given
        if self._closed or transport is None:
            raise ConfigurationError("this client is closed; create a new one")
        return await transport.send(request)

    async def open(self) -> None:
        """Import what sending needs, and create the transport. Idempotent."""
        if self._open:
            return
        # Imported here: a caller with a running loop has loaded asyncio.
        import asyncio

        require_task()
        try:
            own = await asyncio.to_thread(self._load)
        except RuntimeError:  # no thread can be started
            own = self._load()
        # A concurrent call may have opened it while this one waited.
        if not self._open:
            self._own, self._open = own, True
            if own is not None:
                # Also runs at interpreter exit, when it is too late for __del__.
                finalize(
                    self, own.close_forgotten, partial(_warn_unclosed, self.created_at)
                )

    def _load(self) -> AiohttpTransport | None:
        import_module("aurpay_async._api.orders")
        if self.signs_references:
            import_module("aurpay_async.callbacks._identity")
        if self.given is not None:
            return None
        module = import_module(f"{__package__}.aiohttp")
        transport: AiohttpTransport = module.AiohttpTransport(
            self.origin, session=self.session, trust_env=self.trust_env
        )
        return transport

    def renew(self) -> None:
        """Send no further request on the connections that are open now."""
        if self._own is not None:
            self._own.renew()

    async def aclose(self) -> None:
        """Close our own transport, not the user's. Idempotent."""
        self._closed = True
        own, self._own = self._own, None
        if own is not None:
            await own.aclose()


def _warn_unclosed(created_at: str) -> None:
    warnings.warn(
        f"an AurpayClient created at {created_at} was never closed: use "
        "`async with`, or await its aclose()",
        ResourceWarning,
        stacklevel=1,
    )


#: Authentication headers that are not secret.
_PUBLIC_HEADERS: Final = frozenset({"Algorithm", "Body-MD5", "Date"})

#: Shorter secrets are not masked: they occur in any text by chance.
_MIN_SECRET_LENGTH: Final = 8


@final
class AuthenticatingTransport:
    """Authenticate requests; method, path and body stay as they are.

    If Aurpay or a proxy repeats a credential in its response, it is masked with stars
    before the caller can print or store it.
    """

    def __init__(self, inner: Transport, auth: Auth, clock: Clock) -> None:
        self._inner = inner
        self._auth = auth
        self._clock = clock

    async def send(self, request: Request) -> Response:
        # Do not bind the headers to a variable: tracebacks can show locals.
        signed = request.with_headers(self._auth.headers(request, self._clock.now()))
        request.progress.signed = "Signature" in signed.headers
        try:
            response = await self._inner.send(signed)
        except TransportError as error:
            error.body = _mask_credentials(error.body, request, signed)
            raise
        body = _mask_credentials(response.body, request, signed)
        return response if body is response.body else response.with_body(body)


def _mask_credentials(body: bytes, request: Request, signed: Request) -> bytes:
    for name in signed.headers:
        if name in request.headers or name in _PUBLIC_HEADERS:
            continue
        secret = signed.headers[name].encode()
        if len(secret) >= _MIN_SECRET_LENGTH:
            # JSON may contain slashes in their escaped form.
            escaped = secret.replace(b"/", rb"\/")
            body = body.replace(secret, b"***").replace(escaped, b"***")
    return body


def _random() -> float:
    # Imported here: most calls never retry.
    import random

    return random.random()  # noqa: S311 - spreads load, guards nothing


@final
@attrs.define(eq=False, repr=False)
class RetryingTransport:
    """Raise error responses as exceptions, and retry as `_retry` decides."""

    inner: Transport
    policy: RetryPolicy
    budget: RetryBudget
    timeouts: Timeouts
    clock: Clock
    instrumentation: Instrumentation
    jitter: Callable[[], float] = _random

    def with_options(
        self,
        timeouts: Timeouts | None = None,
        policy: RetryPolicy | None = None,
        budget: RetryBudget | None = None,
    ) -> RetryingTransport:
        """Return a copy with other options on the same connections."""
        return RetryingTransport(
            self.inner,
            policy=policy or self.policy,
            budget=budget or self.budget,
            timeouts=timeouts or self.timeouts,
            clock=self.clock,
            instrumentation=self.instrumentation,
            jitter=self.jitter,
        )

    async def send(self, request: Request, limit_s: float = inf) -> Response:
        """Send until an attempt succeeds, or must not be repeated.

        Args:
            request: The request.
            limit_s: Seconds for all attempts, if `timeouts` has more.

        Raises:
            AurpayError: the error of the last attempt, with `attempts`, `sent_at` and
                `retryable` filled in.
        """
        budget, timeouts = self.budget, self.timeouts
        budget.tokens = min(budget.CAPACITY, budget.tokens + 1)
        began = self.clock.monotonic()
        deadline = began + min(timeouts.call, limit_s)
        connect = min(timeouts.connect, limit_s)
        for attempt in count(1):
            timeout = min(timeouts.attempt, limit_s, deadline - began)
            # Until the transport knows more.
            request.progress.outcome = RequestOutcome.UNKNOWN
            try:
                if (timeout, connect) != (request.timeout, request.connect_timeout):
                    request = copy(request)
                    vars(request).update(timeout=timeout, connect_timeout=connect)
                response = await self.inner.send(request)
                if not 200 <= response.status < 300:
                    self._raise_status(request, response)
            except AurpayError as error:
                pause = self._next_pause(request, error, attempt, began, deadline)
                if pause is None:
                    raise
                failure = error
            except BaseException as interruption:
                self._report(request, attempt, began, interruption)
                raise
            else:
                if self.instrumentation.wants_attempts():
                    self._report(request, attempt, began, response)
                return (
                    response
                    if attempt == 1
                    else response.with_attempts(
                        attempt, wall_time_at(self.clock, began)
                    )
                )
            await self.clock.sleep(pause)
            began = self.clock.monotonic()
            if began >= deadline:  # the event loop was blocked
                raise failure
            del failure  # its traceback references this frame
        raise AssertionError  # unreachable: count() does not end

    def _raise_status(self, request: Request, response: Response) -> NoReturn:
        now = self.clock.now()
        error = _envelope.status_error(response, request.effect, now)
        diagnose_clock(error, request, response, now)
        raise error

    def _next_pause(
        self,
        request: Request,
        error: AurpayError,
        attempt: int,
        began: float,
        deadline: float,
    ) -> float | None:
        """Complete `error`; return the delay before the next attempt, or None."""
        error.attempts = attempt
        error.retryable = is_retryable(error, request.effect)
        if error.outcome is not RequestOutcome.NOT_SENT:
            error.sent_at = wall_time_at(self.clock, began)
        request.progress.outcome = error.outcome
        decision = self._plan_retry(error, attempt, deadline)
        self._report(request, attempt, began, error, decision)
        return decision.pause

    def _plan_retry(
        self, error: AurpayError, attempt: int, deadline: float
    ) -> RetryDecision:
        return plan_retry(
            self.policy,
            self.budget,
            error,
            attempt=attempt,
            remaining=deadline - self.clock.monotonic(),
            jitter=self.jitter(),
        )

    def _report(
        self,
        request: Request,
        attempt: int,
        began: float,
        result: Response | BaseException,
        decision: RetryDecision | None = None,
    ) -> None:
        error, outcome = error_and_outcome(result, request.progress)
        self.instrumentation.emit(
            AttemptEvent(
                operation=request.operation,
                effect=request.effect,
                attempt=attempt,
                duration_s=self.clock.monotonic() - began,
                status=getattr(result, "status", None),
                error=error,
                outcome=outcome,
                retry_in_s=decision.pause if decision else None,
                reason=decision.reason if decision else error or "answered",
                reference=request.reference,
                order_id=request.order_id,
                attempt_id=request.attempt_id,
            )
        )
