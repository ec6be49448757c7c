"""BOLT #11, the Lightning invoice: decode, verify, and sign for tests.

It does not depend on Aurpay and needs no network.

>>> from aurpay_async import bolt11
>>> invoice = bolt11.decode(text)
>>> invoice.network, invoice.amount_msat
('regtest', 20000000)
"""

from __future__ import annotations

from .._core.money import Network
from ..errors import InvoiceDecodeError, InvoiceError, InvoiceInvalidError
from ._fields import Fallback, Feature, Hop, UnknownField
from ._invoice import Invoice, decode
from ._secp256k1 import backend
from ._sign import sign

__all__ = [
    "Fallback",
    "Feature",
    "Hop",
    "Invoice",
    "InvoiceDecodeError",
    "InvoiceError",
    "InvoiceInvalidError",
    "Network",
    "UnknownField",
    "backend",
    "decode",
    "sign",
]
