"""The endpoints of the merchant API as methods of the client, one for each.

The methods validate arguments, send the request, and attach to an error what recovery
needs. `_protocol` builds the requests; `AurpayClient` holds the connections.
"""

from __future__ import annotations

from ._account import AccountMethods
from ._creating import CreateMethods
from ._orders import OrderMethods

__all__ = ["MerchantMethods"]


class MerchantMethods(CreateMethods, OrderMethods, AccountMethods):
    """The methods for all endpoints."""
