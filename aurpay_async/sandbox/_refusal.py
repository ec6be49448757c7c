"""How the sandbox's Aurpay says no."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - an answer, not a failure
    """The sandbox says no, with a code and a message for the envelope."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
