"""Decompress a response body, up to `MAX_BODY` bytes.

Some gateways compress although `Accept-Encoding` does not allow it, and others send a
`Content-Encoding` that does not hold. If decompressing fails, a body that begins like
JSON is returned unchanged.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from ..errors import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Limit of a body, also decompressed. Documented responses have less than 20 KiB.
MAX_BODY: Final = 1024 * 1024

#: Limits of nested encodings and of members in a gzip stream; two of each occur.
_MAX_LAYERS: Final = 4
_MAX_MEMBERS: Final = 16

#: For each encoding, the formats to try, as zlib numbers them: 32 is gzip or zlib by
#: its header. "deflate" is zlib by RFC 9110, 8.4.1.2, and raw where it is misread.
_FORMATS: Final[Mapping[str, tuple[int, ...]]] = {
    "gzip": (zlib.MAX_WBITS | 32,),
    "x-gzip": (zlib.MAX_WBITS | 32,),
    "deflate": (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS),
}


def decompress(compressed: bytes, encoding: str) -> tuple[bytes, str | None]:
    """Return at most `MAX_BODY` bytes of a body, and the problem with it, or None.

    Args:
        compressed: The body as received, or the beginning of it.
        encoding: The response's ``Content-Encoding``.
    """
    body, body_error = (
        _decompress_layers(compressed, encoding) if encoding else (compressed, None)
    )
    if len(body) > MAX_BODY:
        return body[:MAX_BODY], f"is longer than {MAX_BODY} bytes"
    return body, body_error


def _decompress_layers(body: bytes, encoding: str) -> tuple[bytes, str | None]:
    names = [name.strip().lower() for name in encoding.split(",")]
    layers = [name for name in reversed(names) if name not in {"", "identity"}]
    if len(layers) > _MAX_LAYERS:
        return body, f"is compressed {len(layers)} times"
    for name in layers:
        decompressed, whole = _inflate(body, _FORMATS.get(name, ()))
        if whole:
            body = decompressed
        elif _begins_as_json(body):
            continue
        elif name in _FORMATS:
            return decompressed, f"is not valid {name}"
        else:
            return body, f"is compressed with {shown(name)}, which was not accepted"
    return body, None


def _inflate(compressed: bytes, formats: tuple[int, ...]) -> tuple[bytes, bool]:
    """Return the decompressed bytes, and whether they are all, or over the limit."""
    best = b""
    for wbits in formats:
        body, whole = _inflate_members(compressed, wbits)
        if whole:
            return body, True
        best = best or body
    return best, False


def _inflate_members(compressed: bytes, wbits: int) -> tuple[bytes, bool]:
    body = b""
    for _ in range(_MAX_MEMBERS):
        decompressor = zlib.decompressobj(wbits)
        try:
            body += decompressor.decompress(compressed, MAX_BODY + 1 - len(body))
        except zlib.error:
            return body, False
        if len(body) > MAX_BODY:
            return body, True
        # Bytes after a complete stream that are not another member are padding.
        compressed = decompressor.unused_data
        if not decompressor.eof or not compressed.startswith(b"\x1f\x8b"):
            return body, decompressor.eof
    return body, False


def _begins_as_json(body: bytes) -> bool:
    return body.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
