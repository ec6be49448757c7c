"""The body of an answer as it was before somebody packed it; never more than a bit."""

from __future__ import annotations

import zlib
from typing import Final

from ..errors import shown

#: At most this much of an answer is held, unpacked; documented ones have under 20 KiB.
MAX_BODY: Final = 1024 * 1024


def unpack(packed: bytes, encoding: str) -> tuple[bytes, str | None]:
    """The first `MAX_BODY` bytes of a body, and what is wrong with it.

    Args:
        packed: What came, or the beginning of it.
        encoding: The answer's ``Content-Encoding``. Asked for nothing packed, some
            gateways pack all the same.
    """
    body, defect = _inflate(packed, encoding.strip().lower())
    if len(body) > MAX_BODY:
        return body[:MAX_BODY], f"is longer than {MAX_BODY} bytes"
    return body, defect


def _inflate(packed: bytes, encoding: str) -> tuple[bytes, str | None]:
    if encoding in {"", "identity"}:
        return packed, None
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        return packed, f"is packed with {shown(encoding)}, which was not asked for"
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or zlib
    try:
        body = unpacker.decompress(packed, MAX_BODY + 1)
    except zlib.error:
        body = b""
    whole = unpacker.eof or len(body) > MAX_BODY
    return body, None if whole else f"is not the {encoding} it says it is"
