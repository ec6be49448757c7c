"""The endpoints of the merchant API, as methods of a client: one for each.

They check what is given, send it, and say on an error what is needed to recover. What
goes over the wire is decided by `_protocol`, and the life of the connections by the
client, which is made of these.
"""

from __future__ import annotations

from ._account import AccountMethods
from ._creating import CreatingMethods
from ._orders import OrderMethods

__all__ = ["MerchantMethods"]


class MerchantMethods(CreatingMethods, OrderMethods, AccountMethods):
    """All of them."""
