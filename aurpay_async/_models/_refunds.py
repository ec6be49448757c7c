"""What the platform says of paying an order back.

Its pages contradict themselves: the one of the call that refunds describes a look at
a refund, and an answer without an envelope.
"""

from __future__ import annotations

# cattrs reads the annotations of these records, so their types are imported for real.
from collections.abc import Mapping  # noqa: TC003
from decimal import Decimal  # noqa: TC003

import attrs

from .._money import plain_repr


@attrs.frozen(kw_only=True, slots=False)
class RefundInfo:
    """What there is to pay back of an order ("Get Orders Refund Info").

    These four fields are documented, and that there are more.

    .. versionadded:: 0.1.0
    """

    #: The order, as asked for.
    order_id: str
    #: Such as ``"ETH"``.
    chain: str
    #: Such as ``"USDT-ERC20"``. (``currency`` on the wire.)
    coin: str
    #: In units of `coin`.
    amount: Decimal = attrs.field(repr=plain_repr)
    #: Fields of the answer that this version does not know. From outside: unchecked.
    extra: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)


@attrs.frozen(kw_only=True, slots=False)
class Refund:
    """What the platform answered to a refund ("Orders Refund").

    .. versionadded:: 0.1.0
    """

    #: The order, as asked for.
    order_id: str
    #: How it stands. No values are documented. (``refund_status`` on the wire.)
    status: str
    #: What is paid back; in which unit is not documented. (``refund_amount``.)
    amount: Decimal = attrs.field(repr=plain_repr)
    #: When, as it came: no format is documented. Empty if it is no text.
    #: (``refund_date``.)
    date: str
    #: Fields of the answer that this version does not know. From outside: unchecked.
    extra: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)
