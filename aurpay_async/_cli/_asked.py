"""What an order or a payment is to be, as it was given."""

from __future__ import annotations

from typing import NamedTuple

from .._keys import keys_from_env
from ..errors import ConfigurationError


class Asked(NamedTuple):
    """What all calls that create something take, by its names there."""

    price: str
    currency: str
    reference: str | None = None
    callback_url: str | None = None
    timeout_callback: str | None = None
    succeed_url: str | None = None
    timeout_url: str | None = None

    def require_keys(self) -> None:
        """Raise ConfigurationError if there is a reference, and nothing to sign it."""
        if self.reference is not None and keys_from_env() is None:
            raise ConfigurationError("--reference needs AURPAY_REFERENCE_KEY to be set")
