"""A local Aurpay: real signed invoices on regtest, no account, no money, no network.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from .._auth import ApiKey, ApiToken
from .._client import AurpayClient
from .._clock import SystemClock
from ..errors import ConfigurationError
from ._app import Amounts, App
from ._faults import Faults
from ._gate import Gate, ReceivedRequest
from ._ledger import NODE_ID, RATES, Ledger, SandboxOrder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Unpack

    from .._client import ClientOptions
    from .._clock import Clock

__all__ = ["RATES", "Amounts", "Faults", "ReceivedRequest", "Sandbox", "SandboxOrder"]


class Sandbox:
    """Aurpay on this machine, for tests and for trying things out.

    It listens on loopback only and issues invoices for regtest, signed with a key that
    everybody knows: they are real to every decoder and worth nothing.

    Example:
        >>> async with Sandbox() as sandbox, sandbox.client() as aurpay:
        ...     order = await aurpay.create_order("20.00", "USD")

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        api_token: str | None = None,
        api_secret: str | None = None,
        amounts: Amounts = "string",
        port: int = 0,
        clock: Clock | None = None,
    ) -> None:
        """Set up a sandbox; it opens with ``async with`` or `start`.

        Args:
            api_key: Refuse requests without this key.
            api_token: Refuse requests that are not signed with this pair.
            api_secret: The other half of the pair.
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
        self._app = App(self._ledger, gate, self._clock)
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
