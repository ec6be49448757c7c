"""Draw the main modules of the package by layer, and the path of one order.

The picture shows a selection; `pyproject.toml` lists all modules for import-linter, and
a test checks that both have the same order.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ._svg import arrow, box, picture, text

WIDTH: Final = 760
_TOP: Final = 64
_ROW: Final = 52


class Layer(NamedTuple):
    """Modules of one layer; `path`: those that create an order."""

    purpose: str
    modules: tuple[str, ...]
    path: frozenset[str] = frozenset()


LAYERS: Final = (
    Layer("command", ("_cli",)),
    Layer("test server, adapters", ("sandbox", "contrib")),
    Layer("order store", ("orders",)),
    Layer("network I/O", ("_client",), frozenset({"_client"})),
    Layer("callbacks (webhooks)", ("callbacks",), frozenset({"callbacks"})),
    Layer("API as data; database", ("_api", "_db"), frozenset({"_api"})),
    Layer("invoices", ("bolt11",), frozenset({"bolt11"})),
    Layer("values, errors", ("_core",), frozenset({"_core"})),
)


def architecture() -> str:
    """Return the SVG file."""
    height = _TOP + _ROW * len(LAYERS) + 20
    return picture(
        WIDTH,
        height,
        "The layers of the package",
        "From the top: "
        + "; ".join(f"{layer.purpose}: {', '.join(layer.modules)}" for layer in LAYERS)
        + ". Imports point downwards only.",
        [
            text(24, 36, "Imports point downwards only", "strong"),
            box(560, 21, 20, 20, "hot"),
            text(588, 36, "used by create_order", "small dim"),
            *(part for row, layer in enumerate(LAYERS) for part in _layer(row, layer)),
            arrow(f"M744 {_TOP + 8}L744 {height - 24}"),
        ],
    )


def _layer(row: int, layer: Layer) -> list[str]:
    y = _TOP + row * _ROW
    parts = [text(24, y + 26, layer.purpose, "small dim")]
    width = (560 - 12 * (len(layer.modules) - 1)) / len(layer.modules)
    for place, module in enumerate(layer.modules):
        x = 168 + place * (width + 12)
        kind = "hot" if module in layer.path else "box"
        parts += [
            box(x, y, width, _ROW - 12, kind),
            text(x + width / 2, y + 25, module, "code middle"),
        ]
    return parts
