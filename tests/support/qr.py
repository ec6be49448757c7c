"""Read the pictures of QR codes that segno writes."""

from __future__ import annotations

import re
import zlib


def read_png(png: bytes) -> memoryview:
    """Return the grey values of a PNG that has one bit for each pixel.

    segno filters a line with "Up" (2), or not at all.
    """
    width, height = (int.from_bytes(png[at : at + 4]) for at in (16, 20))
    assert png[24:26] == bytes([1, 0]), "one bit, grey"
    start = png.index(b"IDAT") + 4
    data = zlib.decompress(png[start : start + int.from_bytes(png[start - 8 :][:4])])
    length = 1 + (width + 7) // 8
    line, grey = bytes(length - 1), bytearray()
    for at in range(0, length * height, length):
        above, line = line, data[at + 1 : at + length]
        if data[at] == 2:
            line = bytes((a + b) % 256 for a, b in zip(line, above, strict=True))
        bits = f"{int.from_bytes(line):0{8 * len(line)}b}"[:width]
        grey += bytes(255 * (bit == "1") for bit in bits)
    return memoryview(grey).cast("B", (height, width))


def read_svg(svg: str) -> memoryview:
    """Return the grey values of an SVG, with a pixel for each module.

    Its path draws each row in strokes (h) of the width of a module.
    """
    found = re.search(r'viewBox="0 0 (\d+) \1"', svg)
    assert found is not None
    size = int(found[1])
    grey = bytearray(b"\xff" * size * size)
    (path,) = re.findall(r'stroke="#000"[^>]* d="M([^"]*)"', svg)
    column, row = 0.0, 0.0
    for command, first, second in re.findall(
        r"(^|m|h)(-?[\d.]+)(?:[ ]?(-?[\d.]+))?", path
    ):
        if command == "h":
            start = int(row) * size + int(column)
            grey[start : start + int(first)] = bytes(int(first))
            column += int(first)
        else:
            column, row = column + float(first), row + float(second)
    return memoryview(grey).cast("B", (size, size))
