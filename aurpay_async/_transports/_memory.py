"""A transport without a network, for tests: shipped, because users need it as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._http import Request, Response

    Answer = Response | Exception | Callable[[Request], Response]


@final
class MemoryTransport:
    """Gives the answers it was made with, one to each request, and keeps the requests.

    Example:
        >>> transport = MemoryTransport(Response(status=503), ConnectError("down"))

    Args:
        answers: A `Response` to return, an exception to raise, or a function that is
            called with the request and does either.

    .. versionadded:: 0.1.0
    """

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        #: What was sent, in order, authentication included.
        self.requests: list[Request] = []

    async def send(self, request: Request) -> Response:
        """The next answer.

        Raises:
            AssertionError: if there is none left.
        """
        self.requests.append(request)
        if not self._answers:
            message = f"request {len(self.requests)} has no answer: {request!r}"
            raise AssertionError(message)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer
