"""The rejection of a request by the sandbox's Aurpay."""

from __future__ import annotations


class ApiRejection(Exception):  # noqa: N818 - a response, not a failure
    """Raised to answer a request with a code and a message in the envelope."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
