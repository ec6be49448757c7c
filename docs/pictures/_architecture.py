"""The rooms of the package from the top down, and the road of one order through them.

A choice of rooms, for reading; import-linter has all of them (`pyproject.toml`), and a
test holds that what is above here is not below there.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ._svg import arrow, box, picture, text

WIDTH: Final = 760
_TOP: Final = 64
_ROW: Final = 52


class Layer(NamedTuple):
    """Rooms that stand side by side; `road`: those that an order goes through."""

    purpose: str
    rooms: tuple[str, ...]
    road: frozenset[str] = frozenset()


LAYERS: Final = (
    Layer("what people run", ("_cli", "pytest_plugin")),
    Layer("at the edges", ("contrib", "sandbox", "testing")),
    Layer("what is kept", ("orders",)),
    Layer(
        "the door",
        ("_client", "_merchant", "_calls"),
        frozenset({"_client", "_merchant", "_calls"}),
    ),
    Layer("what waits", ("_transports",), frozenset({"_transports"})),
    Layer("what Aurpay says", ("_protocol", "callbacks"), frozenset({"_protocol"})),
    Layer(
        "what it must be",
        ("_checks", "_converter"),
        frozenset({"_checks", "_converter"}),
    ),
    Layer(
        "records and rules",
        ("_models", "_auth", "_retry", "bolt11"),
        frozenset({"_models", "_auth", "_retry", "bolt11"}),
    ),
    Layer(
        "exact or refused",
        ("_money", "_urls", "_secrets"),
        frozenset({"_money", "_urls"}),
    ),
    Layer("plain records", ("_http", "_clock"), frozenset({"_http", "_clock"})),
    Layer("the tree", ("errors",)),
)


def architecture() -> str:
    """The picture."""
    height = _TOP + _ROW * len(LAYERS) + 20
    return picture(
        WIDTH,
        height,
        "The layers of the package",
        "From the top: "
        + "; ".join(f"{layer.purpose}: {', '.join(layer.rooms)}" for layer in LAYERS)
        + ". Imports look down only.",
        [
            text(24, 36, "Imports look down, never up", "strong"),
            box(560, 21, 20, 20, "hot"),
            text(588, 36, "the road of one order", "small dim"),
            *(part for row, layer in enumerate(LAYERS) for part in _layer(row, layer)),
            arrow(f"M744 {_TOP + 8}L744 {height - 24}"),
        ],
    )


def _layer(row: int, layer: Layer) -> list[str]:
    y = _TOP + row * _ROW
    parts = [text(24, y + 26, layer.purpose, "small dim")]
    width = (560 - 12 * (len(layer.rooms) - 1)) / len(layer.rooms)
    for place, room in enumerate(layer.rooms):
        x = 168 + place * (width + 12)
        kind = "hot" if room in layer.road else "box"
        parts += [
            box(x, y, width, _ROW - 12, kind),
            text(x + width / 2, y + 25, room, "code middle"),
        ]
    return parts
