"""The event of a callback with verified headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..errors import CallbackError
from ._failures import without_traceback
from ._hint import read_hint

if TYPE_CHECKING:
    from datetime import datetime

    from ._hint import OrderHint
    from ._reference import Reference
    from ._replay import Kind


@attrs.frozen(kw_only=True)
class CallbackEvent:
    """A request that Aurpay signed for this URL, within the tolerance of its date.

    It is not a payment yet: it has to be confirmed with Aurpay, and deduplicated. The
    `CallbackProcessor` does both.
    """

    #: The kind that the URL was registered for, ``"paid"`` or ``"timeout"``; ``None``
    #: without a reference and without the caller's `kind`.
    kind: Kind | None
    #: The token in the URL: the merchant's own id, price, currency and attempt_id.
    token: Reference | None
    #: The time when Aurpay signed it: aware, UTC.
    signed_at: datetime
    #: The unsigned body, or the parameter that Aurpay appended to the URL.
    order_hint: OrderHint | None
    #: The index of the configured secret that it was signed with. ``None`` if only the
    #: token was checked.
    secret_index: int | None

    @property
    def reference(self) -> str | None:
        """The merchant's own id, as given to ``create_order``."""
        return None if self.token is None else self.token.reference

    def with_body(self, body: bytes) -> CallbackEvent:
        """Return the event with the body of a POST as its `order_hint`.

        Raises:
            CallbackError: if the body is not a JSON object, or too large.
            CallbackReferenceError: if the body names another price or currency than the
                signed URL.
        """
        try:
            hint = read_hint(body, self.token)
        except CallbackError as caught:
            error = without_traceback(caught)
        else:
            return self if hint is None else self._with_hint(hint)
        del body
        raise error

    def _with_hint(self, hint: OrderHint) -> CallbackEvent:
        if hint.order_id is None and self.order_hint is not None:
            hint = attrs.evolve(hint, order_id=self.order_hint.order_id)
        return attrs.evolve(self, order_hint=hint)
