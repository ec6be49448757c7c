"""A callback whose headers are verified."""

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
    """A request that the platform has signed, a moment ago, for this very URL.

    It is no payment yet: what it says has to be confirmed with the platform, and
    counted once. The `CallbackProcessor` does both.

    .. versionadded:: 0.1.0
    """

    #: What the URL that was called is for: ``"paid"`` or ``"timeout"``; ``None`` if
    #: it carries no reference and the caller did not say.
    kind: Kind | None
    #: What the token in the URL binds: the shop's own id, price, currency and
    #: attempt_id.
    token: Reference | None
    #: When the platform signed it: aware, UTC.
    signed_at: datetime
    #: What an unsigned body, or a parameter that was appended to the URL, says.
    order_hint: OrderHint | None
    #: Which of the configured secrets it was signed with: 0 is the first. ``None`` if
    #: only the token was checked.
    secret_index: int | None

    @property
    def reference(self) -> str | None:
        """The shop's own id of what is paid, as given to ``create_order``."""
        return None if self.token is None else self.token.reference

    def with_body(self, body: bytes) -> CallbackEvent:
        """Return the event with what the body of a POST says as its `order_hint`.

        Raises:
            CallbackError: if the body is no JSON object of some size.
            CallbackReferenceError: if it is about another order than the signed URL.
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
