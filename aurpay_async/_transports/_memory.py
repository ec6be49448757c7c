"""An in-memory transport for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._http import Request, Response

    Answer = Response | Exception | Callable[[Request], Response]


@final
class MemoryTransport:
    """Return the given answers, one for each request, and record the requests.

    Example:
        >>> transport = MemoryTransport(Response(status=503), ConnectError("down"))

    Args:
        answers: A `Response` to return, an exception to raise, or a function that is
            called with the request and does either.
    """

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        #: The requests, in order, with authentication headers.
        self.requests: list[Request] = []

    async def send(self, request: Request) -> Response:
        """Return or raise the next answer.

        Raises:
            AssertionError: if there is no answer left.
        """
        self.requests.append(request)
        if not self._answers:
            message = f"request {len(self.requests)} has no answer: {request!r}"
            raise AssertionError(message)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer
