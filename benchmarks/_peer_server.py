"""A server for several clients: the end of a path decides which answer is sent.

Like `_server`, it runs in a separate process. It reads a JSON object from standard
input: for each end of a path, the body of the answer, and under "" that of all others.
"""

from __future__ import annotations

import asyncio
import json
import sys

from ._server import Fixed, build_answer, serve_with


class ByPath(Fixed):
    """A connection."""

    answers: dict[bytes, bytes]

    def answer_to(self, head: bytes) -> bytes:
        """Return the response to a request."""
        path = head.split(b" ", 2)[1].partition(b"?")[0]
        return self.answers.get(path.rpartition(b"/")[2], self.answers[b""])


if __name__ == "__main__":
    ByPath.answers = {
        end.lower().encode(): build_answer(json.dumps(body).encode())
        for end, body in json.load(sys.stdin).items()
    }
    asyncio.run(serve_with(lambda: ByPath(b"")))
